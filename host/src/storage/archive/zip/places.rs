//! Where the members of a zip archive are in its file: not in each other's place, and no other beside them that only
//! those programs would see which do not go by the directory.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::end::u16_at;
use crate::storage::archive::ArchiveError;
use crate::storage::archive::metered::Meter;

/// What stands before a member, without its name.
const HEADER_BYTES: usize = 30;
const HEADER: &[u8] = b"PK\x03\x04";
/// What is looked through at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where the members are, each with its header.
#[derive(Default)]
pub(super) struct Places(Vec<Range<u64>>);

impl Places {
    pub(super) fn add(&mut self, place: Range<u64>) {
        self.0.push(place);
    }

    /// # Errors
    /// [`ArchiveError::Refused`] if two are in the same place, one is where the directory is, or there is one that the
    /// directory does not have.
    pub(super) fn check(mut self, file: &File, directory: u64, meter: &Meter<'_>) -> Result<(), ArchiveError> {
        self.0.sort_unstable_by_key(|place| (place.start, place.end));
        let (mut free, mut last) = (0, 0);
        for place in self.0.into_iter().chain(std::iter::once(directory..directory)) {
            if place.start < free {
                let why = if place.start == directory {
                    "is where the directory is; make the archive anew"
                } else {
                    "is in the same place as another member; make the archive anew"
                };
                return Err(ArchiveError::in_member(&name_at(file, last)?, why));
            }
            if let Some(hidden) = member_in(file, free..place.start, meter)? {
                let why = "is not in the directory of the archive; make the archive anew";
                return Err(ArchiveError::in_member(&name_at(file, hidden)?, why));
            }
            last = place.start;
            free = place.end;
        }
        Ok(())
    }
}

/// The name in the header of a member.
fn name_at(file: &File, header: u64) -> Result<String, ArchiveError> {
    let mut bytes = [0; 2];
    file.read_exact_at(&mut bytes, header.saturating_add(26))?;
    let mut name = vec![0; u16::from_le_bytes(bytes).into()];
    file.read_exact_at(&mut name, header.saturating_add(HEADER_BYTES as u64))?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// Where the first header is that has room for what it says.
fn member_in(file: &File, gap: Range<u64>, meter: &Meter<'_>) -> Result<Option<u64>, ArchiveError> {
    let mut from = gap.start;
    while gap.end.saturating_sub(from) >= HEADER_BYTES as u64 {
        meter.check()?;
        let bytes = usize::try_from(gap.end - from).unwrap_or(usize::MAX).min(CHUNK_BYTES + HEADER_BYTES - 1);
        let mut chunk = vec![0; bytes];
        file.read_exact_at(&mut chunk, from)?;
        let is_member = |(place, header): &(usize, &[u8])| {
            let bytes = HEADER_BYTES + usize::from(u16_at(header, 26)) + usize::from(u16_at(header, 28));
            header.starts_with(HEADER) && from + (place + bytes) as u64 <= gap.end
        };
        if let Some((place, _)) = chunk.windows(HEADER_BYTES).enumerate().find(is_member) {
            return Ok(Some(from + place as u64));
        }
        from += CHUNK_BYTES as u64;
    }
    Ok(None)
}
