//! Brings a claimed job to its end, whatever happens meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tracing::{Instrument as _, error, info, info_span, warn};

use super::Inner;
use super::held::{CancelRequest, HeldJob};
use super::kind::AnyKind;
use super::slots::{Lent, Slot, Slots};
use crate::datasvc::{
    Claim, DataSvc, Error, JobError, JobErrorCode, JobLog, Lease, Outcome, Result, StepState, patiently,
};

/// How often a job is begun of which no step gets done.
const MAX_FRUITLESS_ATTEMPTS: i32 = 20;
/// How long what is left to do at the end of a job may take.
const LAST_WITHIN: Duration = Duration::from_secs(30);
/// How much of a failure's message goes to the server's log.
const MAX_LOGGED_CHARS: usize = 300;

/// A job that runs here, in the hands of its kind of work.
pub struct Run {
    /// What is held of it.
    pub claim: Claim,
    /// Its log.
    pub log: JobLog,
    /// Until when the claim holds.
    pub lease: Lease,
    /// Whether someone has asked for it to stop.
    pub cancel: Cancel,
    pub(super) svc: DataSvc,
    pub(super) slots: Slots,
    last: Mutex<Vec<BoxFuture<'static, ()>>>,
}

impl Run {
    /// Has something done at the end of the job, before that is recorded: where this server dies before it was done,
    /// another one continues the job. It is given up where it takes more than half a minute.
    pub fn at_the_end(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(work));
    }

    async fn do_the_last(&self) {
        let last = std::mem::take(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner));
        if tokio::time::timeout(LAST_WITHIN, join_all(last)).await.is_err() {
            warn!("what was left to do at the end of a job took too long, and was given up");
        }
    }

    /// Says in the job's log how far it is.
    pub fn note(&self, data: &impl Serialize) {
        if let Err(problem) = self.log.note(data) {
            warn!("how far a job is could not be noted: {problem}");
        }
    }

    /// Lends the job's slot to others while it waits for something else.
    pub fn lend_slot(&self) -> Lent {
        self.slots.lend(&self.claim)
    }

    /// Waits until there is capacity for a guest of this job, which may have lent its slot meanwhile.
    pub async fn room_for_guest(&self) {
        self.slots.fit(&self.claim).await;
    }
}

/// Whether someone has asked for a job to stop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Cancel(watch::Receiver<Option<CancelRequest>>);

impl Cancel {
    pub(super) fn new(requests: watch::Receiver<Option<CancelRequest>>) -> Self {
        Self(requests)
    }

    /// Whether someone has.
    pub fn is_requested(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits until someone does.
    pub async fn requested(&self) {
        self.request().await;
    }

    async fn request(&self) -> CancelRequest {
        let mut requests = self.0.clone();
        let request = requests.wait_for(Option::is_some).await.ok().and_then(|request| request.clone());
        match request {
            Some(request) => request,
            // The job has ended, and nobody can ask any more.
            None => std::future::pending().await,
        }
    }
}

impl Inner {
    /// Starts a claimed job. It has its slot until it has ended.
    pub(super) fn start(self: &Arc<Self>, claim: Claim, slot: Slot) {
        let (job_id, fence) = (claim.job_id, claim.fence);
        let plugin = claim.plugin.as_ref().map(|plugin| plugin.name.to_string());
        let span = info_span!("job", job.id = %job_id, job.kind = %claim.job_type, plugin.name = plugin);
        let (held, requests) = self.held.enter(job_id, fence);
        let (engine, threads) = (self.clone(), self.kind(&claim.job_type).and_then(|kind| kind.threads().cloned()));
        let cancel = Cancel::new(requests);
        let work = async move { engine.run(claim, cancel, (held, slot)).await }.instrument(span);
        let task = match threads {
            Some(threads) => self.runs.spawn_on(work, &threads),
            None => self.runs.spawn(work),
        };
        self.held.runs_in(job_id, fence, task.abort_handle());
    }

    /// `_place` is given up once the job has ended.
    async fn run(self: Arc<Self>, mut claim: Claim, cancel: Cancel, _place: (HeldJob, Slot)) {
        if !claim.is_timely() {
            return warn!("a claim came too late, and is handed back");
        }
        let Some(kind) = self.kind(&claim.job_type) else {
            return error!("a job was claimed whose kind of work is not known here, and is handed back");
        };
        let log = self.svc.job_log(&claim, self.settings.log);
        let begun = match self.begin(&*kind, &mut claim).await {
            Ok(begun) => begun,
            Err(problem) => return warn!("a job was not begun: {problem}"),
        };
        let (lease, svc, slots) = (self.lease.clone(), self.svc.clone(), self.slots.clone());
        let run = Run { claim, log, lease, cancel, svc, slots, last: Mutex::default() };
        let claim = &run.claim;
        let ended = match begun {
            Ok(()) if run.cancel.is_requested() && kind.winds_up_within().is_none() => Outcome::Cancelled(
                JobError::new(JobErrorCode::Cancelled, "someone asked for it to stop before it began"),
            ),
            Ok(()) => {
                self.held.began(claim.job_id, claim.fence);
                let ended = self.work(&*kind, &run).await;
                run.do_the_last().await;
                ended
            }
            Err(failure) => Outcome::Failed(failure),
        };
        if let Outcome::Failed(failure) | Outcome::Cancelled(failure) = &ended {
            let message: String = failure.message.chars().take(MAX_LOGGED_CHARS).collect();
            info!("`{}` ended with {}: {message:?}", claim.name, failure.code);
            kind.give_up(claim).await;
        }
        self.held.ends(claim.job_id, claim.fence);
        if record_end(&run.log, ended).await {
            self.held.ended(claim.job_id, claim.fence);
        }
    }

    /// Makes sure that what the job needs is there and its start is on record; the inner error ends the job.
    async fn begin(&self, kind: &dyn AnyKind, claim: &mut Claim) -> Result<Result<(), JobError>> {
        if let Some(what) = claim.unreadable {
            return Ok(Err(JobError::unreadable(what)));
        }
        if !claim.started {
            if let Err(failure) = kind.prepare(claim).await {
                return Ok(Err(failure));
            }
            claim.attempt = patiently(|| self.svc.start_job(claim)).await?;
            claim.started = true;
        }
        // A host that was frozen since it claimed the job may not hold it any more.
        self.lease.confirmed().await;
        Ok(match self.is_fruitless(claim).await? {
            true => Err(JobError::new(
                JobErrorCode::TooManyAttempts,
                format!(
                    "{} servers stopped while they worked on this job; it is not tried again, because it may be what \
                     stops them",
                    claim.attempt - 1
                ),
            )),
            false => Ok(()),
        })
    }

    /// Whether a job of the host's own kinds of work has been begun so often, with so few steps done, that it would be
    /// begun for ever. How often an action may be run again is decided when its job is taken over.
    async fn is_fruitless(&self, claim: &Claim) -> Result<bool> {
        if claim.plugin.is_some() || claim.attempt <= MAX_FRUITLESS_ATTEMPTS {
            return Ok(false);
        }
        let steps = patiently(|| self.svc.recorded_steps(claim.job_id)).await?;
        let done = steps.iter().filter(|step| step.state != StepState::Running).count();
        Ok(usize::try_from(claim.attempt - MAX_FRUITLESS_ATTEMPTS).unwrap_or(0) > done)
    }

    async fn work(&self, kind: &dyn AnyKind, run: &Run) -> Outcome {
        let ended = tokio::select! {
            ended = kind.run(run) => ended,
            stopped = self.stopped(kind, run) => stopped,
        };
        match ended {
            // What ends badly after it was asked to stop has stopped.
            Outcome::Failed(failure) if run.cancel.is_requested() => {
                Outcome::Cancelled(JobError { code: JobErrorCode::Cancelled.to_string(), ..failure })
            }
            ended => ended,
        }
    }

    /// Waits until someone asks for the job to stop, and then for as long as it may go on.
    async fn stopped(&self, kind: &dyn AnyKind, run: &Run) -> Outcome {
        let CancelRequest { by } = run.cancel.request().await;
        let who = by.map_or_else(|| "a plugin".into(), |by| format!("user `{by}`"));
        let grace = kind.winds_up_within().unwrap_or(self.settings.cancel_grace);
        let message = format!("{who} asked for it to stop; it is stopped in {grace:?} if it does not end by itself");
        run.note(&json!({ "status": "cancelling", "message": message }));
        tokio::time::sleep(grace).await;
        Outcome::Cancelled(JobError::new(
            JobErrorCode::Cancelled,
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
    let recorded = log.finish(&Outcome::Failed(JobError::new(JobErrorCode::Internal, message))).await;
    if let Err(problem) = &recorded {
        error!("the end of a job could not be recorded at all: {problem:?}");
    }
    recorded.is_ok()
}
