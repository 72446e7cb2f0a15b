//! Uploads: how a file for a build is received, and the job that processes it.
//!
//! A file that a client sends is in the store before its job is made, under the job's id. A file that has to be fetched
//! is put there by the job.

mod fetch;
mod packaging;
mod sweep;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::to_raw_value;
use tracing::warn;

use super::archives::{file_type, kind};
use super::builds::remove_superfluous;
use super::git::trees::PackageTree;
use super::hooks::{Hooks, ShownFiles};
use super::{Inner, Work};
use crate::datasvc::{
    AppName, BuildAsStored, BuildName, Caller, Claim, Digest, Enqueued, Error, FileType, FileUrl, JobError,
    JobErrorCode, JobId, JobLane, Json, KeptPackage, KeptPackages, MASTER, Outcome, PackageFile, PackageMapName,
    PackageName, Permission, Result, StoredBuild, UPLOAD, Upload, UploadSource, patiently,
};
use crate::engine::{Journal, Kind, Run, StepResult};
use crate::outbound::Destination;
use crate::storage::archive::{ArchiveError, ArchiveLimits, BEGINNING_BYTES, check_beginning, type_of};
use crate::storage::{FinishedFile, Incoming, StorageError};

pub(super) use self::packaging::{package_filename, refused};
pub use self::sweep::sweep;

/// The hook that fires once a build is stored and packaged.
const BUILD_UPLOAD_SUCCESS: &str = "BUILD_UPLOAD_SUCCESS";

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
    /// Whether clients that download a file are sent to the store, where it can do that.
    pub lends: bool,
}

/// A file that somebody wants to upload.
#[derive(Clone, Debug)]
pub struct UploadRequest {
    /// The application that the build is of.
    pub application: AppName,
    /// The build that it is for.
    pub build: BuildName,
    /// What it says it is. `None`: its first bytes say it.
    pub file_type: Option<FileType>,
    /// By which packages are made of it.
    pub package_map: Option<PackageMapName>,
    /// Whether the build is made if it is not there.
    pub create: bool,
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
    /// The store is full.
    #[error("the server has no room for the file")]
    Full(#[source] StorageError),
    /// The store does not answer, or does not let us in.
    #[error("the server's object store does not answer at this moment, or refuses the server; try again later")]
    Away(#[source] StorageError),
    /// The store failed. Not for users' eyes.
    #[error("the file could not be stored")]
    Store(#[source] StorageError),
}

impl From<StorageError> for UploadError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full(_) => Self::Full(error),
            StorageError::Away(_) | StorageError::Refused(_) | StorageError::NoBucket(_) => Self::Away(error),
            fault => Self::Store(fault),
        }
    }
}

/// A file that is being sent. Nothing is left of it if this is dropped.
pub struct IncomingUpload {
    draft: Draft,
    file: IncomingFile,
}

/// A file, which is begun once it is known what it is.
enum IncomingFile {
    /// Its first bytes.
    Beginning(Vec<u8>),
    Begun(FileType, Incoming),
}

/// A file that was sent, and does not belong to a job yet. Nothing is left of it if this is dropped.
pub struct FinishedUpload {
    draft: Draft,
    file_type: FileType,
    file: FinishedFile,
    /// What has come in.
    pub sha256: [u8; 32],
}

/// An upload before it is a job.
struct Draft {
    work: Arc<Inner>,
    request: UploadRequest,
    /// That of the job to be.
    job_id: JobId,
}

impl Work {
    /// The largest file that is taken, in bytes.
    pub fn max_upload_bytes(&self) -> u64 {
        self.0.uploads.bytes
    }

    /// Begins an upload, if nothing that is known by now is in its way. With an idempotency key that is known it may be
    /// one that has been made already, which is told once the file has come in.
    ///
    /// # Errors
    /// [`UploadError::Refused`] with the errors of [`crate::datasvc::DataSvc::check_upload`].
    pub async fn begin_upload(
        &self,
        caller: &Caller,
        request: UploadRequest,
        key: Option<&str>,
    ) -> Result<IncomingUpload, UploadError> {
        let UploadRequest { application, build, file_type: _, package_map, create } = &request;
        let work = self.0.clone();
        work.svc.check_upload(caller, application, build, package_map.as_ref(), key, *create).await?;
        let job_id = work.svc.new_job_id();
        Ok(IncomingUpload { draft: Draft { work, request, job_id }, file: IncomingFile::Beginning(Vec::new()) })
    }

    /// Makes a job that fetches a file and takes it in. It is durable when this returns.
    ///
    /// # Errors
    /// [`UploadError::Refused`] with the errors of [`crate::datasvc::DataSvc::enqueue_upload`], and if nothing says what
    /// kind of archive the file is.
    pub async fn submit_fetch(
        &self,
        caller: &Caller,
        request: UploadRequest,
        url: FileUrl,
        idempotency: Option<(String, Digest)>,
    ) -> Result<Enqueued, UploadError> {
        let (work, job_id) = (self.0.clone(), self.0.svc.new_job_id());
        let file_type = request.file_type.or_else(|| url.file_type()).ok_or_else(|| {
            Error::invalid("file_type", "the end of the URL's path does not say which type the file is: give it")
        })?;
        let draft = Draft { work, request, job_id };
        draft.submit(caller, file_type, UploadSource::Fetched { indirect_url: url }, idempotency).await
    }
}

impl IncomingUpload {
    /// Takes what comes next.
    ///
    /// # Errors
    /// [`UploadError::TooLarge`]; [`UploadError::NoArchive`]; [`UploadError::Full`]; [`UploadError::Store`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), UploadError> {
        let most = self.draft.work.uploads.bytes;
        let so_far = match &self.file {
            IncomingFile::Beginning(beginning) => beginning.len() as u64,
            IncomingFile::Begun(_, file) => file.size_bytes(),
        };
        if so_far + bytes.len() as u64 > most {
            return Err(UploadError::TooLarge(most));
        }
        match &mut self.file {
            IncomingFile::Beginning(beginning) => {
                beginning.extend_from_slice(&bytes);
                if beginning.len() >= BEGINNING_BYTES {
                    let (file_type, file) = self.draft.begin(std::mem::take(beginning)).await?;
                    self.file = IncomingFile::Begun(file_type, file);
                }
                Ok(())
            }
            IncomingFile::Begun(_, file) => Ok(file.write(bytes).await?),
        }
    }

    /// Ends the file, so that what it is can be looked at.
    ///
    /// # Errors
    /// [`UploadError::NoArchive`]; [`UploadError::Full`]; [`UploadError::Store`].
    pub async fn finish(self) -> Result<FinishedUpload, UploadError> {
        let (file_type, file) = match self.file {
            IncomingFile::Beginning(whole) => self.draft.begin(whole).await?,
            IncomingFile::Begun(file_type, file) => (file_type, file),
        };
        let file = file.finish().await?;
        Ok(FinishedUpload { draft: self.draft, file_type, sha256: file.received().sha256, file })
    }
}

impl FinishedUpload {
    /// Makes the file durable, and a job of it, in the name of who asks for it by now. Both are when this returns.
    ///
    /// # Errors
    /// [`UploadError::Refused`] with the errors of [`crate::datasvc::DataSvc::enqueue_upload`]; [`UploadError::Full`];
    /// [`UploadError::Store`].
    pub async fn submit(self, caller: &Caller, idempotency: Option<(String, Digest)>) -> Result<Enqueued, UploadError> {
        let Self { draft, file_type, file, sha256: _ } = self;
        if let Some((key, fingerprint)) = &idempotency
            && let Some(before) = draft.work.svc.enqueued_before(caller, key, *fingerprint).await?
        {
            return Ok(before);
        }
        // A client that hangs up must not leave a file behind without a job.
        let (caller, engine) = (caller.clone(), draft.work.engine.clone());
        let submitted = engine.detached(async move {
            let received = file.publish().await?;
            let source = UploadSource::Sent {
                size_bytes: received.size_bytes,
                sha256: Digest::from_bytes(received.sha256).hex(),
            };
            draft.submit(&caller, file_type, source, idempotency).await
        });
        submitted.await
    }
}

impl Draft {
    /// Begins the file with its first bytes, if they are those of its type.
    async fn begin(&self, beginning: Vec<u8>) -> Result<(FileType, Incoming), UploadError> {
        let first = &beginning[..beginning.len().min(BEGINNING_BYTES)];
        let file_type = match self.request.file_type {
            Some(file_type) => {
                check_beginning(first, kind(file_type))?;
                file_type
            }
            None => file_type(type_of(first)?),
        };
        let filename = Upload::filename(&self.request.build, file_type);
        let mut file = self.work.storage.receive_build_file(self.job_id.into(), &filename).await?;
        file.write(beginning.into()).await?;
        Ok((file_type, file))
    }

    async fn submit(
        self,
        caller: &Caller,
        file_type: FileType,
        source: UploadSource,
        idempotency: Option<(String, Digest)>,
    ) -> Result<Enqueued, UploadError> {
        let Self { work, request, job_id } = self;
        let UploadRequest { application, build, file_type: _, package_map, create } = request;
        let filename = Upload::filename(&build, file_type);
        let upload = Upload { build_name: build, file_type, filename, package_map, source };
        let time = work.uploads.time;
        let enqueued = async {
            if create {
                work.svc.ensure_build(caller, &application, &upload.build_name).await?;
            }
            work.svc.enqueue_upload(caller, &application, job_id, &upload, time, idempotency).await
        };
        let enqueued = enqueued.await;
        match &enqueued {
            Ok(enqueued) if enqueued.job_id == job_id => work.engine.tell_queued(),
            // The job may be there, if only the answer was lost. If it is not, the file is orphaned, and removed later.
            Err(Error::Unavailable(_) | Error::Internal(_)) => {}
            Ok(_) | Err(_) => work.remove_build_files(job_id.into()).await,
        }
        Ok(enqueued?)
    }
}

/// The kind of work that takes the file of a build in.
pub(super) struct Uploads {
    pub(super) work: Work,
    pub(super) hooks: Hooks,
}

impl Kind for Uploads {
    const NAME: &'static str = UPLOAD;

    type Asked = Upload;

    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()> {
        caller.require(Permission::Write, lane.application()?)
    }

    async fn run(&self, run: &Run, upload: Upload) -> Outcome {
        match self.take_in(run, &upload).await {
            Ok(result) => Outcome::Succeeded(result),
            Err(failure) => Outcome::Failed(failure),
        }
    }

    async fn give_up(&self, claim: &Claim) {
        if let Err(problem) = self.work.0.give_up_upload(claim).await {
            warn!("the files of an upload that failed stay for now: {problem}");
        }
    }

    async fn forget(&self, job: JobId) {
        let work = &self.work.0;
        work.remove_unused_files(&[job]).await;
    }
}

impl Uploads {
    /// From the file to what its plugins made of it: the job's result.
    async fn take_in(&self, run: &Run, upload: &Upload) -> StepResult<Json> {
        let (job, journal) = (Job { work: &self.work.0, run }, run.journal().await?);
        let hook = self.hooks.plan(run, &journal, BUILD_UPLOAD_SUCCESS).await?;
        let time = run.claim.timeout;
        // Until it is stored nothing has happened that anyone could see.
        let stored = tokio::select! {
            stored = tokio::time::timeout(time, job.store(&journal, upload)) => stored.unwrap_or_else(|_| {
                Err(JobError::new(JobErrorCode::TimedOut, format!("the upload was not done within {time:?}")))
            }),
            () = run.cancel.requested() => Err(JobError::cancelled("someone")),
        };
        let Stored { master_file, packages, files } = match stored {
            Ok(stored) => stored,
            Err(failure) => job.stored_after_all().await.ok_or(failure)?,
        };

        // What comes after the build is stored undoes nothing of it.
        run.note(&json!({ "status": "stored", "master_file": master_file, "files": files }));
        let parameters = json!({
            "build_name": upload.build_name,
            "filename": master_file,
            "file_type": upload.file_type,
            "packages": packages.shown(),
        });
        let shown = ShownFiles(packages.files(run.claim.job_id));
        let fired = self.hooks.fire(run, &journal, &hook, &parameters, Some(&shown)).await;
        let result = json!({ "packages": packages.shown(), "files": files, "hooks": fired });
        to_raw_value(&result).map_err(|error| internal(&error))
    }
}

impl Inner {
    /// Has a build wait no longer for an upload that failed, and removes its files; false: the build has them, and
    /// keeps them.
    async fn give_up_upload(&self, claim: &Claim) -> Result<bool> {
        let is_given_up = self.svc.give_up_upload(claim).await?;
        if is_given_up {
            self.remove_build_files(claim.job_id.into()).await;
        }
        Ok(is_given_up)
    }
}

/// An upload's job, as its run works with it.
struct Job<'a> {
    work: &'a Inner,
    run: &'a Run,
}

impl Job<'_> {
    /// From the file to the build that has it.
    async fn store(&self, journal: &Journal<'_>, upload: &Upload) -> StepResult<Stored> {
        let master = match &upload.source {
            UploadSource::Sent { size_bytes, sha256 } => {
                KeptPackage::new(master(upload, *size_bytes, sha256.clone()), None)
            }
            UploadSource::Fetched { indirect_url } => {
                journal.repeatable("fetch", self.fetch_unless_stored(upload, indirect_url)).await?
            }
        };
        journal.repeatable("store", self.read_and_store(upload, master)).await
    }

    async fn fetch_unless_stored(&self, upload: &Upload, url: &FileUrl) -> StepResult<KeptPackage> {
        let stored = self.stored().await?;
        let master = stored.and_then(|stored| stored.packages.0.into_iter().find(|(name, _)| name.as_str() == MASTER));
        match master {
            Some((_, master)) => Ok(master),
            None => self.fetch(upload, url).await,
        }
    }

    /// Where an earlier run has stored the build, and died before that was on record, nothing is written again.
    async fn read_and_store(&self, upload: &Upload, master: KeptPackage) -> StepResult<Stored> {
        let stored = match self.stored().await? {
            Some(stored) => stored,
            None => {
                let file = self.open(&master).await?;
                let (files, tree) = self.inspect(upload, &master, &file).await?;
                let packages = self.packages(upload, master, &file, &tree).await?;
                let stored = StoredBuild { master_file: upload.filename.clone(), packages, files };
                self.give_to_build(stored).await?
            }
        };
        self.remove_superfluous(&stored).await;
        Ok(stored)
    }

    /// What the build has been given by this upload, if anything.
    async fn stored(&self) -> StepResult<Option<Stored>> {
        let stored = patiently(|| self.work.svc.stored_build(&self.run.claim)).await;
        let stored = stored.map_err(|error| internal(&error))?;
        Ok(stored.map(|BuildAsStored { master_file, packages, file_count }| {
            let files = usize::try_from(file_count).unwrap_or(usize::MAX);
            Stored { master_file, packages, files }
        }))
    }

    /// What the build has, where an upload failed after it was stored: that undoes nothing of it. Otherwise the build
    /// waits for the upload no longer.
    async fn stored_after_all(&self) -> Option<Stored> {
        match patiently(|| self.work.give_up_upload(&self.run.claim)).await {
            Ok(true) => None,
            Ok(false) => self.stored().await.ok().flatten(),
            Err(problem) => {
                warn!("whether the build of an upload is stored could not be told: {problem}");
                None
            }
        }
    }

    /// Removes what earlier runs have left, which died before the build had their files, and what is stored already.
    async fn remove_superfluous(&self, stored: &Stored) {
        let job = self.run.claim.job_id;
        let kept = stored.packages.0.values().filter_map(|package| package.run).collect();
        if let Err(problem) = self.work.storage.remove_other_runs(job.into(), kept).await {
            warn!("files of earlier runs of an upload stay for now: {problem}");
        }
        for superfluous in stored.packages.superfluous(job) {
            remove_superfluous(&self.work.storage, &superfluous).await;
        }
    }

    /// The build's packages: the uploaded file, and those that the package map makes of it.
    async fn packages(
        &self,
        upload: &Upload,
        master: KeptPackage,
        file: &File,
        tree: &PackageTree,
    ) -> StepResult<KeptPackages> {
        let name = PackageName::parse(MASTER).map_err(|error| internal(&error))?;
        let made = self.package(upload, file, tree).await?.into_iter();
        let made = made.map(|(name, file)| (name, KeptPackage::new(file, Some(self.run.claim.fence))));
        Ok(KeptPackages(made.chain([(name, master)]).collect()))
    }

    fn application(&self) -> StepResult<&AppName> {
        self.run.claim.application().map_err(|error| internal(&error))
    }

    /// Gives the build its files, however long the database is away.
    async fn give_to_build(&self, stored: StoredBuild) -> StepResult<Stored> {
        let packages = patiently(|| self.work.svc.store_build(&self.run.claim, &stored)).await;
        let packages = packages.map_err(|error| match error {
            Error::Conflict { reason } => JobError::new(JobErrorCode::Conflict, reason),
            problem => internal(&problem),
        })?;
        Ok(Stored { master_file: stored.master_file, packages, files: stored.files.0.len() })
    }
}

/// What an upload has given its build.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    master_file: String,
    packages: KeptPackages,
    /// How many there are in the uploaded file.
    files: usize,
}

fn master(upload: &Upload, size_bytes: u64, sha256: String) -> PackageFile {
    let Upload { filename, file_type, .. } = upload;
    PackageFile { filename: filename.clone(), file_type: *file_type, size_bytes, sha256 }
}

/// A fault of the service, which is logged here and not shown.
fn internal(cause: &(dyn std::error::Error + 'static)) -> JobError {
    JobError::internal("an upload failed because of an internal error", cause)
}
