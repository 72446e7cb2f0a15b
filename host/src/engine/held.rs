//! The jobs that run here.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::datasvc::{HeldClaim, JobId};

/// Someone asked for a job to stop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct CancelRequest {
    /// The user who did, if it was one.
    pub(super) by: Option<String>,
}

/// What is known of the jobs that run here. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct HeldJobs {
    held: Arc<Mutex<HashMap<JobId, Holding>>>,
    /// The claims whose guests were started and whose ends are not on record, whether they still run or not.
    begun: Arc<Mutex<HashSet<(JobId, i64)>>>,
}

struct Holding {
    fence: i64,
    /// Whether its end is on its way into the database, which then no longer counts it among what is held.
    ending: bool,
    cancel: watch::Sender<Option<CancelRequest>>,
    task: Option<AbortHandle>,
}

/// The entry of a job in [`HeldJobs`]; gone when this is dropped.
pub(super) struct HeldJob {
    all: HeldJobs,
    job_id: JobId,
    fence: i64,
}

/// What holds at one time, by job: the fencing numbers.
pub(super) type Fences = HashMap<JobId, i64>;

impl HeldJobs {
    /// Enters a job. The receiver is told when someone asks for it to stop.
    pub(super) fn enter(&self, job_id: JobId, fence: i64) -> (HeldJob, watch::Receiver<Option<CancelRequest>>) {
        let (cancel, cancelled) = watch::channel(None);
        self.lock().insert(job_id, Holding { fence, ending: false, cancel, task: None });
        (HeldJob { all: self.clone(), job_id, fence }, cancelled)
    }

    /// Says which task runs a job, unless that has ended already.
    pub(super) fn runs_in(&self, job_id: JobId, fence: i64, task: AbortHandle) {
        if let Some(holding) = self.lock().get_mut(&job_id).filter(|holding| holding.fence == fence) {
            holding.task = Some(task);
        }
    }

    /// The guest of a claim is about to start.
    pub(super) fn began(&self, job_id: JobId, fence: i64) {
        self.lock_begun().insert((job_id, fence));
    }

    /// The end of a claim is on its way.
    pub(super) fn ends(&self, job_id: JobId, fence: i64) {
        if let Some(holding) = self.lock().get_mut(&job_id).filter(|holding| holding.fence == fence) {
            holding.ending = true;
        }
    }

    /// The end of a claim is on record.
    pub(super) fn ended(&self, job_id: JobId, fence: i64) {
        self.lock_begun().remove(&(job_id, fence));
    }

    /// Whether the guest of a claim was started, and how it ended is not on record.
    pub(super) fn is_begun(&self, claim: &(JobId, i64)) -> bool {
        self.lock_begun().contains(claim)
    }

    /// What is held now.
    pub(super) fn fences(&self) -> Fences {
        self.lock().iter().map(|(job, holding)| (*job, holding.fence)).collect()
    }

    /// Passes on who asked for what to stop, and drops the runs of those of `before` that the database says are no
    /// longer held. Returns the jobs that were dropped.
    pub(super) fn settle(&self, before: &Fences, held: &[HeldClaim]) -> Vec<JobId> {
        let known: HashMap<JobId, &HeldClaim> = held.iter().map(|held| (held.job_id, held)).collect();
        let mut dropped = Vec::new();
        for (job, holding) in self.lock().iter().filter(|(job, holding)| before.get(job) == Some(&holding.fence)) {
            match known.get(job).filter(|held| held.fence == holding.fence) {
                Some(HeldClaim { cancel_requested: None, .. }) => {}
                Some(HeldClaim { cancel_requested: Some(by), .. }) => {
                    holding.cancel.send_if_modified(|request| {
                        let is_new = request.is_none();
                        *request = Some(CancelRequest { by: by.clone() });
                        is_new
                    });
                }
                None if holding.ending => {}
                None => {
                    self.ended(*job, holding.fence);
                    if let Some(task) = &holding.task {
                        task.abort();
                        dropped.push(*job);
                    }
                }
            }
        }
        dropped
    }

    /// Asks a job to stop that runs here, in the name of no user.
    pub(super) fn ask_to_stop(&self, job_id: JobId) {
        if let Some(holding) = self.lock().get(&job_id) {
            holding.cancel.send_if_modified(|request| {
                let is_new = request.is_none();
                request.get_or_insert(CancelRequest { by: None });
                is_new
            });
        }
    }

    /// Drops all runs.
    pub(super) fn drop_all(&self) {
        for holding in self.lock().values() {
            if let Some(task) = &holding.task {
                task.abort();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Holding>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_begun(&self) -> MutexGuard<'_, HashSet<(JobId, i64)>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldJob {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if all.get(&self.job_id).is_some_and(|holding| holding.fence == self.fence) {
            all.remove(&self.job_id);
        }
    }
}
