//! Removes what is kept no longer.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Engine;
use super::worker::jittered;

/// How often old jobs are looked for, at least and at most: as often as matters for the time they are kept.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// How long to leave the database alone between two batches.
const PAUSE: Duration = Duration::from_millis(100);

/// Removes old jobs again and again, until this is dropped.
pub(super) async fn remove_old(engine: Arc<Engine>) {
    let Some(age) = engine.settings.retention else { return };
    let interval = (age / 100).clamp(INTERVALS.0, INTERVALS.1);
    loop {
        tokio::time::sleep(jittered(interval)).await;
        let mut removed = 0;
        loop {
            match engine.svc.remove_old_jobs(age).await {
                Ok(0) => break,
                Ok(some) => removed += some,
                Err(problem) => {
                    warn!("old jobs could not be removed: {problem}");
                    break;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        if removed > 0 {
            info!("{removed} jobs were removed, which had ended more than {age:?} ago");
        }
    }
}
