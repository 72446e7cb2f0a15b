//! Packages that a plugin adds to a build in the hook of its upload: written piece by piece, and looked at as an upload
//! is before they are added.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::warn;

use super::archives::{Archives, kind};
use super::builds::{not_reached, remove_superfluous};
use super::upload::package_filename;
use crate::datasvc::{Caller, Claim, DataSvc, Digest, Error, FileType, NewPackage, Noun, PackageFile, Result};
use crate::plugin::PackageWriter;
use crate::storage::archive::{self, ArchiveError};
use crate::storage::{Candidate, Incoming, Storage, StorageError};

/// Where a package goes, and who adds it.
pub(super) struct Destination {
    pub(super) svc: DataSvc,
    pub(super) storage: Storage,
    pub(super) archives: Archives,
    pub(super) caller: Caller,
    pub(super) claim: Claim,
    pub(super) new: NewPackage,
    pub(super) file_type: FileType,
}

struct Writer {
    destination: Destination,
    /// What the packages of the build may be together, in bytes.
    together: u64,
    /// What the file is called until it is accepted.
    provisional: String,
    file: Incoming,
}

/// Begins a package, if it may be added by what is known now.
///
/// # Errors
/// Those of [`DataSvc::check_package`].
pub(super) async fn begin(destination: Destination) -> Result<Box<dyn PackageWriter>> {
    let Destination { svc, storage, archives, caller, claim, new, .. } = &destination;
    let together = archives.limits.packages_bytes(svc.check_package(caller, claim, new).await?);
    let provisional = Candidate::provisional_name();
    let file = storage.add_build_file(claim.job_id.into(), claim.fence, &provisional).await.map_err(not_reached)?;
    Ok(Box::new(Writer { destination, together, provisional, file }))
}

impl PackageWriter for Writer {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        async move {
            let size_bytes = self.file.size_bytes() + bytes.len() as u64;
            if size_bytes > self.together {
                return Err(NewPackage::too_large(size_bytes, self.together));
            }
            self.file.write(bytes).await.map_err(not_reached)
        }
        .boxed()
    }

    fn finish(self: Box<Self>, sha256: Option<String>) -> BoxFuture<'static, Result<PackageFile>> {
        async {
            let Self { destination, together, provisional, file } = *self;
            let finished = file.finish().await.map_err(not_reached)?;
            let Claim { job_id, fence, .. } = destination.claim;
            let candidate =
                Candidate::publish(destination.storage.clone(), job_id.into(), fence, provisional, finished);
            let candidate = candidate.await.map_err(not_reached)?;
            destination.check_digest(&candidate, sha256)?;
            destination.check_archive(&candidate).await?;
            destination.accept(candidate, together).await
        }
        .boxed()
    }
}

impl Destination {
    fn check_digest(&self, candidate: &Candidate, expected: Option<String>) -> Result<()> {
        let found = Digest::from_bytes(candidate.received().sha256).hex();
        match expected {
            Some(expected) if expected != found => Err(Error::invalid("sha256", format!("the file has {found}"))),
            Some(_) | None => Ok(()),
        }
    }

    async fn check_archive(&self, candidate: &Candidate) -> Result<()> {
        let file = candidate.open().await.map_err(not_reached)?;
        let kind = kind(self.file_type);
        // The slot of the job is not lent meanwhile: its guest is in memory.
        let turn = self.archives.turns.take(&self.claim.application).await;
        let work = move |limits: &_, stop: &_| archive::inspect(file, kind, limits, stop, &mut |_, _| Ok(()));
        let inspected = self.archives.work(turn, work).await;
        match inspected.map_err(Error::internal)? {
            Ok(_) => Ok(()),
            Err(ArchiveError::Io(cause)) => Err(not_reached(StorageError::from(cause))),
            Err(refusal) => Err(Error::invalid("package", refusal.to_string())),
        }
    }

    /// Gives it its name first: whoever has that adds the package, and of several only one can have it.
    async fn accept(&self, candidate: Candidate, together: u64) -> Result<PackageFile> {
        let NewPackage { build, name, .. } = &self.new;
        let received = candidate.received();
        let file = PackageFile {
            filename: package_filename(build, name, self.file_type),
            file_type: self.file_type,
            size_bytes: received.size_bytes,
            sha256: Digest::from_bytes(received.sha256).hex(),
        };
        if !candidate.accept(&file.filename).await.map_err(not_reached)? {
            return Err(Error::already_exists(Noun::Package, name));
        }
        match self.svc.add_package(&self.caller, &self.claim, &self.new, &file, together).await {
            Ok(superfluous) => {
                if let Some(superfluous) = superfluous {
                    remove_superfluous(&self.storage, &superfluous).await;
                }
                Ok(file)
            }
            // It may be there, if only the answer was lost. If it is not, the file is orphaned, and removed later.
            Err(problem @ (Error::Unavailable(_) | Error::Internal(_))) => Err(problem),
            Err(refusal) => {
                self.remove(&file.filename).await;
                Err(refusal)
            }
        }
    }

    async fn remove(&self, filename: &str) {
        if let Err(problem) =
            self.storage.remove_build_file(self.claim.job_id.into(), Some(self.claim.fence), filename).await
        {
            warn!("the file of a package that is not needed stays for now: {problem}");
        }
    }
}
