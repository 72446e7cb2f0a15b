//! The names in an archive: which may be there, alone and beside each other.

use super::error::shown;
use super::paths::{Numbers, Paths};
use super::{ArchiveError, ArchiveLimits, Contents, Member, MemberKind};

/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 4096;
/// The longest part of one.
const MAX_PART_BYTES: usize = 255;

/// How many warnings are kept.
pub(super) const MAX_WARNINGS: usize = 1000;

/// What a path stands for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Stands {
    File,
    Link,
    Directory,
}

/// What is known of a path.
#[derive(Clone, Copy)]
struct Known {
    stands: Stands,
    /// Of a directory: whether it is a member itself, and whether something is in it.
    is_member: bool,
    is_used: bool,
}

/// The names of an archive so far.
pub(super) struct Names {
    limits: ArchiveLimits,
    entries: u64,
    bytes: u64,
    all: Paths,
    /// By their numbers.
    known: Vec<Known>,
    /// The first path of each spelling without case.
    folded: Numbers,
    /// Links that go down and up again, with the directories through which they do.
    detours: Vec<(String, String, Vec<String>)>,
    warnings: Vec<String>,
}

/// Whether a member is one more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Added {
    /// It is.
    New,
    /// It is a directory that is there already: some programs name one again before each of its files.
    Again,
    /// It is a file or link of a name that is there already. That is fine if both are the same, and only then.
    Twice,
}

impl Names {
    pub(super) fn new(limits: &ArchiveLimits) -> Self {
        Self {
            limits: *limits,
            entries: 0,
            bytes: 0,
            all: Paths::default(),
            known: Vec::new(),
            folded: Numbers::default(),
            detours: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Makes sure that there is room for so many members.
    ///
    /// # Errors
    /// [`ArchiveError::TooMuch`].
    pub(super) fn expect(&self, entries: u64) -> Result<(), ArchiveError> {
        self.limits.check_entries(entries)
    }

    /// Adds a member, if it may be there beside the others, and says whether it is one more.
    ///
    /// # Errors
    /// [`ArchiveError`] that says why not.
    pub(super) fn add(&mut self, member: &Member) -> Result<Added, ArchiveError> {
        let Member { path, kind } = member;
        check_path(path)?;
        self.count(member)?;
        self.check_above(path)?;
        match kind {
            MemberKind::File | MemberKind::Directory => {}
            MemberKind::Symlink(target) => self.add_link(path, target)?,
            MemberKind::HardLink(target) => {
                if self.stands(target) != Some(Stands::File) {
                    let why = format!("is a hard link to `{}`, which is not a file before it", shown(target));
                    return Err(ArchiveError::in_member(path, why));
                }
            }
        }
        let stands = match kind {
            MemberKind::File | MemberKind::HardLink(_) => Stands::File,
            MemberKind::Symlink(_) => Stands::Link,
            MemberKind::Directory => Stands::Directory,
        };
        match self.all.add(path) {
            Ok(number) => {
                self.known.push(Known { stands, is_member: true, is_used: false });
                self.warn_of_case(path, number);
                Ok(Added::New)
            }
            Err(number) => match &mut self.known[number] {
                Known { stands: Stands::Directory, is_member, .. } if stands == Stands::Directory => {
                    Ok(if std::mem::replace(is_member, true) { Added::Again } else { Added::New })
                }
                known if known.stands == stands => Ok(Added::Twice),
                _ => Err(ArchiveError::in_member(
                    path,
                    "is in it as two different things, such as a file and a directory",
                )),
            },
        }
    }

    /// What may be a mistake.
    pub(super) fn warn(&mut self, message: impl FnOnce() -> String) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(message());
        }
    }

    /// A name that is in the archive more than once.
    pub(super) fn warn_of_twice(&mut self, path: &str) {
        self.warn(|| format!("`{}` is in the archive more than once", shown(path)));
    }

    /// The number of a path, in the order in which they came. `None`: it is not there.
    pub(super) fn number(&self, path: &str) -> Option<usize> {
        self.all.find(path)
    }

    /// All of them, by their numbers.
    pub(super) fn into_paths(self) -> Paths {
        self.all
    }

    /// # Errors
    /// [`ArchiveError::Refused`] if a link goes up again from what is a link itself.
    pub(super) fn into_contents(mut self) -> Result<Contents, ArchiveError> {
        let empty_directories = self.empty_directories()?;
        let is_file = |number: usize| self.known[number].stands != Stands::Directory;
        let files = self.all.iter().enumerate().filter(|(number, _)| is_file(*number));
        let files = files.map(|(_, path)| path.to_owned()).collect();
        Ok(Contents { files, empty_directories, warnings: std::mem::take(&mut self.warnings) })
    }

    /// The directories with nothing in them, in order, now that all names are there.
    ///
    /// # Errors
    /// Those of [`Names::into_contents`].
    pub(super) fn empty_directories(&self) -> Result<Vec<String>, ArchiveError> {
        for (path, target, directories) in &self.detours {
            for directory in directories {
                // What is above a known path is known, and a directory: so only the longest that is known may be a link.
                let ends: Vec<_> = directory.match_indices('/').map(|(end, _)| end).chain([directory.len()]).collect();
                let known = ends.partition_point(|end| self.all.find(&directory[..*end]).is_some());
                let longest = known.checked_sub(1).map(|last| &directory[..ends[last]]);
                if let Some(link) = longest.filter(|longest| self.stands(longest) == Some(Stands::Link)) {
                    let why = format!("follows the link `{}` and then goes up with `..`", shown(link));
                    return Err(not_within(path, target, &why));
                }
            }
        }
        let is_empty = |known: &Known| known.stands == Stands::Directory && known.is_member && !known.is_used;
        let empty = self.known.iter().enumerate().filter(|(_, known)| is_empty(known));
        let mut empty: Vec<&str> = empty.map(|(number, _)| self.all.get(number)).collect();
        empty.sort_unstable();
        empty.truncate(MAX_WARNINGS);
        Ok(empty.into_iter().map(str::to_owned).collect())
    }

    fn stands(&self, path: &str) -> Option<Stands> {
        Some(self.known[self.all.find(path)?].stands)
    }

    fn add_link(&mut self, path: &str, target: &str) -> Result<(), ArchiveError> {
        let directories = check_link(path, target)?;
        if !directories.is_empty() {
            self.bytes += directories.iter().map(|directory| directory.len() as u64).sum::<u64>();
            self.detours.push((path.to_owned(), target.to_owned(), directories));
        }
        Ok(())
    }

    fn count(&mut self, member: &Member) -> Result<(), ArchiveError> {
        let target = match &member.kind {
            MemberKind::Symlink(target) | MemberKind::HardLink(target) => target.len(),
            MemberKind::File | MemberKind::Directory => 0,
        };
        self.entries += 1;
        self.bytes += (member.path.len() + target) as u64;
        let ArchiveLimits { names_bytes, .. } = self.limits;
        self.expect(self.entries)?;
        if self.bytes > names_bytes {
            return Err(ArchiveError::TooMuch(format!("its names are more than {names_bytes} bytes long together")));
        }
        Ok(())
    }

    /// What is above a member is a directory, whether it has one of its own or not. It is looked for from the member up,
    /// for above a directory that is known all are.
    fn check_above(&mut self, path: &str) -> Result<(), ArchiveError> {
        let mut new = Vec::new();
        for (end, _) in path.rmatch_indices('/') {
            let above = &path[..end];
            match self.all.find(above) {
                None => new.push(above),
                Some(number) if self.known[number].stands == Stands::Directory => {
                    self.known[number].is_used = true;
                    break;
                }
                Some(_) => {
                    let why = format!("is below `{}`, which is not a directory but a file or a link", shown(above));
                    return Err(ArchiveError::in_member(path, why));
                }
            }
        }
        for above in new.into_iter().rev() {
            if let Ok(number) = self.all.add(above) {
                self.bytes += above.len() as u64;
                self.known.push(Known { stands: Stands::Directory, is_member: false, is_used: true });
                self.warn_of_case(above, number);
            }
        }
        Ok(())
    }

    fn warn_of_case(&mut self, path: &str, number: usize) {
        let (folded, all) = (path.to_lowercase(), &self.all);
        let first = self.folded.add(&folded, number, |other| all.get(other).to_lowercase() == folded);
        if let Some(first) = first.map(|first| shown(self.all.get(first))) {
            let path = shown(path);
            self.warn(|| format!("`{first}` and `{path}` are the same file on systems that take no notice of case"));
        }
    }
}

/// The path of a member as it is written in the archive: `.` in it, a slash at its end and two for one say nothing. None
/// is the archive's root.
pub(super) fn written(raw: &[u8]) -> Result<Option<String>, ArchiveError> {
    let text = std::str::from_utf8(raw)
        .map_err(|_| ArchiveError::in_member(&String::from_utf8_lossy(raw), "is not a name in UTF-8"))?;
    Ok(normal(text))
}

/// The same of a name that is text already.
pub(super) fn normal(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    match parts.join("/") {
        path if path.is_empty() => text.is_empty().then_some(path),
        path if text.starts_with('/') => Some(format!("/{path}")),
        path => Some(path),
    }
}

/// Refuses names that lead elsewhere, or mean something to some program that will see them.
pub(super) fn check_path(path: &str) -> Result<(), ArchiveError> {
    let refuse = |why: &str| Err(ArchiveError::in_member(path, why));
    if path.is_empty() {
        return refuse("is an empty name");
    }
    if path.len() > MAX_PATH_BYTES {
        return refuse("is a path of more than 4096 bytes");
    }
    if path.starts_with('/') {
        return refuse("is an absolute path; paths count from the root of the archive");
    }
    if path.contains('\\') {
        return refuse("has a backslash in its name; paths are split by `/`");
    }
    if path.contains(char::is_control) {
        return refuse("has a control character in its name");
    }
    if begins_with_drive(path) {
        return refuse("begins with the letter of a drive");
    }
    for part in path.split('/') {
        match part {
            "" => return refuse("has an empty part in its path"),
            "." | ".." => return refuse("has `.` or `..` in its path"),
            part if part.len() > MAX_PART_BYTES => return refuse("has a part of more than 255 bytes in its path"),
            part if is_git(part) => return refuse("is where git keeps its own files; leave it out of the archive"),
            _ => {}
        }
    }
    Ok(())
}

/// Whether some system takes a name for `.git`.
fn is_git(part: &str) -> bool {
    // HFS+ takes no notice of these.
    let ignored =
        |c: char| matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let visible: String = part.chars().filter(|c| !ignored(*c)).collect();
    // NTFS takes none of dots and spaces at the end, and of what comes after a colon.
    let name = visible.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    name.eq_ignore_ascii_case(".git") || name.eq_ignore_ascii_case("git~1")
}

/// Refuses links that lead out of the archive. Returns the directories through which they go down before they go up
/// again: those must not be links, or the way up would be another one.
fn check_link(path: &str, target: &str) -> Result<Vec<String>, ArchiveError> {
    let refuse = |why: &str| Err(not_within(path, target, why));
    if target.is_empty() {
        return refuse("is nothing");
    }
    if target.len() > MAX_PATH_BYTES {
        return refuse("is more than 4096 bytes long");
    }
    if target.starts_with('/') || target.contains('\\') || begins_with_drive(target) {
        return refuse("is not a path within the archive");
    }
    if target.contains(char::is_control) {
        return refuse("has a control character in it");
    }
    let mut place: Vec<&str> = path.split('/').collect();
    place.pop();
    let (mut detours, mut goes_down) = (Vec::new(), false);
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if std::mem::take(&mut goes_down) {
                    detours.push(place.join("/"));
                }
                if place.pop().is_none() {
                    return refuse("leads out of the archive");
                }
            }
            part if is_git(part) => return refuse("leads to where git keeps its own files"),
            part => {
                place.push(part);
                goes_down = true;
            }
        }
    }
    Ok(detours)
}

fn not_within(path: &str, target: &str, why: &str) -> ArchiveError {
    ArchiveError::in_member(path, format!("is a link to `{}`, which {why}", shown(target)))
}

/// As programs on Windows name what is not a part of any directory.
fn begins_with_drive(path: &str) -> bool {
    // Names of modules of Perl and Ruby have two colons.
    matches!(path.as_bytes(), [letter, b':', rest @ ..] if letter.is_ascii_alphabetic() && rest.first() != Some(&b':'))
}
