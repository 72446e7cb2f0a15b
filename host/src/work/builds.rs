//! Builds: what is done with their files.

use tracing::{error, warn};
use uuid::Uuid;

use super::{Inner, Work};
use crate::datasvc::{AppName, BuildName, Caller, Expected, JobError, JobErrorCode, Result};
use crate::storage::StorageError;

impl Work {
    /// Removes a build and its files.
    ///
    /// # Errors
    /// Those of [`DataSvc::delete_build`](crate::datasvc::DataSvc::delete_build).
    pub async fn delete_build(
        &self,
        caller: &Caller,
        application: &AppName,
        build: &BuildName,
        expected: &Expected,
    ) -> Result<()> {
        // The row first: files that are left without a row are orphaned, and removed later.
        if let Some(upload) = self.0.svc.delete_build(caller, application, build, expected).await? {
            self.0.remove_build_files(upload.into()).await;
        }
        Ok(())
    }
}

impl Inner {
    /// Removes a folder of builds' files. Files that cannot be removed now are orphaned, and removed later.
    pub(super) async fn remove_build_files(&self, folder: Uuid) {
        if let Err(problem) = self.storage.remove_build_files(folder).await {
            warn!("files of a build stay for now: {problem}");
        }
    }
}

/// Why a job that stores files of a build fails.
pub(super) fn not_stored(error: StorageError) -> JobError {
    match error {
        StorageError::Full(cause) => {
            error!("files of a build were not stored, because there is no room: {cause}");
            JobError::new(JobErrorCode::StorageFull, "the server has no room for the file")
        }
        StorageError::Away(cause) | StorageError::Refused(cause) => {
            error!("files of a build were not stored, because the store does not take them: {cause}");
            let message = "the server's object store does not answer, or refuses the server; its log says why";
            JobError::new(JobErrorCode::StorageUnavailable, message)
        }
        fault => JobError::internal("files of a build could not be stored", &fault),
    }
}
