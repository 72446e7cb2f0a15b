//! For clients that watch a job: waits until there is something new to read. They read rows; this module only says
//! when to read, so that a slow reader blocks nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Engine;
use super::worker::jittered;
use crate::datasvc::{DataSvc, JobId};

/// How often the database is asked what has changed, in case nobody said so, give or take a half.
const POLL: Duration = Duration::from_secs(1);

/// The jobs that are watched here. Cheap to clone.
#[derive(Clone)]
pub(super) struct Follow {
    svc: DataSvc,
    followed: Arc<Mutex<HashMap<JobId, Followed>>>,
}

struct Followed {
    /// Counts the changes.
    changes: watch::Sender<u64>,
    followers: usize,
    /// What the database said the last time: the last entry's number, and whether the job has ended.
    seen: Option<(i64, bool)>,
}

/// Watches one job.
pub struct Follower {
    follow: Follow,
    job_id: JobId,
    changes: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
}

/// What a follower waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum News {
    /// There may be something new to read.
    Perhaps,
    /// The server stops. Whoever asks another one misses nothing.
    Stopping,
}

impl Engine {
    /// Becomes true when the server stops.
    pub fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stop.clone()
    }

    /// Watches a job from now on.
    pub fn follow(&self, job_id: JobId) -> Follower {
        let follow = self.0.follow.clone();
        let changes = {
            let mut followed = follow.lock();
            let followed = followed.entry(job_id).or_insert_with(|| Followed {
                changes: watch::channel(0).0,
                followers: 0,
                seen: None,
            });
            followed.followers += 1;
            followed.changes.subscribe()
        };
        Follower { follow, job_id, changes, stop: self.0.stop.clone() }
    }
}

impl Follower {
    /// Whether the server stops. What it does to its jobs then is for other servers to tell.
    pub fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until there may be something that was not there at the last call, or when this was made.
    pub async fn news(&mut self) -> News {
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => News::Stopping,
            _ = self.changes.changed() => News::Perhaps,
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut all = self.follow.lock();
        if let Some(followed) = all.get_mut(&self.job_id) {
            followed.followers -= 1;
            if followed.followers == 0 {
                all.remove(&self.job_id);
            }
        }
    }
}

impl Follow {
    pub(super) fn new(svc: DataSvc) -> Self {
        Self { svc, followed: Arc::default() }
    }

    /// These jobs have changed.
    pub(super) fn changed(&self, jobs: &[JobId]) {
        let followed = self.lock();
        for followed in jobs.iter().filter_map(|job| followed.get(job)) {
            followed.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Any job may have changed.
    pub(super) fn anything_changed(&self) {
        for followed in self.lock().values() {
            followed.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// Looks for changes that nobody told of, until this is dropped: one query, however many are watched.
    pub(super) async fn keep_looking(self) {
        loop {
            tokio::time::sleep(jittered(POLL)).await;
            let jobs: Vec<JobId> = self.lock().keys().copied().collect();
            if jobs.is_empty() {
                continue;
            }
            match self.svc.job_positions(&jobs).await {
                Ok(positions) => {
                    let mut all = self.lock();
                    for (job, position) in positions {
                        let Some(followed) = all.get_mut(&job) else { continue };
                        if followed.seen.replace(position) != Some(position) {
                            followed.changes.send_modify(|changes| *changes += 1);
                        }
                    }
                }
                // They are told by their own reading.
                Err(_) => self.anything_changed(),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
