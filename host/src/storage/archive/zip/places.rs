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
        let mut free = 0;
        for place in self.0.into_iter().chain(std::iter::once(directory..directory)) {
            if place.start < free {
                return Err(ArchiveError::Refused("two of its members are in the same place; make it anew".into()));
            }
            if has_member(file, free..place.start, meter)? {
                return Err(ArchiveError::Refused("it has a member that is not in its directory; make it anew".into()));
            }
            free = place.end;
        }
        Ok(())
    }
}

/// Whether there is a header with room for what it says.
fn has_member(file: &File, gap: Range<u64>, meter: &Meter<'_>) -> Result<bool, ArchiveError> {
    let mut from = gap.start;
    while gap.end.saturating_sub(from) >= HEADER_BYTES as u64 {
        meter.check()?;
        let bytes = usize::try_from(gap.end - from).unwrap_or(usize::MAX).min(CHUNK_BYTES + HEADER_BYTES - 1);
        let mut chunk = vec![0; bytes];
        file.read_exact_at(&mut chunk, from)?;
        let is_member = |(place, header): (usize, &[u8])| {
            let bytes = HEADER_BYTES + usize::from(u16_at(header, 26)) + usize::from(u16_at(header, 28));
            header.starts_with(HEADER) && from + (place + bytes) as u64 <= gap.end
        };
        if chunk.windows(HEADER_BYTES).enumerate().any(is_member) {
            return Ok(true);
        }
        from += CHUNK_BYTES as u64;
    }
    Ok(false)
}
