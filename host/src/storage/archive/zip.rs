//! Zip archives: read by their directory, which has to say the same as what stands before each member.

mod directory;
mod end;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write as _};

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use self::directory::{Directory, Record};
use super::metered::{Meter, Stoppable};
use super::names::{Added, Names};
use super::output::Output;
use super::selection::{Packed, Selected};
use super::{ArchiveError, ArchiveLimits, Member, MemberKind, Visit};

/// The longest target of a link.
const MAX_TARGET_BYTES: u64 = 4096;
/// Of a mode only who may read, write and execute: no setuid, no setgid, no sticky bit.
const PERMISSIONS: u32 = 0o777;
/// Of a mode what kind of file it is, and the kinds.
const KIND: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

type Reader<'m> = BufReader<Stoppable<'m, Upto>>;

/// An archive, and what its directory says of it.
struct Opened<'m> {
    archive: ZipArchive<Reader<'m>>,
    directory: Directory,
}

/// Reads the whole archive, and adds what is in it.
pub(super) fn inspect(
    file: File,
    limits: &ArchiveLimits,
    meter: &Meter<'_>,
    names: &mut Names,
    visit: Visit<'_>,
) -> Result<(), ArchiveError> {
    let mut raw = file.try_clone()?;
    let mut opened = Opened::new(file, limits, meter)?;
    opened.check_beginning(&mut raw)?;
    opened.archive.validate_header_consistency()?;
    for warning in std::mem::take(&mut opened.directory.warnings) {
        names.warn(|| warning);
    }
    for index in 0..opened.archive.len() {
        meter.check()?;
        let header = opened.archive.by_index_data(index)?.header_start();
        opened.directory.check_header(&raw, header)?;
        let Some(ZipMember { member, mode }) = opened.found(index)? else { continue };
        let added = names.add(&member)?;
        if added == Added::Twice {
            return Err(ArchiveError::in_member(&member.path, "is in it twice; make the archive anew"));
        }
        let entry = opened.archive.by_index(index)?;
        let size_bytes = entry.size();
        let mut content = meter.read(entry).take(u64::MAX);
        if added == Added::New {
            visit(member.shown(mode.unwrap_or_default(), size_bytes), &mut content)?;
        }
        io::copy(&mut content, &mut io::sink())?;
        let read = u64::MAX - content.limit();
        if read != size_bytes {
            return Err(ArchiveError::in_member(&member.path, format!("has {read} bytes and says {size_bytes}")));
        }
    }
    Ok(())
}

/// Shows each member of an archive that was inspected. What nobody reads is not unpacked.
pub(super) fn read(
    file: File,
    limits: &ArchiveLimits,
    meter: &Meter<'_>,
    visit: Visit<'_>,
) -> Result<(), ArchiveError> {
    let mut opened = Opened::new(file, limits, meter)?;
    for index in 0..opened.archive.len() {
        meter.check()?;
        let Some(ZipMember { member, mode }) = opened.found(index)? else { continue };
        let entry = opened.archive.by_index(index)?;
        let size_bytes = entry.size();
        visit(member.shown(mode.unwrap_or_default(), size_bytes), &mut meter.read(entry))?;
    }
    Ok(())
}

impl<'m> Opened<'m> {
    fn new(mut file: File, limits: &ArchiveLimits, meter: &'m Meter<'m>) -> Result<Self, ArchiveError> {
        let directory = Directory::read(&mut file, limits, meter)?;
        file.rewind()?;
        let upto = Upto { file, position: 0, end: directory.end.archive_bytes };
        let archive = ZipArchive::new(BufReader::new(meter.stoppable(upto)))?;
        // The library keeps one of each name.
        if (archive.len() as u64) < directory.end.entries {
            return Err(ArchiveError::Refused(directory.twice()));
        }
        Ok(Self { archive, directory })
    }

    /// Nothing stands before the first member.
    fn check_beginning(&mut self, file: &mut File) -> Result<(), ArchiveError> {
        let starts = (0..self.archive.len()).map(|index| Ok(self.archive.by_index_data(index)?.header_start()));
        let first = starts.collect::<Result<Vec<_>, ArchiveError>>()?.into_iter().min().unwrap_or(0);
        if self.archive.offset() + first > 0 { Err(end::stands_before(file)?) } else { Ok(()) }
    }

    /// One member. `None`: it is the archive's root.
    fn found(&mut self, index: usize) -> Result<Option<ZipMember>, ArchiveError> {
        let entry = self.archive.by_index_data(index)?;
        let (header, mode, size_bytes) = (entry.header_start(), entry.unix_mode(), entry.size());
        let Record { path, is_directory, .. } = self.directory.record(header)?;
        let Some(path) = path.clone() else {
            return if *is_directory && size_bytes == 0 { Ok(None) } else { Err(ArchiveError::root(".")) };
        };
        let kind = match mode.map_or(0, |mode| mode & KIND) {
            _ if *is_directory => MemberKind::Directory,
            LINK if size_bytes > MAX_TARGET_BYTES => {
                return Err(ArchiveError::in_member(&path, "is a link to something very long"));
            }
            LINK => {
                let mut target = Vec::new();
                self.archive.by_index(index)?.take(MAX_TARGET_BYTES + 1).read_to_end(&mut target)?;
                let target = String::from_utf8(target);
                MemberKind::Symlink(
                    target.map_err(|_| ArchiveError::in_member(&path, "is a link to a name that is not in UTF-8"))?,
                )
            }
            REGULAR | 0 => MemberKind::File,
            DIRECTORY => {
                return Err(ArchiveError::in_member(&path, "is a directory by its mode, and a file by its name"));
            }
            _ => return Err(ArchiveError::in_member(&path, "is neither a file nor a link nor a directory")),
        };
        if kind == MemberKind::Directory && size_bytes > 0 {
            return Err(ArchiveError::in_member(&path, "has a content, and is not a file"));
        }
        Ok(Some(ZipMember { member: Member { path, kind }, mode }))
    }
}

/// A file up to where its archive ends.
struct Upto {
    file: File,
    position: u64,
    end: u64,
}

impl Read for Upto {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let most = buffer.len().min(left);
        let read = self.file.read(&mut buffer[..most])?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Upto {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::End(offset) => self.end.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
            SeekFrom::Start(to) => Some(to),
        };
        self.position = self.file.seek(SeekFrom::Start(to.ok_or(io::ErrorKind::InvalidInput)?))?;
        Ok(self.position)
    }
}

/// A member of a zip.
struct ZipMember {
    member: Member,
    mode: Option<u32>,
}

/// Writes each package. What is compressed is copied as it is.
pub(super) fn package<'s>(
    master: File,
    limits: &ArchiveLimits,
    meter: &Meter<'_>,
    mut selected: Vec<Selected<'s>>,
    outputs: Vec<File>,
) -> Result<Vec<Selected<'s>>, ArchiveError> {
    let mut opened = Opened::new(master, limits, meter)?;
    let mut packages: Vec<_> = outputs.into_iter().map(|file| ZipWriter::new(Output::new(file, meter))).collect();
    for index in 0..opened.archive.len() {
        meter.check()?;
        let Some(ZipMember { member, mode }) = opened.found(index)? else { continue };
        for (selected, package) in selected.iter_mut().zip(&mut packages) {
            // There are no hard links in a zip.
            if let Some(Packed { member, .. }) = selected.take(&member)? {
                write(package, &mut opened.archive, index, &member, mode)?;
            }
        }
    }
    for package in packages {
        package.finish()?.flush()?;
    }
    Ok(selected)
}

fn write(
    package: &mut ZipWriter<Output<'_>>,
    archive: &mut ZipArchive<Reader<'_>>,
    index: usize,
    Member { path, kind }: &Member,
    mode: Option<u32>,
) -> Result<(), ArchiveError> {
    let special = mode.is_some_and(|mode| mode & !(KIND | PERMISSIONS) != 0);
    if *kind != MemberKind::Directory && !special {
        return Ok(package.raw_copy_file_rename(archive.by_index_raw(index)?, path)?);
    }
    let mut entry = archive.by_index(index)?;
    let mut options = SimpleFileOptions::default().compression_method(entry.compression());
    if let Some(mode) = mode {
        options = options.unix_permissions(mode & PERMISSIONS);
    }
    if let Some(modified) = entry.last_modified() {
        options = options.last_modified_time(modified);
    }
    if *kind == MemberKind::Directory {
        return Ok(package.add_directory(path.as_str(), options)?);
    }
    package.start_file(path, options)?;
    io::copy(&mut entry, package)?;
    Ok(())
}
