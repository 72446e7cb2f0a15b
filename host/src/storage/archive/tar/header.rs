//! A header of a tar archive: a block of 512 bytes. What programs read differently in one is refused.

use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::storage::archive::ArchiveError;

pub(super) const BLOCK_BYTES: usize = 512;

/// The latest time that every program can read, which is in the year 2242.
const MAX_MTIME: i64 = 0o77_777_777_777;
/// Of a mode only who may read, write and execute: no setuid, no setgid, no sticky bit.
const PERMISSIONS: i64 = 0o777;

/// Where headers have a prefix of the name, unless they have times there.
const PREFIX: std::ops::Range<usize> = 345..500;
/// Where headers of GNU have two times, in octal digits.
const GNU_TIMES: std::ops::Range<usize> = 345..369;
const TIME_BYTES: usize = 12;

/// A header whose numbers are known to be some.
pub(super) struct Parsed {
    header: Header,
    pub(super) kind: EntryType,
    pub(super) size_bytes: u64,
    pub(super) mode: u32,
    pub(super) mtime: u64,
}

/// The next header. `None`: it is a block of zeros, which ends an archive.
pub(super) fn next(stream: &mut impl Read) -> Result<Option<Parsed>, ArchiveError> {
    let mut header = Header::new_old();
    match stream.read_exact(header.as_mut_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(ArchiveError::Damaged("it ends without the blocks that mark a tar archive's end".into()))
        }
        Err(error) => Err(error.into()),
        Ok(()) if header.as_bytes().iter().all(|byte| *byte == 0) => Ok(None),
        Ok(()) => Parsed::of(header).map(Some),
    }
}

/// Whether this is the beginning of a tar archive.
pub(in crate::storage::archive) fn is_header(block: &[u8]) -> bool {
    let Ok(block) = <&[u8; BLOCK_BYTES]>::try_from(block) else { return false };
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(block);
    block.iter().all(|byte| *byte == 0) || is_sound(&header)
}

impl Parsed {
    fn of(header: Header) -> Result<Self, ArchiveError> {
        if !is_sound(&header) {
            return Err(ArchiveError::Damaged("there is no tar header where one should be, by its checksum".into()));
        }
        let name = header.path_bytes().into_owned();
        let number = |field: &[u8], what: &str| {
            number(field).ok_or_else(|| {
                let name = String::from_utf8_lossy(&name);
                ArchiveError::in_member(&name, format!("has a {what} in its header that is not a number"))
            })
        };
        let old = header.as_old();
        let (mode, mtime) = (number(&old.mode, "mode")?, number(&old.mtime, "time")?);
        let size_bytes = u64::try_from(number(&old.size, "size")?).map_err(|_| {
            ArchiveError::in_member(&String::from_utf8_lossy(&name), "has a size in its header that is below zero")
        })?;
        // Nobody needs them here. A program that cannot read them ends there.
        number(&old.uid, "user id")?;
        number(&old.gid, "group id")?;
        let devices = &header.as_bytes()[329..345];
        number(&devices[..8], "device number")?;
        number(&devices[8..], "device number")?;
        let parsed = Self {
            kind: header.entry_type(),
            size_bytes,
            mode: u32::try_from(mode & PERMISSIONS).unwrap_or_default(),
            mtime: time(mtime),
            header,
        };
        parsed.check_prefix(&name)?;
        Ok(parsed)
    }

    /// The name in the header.
    pub(super) fn name(&self) -> Vec<u8> {
        self.header.path_bytes().into_owned()
    }

    /// Whether it has no type, as before there were any.
    pub(super) fn is_old(&self) -> bool {
        self.header.as_old().linkflag == [0]
    }

    /// What it links to by the header.
    pub(super) fn link(&self) -> Vec<u8> {
        self.header.link_name_bytes().unwrap_or_default().into_owned()
    }

    /// Some programs put what is there before the name, whatever the header's format is.
    fn check_prefix(&self, name: &[u8]) -> Result<(), ArchiveError> {
        // One of a sparse file has its map there.
        if self.header.as_ustar().is_some() || self.kind == EntryType::GNUSparse {
            return Ok(());
        }
        let block = self.header.as_bytes();
        let times = if self.header.as_gnu().is_some() { GNU_TIMES } else { PREFIX.start..PREFIX.start };
        let rest = &block[times.end..PREFIX.end];
        if block[times].chunks(TIME_BYTES).all(is_time) && rest.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let why = "has a header from which some programs would read a different name";
        Err(ArchiveError::in_member(&String::from_utf8_lossy(name), why))
    }
}

/// A time that every program can read, so no time before 1970.
pub(super) fn time(seconds: i64) -> u64 {
    seconds.clamp(0, MAX_MTIME).unsigned_abs()
}

/// Whether this is a time as GNU tar writes it, or none.
fn is_time(field: &[u8]) -> bool {
    let Some((end, digits)) = field.split_last() else { return false };
    let is_one = matches!(end, 0 | b' ') && digits.iter().all(|digit| matches!(digit, b'0'..=b'7'));
    is_one || field.iter().all(|byte| *byte == 0)
}

/// Whether the header's checksum is right.
fn is_sound(header: &Header) -> bool {
    let said = number(&header.as_old().cksum);
    let bytes = header.as_bytes().iter().enumerate();
    let sum: i64 = bytes.map(|(place, byte)| if (148..156).contains(&place) { 32 } else { i64::from(*byte) }).sum();
    said == Some(sum)
}

/// A number as headers have it: octal digits, or binary with a sign. Of NULs it is 0. None: it is something else, or
/// more than fits.
fn number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    match first {
        0x80 | 0xff => {
            let begin = if *first == 0xff { -1 } else { 0 };
            let value = rest.iter().fold(begin, |value: i128, byte| value << 8 | i128::from(*byte));
            i64::try_from(value).ok()
        }
        _ => {
            let text = field.split(|byte| *byte == 0).next()?;
            if text.is_empty() && rest.iter().any(|byte| *byte != 0) {
                return None;
            }
            match std::str::from_utf8(text).ok()?.trim_matches(' ') {
                "" => Some(0),
                digits if digits.bytes().all(|digit| matches!(digit, b'0'..=b'7')) => {
                    i64::from_str_radix(digits, 8).ok()
                }
                _ => None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
