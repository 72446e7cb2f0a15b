//! Tar archives, compressed or not: read as a stream, and written again.

mod header;
mod pax;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek as _, Write};

use tar::{Builder, EntryType, Header};

pub(super) use self::header::is_header;
use self::header::{BLOCK_BYTES, Parsed};
use super::metered::Meter;
use super::names::{Added, Names, written};
use super::output::{Compressed, Output};
use super::selection::{Packed, Selected};
use super::stream::decompressed;
use super::twice::Twice;
use super::{ArchiveError, FileType, Member, MemberKind, Shown, Visit};

/// The extension that says in which characters the others are.
const CHARACTERS: &[u8] = b"hdrcharset";
/// What GNU tar calls the header of a target that does not fit into the member's.
const LONG_LINK: &[u8] = b"././@LongLink";
/// How much is copied at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// A member of a tar, as it comes.
pub(super) struct TarMember {
    pub(super) member: Member,
    pub(super) mode: u32,
    mtime: u64,
    size_bytes: u64,
}

impl TarMember {
    pub(super) fn shown(&self) -> Shown<'_> {
        self.member.shown(self.mode, self.size_bytes)
    }
}

/// What extension headers say of the member after them.
#[derive(Default)]
struct Extended {
    /// Whether there was one, whatever it said; and whether one was of PAX, and for one member.
    any: bool,
    any_pax: bool,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size_bytes: Option<u64>,
    mtime: Option<u64>,
}

/// Reads an archive to its last byte, and shows each member with its content.
pub(super) fn walk(
    mut file: &File,
    file_type: FileType,
    meter: &Meter<'_>,
    mut visit: impl FnMut(&TarMember, &mut dyn Read) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    file.rewind()?;
    let mut stream = meter.read(decompressed(file, file_type, meter));
    let (mut extended, mut links, mut last) = (Extended::default(), HashMap::new(), None);
    let after = |error: ArchiveError, last: &Option<String>| error.after(last.as_deref());
    while let Some(header) = header::next(&mut stream).map_err(|error| after(error, &last))? {
        let size_bytes = header.size_bytes;
        let mut content = (&mut stream).take(size_bytes);
        if !extended.read(&header, &mut content).map_err(|error| after(error, &last))?
            && let Some(mut found) = std::mem::take(&mut extended).describes(&header)?
        {
            follow_links(&mut found.member, &links);
            visit(&found, &mut content)?;
            let TarMember { member: Member { path, kind }, .. } = found;
            if let MemberKind::Symlink(_) | MemberKind::HardLink(_) = kind {
                links.insert(path.clone(), kind);
            }
            last = Some(path);
        }
        pass_over(&mut content).map_err(|error| after(error, &last))?;
        pass_over(&mut (&mut stream).take(padding(size_bytes))).map_err(|error| after(error, &last))?;
    }
    if extended.any {
        let why = ArchiveError::Damaged("it ends with a header of a member that does not come".into());
        return Err(after(why, &last));
    }
    check_rest(&mut stream)
}

/// Reads the whole archive, and adds what is in it. It is read once more if a name is in it twice.
pub(super) fn inspect(
    file: &File,
    file_type: FileType,
    meter: &Meter<'_>,
    names: &mut Names,
    visit: Visit<'_>,
) -> Result<(), ArchiveError> {
    let mut twice = HashSet::new();
    walk(file, file_type, meter, |found, content| {
        match names.add(&found.member)? {
            Added::New => {
                visit(found.shown(), content).map_err(|error| error.in_named(&found.member.path))?;
            }
            Added::Again => {}
            Added::Twice => {
                if twice.insert(found.member.path.clone()) {
                    names.warn_of_twice(&found.member.path);
                }
            }
        }
        let read = io::copy(content, &mut io::sink()).map_err(ArchiveError::from);
        read.map(drop).map_err(|error| error.in_named(&found.member.path))
    })?;
    if twice.is_empty() {
        return Ok(());
    }
    meter.again();
    let mut twice = Twice::new(twice);
    walk(file, file_type, meter, |found, content| twice.compare(&found.member, Some(found.mode), content))
}

/// A hard link to a link is what that is: another name of its file, or a symbolic link like it.
fn follow_links(member: &mut Member, links: &HashMap<String, MemberKind>) {
    if let MemberKind::HardLink(target) = &member.kind
        && let Some(link) = links.get(target)
    {
        member.kind = link.clone();
    }
}

/// Reads what is left of a content, which has to be all there.
fn pass_over(content: &mut io::Take<impl Read>) -> Result<(), ArchiveError> {
    io::copy(content, &mut io::sink())?;
    if content.limit() > 0 { Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()) } else { Ok(()) }
}

/// What stands after a content of so many bytes, up to the next header.
fn padding(size_bytes: u64) -> u64 {
    let block = BLOCK_BYTES as u64;
    (block - size_bytes % block) % block
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
    /// Says whether this was such a header.
    fn read(&mut self, header: &Parsed, content: &mut impl Read) -> Result<bool, ArchiveError> {
        match header.kind {
            EntryType::GNULongName => once(&mut self.path, text(header, content)?)?,
            EntryType::GNULongLink => once(&mut self.link, text(header, content)?)?,
            EntryType::XHeader => {
                // GNU tar goes by the last one alone, Python by all of them.
                if std::mem::replace(&mut self.any_pax, true) {
                    return Err(ArchiveError::Refused("a member has two headers of PAX before it".into()));
                }
                pax::records(content, is_wanted, |key, value| self.say(key, value))?;
            }
            EntryType::XGlobalHeader => pax::records(content, is_wanted_of_all, |key, value| match key {
                CHARACTERS => check_characters(&value),
                _ => Err(ArchiveError::Refused("it has one name or size for all that comes after it".into())),
            })?,
            _ => return Ok(false),
        }
        self.any = true;
        Ok(true)
    }

    fn say(&mut self, key: &[u8], value: Vec<u8>) -> Result<(), ArchiveError> {
        match key {
            b"path" => once(&mut self.path, value),
            b"linkpath" => once(&mut self.link, value),
            b"size" => once(&mut self.size_bytes, whole(&value)?),
            CHARACTERS => check_characters(&value),
            b"mtime" => {
                self.mtime = seconds(&value);
                Ok(())
            }
            _ => Err(sparse()),
        }
    }

    /// The member that a header describes. `None`: it is the archive's root.
    fn describes(self, header: &Parsed) -> Result<Option<TarMember>, ArchiveError> {
        let size_bytes = header.size_bytes;
        let raw = self.path.unwrap_or_else(|| header.name());
        let named = written(&raw)?;
        let path = named.clone().unwrap_or_else(|| ".".into());
        if self.size_bytes.is_some_and(|size| size != size_bytes) {
            let why = "has different sizes in its header and in its extension; write it in GNU's format";
            return Err(ArchiveError::in_member(&path, why));
        }
        let link = || -> Result<String, ArchiveError> {
            String::from_utf8(self.link.clone().unwrap_or_else(|| header.link()))
                .map_err(|_| ArchiveError::in_member(&path, "is a link to a name that is not in UTF-8"))
        };
        let kind = match header.kind {
            // So old tar programs wrote directories. Of newer ones some would see a file.
            EntryType::Regular if raw.ends_with(b"/") && header.is_old() => MemberKind::Directory,
            EntryType::Regular if raw.ends_with(b"/") => {
                return Err(ArchiveError::in_member(&path, "is a directory by its name, and a file by its type"));
            }
            EntryType::Regular => MemberKind::File,
            EntryType::Directory => MemberKind::Directory,
            EntryType::Symlink => MemberKind::Symlink(link()?),
            EntryType::Link => {
                let target = written(link()?.as_bytes())?;
                MemberKind::HardLink(target.ok_or_else(|| ArchiveError::in_member(&path, "is a hard link to nothing"))?)
            }
            other => return Err(not_taken(other, &path)),
        };
        if named.is_none() {
            return if kind == MemberKind::Directory { Ok(None) } else { Err(ArchiveError::root(&path)) };
        }
        if kind != MemberKind::File && size_bytes > 0 {
            return Err(ArchiveError::in_member(&path, "has a content, and is not a file"));
        }
        let mtime = self.mtime.unwrap_or(header.mtime);
        Ok(Some(TarMember { member: Member { path, kind }, mode: header.mode, mtime, size_bytes }))
    }
}

fn is_name_or_size(key: &[u8]) -> bool {
    matches!(key, b"path" | b"linkpath" | b"size")
}

/// Of a header that is for all that comes after it.
fn is_wanted_of_all(key: &[u8]) -> bool {
    is_name_or_size(key) || key == CHARACTERS
}

fn is_wanted(key: &[u8]) -> bool {
    is_wanted_of_all(key) || key == b"mtime" || key.starts_with(b"GNU.sparse")
}

/// Names are in UTF-8, or are to be taken as they are.
fn check_characters(value: &[u8]) -> Result<(), ArchiveError> {
    match value {
        b"BINARY" | b"ISO-IR 10646 2000 UTF-8" => Ok(()),
        _ => Err(ArchiveError::Refused("its names are in other characters than UTF-8, by an extension header".into())),
    }
}

/// What a member is that is neither a file nor a link nor a directory, and what to do about it.
fn not_taken(kind: EntryType, path: &str) -> ArchiveError {
    let why = match kind {
        EntryType::GNUSparse => return sparse().in_named(path),
        EntryType::Char | EntryType::Block => "is a device",
        EntryType::Fifo => "is a named pipe",
        kind => match kind.as_byte() {
            b'V' => "is the label of a volume; write the archive without `--label`",
            b'M' => "goes on from another volume; write the archive without `--multi-volume`",
            b'D' => "is a directory of an incremental backup; write the archive without `--listed-incremental`",
            _ => "is neither a file nor a link nor a directory",
        },
    };
    ArchiveError::in_member(path, why)
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

/// A text that ends with a NUL.
fn text(header: &Parsed, content: &mut impl Read) -> Result<Vec<u8>, ArchiveError> {
    let mut text = pax::kept(content, header.size_bytes)?;
    if text.last() == Some(&0) {
        text.pop();
    }
    Ok(text)
}

fn whole(text: &[u8]) -> Result<u64, ArchiveError> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| ArchiveError::Damaged("a size in an extension header is not a number".into()))
}

/// A time without its fraction. `None`: it is not a time.
fn seconds(text: &[u8]) -> Option<u64> {
    let whole = std::str::from_utf8(text.split(|byte| *byte == b'.').next()?).ok()?;
    Some(header::time(whole.parse().ok()?))
}

/// A hard link of a package whose file is not in it otherwise.
struct Owed {
    /// Which package.
    package: usize,
    /// What comes at its end: the file, or a link to where that comes.
    member: Member,
}

/// Writes each package while the master is read once; a second time, where packages have hard links to files that are
/// not in them otherwise.
pub(super) fn package<'s>(
    master: &File,
    file_type: FileType,
    meter: &Meter<'_>,
    mut selected: Vec<Selected<'s>>,
    outputs: Vec<File>,
) -> Result<Vec<Selected<'s>>, ArchiveError> {
    let output = |file| Compressed::new(Output::new(file, meter), file_type).map(Builder::new);
    let mut packages = outputs.into_iter().map(output).collect::<io::Result<Vec<_>>>()?;
    let mut owed: HashMap<String, Vec<Owed>> = HashMap::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    walk(master, file_type, meter, |found, content| {
        let mut in_work = Vec::new();
        for (place, (selected, package)) in selected.iter_mut().zip(&mut packages).enumerate() {
            match selected.take(&found.member)? {
                None => {}
                Some(Packed { member, of_file: Some(file) }) => {
                    owed.entry(file).or_default().push(Owed { package: place, member });
                }
                Some(Packed { member, of_file: None }) => {
                    write_header(package, &member, found)?;
                    in_work.push(package);
                }
            }
        }
        write_content(content, found.size_bytes, &mut in_work, &mut chunk)
    })?;
    if !owed.is_empty() {
        write_owed(master, file_type, meter, &owed, &mut packages)?;
    }
    for package in packages {
        package.into_inner()?.finish()?;
    }
    Ok(selected)
}

/// Reads the master once more, for files that are in packages only under names of hard links to them.
fn write_owed(
    master: &File,
    file_type: FileType,
    meter: &Meter<'_>,
    owed: &HashMap<String, Vec<Owed>>,
    packages: &mut [Builder<Compressed<'_>>],
) -> Result<(), ArchiveError> {
    meter.again();
    let (mut chunk, mut written) = (vec![0; CHUNK_BYTES], HashSet::new());
    walk(master, file_type, meter, |found, content| {
        let Some(owed) = owed.get(&found.member.path).filter(|_| written.insert(found.member.path.clone())) else {
            return Ok(());
        };
        for Owed { package, member } in owed.iter().filter(|owed| owed.member.kind == MemberKind::File) {
            write_header(&mut packages[*package], member, found)?;
        }
        let takes_it = |place: &usize| owed.iter().any(|owed| owed.package == *place);
        let in_work = packages.iter_mut().enumerate().filter(|(place, _)| takes_it(place));
        let mut in_work: Vec<_> = in_work.map(|(_, package)| package).collect();
        write_content(content, found.size_bytes, &mut in_work, &mut chunk)?;
        let empty = TarMember { member: found.member.clone(), size_bytes: 0, ..*found };
        for Owed { package, member } in owed.iter().filter(|owed| owed.member.kind != MemberKind::File) {
            write_header(&mut packages[*package], member, &empty)?;
        }
        Ok(())
    })
}

/// Writes all that comes before the member's content.
fn write_header(
    package: &mut Builder<Compressed<'_>>,
    Member { path, kind }: &Member,
    found: &TarMember,
) -> Result<(), ArchiveError> {
    let mut header = Header::new_gnu();
    header.set_mode(found.mode);
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
            append_link(package, &mut header, path, target)?;
        }
        MemberKind::HardLink(target) => {
            header.set_entry_type(EntryType::Link);
            append_link(package, &mut header, path, target)?;
        }
    }
    Ok(())
}

/// The target stands there as it was; the builder would leave out what it thinks says nothing.
fn append_link(package: &mut Builder<Compressed<'_>>, header: &mut Header, path: &str, target: &str) -> io::Result<()> {
    match header.set_link_name_literal(target) {
        Ok(()) => package.append_data(header, path, io::empty()),
        Err(_) => {
            let mut long = Header::new_gnu();
            long.as_old_mut().name[..LONG_LINK.len()].copy_from_slice(LONG_LINK);
            long.set_entry_type(EntryType::GNULongLink);
            // With the NUL that ends it.
            long.set_size(target.len() as u64 + 1);
            long.set_mode(0o644);
            long.set_uid(0);
            long.set_gid(0);
            long.set_mtime(0);
            long.set_cksum();
            package.append(&long, target.as_bytes().chain(&[0][..]))?;
            package.append_data(header, path, io::empty())
        }
    }
}

/// Writes a member's content to all packages that it is in.
fn write_content(
    content: &mut dyn Read,
    size_bytes: u64,
    packages: &mut [&mut Builder<Compressed<'_>>],
    chunk: &mut [u8],
) -> Result<(), ArchiveError> {
    if packages.is_empty() {
        return Ok(());
    }
    loop {
        let read = content.read(chunk)?;
        if read == 0 {
            break;
        }
        for package in &mut *packages {
            package.get_mut().write_all(&chunk[..read])?;
        }
    }
    for package in packages {
        io::copy(&mut io::repeat(0).take(padding(size_bytes)), package.get_mut())?;
    }
    Ok(())
}
