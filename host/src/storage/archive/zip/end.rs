//! Where a zip archive ends, and where its directory is. Looked for before anything of it is held in memory.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};

use crate::storage::archive::ArchiveError;
use crate::storage::archive::metered::Meter;

/// What an archive ends with, without its comment.
const END_BYTES: usize = 22;
const END: &[u8] = b"PK\x05\x06";
/// The longest comment after that.
const MAX_COMMENT_BYTES: u64 = 0xffff;
/// What stands before that in an archive of 64 bits, and says where its own record of the end is.
const LOCATOR_BYTES: u64 = 20;
const LOCATOR: &[u8] = b"PK\x06\x07";
const END_64_BYTES: usize = 56;
const END_64: &[u8] = b"PK\x06\x06";
/// The version that programs have to know for that: 4.5.
const VERSION_64: u8 = 45;
/// What is read at a time, from the end.
const CHUNK_BYTES: u64 = 64 * 1024;

/// Where things are in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct End {
    /// Where the archive ends: after that there are only zeros.
    pub(super) archive_bytes: u64,
    /// Where its directory begins.
    pub(super) directory: u64,
    pub(super) directory_bytes: u64,
    /// How many members the directory has.
    pub(super) entries: u64,
}

/// # Errors
/// [`ArchiveError`] if there is no end record, or it does not match the data that it points to.
pub(super) fn find(file: &mut File, meter: &Meter<'_>) -> Result<End, ArchiveError> {
    let file_bytes = file.seek(SeekFrom::End(0))?;
    let written = without_zeros(file, file_bytes, meter)?;
    // The record may end with zeros itself.
    let from = written.saturating_sub(END_BYTES as u64 + MAX_COMMENT_BYTES);
    let until = file_bytes.min(written + END_BYTES as u64);
    let tail = read_at(file, from, usize::try_from(until - from).unwrap_or_default())?;
    let mut behind = false;
    for place in (0..(tail.len() + 1).saturating_sub(END_BYTES)).rev().filter(|place| tail[*place..].starts_with(END)) {
        let record = &tail[place..place + END_BYTES];
        let ends = from + place as u64 + END_BYTES as u64 + u64::from(u16_at(record, 20));
        if ends >= written && ends <= file_bytes {
            return described(file, from + place as u64, record, ends);
        }
        behind |= ends < written;
    }
    if behind {
        return Err(ArchiveError::Refused("something stands after the zip archive in it".into()));
    }
    Err(ArchiveError::Damaged("the directory at its end is missing".into()))
}

/// How long the file is without the zeros at its end.
fn without_zeros(file: &mut File, file_bytes: u64, meter: &Meter<'_>) -> Result<u64, ArchiveError> {
    let mut end = file_bytes;
    while end > 0 {
        meter.check()?;
        let begin = end.saturating_sub(CHUNK_BYTES);
        let chunk = read_at(file, begin, usize::try_from(end - begin).unwrap_or_default())?;
        if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
            return Ok(begin + last as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

fn described(file: &mut File, place: u64, record: &[u8], archive_bytes: u64) -> Result<End, ArchiveError> {
    let mut disks = [u16_at(record, 4), u16_at(record, 6)].map(u32::from);
    let mut entries = [u16_at(record, 8), u16_at(record, 10)].map(u64::from);
    let (mut directory_bytes, mut directory) = (u64::from(u32_at(record, 12)), u64::from(u32_at(record, 16)));
    let mut end = place;
    if let Some((record, place)) = end_64(file, place)? {
        let large = (
            [u32_at(&record, 16), u32_at(&record, 20)],
            [u64_at(&record, 24), u64_at(&record, 32)],
            u64_at(&record, 40),
            u64_at(&record, 48),
        );
        let same = |small: u64, most: u64, large: u64| small == most || small == large;
        let agree = same(entries[1], 0xffff, large.1[1])
            && same(directory_bytes, 0xffff_ffff, large.2)
            && same(directory, 0xffff_ffff, large.3);
        if !agree {
            return Err(ArchiveError::Refused("its two records of its end contradict each other".into()));
        }
        (disks, entries, directory_bytes, directory, end) = (large.0, large.1, large.2, large.3, place);
    }
    if disks != [0, 0] || entries[0] != entries[1] {
        let why = "it is one of several parts of an archive; join them, such as with `zip -s 0`";
        return Err(ArchiveError::Refused(why.into()));
    }
    match directory.checked_add(directory_bytes) {
        Some(found) if found == end => Ok(End { archive_bytes, directory, directory_bytes, entries: entries[0] }),
        Some(found) if found < end && begins(file, end - directory_bytes)? => Err(stands_before(file)?),
        _ => Err(ArchiveError::Refused("its end says another size or place of its directory than it has".into())),
    }
}

/// The 64-bit end record, with its place. `None`: the archive does not have it.
fn end_64(file: &mut File, end: u64) -> Result<Option<(Vec<u8>, u64)>, ArchiveError> {
    let Some(locator) = end.checked_sub(LOCATOR_BYTES) else { return Ok(None) };
    let found = read_at(file, locator, LOCATOR.len() + 16)?;
    if !found.starts_with(LOCATOR) {
        return Ok(None);
    }
    let place = u64_at(&found, 8);
    let damaged = || ArchiveError::Damaged("the record of its end for 64 bits is not where it should be".into());
    if place.checked_add(END_64_BYTES as u64).is_none_or(|end| end > locator) {
        return Err(damaged());
    }
    let record = read_at(file, place, END_64_BYTES)?;
    let is_one = record.starts_with(END_64) && place.checked_add(12 + u64_at(&record, 4)) == Some(locator);
    if is_one { Ok(Some((record, place))) } else { Err(damaged()) }
}

/// Whether a directory begins there.
fn begins(file: &mut File, place: u64) -> io::Result<bool> {
    Ok(read_at(file, place, 4)? == b"PK\x01\x02")
}

/// Something stands before the archive: what it is, and what to do.
pub(super) fn stands_before(file: &mut File) -> io::Result<ArchiveError> {
    file.rewind()?;
    let mut beginning = Vec::new();
    file.take(4).read_to_end(&mut beginning)?;
    let is_program = [&b"MZ"[..], b"#!", b"\x7fELF"].iter().any(|magic| beginning.starts_with(magic));
    Ok(ArchiveError::Refused(if is_program {
        "it is a program with a zip archive at its end, as archives that extract themselves are; send the archive alone, \
         such as after `zip -A` and `zip -J`"
            .into()
    } else {
        "something stands before the zip archive in it".into()
    }))
}

pub(super) fn read_at(file: &mut File, place: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut read = vec![0; bytes];
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut read)?;
    Ok(read)
}

/// The end of an archive whose directory is there, without a comment.
pub(super) fn record(directory: u64, directory_bytes: u64, entries: u64) -> Vec<u8> {
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let count = u16::try_from(entries).unwrap_or(u16::MAX).to_le_bytes();
    let mut record = Vec::new();
    if entries >= u64::from(u16::MAX) || directory.max(directory_bytes) >= u64::from(u32::MAX) {
        let [entries, bytes, place, end] =
            [entries, directory_bytes, directory, directory + directory_bytes].map(u64::to_le_bytes);
        record.extend(
            [END_64, &(END_64_BYTES as u64 - 12).to_le_bytes(), &[VERSION_64, 0, VERSION_64, 0], &[0; 8]].concat(),
        );
        record.extend([entries, entries, bytes, place].concat());
        record.extend([LOCATOR, &[0; 4], &end, &[1, 0, 0, 0]].concat());
    }
    record.extend([END, &[0; 4], &count, &count, &small(directory_bytes), &small(directory), &[0; 2]].concat());
    record
}

pub(super) fn u16_at(bytes: &[u8], place: usize) -> u16 {
    u16::from_le_bytes([bytes[place], bytes[place + 1]])
}

pub(super) fn u32_at(bytes: &[u8], place: usize) -> u32 {
    u32::from(u16_at(bytes, place)) | u32::from(u16_at(bytes, place + 2)) << 16
}

fn u64_at(bytes: &[u8], place: usize) -> u64 {
    u64::from(u32_at(bytes, place)) | u64::from(u32_at(bytes, place + 4)) << 32
}
