//! What has to be written so that one tree becomes another.

use std::collections::{BTreeMap, BTreeSet};

use super::names;
use super::{BlobId, Entry, GitError, Mode, Tree};

/// The name of git's own list of what it takes no notice of.
const GITIGNORE: &[u8] = b".gitignore";

/// What turns a branch's tree into another one.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct TreeChange {
    /// The paths that go.
    pub(super) removed: Vec<Vec<u8>>,
    /// The paths that come, or become something else.
    pub(super) written: Vec<(Vec<u8>, Entry)>,
    /// The contents that the branch does not have yet. Of paths with the same content there is one.
    new_blobs: BTreeSet<BlobId>,
}

/// Contents that are to be brought.
pub type NewBlobs = BTreeSet<BlobId>;

impl TreeChange {
    /// From one tree to the other.
    ///
    /// # Errors
    /// [`GitError::Refused`] if the new tree has a path that git would not take out of it.
    pub fn between(before: &Tree, after: &Tree) -> Result<Self, GitError> {
        let mut change = Self::default();
        for (path, entry) in &after.0 {
            names::check(path, entry.mode)?;
            if before.0.get(path) != Some(entry) {
                change.written.push((path.clone(), *entry));
            }
        }
        let known: BTreeSet<BlobId> =
            before.0.values().filter(|entry| entry.mode != Mode::Other).map(|entry| entry.blob).collect();
        let blobs = change.written.iter().map(|(_, entry)| entry.blob);
        change.new_blobs = blobs.filter(|blob| !known.contains(blob)).collect();
        change.removed = before.0.keys().filter(|path| !after.0.contains_key(*path)).cloned().collect();
        Ok(change)
    }

    /// Whether both trees are the same.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.written.is_empty()
    }

    /// How many paths it touches.
    pub fn paths(&self) -> usize {
        self.removed.len() + self.written.len()
    }

    /// The paths that have a content which has to be brought.
    pub fn new_contents(&self) -> BTreeMap<Vec<u8>, BlobId> {
        let new = self.written.iter().filter(|(_, entry)| self.new_blobs.contains(&entry.blob));
        new.map(|(path, entry)| (path.clone(), entry.blob)).collect()
    }

    /// The contents that have to be brought.
    pub fn new_blobs(&self) -> &NewBlobs {
        &self.new_blobs
    }
}

/// A tree's `.gitignore` with lines of our own at its end.
#[derive(Debug)]
pub struct Ignored {
    /// The whole file.
    pub content: Vec<u8>,
}

impl Ignored {
    /// Puts these lines at the end of the tree's `.gitignore`, whose content is `own` where it has one. `None`: there
    /// are not lines, or they stand there already, and the tree stays as it is.
    ///
    /// # Errors
    /// [`GitError::Refused`] if `.gitignore` is not a file in it.
    pub fn add(tree: &mut Tree, own: Option<&[u8]>, lines: &[String]) -> Result<Option<Self>, GitError> {
        if lines.is_empty() {
            return Ok(None);
        }
        let below = [GITIGNORE, b"/"].concat();
        let is_directory = tree.0.range(below.clone()..).next().is_some_and(|(path, _)| path.starts_with(&below));
        let entry = tree.0.get(GITIGNORE);
        if is_directory || entry.is_some_and(|entry| entry.mode == Mode::Link) {
            let why =
                "the package's `.gitignore` is not a file, so that the lines of the gitdeploy cannot be added to it";
            return Err(GitError::Refused(why.into()));
        }
        let mut content = own.unwrap_or_default().to_vec();
        let added = lines.join("\n") + "\n";
        let stands_there =
            content.strip_suffix(added.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.ends_with(b"\n"));
        if stands_there {
            return Ok(None);
        }
        if !content.is_empty() && !content.ends_with(b"\n") {
            content.push(b'\n');
        }
        content.extend_from_slice(added.as_bytes());
        let mode = entry.map_or(Mode::File, |entry| entry.mode);
        tree.0.insert(GITIGNORE.to_vec(), Entry { mode, blob: BlobId::of(&content) });
        Ok(Some(Self { content }))
    }
}
