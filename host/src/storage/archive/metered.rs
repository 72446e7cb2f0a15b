//! How much of an archive is read before we give up.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use super::ArchiveLimits;

/// What may still be read of an archive, all its members together.
pub(super) struct Meter<'a> {
    left: Cell<u64>,
    limit: u64,
    stop: &'a AtomicBool,
}

/// Why reading has ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Interrupt {
    /// It was more than this.
    TooLarge(u64),
    /// Nobody waits for it any more.
    Stopped,
}

/// A reader under the meter.
pub(super) struct Metered<'a, R> {
    inner: R,
    meter: &'a Meter<'a>,
    /// Where in the stream it is.
    pub(super) position: u64,
}

impl<'a> Meter<'a> {
    pub(super) fn new(limits: &ArchiveLimits, stop: &'a AtomicBool) -> Self {
        Self { left: Cell::new(limits.unpacked_bytes), limit: limits.unpacked_bytes, stop }
    }

    pub(super) fn read<R: Read>(&'a self, inner: R) -> Metered<'a, R> {
        Metered { inner, meter: self, position: 0 }
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
        self.position += read as u64;
        match self.meter.left.get().checked_sub(read as u64) {
            Some(left) => self.meter.left.set(left),
            None => return Err(io::Error::other(Interrupt::TooLarge(self.meter.limit))),
        }
        Ok(read)
    }
}

impl fmt::Display for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "more than {limit} bytes"),
            Self::Stopped => f.write_str("stopped"),
        }
    }
}

impl std::error::Error for Interrupt {}
