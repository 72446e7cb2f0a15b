//! A claim on a job, and what a worker has room for. Nothing here touches the database.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::error::JobError;
use super::job::{JobType, Json};
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{AppName, Digest, JobId, PluginName};

/// A job that a worker holds, until it ends it or loses it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The job.
    pub job_id: JobId,
    /// This claim's number; every write carries it.
    pub fence: i64,
    /// When the database was asked for it. A claim that took too long to arrive is not to be used: see
    /// [`Claim::is_timely`].
    pub asked_at: Instant,
    /// How often the job was started, with this time.
    pub attempt: i32,
    /// Whether the guest's start is on record. If it is not, [`DataSvc::start_job`] has to come before it.
    pub started: bool,
    /// The job that all began with: this one, unless another one started it.
    pub root: JobId,
    /// How many jobs are above it, each of which started the next one.
    pub depth: i32,
    /// How many entries its log has.
    pub entries: i64,
    /// How many of them are the plugin's.
    pub plugin_entries: i64,
    /// What these have in bytes.
    pub plugin_bytes: i64,
    /// The application it belongs to. `None`: the installation.
    pub application: Option<AppName>,
    /// What it is called.
    pub name: String,
    /// What kind of work it is.
    pub job_type: JobType,
    /// The component to run. Null of the host's own work.
    pub plugin: Option<ClaimedPlugin>,
    /// What of the job's row cannot be read. Such a job cannot be run.
    pub unreadable: Option<&'static str>,
    /// Who asked.
    pub username: Option<String>,
    /// What was asked.
    pub data: Json,
    /// The wall-clock limit of this run.
    pub timeout: Duration,
}

/// Which plugin a claimed job runs.
#[derive(Clone, Debug)]
pub struct ClaimedPlugin {
    /// Its name.
    pub name: PluginName,
    /// The very component, whatever is active by now.
    pub digest: Digest,
}

impl Claim {
    /// For how long after it was asked for a claim may be used. A statement is given up before that.
    const TIMELY: Duration = Duration::from_secs(10);
    /// After how long a claim that nobody uses is handed back.
    pub const ASTRAY: Duration = Duration::from_secs(12);

    /// The application it belongs to, for what belongs to one always.
    ///
    /// # Errors
    /// [`Error::Internal`] if it is a job of the installation.
    pub fn application(&self) -> Result<&AppName> {
        let missing = || Error::internal(format!("job `{}` belongs to no application", self.job_id));
        self.application.as_ref().ok_or_else(missing)
    }

    /// Whether it may be used. Otherwise it may have been handed back as astray.
    pub fn is_timely(&self) -> bool {
        self.asked_at.elapsed() < Self::TIMELY
    }
}

/// Which jobs a worker can take. `claim.sql` reads it by the names of its members.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Room {
    /// How many at most.
    pub jobs: usize,
    /// How many of the host's own jobs may run here.
    pub own: usize,
    /// How many of those may be one application's.
    pub own_per_application: usize,
    /// The same of the installation.
    pub own_of_installation: usize,
    /// How many of those each application has, also where they wait for something else. `None`: the installation.
    pub own_running: Vec<(Option<AppName>, i32)>,
    /// How many of a plugin may run here.
    pub per_plugin: usize,
    /// How many of an action may run here.
    pub per_action: usize,
    /// The applications that have had jobs here lately.
    pub applications: Vec<Served>,
    /// What runs here of each action.
    pub running: Vec<RunningLane>,
    /// The components whose guests can start at once.
    #[serde(skip)]
    pub ready: Vec<Digest>,
    /// The kinds of work that this server knows. Null: all.
    pub kinds: Option<Vec<String>>,
}

/// What an application has had of a worker.
#[derive(Clone, Debug, Serialize)]
pub struct Served {
    /// Its name. `None`: the installation.
    pub application: Option<AppName>,
    /// How many of its jobs run.
    pub running: i32,
    /// When its last one was claimed: grows with every claim.
    pub last: i64,
}

/// How much of an action, or of the host's own jobs of a name, runs on a worker.
#[derive(Clone, Debug, Serialize)]
pub struct RunningLane {
    /// The plugin that runs. `None`: the host does the work itself.
    pub plugin: Option<PluginName>,
    /// The application it was called for. `None`: the installation.
    pub application: Option<AppName>,
    /// Its name, or that of the host's own job.
    pub name: String,
    /// How many of it run.
    pub count: i32,
}

/// A claim as the database knows it.
#[derive(Clone, Debug)]
pub struct HeldClaim {
    /// The job.
    pub job_id: JobId,
    /// The claim's number.
    pub fence: i64,
    /// Whether someone asked for the job to stop, and which user. `Some(None)`: a plugin did.
    pub cancel_requested: Option<Option<String>>,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// With a result.
    Succeeded(Json),
    /// With an error.
    Failed(JobError),
    /// Because someone asked for it.
    Cancelled(JobError),
}

/// What became of jobs that were taken from a worker.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HandedOn {
    /// They wait for another run.
    pub queued: u64,
    /// They may have been half done, and are not run again.
    pub lost: u64,
}

impl std::ops::AddAssign for HandedOn {
    fn add_assign(&mut self, more: Self) {
        self.queued += more.queued;
        self.lost += more.lost;
    }
}
