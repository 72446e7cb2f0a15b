//! What the plugins that are measured set going: nothing.

use std::pin::Pin;

use bytes::Bytes;
use elita::datasvc::{
    ActionName, AppName, BuildName, Caller, Claim, Commit, DeploymentPlan, Error, FileChange, FileType, GitRepo,
    GitRepoName, GitdeployName, JobId, Listed, NewGitRepo, NewPackage, PackageName, Page, Parent, Result, ServerName,
};
use elita::plugin::{Asking, DeploymentIntention, Effects, OnServers, PackageWriter};
use elita::remote::{Report, System};

/// Refuses everything.
pub(crate) struct Nothing;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

fn refused<'a, T: 'a>() -> Answer<'a, T> {
    Box::pin(async { Err(Error::Conflict { reason: "nothing is set going while calls are measured".into() }) })
}

impl Effects for Nothing {
    fn run_action<'a>(
        &'a self,
        _: &'a Caller,
        _: AppName,
        _: ActionName,
        _: Vec<(String, String)>,
        _: Parent,
    ) -> Answer<'a, JobId> {
        refused()
    }

    fn delete_build<'a>(&'a self, _: &'a Caller, _: AppName, _: BuildName) -> Answer<'a, ()> {
        refused()
    }

    fn create_git_repo<'a>(&'a self, _: &'a Caller, _: AppName, _: NewGitRepo) -> Answer<'a, GitRepo> {
        refused()
    }

    fn commits<'a>(
        &'a self,
        _: &'a Caller,
        _: AppName,
        _: GitRepoName,
        _: Option<String>,
        _: Page,
    ) -> Answer<'a, Listed<Commit>> {
        refused()
    }

    fn changed_files<'a>(
        &'a self,
        _: &'a Caller,
        _: AppName,
        _: GitRepoName,
        _: [Option<String>; 2],
        _: Page,
    ) -> Answer<'a, Listed<FileChange>> {
        refused()
    }

    fn initialize<'a>(
        &'a self,
        _: &'a Caller,
        _: (AppName, GitdeployName),
        _: Vec<ServerName>,
        _: bool,
        _: Parent,
    ) -> Answer<'a, JobId> {
        refused()
    }

    fn plan_deployment<'a>(&'a self, _: &'a Caller, _: AppName, _: DeploymentIntention) -> Answer<'a, DeploymentPlan> {
        refused()
    }

    fn deploy<'a>(
        &'a self,
        _: &'a Caller,
        _: AppName,
        _: DeploymentIntention,
        _: Option<String>,
        _: Parent,
    ) -> Answer<'a, JobId> {
        refused()
    }

    fn cancel_deployment<'a>(&'a self, _: &'a Caller, _: AppName, _: JobId) -> Answer<'a, ()> {
        refused()
    }

    fn on_servers<'a>(&'a self, _: Asking<'a>, _: OnServers) -> Answer<'a, Vec<Report>> {
        refused()
    }

    fn systems<'a>(
        &'a self,
        _: Asking<'a>,
        _: Vec<ServerName>,
    ) -> Answer<'a, Vec<std::result::Result<System, String>>> {
        refused()
    }

    fn add_package<'a>(
        &'a self,
        _: &'a Caller,
        _: &'a Claim,
        _: NewPackage,
        _: FileType,
    ) -> Answer<'a, Box<dyn PackageWriter>> {
        refused()
    }

    fn read_package<'a>(
        &'a self,
        _: &'a Caller,
        _: AppName,
        _: BuildName,
        _: PackageName,
        _: u64,
        _: u32,
    ) -> Answer<'a, Bytes> {
        refused()
    }
}
