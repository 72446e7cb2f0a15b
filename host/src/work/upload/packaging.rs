//! What is in an uploaded archive, and the packages that are made of it.

use std::fs::File;
use std::io::Seek as _;
use std::sync::atomic::AtomicBool;

use bytes::BytesMut;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tracing::warn;

use super::{Job, internal};
use crate::datasvc::{
    BuildFiles, BuildName, Digest, Error, FileType, JobError, JobErrorCode, KeptPackage, PackageFile, PackageName,
    PackageRule, PackageRules, Upload, patiently,
};
use crate::storage::archive::{self, ArchiveError, ArchiveLimits, Selection};
use crate::storage::{Received, StorageError};
use crate::work::archives::kind;
use crate::work::builds::not_stored;
use crate::work::git::trees::{PackageTree, TreeReader};

/// The longest name that files have. The store has longer ones while it writes them.
const MAX_FILENAME_BYTES: usize = 240;
/// How much of a package is read at a time.
const CHUNK_BYTES: usize = 1024 * 1024;
/// How many warnings about an archive are told one by one.
const MAX_WARNINGS: usize = 20;

impl Job<'_> {
    /// The paths in the archive, all of which has been read and found to be sound, and what it is as a tree.
    pub(super) async fn inspect(
        &self,
        upload: &Upload,
        master: &KeptPackage,
        file: &File,
    ) -> Result<(BuildFiles, PackageTree), JobError> {
        let (file, kind) = (again(file)?, kind(upload.file_type));
        let work = move |limits: &_, stop: &_| {
            let mut reader = TreeReader::default();
            let mut contents =
                archive::inspect(file, kind, limits, stop, &mut |shown, content| reader.see(shown, content))?;
            let tree = reader.finish(std::mem::take(&mut contents.empty_directories));
            Ok((contents, tree))
        };
        let (contents, tree) = self.on_archive(work).await?;
        self.keep_tree(master, &tree).await;
        for warning in contents.warnings.iter().take(MAX_WARNINGS) {
            self.run.note(&json!({ "status": "warning", "message": warning }));
        }
        if let Some(more @ 1..) = contents.warnings.len().checked_sub(MAX_WARNINGS) {
            self.run.note(&json!({ "status": "warning", "message": format!("and {more} more of this kind") }));
        }
        self.run.note(&json!({ "status": "inspected", "files": contents.files.len() }));
        Ok((BuildFiles(contents.files), tree))
    }

    /// A tree that is not kept is made again by the first commit.
    async fn keep_tree(&self, package: &KeptPackage, tree: &PackageTree) {
        let location = package.location(self.run.claim.job_id);
        if let Err(problem) = tree.keep(&self.work.storage, &location).await {
            warn!("the tree of a package was not kept: {problem}");
        }
    }

    /// The packages that the package map makes of the uploaded file, under names that are this run's alone: a few at a
    /// time, if the file has very many names.
    pub(super) async fn package(
        &self,
        upload: &Upload,
        master: &File,
        tree: &PackageTree,
    ) -> Result<Vec<(PackageName, PackageFile)>, JobError> {
        let Some(PackageRules(rules)) = self.rules(upload).await? else { return Ok(Vec::new()) };
        let (mut packages, mut rules) = (Vec::new(), rules.into_iter());
        let at_once = archive::packages_at_once(tree.tree.0.len());
        loop {
            let some: Vec<_> = rules.by_ref().take(at_once).collect();
            if some.is_empty() {
                return Ok(packages);
            }
            self.package_some(upload, master, tree, some, &mut packages).await?;
        }
    }

    /// Makes some of them, beside those that are made already.
    async fn package_some(
        &self,
        upload: &Upload,
        master: &File,
        tree: &PackageTree,
        rules: Vec<(PackageName, PackageRule)>,
        packages: &mut Vec<(PackageName, PackageFile)>,
    ) -> Result<(), JobError> {
        let (master, kind) = (again(master)?, kind(upload.file_type));
        let written_bytes = packages.iter().map(|(_, package)| package.size_bytes).sum();
        let outputs = rules.iter().map(|_| self.work.storage.scratch_file()).collect::<Result<Vec<File>, _>>();
        let outputs = outputs.map_err(not_stored)?;
        let copies = outputs.iter().map(File::try_clone).collect::<Result<Vec<_>, _>>();
        let copies = copies.map_err(|error| internal(&error))?;
        let (names, rules): (Vec<_>, Vec<_>) = rules.into_iter().unzip();
        let selections = rules.into_iter().map(selection).zip(copies).collect();
        let work = move |limits: &_, stop: &_| archive::package(master, kind, limits, selections, written_bytes, stop);
        let packaged = self.on_archive(work).await?;
        for ((name, packed), output) in names.into_iter().zip(packaged).zip(outputs) {
            for pattern in &packed.unmatched {
                let message = format!("in package `{name}` the pattern `{pattern}` matches nothing");
                self.run.note(&json!({ "status": "warning", "message": message }));
            }
            if packed.files == 0 {
                let message =
                    format!("package `{name}` has no file: no pattern of it matches one in the uploaded file");
                return Err(JobError::new(JobErrorCode::EmptyPackage, message));
            }
            let filename = package_filename(&upload.build_name, &name, upload.file_type);
            let Received { size_bytes, sha256 } = self.keep(&filename, output).await?;
            let sha256 = Digest::from_bytes(sha256).hex();
            let package = PackageFile { filename, file_type: upload.file_type, size_bytes, sha256 };
            self.run.note(
                &json!({ "status": "packaged", "package": name, "files": packed.files, "size_bytes": size_bytes }),
            );
            if let Some(tree) = tree.derived(&packed.sources, packed.empty_directories) {
                let kept = KeptPackage::new(package.clone(), Some(self.run.claim.fence));
                self.keep_tree(&kept, &tree).await;
            }
            packages.push((name, package));
        }
        Ok(())
    }

    /// The current rules of the package map. `None`: the upload has no package map.
    async fn rules(&self, upload: &Upload) -> Result<Option<PackageRules>, JobError> {
        let Some(map) = &upload.package_map else { return Ok(None) };
        let application = self.application()?;
        let rules = patiently(|| self.work.svc.package_rules(application, map)).await;
        rules.map(Some).map_err(|error| match error {
            Error::NotFound { .. } => JobError::new(JobErrorCode::NotFound, error.to_string()),
            problem => internal(&problem),
        })
    }

    /// The uploaded file. From a bucket it is fetched, once for all that is done with it.
    pub(super) async fn open(&self, master: &KeptPackage) -> Result<File, JobError> {
        let file = self.work.storage.build_file(self.run.claim.job_id.into(), master.run, &master.file.filename).await;
        file.map_err(not_stored)?.ok_or_else(|| {
            JobError::new(JobErrorCode::FileMissing, "the uploaded file is no longer in the store; upload it again")
        })
    }

    async fn on_archive<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ArchiveLimits, &AtomicBool) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, JobError> {
        let turn = self.work.archives.turns.take_for(self.run).await;
        self.work.archives.work(turn, work).await.map_err(|error| internal(&error))?.map_err(refused)
    }

    /// Takes a package into the store.
    async fn keep(&self, filename: &str, packed: File) -> Result<Received, JobError> {
        let unreadable = |error: std::io::Error| internal(&error);
        let mut packed = tokio::fs::File::from_std(packed);
        packed.rewind().await.map_err(unreadable)?;
        let (folder, run) = (self.run.claim.job_id.into(), self.run.claim.fence);
        let mut kept = self.work.storage.add_build_file(folder, run, filename).await.map_err(not_stored)?;
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        while packed.read_buf(&mut chunk).await.map_err(unreadable)? > 0 {
            kept.write(chunk.split().freeze()).await.map_err(not_stored)?;
            chunk.reserve(CHUNK_BYTES);
        }
        let finished = kept.finish().await.map_err(not_stored)?;
        // A host that was frozen meanwhile may have lost the job, and another one may have made the package.
        self.run.lease.confirmed().await;
        finished.publish().await.map_err(not_stored)
    }
}

/// The same file, at its beginning.
fn again(mut file: &File) -> Result<File, JobError> {
    let again = file.rewind().and_then(|()| file.try_clone());
    again.map_err(|error| internal(&error))
}

fn selection(rule: PackageRule) -> Selection {
    let PackageRule { patterns, remove_prefix, prefix } = rule;
    Selection { patterns, remove_prefix, prefix }
}

/// The name of a package's file. It is no longer than names may be, and still no other package's: what is cut is the
/// build's.
pub(in crate::work) fn package_filename(build: &BuildName, package: &PackageName, file_type: FileType) -> String {
    let end = format!("-{package}.{file_type}");
    let begin: String = build.as_str().chars().take(MAX_FILENAME_BYTES - end.len()).collect();
    begin + &end
}

/// Why the archive is not taken, for whoever sent it; what is the machine's fault is logged here and not shown.
pub(in crate::work) fn refused(error: ArchiveError) -> JobError {
    match error {
        ArchiveError::Stopped => JobError::new(JobErrorCode::Cancelled, "the work on the archive was stopped"),
        ArchiveError::Io(cause) => not_stored(StorageError::from(cause)),
        refusal => JobError::new(JobErrorCode::InvalidArchive, refusal.to_string()),
    }
}
