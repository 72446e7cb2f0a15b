//! What packages are as trees of git. It is found out when a package is made, where every byte is read anyway, and is
//! stored beside its file, so that a commit reads only what is new.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::datasvc::FileLocation;
use crate::git::{BlobHasher, BlobId, Entry, Mode, Tree};
use crate::storage::archive::{ArchiveError, Shown, ShownKind, Sources};
use crate::storage::{Storage, StorageError};

/// What a stored tree begins with. Another beginning is another form, and is not read.
const BEGINNING: &[u8] = b"elita-tree 1\n";
/// The letters that stand for what a path is.
const FILE: u8 = b'f';
const EXECUTABLE: u8 = b'x';
const LINK: u8 = b'l';
const EMPTY_DIRECTORY: u8 = b'd';

/// A package as a tree.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::work) struct PackageTree {
    pub(in crate::work) tree: Tree,
    /// Directories that cannot be committed, because nothing is in them.
    pub(in crate::work) empty_directories: Vec<String>,
}

/// Finds out what a package is as a tree, while its members are read.
#[derive(Default)]
pub(in crate::work) struct TreeReader(BTreeMap<Vec<u8>, Entry>);

impl TreeReader {
    /// Takes the next member.
    pub(in crate::work) fn see(&mut self, shown: Shown<'_>, content: &mut dyn Read) -> Result<(), ArchiveError> {
        let entry = match shown.kind {
            ShownKind::Directory => return Ok(()),
            ShownKind::Symlink(target) => Entry { mode: Mode::Link, blob: BlobId::of(target.as_bytes()) },
            // It comes after the file.
            ShownKind::HardLink(target) => *self
                .0
                .get(target.as_bytes())
                .ok_or_else(|| ArchiveError::from(io::Error::other("a hard link to a file that is not before it")))?,
            ShownKind::File { executable } => {
                let mut hasher = BlobHasher::new(shown.size_bytes);
                io::copy(content, &mut hasher)?;
                let mode = if executable { Mode::Executable } else { Mode::File };
                Entry { mode, blob: hasher.finish() }
            }
        };
        self.0.insert(shown.path.as_bytes().to_vec(), entry);
        Ok(())
    }

    /// The tree of all that was seen.
    pub(in crate::work) fn finish(self, empty_directories: Vec<String>) -> PackageTree {
        PackageTree { tree: Tree(self.0), empty_directories }
    }
}

impl PackageTree {
    /// A package that was made of this one: `sources` says what each of its paths is here. `None`: it has something that
    /// is not here.
    pub(in crate::work) fn derived(&self, sources: &Sources, empty_directories: Vec<String>) -> Option<Self> {
        let entry =
            |(path, source): (&str, &str)| Some((path.as_bytes().to_vec(), *self.tree.0.get(source.as_bytes())?));
        let tree = sources.iter().map(entry).collect::<Option<_>>()?;
        Some(Self { tree: Tree(tree), empty_directories })
    }

    fn encoded(&self) -> Vec<u8> {
        let mut bytes = BEGINNING.to_vec();
        for (path, Entry { mode, blob }) in &self.tree.0 {
            bytes.push(match mode {
                Mode::File | Mode::Other => FILE,
                Mode::Executable => EXECUTABLE,
                Mode::Link => LINK,
            });
            bytes.extend_from_slice(&blob.0);
            bytes.extend_from_slice(path);
            bytes.push(0);
        }
        for directory in &self.empty_directories {
            bytes.push(EMPTY_DIRECTORY);
            bytes.extend_from_slice(directory.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    fn decoded(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(BEGINNING)?;
        let mut found = Self::default();
        while let Some((letter, after)) = rest.split_first() {
            let (id, after) = if *letter == EMPTY_DIRECTORY {
                (None, after)
            } else {
                after.split_at_checked(20).map(|(id, after)| (Some(id), after))?
            };
            let end = after.iter().position(|byte| *byte == 0)?;
            let path = &after[..end];
            rest = &after[end + 1..];
            let mode = match *letter {
                FILE => Mode::File,
                EXECUTABLE => Mode::Executable,
                LINK => Mode::Link,
                EMPTY_DIRECTORY => {
                    found.empty_directories.push(String::from_utf8(path.to_vec()).ok()?);
                    continue;
                }
                _ => return None,
            };
            found.tree.0.insert(path.to_vec(), Entry { mode, blob: BlobId(id?.try_into().ok()?) });
        }
        Some(found)
    }

    /// Stores it beside the file of the package.
    pub(in crate::work) async fn keep(
        &self,
        storage: &Storage,
        FileLocation { upload, run, filename }: &FileLocation,
    ) -> Result<(), StorageError> {
        storage.put_tree((*upload).into(), *run, filename, self.encoded().into()).await
    }

    /// The one that is stored beside the file of a package. `None`: there is none that can be read.
    pub(in crate::work) async fn kept(
        storage: &Storage,
        FileLocation { upload, run, filename }: &FileLocation,
    ) -> Result<Option<Self>, StorageError> {
        let bytes = storage.tree((*upload).into(), *run, filename).await?;
        Ok(bytes.and_then(|bytes| Self::decoded(&bytes)))
    }
}
