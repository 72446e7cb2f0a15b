//! What a guest may start that needs more than the database. The operations are the same that clients ask for, and
//! are written once, in a layer above this one.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::datasvc::{
    ActionName, AppName, BuildName, Caller, Claim, Commit, DeploymentAsked, DeploymentPlan, FileChange, FileType,
    GitRepo, GitRepoName, GitdeployName, JobId, JobLog, Listed, NewGitRepo, NewPackage, PackageFile, PackageName, Page,
    Parent, Result, ServerName,
};
use crate::remote::{Report, SaltFunction, System, Verb};

/// Who does something on servers, and the job that waits for it.
pub struct Asking<'a> {
    /// The plugin.
    pub caller: &'a Caller,
    /// The job that it runs in.
    pub parent: Parent,
    /// The log of that job.
    pub log: &'a JobLog,
    /// Whether that job is asked to stop.
    pub is_cancelled: &'a (dyn Fn() -> bool + Send + Sync),
}

/// What is to be done on servers.
#[derive(Clone, Debug)]
pub struct OnServers {
    /// The operation, for the audit.
    pub operation: &'static str,
    /// The servers, each once.
    pub servers: Vec<ServerName>,
    /// What.
    pub what: What,
    /// How long it may take on a server, in seconds. `None`: a minute.
    pub timeout_seconds: Option<u32>,
    /// How many bytes are kept of each output of a server.
    pub output_bytes: Option<u32>,
    /// What must not be shown in a report.
    pub secrets: Vec<String>,
}

/// What is done on each server.
#[derive(Clone, Debug)]
pub enum What {
    /// Something that is one command.
    Verb(Verb),
    /// A function of Salt is called. What it returned is the standard output of its report, as JSON.
    Salt(SaltFunction),
    /// A file is sent.
    Push {
        /// What it has.
        content: Content,
        /// Where it is to be.
        path: String,
        /// Its permissions.
        mode: u32,
    },
}

/// What a file has that is sent to servers.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Bytes),
    /// A package of a build, as it is.
    Package(AppName, BuildName, PackageName),
}

/// What a plugin wants to deploy.
#[derive(Clone, Debug)]
pub enum DeploymentIntention {
    /// A build.
    Start(DeploymentAsked),
    /// What an earlier deployment has not done.
    Resume(JobId),
    /// What was there before an earlier deployment.
    RollBack(JobId),
}

/// What `boot` gives the sandbox. Permissions are checked here, as for any caller.
pub trait Effects: Send + Sync {
    /// Makes a job of an action, for a plugin that runs in another job, and wakes a worker for it. The job is durable
    /// when this returns.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::NotFound`] if the application or the action does not exist;
    /// [`crate::datasvc::Error::MissingParameters`] if not all declared ones are there;
    /// [`crate::datasvc::Error::TooMany`] if too many jobs are above it; [`crate::datasvc::Error::Denied`] without
    /// execute permission.
    fn run_action<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        action: ActionName,
        parameters: Vec<(String, String)>,
        parent: Parent,
    ) -> BoxFuture<'a, Result<JobId>>;

    /// Removes a build with its files.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::delete_build`].
    fn delete_build<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        build: BuildName,
    ) -> BoxFuture<'a, Result<()>>;

    /// Registers a git repository: one that exists already, or one that a job makes.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::create_git_repo`].
    fn create_git_repo<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        new: NewGitRepo,
    ) -> BoxFuture<'a, Result<GitRepo>>;

    /// The commits of a branch of a git repository, newest first.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::NotFound`]; [`crate::datasvc::Error::Denied`] without read permission on the
    /// application; [`crate::datasvc::Error::Invalid`] without such a branch or commit;
    /// [`crate::datasvc::Error::Conflict`] if the repository is not ready, or not on this server.
    fn commits<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        repo: GitRepoName,
        branch: Option<String>,
        page: Page,
    ) -> BoxFuture<'a, Result<Listed<Commit>>>;

    /// The files that differ between two commits of a git repository.
    ///
    /// # Errors
    /// Those of [`Effects::commits`].
    fn changed_files<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        repo: GitRepoName,
        between: [Option<String>; 2],
        page: Page,
    ) -> BoxFuture<'a, Result<Listed<FileChange>>>;

    /// Makes a job that makes working copies of a gitdeploy on servers, or removes them, for a plugin that runs in another
    /// job. The job is durable when this returns.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::NotFound`] without the gitdeploy or a server; [`crate::datasvc::Error::Denied`] without
    /// the permissions; [`crate::datasvc::Error::Conflict`] if that is not possible now;
    /// [`crate::datasvc::Error::TooMany`] if too many jobs are above it.
    fn initialize<'a>(
        &'a self,
        caller: &'a Caller,
        gitdeploy: (AppName, GitdeployName),
        servers: Vec<ServerName>,
        undo: bool,
        parent: Parent,
    ) -> BoxFuture<'a, Result<JobId>>;

    /// What a deployment would do.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::NotFound`]; [`crate::datasvc::Error::Faults`] with all that does not fit;
    /// [`crate::datasvc::Error::Denied`] without write permission on the application, or without a server;
    /// [`crate::datasvc::Error::Conflict`] if an earlier one cannot be gone on with or taken back.
    fn plan_deployment<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        intention: DeploymentIntention,
    ) -> BoxFuture<'a, Result<DeploymentPlan>>;

    /// Makes a deployment, for a plugin that runs in another job: only the plan of this hash, if one is given. It is durable
    /// when this returns.
    ///
    /// # Errors
    /// Those of [`Effects::plan_deployment`]; [`crate::datasvc::Error::TooMany`] if too many jobs have come of one.
    fn deploy<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        intention: DeploymentIntention,
        plan: Option<String>,
        parent: Parent,
    ) -> BoxFuture<'a, Result<JobId>>;

    /// Asks for a deployment to stop: after the running batch, and at once in a pause.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::cancel_deployment`].
    fn cancel_deployment<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        id: JobId,
    ) -> BoxFuture<'a, Result<()>>;

    /// Does something on servers, as a job within the one that asks, and waits until it has ended: a report for each
    /// server, in their order. Where this is dropped, or that job is asked to stop, what runs on the servers is ended.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Denied`] without a grant for each server and for the interface;
    /// [`crate::datasvc::Error::NotFound`] without a server; [`crate::datasvc::Error::Invalid`] for what no server can
    /// be asked for; [`crate::datasvc::Error::Conflict`] for servers that are on another host;
    /// [`crate::datasvc::Error::TooMany`] if too many jobs have come of one.
    fn on_servers<'a>(&'a self, asking: Asking<'a>, asked: OnServers) -> BoxFuture<'a, Result<Vec<Report>>>;

    /// What runs on servers, in their order, or why one did not say. Those that were not asked lately are asked, as a
    /// ping.
    ///
    /// # Errors
    /// Those of [`Effects::on_servers`].
    fn systems<'a>(
        &'a self,
        asking: Asking<'a>,
        servers: Vec<ServerName>,
    ) -> BoxFuture<'a, Result<Vec<std::result::Result<System, String>>>>;

    /// Begins a package of the build whose upload fires the hook that the plugin runs in; `claim` is that of the job.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::check_package`].
    fn add_package<'a>(
        &'a self,
        caller: &'a Caller,
        claim: &'a Claim,
        new: NewPackage,
        file_type: FileType,
    ) -> BoxFuture<'a, Result<Box<dyn PackageWriter>>>;

    /// At most `length` bytes of a package, from `offset` on; fewer where it ends.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::build_package`].
    fn read_package<'a>(
        &'a self,
        caller: &'a Caller,
        application: AppName,
        build: BuildName,
        package: PackageName,
        offset: u64,
        length: u32,
    ) -> BoxFuture<'a, Result<Bytes>>;
}

/// A package on its way into a build. Nothing is left of it if this is dropped before its end.
pub trait PackageWriter: Send {
    /// Takes what comes next.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`] or [`crate::datasvc::Error::Internal`] if it cannot be stored.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>>;

    /// Checks the package as an upload is checked, and adds it to its build. With a digest, 64 hexadecimal digits, it
    /// has to be that file.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Invalid`] for another digest, and for what is not an archive of its type or not sound;
    /// those of [`crate::datasvc::DataSvc::add_package`].
    fn finish(self: Box<Self>, sha256: Option<String>) -> BoxFuture<'static, Result<PackageFile>>;
}
