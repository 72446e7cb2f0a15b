//! Uploads: how a file for a build comes in, and the job that takes it in.
//!
//! A file that a client sends is in the store before its job is made, under the job's id; one that is to be fetched is
//! brought there by the job.

mod fetch;
mod packaging;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::sync::watch;
use tracing::{error, warn};
use uuid::Uuid;

use super::held::CancelRequest;
use super::turns::{Turn, Turns};
use super::{Engine, Jobs, RETRY};
use crate::datasvc::{
    AppName, BuildName, Caller, Claim, Digest, Enqueued, Error, Expected, FileType, FileUrl, JobError, JobId, JobLog,
    KeptPackage, KeptPackages, MASTER, Outcome, PackageFile, PackageMapName, PackageName, Result, StoredBuild, Upload,
    UploadSource,
};
use crate::outbound::Destination;
use crate::storage::archive::{ArchiveError, ArchiveLimits, BEGINNING_BYTES, check_beginning};
use crate::storage::{Incoming, Received, Sealed, StorageError};

/// What may be uploaded.
#[derive(Clone, Debug)]
pub struct UploadLimits {
    /// The largest file, in bytes.
    pub bytes: u64,
    /// How long a job may take over one.
    pub time: Duration,
    /// How long a file that is fetched may make us wait.
    pub patience: Duration,
    /// How many files are fetched at a time.
    pub at_a_time: usize,
    /// How many archives are worked on at a time.
    pub archives: usize,
    /// What may be in one.
    pub archive: ArchiveLimits,
    /// From where files are fetched beside public addresses.
    pub places: Vec<Destination>,
}

/// A file that somebody wants to upload.
#[derive(Clone, Debug)]
pub struct UploadRequest {
    /// The application that the build is of.
    pub application: AppName,
    /// The build that it is for.
    pub build: BuildName,
    /// What it says it is.
    pub file_type: FileType,
    /// By which packages are made of it.
    pub package_map: Option<PackageMapName>,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The data services say no.
    #[error(transparent)]
    Refused(#[from] Error),
    /// It is larger than may be.
    #[error("at most {0} bytes are taken as a build's file")]
    TooLarge(u64),
    /// It does not begin as its type does.
    #[error(transparent)]
    NoArchive(#[from] ArchiveError),
    /// There is no room for it.
    #[error("the server has no room for the file")]
    Full(#[source] StorageError),
    /// The store failed. Not for users' eyes.
    #[error("the file could not be stored")]
    Store(#[source] StorageError),
}

impl From<StorageError> for UploadError {
    fn from(error: StorageError) -> Self {
        if matches!(error, StorageError::Full(_)) { Self::Full(error) } else { Self::Store(error) }
    }
}

/// A file that is being sent. Nothing is left of it if this is dropped.
pub struct IncomingUpload {
    draft: Draft,
    file: Incoming,
    /// Its first bytes.
    beginning: Vec<u8>,
}

/// A file that was sent, and is no job yet. Nothing is left of it if this is dropped.
pub struct SealedUpload {
    draft: Draft,
    file: Sealed,
    /// What has come in.
    pub sha256: [u8; 32],
}

/// An upload before it is a job.
struct Draft {
    engine: Arc<Engine>,
    request: UploadRequest,
    /// That of the job to be.
    job_id: JobId,
}

impl Jobs {
    /// The largest file that is taken, in bytes.
    pub fn max_upload_bytes(&self) -> u64 {
        self.0.settings.uploads.bytes
    }

    /// Begins an upload, if nothing that is known by now is in its way. With an idempotency key that is known it may be
    /// one that has been made already, which is told once the file has come in.
    ///
    /// # Errors
    /// [`UploadError::Refused`] with the errors of [`crate::datasvc::DataSvc::check_upload`]; [`UploadError::Full`];
    /// [`UploadError::Store`].
    pub async fn begin_upload(
        &self,
        caller: &Caller,
        request: UploadRequest,
        key: Option<&str>,
    ) -> Result<IncomingUpload, UploadError> {
        let UploadRequest { application, build, file_type, package_map } = &request;
        let engine = self.0.clone();
        engine.svc.check_upload(caller, application, build, package_map.as_ref(), key).await?;
        let (job_id, filename) = (JobId::new(), Upload::filename(build, *file_type));
        let file = engine.storage.receive_build_file(job_id.into(), &filename).await?;
        Ok(IncomingUpload { draft: Draft { engine, request, job_id }, file, beginning: Vec::new() })
    }

    /// Makes a job that fetches a file and takes it in. It is durable when this returns.
    ///
    /// # Errors
    /// [`UploadError::Refused`] with the errors of [`crate::datasvc::DataSvc::enqueue_upload`].
    pub async fn submit_fetch(
        &self,
        caller: &Caller,
        request: UploadRequest,
        url: FileUrl,
        idempotency: Option<(String, Digest)>,
    ) -> Result<Enqueued, UploadError> {
        let draft = Draft { engine: self.0.clone(), request, job_id: JobId::new() };
        draft.submit(caller, UploadSource::Fetched { indirect_url: url }, idempotency).await
    }

    /// Removes a build and its files.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::delete_build`].
    pub async fn delete_build(
        &self,
        caller: &Caller,
        application: &AppName,
        build: &BuildName,
        expected: &Expected,
    ) -> Result<()> {
        // The row first: what is left behind without one is found when the store is swept.
        if let Some(upload) = self.0.svc.delete_build(caller, application, build, expected).await? {
            remove_files(&self.0, upload.into()).await;
        }
        Ok(())
    }
}

impl IncomingUpload {
    /// Takes what comes next.
    ///
    /// # Errors
    /// [`UploadError::TooLarge`]; [`UploadError::NoArchive`]; [`UploadError::Full`]; [`UploadError::Store`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), UploadError> {
        let most = self.draft.engine.settings.uploads.bytes;
        if self.file.size_bytes() + bytes.len() as u64 > most {
            return Err(UploadError::TooLarge(most));
        }
        if let Some(missing @ 1..) = BEGINNING_BYTES.checked_sub(self.beginning.len()) {
            self.beginning.extend_from_slice(&bytes[..bytes.len().min(missing)]);
            if self.beginning.len() == BEGINNING_BYTES {
                self.check_beginning()?;
            }
        }
        Ok(self.file.write(bytes).await?)
    }

    /// Ends the file, so that what it is can be looked at.
    ///
    /// # Errors
    /// [`UploadError::NoArchive`]; [`UploadError::Full`]; [`UploadError::Store`].
    pub async fn seal(self) -> Result<SealedUpload, UploadError> {
        self.check_beginning()?;
        let file = self.file.seal().await?;
        Ok(SealedUpload { draft: self.draft, sha256: file.received().sha256, file })
    }

    fn check_beginning(&self) -> Result<(), UploadError> {
        Ok(check_beginning(&self.beginning, packaging::kind(self.draft.request.file_type))?)
    }
}

impl SealedUpload {
    /// Makes the file durable, and a job of it, in the name of who asks for it by now. Both are when this returns.
    ///
    /// # Errors
    /// [`UploadError::Refused`] with the errors of [`crate::datasvc::DataSvc::enqueue_upload`]; [`UploadError::Full`];
    /// [`UploadError::Store`].
    pub async fn submit(self, caller: &Caller, idempotency: Option<(String, Digest)>) -> Result<Enqueued, UploadError> {
        let Self { draft, file, sha256: _ } = self;
        if let Some((key, fingerprint)) = &idempotency
            && let Some(before) = draft.engine.svc.enqueued_before(caller, key, *fingerprint).await?
        {
            return Ok(before);
        }
        // A task of its own: a client that hangs up must not leave a file behind without a job. The server waits for it
        // when it stops.
        let (caller, runs) = (caller.clone(), draft.engine.runs.clone());
        let submitted = runs.spawn(async move {
            let received = file.publish().await?;
            let source = UploadSource::Sent {
                size_bytes: received.size_bytes,
                sha256: Digest::from_bytes(received.sha256).hex(),
            };
            draft.submit(&caller, source, idempotency).await
        });
        submitted.await.map_err(Error::internal)?
    }
}

impl Draft {
    async fn submit(
        self,
        caller: &Caller,
        source: UploadSource,
        idempotency: Option<(String, Digest)>,
    ) -> Result<Enqueued, UploadError> {
        let Self { engine, request, job_id } = self;
        let UploadRequest { application, build, file_type, package_map } = request;
        let filename = Upload::filename(&build, file_type);
        let upload = Upload { build_name: build, file_type, filename, package_map, source };
        let time = engine.settings.uploads.time;
        let enqueued = engine.svc.enqueue_upload(caller, &application, job_id, &upload, time, idempotency).await;
        match &enqueued {
            Ok(enqueued) if enqueued.job_id == job_id => engine.signals.tell_queued(),
            // The job may be there, if only the answer was lost. If it is not, the file is found when the store is swept.
            Err(Error::Unavailable(_)) => {}
            Ok(_) | Err(_) => remove_files(&engine, job_id.into()).await,
        }
        Ok(enqueued?)
    }
}

/// What a run works with.
struct Run<'a> {
    engine: &'a Arc<Engine>,
    claim: &'a Claim,
    log: &'a JobLog,
}

/// Takes in an uploaded file.
pub(super) async fn run(
    engine: &Arc<Engine>,
    claim: &Claim,
    log: &JobLog,
    mut cancel: watch::Receiver<Option<CancelRequest>>,
) -> Outcome {
    let run = Run { engine, claim, log };
    match patiently(|| engine.svc.stored_build(claim)).await {
        Ok(Some(stored)) => return run.finish(&stored).await,
        Ok(None) => {}
        Err(problem) => return Outcome::Failed(internal(&problem)),
    }
    // Until it is stored nothing has happened that anyone could see.
    let prepared = tokio::select! {
        prepared = tokio::time::timeout(claim.timeout, run.prepare()) => prepared,
        Ok(_) = cancel.wait_for(Option::is_some) => {
            return Outcome::Failed(JobError::new("cancelled", "someone asked for it to stop"));
        }
    };
    let stored = match prepared {
        Ok(Ok(stored)) => run.store(&stored).await.map(|()| stored),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(JobError::new("timed-out", format!("the upload was not done within {:?}", claim.timeout))),
    };
    match stored {
        Ok(stored) => run.finish(&stored).await,
        Err(failure) => Outcome::Failed(failure),
    }
}

/// How an upload ends. One whose build is stored has succeeded, whatever came after that. Otherwise the build waits for
/// it no longer, and its files are removed.
pub(super) async fn settle(engine: &Arc<Engine>, claim: &Claim, log: &JobLog, ended: Outcome) -> Outcome {
    if matches!(ended, Outcome::Succeeded(_)) {
        return ended;
    }
    match engine.svc.give_up_upload(claim).await {
        Ok(true) => remove_files(engine, claim.job_id.into()).await,
        Ok(false) => match engine.svc.stored_build(claim).await {
            Ok(Some(stored)) => return Run { engine, claim, log }.finish(&stored).await,
            Ok(None) => {}
            Err(problem) => warn!("whether the build of an upload is stored could not be told: {problem}"),
        },
        Err(problem) => warn!("the files of an upload that failed stay for now: {problem}"),
    }
    ended
}

/// Removes the files of an upload that has ended without its build having them.
pub(super) async fn forget(engine: &Engine, job_id: JobId) {
    match engine.svc.orphaned_uploads(&[job_id]).await {
        Ok(orphaned) if orphaned.is_empty() => {}
        Ok(_) => remove_files(engine, job_id.into()).await,
        Err(problem) => warn!("the files of an upload that was stopped stay for now: {problem}"),
    }
}

/// Removes the files of an upload. Those that cannot be removed now are found when the store is swept.
async fn remove_files(engine: &Engine, folder: Uuid) {
    if let Err(problem) = engine.storage.remove_build_files(folder).await {
        error!("the files of an upload stay for now: {problem}");
    }
}

impl Run<'_> {
    /// From the file to what the build is to have.
    async fn prepare(&self) -> Result<StoredBuild, JobError> {
        let upload: Upload = serde_json::from_str(self.claim.data.get()).map_err(|error| internal(&error))?;
        let master = self.master(&upload).await?;
        let files = self.inspect(&upload).await?;
        let packages = self.packages(&upload, master).await?;
        Ok(StoredBuild { master_file: upload.filename, packages, files })
    }

    /// The uploaded file as a package.
    async fn master(&self, upload: &Upload) -> Result<PackageFile, JobError> {
        match &upload.source {
            UploadSource::Sent { size_bytes, sha256 } => Ok(master(upload, *size_bytes, sha256.clone())),
            UploadSource::Fetched { indirect_url } => {
                let Received { size_bytes, sha256 } = self.fetch(upload, indirect_url).await?;
                Ok(master(upload, size_bytes, Digest::from_bytes(sha256).hex()))
            }
        }
    }

    /// The build's packages: the uploaded file, and those that the package map makes of it.
    async fn packages(&self, upload: &Upload, master: PackageFile) -> Result<KeptPackages, JobError> {
        let name = PackageName::parse(MASTER).map_err(|error| internal(&error))?;
        let master = KeptPackage { file: master, run: self.master_run(upload) };
        let made = self.package(upload).await?.into_iter();
        let made = made.map(|(name, file)| (name, KeptPackage { file, run: Some(self.claim.fence) }));
        Ok(KeptPackages(made.chain([(name, master)]).collect()))
    }

    /// Which run stored the uploaded file; null: it was there before any.
    fn master_run(&self, upload: &Upload) -> Option<i64> {
        match upload.source {
            UploadSource::Sent { .. } => None,
            UploadSource::Fetched { .. } => Some(self.claim.fence),
        }
    }

    /// Waits for a turn among all applications. Others may have the job's slot until then.
    async fn turn(&self, turns: &Turns) -> Turn {
        let _lent = self.engine.slots.lend(self.claim);
        turns.take(&self.claim.application).await
    }

    /// Gives the build its files, however long the database is away.
    async fn store(&self, stored: &StoredBuild) -> Result<(), JobError> {
        patiently(|| self.engine.svc.store_build(self.claim, stored)).await.map_err(|error| match error {
            Error::Conflict { reason } => JobError::new("conflict", reason),
            problem => internal(&problem),
        })
    }

    /// What comes after the build is stored. None of it undoes that.
    async fn finish(&self, stored: &StoredBuild) -> Outcome {
        let StoredBuild { master_file, packages, files } = stored;
        // Those of earlier runs, which were killed.
        let kept: Vec<i64> = packages.0.values().filter_map(|package| package.run).collect();
        if let Err(problem) = self.engine.storage.remove_other_runs(self.claim.job_id.into(), &kept).await {
            warn!("files of earlier runs of an upload stay: {problem}");
        }
        self.note(&json!({ "status": "stored", "master_file": master_file, "files": files.0.len() }));
        let result = json!({ "packages": packages.shown(), "files": files.0.len() });
        match to_raw_value(&result) {
            Ok(result) => Outcome::Succeeded(result),
            Err(error) => Outcome::Failed(internal(&error)),
        }
    }

    /// Says in the job's log how far it is.
    fn note(&self, data: &serde_json::Value) {
        if let Err(problem) = self.log.note(data) {
            warn!("what an upload has come to could not be noted: {problem}");
        }
    }
}

fn master(upload: &Upload, size_bytes: u64, sha256: String) -> PackageFile {
    let Upload { filename, file_type, .. } = upload;
    PackageFile { filename: filename.clone(), file_type: *file_type, size_bytes, sha256 }
}

/// What the data services answer once the database is there.
async fn patiently<T, A: Future<Output = Result<T>>>(ask: impl Fn() -> A) -> Result<T> {
    loop {
        match ask().await {
            Err(Error::Unavailable(_)) => tokio::time::sleep(RETRY).await,
            answer => return answer,
        }
    }
}

fn not_stored(error: StorageError) -> JobError {
    match error {
        StorageError::Full(cause) => {
            error!("an upload failed, because there is no room: {cause}");
            JobError::new("storage-full", "the server has no room for the file")
        }
        other => internal(&other),
    }
}

/// A fault of the service, which is logged here and not shown.
fn internal(cause: &dyn std::error::Error) -> JobError {
    error!("an upload failed for a fault of the service: {cause:?}");
    JobError::new("internal", "the service failed; the server's log says why")
}
