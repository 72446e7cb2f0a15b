//! Builds' files: each upload has its own folder, named by an id that is never used again. In it is the file that a
//! client sent, and a folder for each run of the upload's job with the files of that run: no file is overwritten.

use std::ffi::OsStr;
use std::fs::{DirEntry, File};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::path::Path as Key;
use object_store::{GetResultPayload, ObjectStoreExt as _};
use uuid::Uuid;

use super::bucket::{self, Stored};
use super::incoming::{Incoming, Unfinished};
use super::{Storage, StorageError};

/// The folder of all folders.
pub(super) const BUILDS: &str = "builds";
/// What comes after the name of a file in the name of the tree that is kept with it.
const TREE: &str = ".tree";

impl Storage {
    /// Begins a new file in the folder of an upload. Nothing is there before it is finished.
    ///
    /// # Errors
    /// [`StorageError::Full`]; [`StorageError::Store`].
    pub async fn receive_build_file(&self, folder: Uuid, filename: &str) -> Result<Incoming, StorageError> {
        if self.bucket.is_some() {
            return Ok(Incoming::for_bucket(self.store.clone(), build_key(folder, None, filename)));
        }
        let upload = match self.store.put_multipart(&build_key(folder, None, filename)).await {
            Ok(upload) => upload,
            Err(error) => {
                // Its folder may have been made.
                self.remove_build_files(folder).await?;
                return Err(error.into());
            }
        };
        Ok(Incoming::new(Unfinished::new(upload, self.build_folder(folder))))
    }

    /// Begins a new file of a run of an upload, which may have others.
    ///
    /// # Errors
    /// Those of [`Storage::receive_build_file`].
    pub async fn add_build_file(&self, folder: Uuid, run: i64, filename: &str) -> Result<Incoming, StorageError> {
        if self.bucket.is_some() {
            return Ok(Incoming::for_bucket(self.store.clone(), build_key(folder, Some(run), filename)));
        }
        let upload = self.store.put_multipart(&build_key(folder, Some(run), filename)).await?;
        Ok(Incoming::new(Unfinished::beside_others(upload)))
    }

    /// An empty file for work in progress, beside what is stored. It has no name, and goes when it is closed.
    ///
    /// # Errors
    /// [`StorageError::Full`]; [`StorageError::Scratch`].
    pub fn scratch_file(&self) -> Result<File, StorageError> {
        Ok(tempfile::tempfile_in(&self.directory)?)
    }

    /// Opens a file of an upload, or of a run of it; none if it is not there. From a bucket it is fetched as a whole.
    ///
    /// # Errors
    /// [`StorageError::Store`]; of one that is fetched also [`StorageError::Full`] and [`StorageError::Away`].
    pub async fn build_file(
        &self,
        folder: Uuid,
        run: Option<i64>,
        filename: &str,
    ) -> Result<Option<File>, StorageError> {
        let key = build_key(folder, run, filename);
        match self.store.get(&key).await {
            Ok(found) => match found.payload {
                GetResultPayload::File(file, _) => Ok(Some(file)),
                GetResultPayload::Stream(_) => {
                    let pieces = bucket::resumed(self.store.clone(), key, found);
                    Ok(Some(bucket::fetched(pieces, self.scratch_file()?).await?))
                }
            },
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a file of an upload to another one.
    ///
    /// # Errors
    /// [`StorageError::Store`]; [`StorageError::Full`]; [`StorageError::Away`].
    pub(super) async fn fetch_build_file(
        &self,
        folder: Uuid,
        run: Option<i64>,
        filename: &str,
        file: File,
    ) -> Result<File, StorageError> {
        let key = build_key(folder, run, filename);
        let found = self.store.get(&key).await?;
        bucket::fetched(bucket::resumed(self.store.clone(), key, found), file).await
    }

    /// Keeps what git would call the contents of a file of an upload, beside it, for as long as the file is kept.
    ///
    /// # Errors
    /// [`StorageError::Full`]; [`StorageError::Store`].
    pub async fn put_tree(
        &self,
        folder: Uuid,
        run: Option<i64>,
        filename: &str,
        tree: Bytes,
    ) -> Result<(), StorageError> {
        self.store.put(&build_key(folder, run, &tree_of(filename)), tree.into()).await?;
        Ok(())
    }

    /// What was kept like that. `None`: nothing was.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn tree(&self, folder: Uuid, run: Option<i64>, filename: &str) -> Result<Option<Bytes>, StorageError> {
        match self.store.get(&build_key(folder, run, &tree_of(filename))).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A part of a file of an upload, as it is read.
    ///
    /// # Errors
    /// [`StorageError::Store`]; so has the stream.
    pub async fn read_build_file(
        &self,
        folder: Uuid,
        run: Option<i64>,
        filename: &str,
        bytes: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let key = build_key(folder, run, filename);
        let found = self.store.get_opts(&key, bucket::part(bytes)).await?;
        Ok(bucket::resumed(self.store.clone(), key, found))
    }

    /// Where a client can get a file of an upload itself, for some minutes. `None`: only here.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn lent_url(
        &self,
        folder: Uuid,
        run: Option<i64>,
        filename: &str,
    ) -> Result<Option<String>, StorageError> {
        let Some(bucket) = &self.bucket else { return Ok(None) };
        bucket::lent_url(bucket, &build_key(folder, run, filename)).await.map(Some)
    }

    /// Removes all files of an upload, finished or not.
    ///
    /// # Errors
    /// [`StorageError::Remove`]; [`StorageError::Store`].
    pub async fn remove_build_files(&self, folder: Uuid) -> Result<(), StorageError> {
        if self.bucket.is_some() {
            return bucket::remove(&*self.store, &folder_key(folder), |_| true).await.map(drop);
        }
        let folder = self.build_folder(folder);
        match tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await? {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StorageError::Remove(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// How long a file of an upload is, or of a run of it. `None`: it is not there.
    ///
    /// # Errors
    /// [`StorageError::Store`]; [`StorageError::Away`].
    pub async fn build_file_bytes(
        &self,
        folder: Uuid,
        run: Option<i64>,
        filename: &str,
    ) -> Result<Option<u64>, StorageError> {
        match self.store.head(&build_key(folder, run, filename)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Copies a file of an upload to the place of another one, and the tree that is kept with it.
    ///
    /// # Errors
    /// [`StorageError::Store`]; [`StorageError::Full`]; [`StorageError::Away`].
    pub async fn copy_build_file(
        &self,
        from: (Uuid, Option<i64>, &str),
        to: (Uuid, Option<i64>, &str),
    ) -> Result<(), StorageError> {
        let key = |(folder, run, filename): (Uuid, Option<i64>, &str)| build_key(folder, run, filename);
        self.store.copy(&key(from), &key(to)).await?;
        let trees = [(from.0, from.1, &*tree_of(from.2)), (to.0, to.1, &*tree_of(to.2))].map(key);
        match self.store.copy(&trees[0], &trees[1]).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file of an upload, or of a run of it, and the tree that is kept with it.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn remove_build_file(&self, folder: Uuid, run: Option<i64>, filename: &str) -> Result<(), StorageError> {
        for name in [filename, &*tree_of(filename)] {
            match self.store.delete(&build_key(folder, run, name)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Removes all files of an upload but these, each with its run, finished or not; says how many there were.
    ///
    /// # Errors
    /// [`StorageError::Remove`].
    pub async fn remove_other_build_files(
        &self,
        folder: Uuid,
        kept: Vec<(Option<i64>, String)>,
    ) -> Result<usize, StorageError> {
        if self.bucket.is_some() {
            let is_kept = |Stored { run, filename, .. }: &Stored| {
                kept.iter().any(|(kept_run, kept)| kept_run == run && belongs_to(filename.as_ref(), kept))
            };
            return bucket::remove(&*self.store, &folder_key(folder), |stored| !is_kept(stored)).await;
        }
        let folder = self.build_folder(folder);
        let removed = tokio::task::spawn_blocking(move || remove_others(&folder, None, &kept));
        removed.await?.map_err(StorageError::Remove)
    }

    /// Removes what runs of an upload have stored, except the files of these runs.
    ///
    /// # Errors
    /// [`StorageError::Remove`].
    pub async fn remove_other_runs(&self, folder: Uuid, kept: Vec<i64>) -> Result<(), StorageError> {
        if self.bucket.is_some() {
            let is_kept = |stored: &Stored| stored.run.is_none_or(|run| kept.contains(&run));
            let removed = bucket::remove(&*self.store, &folder_key(folder), |stored| !is_kept(stored)).await;
            return removed.map(drop);
        }
        let folder = self.build_folder(folder);
        let removed = tokio::task::spawn_blocking(move || {
            for entry in entries(&folder)? {
                let is_kept = run_of(&entry).is_some_and(|run| kept.contains(&run));
                if !is_kept && entry.file_type()?.is_dir() {
                    std::fs::remove_dir_all(entry.path())?;
                }
            }
            Ok(())
        });
        removed.await?.map_err(StorageError::Remove)
    }

    /// The uploads whose files have not changed since then.
    ///
    /// # Errors
    /// [`StorageError::Look`].
    pub async fn old_build_folders(&self, before: SystemTime) -> Result<Vec<Uuid>, StorageError> {
        if self.bucket.is_some() {
            return bucket::old_folders(&*self.store, before).await;
        }
        let builds = self.directory.join(BUILDS);
        let looked = tokio::task::spawn_blocking(move || old_folders(&builds, before)).await?;
        looked.map_err(StorageError::Look)
    }

    pub(super) fn build_folder(&self, folder: Uuid) -> PathBuf {
        self.directory.join(BUILDS).join(folder.to_string())
    }
}

/// Folders that are removed meanwhile are left out.
fn old_folders(builds: &Path, before: SystemTime) -> io::Result<Vec<Uuid>> {
    let mut old = Vec::new();
    for entry in entries(builds)? {
        let Some(id) = entry.file_name().to_str().and_then(|name| Uuid::try_parse(name).ok()) else { continue };
        let mut changes = vec![changed(&entry)?];
        changes_below(&entry.path(), &mut changes)?;
        if changes.into_iter().flatten().all(|change| change < before) {
            old.push(id);
        }
    }
    Ok(old)
}

/// When what is in a folder last changed, and in the folders in it.
fn changes_below(folder: &Path, changes: &mut Vec<Option<SystemTime>>) -> io::Result<()> {
    for entry in entries(folder)? {
        changes.push(changed(&entry)?);
        if entry.file_type()?.is_dir() {
            changes_below(&entry.path(), changes)?;
        }
    }
    Ok(())
}

/// Removes what is in the folder of an upload, or of a run of it, and is not to be kept; and folders that are empty
/// then.
fn remove_others(folder: &Path, run: Option<i64>, kept: &[(Option<i64>, String)]) -> io::Result<usize> {
    let mut count = 0;
    for entry in entries(folder)? {
        if entry.file_type()?.is_dir() {
            let Some(run) = run_of(&entry) else { continue };
            count += remove_others(&entry.path(), Some(run), kept)?;
            if entries(&entry.path())?.is_empty() {
                std::fs::remove_dir(entry.path())?;
            }
        } else if !kept.iter().any(|(of, filename)| *of == run && belongs_to(&entry.file_name(), filename)) {
            std::fs::remove_file(entry.path())?;
            count += 1;
        }
    }
    Ok(count)
}

fn tree_of(filename: &str) -> String {
    format!("{filename}{TREE}")
}

/// Whether a name is that of a file, or of the tree that is kept with it.
fn belongs_to(name: &OsStr, filename: &str) -> bool {
    name == filename || name == &*tree_of(filename)
}

/// The run that a folder belongs to. `None`: it is not the folder of a run.
fn run_of(folder: &DirEntry) -> Option<i64> {
    folder.file_name().to_str()?.parse().ok()
}

pub(super) fn entries(directory: &Path) -> io::Result<Vec<DirEntry>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// When it last changed; none if it has gone.
pub(super) fn changed(entry: &DirEntry) -> io::Result<Option<SystemTime>> {
    match entry.metadata().and_then(|metadata| metadata.modified()) {
        Ok(at) => Ok(Some(at)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn folder_key(folder: Uuid) -> Key {
    Key::from_iter([BUILDS, &*folder.to_string()])
}

pub(super) fn build_key(folder: Uuid, run: Option<i64>, filename: &str) -> Key {
    let (folder, run) = (folder.to_string(), run.map(|run| run.to_string()));
    Key::from_iter([BUILDS, &*folder].into_iter().chain(run.as_deref()).chain([filename]))
}
