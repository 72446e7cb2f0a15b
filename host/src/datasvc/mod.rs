//! Every rule and every query, once, for both doors.
//!
//! Knows neither HTTP nor wasm: REST handlers and host functions parse, call and convert. Each noun has a file
//! with its types and its `impl DataSvc`. What a door may call takes the [`Caller`] and asks it first; what only
//! the job engine and the plugin loader call takes the claim or the host it acts for.

mod applications;
mod attributes;
mod audit;
mod builds;
mod caller;
mod census;
mod connections;
mod error;
mod file_url;
mod git_providers;
mod git_repos;
mod git_uri;
mod gitdeploys;
mod groups;
mod ids;
mod intake;
mod job_log;
mod job_trace;
mod jobs;
mod keypairs;
mod lease;
mod logins;
mod package_maps;
mod page;
mod passwords;
mod patch;
mod permissions;
mod plugin_access;
mod plugins;
mod pointer;
mod pool;
mod queue;
mod recorder;
mod referrers;
mod retention;
mod revision;
mod secrets;
mod servers;
mod sql;
mod storage;
mod tokens;
mod uploads;
mod users;
mod wakes;

pub use applications::{Application, Change as ApplicationChange};
pub use attributes::Attributes;
pub use audit::{AuditEntry, AuditFilter, AuditedDocument};
pub use builds::{Build, Change as BuildChange, Files as BuildFiles, KeptPackage, KeptPackages, PackageFile, Packages};
pub use caller::{Caller, Grants, Interface, Permission};
pub use census::{Census, CensusEntry};
pub use error::{Error, Kind, Result};
pub use file_url::FileUrl;
pub use git_providers::{
    BaseUrl, Change as GitProviderChange, GitProvider, GitProviderAuth, GitProviderType, NewGitProvider, PasswordAuth,
    TokenAuth,
};
pub use git_repos::{Change as GitRepoChange, GitRepo, NewGitRepo};
pub use git_uri::GitUri;
pub use gitdeploys::{
    Change as GitdeployChange, Favor, Gitdeploy, GitdeployActions, GitdeployLocation, GitdeployOptions,
    InitializedServer, NewGitdeploy,
};
pub use groups::{Change as GroupChange, Group, GroupGitdeploys, NewGroup};
pub use ids::{
    ActionName, AppName, BuildName, Digest, EnvironmentName, GitProviderName, GitRepoName, GitdeployName, GroupName,
    HostId, JobId, KeypairName, PackageMapName, PackageName, PluginName, ServerName, TokenId, UserName, WorkerId,
};
pub use intake::Taker;
pub use job_log::{
    JobEntries, JobEntry, JobLog, LogLimits, MAX_ENTRIES_PAGE, MAX_ENTRIES_PAGE_BYTES, MAX_ENTRY_BYTES, SOURCE_HOST,
};
pub use job_trace::{JobTrace, TraceEvent, TraceLine};
pub use jobs::{Enqueued, Job, JobError, JobFilter, JobPlugin, JobStatus, JobType, Json, NewActionJob, Parent};
pub use keypairs::{Change as KeypairChange, Keypair, NewKeys};
pub use lease::{Lease, LeaseKeeper};
pub use package_maps::{Change as PackageMapChange, MASTER, PackageMap, PackageRule, PackageRules};
pub use page::{Listed, Page};
pub use patch::Patch;
pub use permissions::Permissions;
pub use plugin_access::{InterfaceAccess, PluginAccess};
pub use plugins::{
    ActivePlugin, FedPlugin, Plugin, PluginAction, PluginHooks, PluginState, RegisteredAction, RegisteredParameter,
    Registration,
};
pub use pointer::{escaped, pointer};
pub use pool::SchemaError;
pub use queue::{ActionWork, Claim, HandedOn, Held, Outcome, Room, RunningLane, Served, TIME_TO_LIVE, Work};
pub use recorder::Changed;
pub use revision::{Expected, Revision};
pub use secrets::{SecretKeyError, SecretKeys};
pub use servers::{
    Change as ServerChange, Connection, Driver, Environments, LocalConnection, NewServer, SaltConnection, Server,
    SshConnection,
};
pub use storage::Files;
pub use tokens::{NewToken, Token, holds_token};
pub use uploads::{FileType, StoredBuild, Upload, UploadSource};
pub use users::{Change as UserChange, EffectivePermissions, User};
pub use wakes::{Wake, Wakes};

use sqlx::PgPool;

/// The data services over one Postgres. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DataSvc {
    pool: PgPool,
    /// The same pool, for what is asked all the time.
    reads: connections::Connections,
    /// For what keeps jobs going, which must not wait behind requests.
    engine: connections::Connections,
    passwords: std::sync::Arc<passwords::PasswordHasher>,
    secrets: Option<std::sync::Arc<secrets::SecretKeys>>,
    intake: intake::Intake,
    recorder: recorder::Recorder,
}
