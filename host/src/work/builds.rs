//! Builds: what is done with their files.

use tracing::{error, info, warn};
use uuid::Uuid;

use super::{Inner, Work};
use crate::datasvc::{AppName, BuildName, Caller, Expected, JobError, JobErrorCode, JobId, Result};
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
        let uploads = self.0.svc.delete_build(caller, application, build, expected).await?;
        self.0.remove_unused_files(&uploads).await;
        Ok(())
    }
}

impl Inner {
    /// Removes what no build has of the files of these uploads. Others may refer to what one build has stored.
    pub(super) async fn remove_unused_files(&self, uploads: &[JobId]) {
        match self.svc.files_in_use(uploads).await {
            Ok(used) => {
                for (upload, kept) in used {
                    self.remove_other_files(upload, kept).await;
                }
            }
            Err(problem) => warn!("it could not be told which files are orphaned, and all stay for now: {problem}"),
        }
    }

    async fn remove_other_files(&self, upload: JobId, kept: Vec<(Option<i64>, String)>) {
        if kept.is_empty() {
            return self.remove_build_files(upload.into()).await;
        }
        match self.storage.remove_other_build_files(upload.into(), kept).await {
            Ok(0) => {}
            Ok(count) => info!(job.id = %upload, "{count} files were removed that no build has"),
            Err(problem) => warn!(job.id = %upload, "files that no build has stay for now: {problem}"),
        }
    }

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
        StorageError::Away(cause) | StorageError::Refused(cause) | StorageError::NoBucket(cause) => {
            error!("files of a build were not stored, because the store does not take them: {cause}");
            let message = "the server's object store does not answer, or refuses the server; its log says why";
            JobError::new(JobErrorCode::StorageUnavailable, message)
        }
        fault => JobError::internal("files of a build could not be stored", &fault),
    }
}
