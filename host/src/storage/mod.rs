//! The object store: files too big for rows, by name. Knows neither the data services nor plugins.
//!
//! Components are kept by their digests; `builds` keeps what is uploaded, which comes in through `incoming`; a `view`
//! is what a run gets to see of it.

pub mod archive;
mod bucket;
mod builds;
mod candidate;
mod incoming;
mod pace;
mod view;

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode};
use tokio::task::JoinError;
use tracing::warn;
use uuid::Uuid;

pub use self::bucket::MAX_FILE_BYTES;
use self::bucket::{Bucket, Meaning};
pub use self::candidate::Candidate;
pub use self::incoming::{FinishedFile, Incoming, Received};
pub use self::pace::Pace;
pub use self::view::{ShownFile, View};
use crate::errors::causes;

/// Where a store has its id.
const ID: &str = "storage-id";

/// Why a file could not be kept or brought.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The directory cannot be made or opened.
    #[error("the storage directory cannot be used: {0}")]
    Directory(#[source] std::io::Error),
    /// The URL names no store that can be used.
    #[error("`{0}` is not a storage URL; it looks like file:///var/lib/elita/storage or s3://bucket/prefix")]
    Url(String),
    /// The store's id is not valid.
    #[error("the store's id, in the file `{ID}`, is damaged")]
    Id,
    /// The store is full.
    #[error("the object store is full: {0}")]
    Full(#[source] Box<dyn StdError + Send + Sync>),
    /// The store cannot be reached, or does not do its work at this moment.
    #[error("the object store does not answer, or not as it should: {0}")]
    Away(#[source] object_store::Error),
    /// The store does not let us in.
    #[error(
        "the object store refuses the request; look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do: {0}"
    )]
    Refused(#[source] object_store::Error),
    /// There is no such bucket.
    #[error("there is no bucket for the storage URL; make it first, and look at AWS_REGION and AWS_ENDPOINT_URL: {0}")]
    NoBucket(#[source] object_store::Error),
    /// The store said no.
    #[error("the object store failed: {0}")]
    Store(#[source] object_store::Error),
    /// The store brings a file in pieces where it has to be one that can be read anywhere.
    #[error("the object store has no files that can be opened")]
    NoFile,
    /// Files stay where they were to be removed.
    #[error("files in the store cannot be removed: {0}")]
    Remove(#[source] io::Error),
    /// It cannot be seen which files there are.
    #[error("the files in the store cannot be looked at: {0}")]
    Look(#[source] io::Error),
    /// A file for work in progress cannot be made, read or written.
    #[error("a scratch file in the store's directory cannot be used: {0}")]
    Scratch(#[source] io::Error),
    /// Files cannot be shown to a run.
    #[error("files in the store cannot be shown to a run: {0}")]
    View(#[source] io::Error),
    /// A part of the work broke off.
    #[error("a file was not written to its end: {0}")]
    Unfinished(#[source] JoinError),
}

impl From<object_store::Error> for StorageError {
    fn from(error: object_store::Error) -> Self {
        match bucket::meaning(&error) {
            _ if is_full(&error) => Self::Full(error.into()),
            Some(Meaning::Full) => Self::Full(error.into()),
            Some(Meaning::Away) => Self::Away(error),
            Some(Meaning::Refused) => Self::Refused(error),
            Some(Meaning::NoBucket) => Self::NoBucket(error),
            None => Self::Store(error),
        }
    }
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        if is_full(&error) { Self::Full(error.into()) } else { Self::Scratch(error) }
    }
}

impl StorageError {
    /// What went wrong with a view.
    fn of_view(error: io::Error) -> Self {
        if is_full(&error) { Self::Full(error.into()) } else { Self::View(error) }
    }
}

/// Whether the disk is full, or what this user may have of it.
fn is_full(error: &(dyn StdError + 'static)) -> bool {
    causes(error).filter_map(|error| error.downcast_ref::<io::Error>()).any(|error| {
        matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
    })
}

/// The files of this installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    store: Arc<dyn ObjectStore>,
    /// Where all files are, unless they are in a directory of this machine.
    bucket: Option<Arc<Bucket>>,
    /// On this machine. What a store of objects knows nothing of: folders, views, and files without a name; and all files,
    /// unless they are in a bucket.
    directory: Arc<Path>,
}

impl Storage {
    /// Files in a directory, which is made if it is missing.
    ///
    /// # Errors
    /// [`StorageError::Directory`].
    pub fn in_directory(directory: &Path) -> Result<Self, StorageError> {
        std::fs::create_dir_all(directory).map_err(StorageError::Directory)?;
        let store = LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), bucket: None, directory: directory.into() })
    }

    /// Files at a URL: `file:///directory`, or `s3://bucket/prefix`, for which files in progress are in the directory
    /// `beside` on this machine.
    ///
    /// # Errors
    /// [`StorageError::Url`]; [`StorageError::Directory`]; [`StorageError::Store`].
    pub fn at(url: &str, beside: &Path) -> Result<Self, StorageError> {
        if url.starts_with("s3://") {
            let bucket = bucket::at(url)?;
            std::fs::create_dir_all(beside).map_err(StorageError::Directory)?;
            return Ok(Self { store: bucket.clone(), bucket: Some(bucket), directory: beside.into() });
        }
        match url.strip_prefix("file://") {
            Some(path) if path.starts_with('/') => Self::in_directory(Path::new(path)),
            _ => Err(StorageError::Url(url.to_owned())),
        }
    }

    /// Whether every host that has its URL has its files.
    pub fn is_bucket(&self) -> bool {
        self.bucket.is_some()
    }

    /// Names this store among all. Made by whoever asks first, and kept in the store.
    ///
    /// # Errors
    /// [`StorageError::Store`]; [`StorageError::Id`].
    pub async fn id(&self) -> Result<Uuid, StorageError> {
        // Looked at first: there are stores that write over what is there, though they are asked not to.
        if let Some(kept) = self.kept_id().await? {
            self.warn_unless_it_keeps(kept).await?;
            return Ok(kept);
        }
        let new = Uuid::new_v4().to_string();
        match self.store.put_opts(&Key::from(ID), new.into(), PutMode::Create.into()).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error @ object_store::Error::NotFound { .. }) if self.is_bucket() => {
                return Err(StorageError::NoBucket(error));
            }
            Err(error) => return Err(error.into()),
        }
        self.kept_id().await?.ok_or(StorageError::Id)
    }

    /// The id that is kept in the store. `None`: the store has no id yet.
    async fn kept_id(&self) -> Result<Option<Uuid>, StorageError> {
        let kept = match self.store.get(&Key::from(ID)).await {
            Ok(kept) => kept.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Uuid::try_parse_ascii(&kept).map(Some).map_err(|_| StorageError::Id)
    }

    /// Writes the id again, which a bucket has to refuse, for the same reason that no file in it is ever written over.
    async fn warn_unless_it_keeps(&self, id: Uuid) -> Result<(), StorageError> {
        if !self.is_bucket() {
            return Ok(());
        }
        match self.store.put_opts(&Key::from(ID), id.to_string().into(), PutMode::Create.into()).await {
            Ok(_) => {
                warn!(
                    "the object store ignores `If-None-Match: *`, so it cannot keep two plugins from giving a build a \
                     package of the same name at the same time; look at AWS_CONDITIONAL_PUT, or use another store"
                );
                Ok(())
            }
            Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
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

    /// The length of a component. `None`: the store has no component with this digest.
    ///
    /// # Errors
    /// [`StorageError::Store`].
    pub async fn component_bytes(&self, sha256: &str) -> Result<Option<u64>, StorageError> {
        match self.store.head(&component_key(sha256)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a component. `None`: the store has no component with this digest.
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

#[cfg(test)]
mod tests;
