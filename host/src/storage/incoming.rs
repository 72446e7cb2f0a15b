//! A file on its way into the store: its parts are hashed and written beside each other, while the next one comes in.
//! What is in memory does not grow with the file.

use std::mem;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use object_store::MultipartUpload;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::StorageError;

/// How much is hashed and written at a time.
const PART_BYTES: usize = 4 * 1024 * 1024;

/// A file that is being written. Nothing is left of it if this is dropped.
pub struct Incoming {
    file: Unfinished,
    /// What has come in of the next part.
    gathered: BytesMut,
    /// The part that is being written. `None`: nothing has been written yet.
    working: Option<AbortOnDropHandle<Result<Worked, StorageError>>>,
    size_bytes: u64,
}

/// A file that is written, and has no name yet. Nothing is left of it if this is dropped.
pub struct FinishedFile {
    file: Unfinished,
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
    upload: Box<dyn MultipartUpload>,
    folder: Option<PathBuf>,
}

/// What is left when a part is hashed and written.
struct Worked {
    hasher: Sha256,
    /// Room for another part.
    room: BytesMut,
}

impl Incoming {
    pub(super) fn new(file: Unfinished) -> Self {
        Self { file, gathered: BytesMut::new(), working: None, size_bytes: 0 }
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
            let fits = bytes.split_to(bytes.len().min(PART_BYTES - self.gathered.len()));
            self.gathered.extend_from_slice(&fits);
            if self.gathered.len() == PART_BYTES {
                self.work().await?;
            }
        }
        Ok(())
    }

    /// Ends the file: what it is can be told, and it is not there yet.
    ///
    /// # Errors
    /// [`StorageError::Full`]; [`StorageError::Store`].
    pub async fn finish(mut self) -> Result<FinishedFile, StorageError> {
        if !self.gathered.is_empty() {
            self.work().await?;
        }
        let Worked { hasher, .. } = self.worked().await?;
        let received = Received { size_bytes: self.size_bytes, sha256: hasher.finalize().into() };
        Ok(FinishedFile { file: self.file, received })
    }

    /// Sends the gathered part on its way, once the one before it has arrived.
    async fn work(&mut self) -> Result<(), StorageError> {
        let Worked { mut hasher, room } = self.worked().await?;
        let part = mem::replace(&mut self.gathered, room).freeze();
        let written = self.file.upload.put_part(part.clone().into());
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
        self.file.upload.complete().await?;
        self.file.folder = None;
        Ok(self.received)
    }
}

impl Unfinished {
    pub(super) fn new(upload: Box<dyn MultipartUpload>, folder: PathBuf) -> Self {
        Self { upload, folder: Some(folder) }
    }

    /// In a folder that stays, whatever becomes of it.
    pub(super) fn beside_others(upload: Box<dyn MultipartUpload>) -> Self {
        Self { upload, folder: None }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            // What is still being written goes to a file without a name. What cannot be removed is orphaned,
            // and removed later.
            let removed = move || drop(std::fs::remove_dir_all(folder));
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(removed)),
                Err(_) => removed(),
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
