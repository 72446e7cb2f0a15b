//! What the server does: a file or folder for each kind of work, and for each noun whose operations reach beyond
//! Postgres. REST and plugins both use these, so that each is written once.
//!
//! A kind of work is a [`Kind`](crate::engine::Kind); [`Work::kinds`] lists them. `docs/adding-a-kind-of-work.md` says
//! how to add one.

mod actions;
mod archives;
mod builds;
mod checks;
mod commands;
mod deployments;
mod effects;
mod git;
mod gitdeploys;
mod hooks;
mod new_package;
mod packages;
mod prune;
mod push;
mod remote;
mod turns;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

use self::archives::Archives;
use self::hooks::Hooks;
use self::turns::Turns;
use crate::datasvc::{Caller, DataSvc, GitHome, Permission, Plugin, PluginAccess};
use crate::engine::{Engine, Kinds};
use crate::git::Git;
use crate::outbound::Outbound;
use crate::plugin::{Plugins, Sandbox};
use crate::remote::Remote;
use crate::storage::Storage;

pub use self::checks::check_servers;
pub use self::commands::{CommandRequest, StoredHandovers, StoredKeys};
pub use self::deployments::DeploymentTask;
pub use self::git::{
    Addresses, CommitsAsked, Compared, GitReader, ServeError, ServedPart, ServedRepository, adopt_repositories,
    joined_authorities,
};
pub use self::gitdeploys::ServersTask;
pub use self::packages::StoredPackage;
pub use self::prune::apply_rules;
pub use self::upload::{FinishedUpload, IncomingUpload, UploadError, UploadLimits, UploadRequest, sweep};
pub use crate::remote::{Program, Shell};
pub use crate::storage::Pace;

/// The operations that reach beyond Postgres. Cheap to clone.
#[derive(Clone)]
pub struct Work(Arc<Inner>);

struct Inner {
    svc: DataSvc,
    engine: Engine,
    plugins: Plugins,
    storage: Storage,
    outbound: Outbound,
    remote: Remote,
    uploads: UploadLimits,
    /// A permit is a file that is fetched.
    fetches: Arc<Semaphore>,
    /// For files that are fetched.
    fetch_turns: Turns,
    archives: Archives,
    git: Git,
    git_home: GitHome,
    addresses: Addresses,
    upstreams: git::upstream::Upstreams,
    /// For git clients.
    git_places: git::Places,
    /// What plugins do on servers now.
    asked_by_plugins: remote::AskedByPlugins,
    /// For commands on servers, by whom they are for.
    command_turns: Turns<String>,
    /// A permit is a server that is sent a file.
    pushes: Semaphore,
}

/// What the operations work with.
pub struct Parts {
    /// The data services.
    pub svc: DataSvc,
    /// Runs the jobs.
    pub engine: Engine,
    /// The plugins that are loaded.
    pub plugins: Plugins,
    /// The files of builds.
    pub storage: Storage,
    /// Requests to servers outside.
    pub outbound: Outbound,
    /// Commands on servers.
    pub remote: Remote,
    /// How many of them run at a time.
    pub commands_at_a_time: usize,
    /// What may be uploaded.
    pub uploads: UploadLimits,
    /// Where this host has its git repositories.
    pub git_home: GitHome,
    /// A file of the certificate authorities that git trusts, if not those of the machine.
    pub git_authorities: Option<PathBuf>,
    /// Where servers reach this one.
    pub addresses: Addresses,
}

impl Work {
    /// The operations over these parts.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            svc,
            engine,
            plugins,
            storage,
            outbound,
            remote,
            commands_at_a_time,
            uploads,
            git_home,
            git_authorities,
            addresses,
        } = parts;
        Self(Arc::new(Inner {
            svc,
            engine,
            plugins,
            storage,
            outbound,
            remote,
            fetches: Arc::new(Semaphore::new(uploads.at_a_time)),
            fetch_turns: Turns::new(uploads.at_a_time),
            archives: Archives::new(uploads.archives, uploads.archive),
            uploads,
            git: Git::default(),
            upstreams: git::upstream::Upstreams::new(&git_home.directory, git_authorities),
            git_home,
            addresses,
            git_places: git::Places::default(),
            asked_by_plugins: remote::AskedByPlugins::default(),
            command_turns: Turns::new(commands_at_a_time),
            pushes: Semaphore::new(push::PUSHES_AT_A_TIME),
        }))
    }

    /// All kinds of work: a line each.
    pub fn kinds(&self, sandbox: &Sandbox) -> Kinds {
        let hooks = Hooks::new(sandbox.clone(), self.0.storage.clone());
        Kinds::default()
            .with(actions::Actions(sandbox.clone()))
            .with(upload::Uploads { work: self.clone(), hooks: hooks.clone() })
            .with(git::repos::GitRepos(self.clone()))
            .with(gitdeploys::Gitdeploys { work: self.clone(), hooks: hooks.clone() })
            .with(deployments::Deployments { work: self.clone(), hooks })
            .with(commands::Commands(self.clone()))
            .with(prune::Prunes(self.clone()))
    }

    /// What this plugin asks for, against what it may touch; for those who may read `_global`.
    pub fn plugin_access(&self, caller: &Caller, plugin: &Plugin) -> Option<PluginAccess> {
        caller.may_globally(Permission::Read).then(|| self.0.plugins.access(plugin))
    }
}
