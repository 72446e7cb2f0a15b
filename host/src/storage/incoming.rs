//! A file on its way into the store: its parts are hashed and written beside each other, while the next one comes in.
//! What is in memory does not grow with the file. A file that fits into one part is put into a bucket at once.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _, UploadPart};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::{StorageError, bucket};

/// How much is hashed and written at a time.
const PART_BYTES: usize = 4 * 1024 * 1024;

/// A file that is being written. Nothing is left of it if this is dropped.
pub struct Incoming {
    file: Unfinished,
    /// How long a part is.
    part_bytes: usize,
    /// What has come in of the next part.
    gathered: BytesMut,
    /// The part that is being written. `None`: nothing has been written yet.
    working: Option<AbortOnDropHandle<Result<Worked, StorageError>>>,
    size_bytes: u64,
}

/// A file that is written, and has no name yet. Nothing is left of it if this is dropped.
pub struct FinishedFile {
    file: Unfinished,
    /// What has not been written yet.
    last: Bytes,
    received: Received,
}

/// What has come in.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
}

/// A file without its name, in a folder that is there for it.
pub(super) struct Unfinished {
    to: To,
    /// It has its name, or is of no use any more.
    is_over: bool,
}

/// Where it goes.
enum To {
    /// A directory; and the folder in it that goes with the file, if that is given up.
    Directory(Box<dyn MultipartUpload>, Option<PathBuf>),
    /// A bucket, where it is begun with its first part.
    Bucket { store: Arc<dyn ObjectStore>, key: Key, upload: Option<Box<dyn MultipartUpload>> },
}

/// What is left when a part is hashed and written.
struct Worked {
    hasher: Sha256,
    /// Room for another part.
    room: BytesMut,
}

impl Incoming {
    pub(super) fn new(file: Unfinished) -> Self {
        Self { file, part_bytes: PART_BYTES, gathered: BytesMut::new(), working: None, size_bytes: 0 }
    }

    /// To an object of this key.
    pub(super) fn for_bucket(store: Arc<dyn ObjectStore>, key: Key) -> Self {
        let to = To::Bucket { store, key, upload: None };
        Self { part_bytes: bucket::PART_BYTES, ..Self::new(Unfinished { to, is_over: false }) }
    }

    /// How much has come in so far.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Takes what comes next. Waits for the store where that is slower than what comes.
    ///
    /// # Errors
    /// [`StorageError::Full`]; [`StorageError::Store`].
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), StorageError> {
        self.size_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            // A part that is full goes when there is more: so a file of one part is known as one.
            if self.gathered.len() == self.part_bytes {
                self.work().await?;
            }
            let fits = bytes.split_to(bytes.len().min(self.part_bytes - self.gathered.len()));
            self.gathered.extend_from_slice(&fits);
        }
        Ok(())
    }

    /// Ends the file: what it is can be told, and it is not there yet.
    ///
    /// # Errors
    /// [`StorageError::Full`]; [`StorageError::Store`].
    pub async fn finish(mut self) -> Result<FinishedFile, StorageError> {
        let is_whole = self.file.is_unbegun();
        let last = if is_whole { mem::take(&mut self.gathered).freeze() } else { Bytes::new() };
        if !self.gathered.is_empty() {
            self.work().await?;
        }
        let Worked { mut hasher, .. } = self.worked().await?;
        if !last.is_empty() {
            let last = last.clone();
            hasher = tokio::task::spawn_blocking(move || hasher.chain_update(&last)).await?;
        }
        let received = Received { size_bytes: self.size_bytes, sha256: hasher.finalize().into() };
        Ok(FinishedFile { file: self.file, last, received })
    }

    /// Sends the gathered part on its way, once the one before it has arrived.
    async fn work(&mut self) -> Result<(), StorageError> {
        let Worked { mut hasher, room } = self.worked().await?;
        let part = mem::replace(&mut self.gathered, room).freeze();
        let written = self.file.put_part(part.clone()).await?;
        self.working = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let to_hash = part.clone();
            let hashed = tokio::task::spawn_blocking(move || {
                hasher.update(&to_hash);
                hasher
            });
            let (hashed, written) = tokio::join!(hashed, written);
            written?;
            // Nothing else uses this buffer any more, unless the store keeps it; then a new one is allocated.
            let room = part.try_into_mut().map_or_else(|_| BytesMut::new(), emptied);
            Ok(Worked { hasher: hashed?, room })
        })));
        Ok(())
    }

    /// Waits for the part that is on its way.
    async fn worked(&mut self) -> Result<Worked, StorageError> {
        match self.working.take() {
            Some(working) => working.await?,
            None => Ok(Worked { hasher: Sha256::new(), room: BytesMut::new() }),
        }
    }
}

impl FinishedFile {
    /// What it is.
    pub fn received(&self) -> Received {
        self.received
    }

    /// Makes the file durable under its name. Whoever drops this future may leave it there.
    ///
    /// # Errors
    /// [`StorageError::Full`]; [`StorageError::Store`].
    pub async fn publish(mut self) -> Result<Received, StorageError> {
        self.file.complete(self.last).await?;
        Ok(self.received)
    }
}

impl Unfinished {
    pub(super) fn new(upload: Box<dyn MultipartUpload>, folder: PathBuf) -> Self {
        Self { to: To::Directory(upload, Some(folder)), is_over: false }
    }

    /// In a folder that stays, whatever becomes of it.
    pub(super) fn beside_others(upload: Box<dyn MultipartUpload>) -> Self {
        Self { to: To::Directory(upload, None), is_over: false }
    }

    /// Whether it goes to a bucket that knows nothing of it yet.
    fn is_unbegun(&self) -> bool {
        matches!(self.to, To::Bucket { upload: None, .. })
    }

    /// Begins to write the next part.
    async fn put_part(&mut self, part: Bytes) -> Result<UploadPart, StorageError> {
        match &mut self.to {
            To::Directory(upload, _) | To::Bucket { upload: Some(upload), .. } => Ok(upload.put_part(part.into())),
            To::Bucket { store, key, upload } => {
                Ok(upload.insert(store.put_multipart(key).await?).put_part(part.into()))
            }
        }
    }

    /// Gives it its name; `whole` is all of it if it was not begun.
    async fn complete(&mut self, whole: Bytes) -> Result<(), StorageError> {
        match &mut self.to {
            To::Directory(upload, _) | To::Bucket { upload: Some(upload), .. } => drop(upload.complete().await?),
            To::Bucket { store, key, upload: None } => drop(store.put(key, whole.into()).await?),
        }
        self.is_over = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let runtime = tokio::runtime::Handle::try_current();
        match &mut self.to {
            _ if self.is_over => {}
            To::Directory(_, folder) => {
                // What is still being written goes to a file without a name. What cannot be removed is orphaned,
                // and removed later.
                let Some(folder) = folder.take() else { return };
                let removed = move || drop(std::fs::remove_dir_all(folder));
                match runtime {
                    Ok(runtime) => drop(runtime.spawn_blocking(removed)),
                    Err(_) => removed(),
                }
            }
            To::Bucket { upload, .. } => {
                if let (Some(mut upload), Ok(runtime)) = (upload.take(), runtime) {
                    runtime.spawn(async move { drop(upload.abort().await) });
                }
            }
        }
    }
}

fn emptied(mut room: BytesMut) -> BytesMut {
    room.clear();
    room
}

impl From<JoinError> for StorageError {
    fn from(cause: JoinError) -> Self {
        Self::Unfinished(cause)
    }
}
