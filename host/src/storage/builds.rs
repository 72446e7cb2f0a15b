//! Builds' files: each upload has a folder of its own, named by an id that nobody uses twice.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;

use object_store::path::Path as Key;
use object_store::{GetResultPayload, ObjectStoreExt as _};
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
        let upload = self.store.put_multipart(&build_key(folder, filename)).await?;
        Ok(Incoming::new(Unfinished::new(upload, self.build_folder(folder))))
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

    fn build_folder(&self, folder: Uuid) -> PathBuf {
        self.directory.join(BUILDS).join(folder.to_string())
    }
}

fn build_key(folder: Uuid, filename: &str) -> Key {
    Key::from_iter([BUILDS, &folder.to_string(), filename])
}
