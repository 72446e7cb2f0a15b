//! Zip archives: read by their directory, which has to say the same as what stands before each member.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use zip::read::Config;
use zip::unstable::read::ZipIterable;
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

use super::metered::Meter;
use super::names::{Names, written};
use super::selection::Selected;
use super::tar::PERMISSIONS;
use super::{ArchiveError, Member, MemberKind};

/// What an archive ends with, but for its comment.
const END_BYTES: u64 = 22;
const END_SIGNATURE: &[u8] = b"PK\x05\x06";
/// The longest target of a link.
const MAX_TARGET_BYTES: u64 = 4096;
/// Of a mode what kind of file it is, and the kinds.
const KIND: u32 = 0o170_000;
const LINK: u32 = 0o120_000;
const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;

/// Where a member's header has the length of its name, and the name.
const HEADER_NAME_LENGTH: u64 = 26;
const HEADER_NAME: u64 = 30;

type Reader = BufReader<File>;

/// Reads the whole archive, and adds what is in it.
pub(super) fn inspect(file: File, meter: &Meter<'_>, names: &mut Names) -> Result<(), ArchiveError> {
    // Before a directory is read into memory.
    names.expect(ZipIterable::try_new(&file, Config::default())?.len() as u64)?;
    // It has the same place in the file, which everybody sets before reading.
    let mut raw = file.try_clone()?;
    let mut archive = ZipArchive::new(BufReader::new(file))?;
    check_ends(&mut archive, &mut raw)?;
    archive.validate_header_consistency()?;
    for index in 0..archive.len() {
        meter.check()?;
        let Some(Found { member, .. }) = found(&mut archive, index)? else { continue };
        check_name(&mut archive, index, &mut raw)?;
        names.add(&member)?;
        let entry = archive.by_index(index)?;
        let size_bytes = entry.size();
        let read = io::copy(&mut meter.read(entry), &mut io::sink())?;
        if read != size_bytes {
            return Err(ArchiveError::in_member(&member.path, format!("has {read} bytes and says {size_bytes}")));
        }
    }
    Ok(())
}

/// Nothing stands before an archive, and nothing after it.
fn check_ends(archive: &mut ZipArchive<Reader>, file: &mut File) -> Result<(), ArchiveError> {
    let starts = (0..archive.len()).map(|index| Ok(archive.by_index_data(index)?.header_start()));
    let first = starts.collect::<Result<Vec<_>, ArchiveError>>()?.into_iter().min().unwrap_or(0);
    if archive.offset() + first > 0 {
        return Err(ArchiveError::Refused("something stands before the zip archive in it".into()));
    }
    let comment_bytes = archive.comment().len() as u64;
    let end = file.seek(SeekFrom::End(0))?.checked_sub(END_BYTES + comment_bytes);
    let mut signature = Vec::new();
    if let Some(end) = end {
        file.seek(SeekFrom::Start(end))?;
        file.take(END_SIGNATURE.len() as u64).read_to_end(&mut signature)?;
    }
    if signature == END_SIGNATURE {
        Ok(())
    } else {
        Err(ArchiveError::Refused("something stands after the zip archive in it".into()))
    }
}

/// A name may stand in an extension beside the one in the header, which is what some programs go by.
fn check_name(archive: &mut ZipArchive<Reader>, index: usize, file: &mut File) -> Result<(), ArchiveError> {
    let entry = archive.by_index_data(index)?;
    let name = entry.name_raw();
    let mut in_header = vec![0; name.len()];
    let mut length = [0; 2];
    file.seek(SeekFrom::Start(entry.header_start() + HEADER_NAME_LENGTH))?;
    file.read_exact(&mut length)?;
    if usize::from(u16::from_le_bytes(length)) == name.len() {
        file.seek(SeekFrom::Start(entry.header_start() + HEADER_NAME))?;
        file.read_exact(&mut in_header)?;
        if in_header == name {
            return Ok(());
        }
    }
    Err(ArchiveError::in_member(&String::from_utf8_lossy(name), "has another name in its header than in an extension"))
}

struct Found {
    member: Member,
    mode: Option<u32>,
}

/// One member; none: it is the archive's root.
fn found(archive: &mut ZipArchive<Reader>, index: usize) -> Result<Option<Found>, ArchiveError> {
    let entry = archive.by_index_data(index)?;
    let (raw, mode, size_bytes) = (entry.name_raw().to_vec(), entry.unix_mode(), entry.size());
    let Some(path) = written(&raw)? else { return Ok(None) };
    if entry.encrypted() {
        return Err(ArchiveError::in_member(&path, "is encrypted; send it without a password"));
    }
    let kind = match mode.map_or(0, |mode| mode & KIND) {
        _ if raw.ends_with(b"/") => MemberKind::Directory,
        LINK if size_bytes > MAX_TARGET_BYTES => {
            return Err(ArchiveError::in_member(&path, "is a link to something very long"));
        }
        LINK => {
            let mut target = Vec::new();
            archive.by_index(index)?.take(MAX_TARGET_BYTES + 1).read_to_end(&mut target)?;
            let target = String::from_utf8(target);
            MemberKind::Symlink(
                target.map_err(|_| ArchiveError::in_member(&path, "is a link to a name that is not in UTF-8"))?,
            )
        }
        REGULAR | 0 => MemberKind::File,
        DIRECTORY => return Err(ArchiveError::in_member(&path, "is a directory by its mode, and a file by its name")),
        _ => return Err(ArchiveError::in_member(&path, "is neither a file nor a link nor a directory")),
    };
    if kind == MemberKind::Directory && size_bytes > 0 {
        return Err(ArchiveError::in_member(&path, "has a content, and is no file"));
    }
    Ok(Some(Found { member: Member { path, kind }, mode }))
}

/// Writes each package. What is compressed is copied as it is.
pub(super) fn package<'s>(
    master: File,
    meter: &Meter<'_>,
    mut selected: Vec<Selected<'s>>,
    outputs: Vec<File>,
) -> Result<Vec<Selected<'s>>, ArchiveError> {
    let mut archive = ZipArchive::new(BufReader::new(master))?;
    let output = |file| ZipWriter::new(Output { file: BufWriter::new(file), meter });
    let mut packages: Vec<_> = outputs.into_iter().map(output).collect();
    for index in 0..archive.len() {
        meter.check()?;
        let Some(Found { member, mode }) = found(&mut archive, index)? else { continue };
        for (selected, package) in selected.iter_mut().zip(&mut packages) {
            if let Some(packed) = selected.take(&member)? {
                write(package, &mut archive, index, &packed, mode)?;
            }
        }
    }
    for package in packages {
        package.finish()?.flush()?;
    }
    Ok(selected)
}

/// A package that is being written, for as long as somebody waits for it.
struct Output<'m> {
    file: BufWriter<File>,
    meter: &'m Meter<'m>,
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.meter.check()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Output<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

fn write(
    package: &mut ZipWriter<Output<'_>>,
    archive: &mut ZipArchive<Reader>,
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
