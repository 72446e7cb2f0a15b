//! The object store: files too big for rows, by name. Knows neither the data services nor plugins.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode};
use uuid::Uuid;

/// Where a store has its id.
const ID: &str = "storage-id";

/// Why a file could not be kept or brought.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directory cannot be made or opened.
    #[error("the storage directory cannot be used: {0}")]
    Directory(#[source] std::io::Error),
    /// The URL names no store that can be used.
    #[error("`{0}` is no storage URL; it looks like file:///var/lib/elita/storage")]
    Url(String),
    /// What stands where the store's id should be is none.
    #[error("the store's id, in the file `{ID}`, is damaged")]
    Id,
    /// The store said no.
    #[error("the object store failed: {0}")]
    Store(#[from] object_store::Error),
}

/// The files of this installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
}

impl Storage {
    /// Files in a directory, which is made if it is missing.
    ///
    /// # Errors
    /// [`StorageError::Directory`].
    pub fn in_directory(directory: &Path) -> Result<Self, StorageError> {
        std::fs::create_dir_all(directory).map_err(StorageError::Directory)?;
        let store = LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
        Ok(Self { store: Arc::new(store) })
    }

    /// Files at a `file://` URL.
    ///
    /// # Errors
    /// [`StorageError::Url`], and those of [`Storage::in_directory`].
    pub fn at(url: &str) -> Result<Self, StorageError> {
        match url.strip_prefix("file://") {
            Some(path) if path.starts_with('/') => Self::in_directory(Path::new(path)),
            _ => Err(StorageError::Url(url.to_owned())),
        }
    }

    /// Names this store among all. Made by whoever asks first, and kept in the store.
    ///
    /// # Errors
    /// [`StorageError::Store`]; [`StorageError::Id`].
    pub async fn id(&self) -> Result<Uuid, StorageError> {
        let new = Uuid::new_v4().to_string();
        match self.store.put_opts(&Key::from(ID), new.into(), PutMode::Create.into()).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let kept = self.store.get(&Key::from(ID)).await?.bytes().await?;
        Uuid::try_parse_ascii(&kept).map_err(|_| StorageError::Id)
    }

    /// Keeps a component under its digest. To keep it again changes nothing.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn put_component(&self, sha256: &str, bytes: Bytes) -> Result<(), StorageError> {
        let key = component_key(sha256);
        match self.store.head(&key).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::NotFound { .. }) => {
                self.store.put(&key, bytes.into()).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Brings a component; none if there is none of this digest.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn component(&self, sha256: &str) -> Result<Option<Bytes>, StorageError> {
        match self.store.get(&component_key(sha256)).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn component_key(sha256: &str) -> Key {
    Key::from_iter(["components", &format!("{sha256}.wasm")])
}
