//! Archives that somebody else has made: looked through, and taken apart into packages, without ever unpacking one.
//!
//! Knows no store: it reads and writes open files, and blocks while it does. An archive that [`inspect`] accepts has
//! been read to its last byte and holds no name that leads out of the directory it is unpacked in, or that two programs
//! could read differently; [`package`] may rely on it and refuses nothing but what the packages would come to. What is in
//! memory does not grow with the files' contents, and the names in it are bounded.

mod error;
mod metered;
mod names;
mod selection;
mod tar;
mod zip;

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::sync::atomic::AtomicBool;

pub use self::error::ArchiveError;
use self::metered::Meter;
use self::names::Names;
pub use self::selection::{Packaged, Selection};
use self::selection::{Selected, select};

/// What kind of archive a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileType {
    /// A zip archive.
    Zip,
    /// A tar archive, compressed by gzip.
    TarGz,
    /// A tar archive, compressed by bzip2.
    TarBz2,
}

impl FileType {
    /// What the beginning of a file looks like; none: nothing that is known here.
    fn of(beginning: &[u8]) -> Option<Self> {
        match beginning {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Self::Zip),
            [0x1f, 0x8b, ..] => Some(Self::TarGz),
            [b'B', b'Z', b'h', ..] => Some(Self::TarBz2),
            _ => None,
        }
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zip => "zip",
            Self::TarGz => "tar.gz",
            Self::TarBz2 => "tar.bz2",
        })
    }
}

/// What may be in an archive.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveLimits {
    /// How many files, links and directories.
    pub entries: u64,
    /// How many bytes it may unpack to.
    pub unpacked_bytes: u64,
    /// How long all names and the targets of links may be together, in bytes.
    pub names_bytes: u64,
}

/// What is in an archive.
#[derive(Debug)]
pub struct Contents {
    /// The paths of its files and links, in its order.
    pub files: Vec<String>,
    /// What may be a mistake: up to 1000 of them.
    pub warnings: Vec<String>,
}

/// A file, link or directory in an archive.
#[derive(Clone, Debug)]
struct Member {
    /// From the archive's root, without a slash at either end.
    path: String,
    kind: MemberKind,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum MemberKind {
    File,
    Directory,
    /// A link to a path from where it is.
    Symlink(String),
    /// Another name of an earlier file.
    HardLink(String),
}

/// Reads the whole archive, and says what is in it.
///
/// # Errors
/// [`ArchiveError`] if something in it is not sound, or passes a limit; [`ArchiveError::Stopped`] soon after `stop` has
/// become true.
pub fn inspect(
    file: File,
    file_type: FileType,
    limits: &ArchiveLimits,
    stop: &AtomicBool,
) -> Result<Contents, ArchiveError> {
    check_type(&file, file_type)?;
    let (mut names, meter) = (Names::new(limits), Meter::new(limits, stop));
    match file_type {
        FileType::Zip => zip::inspect(file, &meter, &mut names)?,
        FileType::TarGz | FileType::TarBz2 => {
            tar::walk(file, file_type, &meter, |found, content| {
                names.add(&found.member)?;
                Ok(std::io::copy(content, &mut std::io::sink()).map(drop)?)
            })?;
        }
    }
    let contents = names.into_contents();
    if contents.files.is_empty() {
        return Err(ArchiveError::Refused("it has no file in it".into()));
    }
    Ok(contents)
}

/// Makes packages of an archive that was inspected, in one pass: each is written to the file that comes with it, and is
/// an archive of the same type. The same master and selection make the same bytes.
///
/// # Errors
/// [`ArchiveError`] if the paths in a package would not be sound; [`ArchiveError::Stopped`].
pub fn package(
    master: File,
    file_type: FileType,
    limits: &ArchiveLimits,
    packages: Vec<(Selection, File)>,
    stop: &AtomicBool,
) -> Result<Vec<Packaged>, ArchiveError> {
    let meter = Meter::new(limits, stop);
    let (selections, outputs): (Vec<_>, Vec<_>) = packages.into_iter().unzip();
    let selected = selections.iter().map(|selection| select(selection, limits)).collect::<Result<Vec<_>, _>>()?;
    let selected = match file_type {
        FileType::Zip => zip::package(master, &meter, selected, outputs)?,
        FileType::TarGz | FileType::TarBz2 => tar::package(master, file_type, &meter, selected, outputs)?,
    };
    Ok(selected.into_iter().map(Selected::into_packaged).collect())
}

fn check_type(mut file: &File, file_type: FileType) -> Result<(), ArchiveError> {
    let mut beginning = Vec::new();
    file.take(4).read_to_end(&mut beginning)?;
    file.rewind()?;
    match FileType::of(&beginning) {
        Some(found) if found == file_type => Ok(()),
        Some(found) => Err(ArchiveError::Refused(format!(
            "it was sent as `{file_type}`, and looks like `{found}`; say which it is"
        ))),
        None => Err(ArchiveError::Refused(format!("it was sent as `{file_type}`, and does not begin like one"))),
    }
}

#[cfg(test)]
mod tests;
