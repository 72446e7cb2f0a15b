//! Removes what is too old.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::Inner;
use super::worker::jittered;
use crate::datasvc::{DataSvc, Result};

/// How often old things are looked for, at least and at most: as often as matters for the time they are kept.
const INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// How long to leave the database alone between two batches.
const PAUSE: Duration = Duration::from_millis(100);

/// How long tokens are kept once they have expired; those of a user who logs in go at once.
const EXPIRED_TOKENS: Duration = Duration::from_secs(3600);

/// How long things are kept. `None`: for ever.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Finished jobs with their logs, from their end.
    pub jobs: Option<Duration>,
    /// The record of changes.
    pub audit: Option<Duration>,
}

/// What grows old.
#[derive(Clone, Copy)]
enum Kept {
    Jobs,
    Audit,
    /// Tokens that have expired.
    Tokens,
}

impl Kept {
    fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Audit => "entries of the audit",
            Self::Tokens => "expired tokens",
        }
    }

    /// Removes some that are older. 0: no more are left for now.
    async fn remove(self, svc: &DataSvc, age: Duration) -> Result<u64> {
        match self {
            Self::Jobs => svc.remove_old_jobs(age).await,
            Self::Audit => svc.remove_old_audit(age).await,
            Self::Tokens => svc.remove_old_tokens(age).await,
        }
    }
}

/// Removes what is old again and again, until this is dropped.
pub(super) async fn remove_old(engine: Arc<Inner>) {
    let (svc, Retention { jobs, audit }) = (&engine.svc, engine.settings.retention);
    tokio::join!(
        remove_older(Kept::Jobs, jobs, svc),
        remove_older(Kept::Audit, audit, svc),
        remove_older(Kept::Tokens, Some(EXPIRED_TOKENS), svc)
    );
}

async fn remove_older(kept: Kept, age: Option<Duration>, svc: &DataSvc) {
    let (Some(age), what) = (age, kept.name()) else { return };
    let interval = (age / 100).clamp(INTERVALS.0, INTERVALS.1);
    loop {
        tokio::time::sleep(jittered(interval)).await;
        let mut removed = 0;
        loop {
            match kept.remove(svc, age).await {
                Ok(0) => break,
                Ok(some) => removed += some,
                Err(problem) => {
                    warn!("old {what} could not be removed: {problem}");
                    break;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        if removed > 0 {
            info!("{removed} {what} were removed, which are older than {age:?}");
        }
    }
}
