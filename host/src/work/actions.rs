//! Actions: which there are, how a request becomes a job, and how that job runs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use tokio::runtime::Handle;

use super::Work;
use crate::datasvc::{
    ACTION, ActionName, AppName, Caller, Claim, Digest, Enqueued, Error, JobError, JobId, JobLane, Listed,
    NewActionJob, Noun, Outcome, Page, Parent, Permission, PluginAction, Result,
};
use crate::engine::{Kind, Run};
use crate::plugin::{ActionRun, FoundAction, RunError, Sandbox};

/// What was asked of an action: the `data` of its job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    /// In the order of the request, repeats and all.
    parameters: Vec<(String, String)>,
}

impl Work {
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

    /// The wall-clock limit of a run of an action, in seconds: its own or the server's, and no more than the longest.
    pub fn action_timeout_seconds(&self, action: &PluginAction) -> u64 {
        self.0.plugins.limits().run_timeout(action.timeout_seconds).as_secs()
    }

    /// Makes a job of a request for an action, and wakes a worker for it. The job is durable when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application or the action does not exist; [`Error::MissingParameters`] if not all
    /// declared ones are there; [`Error::KeyReused`]; [`Error::Denied`] without execute permission; [`Error::Invalid`]
    /// if it is said to run a job again that ran another action.
    pub async fn submit_action(
        &self,
        caller: &Caller,
        application: &AppName,
        action: &ActionName,
        parameters: Vec<(String, String)>,
        idempotency: Option<(String, Digest)>,
        rerun_of: Option<JobId>,
    ) -> Result<Enqueued> {
        caller.require_execute(application, action)?;
        let found = match self.0.plugins.find_action(application, action).await? {
            Some(found) => found,
            None => return self.submitted_before(caller, application, action, idempotency).await,
        };
        let timeout = self.0.plugins.limits().run_timeout(found.action.timeout_seconds);
        let job = new_job(&found, parameters, timeout, None)?;
        let (job, ready) = (NewActionJob { idempotency, rerun_of, ..job }, self.0.plugins.is_ready(found.digest));
        self.0.engine.submit(caller, job, ready).await
    }

    /// The job of the same request, if its action was removed meanwhile; or why there is no such job.
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
        .unwrap_or_else(|| Error::not_found(Noun::Action, action))
    }
}

/// The job that a request for an action becomes; `parent` is the job that asks for it, if it is one.
///
/// # Errors
/// [`Error::MissingParameters`] if not all declared ones are there; [`Error::TooMany`] if too many jobs are above it.
pub(super) fn new_job(
    found: &FoundAction,
    parameters: Vec<(String, String)>,
    timeout: Duration,
    parent: Option<Parent>,
) -> Result<NewActionJob> {
    let required = found.action.parameters.iter().filter(|parameter| !parameter.optional);
    let required = required.map(|parameter| &parameter.name);
    let missing: Vec<_> =
        required.filter(|name| !parameters.iter().any(|(given, _)| given == *name)).cloned().collect();
    if !missing.is_empty() {
        return Err(Error::MissingParameters { missing });
    }
    if let Some(parent) = parent {
        parent.check()?;
    }
    Ok(NewActionJob {
        application: found.action.application.clone(),
        action: found.action.name.clone(),
        plugin: found.plugin.clone(),
        digest: found.digest,
        idempotent: found.action.idempotent,
        timeout,
        data: to_raw_value(&Asked { parameters }).map_err(Error::internal)?,
        idempotency: None,
        taker: None,
        parent,
        rerun_of: None,
    })
}

/// The kind of work that runs an action of a plugin.
pub(super) struct Actions(pub(super) Sandbox);

impl Kind for Actions {
    const NAME: &'static str = ACTION;

    type Asked = Asked;

    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()> {
        caller.require_execute(lane.application()?, &ActionName::parse(&*lane.name)?)
    }

    fn threads(&self) -> Option<&Handle> {
        Some(self.0.guest_threads())
    }

    fn ready(&self) -> Vec<Digest> {
        self.0.plugins().ready()
    }

    async fn prepare(&self, claim: &Claim) -> std::result::Result<(), JobError> {
        match &claim.plugin {
            Some(plugin) => self.0.plugins().prepare(plugin.digest).await.map_err(failed),
            None => Err(without_plugin()),
        }
    }

    async fn run(&self, run: &Run, asked: Asked) -> Outcome {
        let Some(plugin) = run.claim.plugin.clone() else { return Outcome::Failed(without_plugin()) };
        let cancel = run.cancel.clone();
        let action = ActionRun {
            claim: run.claim.clone(),
            plugin,
            log: run.log.clone(),
            lease: run.lease.clone(),
            parameters: asked.parameters,
            cancel_requested: Box::new(move || cancel.is_requested()),
        };
        match self.0.run_action(action).await {
            Ok(result) => Outcome::Succeeded(result),
            Err(error) => Outcome::Failed(failed(error)),
        }
    }
}

fn without_plugin() -> JobError {
    JobError::unreadable("it names no plugin, and is to run an action")
}

pub(super) fn failed(error: RunError) -> JobError {
    let RunError { code, message, details, trace } = error;
    JobError { details, trace, ..JobError::new(code, message) }
}
