//! Removes files of builds that are nobody's: of uploads that broke off with their server, of jobs and applications that
//! are gone.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Engine;
use super::worker::jittered;
use crate::datasvc::{JobId, Result};

/// How long after a server has started it looks first, and how long after it has looked again.
const FIRST: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(3600);
/// For how long files have to be without a change: no upload is in the middle of a pause as long as that.
const AGE: Duration = Duration::from_secs(24 * 3600);
/// How many uploads are asked for at a time.
const BATCH: usize = 500;

/// Removes files that are nobody's again and again, until this is dropped.
pub(super) async fn sweep(engine: Arc<Engine>) {
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(jittered(pause)).await;
        // By every clock that is known, for one that is wrong must not make an upload old that is under way; and old is
        // what was begun as long ago, whatever the store says of its files.
        let before = engine.svc.settled_time() - AGE;
        match engine.storage.old_build_folders(before.into()).await {
            Ok(old) => {
                let old = old.into_iter().map(JobId::from);
                let old: Vec<_> = old.filter(|upload| upload.made_at().is_none_or(|began| began < before)).collect();
                for some in old.chunks(BATCH) {
                    if let Err(problem) = remove_orphans(&engine, some).await {
                        warn!("it could not be told which files are nobody's: {problem}");
                        break;
                    }
                }
            }
            Err(problem) => warn!("files that are nobody's could not be looked for: {problem}"),
        }
        pause = INTERVAL;
    }
}

async fn remove_orphans(engine: &Engine, old: &[JobId]) -> Result<()> {
    for upload in engine.svc.orphaned_uploads(old).await? {
        match engine.storage.remove_build_files(upload.into()).await {
            Ok(()) => info!(job.id = %upload, "files of an upload were removed, which no build has"),
            Err(problem) => warn!(job.id = %upload, "files that are nobody's stay: {problem}"),
        }
    }
    Ok(())
}
