//! Claims jobs, runs them, records how they ended, and keeps the leases of those that run.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{Instrument as _, error, info, info_span, warn};

use super::{Jobs, action};
use crate::datasvc::{Claim, Error, HostId, JobError, JobId, Outcome, WorkerId};

/// How often the queue is looked at when nobody wakes the worker, give or take a half.
const POLL: Duration = Duration::from_secs(1);
/// How often leases are renewed.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long to wait before the database is asked again, when it was away.
const RETRY: Duration = Duration::from_millis(500);

/// How much of a failure's message goes to the server's log.
const MAX_LOGGED_CHARS: usize = 300;

/// Runs jobs on this server, as many at a time as plugins may run.
pub struct Worker {
    jobs: Jobs,
    id: WorkerId,
    slots: usize,
    drain: Duration,
    held: Arc<Held>,
}

/// The jobs that run here.
#[derive(Default)]
struct Held(Mutex<HashMap<JobId, Holding>>);

struct Holding {
    fence: i64,
    cancel_requested: Arc<AtomicBool>,
    task: AbortHandle,
}

impl Worker {
    /// Enters itself as a worker of this host, and settles what earlier runs of the host left behind. When the
    /// server stops, jobs have `drain` to end by themselves.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn start(jobs: Jobs, host: HostId, drain: Duration) -> Result<Self, Error> {
        let id = WorkerId::new();
        jobs.svc.register_worker(id, host).await?;
        let (queued, lost) = jobs.svc.recover_jobs(host, id).await?;
        if queued + lost > 0 {
            warn!("an earlier run of this server left jobs behind: {queued} are queued again, {lost} are lost");
        }
        let slots = jobs.plugins.limits().runs as usize;
        Ok(Self { jobs, id, slots, drain, held: Arc::default() })
    }

    /// Works until the server stops, then lets what runs end for a bounded time and hands the rest back.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let heartbeat = tokio::spawn(keep_leases(self.jobs.clone(), self.id, self.held.clone()));
        let mut running = JoinSet::new();
        while !*stop.borrow() {
            self.claim(&mut running).await;
            let full = running.len() >= self.slots;
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                _ = running.join_next(), if !running.is_empty() => {}
                () = self.jobs.wake.notified(), if !full => {}
                () = tokio::time::sleep(jittered(POLL)), if !full => {}
            }
        }
        self.drain(running).await;
        heartbeat.abort();
    }

    /// Fills the free slots.
    async fn claim(&self, running: &mut JoinSet<()>) {
        while running.try_join_next().is_some() {}
        let free = self.slots.saturating_sub(running.len());
        if free == 0 {
            return;
        }
        let claims = match self.jobs.svc.claim_jobs(self.id, free).await {
            Ok(claims) => claims,
            Err(problem) => {
                warn!("no jobs could be claimed: {problem}");
                tokio::time::sleep(RETRY).await;
                return;
            }
        };
        for claim in claims {
            self.spawn(claim, running);
        }
    }

    fn spawn(&self, claim: Claim, running: &mut JoinSet<()>) {
        let (job_id, fence) = (claim.job_id, claim.fence);
        let span = info_span!("job", job.id = %job_id, plugin.name = %claim.plugin, op = "actions.run");
        let cancel_requested = Arc::new(AtomicBool::new(false));
        let (jobs, held, flag) = (self.jobs.clone(), self.held.clone(), cancel_requested.clone());
        let work = async move {
            run_to_end(&jobs, &claim, flag).await;
            held.remove(job_id, fence);
        };
        // Entered before it can end, so that what is held is never more than what runs.
        let mut holding = self.held.lock();
        let task = running.spawn_on(work.instrument(span), self.jobs.plugins.guest_threads());
        holding.insert(job_id, Holding { fence, cancel_requested, task });
    }

    async fn drain(&self, mut running: JoinSet<()>) {
        let all_ended = async { while running.join_next().await.is_some() {} };
        if tokio::time::timeout(self.drain, all_ended).await.is_err() {
            running.shutdown().await;
        }
        let settled = async {
            let (queued, lost) =
                self.jobs.svc.hand_back(self.id, "the server was stopped while the job was running").await?;
            if queued + lost > 0 {
                warn!("jobs did not end in time: {queued} are queued again, {lost} are lost");
            }
            self.jobs.svc.remove_worker(self.id).await
        };
        if let Err(problem) = settled.await {
            error!("the jobs of this server could not be handed back, and will be at its next start: {problem}");
        }
    }
}

impl Held {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Holding>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, job_id: JobId, fence: i64) {
        let mut held = self.lock();
        if held.get(&job_id).is_some_and(|holding| holding.fence == fence) {
            held.remove(&job_id);
        }
    }
}

/// Runs one job and records how it ended, however long the database is away meanwhile.
async fn run_to_end(jobs: &Jobs, claim: &Claim, cancel_requested: Arc<AtomicBool>) {
    let mut outcome = action::run(&jobs.plugins, claim, jobs.svc.job_log(claim), cancel_requested).await;
    if let Outcome::Failed(failure) = &outcome {
        let message: String = failure.message.chars().take(MAX_LOGGED_CHARS).collect();
        info!("action `{}` failed with {}: {message:?}", claim.action, failure.code);
    }
    let mut replaced = false;
    loop {
        match jobs.svc.finish_job(claim, &outcome).await {
            Ok(()) => return,
            Err(Error::Unavailable(cause)) => {
                warn!("the end of a job could not be recorded yet: {cause}");
                tokio::time::sleep(RETRY).await;
            }
            Err(Error::Conflict { reason }) => return warn!("a run has ended, and nothing was recorded: {reason}"),
            Err(problem) if replaced => return error!("the end of a job could not be recorded at all: {problem:?}"),
            Err(problem) => {
                error!("the end of a job could not be recorded as it was: {problem:?}");
                (outcome, replaced) = (unrecordable(), true);
            }
        }
    }
}

/// What is recorded of an end that could not be, so that the job does not run for ever.
fn unrecordable() -> Outcome {
    let message = "the run ended, and how it ended could not be recorded; the server's log says why";
    Outcome::Failed(JobError { code: "internal".into(), message: message.into(), details: None, trace: None })
}

/// Renews the leases of what runs, passes on requests to stop, and drops what was taken away.
async fn keep_leases(jobs: Jobs, worker: WorkerId, held: Arc<Held>) {
    // Leases that nobody held the last time: of a claim whose answer is on its way, or was lost.
    let mut strays = HashSet::new();
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        // Taken before the leases are read: what is claimed in between is not among them.
        let before: HashMap<JobId, i64> = held.lock().iter().map(|(job, holding)| (*job, holding.fence)).collect();
        let leases = match jobs.svc.renew_leases(worker).await {
            Ok(leases) => leases,
            Err(problem) => {
                warn!("the leases of the running jobs could not be renewed: {problem}");
                continue;
            }
        };
        let leased: HashMap<JobId, (i64, bool)> =
            leases.into_iter().map(|lease| (lease.job_id, (lease.fence, lease.cancel_requested))).collect();
        for (job_id, holding) in held.lock().iter().filter(|(job, holding)| before.get(job) == Some(&holding.fence)) {
            match leased.get(job_id) {
                Some((fence, cancel)) if *fence == holding.fence => {
                    holding.cancel_requested.store(*cancel, Ordering::Relaxed);
                }
                _ => holding.task.abort(),
            }
        }
        let unheld: HashSet<JobId> = {
            let held = held.lock();
            leased.keys().filter(|job| !held.contains_key(job) && !before.contains_key(job)).copied().collect()
        };
        let lost: Vec<JobId> = strays.intersection(&unheld).copied().collect();
        if !lost.is_empty() {
            let why = "the server never learned that it had claimed the job";
            match jobs.svc.hand_back_some(worker, Some(&lost), why).await {
                Ok((queued, lost)) => warn!("claims went astray: {queued} are queued again, {lost} are lost"),
                Err(problem) => warn!("claims that went astray could not be handed back yet: {problem}"),
            }
        }
        strays = unheld;
    }
}

/// Between half of it and one and a half, so that servers do not ask all at once.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.5 + rand::random::<f64>())
}
