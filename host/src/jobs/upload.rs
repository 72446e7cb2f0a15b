//! Uploads: what becomes of the file that was uploaded for a build.

use std::sync::Arc;

use tokio::sync::watch;

use super::Engine;
use super::held::CancelRequest;
use crate::datasvc::{Claim, JobError, JobLog, Outcome};

/// Takes in an uploaded file.
pub(super) async fn run(
    _engine: &Arc<Engine>,
    _claim: &Claim,
    _log: &JobLog,
    _cancel: watch::Receiver<Option<CancelRequest>>,
) -> Outcome {
    Outcome::Failed(JobError::new("internal", "TO BE WRITTEN"))
}
