//! Builds' files: each upload has a folder of its own, named by an id that nobody uses twice.

use std::fs::{DirEntry, File};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path as Key;
use object_store::{GetOptions, GetResultPayload, ObjectStoreExt as _};
use uuid::Uuid;

use super::incoming::{Incoming, Unfinished};
use super::{Storage, StorageError};

/// The folder of all folders.
const BUILDS: &str = "builds";

impl Storage {
    /// Begins a new file in the folder of an upload. Nothing is there before it is finished.
    ///
    /// # Errors
    /// [`StorageError::Full`]; [`StorageError::Store`].
    pub async fn receive_build_file(&self, folder: Uuid, filename: &str) -> Result<Incoming, StorageError> {
        let upload = match self.store.put_multipart(&build_key(folder, filename)).await {
            Ok(upload) => upload,
            Err(error) => {
                // Its folder may have been made.
                self.remove_build_files(folder).await?;
                return Err(error.into());
            }
        };
        Ok(Incoming::new(Unfinished::new(upload, self.build_folder(folder))))
    }

    /// Begins a new file in the folder of an upload that has others.
    ///
    /// # Errors
    /// Those of [`Storage::receive_build_file`].
    pub async fn add_build_file(&self, folder: Uuid, filename: &str) -> Result<Incoming, StorageError> {
        let upload = self.store.put_multipart(&build_key(folder, filename)).await?;
        Ok(Incoming::new(Unfinished::beside_others(upload)))
    }

    /// An empty file for work in progress, beside what is stored. It has no name, and goes when it is closed.
    ///
    /// # Errors
    /// [`StorageError::Full`]; [`StorageError::Scratch`].
    pub fn scratch_file(&self) -> Result<File, StorageError> {
        Ok(tempfile::tempfile_in(&self.directory)?)
    }

    /// Opens a file of an upload; none if it is not there.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn build_file(&self, folder: Uuid, filename: &str) -> Result<Option<File>, StorageError> {
        match self.store.get(&build_key(folder, filename)).await {
            Ok(found) => match found.payload {
                GetResultPayload::File(file, _) => Ok(Some(file)),
                GetResultPayload::Stream(_) => Err(StorageError::NoFile),
            },
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
        filename: &str,
        bytes: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let options = GetOptions { range: Some(bytes.into()), ..GetOptions::default() };
        let found = self.store.get_opts(&build_key(folder, filename), options).await?;
        Ok(found.into_stream().map_err(StorageError::from).boxed())
    }

    /// Removes all files of an upload, finished or not.
    ///
    /// # Errors
    /// [`StorageError::Remove`].
    pub async fn remove_build_files(&self, folder: Uuid) -> Result<(), StorageError> {
        let folder = self.build_folder(folder);
        match tokio::task::spawn_blocking(move || std::fs::remove_dir_all(folder)).await? {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StorageError::Remove(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes a file of an upload.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn remove_build_file(&self, folder: Uuid, filename: &str) -> Result<(), StorageError> {
        match self.store.delete(&build_key(folder, filename)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes all files of an upload but these, finished or not; says how many there were.
    ///
    /// # Errors
    /// [`StorageError::Remove`].
    pub async fn remove_other_build_files(&self, folder: Uuid, kept: Vec<String>) -> Result<usize, StorageError> {
        let folder = self.build_folder(folder);
        let removed = tokio::task::spawn_blocking(move || {
            let is_kept = |file: &DirEntry| kept.iter().any(|kept| file.file_name() == **kept);
            let others: Vec<_> = entries(&folder)?.into_iter().filter(|file| !is_kept(file)).collect();
            others.iter().try_for_each(|file| std::fs::remove_file(file.path()))?;
            Ok(others.len())
        });
        removed.await?.map_err(StorageError::Remove)
    }

    /// The uploads whose files have not changed since then.
    ///
    /// # Errors
    /// [`StorageError::Look`].
    pub async fn old_build_folders(&self, before: SystemTime) -> Result<Vec<Uuid>, StorageError> {
        let builds = self.directory.join(BUILDS);
        let looked = tokio::task::spawn_blocking(move || old_folders(&builds, before)).await?;
        looked.map_err(StorageError::Look)
    }

    pub(super) fn build_folder(&self, folder: Uuid) -> PathBuf {
        self.directory.join(BUILDS).join(folder.to_string())
    }
}

/// Folders that go meanwhile are none.
fn old_folders(builds: &Path, before: SystemTime) -> io::Result<Vec<Uuid>> {
    let mut old = Vec::new();
    for entry in entries(builds)? {
        let Some(id) = entry.file_name().to_str().and_then(|name| Uuid::try_parse(name).ok()) else { continue };
        let mut changes = vec![changed(&entry)?];
        for file in entries(&entry.path())? {
            changes.push(changed(&file)?);
        }
        if changes.into_iter().flatten().all(|change| change < before) {
            old.push(id);
        }
    }
    Ok(old)
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

pub(super) fn build_key(folder: Uuid, filename: &str) -> Key {
    Key::from_iter([BUILDS, &folder.to_string(), filename])
}
