//! Actions: which there are, how a request becomes a job, and how that job runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use tokio::sync::watch;

use super::Jobs;
use super::held::CancelRequest;
use super::slots::Lane;
use crate::datasvc::{
    ActionName, AppName, Caller, Claim, Digest, Enqueued, Error, JobError, JobLog, Kind, Lease, Listed, NewActionJob,
    Outcome, Page, Permission, PluginAction, Result, Taker,
};
use crate::plugin::{ActionRun, FoundAction, Plugins, RunError};

/// What was asked of an action: the `data` of its job.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    /// In the order of the request, repeats and all.
    parameters: Vec<(String, String)>,
}

impl Jobs {
    /// The actions of an application, by name.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application does not exist; [`Error::Denied`] without read permission.
    pub async fn actions(&self, caller: &Caller, application: &AppName, page: &Page) -> Result<Listed<PluginAction>> {
        self.0.svc.application(caller, application).await?;
        self.0.plugins.refresh().await?;
        Ok(page.of(self.0.plugins.actions(application), |action| action.name.as_str()))
    }

    /// One action of an application.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application or the action does not exist; [`Error::Denied`] without read permission.
    pub async fn action(&self, caller: &Caller, application: &AppName, action: &ActionName) -> Result<PluginAction> {
        self.0.svc.application(caller, application).await?;
        let found = self.find(application, action).await?;
        Ok(found.ok_or_else(|| Error::not_found(Kind::Action, action))?.document())
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
        let found = match self.find(application, action).await? {
            Some(found) => found,
            None => return self.submitted_before(caller, application, action, idempotency).await,
        };
        check_declared(&found, &parameters)?;
        let engine = self.0.clone();
        let lane = Lane { plugin: found.plugin.clone(), application: application.clone(), action: action.clone() };
        let slot = engine.lease.holds().then(|| engine.slots.take(lane)).flatten();
        let new = NewActionJob {
            application: application.clone(),
            action: action.clone(),
            plugin: found.plugin.clone(),
            digest: found.digest,
            idempotent: found.action.idempotent,
            timeout: self.0.plugins.limits().run_timeout(found.action.timeout_seconds),
            data: to_raw_value(&Asked { parameters }).map_err(Error::internal)?,
            idempotency,
            taker: slot
                .is_some()
                .then(|| Taker { worker: engine.worker, starts: engine.plugins.is_ready(found.digest) }),
        };
        // A task of its own: a client that hangs up must not leave a job behind that is taken and does not run. The
        // server waits for it when it stops, as for the run that it may start.
        let (caller, runs) = (caller.clone(), engine.runs.clone());
        let submitted = runs.spawn(async move {
            let mut enqueued = engine.svc.enqueue_action(&caller, new).await?;
            match (enqueued.claim.take(), slot) {
                (Some(claim), Some(slot)) => engine.start(claim, slot),
                _ => engine.signals.tell_queued(),
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

    /// The action, also of a plugin that has become active since the catalog was read, here or on another host.
    async fn find(&self, application: &AppName, action: &ActionName) -> Result<Option<Arc<FoundAction>>> {
        if let Some(found) = self.0.plugins.find_action(application, action) {
            return Ok(Some(found));
        }
        self.0.plugins.refresh().await?;
        Ok(self.0.plugins.find_action(application, action))
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

fn check_declared(found: &FoundAction, parameters: &[(String, String)]) -> Result<()> {
    let declared = found.action.parameters.iter().map(|parameter| &parameter.name);
    let missing: Vec<_> =
        declared.filter(|name| !parameters.iter().any(|(given, _)| given == *name)).cloned().collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::MissingParameters { missing }) }
}

/// Makes sure that the component of a claimed action can run at once.
///
/// # Errors
/// What its job ends with if it cannot.
pub(super) async fn prepare(plugins: &Plugins, claim: &Claim) -> std::result::Result<(), JobError> {
    plugins.prepare(claim.digest).await.map_err(failed)
}

/// Runs a claimed action to its end.
pub(super) async fn run(
    plugins: &Plugins,
    claim: &Claim,
    log: JobLog,
    lease: Lease,
    cancel: watch::Receiver<Option<CancelRequest>>,
) -> Outcome {
    let asked: Asked = match serde_json::from_str(claim.data.get()) {
        Ok(asked) => asked,
        Err(error) => return Outcome::Failed(failed(RunError::internal(&error))),
    };
    let cancel_requested = Box::new(move || cancel.borrow().is_some());
    let run = ActionRun { claim: claim.clone(), log, lease, parameters: asked.parameters, cancel_requested };
    match plugins.run_action(run).await {
        Ok(result) => Outcome::Succeeded(result),
        Err(error) => Outcome::Failed(failed(error)),
    }
}

fn failed(error: RunError) -> JobError {
    let RunError { code, message, details, trace } = error;
    JobError { code: code.into(), message, details, trace }
}
