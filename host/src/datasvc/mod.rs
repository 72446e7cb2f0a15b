//! Every rule and every query, once, for both REST and plugins.
//!
//! Knows neither HTTP nor wasm: REST handlers and host functions parse, call and convert. Each noun has a file
//! with its types and its `impl DataSvc`. Functions for REST and plugins take the [`Caller`] and check its
//! permissions first; functions for the job engine and the plugin loader take the claim or the host that they act for.
//!
//! The files are grouped: `documents` may name `jobs`, `access` and `ground`; `jobs` may name `access` and `ground`;
//! `access` may name `ground`, which names none of them.

mod access;
mod documents;
mod ground;
mod jobs;
mod pool;

pub use access::audit::{AuditEntry, AuditFilter, AuditedDocument};
pub use access::caller::{Caller, Grants, Interface, Permission};
pub use access::handovers::Taken;
pub use access::permissions::Permissions;
pub use access::receipt_keys::ReceiptKey;
pub use access::secrets::{SecretKeyError, SecretKeys};
pub use access::tokens::{NewToken, Token, TokenTerms, holds_token};
pub use access::users::{Change as UserChange, EffectivePermissions, User};
pub use documents::applications::{Application, Change as ApplicationChange};
pub use documents::builds::{
    Build, BuildFiles, BuildFilter, Change as BuildChange, FileLocation, KeptPackage, KeptPackages, PackageFile,
    Packages,
};
pub use documents::census::{Census, CensusBuild, CensusEntry};
pub use documents::commands::{CommandTarget, NewCommand, SERVER};
pub use documents::deployments::{
    Again, Batch, DEPLOYMENT, DeployedCommit, Deployment, DeploymentAsked, DeploymentFilter, DeploymentOptions,
    DeploymentPlan, DeploymentScope, DeploymentStatus, DeploymentWait, GivenOptions, NewDeployment, PlannedCommit,
    PlannedDeployment, Standing, Target, TargetOutcome, TargetState,
};
pub use documents::drift::{Drift, WorkingCopy, owner};
pub use documents::events::{ChangedDocument, ChangedPlugin, Event, EventKey, Events, visible_events};
pub use documents::file_url::FileUrl;
pub use documents::git_history::{ChangeStatus, Commit, FileChange};
pub use documents::git_providers::{
    BaseUrl, Change as GitProviderChange, GitProvider, GitProviderAuth, GitProviderType, NewGitProvider, PasswordAuth,
    TokenAuth,
};
pub use documents::git_reach::ProviderAccess;
pub use documents::git_repo_work::{GIT_REPO, GitHome, GitRepoLock, GitRepoPlace, GitRepoWork};
pub use documents::git_repos::{Change as GitRepoChange, GitRepo, GitRepoState, NewGitRepo};
pub use documents::git_uri::GitUri;
pub use documents::gitdeploy_work::{GITDEPLOY, GitdeployWork, ServersAsked, ServersFound};
pub use documents::gitdeploys::{
    Change as GitdeployChange, Favor, Gitdeploy, GitdeployActions, GitdeployLocation, GitdeployOptions,
    InitializedServer, NewGitdeploy, PullCommand, PullScript, PullShell, PullStates,
};
pub use documents::groups::{Change as GroupChange, Group, GroupGitdeploys, NewGroup};
pub use documents::keypairs::{Change as KeypairChange, Keypair, NewKeys};
pub use documents::package_maps::{Change as PackageMapChange, MASTER, PackageMap, PackageRule, PackageRules};
pub use documents::packages::NewPackage;
pub use documents::plugin_access::{InterfaceAccess, PluginAccess};
pub use documents::plugins::{
    ActivePlugin, FedPlugin, Plugin, PluginAction, PluginHooks, PluginState, RegisteredAction, RegisteredParameter,
    Registration,
};
pub use documents::receipts::{
    PulledOnServer, Receipt, ReceiptCommit, ReceiptDeployed, ReceiptFilter, ReceiptPackage, ReceiptUpload,
    SignedReceipt,
};
pub use documents::retention::{BuildRetention, JudgedBuild, Judging, PRUNE, Prune, PrunedBuild};
pub use documents::servers::{
    CHECK, Change as ServerChange, Connection, Driver, Environments, Health as ServerHealth, LocalConnection,
    NewServer, SaltConnection, Server, SshConnection, UnsealedKeypair,
};
pub use documents::shared_packages::FilesOfUpload;
pub use documents::storage::StoreIdentity;
pub use documents::uploads::{BuildAsStored, FileType, StoredBuild, UPLOAD, Upload, UploadSource};
pub use ground::attributes::Attributes;
pub use ground::error::{Error, Fault, Faults, Kind, Result};
pub use ground::ids::{
    ActionName, AppName, BuildName, Digest, EnvironmentName, GitProviderName, GitRepoName, GitdeployName, GroupName,
    HostId, JobId, KeypairName, PackageMapName, PackageName, PluginName, ServerName, TokenId, UserName, WorkerId,
};
pub use ground::numbers::check_integers;
pub use ground::outage::patiently;
pub use ground::page::{Listed, NamePattern, Order, Page, TimeOrder};
pub use ground::patch::Patch;
pub use ground::pointer::{escaped, pointer};
pub use ground::revision::{Expected, Revision};
pub use ground::seconds::Seconds;
pub use ground::wording::plainly;
pub use jobs::cancel::{CancelFilter, CancelledJobs, JobLane};
pub use jobs::claim::{Claim, ClaimedPlugin, HandedOn, HeldClaim, Outcome, Room, RunningLane, Served};
pub use jobs::error::{JobError, JobErrorCode};
pub use jobs::intake::Taker;
pub use jobs::job::{ACTION, Enqueued, Job, JobPlugin, JobStatus, JobType, Json, NewActionJob, Parent};
pub use jobs::lease::{Lease, LeaseKeeper};
pub use jobs::list::{JobCounts, JobFilter};
pub use jobs::log::{
    JobEntries, JobEntry, JobLog, LogLimits, LogPart, MAX_ENTRIES_PAGE, MAX_ENTRIES_PAGE_BYTES, MAX_ENTRY_BYTES,
    SOURCE_HOST,
};
pub use jobs::own::NewOwnJob;
pub use jobs::peers::{Peer, Pulse, Silent};
pub use jobs::progress::JobProgress;
pub use jobs::queue::TIME_TO_LIVE;
pub use jobs::recorder::Changed;
pub use jobs::standing::{JobStanding, LastRun};
pub use jobs::steps::{JobStep, JobSteps, RecordedStep, StepChange, StepKind, StepState};
pub use jobs::trace::{JobTrace, TraceEvent, TraceLine};
pub use jobs::wakes::{Wake, Wakes};
pub use pool::SchemaError;

use sqlx::PgPool;

/// The data services over one Postgres. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DataSvc {
    pool: PgPool,
    /// The same pool, for what is asked all the time.
    reads: ground::connections::Connections,
    /// For lists that look at much: they have a share of their own, and a deadline in the database.
    lists: ground::connections::Connections,
    /// For what keeps jobs going, which must not wait behind requests.
    engine: ground::connections::Connections,
    passwords: std::sync::Arc<access::passwords::PasswordHasher>,
    secrets: Option<std::sync::Arc<access::secrets::SecretKeys>>,
    /// What receipts are signed with.
    signer: Option<std::sync::Arc<access::receipt_keys::Signer>>,
    quotas: std::sync::Arc<access::quotas::Quotas>,
    /// The host that this server runs on.
    host: Option<HostId>,
    /// Where git may be sent to although it is not a public host.
    git_hosts: std::sync::Arc<[crate::outbound::Destination]>,
    /// Where repositories are made that are this server's own.
    git_home: Option<std::sync::Arc<documents::git_repo_work::GitHome>>,
    intake: jobs::intake::Intake,
    recorder: jobs::recorder::Recorder,
    heads: jobs::heads::Heads,
    clock: ground::clock::Clock,
    /// The storage that this server works with, and the host that has it for itself, once that is settled.
    bound: std::sync::Arc<std::sync::OnceLock<(uuid::Uuid, Option<HostId>)>>,
}
