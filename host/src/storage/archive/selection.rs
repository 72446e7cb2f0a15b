//! Which members of an archive are in a package, and under which names.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::error::shown;
use super::names::{Added, Names};
use super::paths::{Paths, Texts};
use super::{ArchiveError, ArchiveLimits, Member, MemberKind};

/// What is to be in a package.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Globs of paths: `*` stays within a directory, `**` does not.
    pub patterns: Vec<String>,
    /// What is removed, once, from the beginning of each path that begins with it.
    pub remove_prefix: Option<String>,
    /// What is put before each path after that.
    pub prefix: Option<String>,
}

/// What a package has come to.
#[derive(Debug)]
pub struct Packaged {
    /// How many files and links it has.
    pub files: u64,
    /// The patterns that have matched nothing.
    pub unmatched: Vec<String>,
    /// What each file and link of it is in the archive that it comes of.
    pub sources: Sources,
    /// The paths of its directories that have nothing in them: up to 1000 of them.
    pub empty_directories: Vec<String>,
}

/// What the files and links of a package are in the archive that it comes of.
#[derive(Debug, Default)]
pub struct Sources {
    paths: Paths,
    of: PathsOf,
}

impl Sources {
    /// Each path, and what it is in the archive.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let paths = self.paths.iter().enumerate();
        paths.filter_map(|(number, path)| Some((path, self.of.get(number)?)))
    }
}

/// Paths in the archive, by the numbers of those in the package.
#[derive(Debug, Default)]
struct PathsOf {
    paths: Texts,
    /// Where among them each is. `None`: it is a directory.
    places: Vec<Option<u32>>,
}

impl PathsOf {
    fn get(&self, number: usize) -> Option<&str> {
        let place = self.places.get(number).copied().flatten()?;
        Some(self.paths.get(place as usize))
    }

    fn add(&mut self, number: usize, path: &str) {
        if self.places.len() <= number {
            self.places.resize(number + 1, None);
        }
        self.places[number] = u32::try_from(self.paths.len()).ok();
        self.paths.push(path);
    }
}

/// A package while its master is read.
pub(super) struct Selected<'s> {
    selection: &'s Selection,
    globs: GlobSet,
    matched: HashSet<usize>,
    names: Names,
    /// Where its files come from.
    sources: PathsOf,
    /// What the first hard link to each file is called that the package does not have otherwise.
    copied: HashMap<String, String>,
    files: u64,
}

/// A member as it is in a package.
pub(super) struct Packed {
    pub(super) member: Member,
    /// It is a hard link to this file, which is not in the package otherwise, and has that one's content.
    pub(super) of_file: Option<String>,
}

/// Makes ready for the first member.
///
/// # Errors
/// [`ArchiveError::Refused`] if a pattern is not valid.
pub(super) fn select<'s>(selection: &'s Selection, limits: &ArchiveLimits) -> Result<Selected<'s>, ArchiveError> {
    let mut globs = GlobSetBuilder::new();
    for pattern in &selection.patterns {
        globs.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| none(&error))?);
    }
    let globs = globs.build().map_err(|error| none(&error))?;
    Ok(Selected {
        selection,
        globs,
        matched: HashSet::new(),
        names: Names::new(limits),
        sources: PathsOf::default(),
        copied: HashMap::new(),
        files: 0,
    })
}

fn none(error: &globset::Error) -> ArchiveError {
    ArchiveError::Refused(format!("a pattern of the package map is not valid: {error}"))
}

impl Selected<'_> {
    /// The member as it is in the package. `None`: it is not in the package.
    ///
    /// # Errors
    /// [`ArchiveError::Refused`] if it cannot be in it.
    pub(super) fn take(&mut self, member: &Member) -> Result<Option<Packed>, ArchiveError> {
        let matched = self.globs.matches(&member.path);
        if matched.is_empty() {
            return Ok(None);
        }
        self.matched.extend(matched);
        let path = self.named(&member.path, &member.kind);
        // The directory that the prefix is, which is nothing by itself.
        if path.is_empty() && member.kind == MemberKind::Directory {
            return Ok(None);
        }
        if self.source(&path) == Some(&member.path) {
            // The archive has it twice, and both are the same.
            return Ok(None);
        }
        let (kind, of_file) = match &member.kind {
            MemberKind::HardLink(file) if self.globs.is_match(file) => {
                (MemberKind::HardLink(self.named(file, &MemberKind::File)), None)
            }
            MemberKind::HardLink(file) => (self.copy_of(file, &path), Some(file.clone())),
            kind => (kind.clone(), None),
        };
        let packed = Member { path, kind };
        match self.names.add(&packed).map_err(|error| self.explain(error, member, &packed))? {
            Added::New => {}
            Added::Again => return Ok(None),
            Added::Twice => {
                let twice = ArchiveError::in_member(&packed.path, "is in it twice");
                return Err(self.explain(twice, member, &packed));
            }
        }
        if packed.kind != MemberKind::Directory {
            self.files += 1;
            if let Some(number) = self.names.number(&packed.path) {
                self.sources.add(number, &member.path);
            }
        }
        Ok(Some(Packed { member: packed, of_file }))
    }

    /// What a file or link of it is in the archive.
    fn source(&self, path: &str) -> Option<&str> {
        self.sources.get(self.names.number(path)?)
    }

    /// A hard link to a file that is not in the package has its content; further ones are links to the first.
    fn copy_of(&mut self, file: &str, path: &str) -> MemberKind {
        match self.copied.entry(file.to_owned()) {
            Entry::Vacant(free) => {
                free.insert(path.to_owned());
                MemberKind::File
            }
            Entry::Occupied(first) => MemberKind::HardLink(first.get().clone()),
        }
    }

    /// Says of a refusal which package it is about.
    fn explain(&self, error: ArchiveError, member: &Member, packed: &Member) -> ArchiveError {
        let ArchiveError::Refused(why) = error else { return error };
        let other = self.source(&packed.path);
        let other = other.map_or_else(String::new, |other| format!(" as `{}` does", shown(other)));
        let (from, to) = (shown(&member.path), shown(&packed.path));
        ArchiveError::Refused(format!("in a package, where `{from}` becomes `{to}`{other}: {why}"))
    }

    /// # Errors
    /// [`ArchiveError::Refused`] if a link in it cannot be told to stay in it.
    pub(super) fn into_packaged(self) -> Result<Packaged, ArchiveError> {
        let empty_directories = self.names.empty_directories()?;
        let patterns = self.selection.patterns.iter().enumerate();
        let unmatched = patterns.filter(|(place, _)| !self.matched.contains(place));
        let unmatched = unmatched.map(|(_, pattern)| pattern.clone()).collect();
        let sources = Sources { paths: self.names.into_paths(), of: self.sources };
        Ok(Packaged { files: self.files, unmatched, sources, empty_directories })
    }

    fn named(&self, path: &str, kind: &MemberKind) -> String {
        let Selection { remove_prefix, prefix, .. } = self.selection;
        let is_directory = *kind == MemberKind::Directory;
        // As archives have it, so that a prefix that ends with a slash fits.
        let written = if is_directory { format!("{path}/") } else { path.to_owned() };
        let rest = remove_prefix.as_deref().and_then(|removed| written.strip_prefix(removed)).unwrap_or(&written);
        let named = format!("{}{rest}", prefix.as_deref().unwrap_or_default());
        if is_directory { named.trim_end_matches('/').to_owned() } else { named }
    }
}
