//! Which of the other servers are alive. A server writes a heartbeat every two seconds. If its row does not change for
//! as long as claims last, by this server's own monotonic clock, it is dead. The clocks of the database and of other
//! machines are not used for this: each of them may be wrong, and may be corrected.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use crate::datasvc::{Peer, Silent, TIME_TO_LIVE, WorkerId};

/// What was seen of the others, from one look to the next.
#[derive(Default)]
pub(super) struct Peers {
    seen: HashMap<WorkerId, Seen>,
}

struct Seen {
    beat: OffsetDateTime,
    since: Instant,
    /// Whether it has changed.
    beats: bool,
}

impl Peers {
    /// Notes how they stand now.
    pub(super) fn look(&mut self, peers: &[Peer], now: Instant) {
        self.seen.retain(|worker, _| peers.iter().any(|peer| peer.worker == *worker));
        for Peer { worker, beat, .. } in peers {
            let seen = self.seen.entry(*worker).or_insert(Seen { beat: *beat, since: now, beats: false });
            if seen.beat != *beat {
                *seen = Seen { beat: *beat, since: now, beats: true };
            }
        }
    }

    /// For a while it could not be seen how they stand.
    pub(super) fn look_away(&mut self) {
        self.seen.clear();
    }

    /// Whether any of them may live.
    pub(super) fn any(&self, now: Instant) -> bool {
        self.seen.values().any(|seen| now.duration_since(seen.since) < TIME_TO_LIVE)
    }

    /// Whether it is known to live.
    pub(super) fn beats(&self, worker: WorkerId) -> bool {
        self.seen.get(&worker).is_some_and(|seen| seen.beats)
    }

    /// Those that have been silent for so long.
    pub(super) fn silent(&self, time: Duration, now: Instant) -> Vec<Silent> {
        let silent = self.seen.iter().filter(|(_, seen)| now.duration_since(seen.since) >= time);
        silent.map(|(worker, seen)| (*worker, seen.beat)).collect()
    }
}

#[cfg(test)]
mod tests;
