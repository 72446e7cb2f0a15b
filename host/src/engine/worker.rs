//! Takes jobs from the queue, as many as there is capacity for, until the server stops.

use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use super::beat::Heart;
use super::{Engine, Kinds, RETRY, beat, join, retention, wakes};
use crate::datasvc::{Error, LeaseKeeper, StoreIdentity};
use crate::errors::Outage;

/// How often the queue is looked at when nobody wakes the worker, give or take a half.
const POLL: Duration = Duration::from_secs(1);
/// How long to try to hand back what is left when the server stops.
const HAND_BACK: Duration = Duration::from_secs(5);

/// What this server does for jobs, whether it runs them or not.
pub struct Worker {
    engine: Engine,
    /// Null once it runs.
    keeper: Option<LeaseKeeper>,
}

impl Worker {
    pub(super) fn new(engine: Engine, keeper: LeaseKeeper) -> Self {
        Self { engine, keeper: Some(keeper) }
    }

    /// Joins the other hosts on this database, and settles what earlier runs of this one left behind.
    ///
    /// # Errors
    /// [`Error::Conflict`] if this host does not have the files that the others have, or is a copy of one that lives.
    pub async fn join(&self, store: StoreIdentity) -> Result<(), Error> {
        let engine = &self.engine.0;
        let host = engine.settings.host;
        // First, so that of two hosts which start at once one sees the other.
        engine.svc.enter(engine.worker, host, engine.settings.runs_jobs, &engine.settings.place).await?;
        if let Err(problem) = join::be_let_in(engine, store).await {
            engine.svc.remove_worker(engine.worker).await?;
            return Err(problem);
        }
        let left = engine.svc.recover_jobs(host, engine.worker).await?;
        if left.queued + left.lost > 0 {
            warn!(
                "an earlier run of this server left jobs behind: {} are queued again, {} are lost",
                left.queued, left.lost
            );
        }
        Ok(())
    }

    /// Works until the server stops, then lets what runs end for a bounded time and hands the rest back.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it has ended unasked, because another server has taken the place of this one.
    pub async fn run(mut self) -> Result<(), Error> {
        let jobs = self.engine.clone();
        let engine = jobs.0.clone();
        let Some(keeper) = self.keeper.take() else { return Ok(()) };
        let (outcast, told) = oneshot::channel();
        let background = [
            tokio::spawn(beat::keep_alive(engine.clone(), Heart::new(keeper), outcast)),
            tokio::spawn(wakes::tell(engine.clone())),
            tokio::spawn(wakes::listen(engine.clone())),
            tokio::spawn(engine.follow.clone().keep_looking()),
            tokio::spawn(retention::remove_old(engine.clone())),
        ];
        let ended = tokio::select! {
            () = jobs.work_until_stopped() => Ok(()),
            Ok(problem) = told => Err(problem),
        };
        // What runs on a server that has been replaced waits for a lease that does not come.
        jobs.drain(if ended.is_ok() { engine.settings.drain } else { Duration::ZERO }).await;
        // First, so that the heartbeat does not enter this server again.
        for task in background {
            task.abort();
        }
        jobs.hand_back().await;
        ended
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.engine.register(Kinds::default());
    }
}

impl Engine {
    async fn work_until_stopped(&self) {
        let mut stop = self.0.stop.clone();
        if self.0.settings.runs_jobs {
            self.work(stop).await;
        } else {
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }

    async fn work(&self, mut stop: watch::Receiver<bool>) {
        let engine = &self.0;
        let mut outage = Outage::default();
        while !*stop.borrow() {
            match self.claim().await {
                Ok(()) => outage.is_over("jobs are claimed again"),
                Err(problem) => {
                    outage.goes_on("no jobs can be claimed", &problem);
                    tokio::time::sleep(RETRY).await;
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => {}
                () = engine.slots.freed() => {}
                () = engine.signals.queued() => {}
                () = tokio::time::sleep(jittered(POLL)) => {}
            }
        }
    }

    /// Fills the free slots.
    async fn claim(&self) -> Result<(), Error> {
        let engine = &self.0;
        while engine.lease.holds() && !*engine.stop.borrow() {
            let Some(room) = engine.slots.room(engine.ready(), engine.kind_names()) else { return Ok(()) };
            let claims = match engine.svc.claim_jobs(engine.worker, &room).await {
                Ok(claims) => claims,
                Err(problem) => {
                    engine.slots.claimed(Vec::new());
                    return Err(problem);
                }
            };
            let slots = engine.slots.claimed(claims);
            if slots.is_empty() {
                return Ok(());
            }
            for (claim, slot) in slots {
                engine.start(claim, slot);
            }
        }
        Ok(())
    }

    async fn drain(&self, patience: Duration) {
        let engine = &self.0;
        engine.slots.close();
        engine.runs.close();
        let running = engine.held.fences().len();
        if running > 0 {
            info!("waiting up to {patience:?} for {running} jobs to end");
        }
        if tokio::time::timeout(patience, engine.runs.wait()).await.is_err() {
            engine.held.drop_all();
            engine.runs.wait().await;
        }
    }

    /// Leaves to others what did not end in time.
    async fn hand_back(&self) {
        let engine = &self.0;
        let settled = async {
            // What has ended is not to be handed back.
            engine.svc.recorded().await?;
            let left = engine.svc.hand_back(engine.worker, "the server was stopped while the job was running").await?;
            if left.queued + left.lost > 0 {
                warn!("jobs did not end in time: {} are queued again, {} are lost", left.queued, left.lost);
            }
            engine.svc.remove_worker(engine.worker).await
        };
        match tokio::time::timeout(HAND_BACK, settled).await {
            Ok(Ok(())) => engine.signals.tell_now(engine).await,
            Ok(Err(problem)) => {
                error!("the jobs of this server could not be handed back, others take them over: {problem}")
            }
            Err(_) => error!("the jobs of this server could not be handed back in time, others take them over"),
        }
    }
}

/// Between half of it and one and a half, so that servers do not ask all at once.
pub fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.5 + rand::random::<f64>())
}
