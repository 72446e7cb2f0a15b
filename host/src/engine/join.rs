//! How a server joins the others on its database: with the files that they have, and not as a copy of one of them.

use std::time::{Duration, Instant};

use super::Inner;
use super::peers::Peers;
use crate::datasvc::{Error, Peer, Result, StoreIdentity, TIME_TO_LIVE};

/// How often the others are looked at until it is known which of them live.
const LOOK: Duration = Duration::from_millis(500);
/// For how long an earlier run of this host is silent before it counts as one that is over: more than two of its beats.
const TWIN_SILENCE: Duration = Duration::from_secs(5);

/// Returns once this server may work. What earlier runs of its host have left is for it to settle then.
///
/// # Errors
/// [`Error::Conflict`] saying why it may not.
pub(super) async fn be_let_in(engine: &Inner, store: StoreIdentity) -> Result<()> {
    let host = engine.settings.host;
    let mut watch = Peers::default();
    loop {
        // For whoever joins at the same time.
        engine.svc.beat(engine.worker, host, engine.settings.runs_jobs).await?;
        let peers = engine.svc.peers(engine.worker).await?;
        let now = Instant::now();
        watch.look(&peers, now);
        let over = watch.silent(TWIN_SILENCE, now);
        let mut undecided = false;
        for twin in peers.iter().filter(|peer| may_be_twin(engine, peer)) {
            if watch.beats(twin.worker) {
                return Err(copied());
            }
            undecided |= !over.contains(&(twin.worker, twin.beat));
        }
        let silent = watch.silent(TIME_TO_LIVE, now);
        let all_known = peers.iter().all(|peer| watch.beats(peer.worker) || silent.contains(&(peer.worker, peer.beat)));
        match engine.svc.bind_storage(host, store, &silent).await {
            Ok(()) if !undecided => return Ok(()),
            Ok(()) => {}
            // The owner of the storage may turn out to be dead.
            Err(Error::Conflict { .. }) if !all_known => {}
            Err(problem) => return Err(problem),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether it may be a copy of this host. One in the very same place is an earlier run: the directory's lock is ours.
fn may_be_twin(engine: &Inner, peer: &Peer) -> bool {
    let Peer { host, place, .. } = peer;
    *host == engine.settings.host && (place.is_empty() || *place != engine.settings.place)
}

fn copied() -> Error {
    Error::conflict(
        "another server with the id of this host works on this database: this data directory, or the whole machine, is \
         a copy of its; stop that server, or give this one a data directory of its own",
    )
}
