//! Tar archives, compressed: read as a stream, and written again.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};

use bzip2::read::MultiBzDecoder;
use bzip2::write::BzEncoder;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use tar::{Archive, Builder, Entry, EntryType, Header, PaxExtensions};

use super::metered::{Meter, Metered};
use super::names::written;
use super::selection::Selected;
use super::{ArchiveError, FileType, Member, MemberKind};

const BLOCK_BYTES: u64 = 512;
/// The longest extension header, such as a long name: it is held in memory.
const MAX_EXTENSION_BYTES: u64 = 64 * 1024;
/// How much is copied at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Of a mode only who may read, write and execute: no setuid, no setgid, no sticky bit.
pub(super) const PERMISSIONS: u32 = 0o777;

/// A member as it comes.
pub(super) struct Found {
    pub(super) member: Member,
    mode: u32,
    mtime: u64,
    size_bytes: u64,
}

/// What extension headers say of the member after them.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size_bytes: Option<u64>,
    mtime: Option<u64>,
}

/// Reads an archive to its last byte, and shows each member with its content.
pub(super) fn walk(
    file: File,
    file_type: FileType,
    meter: &Meter<'_>,
    mut visit: impl FnMut(Found, &mut dyn Read) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let file = BufReader::with_capacity(CHUNK_BYTES, file);
    let mut stream: Metered<'_, Box<dyn Read>> = meter.read(match file_type {
        FileType::TarBz2 => Box::new(MultiBzDecoder::new(file)),
        FileType::TarGz | FileType::Zip => Box::new(MultiGzDecoder::new(file)),
    });
    let (mut extended, mut end) = (Extended::default(), 0);
    {
        let mut archive = Archive::new(&mut stream);
        // Raw, because extension headers of any length would be read otherwise.
        for entry in archive.entries()?.raw(true) {
            let mut entry = entry?;
            let size_bytes = entry.header().entry_size()?;
            end = size_bytes
                .checked_next_multiple_of(BLOCK_BYTES)
                .and_then(|size| size.checked_add(entry.raw_file_position()))
                .ok_or_else(|| ArchiveError::Damaged("a member is longer than anything can be".into()))?;
            if !extended.read(&mut entry)?
                && let Some(found) = std::mem::take(&mut extended).describes(&entry)?
            {
                visit(found, &mut entry)?;
            }
        }
    }
    if !extended.is_empty() {
        return Err(ArchiveError::Damaged("it ends with a header of a member that does not come".into()));
    }
    if stream.position < end + BLOCK_BYTES {
        return Err(ArchiveError::Damaged("it ends without the blocks that mark a tar archive's end".into()));
    }
    check_rest(&mut stream)
}

/// After an archive's end there is nothing but zeros.
fn check_rest(stream: &mut impl Read) -> Result<(), ArchiveError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            read if chunk[..read].iter().all(|byte| *byte == 0) => {}
            _ => return Err(ArchiveError::Refused("it goes on after the end of the tar archive in it".into())),
        }
    }
}

impl Extended {
    fn is_empty(&self) -> bool {
        let Self { path, link, size_bytes, mtime } = self;
        path.is_none() && link.is_none() && size_bytes.is_none() && mtime.is_none()
    }

    /// Says whether this was such a header.
    fn read(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<bool, ArchiveError> {
        match entry.header().entry_type() {
            EntryType::GNULongName => once(&mut self.path, text(entry)?)?,
            EntryType::GNULongLink => once(&mut self.link, text(entry)?)?,
            EntryType::XHeader => {
                let records = extension(entry)?;
                for record in PaxExtensions::new(&records) {
                    let record = record?;
                    match record.key_bytes() {
                        b"path" => once(&mut self.path, record.value_bytes().to_vec())?,
                        b"linkpath" => once(&mut self.link, record.value_bytes().to_vec())?,
                        b"size" => once(&mut self.size_bytes, whole(record.value_bytes())?)?,
                        b"mtime" => self.mtime = seconds(record.value_bytes()),
                        key if key.starts_with(b"GNU.sparse") => return Err(sparse()),
                        _ => {}
                    }
                }
            }
            EntryType::XGlobalHeader => {
                let records = extension(entry)?;
                for record in PaxExtensions::new(&records) {
                    if matches!(record?.key_bytes(), b"path" | b"linkpath" | b"size") {
                        return Err(ArchiveError::Refused(
                            "it has one name or size for all that comes after it".into(),
                        ));
                    }
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The member that a header is of; none: it is the archive's root.
    fn describes(self, entry: &Entry<'_, impl Read>) -> Result<Option<Found>, ArchiveError> {
        let header = entry.header();
        let size_bytes = header.entry_size()?;
        let raw = self.path.unwrap_or_else(|| entry.path_bytes().into_owned());
        let Some(path) = written(&raw)? else { return Ok(None) };
        if self.size_bytes.is_some_and(|size| size != size_bytes) {
            let why = "has one size in its header and another in the extension before it; write it in GNU's format";
            return Err(ArchiveError::in_member(&path, why));
        }
        let link = || -> Result<String, ArchiveError> {
            let raw = self.link.clone().or_else(|| entry.link_name_bytes().map(|name| name.into_owned()));
            String::from_utf8(raw.unwrap_or_default())
                .map_err(|_| ArchiveError::in_member(&path, "is a link to a name that is not in UTF-8"))
        };
        let kind = match header.entry_type() {
            // So old tar programs wrote directories.
            EntryType::Regular if raw.ends_with(b"/") => MemberKind::Directory,
            EntryType::Regular => MemberKind::File,
            EntryType::Directory => MemberKind::Directory,
            EntryType::Symlink => MemberKind::Symlink(link()?),
            EntryType::Link => {
                let target = written(link()?.as_bytes())?;
                MemberKind::HardLink(target.ok_or_else(|| ArchiveError::in_member(&path, "is a hard link to nothing"))?)
            }
            EntryType::GNUSparse => return Err(sparse()),
            EntryType::Char | EntryType::Block => return Err(ArchiveError::in_member(&path, "is a device")),
            EntryType::Fifo => return Err(ArchiveError::in_member(&path, "is a named pipe")),
            _ => return Err(ArchiveError::in_member(&path, "is neither a file nor a link nor a directory")),
        };
        if kind != MemberKind::File && size_bytes > 0 {
            return Err(ArchiveError::in_member(&path, "has a content, and is no file"));
        }
        let mtime = self.mtime.map_or_else(|| header.mtime(), Ok)?;
        Ok(Some(Found { member: Member { path, kind }, mode: header.mode()?, mtime, size_bytes }))
    }
}

/// What is said twice may be read in two ways.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), ArchiveError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ArchiveError::Refused("a member has two headers that say the same of it".into())),
    }
}

fn sparse() -> ArchiveError {
    ArchiveError::Refused("it has a sparse file in it; write it without `--sparse`".into())
}

fn extension(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, ArchiveError> {
    if entry.size() > MAX_EXTENSION_BYTES {
        let why = format!("a name or another extension in it has more than {MAX_EXTENSION_BYTES} bytes");
        return Err(ArchiveError::TooMuch(why));
    }
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A text that ends with a NUL.
fn text(entry: &mut Entry<'_, impl Read>) -> Result<Vec<u8>, ArchiveError> {
    let mut text = extension(entry)?;
    if text.last() == Some(&0) {
        text.pop();
    }
    Ok(text)
}

fn whole(text: &[u8]) -> Result<u64, ArchiveError> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| ArchiveError::Damaged("a size in an extension header is no number".into()))
}

/// A time without its fraction; none: it is before 1970, or no time.
fn seconds(text: &[u8]) -> Option<u64> {
    whole(text.split(|byte| *byte == b'.').next()?).ok()
}

/// Writes each package while the master is read once.
pub(super) fn package<'s>(
    master: File,
    file_type: FileType,
    meter: &Meter<'_>,
    mut selected: Vec<Selected<'s>>,
    outputs: Vec<File>,
) -> Result<Vec<Selected<'s>>, ArchiveError> {
    let mut packages: Vec<_> = outputs.into_iter().map(|file| Builder::new(Compressed::new(file, file_type))).collect();
    let mut chunk = vec![0; CHUNK_BYTES];
    walk(master, file_type, meter, |found, content| {
        let mut in_work = Vec::new();
        for (selected, package) in selected.iter_mut().zip(&mut packages) {
            if let Some(packed) = selected.take(&found.member)? {
                write_header(package, &packed, &found)?;
                in_work.push(package);
            }
        }
        if !in_work.is_empty() {
            write_content(content, found.size_bytes, &mut in_work, &mut chunk)?;
        }
        Ok(())
    })?;
    for package in packages {
        package.into_inner()?.finish()?;
    }
    Ok(selected)
}

/// Writes all that comes before the member's content.
fn write_header(
    package: &mut Builder<Compressed>,
    Member { path, kind }: &Member,
    found: &Found,
) -> Result<(), ArchiveError> {
    let mut header = Header::new_gnu();
    header.set_mode(found.mode & PERMISSIONS);
    header.set_mtime(found.mtime);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(found.size_bytes);
    match kind {
        MemberKind::File => {
            header.set_entry_type(EntryType::Regular);
            package.append_data(&mut header, path, io::empty())?;
        }
        MemberKind::Directory => {
            header.set_entry_type(EntryType::Directory);
            package.append_data(&mut header, format!("{path}/"), io::empty())?;
        }
        MemberKind::Symlink(target) => {
            header.set_entry_type(EntryType::Symlink);
            package.append_link(&mut header, path, target)?;
        }
        MemberKind::HardLink(target) => {
            header.set_entry_type(EntryType::Link);
            package.append_link(&mut header, path, target)?;
        }
    }
    Ok(())
}

/// Writes a member's content to all packages that it is in.
fn write_content(
    content: &mut dyn Read,
    size_bytes: u64,
    packages: &mut [&mut Builder<Compressed>],
    chunk: &mut [u8],
) -> Result<(), ArchiveError> {
    loop {
        let read = content.read(chunk)?;
        if read == 0 {
            break;
        }
        for package in &mut *packages {
            package.get_mut().write_all(&chunk[..read])?;
        }
    }
    let padding = size_bytes.next_multiple_of(BLOCK_BYTES) - size_bytes;
    for package in packages {
        io::copy(&mut io::repeat(0).take(padding), package.get_mut())?;
    }
    Ok(())
}

/// A file that is compressed while it is written.
enum Compressed {
    Gzip(GzEncoder<BufWriter<File>>),
    Bzip2(BzEncoder<BufWriter<File>>),
}

impl Compressed {
    fn new(file: File, file_type: FileType) -> Self {
        let file = BufWriter::with_capacity(CHUNK_BYTES, file);
        match file_type {
            FileType::TarBz2 => Self::Bzip2(BzEncoder::new(file, bzip2::Compression::default())),
            FileType::TarGz | FileType::Zip => Self::Gzip(GzEncoder::new(file, flate2::Compression::default())),
        }
    }

    fn finish(self) -> io::Result<()> {
        let mut file = match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Bzip2(encoder) => encoder.finish()?,
        };
        file.flush()
    }
}

impl Write for Compressed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Bzip2(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Bzip2(encoder) => encoder.flush(),
        }
    }
}
