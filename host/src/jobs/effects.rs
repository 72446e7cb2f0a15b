//! What plugins set going, as a client would.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, TryStreamExt as _};
use tracing::warn;

use super::action::new_job;
use super::archives::Archives;
use super::new_package::{self, Destination};
use super::upload::UploadLimits;
use super::wakes::Signals;
use crate::datasvc::{
    ActionName, AppName, BuildName, Caller, Claim, DataSvc, Error, Expected, FileType, JobId, NewPackage, PackageName,
    Parent, Result,
};
use crate::plugin::{Effects, PackageWriter, Plugins};
use crate::storage::Storage;

/// What guests get of the engine.
pub struct GuestEffects {
    svc: DataSvc,
    plugins: Plugins,
    storage: Storage,
    pub(super) archives: Archives,
    pub(super) signals: Arc<Signals>,
}

impl GuestEffects {
    /// Packages are limited as uploads are.
    pub fn new(svc: DataSvc, plugins: Plugins, storage: Storage, limits: &UploadLimits) -> Self {
        let archives = Archives::new(limits.archives, limits.archive);
        Self { svc, plugins, storage, archives, signals: Arc::default() }
    }
}

impl Effects for GuestEffects {
    fn run_action<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        action: ActionName,
        parameters: Vec<(String, String)>,
        parent: Parent,
    ) -> BoxFuture<'a, Result<JobId>> {
        async move {
            caller.require_execute(&application, &action)?;
            let found = self.plugins.action(caller, &application, &action).await?;
            let timeout = self.plugins.limits().run_timeout(found.action.timeout_seconds);
            let job = new_job(&found, parameters, timeout, Some(parent))?;
            let enqueued = self.svc.enqueue_action(caller, job).await?;
            self.signals.tell_queued();
            Ok(enqueued.job_id)
        }
        .boxed()
    }

    fn delete_build<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        build: BuildName,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            if let Some(upload) = self.svc.delete_build(caller, &application, &build, &Expected::Any).await?
                && let Err(problem) = self.storage.remove_build_files(upload.into()).await
            {
                warn!("the files of a build that is gone stay for now: {problem}");
            }
            Ok(())
        }
        .boxed()
    }

    fn add_package<'a>(
        &'a self,
        caller: &'a Caller,
        claim: &'a Claim,
        new: NewPackage,
        file_type: FileType,
    ) -> BoxFuture<'a, Result<Box<dyn PackageWriter>>> {
        new_package::begin(Destination {
            svc: self.svc.clone(),
            storage: self.storage.clone(),
            archives: self.archives.clone(),
            caller: caller.clone(),
            claim: claim.clone(),
            new,
            file_type,
        })
        .boxed()
    }

    fn read_package<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        build: BuildName,
        package: PackageName,
        offset: u64,
        length: u32,
    ) -> BoxFuture<'a, Result<Bytes>> {
        async move {
            let (file, upload) = self.svc.build_package(caller, &application, &build, &package).await?;
            let end = offset.saturating_add(length.into()).min(file.size_bytes);
            if offset >= end {
                return Ok(Bytes::new());
            }
            let read = self.storage.read_build_file(upload.into(), &file.filename, offset..end).await;
            let pieces = read.map_err(Error::internal)?.map_err(Error::internal);
            let gathered = pieces.try_fold(BytesMut::new(), |mut all, piece| async move {
                all.extend_from_slice(&piece);
                Ok(all)
            });
            Ok(gathered.await?.freeze())
        }
        .boxed()
    }
}
