//! Turns rows into runs.
//!
//! Knows the data services and plugins, and nothing of HTTP. `action` makes jobs of requests; `worker` claims jobs,
//! as many as `slots` has room for, and `run` brings each to its end; `beat` says that this server lives, and takes
//! over from those that don't; `wakes` tells other servers what happens here; `follow` is for clients that watch a
//! job; `upload` takes in the files of builds, for which `turns` are taken; `retention` removes what is old, and
//! `sweep` files that are nobody's.

mod action;
mod beat;
mod follow;
mod held;
mod packages;
mod retention;
mod run;
mod slots;
mod sweep;
mod turns;
mod upload;
mod wakes;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use self::follow::Follow;
use self::held::HeldJobs;
use self::slots::{SlotLimits, Slots};
use self::turns::Turns;
use self::wakes::Signals;
use crate::datasvc::{
    Caller, DataSvc, HostId, Job, JobId, JobStatus, JobType, Lease, LogLimits, Plugin, PluginAccess, Result, WorkerId,
};
use crate::outbound::Outbound;
use crate::plugin::Plugins;
use crate::storage::Storage;

pub use crate::storage::Pace;

pub use self::follow::{Follower, News};
pub use self::packages::StoredPackage;
pub use self::retention::Retention;
pub use self::upload::{IncomingUpload, SealedUpload, UploadError, UploadLimits, UploadRequest};
pub use self::worker::Worker;

/// How long to wait before the database is asked again, when it was away.
const RETRY: Duration = Duration::from_millis(500);

/// The job engine, as the doors see it. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Engine>);

/// How jobs are handled on this server.
#[derive(Clone, Debug)]
pub struct JobSettings {
    /// This host.
    pub host: HostId,
    /// Whether it runs jobs, or leaves them to others.
    pub runs_jobs: bool,
    /// How many jobs may run at a time.
    pub runs: usize,
    /// How many of a plugin.
    pub runs_per_plugin: usize,
    /// How many of an action.
    pub runs_per_action: usize,
    /// What plugins may add to a job's log.
    pub log: LogLimits,
    /// How long running jobs may go on when the server is told to stop.
    pub drain: Duration,
    /// How long a job may go on when it is asked to stop.
    pub cancel_grace: Duration,
    /// What may be uploaded.
    pub uploads: UploadLimits,
    /// How long things are kept.
    pub retention: Retention,
    /// Whether servers wake each other.
    pub notify: bool,
}

struct Engine {
    svc: DataSvc,
    plugins: Plugins,
    storage: Storage,
    outbound: Outbound,
    settings: JobSettings,
    /// This run of this server.
    worker: WorkerId,
    slots: Slots,
    held: HeldJobs,
    lease: Lease,
    runs: TaskTracker,
    signals: Signals,
    follow: Follow,
    /// A permit is a file that is fetched.
    fetches: Arc<Semaphore>,
    /// For files that are fetched.
    fetch_turns: Turns,
    /// For archives that are worked on.
    archives: Turns,
    stop: watch::Receiver<bool>,
}

impl Jobs {
    /// The engine of this server, and what works for it once [`Worker::run`] is called. `stop` becomes true when
    /// the server is to stop.
    pub fn new(
        svc: DataSvc,
        plugins: Plugins,
        storage: Storage,
        outbound: Outbound,
        settings: JobSettings,
        stop: watch::Receiver<bool>,
    ) -> (Self, Worker) {
        let (keeper, lease) = Lease::new();
        let limits = SlotLimits {
            all: if settings.runs_jobs { settings.runs } else { 0 },
            own: settings.runs.div_ceil(2),
            own_per_application: settings.runs.div_ceil(4),
            per_plugin: settings.runs_per_plugin,
            per_action: settings.runs_per_action,
        };
        let jobs = Self(Arc::new(Engine {
            follow: Follow::new(svc.clone()),
            svc,
            plugins,
            storage,
            outbound,
            fetches: Arc::new(Semaphore::new(settings.uploads.at_a_time)),
            fetch_turns: Turns::new(settings.uploads.at_a_time),
            archives: Turns::new(settings.uploads.archives),
            worker: WorkerId::new(),
            slots: Slots::new(limits),
            held: HeldJobs::default(),
            lease,
            runs: TaskTracker::new(),
            signals: Signals::default(),
            settings,
            stop,
        }));
        (jobs.clone(), Worker::new(jobs, keeper))
    }

    /// What this plugin asks for, against what it may touch.
    pub fn plugin_access(&self, plugin: &Plugin) -> PluginAccess {
        self.0.plugins.access(plugin)
    }

    /// Asks for a job to stop, wherever it runs.
    ///
    /// # Errors
    /// Those of [`DataSvc::cancel_job`].
    pub async fn cancel(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let job = self.0.svc.cancel_job(caller, id).await?;
        self.0.signals.tell_cancelled();
        if let (JobType::Upload, JobStatus::Cancelled) = (job.job_type, job.status) {
            upload::forget(&self.0, id).await;
        }
        Ok(job)
    }
}
