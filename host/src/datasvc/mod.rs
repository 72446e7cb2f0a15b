//! Every rule and every query, once, for both doors.
//!
//! Knows neither HTTP nor wasm: REST handlers and host functions parse, call and convert. Each noun has a file
//! with its types and its `impl DataSvc`. What a door may call takes the [`Caller`] and asks it first; what only
//! the job engine and the plugin loader call takes the claim or the host it acts for.

mod applications;
mod attributes;
mod builds;
mod caller;
mod connections;
mod error;
mod ids;
mod intake;
mod job_log;
mod jobs;
mod lease;
mod page;
mod patch;
mod permissions;
mod plugins;
mod pool;
mod queue;
mod recorder;
mod retention;
mod revision;
mod sql;
mod storage;
mod tokens;
mod users;
mod wakes;

pub use applications::Application;
pub use attributes::Attributes;
pub use builds::{Build, PackageFile};
pub use caller::{Caller, Permission};
pub use error::{Error, Kind, Result};
pub use ids::{
    ActionName, AppName, BuildName, Digest, EnvironmentName, GitProviderName, GitRepoName, GitdeployName, GroupName, HostId, JobId, PackageMapName, PackageName, PluginName, ServerName, TokenId, UserName, WorkerId,
};
pub use intake::Taker;
pub use job_log::{
    JobEntries, JobEntry, JobLog, LogLimits, MAX_ENTRIES_PAGE, MAX_ENTRIES_PAGE_BYTES, MAX_ENTRY_BYTES, SOURCE_HOST,
};
pub use jobs::{Enqueued, Job, JobError, JobFilter, JobPlugin, JobStatus, JobType, Json, NewActionJob};
pub use lease::{Lease, LeaseKeeper};
pub use page::{Listed, Page};
pub use patch::Patch;
pub use permissions::Permissions;
pub use plugins::{
    ActivePlugin, FedPlugin, Plugin, PluginAction, PluginHooks, PluginState, RegisteredAction, RegisteredParameter,
    Registration,
};
pub use pool::SchemaError;
pub use queue::{Claim, HandedOn, Held, Outcome, Room, RunningAction, Served, TIME_TO_LIVE};
pub use recorder::Changed;
pub use revision::{Expected, Revision};
pub use storage::Files;
pub use tokens::{NewToken, Token};
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
    passwords: std::sync::Arc<users::PasswordHasher>,
    intake: intake::Intake,
    recorder: recorder::Recorder,
}
