//! The heartbeat: says that this server lives, learns what it still holds and what is to stop, and takes over from
//! servers that have died.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::Inner;
use crate::datasvc::{Claim, HandedOn, JobId, LeaseKeeper, Outage, Result, TIME_TO_LIVE};

/// How often it beats.
const INTERVAL: Duration = Duration::from_secs(2);
/// How soon it beats again when it failed.
const RETRY: Duration = Duration::from_millis(500);
/// A pause between two beats after which this server knows nothing of the others any more.
const TOO_LONG: Duration = Duration::from_secs(5);
/// After how many beats the rows of long dead workers are removed.
const TIDY: u64 = 300;

/// What is known from one beat to the next.
pub(super) struct Heart {
    keeper: LeaseKeeper,
    /// Since when it beats without a pause.
    steady_since: Option<Instant>,
    last: Instant,
    beats: u64,
    /// What the database says is held and nothing here knows of, and since when: of a claim whose answer is on its
    /// way, or was lost.
    strays: HashMap<(JobId, i64), Instant>,
}

impl Heart {
    pub(super) fn new(keeper: LeaseKeeper) -> Self {
        Self { keeper, steady_since: None, last: Instant::now(), beats: 0, strays: HashMap::new() }
    }
}

/// Beats until this is dropped.
pub(super) async fn keep_alive(engine: Arc<Inner>, mut heart: Heart) {
    let mut outage = Outage::default();
    loop {
        let pause = match heart.beat(&engine).await {
            Ok(()) => {
                outage.is_over("the heartbeat works again");
                INTERVAL
            }
            Err(problem) => {
                heart.steady_since = None;
                outage.goes_on("the heartbeat fails, and the jobs here wait for it", &problem);
                RETRY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = engine.signals.cancelled() => {}
        }
    }
}

impl Heart {
    async fn beat(&mut self, engine: &Inner) -> Result<()> {
        // Taken before the database is asked: what is claimed in between is not among them.
        let before = engine.held.fences();
        let sent = Instant::now();
        let others = engine.svc.beat(engine.worker, engine.settings.host, engine.settings.runs_jobs).await?;
        engine.signals.others.store(others > 0, Ordering::Relaxed);
        let held = engine.svc.held_jobs(engine.worker).await?;
        for job in engine.held.settle(&before, &held) {
            warn!(job.id = %job, "a run is dropped: its job was given away while this server gave no sign of life");
        }
        // Only now: what was given away must not go on.
        self.keeper.confirm(sent);

        let here = engine.held.fences();
        let unheld = held.iter().filter(|held| !here.contains_key(&held.job_id) && !before.contains_key(&held.job_id));
        let unheld = unheld.map(|held| (held.job_id, held.fence));
        self.settle_strays(engine, unheld).await?;
        self.take_over(engine, sent).await?;
        self.beats += 1;
        if self.beats.is_multiple_of(TIDY) {
            engine.svc.forget_dead_workers().await?;
        }
        Ok(())
    }

    async fn settle_strays(&mut self, engine: &Inner, unheld: impl Iterator<Item = (JobId, i64)>) -> Result<()> {
        let now = Instant::now();
        self.strays = unheld.map(|claim| (claim, self.strays.get(&claim).copied().unwrap_or(now))).collect();
        let is_lost = |since: &Instant| now.duration_since(*since) >= Claim::ASTRAY;
        let lost: Vec<_> = self.strays.iter().filter(|(_, since)| is_lost(since)).map(|(claim, _)| *claim).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let (begun, unbegun): (Vec<_>, Vec<_>) = lost.into_iter().partition(|claim| engine.held.is_begun(claim));
        for (claims, begun, why) in [
            (unbegun, false, "the server never learned that it had claimed the job"),
            (begun, true, "the server could not record how the run ended"),
        ] {
            let left = engine.svc.hand_back_strays(engine.worker, &claims, begun, why).await?;
            if left != HandedOn::default() {
                warn!("claims went astray ({why}): {} are queued again, {} are lost", left.queued, left.lost);
            }
            claims.iter().for_each(|(job, fence)| engine.held.ended(*job, *fence));
        }
        engine.signals.tell_queued();
        Ok(())
    }

    /// Only once this server and the database have known each other for as long as claims last: after an outage the
    /// others must have had the time to say that they live.
    async fn take_over(&mut self, engine: &Inner, sent: Instant) -> Result<()> {
        if sent.duration_since(self.last) > TOO_LONG {
            self.steady_since = None;
        }
        self.last = sent;
        if self.steady_since.get_or_insert(sent).elapsed() < TIME_TO_LIVE || sent.elapsed() > INTERVAL {
            return Ok(());
        }
        let taken = engine.svc.take_over(engine.worker).await?;
        if taken.queued + taken.lost > 0 {
            info!("took over from a dead server: {} jobs are queued again, {} are lost", taken.queued, taken.lost);
            engine.signals.tell_queued();
        }
        Ok(())
    }
}
