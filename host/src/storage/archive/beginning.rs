//! What a file is by its first bytes, which are at hand long before the rest.

use super::tar::is_header;
use super::{ArchiveError, FileType};

/// How many bytes that takes.
pub const BEGINNING_BYTES: usize = 512;

/// What a file is by its beginning.
///
/// # Errors
/// [`ArchiveError::Refused`], which says what it is, if that is known.
pub fn type_of(beginning: &[u8]) -> Result<FileType, ArchiveError> {
    if beginning.is_empty() {
        return Err(ArchiveError::Refused("it is empty".into()));
    }
    of(beginning).ok_or_else(|| {
        ArchiveError::Refused(match described(beginning) {
            Some(what) => format!("it looks like {what}"),
            None => "it does not begin like a zip or a tar, as it is or compressed".into(),
        })
    })
}

/// Makes sure that a file begins as its type does.
///
/// # Errors
/// [`ArchiveError::Refused`], which says what it is instead, if that is known.
pub fn check_beginning(beginning: &[u8], file_type: FileType) -> Result<(), ArchiveError> {
    let refuse = |why: String| Err(ArchiveError::Refused(why));
    if beginning.is_empty() {
        return refuse("it is empty".into());
    }
    match of(beginning) {
        Some(found) if found == file_type => Ok(()),
        Some(found) => refuse(format!("it was sent as `{file_type}`, and looks like `{found}`; say which it is")),
        None => match described(beginning) {
            Some(what) => refuse(format!("it was sent as `{file_type}`, and looks like {what}")),
            None => refuse(format!("it was sent as `{file_type}`, and does not begin like one")),
        },
    }
}

/// `None`: it is not accepted here.
fn of(beginning: &[u8]) -> Option<FileType> {
    match beginning {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(FileType::Zip),
        [0x1f, 0x8b, ..] => Some(FileType::TarGz),
        [b'B', b'Z', b'h', ..] => Some(FileType::TarBz2),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(FileType::TarXz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(FileType::TarZst),
        _ => is_header(beginning).then_some(FileType::Tar),
    }
}

/// What people send by mistake.
fn described(beginning: &[u8]) -> Option<&'static str> {
    let text = beginning.trim_ascii_start();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).to_ascii_lowercase();
    let begins = |magics: &[&[u8]]| magics.iter().any(|magic| beginning.starts_with(magic));
    if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") {
        return Some("a page in HTML, such as one to log in: look at what is there where the file comes from");
    }
    if begins(&[b"PK\x07\x08", b"PK00PK"]) {
        return Some("the first part of a zip archive in several; join them, such as with `zip -s 0`");
    }
    if begins(&[b"MZ", b"#!", b"\x7fELF"]) {
        return Some("a program, such as an archive that extracts itself; send the archive alone");
    }
    let known: [(&[u8], &str); 7] = [
        (b"7z\xbc\xaf\x27\x1c", "an archive of 7-Zip; make a zip or a tar of its files"),
        (b"Rar!", "an archive of RAR; make a zip or a tar of its files"),
        (b"!<arch>", "an archive of `ar`, such as a package of Debian; make a zip or a tar of its files"),
        (b"\xed\xab\xee\xdb", "a package of RPM; make a zip or a tar of its files"),
        (b"0707", "an archive of cpio; make a zip or a tar of its files"),
        (b"{", "JSON, such as a message about an error: look at what is there where the file comes from"),
        (b"--", "a multipart form; send the file alone, as `curl -T` does"),
    ];
    known.iter().find(|(magic, _)| beginning.starts_with(magic)).map(|(_, what)| *what)
}
