//! Keeps the server running: when it ends and nobody has asked it to, it is started again.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::cluster::Cluster;
use super::error::Error;
use super::postmaster::Postmaster;

/// The pause before a restart. It doubles with each that comes soon after another.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A server that ran this long was in order.
const STEADY: Duration = Duration::from_secs(60);

/// Looks after a server until asked to stop it, or until nobody can ask any more.
pub(super) async fn supervise(cluster: Cluster, first: Postmaster, mut stop: oneshot::Receiver<()>) {
    let mut postmaster = first;
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let reason = tokio::select! {
            _ = &mut stop => break,
            reason = life(&mut postmaster, &cluster) => reason,
        };
        warn!("Postgres is down and will be started again: {reason}");
        if started.elapsed() > STEADY {
            pause = FIRST_PAUSE;
        }
        postmaster = tokio::select! {
            _ = &mut stop => return cluster.runtime_dir.remove(),
            next = restart(&cluster, &mut pause) => next,
        };
    }
    postmaster.stop().await;
    cluster.runtime_dir.remove();
}

/// Sees a server through its life, and returns what ended it.
async fn life(postmaster: &mut Postmaster, cluster: &Cluster) -> String {
    if let Err(error) = postmaster.ready(cluster).await {
        return with_source(&error);
    }
    info!(
        "Postgres {} runs as user `{}` on {}, its log is {}",
        cluster.major(),
        cluster.account().name,
        cluster.dir().display(),
        cluster.log().display(),
    );
    format!("it ended ({})", postmaster.ended().await)
}

/// Tries until there is a server, at growing intervals.
async fn restart(cluster: &Cluster, pause: &mut Duration) -> Postmaster {
    loop {
        sleep(*pause).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        match Postmaster::spawn(cluster).await {
            Ok(postmaster) => return postmaster,
            Err(error) => error!("Postgres cannot be started: {}", with_source(&error)),
        }
    }
}

fn with_source(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
