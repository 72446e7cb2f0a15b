//! Archives are inspected and packaged on their own threads, a limited number at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinError;

use super::turns::{Turn, Turns};
use crate::datasvc::FileType;
use crate::storage::archive::{self, ArchiveError, ArchiveLimits};

/// Whose turn it is to work on an archive, and what may be in one. Cheap to clone.
#[derive(Clone)]
pub(super) struct Archives {
    pub(super) turns: Turns,
    pub(super) limits: ArchiveLimits,
}

impl Archives {
    /// So many at a time.
    pub(super) fn new(at_a_time: usize, limits: ArchiveLimits) -> Self {
        Self { turns: Turns::new(at_a_time), limits }
    }

    /// Works on an archive on a thread of its own, now that its turn has come. The work stops early if nobody waits for
    /// it any more, and has its turn until then.
    ///
    /// # Errors
    /// [`JoinError`] for a fault of the service; the inner error is the work's own.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        turn: Turn,
        work: impl FnOnce(&ArchiveLimits, &AtomicBool) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<Result<T, ArchiveError>, JoinError> {
        let (limits, stop) = (self.limits, StopOnDrop::default());
        let stopped = stop.0.clone();
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&limits, &stopped)
        });
        worked.await
    }
}

/// Says that work is to stop, once this is dropped.
#[derive(Default)]
pub(super) struct StopOnDrop(Arc<AtomicBool>);

impl StopOnDrop {
    /// What becomes true then.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What kind of archive the store is to take it for.
pub(super) fn kind(file_type: FileType) -> archive::FileType {
    match file_type {
        FileType::Zip => archive::FileType::Zip,
        FileType::Tar => archive::FileType::Tar,
        FileType::TarGz => archive::FileType::TarGz,
        FileType::TarBz2 => archive::FileType::TarBz2,
        FileType::TarXz => archive::FileType::TarXz,
        FileType::TarZst => archive::FileType::TarZst,
    }
}

/// What the store has taken it for.
pub(super) fn file_type(kind: archive::FileType) -> FileType {
    match kind {
        archive::FileType::Zip => FileType::Zip,
        archive::FileType::Tar => FileType::Tar,
        archive::FileType::TarGz => FileType::TarGz,
        archive::FileType::TarBz2 => FileType::TarBz2,
        archive::FileType::TarXz => FileType::TarXz,
        archive::FileType::TarZst => FileType::TarZst,
    }
}
