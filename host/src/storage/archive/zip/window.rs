//! What the library is shown of a zip archive: the file up to its directory, and a part of the directory with an end of
//! its own. It takes that for a whole archive of some of the members, so it has no more than these in memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

/// What is read of the file at a time.
const BUFFER_BYTES: usize = 8 * 1024;

/// A file up to some place, and what is to be there instead of the rest. Several of one file do not disturb each other.
pub(super) struct Window {
    file: File,
    /// How much of the file is shown.
    file_bytes: u64,
    tail: Vec<u8>,
    position: u64,
    buffer: Vec<u8>,
    /// Where in the file the buffer is of.
    buffered: u64,
}

impl Window {
    pub(super) fn new(file: File, file_bytes: u64, tail: Vec<u8>) -> Self {
        Self { file, file_bytes, tail, position: 0, buffer: Vec::new(), buffered: 0 }
    }

    /// What the buffer has of the file from here on, read if need be.
    fn buffered(&mut self) -> io::Result<&[u8]> {
        let place = |window: &Self| usize::try_from(window.position.checked_sub(window.buffered)?).ok();
        if let Some(place) = place(self).filter(|place| *place < self.buffer.len()) {
            return Ok(&self.buffer[place..]);
        }
        let most = usize::try_from(self.file_bytes - self.position).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        self.buffer.resize(most, 0);
        self.buffered = self.position;
        let read = self.file.read_at(&mut self.buffer, self.position)?;
        self.buffer.truncate(read);
        Ok(&self.buffer)
    }
}

impl Read for Window {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = if self.position < self.file_bytes {
            self.buffered()?.read(bytes)?
        } else {
            let place = usize::try_from(self.position - self.file_bytes).unwrap_or(usize::MAX);
            self.tail.get(place..).unwrap_or_default().read(bytes)?
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::End(offset) => (self.file_bytes + self.tail.len() as u64).checked_add_signed(offset),
        };
        self.position = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
