//! Zip archives: read by their directory, which has to say the same as what stands before each member. Of the directory
//! a part is in memory at a time, and of what is written its directory.

mod directory;
mod end;
mod package;
mod places;
mod window;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Range;

use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipReadOptions, ZipWriter};

use self::directory::{Directory, Part, Record, another};
use self::package::Package;
use self::places::Places;
use self::window::Window;
use super::metered::{Meter, Stoppable};
use super::names::{Added, Names};
use super::output::Output;
use super::selection::{Packed, Selected};
use super::twice::Twice;
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

type Reader<'m> = Stoppable<'m, Window>;

/// Reads the whole archive, and adds what is in it.
pub(super) fn inspect(
    mut file: File,
    limits: &ArchiveLimits,
    meter: &Meter<'_>,
    names: &mut Names,
    visit: Visit<'_>,
) -> Result<(), ArchiveError> {
    if first_header(&file, limits, meter)? > 0 {
        return Err(end::stands_before(&mut file)?);
    }
    let (mut members, mut places) = (Members::open(file, limits, meter)?, Places::default());
    let mut twice = HashSet::new();
    while let Some(mut part) = members.next_part()? {
        for index in 0..part.records.len() {
            meter.check()?;
            let path = part.records[index].path.clone().unwrap_or_else(|| ".".into());
            let inspected = part.inspect(index, &members, &mut places, names, visit);
            if inspected.map_err(|error| error.in_named(&path))? == Added::Twice && twice.insert(path.clone()) {
                names.warn_of_twice(&path);
            }
        }
    }
    let Members { file, directory, .. } = members;
    places.check(&file, directory.end.directory, meter)?;
    if twice.is_empty() {
        return Ok(());
    }
    compare(file, limits, meter, Twice::new(twice))
}

/// Reads the archive once more, for members that are in it more than once.
fn compare(file: File, limits: &ArchiveLimits, meter: &Meter<'_>, mut twice: Twice) -> Result<(), ArchiveError> {
    meter.again();
    let mut members = Members::open(file, limits, meter)?;
    while let Some(mut part) = members.next_part()? {
        for index in 0..part.records.len() {
            meter.check()?;
            let Some(ZipMember { member, mode }) = part.found(index)? else { continue };
            twice.compare(&member, mode, &mut meter.read(part.archive.by_index(index)?))?;
        }
    }
    Ok(())
}

/// Where the first member's header is, after a look at the whole directory: what is refused for what it says is refused
/// before anything is unpacked.
fn first_header(file: &File, limits: &ArchiveLimits, meter: &Meter<'_>) -> Result<u64, ArchiveError> {
    let (mut directory, mut first) = (Directory::open(file, limits, meter)?, None);
    while let Some(Part { records, .. }) = directory.next()? {
        first = records.iter().map(|record| record.header).chain(first).min();
    }
    Ok(first.unwrap_or_default())
}

/// Shows the wanted members of an archive that was inspected. Of the others only the directory is read.
pub(super) fn read(
    file: File,
    limits: &ArchiveLimits,
    meter: &Meter<'_>,
    is_wanted: &dyn Fn(&str) -> bool,
    visit: Visit<'_>,
) -> Result<(), ArchiveError> {
    let mut members = Members::open(file, limits, meter)?;
    while let Some(mut part) = members.next_part()? {
        for index in 0..part.records.len() {
            meter.check()?;
            if !part.records[index].path.as_deref().is_some_and(is_wanted) {
                continue;
            }
            let Some(ZipMember { member, mode }) = part.found(index)? else { continue };
            let entry = part.archive.by_index(index)?;
            let size_bytes = entry.size();
            visit(member.shown(mode.unwrap_or_default(), size_bytes), &mut meter.read(entry))?;
        }
    }
    Ok(())
}

/// The members of an archive, in parts.
struct Members<'m> {
    file: File,
    directory: Directory<'m>,
    meter: &'m Meter<'m>,
}

/// Some members, which the library takes for all that the archive has.
struct OpenPart<'m> {
    archive: ZipArchive<Reader<'m>>,
    /// In the archive's order.
    records: Vec<Record>,
}

impl<'m> Members<'m> {
    fn open(file: File, limits: &ArchiveLimits, meter: &'m Meter<'m>) -> Result<Self, ArchiveError> {
        Ok(Self { directory: Directory::open(&file, limits, meter)?, file, meter })
    }

    fn next_part(&mut self) -> Result<Option<OpenPart<'m>>, ArchiveError> {
        let Some(mut part) = self.directory.next()? else { return Ok(None) };
        let directory = std::mem::take(&mut part.directory);
        let window = Window::new(self.file.try_clone()?, self.directory.end.directory, directory);
        let archive = ZipArchive::new(self.meter.stoppable(window))?;
        // The library keeps one of each name.
        if archive.len() < part.records.len() {
            return Err(ArchiveError::Refused(part.twice()));
        }
        Ok(Some(OpenPart { archive, records: part.records }))
    }
}

impl OpenPart<'_> {
    /// Reads a member, and says whether it is one more.
    fn inspect(
        &mut self,
        index: usize,
        members: &Members<'_>,
        places: &mut Places,
        names: &mut Names,
        visit: Visit<'_>,
    ) -> Result<Added, ArchiveError> {
        places.add(self.place(index)?);
        self.records[index].check_header(&members.file)?;
        if let Some(warning) = self.records[index].warning.take() {
            names.warn(|| warning);
        }
        let Some(ZipMember { member, mode }) = self.found(index)? else { return Ok(Added::Again) };
        let added = names.add(&member)?;
        let entry = self.archive.by_index(index)?;
        let size_bytes = entry.size();
        let mut content = members.meter.read(entry).take(u64::MAX);
        if added == Added::New {
            visit(member.shown(mode.unwrap_or_default(), size_bytes), &mut content)?;
        }
        io::copy(&mut content, &mut io::sink())?;
        let read = u64::MAX - content.limit();
        if read != size_bytes {
            return Err(ArchiveError::in_member(&member.path, format!("has {read} bytes and says {size_bytes}")));
        }
        Ok(added)
    }

    /// Where a member is, whose header says the same as the directory.
    fn place(&mut self, index: usize) -> Result<Range<u64>, ArchiveError> {
        let options = ZipReadOptions::new().enforce_header_consistency(true);
        let entry = self.archive.by_index_with_options(index, options)?;
        let content = entry.data_start().ok_or_else(another)?;
        Ok(entry.header_start()..content.saturating_add(entry.compressed_size()))
    }

    /// One member. `None`: it is the archive's root.
    fn found(&mut self, index: usize) -> Result<Option<ZipMember>, ArchiveError> {
        let entry = self.archive.by_index_data(index)?;
        let (mode, size_bytes) = (entry.unix_mode(), entry.size());
        let Record { header, path, is_directory, .. } = &self.records[index];
        if *header != entry.header_start() {
            return Err(another());
        }
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
    let mut members = Members::open(master, limits, meter)?;
    let mut packages: Vec<_> = outputs.into_iter().map(|file| Package::new(Output::new(file, meter))).collect();
    while let Some(mut part) = members.next_part()? {
        for index in 0..part.records.len() {
            meter.check()?;
            let Some(ZipMember { member, mode }) = part.found(index)? else { continue };
            for (selected, package) in selected.iter_mut().zip(&mut packages) {
                // There are no hard links in a zip.
                if let Some(Packed { member, .. }) = selected.take(&member)? {
                    write(package.next()?, &mut part.archive, index, &member, mode)?;
                }
            }
        }
    }
    for package in packages {
        package.finish()?;
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
