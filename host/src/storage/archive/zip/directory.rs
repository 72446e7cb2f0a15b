//! The directory of a zip archive, read record by record: what each member is called, and why it is refused, if it
//! is. A part of it is in memory at a time.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use flate2::Crc;

use super::end::{self, End, u16_at, u32_at};
use super::window::Window;
use crate::storage::archive::error::shown;
use crate::storage::archive::metered::{Meter, Stoppable};
use crate::storage::archive::names::{check_path, normal};
use crate::storage::archive::{ArchiveError, ArchiveLimits};

const RECORD_BYTES: usize = 46;
const RECORD: &[u8] = b"PK\x01\x02";
/// The latest version of zip that a member may need, which is the latest there is: 6.3.
const MAX_VERSION: u8 = 63;
/// The extension with the name in Unicode.
const UNICODE_PATH: u16 = 0x7075;
const IS_UTF8: u16 = 1 << 11;
/// By a password, in two ways, and the directory's own.
const IS_ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;
/// It is what has changed since another version.
const IS_PATCH: u16 = 1 << 5;
/// The attribute of a label on the file systems of DOS.
const IS_LABEL: u32 = 0x08;
/// What of an archive's 256 characters is not ASCII, where it does not say which it has.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
                     αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// How many members a part has at most, and from how many bytes on it has no more.
const PART: usize = 1000;
const PART_BYTES: usize = 1 << 20;

/// The directory of an archive, which is read part by part.
pub(super) struct Directory<'m> {
    pub(super) end: End,
    reader: Stoppable<'m, Window>,
    /// What is left of it, in bytes and in records.
    left: u64,
    entries: u64,
    /// A record that was read, and belongs to the next part.
    next: Option<(Record, Vec<u8>)>,
}

/// Some members that come one after the other in the directory.
pub(super) struct Part {
    pub(super) records: Vec<Record>,
    /// Their part of the directory, with an end after it.
    pub(super) directory: Vec<u8>,
}

/// A member, by its record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Where its header is.
    pub(super) header: u64,
    /// Null is the archive's root.
    pub(super) path: Option<String>,
    pub(super) is_directory: bool,
    flags: u16,
    /// What may be a mistake.
    pub(super) warning: Option<String>,
}

impl<'m> Directory<'m> {
    /// # Errors
    /// [`ArchiveError`] if the end of the archive is not sound, or the directory passes a limit.
    pub(super) fn open(file: &File, limits: &ArchiveLimits, meter: &'m Meter<'m>) -> Result<Self, ArchiveError> {
        let mut file = file.try_clone()?;
        let end = end::find(&mut file, meter)?;
        limits.check_entries(end.entries)?;
        let most = limits.names_bytes.saturating_add(RECORD_BYTES as u64 * end.entries);
        if end.directory_bytes > most {
            let why = format!("its names, comments and extensions are more than {} bytes together", limits.names_bytes);
            return Err(ArchiveError::TooMuch(why));
        }
        let mut window = Window::new(file, end.directory + end.directory_bytes, Vec::new());
        window.seek(SeekFrom::Start(end.directory))?;
        Ok(Self { reader: meter.stoppable(window), left: end.directory_bytes, entries: end.entries, end, next: None })
    }

    /// The next part. `None`: there is no more.
    ///
    /// # Errors
    /// [`ArchiveError`] if it is not sound, or something in it cannot be taken.
    pub(super) fn next(&mut self) -> Result<Option<Part>, ArchiveError> {
        if self.entries == 0 {
            return if self.left > 0 { Err(another()) } else { Ok(None) };
        }
        let (mut part, mut names) = (Part { records: Vec::new(), directory: Vec::new() }, HashSet::new());
        while self.entries > 0 && part.records.len() < PART && part.directory.len() < PART_BYTES {
            let (record, bytes) = match self.next.take() {
                Some(next) => next,
                None => self.read_record()?,
            };
            // The library keeps one of each name, so what is in it twice comes in two parts.
            if !names.insert(record.path.clone()) {
                self.next = Some((record, bytes));
                break;
            }
            part.directory.extend(bytes);
            part.records.push(record);
            self.entries -= 1;
        }
        let (bytes, entries) = (part.directory.len() as u64, part.records.len() as u64);
        part.directory.extend(end::record(self.end.directory, bytes, entries));
        Ok(Some(part))
    }

    fn read_record(&mut self) -> Result<(Record, Vec<u8>), ArchiveError> {
        let mut bytes = Vec::new();
        self.read(RECORD_BYTES, &mut bytes)?;
        if !bytes.starts_with(RECORD) {
            return Err(another());
        }
        let [name_bytes, more_bytes, comment_bytes] = [28, 30, 32].map(|place| usize::from(u16_at(&bytes, place)));
        self.read(name_bytes + more_bytes + comment_bytes, &mut bytes)?;
        let (fixed, variable) = bytes.split_at(RECORD_BYTES);
        let (name, variable) = variable.split_at(name_bytes);
        let record = described(fixed, name, &variable[..more_bytes])?;
        Ok((record, bytes))
    }

    /// Reads more of it.
    fn read(&mut self, bytes: usize, directory: &mut Vec<u8>) -> Result<(), ArchiveError> {
        self.left = self.left.checked_sub(bytes as u64).ok_or_else(another)?;
        let from = directory.len();
        directory.resize(from + bytes, 0);
        Ok(self.reader.read_exact(&mut directory[from..])?)
    }
}

impl Part {
    /// Says which name is in it twice.
    pub(super) fn twice(&self) -> String {
        let mut paths: Vec<_> = self.records.iter().filter_map(|record| record.path.as_deref()).collect();
        paths.sort_unstable();
        let twice = paths.windows(2).find(|pair| pair[0] == pair[1]).map_or("a name", |pair| pair[0]);
        format!("`{}` is in it twice; make the archive anew", shown(twice))
    }
}

impl Record {
    /// Makes sure that the member's header says the same of how it is to be read, which some programs go by.
    pub(super) fn check_header(&self, file: &File) -> Result<(), ArchiveError> {
        let mut in_header = [0; 2];
        file.read_exact_at(&mut in_header, self.header.saturating_add(6))?;
        if (u16::from_le_bytes(in_header) ^ self.flags) & (IS_UTF8 | IS_ENCRYPTED | IS_PATCH) == 0 {
            return Ok(());
        }
        let path = self.path.as_deref().unwrap_or(".");
        Err(ArchiveError::in_member(path, "is to be read in another way by its header than by the directory"))
    }
}

pub(super) fn another() -> ArchiveError {
    ArchiveError::Refused("its end says another size or place of its directory than it has".into())
}

/// Where a member's header is.
fn header_of(fixed: &[u8], more: &[u8]) -> u64 {
    let header = u32_at(fixed, 42);
    // In an archive of 64 bits those numbers come in this order that do not fit.
    let before = [24, 20].iter().filter(|place| u32_at(fixed, **place) == u32::MAX).count() * 8;
    match extension(more, 1).and_then(|large| large.get(before..before + 8)) {
        Some(large) if header == u32::MAX => large.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)),
        _ => header.into(),
    }
}

fn described(fixed: &[u8], name: &[u8], more: &[u8]) -> Result<Record, ArchiveError> {
    let (system, flags, method) = (fixed[5], u16_at(fixed, 8), u16_at(fixed, 10));
    let (text, mut warning) = named(name, more, flags & IS_UTF8 != 0)?;
    let refuse = |why: &str| Err(ArchiveError::in_member(&text, why));
    if flags & IS_ENCRYPTED != 0 {
        return refuse("is encrypted; make the archive without a password");
    }
    if u32_at(fixed, 38) & IS_LABEL != 0 && is_windows(system) {
        return refuse("is the label of a volume; make the archive without it, by `zip` without `-$`");
    }
    check_method(&text, method)?;
    if flags & IS_PATCH != 0 {
        return refuse("is a patch of another version; make the archive of whole files");
    }
    if fixed[6] > MAX_VERSION {
        return refuse("is for programs of a later time than there are, by its version; make the archive anew");
    }
    let mut path = text;
    if is_windows(system) && path.contains('\\') {
        path = path.replace('\\', "/");
        warning = Some(format!("`{}` has backslashes in the archive, which were taken for slashes", shown(&path)));
    }
    let (header, is_directory) = (header_of(fixed, more), path.ends_with('/'));
    Ok(Record { header, path: normal(&path), is_directory, flags, warning })
}

/// FAT, NTFS and VFAT: programs there split paths by backslashes.
fn is_windows(system: u8) -> bool {
    matches!(system, 0 | 10 | 14)
}

fn check_method(name: &str, method: u16) -> Result<(), ArchiveError> {
    let called = match method {
        0 | 8 | 12 => return Ok(()),
        1 => "shrink",
        2..=5 => "reduce",
        6 => "implode",
        9 => "deflate64, as Windows does for large files",
        14 => "lzma",
        93 | 20 => "zstd",
        95 => "xz",
        98 => "ppmd",
        99 => return Err(ArchiveError::in_member(name, "is encrypted; make the archive without a password")),
        _ => "a method that is not known here",
    };
    let why = format!("is compressed by {called} (method {method}); make the archive with deflate, such as by `zip`");
    Err(ArchiveError::in_member(name, why))
}

/// A member's name, and a warning if it may be wrong.
fn named(name: &[u8], more: &[u8], is_utf8: bool) -> Result<(String, Option<String>), ArchiveError> {
    let (text, is_guessed) = match std::str::from_utf8(name) {
        Ok(text) => (text.to_owned(), !is_utf8 && !text.is_ascii()),
        Err(_) if is_utf8 => {
            return Err(ArchiveError::in_member(&String::from_utf8_lossy(name), "is not a name in UTF-8"));
        }
        Err(_) => (from_cp437(name), true),
    };
    let Some(unicode) = unicode_path(name, more) else {
        let warning = is_guessed.then(|| {
            format!("`{}` is in the archive without saying in which characters, and was read so", shown(&text))
        });
        return Ok((text, warning));
    };
    if unicode == text {
        return Ok((text, None));
    }
    // Programs that do not know the extension see what is in the header.
    if let Some(path) = normal(&text.replace('\\', "/")) {
        check_path(&path)?;
    }
    if is_twin(name, &unicode) {
        return Ok((unicode, None));
    }
    Err(ArchiveError::in_member(&text, "has another name in its header than in an extension"))
}

/// Whether the one may stand for the other in programs that know ASCII only.
fn is_twin(name: &[u8], unicode: &str) -> bool {
    let (parts, unicode): (Vec<_>, Vec<_>) = (name.split(|byte| *byte == b'/').collect(), unicode.split('/').collect());
    let fits = |(part, unicode): (&&[u8], &&str)| !unicode.is_ascii() || *part == unicode.as_bytes();
    parts.len() == unicode.len() && parts.iter().zip(&unicode).all(fits)
}

/// The name in Unicode, if there is one beside the header's, and it is of this name.
fn unicode_path(name: &[u8], more: &[u8]) -> Option<String> {
    let (version, rest) = extension(more, UNICODE_PATH)?.split_first()?;
    let (sum, unicode) = rest.split_at_checked(4)?;
    let mut crc = Crc::new();
    crc.update(name);
    let is_of_name = *version == 1 && sum == crc.sum().to_le_bytes();
    String::from_utf8(unicode.to_vec()).ok().filter(|_| is_of_name)
}

/// An extension of a record. `None`: the record does not have it.
fn extension(mut more: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some((head, rest)) = more.split_at_checked(4) {
        let (content, next) = rest.split_at_checked(u16_at(head, 2).into())?;
        if u16_at(head, 0) == wanted {
            return Some(content);
        }
        more = next;
    }
    None
}

fn from_cp437(name: &[u8]) -> String {
    let upper: Vec<char> = CP437.chars().collect();
    let read = |byte: &u8| match byte.checked_sub(128) {
        None => char::from(*byte),
        Some(place) => upper.get(usize::from(place)).copied().unwrap_or('\u{fffd}'),
    };
    name.iter().map(read).collect()
}
