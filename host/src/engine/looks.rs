//! How the queue is looked at.
//!
//! A full look finds the head of every lane. It passes over all that has left the queue and cannot be tidied up yet,
//! because a transaction somewhere, of a backup for instance, may still see it: after a while that is most of the work. So
//! where full looks turn out to cost much, they have a share of the time only, and in between this server looks at the
//! lanes it knows, each from where it was.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::slots::Lane;
use crate::datasvc::{Claim, JobId, KnownLane};

/// What a full look may cost to be the only kind.
const CHEAP: Duration = Duration::from_millis(8);
/// How many full looks in a row have to cost more, because a busy machine makes any of them slow now and then.
const IN_A_ROW: u32 = 8;
/// How many times what the other kind costs.
const AS_CHEAP: u32 = 3;
/// A pause between two full looks, in times of what one costs, and at most.
const PAUSES: u32 = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// For how long a lane is known in which there was nothing.
const KNOWN: Duration = Duration::from_secs(60);
/// How many are.
const MAX_KNOWN: usize = 1000;

/// What is known of the queue from one look to the next.
#[derive(Default)]
pub(super) struct Looks(Mutex<State>);

#[derive(Default)]
struct State {
    lanes: HashMap<Lane, Known>,
    /// When the last full look ended, and what it cost.
    full: Option<(Instant, Duration)>,
    /// How many full looks in a row were not cheap.
    dear: u32,
    /// What the last one at known lanes cost.
    quick: Option<Duration>,
}

struct Known {
    /// What it had up to here is taken.
    after: JobId,
    used: Instant,
}

impl Looks {
    /// This server has queued a job.
    pub(super) fn queued(&self, lane: Lane) {
        let mut state = self.lock();
        if state.lanes.len() < MAX_KNOWN {
            let now = Instant::now();
            state.lanes.entry(lane).or_insert(Known { after: JobId::nil(), used: now }).used = now;
        }
    }

    /// The lanes to look at now. None: all.
    pub(super) fn next(&self) -> Option<Vec<KnownLane>> {
        let mut state = self.lock();
        if state.pause(Instant::now()).is_zero() {
            return None;
        }
        state.lanes.retain(|_, known| known.used.elapsed() < KNOWN);
        let known = state.lanes.iter().map(|(lane, known)| KnownLane {
            plugin: lane.plugin.clone(),
            application: lane.application.clone(),
            name: lane.name.clone(),
            after: known.after,
        });
        Some(known.collect())
    }

    /// A look, at these lanes or at all, has found this.
    pub(super) fn found(&self, lanes: Option<&[KnownLane]>, claims: &[Claim], took: Duration) {
        let (mut state, now) = (self.lock(), Instant::now());
        match lanes {
            None => {
                state.full = Some((now, took));
                state.dear = if took < CHEAP { 0 } else { state.dear.saturating_add(1) };
            }
            Some(_) => state.quick = Some(took),
        }
        let mut last: HashMap<Lane, JobId> = HashMap::new();
        for claim in claims {
            let last = last.entry(Lane::of(claim)).or_insert(claim.job_id);
            *last = claim.job_id.max(*last);
        }
        for (lane, last) in last {
            match state.lanes.get(&lane) {
                None if state.lanes.len() >= MAX_KNOWN => continue,
                // A full look finds those that came back, or out of their order: the next look goes on from there.
                Some(known) if lanes.is_some() && known.after > last => continue,
                Some(_) | None => state.lanes.insert(lane, Known { after: last, used: now }),
            };
        }
    }

    /// When to look again, if nothing happens before: after this time, or sooner if a full look is due then.
    pub(super) fn until_next(&self, poll: Duration) -> Duration {
        let pause = self.lock().pause(Instant::now());
        if pause.is_zero() { poll } else { poll.min(pause) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pause(&self, now: Instant) -> Duration {
        let Some((ended, took)) = self.full else { return Duration::ZERO };
        if self.dear < IN_A_ROW || self.quick.is_some_and(|quick| took < quick * AS_CHEAP) {
            return Duration::ZERO;
        }
        (took * PAUSES).min(LONGEST_PAUSE).saturating_sub(now.duration_since(ended))
    }
}
