//! A file of a run of an upload that is written and not yet accepted. It has a temporary name, and is removed unless it
//! gets its final one.

use std::fs::File;

use object_store::ObjectStoreExt as _;
use uuid::Uuid;

use super::builds::build_key;
use super::incoming::{FinishedFile, Received};
use super::{Storage, StorageError};

/// Nothing is left of it if this is dropped.
pub struct Candidate {
    storage: Storage,
    folder: Uuid,
    run: i64,
    filename: String,
    received: Received,
    is_accepted: bool,
}

impl Candidate {
    /// A name for a candidate while it is written.
    pub fn provisional_name() -> String {
        format!("{}.part", Uuid::new_v4())
    }

    /// Makes a file durable that was written under a provisional name.
    ///
    /// # Errors
    /// [`StorageError::Full`]; [`StorageError::Store`].
    pub async fn publish(
        storage: Storage,
        folder: Uuid,
        run: i64,
        filename: String,
        finished: FinishedFile,
    ) -> Result<Self, StorageError> {
        let received = finished.received();
        // First, so that it goes also where this future is dropped.
        let candidate = Self { storage, folder, run, filename, received, is_accepted: false };
        finished.publish().await?;
        Ok(candidate)
    }

    /// What has come in.
    pub fn received(&self) -> Received {
        self.received
    }

    /// Opens it, to be looked at.
    ///
    /// # Errors
    /// [`StorageError::Store`]; [`StorageError::NoFile`] if it has gone.
    pub async fn open(&self) -> Result<File, StorageError> {
        self.storage.build_file(self.folder, Some(self.run), &self.filename).await?.ok_or(StorageError::NoFile)
    }

    /// Gives it the name that it keeps, unless that is taken; says whether it did.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn accept(mut self, filename: &str) -> Result<bool, StorageError> {
        let key = |filename: &str| build_key(self.folder, Some(self.run), filename);
        let (from, to) = (key(&self.filename), key(filename));
        match self.storage.store.rename_if_not_exists(&from, &to).await {
            Ok(()) => {
                self.is_accepted = true;
                Ok(true)
            }
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if self.is_accepted {
            return;
        }
        // What cannot be removed is orphaned, and removed later.
        if self.storage.is_bucket() {
            let (storage, folder, run) = (self.storage.clone(), self.folder, self.run);
            let filename = std::mem::take(&mut self.filename);
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { drop(storage.remove_build_file(folder, Some(run), &filename).await) });
            }
            return;
        }
        let file = self.storage.build_folder(self.folder).join(self.run.to_string()).join(&self.filename);
        let removed = move || drop(std::fs::remove_file(file));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(removed)),
            Err(_) => removed(),
        }
    }
}
