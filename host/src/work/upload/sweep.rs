//! Removes orphaned files of builds: those of uploads whose server died, and of jobs and applications that were
//! removed. Also what is left of git repositories.

use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use crate::datasvc::JobId;
use crate::engine::jittered;
use crate::work::{Inner, Work};

/// How long after a server has started it looks first, and how long after it has looked again.
const FIRST: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(3600);
/// For how long files have to be without a change: no upload is in the middle of a pause as long as that.
const AGE: Duration = Duration::from_secs(24 * 3600);
/// How many uploads are asked for at a time.
const BATCH: usize = 500;

/// Removes orphaned files again and again, until the server stops.
pub async fn sweep(work: Work, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = sweep_on(&work.0) => {}
    }
}

async fn sweep_on(work: &Inner) {
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(jittered(pause)).await;
        // By every clock that is known, for one that is wrong must not make an upload old that is under way; and old is
        // what was begun as long ago, whatever the store says of its files.
        let before = work.svc.settled_time() - AGE;
        if let Err(problem) = work.storage.remove_old_views(before.into()).await {
            warn!("what runs were shown of the store could not be removed: {problem}");
        }
        match work.storage.old_build_folders(before.into()).await {
            Ok(old) => {
                let old = old.into_iter().map(JobId::from);
                let old: Vec<_> = old.filter(|upload| upload.made_at().is_none_or(|began| began < before)).collect();
                for some in old.chunks(BATCH) {
                    work.remove_unused_files(some).await;
                }
            }
            Err(problem) => warn!("orphaned files could not be looked for: {problem}"),
        }
        crate::work::git::sweep::sweep(work, before).await;
        if let Err(problem) = work.svc.remove_old_handovers().await {
            warn!("what servers do not fetch any more could not be removed: {problem}");
        }
        pause = INTERVAL;
    }
}
