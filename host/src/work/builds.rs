//! Builds: what is done with their files.

use tracing::{error, info, warn};
use uuid::Uuid;

use super::{Inner, Work};
use crate::datasvc::{
    AppName, BuildName, Caller, Error, Expected, FileLocation, JobError, JobErrorCode, JobId, Result, Superfluous,
};
use crate::storage::{Storage, StorageError};

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

/// Removes a file to which an equal one is stored. Where that has been lost, this one takes its place.
pub(super) async fn remove_superfluous(storage: &Storage, superfluous: &Superfluous) {
    let Superfluous { written, equal, size_bytes } = superfluous;
    let FileLocation { upload, run, filename } = equal;
    let removed = async {
        if storage.build_file_bytes((*upload).into(), *run, filename).await? != Some(*size_bytes) {
            error!(job.id = %upload, "the file `{filename}` of a build was lost in the store, and an equal one takes its place");
            let to = ((*upload).into(), *run, filename.as_str());
            storage.copy_build_file((written.upload.into(), written.run, &written.filename), to).await?;
        }
        storage.remove_build_file(written.upload.into(), written.run, &written.filename).await
    };
    if let Err(problem) = removed.await {
        warn!("a file stays for now though an equal one is stored: {problem}");
    }
}

/// Why a file of a build is not read or written for a plugin or a user.
pub(super) fn not_reached(problem: StorageError) -> Error {
    match problem {
        StorageError::Full(cause) => {
            error!("a file of a build was not stored, because there is no room: {cause}");
            Error::conflict("the server has no room for the package")
        }
        StorageError::Away(cause) | StorageError::Refused(cause) | StorageError::NoBucket(cause) => {
            error!("a file of a build was not reached in the store: {cause}");
            Error::conflict("the server's object store does not answer, or refuses the server; its log says why")
        }
        other => Error::internal(other),
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
