//! Brings a claimed job to its end, whatever happens meanwhile.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;
use tracing::{Instrument as _, error, info, info_span, warn};

use super::held::{CancelRequest, HeldJob};
use super::slots::Slot;
use super::{Engine, RETRY, action, upload};
use crate::datasvc::{Claim, Error, JobError, JobLog, Outcome, Work};

/// How much of a failure's message goes to the server's log.
const MAX_LOGGED_CHARS: usize = 300;

type Cancel = watch::Receiver<Option<CancelRequest>>;

impl Engine {
    /// Starts a claimed job. It has its slot until it has ended.
    pub(super) fn start(self: &Arc<Self>, claim: Claim, slot: Slot) {
        let (job_id, fence) = (claim.job_id, claim.fence);
        let span = match &claim.work {
            Work::Action(action) => {
                info_span!("job", job.id = %job_id, plugin.name = %action.plugin, op = "actions.run")
            }
            Work::Upload => info_span!("job", job.id = %job_id, op = "builds.upload"),
        };
        let (held, cancel) = self.held.enter(job_id, fence);
        let (engine, is_guests) = (self.clone(), claim.work.plugin().is_some());
        let work = async move { engine.run(claim, cancel, (held, slot)).await }.instrument(span);
        let task = match is_guests {
            true => self.runs.spawn_on(work, self.plugins.guest_threads()),
            false => self.runs.spawn(work),
        };
        self.held.runs_in(job_id, fence, task.abort_handle());
    }

    /// `_place` is given up once the job has ended.
    async fn run(self: Arc<Self>, mut claim: Claim, mut cancel: Cancel, _place: (HeldJob, Slot)) {
        if !claim.is_timely() {
            return warn!("a claim came too late, and is handed back");
        }
        let log = self.svc.job_log(&claim, self.settings.log);
        let ended = match self.begin(&mut claim).await {
            Ok(Ok(())) if cancel.borrow().is_some() => {
                Outcome::Cancelled(JobError::new("cancelled", "someone asked for it to stop before it began"))
            }
            Ok(Ok(())) => {
                self.held.began(claim.job_id, claim.fence);
                self.work(&claim, &log, &mut cancel).await
            }
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(problem) => return warn!("a job was not begun: {problem}"),
        };
        let ended = match &claim.work {
            Work::Upload => upload::settle(&self, &claim, &log, ended).await,
            Work::Action(_) => ended,
        };
        if let Outcome::Failed(failure) | Outcome::Cancelled(failure) = &ended {
            let message: String = failure.message.chars().take(MAX_LOGGED_CHARS).collect();
            info!("`{}` ended with {}: {message:?}", claim.name, failure.code);
        }
        self.held.ends(claim.job_id, claim.fence);
        if record_end(&log, ended).await {
            self.held.ended(claim.job_id, claim.fence);
        }
    }

    /// Makes sure that the component is there and the start is on record; the inner error ends the job.
    async fn begin(&self, claim: &mut Claim) -> Result<Result<(), JobError>, Error> {
        if !claim.started {
            if let Work::Action(action) = &claim.work
                && let Err(failure) = action::prepare(&self.plugins, action).await
            {
                return Ok(Err(failure));
            }
            loop {
                match self.svc.start_job(claim).await {
                    Err(Error::Unavailable(_)) => tokio::time::sleep(RETRY).await,
                    Err(problem) => return Err(problem),
                    Ok(()) => break,
                }
            }
        }
        // A host that was frozen since it claimed the job may not hold it any more.
        self.lease.confirmed().await;
        Ok(Ok(()))
    }

    async fn work(self: &Arc<Self>, claim: &Claim, log: &JobLog, cancel: &mut Cancel) -> Outcome {
        let stopped = self.stopped(log, cancel.clone());
        let work = async {
            match &claim.work {
                Work::Action(work) => action::run(self, claim, work, log.clone(), cancel.clone()).await,
                Work::Upload => upload::run(self, claim, log, cancel.clone()).await,
            }
        };
        let ended = tokio::select! {
            ended = work => ended,
            stopped = stopped => stopped,
        };
        match ended {
            // What ends badly after it was asked to stop has stopped.
            Outcome::Failed(failure) if cancel.borrow().is_some() => {
                Outcome::Cancelled(JobError { code: "cancelled".into(), ..failure })
            }
            ended => ended,
        }
    }

    /// Waits until someone asks for the job to stop, and then for as long as it may go on.
    async fn stopped(&self, log: &JobLog, mut cancel: Cancel) -> Outcome {
        let by = cancel.wait_for(Option::is_some).await.map(|request| request.as_ref()?.by.clone());
        let Ok(by) = by else { return std::future::pending().await };
        let (who, grace) =
            (by.map_or_else(|| "a plugin".into(), |by| format!("user `{by}`")), self.settings.cancel_grace);
        let message = format!("{who} asked for it to stop; it is stopped in {grace:?} if it does not end by itself");
        if let Err(problem) = log.note(&json!({ "status": "cancelling", "message": message })) {
            warn!("a request to stop could not be noted: {problem}");
        }
        tokio::time::sleep(grace).await;
        Outcome::Cancelled(JobError::new(
            "cancelled",
            format!("{who} asked for it to stop; it was stopped, because it did not end within {grace:?}"),
        ))
    }
}

/// Records how a job ended, or, where that is refused, that it ended. Says whether nothing more is to be done.
async fn record_end(log: &JobLog, ended: Outcome) -> bool {
    let problem = match log.finish(&ended).await {
        Ok(()) => return true,
        Err(Error::Conflict { reason }) => {
            warn!("a run has ended, and nothing was recorded: {reason}");
            return true;
        }
        Err(problem) => problem,
    };
    error!("the end of a job could not be recorded as it was: {problem:?}");
    let message = "the run ended, and how it ended could not be recorded; the server's log says why";
    let recorded = log.finish(&Outcome::Failed(JobError::new("internal", message))).await;
    if let Err(problem) = &recorded {
        error!("the end of a job could not be recorded at all: {problem:?}");
    }
    recorded.is_ok()
}
