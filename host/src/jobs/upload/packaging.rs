//! What is in an uploaded archive, and the packages that are made of it.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::{Run, internal, not_stored, patiently};
use crate::datasvc::{
    BuildFiles, BuildName, Digest, Error, FileType, JobError, PackageFile, PackageName, PackageRule, PackageRules,
    Upload,
};
use crate::storage::archive::{self, ArchiveError, ArchiveLimits, Selection};
use crate::storage::{Received, StorageError};

/// The longest name that files have. The store has longer ones while it writes them.
const MAX_FILENAME_BYTES: usize = 240;
/// How much of a package is read at a time.
const CHUNK_BYTES: usize = 1024 * 1024;
/// How many warnings about an archive are told one by one.
const MAX_WARNINGS: usize = 20;

impl Run<'_> {
    /// The paths in the archive, all of which has been read and found to be sound.
    pub(super) async fn inspect(&self, upload: &Upload) -> Result<BuildFiles, JobError> {
        let (master, kind, limits) = (self.open(upload).await?, kind(upload.file_type), self.limits());
        let work = move |stop: &AtomicBool| archive::inspect(master, kind, &limits, stop);
        let contents = self.on_archive(work).await?;
        for warning in contents.warnings.iter().take(MAX_WARNINGS) {
            self.note(&json!({ "status": "warning", "message": warning }));
        }
        if let Some(more @ 1..) = contents.warnings.len().checked_sub(MAX_WARNINGS) {
            self.note(&json!({ "status": "warning", "message": format!("and {more} more of this kind") }));
        }
        self.note(&json!({ "status": "inspected", "files": contents.files.len() }));
        Ok(BuildFiles(contents.files))
    }

    /// The packages that the package map makes of the uploaded file, under names that are this run's alone.
    pub(super) async fn package(&self, upload: &Upload) -> Result<Vec<(PackageName, PackageFile)>, JobError> {
        let Some(PackageRules(rules)) = self.rules(upload).await? else { return Ok(Vec::new()) };
        let (master, kind, limits) = (self.open(upload).await?, kind(upload.file_type), self.limits());
        let outputs = rules.iter().map(|_| self.engine.storage.scratch_file()).collect::<Result<Vec<File>, _>>();
        let outputs = outputs.map_err(not_stored)?;
        let copies = outputs.iter().map(File::try_clone).collect::<Result<Vec<_>, _>>();
        let copies = copies.map_err(|error| internal(&error))?;
        let selections = rules.values().cloned().map(selection).zip(copies).collect();
        let work = move |stop: &AtomicBool| archive::package(master, kind, &limits, selections, stop);
        let packaged = self.on_archive(work).await?;

        let mut packages = Vec::new();
        for ((name, packed), output) in rules.into_keys().zip(packaged).zip(outputs) {
            for pattern in &packed.unmatched {
                let message = format!("in package `{name}` the pattern `{pattern}` matches nothing");
                self.note(&json!({ "status": "warning", "message": message }));
            }
            if packed.files == 0 {
                let message =
                    format!("package `{name}` has no file: no pattern of it matches one in the uploaded file");
                return Err(JobError::new("empty-package", message));
            }
            let filename = filename(&upload.build_name, &name, upload.file_type);
            let Received { size_bytes, sha256 } = self.keep(&filename, output).await?;
            let sha256 = Digest::from_bytes(sha256).hex();
            let package = PackageFile { filename, file_type: upload.file_type, size_bytes, sha256 };
            self.note(
                &json!({ "status": "packaged", "package": name, "files": packed.files, "size_bytes": size_bytes }),
            );
            packages.push((name, package));
        }
        Ok(packages)
    }

    /// What the package map says by now; none: there is none.
    async fn rules(&self, upload: &Upload) -> Result<Option<PackageRules>, JobError> {
        let Some(map) = &upload.package_map else { return Ok(None) };
        let rules = patiently(|| self.engine.svc.package_rules(&self.claim.application, map)).await;
        rules.map(Some).map_err(|error| match error {
            Error::NotFound { .. } => JobError::new("not-found", error.to_string()),
            problem => internal(&problem),
        })
    }

    async fn open(&self, upload: &Upload) -> Result<File, JobError> {
        let file =
            self.engine.storage.build_file(self.claim.job_id.into(), self.master_run(upload), &upload.filename).await;
        file.map_err(|error| internal(&error))?.ok_or_else(|| {
            JobError::new("file-missing", "the uploaded file is no longer in the store; upload it again")
        })
    }

    fn limits(&self) -> ArchiveLimits {
        self.engine.settings.uploads.archive
    }

    /// Works on an archive on a thread of its own, when its turn has come. The work stops early if nobody waits for it
    /// any more, and has its turn until then.
    async fn on_archive<T: Send + 'static>(
        &self,
        work: impl FnOnce(&AtomicBool) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, JobError> {
        let turn = self.turn(&self.engine.archives).await;
        let stop = StopOnDrop::default();
        let stopped = stop.0.clone();
        let worked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&stopped)
        });
        worked.await.map_err(|error| internal(&error))?.map_err(refused)
    }

    /// Takes a package into the store.
    async fn keep(&self, filename: &str, packed: File) -> Result<Received, JobError> {
        let unreadable = |error: std::io::Error| internal(&error);
        let mut packed = tokio::fs::File::from_std(packed);
        packed.rewind().await.map_err(unreadable)?;
        let folder = self.claim.job_id.into();
        let mut kept =
            self.engine.storage.add_build_file(folder, self.claim.fence, filename).await.map_err(not_stored)?;
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        while packed.read_buf(&mut chunk).await.map_err(unreadable)? > 0 {
            kept.write(chunk.split().freeze()).await.map_err(not_stored)?;
            chunk.reserve(CHUNK_BYTES);
        }
        let sealed = kept.seal().await.map_err(not_stored)?;
        // A host that was frozen meanwhile may have lost the job, and another one may have made the package.
        self.engine.lease.confirmed().await;
        sealed.publish().await.map_err(not_stored)
    }
}

/// Says that work is to stop, once this is dropped.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

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

fn selection(rule: PackageRule) -> Selection {
    let PackageRule { patterns, remove_prefix, prefix } = rule;
    Selection { patterns, remove_prefix, prefix }
}

/// The name of a package's file. It is no longer than names may be, and still no other package's: what is cut is the
/// build's.
fn filename(build: &BuildName, package: &PackageName, file_type: FileType) -> String {
    let end = format!("-{package}.{file_type}");
    let begin: String = build.as_str().chars().take(MAX_FILENAME_BYTES - end.len()).collect();
    begin + &end
}

/// Why the archive is not taken, for whoever sent it; what is the machine's fault is logged here and not shown.
pub(super) fn refused(error: ArchiveError) -> JobError {
    match error {
        ArchiveError::Stopped => JobError::new("cancelled", "the work on the archive was stopped"),
        ArchiveError::Io(cause) => not_stored(StorageError::from(cause)),
        refusal => JobError::new("invalid-archive", refusal.to_string()),
    }
}
