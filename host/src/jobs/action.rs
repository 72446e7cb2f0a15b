//! Actions: which there are, how a request becomes a job, and how that job runs.

use std::sync::Arc;

use tokio::sync::watch;

use super::held::CancelRequest;
use super::slots::Lane;
use super::{Engine, Jobs};
use crate::datasvc::{
    ActionName, ActionWork, AppName, Caller, Claim, Digest, Enqueued, Error, JobError, JobLog, Kind, Listed,
    NewActionJob, Outcome, Page, Permission, PluginAction, Result, Taker,
};
use crate::plugin::{ActionRun, Asked, Plugins, RunError};

impl Jobs {
    /// The actions of an application, by name.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application does not exist; [`Error::Denied`] without read permission.
    pub async fn actions(&self, caller: &Caller, application: &AppName, page: &Page) -> Result<Listed<PluginAction>> {
        self.0.plugins.actions(caller, application, page).await
    }

    /// One action of an application.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application or the action does not exist; [`Error::Denied`] without read permission.
    pub async fn action(&self, caller: &Caller, application: &AppName, action: &ActionName) -> Result<PluginAction> {
        Ok(self.0.plugins.action(caller, application, action).await?.document())
    }

    /// Makes a job of a request for an action, and wakes a worker for it. The job is durable when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application or the action does not exist; [`Error::MissingParameters`] if not all
    /// declared ones are there; [`Error::KeyReused`]; [`Error::Denied`] without execute permission.
    pub async fn submit_action(
        &self,
        caller: &Caller,
        application: &AppName,
        action: &ActionName,
        parameters: Vec<(String, String)>,
        idempotency: Option<(String, Digest)>,
    ) -> Result<Enqueued> {
        caller.require_execute(application, action)?;
        let found = match self.0.plugins.find_action(application, action).await? {
            Some(found) => found,
            None => return self.submitted_before(caller, application, action, idempotency).await,
        };
        let job = self.0.plugins.new_job(&found, parameters, None)?;
        let engine = self.0.clone();
        let plugin = Some(found.plugin.clone());
        let lane = Lane { plugin, application: application.clone(), name: action.to_string() };
        let slot = engine.lease.holds().then(|| engine.slots.take(lane.clone())).flatten();
        let taker =
            slot.is_some().then(|| Taker { worker: engine.worker, starts: engine.plugins.is_ready(found.digest) });
        let new = NewActionJob { idempotency, taker, ..job };
        // A task of its own: a client that hangs up must not leave a job behind that is taken and does not run. The
        // server waits for it when it stops, as for the run that it may start.
        let (caller, runs) = (caller.clone(), engine.runs.clone());
        let submitted = runs.spawn(async move {
            let mut enqueued = engine.svc.enqueue_action(&caller, new).await?;
            match (enqueued.claim.take(), slot) {
                (Some(claim), Some(slot)) => engine.start(claim, slot),
                _ => {
                    engine.looks.queued(lane);
                    engine.signals.tell_queued();
                }
            }
            Ok(enqueued)
        });
        submitted.await.map_err(Error::internal)?
    }

    /// The job of the same request, where its action has gone meanwhile; or why there is none.
    async fn submitted_before(
        &self,
        caller: &Caller,
        application: &AppName,
        action: &ActionName,
        idempotency: Option<(String, Digest)>,
    ) -> Result<Enqueued> {
        if let Some((key, fingerprint)) = idempotency
            && let Some(enqueued) = self.0.svc.enqueued_before(caller, &key, fingerprint).await?
        {
            return Ok(enqueued);
        }
        Err(self.why_not_found(caller, application, action).await)
    }

    /// Whether it is the application that is missing, or only the action.
    async fn why_not_found(&self, caller: &Caller, application: &AppName, action: &ActionName) -> Error {
        match caller.require(Permission::Read, application) {
            Ok(()) => self.action(caller, application, action).await.err(),
            Err(_) => None,
        }
        .unwrap_or_else(|| Error::not_found(Kind::Action, action))
    }
}

/// Makes sure that the component of a claimed action can run at once.
///
/// # Errors
/// What its job ends with if it cannot.
pub(super) async fn prepare(plugins: &Plugins, work: &ActionWork) -> std::result::Result<(), JobError> {
    plugins.prepare(work.digest).await.map_err(failed)
}

/// Runs a claimed action to its end.
pub(super) async fn run(
    engine: &Arc<Engine>,
    claim: &Claim,
    work: &ActionWork,
    log: JobLog,
    cancel: watch::Receiver<Option<CancelRequest>>,
) -> Outcome {
    let asked: Asked = match serde_json::from_str(claim.data.get()) {
        Ok(asked) => asked,
        Err(error) => return Outcome::Failed(failed(RunError::internal(&error))),
    };
    let cancel_requested = Box::new(move || cancel.borrow().is_some());
    let telling = engine.clone();
    let tell_queued = Box::new(move || telling.signals.tell_queued());
    let parameters = asked.parameters;
    let lease = engine.lease.clone();
    let run =
        ActionRun { claim: claim.clone(), work: work.clone(), log, lease, parameters, cancel_requested, tell_queued };
    match engine.plugins.run_action(run).await {
        Ok(result) => Outcome::Succeeded(result),
        Err(error) => Outcome::Failed(failed(error)),
    }
}

fn failed(error: RunError) -> JobError {
    let RunError { code, message, details, trace } = error;
    JobError { code: code.into(), message, details: details.map(|details| *details), trace }
}
