//! The heartbeat: says that this server is alive, learns what it still holds and what is to stop, and takes over from
//! servers that have died.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::Inner;
use super::held::Fences;
use super::peers::Peers;
use crate::datasvc::{Claim, Error, HandedOn, HeldClaim, JobId, LeaseKeeper, Result, TIME_TO_LIVE};
use crate::errors::Outage;

/// How often it beats.
const INTERVAL: Duration = Duration::from_secs(2);
/// How soon it beats again when it failed.
const RETRY: Duration = Duration::from_millis(500);
/// A pause between two beats after which this server knows nothing of the others any more.
const TOO_LONG: Duration = Duration::from_secs(5);
/// After how many beats the rows of long dead workers are removed.
const TIDY: u64 = 300;
/// For how long those have been silent.
const LONG_DEAD: Duration = Duration::from_secs(3600);
/// After how many beats it is looked for jobs whose workers have left no row.
const LOOK_FOR_FORGOTTEN: u64 = 30;

/// What is known from one beat to the next.
pub(super) struct Heart {
    keeper: LeaseKeeper,
    peers: Peers,
    /// Since when it beats without a pause, and how often it has looked for the dead since then.
    steady: Option<(Instant, u64)>,
    last: Instant,
    beats: u64,
    /// What the database says is held and nothing here knows of, and since when: of a claim whose answer is on its
    /// way, or was lost.
    strays: HashMap<(JobId, i64), Instant>,
}

impl Heart {
    pub(super) fn new(keeper: LeaseKeeper) -> Self {
        let now = Instant::now();
        let (peers, strays) = (Peers::default(), HashMap::new());
        Self { keeper, peers, steady: None, last: now, beats: 0, strays }
    }
}

/// Beats until this is dropped, or until another server has taken the place of this one: says so then.
pub(super) async fn keep_alive(engine: Arc<Inner>, mut heart: Heart, outcast: oneshot::Sender<Error>) {
    let mut outage = Outage::default();
    loop {
        let pause = match heart.beat(&engine).await {
            Ok(true) => {
                outage.is_over("the heartbeat works again");
                INTERVAL
            }
            Ok(false) => {
                heart.keeper.doubt();
                // Whoever runs this server waits for it.
                let _ = outcast.send(Error::conflict(
                    "while this server gave no sign of life, another one has made its own storage that of the database; \
                     stop one of them, and give all servers the same --storage-url, with --storage-shared",
                ));
                return;
            }
            Err(problem) => {
                heart.keeper.doubt();
                heart.look_away();
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
    /// Whether this server still belongs to the others.
    async fn beat(&mut self, engine: &Inner) -> Result<bool> {
        // Taken before the database is asked: what is claimed in between is not among them.
        let before = engine.held.fences();
        let sent = Instant::now();
        let pulse = engine.svc.beat(engine.worker, engine.settings.host, engine.settings.runs_jobs).await?;
        if !pulse.storage_is_bound {
            return Ok(false);
        }
        let held = engine.svc.held_jobs(engine.worker).await?;
        for job in engine.held.settle(&before, &held) {
            warn!(job.id = %job, "a run is dropped: its job was given away while this server gave no sign of life");
        }
        // Only now: what was given away must not go on.
        self.keeper.confirm(sent);

        self.look_for_strays(engine, &before, &held).await?;
        self.take_over(engine, sent).await?;
        self.beats += 1;
        if self.beats.is_multiple_of(TIDY) {
            engine.svc.forget_silent(&self.peers.silent(LONG_DEAD, Instant::now())).await?;
        }
        Ok(true)
    }

    async fn look_for_strays(&mut self, engine: &Inner, before: &Fences, held: &[HeldClaim]) -> Result<()> {
        let here = engine.held.fences();
        let unheld = held.iter().filter(|held| !here.contains_key(&held.job_id) && !before.contains_key(&held.job_id));
        let unheld = unheld.map(|held| (held.job_id, held.fence));
        self.settle_strays(engine, unheld).await
    }

    /// What was seen of the others before says nothing: they may have been unable to say that they live.
    fn look_away(&mut self) {
        self.steady = None;
        self.peers.look_away();
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
            self.look_away();
        }
        self.last = sent;
        let peers = engine.svc.peers(engine.worker).await?;
        let now = Instant::now();
        self.peers.look(&peers, now);
        engine.signals.others.store(self.peers.any(now), Ordering::Relaxed);
        let (steady_since, looks) = self.steady.get_or_insert((sent, 0));
        if steady_since.elapsed() < TIME_TO_LIVE || sent.elapsed() > INTERVAL {
            return Ok(());
        }
        let mut silent = self.peers.silent(TIME_TO_LIVE, now);
        if looks.is_multiple_of(LOOK_FOR_FORGOTTEN) {
            silent.extend(engine.svc.forgotten_holders().await?);
        }
        *looks += 1;
        let taken = engine.svc.take_over(engine.worker, &silent).await?;
        if taken.queued + taken.lost > 0 {
            info!("took over from a dead server: {} jobs are queued again, {} are lost", taken.queued, taken.lost);
            engine.signals.tell_queued();
        }
        Ok(())
    }
}
