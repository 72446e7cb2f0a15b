//! How much of an archive is read, and written of its packages, before we give up.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicBool, Ordering};

use super::ArchiveLimits;

/// What may still be read of an archive, all its members together, and written of its packages.
pub(super) struct Meter<'a> {
    left: Cell<u64>,
    limit: u64,
    room: Cell<u64>,
    packages_limit: u64,
    stop: &'a AtomicBool,
}

/// Why the work has ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Interrupt {
    /// The archive was more than this.
    TooLarge(u64),
    /// The packages were more than this.
    PackagesTooLarge(u64),
    /// Nobody waits for it any more.
    Stopped,
}

/// A reader under the meter: what it reads counts.
pub(super) struct Metered<'a, R> {
    inner: R,
    meter: &'a Meter<'a>,
}

/// A reader that ends when the work is to stop. What it reads does not count: it is still compressed. A decompressor
/// may read very much before it has anything to show.
pub(super) struct Stoppable<'a, R> {
    inner: R,
    meter: &'a Meter<'a>,
}

impl<'a> Meter<'a> {
    /// For packages of a file of so many bytes.
    pub(super) fn new(limits: &ArchiveLimits, file_bytes: u64, stop: &'a AtomicBool) -> Self {
        let packages_limit = limits.packages_bytes(file_bytes);
        Self {
            left: Cell::new(limits.unpacked_bytes),
            limit: limits.unpacked_bytes,
            room: Cell::new(packages_limit),
            packages_limit,
            stop,
        }
    }

    /// The archive is read once more.
    pub(super) fn again(&self) {
        self.left.set(self.limit);
    }

    pub(super) fn read<R: Read>(&'a self, inner: R) -> Metered<'a, R> {
        Metered { inner, meter: self }
    }

    pub(super) fn stoppable<R>(&'a self, inner: R) -> Stoppable<'a, R> {
        Stoppable { inner, meter: self }
    }

    /// So many bytes more of a package are about to be written.
    ///
    /// # Errors
    /// [`Interrupt::PackagesTooLarge`]; [`Interrupt::Stopped`].
    pub(super) fn write(&self, bytes: usize) -> io::Result<()> {
        self.check()?;
        let left = self.room.get().checked_sub(bytes as u64);
        self.room.set(left.ok_or_else(|| io::Error::other(Interrupt::PackagesTooLarge(self.packages_limit)))?);
        Ok(())
    }

    /// So many bytes of packages were written before.
    pub(super) fn wrote(&self, bytes: u64) {
        self.room.set(self.room.get().saturating_sub(bytes));
    }

    /// So many bytes of a package were taken off again.
    pub(super) fn take_back(&self, bytes: u64) {
        self.room.set(self.room.get().saturating_add(bytes));
    }

    /// # Errors
    /// [`Interrupt::Stopped`].
    pub(super) fn check(&self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(io::Error::other(Interrupt::Stopped)) } else { Ok(()) }
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.meter.check()?;
        let read = self.inner.read(buffer)?;
        match self.meter.left.get().checked_sub(read as u64) {
            Some(left) => self.meter.left.set(left),
            None => return Err(io::Error::other(Interrupt::TooLarge(self.meter.limit))),
        }
        Ok(read)
    }
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.meter.check()?;
        self.inner.read(buffer)
    }
}

impl<R: Seek> Seek for Stoppable<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "more than {limit} bytes"),
            Self::PackagesTooLarge(limit) => write!(f, "packages of more than {limit} bytes"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl std::error::Error for Interrupt {}
