//! A job, as it is asked for and as it is shown. Nothing here touches the database.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::claim::Claim;
use super::error::JobError;
use super::intake::Taker;
use super::progress::JobProgress;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{ActionName, AppName, Digest, HostId, JobId, PluginName, hex};
use crate::datasvc::ground::words::stored_words;

/// A JSON text, kept as it came: with its order, its repeats and its numbers. It goes to the database as text, because
/// sqlx would send it as `jsonb`, which keeps none of them.
pub type Json = Box<RawValue>;

/// The kind of work of jobs that run an action of a plugin.
pub const ACTION: &str = "action";
/// The kind of work of jobs that process the file that was uploaded for a build.
pub const UPLOAD: &str = "upload";

/// What kind of work a job is, such as `action` or `upload`. What a kind does is known to the engine, not here.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, sqlx::Type, utoipa::ToSchema)]
#[serde(transparent)]
#[sqlx(transparent)]
#[schema(example = "action")]
pub struct JobType(String);

impl JobType {
    /// The kind of this name.
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// As in the documents.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for JobType {
    fn from(name: String) -> Self {
        Self(name)
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, serde::Deserialize, sqlx::Encode, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum JobStatus {
    /// It waits for a worker.
    Queued,
    /// A worker runs it.
    Running,
    /// It ended with a result.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// Someone stopped it.
    Cancelled,
    /// Its host died while it ran, and it may not be run again.
    Lost,
    /// What only a newer server knows.
    #[serde(skip_deserializing)]
    Unknown,
}

stored_words!(JobStatus);

impl JobStatus {
    /// As in the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing more will come of it.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Unknown => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Lost => true,
        }
    }
}

/// Which plugin a job runs.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobPlugin {
    /// Its name.
    pub name: PluginName,
    /// The digest of the component that the job was made with, even if another one is active now.
    #[schema(example = "sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865")]
    pub digest: String,
}

impl JobPlugin {
    /// As it is stored, whether the digest is one or not.
    pub(super) fn from_row(plugin: Option<PluginName>, digest: Option<Vec<u8>>) -> Option<Self> {
        Some(Self { name: plugin?, digest: format!("sha256:{}", hex(&digest?)) })
    }
}

/// A job.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Job {
    /// Its id.
    pub job_id: JobId,
    /// What runs, such as the action's name.
    pub name: String,
    /// The kind of work: `action`, `upload`, `gitrepo`, `gitdeploy`, `deployment`, `server` (a command, or a check of
    /// servers), `prune` (builds are removed), or one that a newer server knows.
    #[schema(value_type = String, example = "action")]
    pub job_type: JobType,
    /// Where it stands.
    pub status: JobStatus,
    /// The application it belongs to. Null: the installation.
    pub application: Option<AppName>,
    /// Who asked for it.
    pub username: Option<String>,
    /// The job that has started it.
    pub parent: Option<JobId>,
    /// The job that it runs again.
    pub rerun_of: Option<JobId>,
    /// What was asked; not in lists, unless they are to have details.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    pub data: Option<Json>,
    /// How often it was started.
    pub attempt: i32,
    /// Whether it may be run again when its host dies.
    pub idempotent: bool,
    /// The wall-clock limit of a run, in seconds.
    pub timeout_seconds: i64,
    /// What it runs.
    pub plugin: Option<JobPlugin>,
    /// The host that runs it, or ran it last.
    pub host: Option<HostId>,
    /// How far it is, if its log says so.
    pub progress: Option<JobProgress>,
    /// The number of its log's last entry; 0: the log is empty.
    pub last_seq: i64,
    /// What it returned: any JSON, once it has succeeded. Not in lists, unless they are to have details.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    pub result: Option<Option<Json>>,
    /// Why it ended otherwise.
    pub error: Option<JobError>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// When its last attempt began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub completed_at: Option<OffsetDateTime>,
    /// When someone asked for it to stop.
    #[serde(with = "time::serde::rfc3339::option")]
    pub cancel_requested_at: Option<OffsetDateTime>,
    /// From its start to its end, or to now.
    pub duration_in_seconds: Option<f64>,
}

/// A job for an action, as it is asked for.
#[derive(Clone, Debug)]
pub struct NewActionJob {
    /// The application it was called for.
    pub application: AppName,
    /// Its name.
    pub action: ActionName,
    /// The plugin that registered it.
    pub plugin: PluginName,
    /// The component to run.
    pub digest: Digest,
    /// Whether it may be run again when its host dies.
    pub idempotent: bool,
    /// The wall-clock limit of a run.
    pub timeout: Duration,
    /// What was asked, for the job's document and for the run.
    pub data: Json,
    /// The client's key and what its request was.
    pub idempotency: Option<(String, Digest)>,
    /// Who takes it at once. Without one it waits in the queue.
    pub taker: Option<Taker>,
    /// The job that asks for it, if it is one.
    pub parent: Option<Parent>,
    /// The job that it runs again.
    pub rerun_of: Option<JobId>,
}

/// A job that has started another one.
#[derive(Clone, Copy, Debug)]
pub struct Parent {
    /// The job.
    pub job_id: JobId,
    /// The job that all this began with, which a user asked for.
    pub root: JobId,
    /// How many jobs are above it.
    pub depth: i32,
    /// How many jobs may come of the root.
    pub descendants: u32,
}

impl Parent {
    /// How many jobs may be above another one.
    const MAX_DEPTH: i32 = 8;

    /// Whether it may start another job.
    ///
    /// # Errors
    /// [`Error::TooMany`] if too many are above it.
    pub fn check(&self) -> Result<()> {
        if self.depth < Self::MAX_DEPTH {
            return Ok(());
        }
        Err(Error::TooMany { what: "jobs started by one another", limit: Self::MAX_DEPTH.unsigned_abs() })
    }
}

/// The answer to asking for a job.
#[derive(Clone, Debug)]
pub struct Enqueued {
    /// Its id.
    pub job_id: JobId,
    /// Where it stood: queued if it is new, even where its taker has begun with it.
    pub status: JobStatus,
    /// What its taker holds of it, if it has one and the job is new.
    pub claim: Option<Claim>,
}
