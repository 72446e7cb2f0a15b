//! What plugins start, as a client would.

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, TryStreamExt as _};

use super::Work;
use super::actions::new_job;
use super::builds::not_reached;
use super::deployments::DeploymentTask;
use super::git::{CommitsAsked, Compared};
use super::gitdeploys::ServersTask;
use super::new_package::{self, Destination};
use crate::datasvc::{
    ActionName, AppName, BuildName, Caller, Claim, Commit, DeploymentAsked, DeploymentPlan, Expected, FileChange,
    FileLocation, FileType, GitRepo, GitRepoName, GitdeployName, JobId, Listed, NewGitRepo, NewPackage, PackageName,
    Page, Parent, Result, ServerName, ServersAsked,
};
use crate::plugin::{Asking, DeploymentIntention, Effects, OnServers, PackageWriter};
use crate::remote::{Report, System};

impl Work {
    async fn deployment_asked(
        &self,
        caller: &Caller,
        application: &AppName,
        intention: DeploymentIntention,
    ) -> Result<DeploymentAsked> {
        let (id, task) = match intention {
            DeploymentIntention::Start(asked) => return Ok(asked),
            DeploymentIntention::Resume(id) => (id, DeploymentTask::Resume),
            DeploymentIntention::RollBack(id) => (id, DeploymentTask::RollBack),
        };
        self.deployment_again(caller, application, id, task).await
    }
}

impl Effects for Work {
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
            let found = self.0.plugins.action(caller, &application, &action).await?;
            let timeout = self.0.plugins.limits().run_timeout(found.action.timeout_seconds);
            let job = new_job(&found, parameters, timeout, Some(parent))?;
            let enqueued = self.0.svc.enqueue_action(caller, job).await?;
            self.0.engine.tell_queued();
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
        async move { Work::delete_build(self, caller, &application, &build, &Expected::Any).await }.boxed()
    }

    fn create_git_repo<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        new: NewGitRepo,
    ) -> BoxFuture<'a, Result<GitRepo>> {
        async move { Work::create_git_repo(self, caller, &application, &new).await }.boxed()
    }

    fn commits<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        repo: GitRepoName,
        branch: Option<String>,
        page: Page,
    ) -> BoxFuture<'a, Result<Listed<Commit>>> {
        async move { Work::commits(self, caller, &application, &repo, CommitsAsked { branch }, &page).await }.boxed()
    }

    fn changed_files<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        repo: GitRepoName,
        [from, to]: [Option<String>; 2],
        page: Page,
    ) -> BoxFuture<'a, Result<Listed<FileChange>>> {
        async move { Work::changed_files(self, caller, &application, &repo, Compared { from, to }, &page).await }
            .boxed()
    }

    fn initialize<'a>(
        &'a self,
        caller: &'a Caller,
        (application, gitdeploy): (AppName, GitdeployName),
        servers: Vec<ServerName>,
        undo: bool,
        parent: Parent,
    ) -> BoxFuture<'a, Result<JobId>> {
        let task = if undo { ServersTask::Deinitialize } else { ServersTask::Initialize };
        async move {
            let (servers, origin) = (ServersAsked::Named(servers), (None, Some(parent)));
            let making = self.gitdeploy_on_servers(caller, &application, &gitdeploy, task, &servers, origin);
            Ok(making.await?.job_id)
        }
        .boxed()
    }

    fn plan_deployment<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        intention: DeploymentIntention,
    ) -> BoxFuture<'a, Result<DeploymentPlan>> {
        async move {
            let asked = self.deployment_asked(caller, &application, intention).await?;
            Ok(Work::plan_deployment(self, caller, &application, &asked).await?.plan)
        }
        .boxed()
    }

    fn deploy<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        intention: DeploymentIntention,
        plan: Option<String>,
        parent: Parent,
    ) -> BoxFuture<'a, Result<JobId>> {
        async move {
            let asked = self.deployment_asked(caller, &application, intention).await?;
            let asked = DeploymentAsked { plan, ..asked };
            Ok(Work::deploy(self, caller, &application, asked, (None, Some(parent))).await?.job_id)
        }
        .boxed()
    }

    fn cancel_deployment<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        id: JobId,
    ) -> BoxFuture<'a, Result<()>> {
        async move { Work::cancel_deployment(self, caller, &application, id).await.map(drop) }.boxed()
    }

    fn on_servers<'a>(&'a self, asking: Asking<'a>, asked: OnServers) -> BoxFuture<'a, Result<Vec<Report>>> {
        async move { Work::on_servers(self, &asking, asked).await }.boxed()
    }

    fn systems<'a>(
        &'a self,
        asking: Asking<'a>,
        servers: Vec<ServerName>,
    ) -> BoxFuture<'a, Result<Vec<std::result::Result<System, String>>>> {
        async move { Work::systems(self, &asking, servers).await }.boxed()
    }

    fn add_package<'a>(
        &'a self,
        caller: &'a Caller,
        claim: &'a Claim,
        new: NewPackage,
        file_type: FileType,
    ) -> BoxFuture<'a, Result<Box<dyn PackageWriter>>> {
        new_package::begin(Destination {
            svc: self.0.svc.clone(),
            storage: self.0.storage.clone(),
            archives: self.0.archives.clone(),
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
            let (file, location) = self.0.svc.build_package(caller, &application, &build, &package).await?;
            let FileLocation { upload, run, filename } = location;
            let end = offset.saturating_add(length.into()).min(file.size_bytes);
            if offset >= end {
                return Ok(Bytes::new());
            }
            let read = self.0.storage.read_build_file(upload.into(), run, &filename, offset..end).await;
            let pieces = read.map_err(not_reached)?.map_err(not_reached);
            let gathered = pieces.try_fold(BytesMut::new(), |mut all, piece| async move {
                all.extend_from_slice(&piece);
                Ok(all)
            });
            Ok(gathered.await?.freeze())
        }
        .boxed()
    }
}
