//! The journal: lets another server continue the host's own work when a server has died.
//!
//! Such work is a function over steps. A step has a name that is unique in its job, and one outcome: what it returned,
//! or why it failed. When a server dies, another one calls the function again; steps that have an outcome return it at
//! once. What happens to the one that was in flight is the step's kind:
//!
//! | kind | its start is recorded before | where it was interrupted |
//! | --- | --- | --- |
//! | [`repeatable`](Journal::repeatable) | no | it runs again |
//! | [`once`](Journal::once) | yes | it has failed with `interrupted`, and never runs again |
//! | [`inspected`](Journal::inspected) | yes, with an identity made beforehand | a look at the world says what became of it |
//! | [`pause`](Journal::pause) | yes, with the time when it is over | it goes on until then |
//!
//! What must not change under way is the outcome of a first step. Every start and every outcome is also an entry of the
//! job's log.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::run::Run;
use crate::datasvc::{Error, JobError, JobErrorCode, Json, RecordedStep, StepChange, StepKind, StepState, patiently};

/// The longest outcome, in bytes of its JSON text.
const MAX_OUTCOME_BYTES: usize = 1024 * 1024;

/// What a step comes to.
pub type StepResult<T> = Result<T, JobError>;

/// What a look at the world says of a step that was interrupted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen<T> {
    /// It was done, with this outcome.
    Done(T),
    /// Nothing of it was done: it may run again.
    NotDone,
}

/// The journal of a job that runs here.
pub struct Journal<'r> {
    run: &'r Run,
    state: Mutex<State>,
}

struct State {
    /// The number of the step that began last.
    last: i32,
    /// What earlier runs of the job have recorded, and this one.
    known: HashMap<String, RecordedStep>,
}

/// A step that has begun, and has no outcome yet.
struct Begun<'j> {
    journal: &'j Journal<'j>,
    name: &'j str,
    ordinal: i32,
    kind: StepKind,
}

impl Run {
    /// The journal of this job, with what earlier runs of it have recorded.
    ///
    /// # Errors
    /// A fault of the service.
    pub async fn journal(&self) -> StepResult<Journal<'_>> {
        let known = patiently(|| self.svc.recorded_steps(self.claim.job_id)).await;
        let known = known.map_err(|error| JobError::internal("the steps of a job cannot be read", &error))?;
        let last = known.last().map_or(0, |step| step.ordinal);
        let known = known.into_iter().map(|step| (step.name.clone(), step)).collect();
        Ok(Journal { run: self, state: Mutex::new(State { last, known }) })
    }
}

impl Journal<'_> {
    /// A step that may run again where it was interrupted.
    ///
    /// # Errors
    /// Why it failed, this time or when it ran.
    pub async fn repeatable<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        work: impl Future<Output = StepResult<T>>,
    ) -> StepResult<T> {
        if let Some(outcome) = self.outcome(name) {
            return outcome;
        }
        let step = Begun { journal: self, name, ordinal: self.next(), kind: StepKind::Repeatable };
        self.run.note(&started(name));
        step.end(work.await).await
    }

    /// A step that never runs a second time. Where it was interrupted it has failed with `interrupted`.
    ///
    /// # Errors
    /// Why it failed, this time or when it ran.
    pub async fn once<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        work: impl Future<Output = StepResult<T>>,
    ) -> StepResult<T> {
        if let Some(outcome) = self.outcome(name) {
            return outcome;
        }
        if let Some(ordinal) = self.in_flight(name).map(|step| step.ordinal) {
            let step = Begun { journal: self, name, ordinal, kind: StepKind::Once };
            let message = format!("the server stopped in the middle of `{name}`, which may be half done");
            return step.end(Err(JobError::new(JobErrorCode::Interrupted, message))).await;
        }
        let step = self.begin(name, StepKind::Once, None, None).await?;
        step.end(work.await).await
    }

    /// A step of which the world can tell whether it was done: `identity` is made and recorded before `work` begins,
    /// and where it was interrupted, `look` is asked before it runs again. `look` waits where the work still goes on.
    ///
    /// # Errors
    /// Why it failed, this time or when it ran.
    pub async fn inspected<T: Serialize + DeserializeOwned, I: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        identity: impl FnOnce() -> I,
        work: impl AsyncFnOnce(&I) -> StepResult<T>,
        look: impl AsyncFnOnce(&I) -> StepResult<Seen<T>>,
    ) -> StepResult<T> {
        if let Some(outcome) = self.outcome(name) {
            return outcome;
        }
        if let Some(RecordedStep { ordinal, identity: Some(identity), .. }) = self.in_flight(name) {
            let step = Begun { journal: self, name, ordinal, kind: StepKind::Inspected };
            let identity: I = read(&identity)?;
            return match look(&identity).await {
                Ok(Seen::Done(outcome)) => step.end(Ok(outcome)).await,
                Ok(Seen::NotDone) => step.end(work(&identity).await).await,
                Err(failure) => step.end(Err(failure)).await,
            };
        }
        let identity = identity();
        let step = self.begin(name, StepKind::Inspected, Some(written(&identity)?), None).await?;
        step.end(work(&identity).await).await
    }

    /// Waits, from the first time that it is reached, also over the deaths of servers. Ends at once where someone asks
    /// for the job to stop.
    ///
    /// # Errors
    /// `cancelled` where someone does.
    pub async fn pause(&self, name: &str, duration: Duration) -> StepResult<()> {
        if let Some(outcome) = self.outcome(name) {
            return outcome;
        }
        let (step, left) = match self.in_flight(name) {
            Some(RecordedStep { ordinal, left, .. }) => {
                let step = Begun { journal: self, name, ordinal, kind: StepKind::Pause };
                (step, left.unwrap_or_default())
            }
            None => (self.begin(name, StepKind::Pause, None, Some(duration)).await?, duration),
        };
        tokio::select! {
            () = tokio::time::sleep(left) => step.end(Ok(())).await,
            () = self.run.cancel.requested() => Err(JobError::cancelled("someone")),
        }
    }

    /// Records the start of a step, and waits until it is certain that the job is still this run's.
    async fn begin<'j>(
        &'j self,
        name: &'j str,
        kind: StepKind,
        identity: Option<Json>,
        pause: Option<Duration>,
    ) -> StepResult<Begun<'j>> {
        let ordinal = self.next();
        let state = StepState::Running;
        let change = StepChange { name: name.to_owned(), ordinal, kind, state, identity, outcome: None, pause };
        self.run.log.step(&started(name), change).await.map_err(|error| not_recorded(&error))?;
        self.run.lease.confirmed().await;
        Ok(Begun { journal: self, name, ordinal, kind })
    }

    fn next(&self) -> i32 {
        let mut state = self.lock();
        state.last += 1;
        state.last
    }

    /// The outcome of a step, if it has one.
    fn outcome<T: DeserializeOwned>(&self, name: &str) -> Option<StepResult<T>> {
        let state = self.lock();
        let step = state.known.get(name)?;
        match (step.state, &step.outcome) {
            (StepState::Unknown, _) => {
                let what = "it has a step in a state that only a newer server knows";
                Some(Err(JobError::unreadable(what)))
            }
            (StepState::Running, _) | (_, None) => None,
            (StepState::Succeeded, Some(outcome)) => Some(read(outcome)),
            (StepState::Failed, Some(failure)) => Some(read(failure).and_then(Err)),
        }
    }

    /// A step that has begun in an earlier run and has no outcome.
    fn in_flight(&self, name: &str) -> Option<RecordedStep> {
        self.lock().known.get(name).filter(|step| step.state == StepState::Running).cloned()
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun<'_> {
    /// Records what the step came to. Only then it is told.
    async fn end<T: Serialize>(self, result: StepResult<T>) -> StepResult<T> {
        let Self { journal, name, ordinal, kind } = self;
        let (state, outcome) = match &result {
            Ok(outcome) => (StepState::Succeeded, written(outcome)?),
            Err(failure) => (StepState::Failed, written(failure)?),
        };
        let entry = match &result {
            Ok(_) => json!({ "step": name, "status": state }),
            Err(JobError { code, message, .. }) => {
                json!({ "step": name, "status": state, "error": { "code": code, "message": message } })
            }
        };
        let outcome = Some(outcome);
        let change = StepChange {
            name: name.to_owned(),
            ordinal,
            kind,
            state,
            identity: None,
            outcome: outcome.clone(),
            pause: None,
        };
        journal.run.log.step(&entry, change).await.map_err(|error| not_recorded(&error))?;
        let known = RecordedStep { name: name.to_owned(), ordinal, state, identity: None, outcome, left: None };
        journal.lock().known.insert(name.to_owned(), known);
        result
    }
}

fn started(name: &str) -> serde_json::Value {
    json!({ "step": name, "status": "started" })
}

fn written(value: &impl Serialize) -> StepResult<Json> {
    let json = to_raw_value(value).map_err(|error| JobError::internal("an outcome is not JSON", &error))?;
    if json.get().len() > MAX_OUTCOME_BYTES {
        let message = format!("what a step returned is {} bytes long, more than {MAX_OUTCOME_BYTES}", json.get().len());
        return Err(JobError::new(JobErrorCode::OutcomeTooLarge, message));
    }
    Ok(json)
}

fn read<T: DeserializeOwned>(json: &Json) -> StepResult<T> {
    serde_json::from_str(json.get()).map_err(|error| JobError::internal("what a step returned cannot be read", &error))
}

/// The job was given away, or the database refuses the row.
fn not_recorded(error: &Error) -> JobError {
    match error {
        Error::Conflict { reason } => JobError::new(JobErrorCode::Conflict, reason.as_str()),
        fault => JobError::internal("a step could not be recorded", fault),
    }
}
