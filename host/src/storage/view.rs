//! Views: some files of an upload in a directory of their own, under their names, for one run to read.
//!
//! A view needs no disk space: its files are hard links to those in the store, and copies only if the file system has
//! no hard links. So a run must not be able to write to its view. From a bucket they are fetched.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::io::Errno;
use uuid::Uuid;

use super::builds::{changed, entries};
use super::{Storage, StorageError};

/// The folder of all views.
const VIEWS: &str = "views";

/// Files for one run. The directory goes when this is dropped.
#[derive(Debug)]
pub struct View(PathBuf);

/// A file that a view shows.
#[derive(Debug)]
pub struct ShownFile {
    /// The upload that it is of.
    pub folder: Uuid,
    /// Which run has stored it.
    pub run: Option<i64>,
    /// What it is called in the store.
    pub filename: String,
    /// What it is called in the view.
    pub name: String,
}

impl Storage {
    /// Makes a view of these files.
    ///
    /// # Errors
    /// [`StorageError::Full`]; [`StorageError::View`], also if one of the files is not there.
    pub async fn view(&self, shown: Vec<ShownFile>) -> Result<View, StorageError> {
        if self.is_bucket() {
            return self.fetched_view(&shown).await;
        }
        let storage = self.clone();
        let view = self.directory.join(VIEWS).join(Uuid::new_v4().to_string());
        tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&view)?;
            let view = View(view);
            for ShownFile { folder, run, filename, name } in &shown {
                let files = storage.build_folder(*folder);
                let folder = run.map_or_else(|| files.clone(), |run| files.join(run.to_string()));
                show(&folder.join(filename), &view.0.join(name))?;
            }
            Ok(view)
        })
        .await?
        .map_err(StorageError::of_view)
    }

    /// The same with copies of files in a bucket.
    async fn fetched_view(&self, shown: &[ShownFile]) -> Result<View, StorageError> {
        let view = View(self.directory.join(VIEWS).join(Uuid::new_v4().to_string()));
        let directory = view.0.clone();
        tokio::task::spawn_blocking(move || std::fs::create_dir_all(directory))
            .await?
            .map_err(StorageError::of_view)?;
        for ShownFile { folder, run, filename, name } in shown {
            let file = view.0.join(name);
            let file = tokio::task::spawn_blocking(move || File::create_new(file)).await?;
            self.fetch_build_file(*folder, *run, filename, file.map_err(StorageError::of_view)?).await?;
        }
        Ok(view)
    }

    /// Removes the views that have not changed since then: those of runs that ended with their server.
    ///
    /// # Errors
    /// [`StorageError::Look`].
    pub async fn remove_old_views(&self, before: SystemTime) -> Result<(), StorageError> {
        let views = self.directory.join(VIEWS);
        let removed = tokio::task::spawn_blocking(move || {
            for view in entries(&views)? {
                if changed(&view)?.is_some_and(|change| change < before) {
                    // Another server may remove it at the same time.
                    std::fs::remove_dir_all(view.path()).or_else(gone)?;
                }
            }
            Ok(())
        });
        removed.await?.map_err(StorageError::Look)
    }
}

impl View {
    /// Where the files are.
    pub fn directory(&self) -> &Path {
        &self.0
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let view = std::mem::take(&mut self.0);
        // What cannot be removed is orphaned, and removed later.
        let removed = move || drop(std::fs::remove_dir_all(view));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(removed)),
            Err(_) => removed(),
        }
    }
}

/// What is not there need not be removed.
fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Gives a file another name, or copies it.
fn show(file: &Path, shown: &Path) -> io::Result<()> {
    match std::fs::hard_link(file, shown) {
        Err(error) if cannot_link(&error) => std::fs::copy(file, shown).map(drop),
        linked => linked,
    }
}

/// Whether the file system knows no second names, or this file has as many as it can have.
fn cannot_link(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied | ErrorKind::CrossesDevices)
        || Errno::from_io_error(error).is_some_and(|errno| errno == Errno::MLINK || errno == Errno::OPNOTSUPP)
}
