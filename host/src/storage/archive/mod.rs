//! Archives that somebody else has made: looked through, and taken apart into packages, without ever unpacking one.
//!
//! Knows no store: it reads and writes open files, and blocks while it does. An archive that [`inspect`] accepts has
//! been read to its last byte and holds no name that leads out of the directory it is unpacked in, or that two programs
//! could read differently; [`package`] may rely on it and refuses nothing but what the packages would come to. What is in
//! memory does not grow with the files' contents, and the names in it are bounded.

mod beginning;
mod error;
mod metered;
mod names;
mod output;
mod paths;
mod selection;
mod stream;
mod tar;
mod twice;
mod zip;

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek as _};
use std::sync::atomic::{AtomicBool, Ordering};

pub use self::beginning::{BEGINNING_BYTES, check_beginning, type_of};
pub use self::error::ArchiveError;
use self::metered::Meter;
use self::names::Names;
pub use self::selection::{Packaged, Selection, Sources};
use self::selection::{Selected, select};

/// What kind of archive a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileType {
    /// A zip archive.
    Zip,
    /// A tar archive as it is.
    Tar,
    /// A tar archive, compressed by gzip.
    TarGz,
    /// A tar archive, compressed by bzip2.
    TarBz2,
    /// A tar archive, compressed by xz.
    TarXz,
    /// A tar archive, compressed by zstd.
    TarZst,
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::TarBz2 => "tar.bz2",
            Self::TarXz => "tar.xz",
            Self::TarZst => "tar.zst",
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
    /// How long all names and the targets of links may be together, in bytes. Of a zip they are counted again with all
    /// comments and extensions in its directory.
    pub names_bytes: u64,
    /// How many times its file its packages may be together. They may always be 16 MiB.
    pub packages_factor: u64,
}

/// What packages may be together, however small their archive is.
const LEAST_PACKAGES_BYTES: u64 = 16 << 20;

impl ArchiveLimits {
    /// What packages of a file of so many bytes may be together.
    pub fn packages_bytes(&self, file_bytes: u64) -> u64 {
        file_bytes.saturating_mul(self.packages_factor).max(LEAST_PACKAGES_BYTES)
    }

    /// Makes sure that there may be so many members.
    fn check_entries(&self, entries: u64) -> Result<(), ArchiveError> {
        let most = self.entries;
        if entries <= most {
            return Ok(());
        }
        Err(ArchiveError::TooMuch(format!("it has more than {most} files and directories")))
    }
}

/// What is in an archive.
#[derive(Debug)]
pub struct Contents {
    /// The paths of its files and links, in its order.
    pub files: Vec<String>,
    /// The paths of its directories that have nothing in them: up to 1000 of them.
    pub empty_directories: Vec<String>,
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

/// A member of an archive, as it is shown to who reads it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// From the archive's root, without a slash at either end.
    pub path: &'a str,
    /// What it is.
    pub kind: ShownKind<'a>,
    /// The length of its content, in bytes.
    pub size_bytes: u64,
}

/// What a member is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShownKind<'a> {
    /// A file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A directory.
    Directory,
    /// A link to a path from where it is.
    Symlink(&'a str),
    /// Another name of an earlier file.
    HardLink(&'a str),
}

/// Sees each member with its content, of which it may leave something unread.
pub type Visit<'v> = &'v mut dyn FnMut(Shown<'_>, &mut dyn Read) -> Result<(), ArchiveError>;

/// The permission to execute that is its owner's.
const OWNER_EXECUTES: u32 = 0o100;

impl Member {
    fn shown(&self, mode: u32, size_bytes: u64) -> Shown<'_> {
        let kind = match &self.kind {
            MemberKind::File => ShownKind::File { executable: mode & OWNER_EXECUTES != 0 },
            MemberKind::Directory => ShownKind::Directory,
            MemberKind::Symlink(target) => ShownKind::Symlink(target),
            MemberKind::HardLink(target) => ShownKind::HardLink(target),
        };
        Shown { path: &self.path, kind, size_bytes }
    }
}

/// Reads the whole archive, shows each member once, and says what is in it.
///
/// # Errors
/// [`ArchiveError`] if something in it is not sound, or passes a limit; [`ArchiveError::Stopped`] soon after `stop` has
/// become true; and those of `visit`.
pub fn inspect(
    file: File,
    file_type: FileType,
    limits: &ArchiveLimits,
    stop: &AtomicBool,
    visit: Visit<'_>,
) -> Result<Contents, ArchiveError> {
    match look_through(file, file_type, limits, stop, visit) {
        // However the libraries say that they were stopped.
        Err(_) if stop.load(Ordering::Relaxed) => Err(ArchiveError::Stopped),
        looked => looked,
    }
}

fn look_through(
    mut file: File,
    file_type: FileType,
    limits: &ArchiveLimits,
    stop: &AtomicBool,
    visit: Visit<'_>,
) -> Result<Contents, ArchiveError> {
    let mut beginning = Vec::new();
    (&file).take(BEGINNING_BYTES as u64).read_to_end(&mut beginning)?;
    check_beginning(&beginning, file_type)?;
    file.rewind()?;
    let (mut names, meter) = (Names::new(limits), Meter::new(limits, 0, stop));
    match file_type {
        FileType::Zip => zip::inspect(file, limits, &meter, &mut names, visit)?,
        _ => tar::inspect(&file, file_type, &meter, &mut names, visit)?,
    }
    let contents = names.into_contents()?;
    if contents.files.is_empty() {
        return Err(ArchiveError::Refused("it has no file in it".into()));
    }
    Ok(contents)
}

/// Shows the wanted members of an archive that was inspected. One that is in it twice is shown twice.
///
/// # Errors
/// Those of `visit`; [`ArchiveError::Stopped`].
pub fn read(
    file: File,
    file_type: FileType,
    limits: &ArchiveLimits,
    stop: &AtomicBool,
    is_wanted: &dyn Fn(&str) -> bool,
    visit: Visit<'_>,
) -> Result<(), ArchiveError> {
    let meter = Meter::new(limits, 0, stop);
    let shown = match file_type {
        FileType::Zip => zip::read(file, limits, &meter, is_wanted, visit),
        _ => tar::walk(&file, file_type, &meter, |found, content| {
            let shown = found.shown();
            if is_wanted(shown.path) { visit(shown, content) } else { Ok(()) }
        }),
    };
    match shown {
        Err(_) if stop.load(Ordering::Relaxed) => Err(ArchiveError::Stopped),
        shown => shown,
    }
}

/// How many files the archive may have of which as many packages are made at once as there are. The names of all packages
/// that are being made are in memory.
const FILES_AT_ONCE: usize = 200_000;

/// How many packages of an archive with so many files are made at once.
pub fn packages_at_once(files: usize) -> usize {
    (FILES_AT_ONCE / files.max(1)).max(1)
}

/// Makes packages of an archive that was inspected, in one pass: each is written to the file that comes with it, and is
/// an archive of the same type. The same master and selection make the same bytes. `written_bytes` is the length of the
/// packages that were made of it before: all count together.
///
/// # Errors
/// [`ArchiveError`] if the paths in a package would not be sound; [`ArchiveError::Stopped`].
pub fn package(
    master: File,
    file_type: FileType,
    limits: &ArchiveLimits,
    packages: Vec<(Selection, File)>,
    written_bytes: u64,
    stop: &AtomicBool,
) -> Result<Vec<Packaged>, ArchiveError> {
    match make_packages(master, file_type, limits, packages, written_bytes, stop) {
        Err(_) if stop.load(Ordering::Relaxed) => Err(ArchiveError::Stopped),
        made => made,
    }
}

fn make_packages(
    master: File,
    file_type: FileType,
    limits: &ArchiveLimits,
    packages: Vec<(Selection, File)>,
    written_bytes: u64,
    stop: &AtomicBool,
) -> Result<Vec<Packaged>, ArchiveError> {
    let meter = Meter::new(limits, master.metadata()?.len(), stop);
    meter.wrote(written_bytes);
    let (selections, outputs): (Vec<_>, Vec<_>) = packages.into_iter().unzip();
    let selected = selections.iter().map(|selection| select(selection, limits)).collect::<Result<Vec<_>, _>>()?;
    let selected = match file_type {
        FileType::Zip => zip::package(master, limits, &meter, selected, outputs)?,
        _ => tar::package(&master, file_type, &meter, selected, outputs)?,
    };
    selected.into_iter().map(Selected::into_packaged).collect()
}

#[cfg(test)]
mod tests;
