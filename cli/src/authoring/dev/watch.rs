//! Waiting until a source has changed.
//!
//! What counts is what is in the files, and never the files that a build writes: a loop that wakes itself would go on for
//! ever.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Folders that hold nothing written by hand.
const PASSED_OVER: [&str; 6] = ["target", "node_modules", "venv", "build", "__pycache__", "wit_world"];
/// What is larger is not a source.
const MOST_BYTES: u64 = 4 << 20;
/// How many files are watched.
const MOST_FILES: usize = 10_000;

/// What a file holds.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Content {
    modified: Option<SystemTime>,
    length: u64,
    hash: u64,
}

/// The sources of a folder, as they were before the last build.
pub(super) struct Watch {
    folder: PathBuf,
    /// What the build makes.
    left_out: BTreeSet<PathBuf>,
    known: BTreeMap<PathBuf, Content>,
    /// The files that changed during the last build, for which it was repeated.
    repeated_for: BTreeSet<PathBuf>,
}

impl Watch {
    pub(super) fn new(folder: &Path, component: &Path) -> Self {
        let mut watch = Self {
            folder: folder.to_owned(),
            left_out: BTreeSet::from([component.to_owned()]),
            known: BTreeMap::new(),
            repeated_for: BTreeSet::new(),
        };
        watch.known = watch.look();
        watch
    }

    /// To be called after the first build: files that were not there before it are its own.
    pub(super) fn was_built_first(&mut self) {
        for (path, content) in self.look() {
            self.known.entry(path).or_insert(content);
        }
    }

    /// Waits for a change, and for the end of it: editors write several files.
    pub(super) async fn changed(&mut self) {
        let mut before = self.look();
        loop {
            let is_new = differences(&self.known, &before).next().is_some();
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.look();
            if is_new && now == before {
                self.known = now;
                return;
            }
            before = now;
        }
    }

    /// To be called after a build: which files the build writes itself. A file is one of them if it changes in two builds
    /// in a row that no other change caused. It is not watched any more.
    pub(super) fn was_built(&mut self) -> Vec<PathBuf> {
        let changed: BTreeSet<PathBuf> = differences(&self.known, &self.look()).collect();
        let own: Vec<PathBuf> = changed.intersection(&self.repeated_for).cloned().collect();
        for file in &own {
            self.left_out.insert(file.clone());
            self.known.remove(file);
        }
        self.repeated_for = changed;
        own
    }

    fn look(&self) -> BTreeMap<PathBuf, Content> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_string_lossy();
                let Ok(metadata) = entry.metadata() else { continue };
                if name.starts_with('.') || self.left_out.contains(&path) || found.len() >= MOST_FILES {
                    continue;
                }
                if metadata.is_dir() {
                    if !PASSED_OVER.contains(&&*name) {
                        folders.push(path);
                    }
                } else if metadata.is_file() && metadata.len() <= MOST_BYTES && !name.ends_with(".wasm") {
                    let modified = metadata.modified().ok();
                    let content = match self.known.get(&path) {
                        Some(known) if known.modified == modified && known.length == metadata.len() => known.clone(),
                        _ => Content { modified, length: metadata.len(), hash: hash(&path) },
                    };
                    found.insert(path, content);
                }
            }
        }
        found
    }
}

/// The files whose content is not the same, or that are on one side only.
fn differences<'a>(
    before: &'a BTreeMap<PathBuf, Content>,
    after: &'a BTreeMap<PathBuf, Content>,
) -> impl Iterator<Item = PathBuf> + 'a {
    let changed =
        after.iter().filter(|(path, content)| before.get(*path).is_none_or(|known| known.hash != content.hash));
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    changed.map(|(path, _)| path.clone()).chain(gone.cloned())
}

fn hash(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    std::fs::read(path).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::Watch;

    #[tokio::test]
    async fn a_file_that_each_build_writes_is_left_out_after_the_second_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (source, written) = (folder.path().join("plugin.c"), folder.path().join("stamp"));
        std::fs::write(&source, "1").expect("written");
        let mut watch = Watch::new(folder.path(), &folder.path().join("plugin.wasm"));
        let mut builds = 0;
        std::fs::write(&source, "2").expect("written");
        loop {
            let waited = tokio::time::timeout(std::time::Duration::from_secs(3), watch.changed()).await;
            if waited.is_err() {
                break;
            }
            builds += 1;
            assert!(builds < 5, "it wakes itself");
            std::fs::write(&written, builds.to_string()).expect("written");
            watch.was_built();
        }
        assert_eq!(builds, 2);
        std::fs::write(&source, "3").expect("written");
        watch.changed().await;
    }
}
