//! Runs jobs, of every kind.
//!
//! Knows the data services and no kind of work: those are registered, each as a [`Kind`]. `worker` claims jobs, as many
//! as `slots` has capacity for, and `run` brings each to its end; `steps` is the journal that lets another server
//! continue the work of a dead one. `join` adds a server to the others; `beat` sends its heartbeat, and takes over jobs
//! of dead servers, which `peers` detects; `wakes` tells other servers what happens here; `follow` is for
//! clients that watch a job, and `waiting` tells them what a queued one waits for; `retention` removes what is old.

mod beat;
mod follow;
mod held;
mod join;
mod kind;
mod peers;
mod retention;
mod run;
mod slots;
mod steps;
mod waiting;
mod wakes;
mod worker;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use self::follow::Follow;
use self::held::HeldJobs;
use self::kind::AnyKind;
use self::slots::{Lane, SlotLimits, Slots};
use self::wakes::Signals;
use crate::datasvc::{
    Caller, CancelFilter, CancelledJobs, Claim, DataSvc, Digest, Enqueued, Error, HostId, Job, JobId, JobLane,
    JobStatus, JobType, Lease, LogLimits, NewActionJob, Permission, Result, Taker, WorkerId,
};

pub use self::follow::{Follower, News};
pub use self::kind::Kind;
pub use self::retention::Retention;
pub use self::run::{Cancel, Run};
pub use self::slots::Lent;
pub use self::steps::{Journal, Seen, StepResult};
pub use self::waiting::{WaitReason, WaitsFor};
pub use self::worker::{Worker, jittered};

/// How long to wait before the database is asked again, when it was away.
const RETRY: Duration = Duration::from_millis(500);

/// How many jobs of the installation may be under way for each that may run: most of them have lent their slot and wait
/// for servers, some of them for a day.
const INSTALLATION_JOBS: usize = 8;

/// The job engine, as the rest of the server sees it. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

/// How jobs are handled on this server.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// This host.
    pub host: HostId,
    /// Where it is while its machine is up; empty if that cannot be told.
    pub place: String,
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
    /// How long things are kept.
    pub retention: Retention,
    /// Whether servers wake each other.
    pub notify: bool,
}

struct Inner {
    svc: DataSvc,
    settings: EngineSettings,
    /// Kinds of work hold the engine themselves: they are let go of with the worker.
    kinds: RwLock<Kinds>,
    /// This run of this server.
    worker: WorkerId,
    slots: Slots,
    held: HeldJobs,
    lease: Lease,
    runs: TaskTracker,
    signals: Signals,
    follow: Follow,
    stop: watch::Receiver<bool>,
}

/// The kinds of work by the `job_type` of their jobs.
#[derive(Clone, Default)]
pub struct Kinds(BTreeMap<&'static str, Arc<dyn AnyKind>>);

impl Kinds {
    /// With this one more.
    #[must_use]
    pub fn with<K: Kind>(mut self, kind: K) -> Self {
        self.0.insert(K::NAME, Arc::new(kind));
        self
    }
}

impl Engine {
    /// The engine of this server, and what works for it once [`Worker::run`] is called. `stop` becomes true when
    /// the server is to stop.
    pub fn new(svc: DataSvc, settings: EngineSettings, stop: watch::Receiver<bool>) -> (Self, Worker) {
        let (keeper, lease) = Lease::new();
        let limits = SlotLimits {
            all: if settings.runs_jobs { settings.runs } else { 0 },
            own: settings.runs.div_ceil(2),
            own_per_application: settings.runs.div_ceil(4),
            own_of_installation: settings.runs * INSTALLATION_JOBS,
            per_plugin: settings.runs_per_plugin,
            per_action: settings.runs_per_action,
        };
        let engine = Self(Arc::new(Inner {
            follow: Follow::new(svc.clone()),
            svc,
            kinds: RwLock::default(),
            worker: WorkerId::new(),
            slots: Slots::new(limits),
            held: HeldJobs::default(),
            lease,
            runs: TaskTracker::new(),
            signals: Signals::default(),
            settings,
            stop,
        }));
        (engine.clone(), Worker::new(engine, keeper))
    }

    /// Says which kinds of work there are, before the first job is asked for.
    pub fn register(&self, kinds: Kinds) {
        *self.0.kinds.write().unwrap_or_else(PoisonError::into_inner) = kinds;
    }

    /// Makes a job of an action durable. It runs at once where there is room here and nothing waits before it; `ready`
    /// says whether its component can.
    ///
    /// # Errors
    /// Those of [`DataSvc::enqueue_action`].
    pub async fn submit(&self, caller: &Caller, job: NewActionJob, ready: bool) -> Result<Enqueued> {
        let engine = self.0.clone();
        let (plugin, application) = (Some(job.plugin.clone()), Some(job.application.clone()));
        let lane = Lane { plugin, application, name: job.action.to_string() };
        let slot = engine.lease.holds().then(|| engine.slots.take(lane)).flatten();
        let taker = slot.is_some().then(|| Taker { worker: engine.worker, starts: ready });
        let (caller, job) = (caller.clone(), NewActionJob { taker, ..job });
        self.detached(async move {
            let mut enqueued = engine.svc.enqueue_action(&caller, job).await?;
            match (enqueued.claim.take(), slot) {
                (Some(claim), Some(slot)) => engine.start(claim, slot),
                _ => engine.signals.tell_queued(),
            }
            Ok(enqueued)
        })
        .await
    }

    /// Does something in a task of its own: a client that hangs up must leave nothing half done. The server waits for
    /// it when it stops.
    ///
    /// # Errors
    /// [`Error::Internal`] if it panics, and its own.
    pub async fn detached<T, E>(&self, work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        self.0.runs.spawn(work).await.map_err(Error::internal)?
    }

    /// This run of this server, by which it holds its jobs.
    pub fn worker(&self) -> WorkerId {
        self.0.worker
    }

    /// Runs a job that was made for this server, at once. It is for another one that runs here and waits for it: the
    /// slot of that one serves for both, so that neither waits for the other one's.
    pub fn start_within(&self, claim: Claim) {
        let slot = self.0.slots.share(Lane::of(&claim));
        self.0.start(claim, slot);
    }

    /// Asks for a job to stop that runs here, for the one that it was made for. Nothing happens if it has ended.
    pub fn stop_within(&self, job: JobId) {
        self.0.held.ask_to_stop(job);
    }

    /// There are new jobs in the queue, for any server with free capacity.
    pub fn tell_queued(&self) {
        self.0.signals.tell_queued();
    }

    /// Jobs were asked to stop, which may run anywhere.
    pub fn tell_cancelled(&self) {
        self.0.signals.tell_cancelled();
    }

    /// Asks for a job to stop, wherever it runs.
    ///
    /// # Errors
    /// Those of [`DataSvc::cancel_job`].
    pub async fn cancel(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let engine = &self.0;
        let job = engine.svc.cancel_job(caller, id, |lane| engine.may_cancel(caller, lane)).await?;
        engine.signals.tell_cancelled();
        if let (JobStatus::Cancelled, Some(kind)) = (job.status, engine.kind(&job.job_type)) {
            kind.forget(id).await;
        }
        Ok(job)
    }

    /// Asks all jobs to stop that match, wherever they run.
    ///
    /// # Errors
    /// Those of [`DataSvc::cancel_jobs`].
    pub async fn cancel_matching(&self, caller: &Caller, filter: &CancelFilter) -> Result<CancelledJobs> {
        let engine = &self.0;
        let stopped = engine.svc.cancel_jobs(caller, filter, |lane| engine.may_cancel(caller, lane)).await?;
        engine.signals.tell_cancelled();
        for (job, job_type) in &stopped.ended {
            if let Some(kind) = engine.kind(job_type) {
                kind.forget(*job).await;
            }
        }
        Ok(stopped)
    }
}

impl Inner {
    fn kind(&self, job_type: &JobType) -> Option<Arc<dyn AnyKind>> {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner).0.get(job_type.as_str()).cloned()
    }

    fn kind_names(&self) -> Vec<String> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.0.keys().map(|name| (*name).to_owned()).collect()
    }

    /// The components whose guests can start at once.
    fn ready(&self) -> Vec<Digest> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner).clone();
        kinds.0.values().flat_map(|kind| kind.ready()).collect()
    }

    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()> {
        match self.kind(&lane.job_type) {
            _ if caller.may_globally(Permission::Write) => Ok(()),
            Some(kind) => kind.may_cancel(caller, lane),
            None => caller.require_global(Permission::Write),
        }
    }
}
