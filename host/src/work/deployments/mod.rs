//! Deployments: how one is asked for, and the kind of work that does it: plan, commits, then servers batch by batch.
//!
//! All decisions are outcomes of durable steps, so that another server goes on where this one dies.

mod ending;
mod phase1;
mod phase2;

use std::time::Duration;

use serde_json::json;

use self::ending::{AutoHooks, must_go_on};
use self::phase2::Worked;
use super::Work;
use super::commands::target_of;
use super::git::turn::RepoTurn;
use super::gitdeploys::GITDEPLOY_COMMIT_DIFF;
use super::gitdeploys::servers::not_recorded;
use super::hooks::{Fired, Hooks, PlannedHook};
use crate::datasvc::{
    AppName, Caller, Claim, DEPLOYMENT, Deployment, DeploymentAsked, DeploymentPlan, DeploymentStatus, Digest,
    Enqueued, Error, JobError, JobErrorCode, JobId, JobLane, NewDeployment, Outcome, Parent, Permission,
    PlannedDeployment, Result, patiently,
};
use crate::engine::{Journal, Kind, Run, StepResult};

/// How long a deployment goes on by itself once someone has asked for it to stop: until the running batch has ended.
const WINDS_UP_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// What is done with an earlier deployment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeploymentTask {
    /// It is gone on with.
    Resume,
    /// It is taken back.
    RollBack,
}

impl Work {
    /// What a deployment would do.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::plan_deployment`]; [`Error::Invalid`] for servers that cannot be reached from
    /// here, or cannot reach the repository.
    pub async fn plan_deployment(
        &self,
        caller: &Caller,
        application: &AppName,
        asked: &DeploymentAsked,
    ) -> Result<PlannedDeployment> {
        let planned = self.0.svc.plan_deployment(caller, application, asked).await?;
        let mut faults = crate::datasvc::Faults::default();
        for server in &planned.servers {
            let target = target_of(server);
            if let Err(why) = self.0.remote.check(&target) {
                faults.add("servers", format!("server `{}`: {why}", target.name));
            }
        }
        faults.check()?;
        Ok(planned)
    }

    /// Makes a deployment. It and its job are durable when this returns.
    ///
    /// # Errors
    /// Those of [`Work::plan_deployment`] and [`crate::datasvc::DataSvc::enqueue_deployment`].
    pub async fn deploy(
        &self,
        caller: &Caller,
        application: &AppName,
        asked: DeploymentAsked,
        origin: (Option<(String, Digest)>, Option<Parent>),
    ) -> Result<Enqueued> {
        let (idempotency, parent) = origin;
        if let Some(parent) = &parent {
            parent.check()?;
        }
        let planned = self.plan_deployment(caller, application, &asked).await?;
        let new = NewDeployment { application: application.clone(), asked, planned, idempotency, parent };
        let enqueued = self.0.svc.enqueue_deployment(caller, &new).await?;
        self.0.engine.tell_queued();
        Ok(enqueued)
    }

    /// What has to be asked for so that an earlier deployment is gone on with, or taken back.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::deployment_to_resume`] and `deployment_to_roll_back`.
    pub async fn deployment_again(
        &self,
        caller: &Caller,
        application: &AppName,
        id: JobId,
        task: DeploymentTask,
    ) -> Result<DeploymentAsked> {
        match task {
            DeploymentTask::Resume => self.0.svc.deployment_to_resume(caller, application, id).await,
            DeploymentTask::RollBack => self.0.svc.deployment_to_roll_back(caller, application, id).await,
        }
    }

    /// Asks for a deployment to stop: after the running batch, and at once in a pause.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::cancel_deployment`].
    pub async fn cancel_deployment(&self, caller: &Caller, application: &AppName, id: JobId) -> Result<Deployment> {
        self.0.svc.cancel_deployment(caller, application, id).await?;
        self.0.engine.tell_cancelled();
        self.0.svc.deployment_for_work(application, id).await
    }
}

/// The kind of work.
pub(super) struct Deployments {
    pub(super) work: Work,
    pub(super) hooks: Hooks,
}

impl Kind for Deployments {
    const NAME: &'static str = DEPLOYMENT;

    type Asked = DeploymentAsked;

    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()> {
        caller.require(Permission::Write, lane.application()?)
    }

    fn winds_up_within(&self) -> Option<Duration> {
        Some(WINDS_UP_WITHIN)
    }

    async fn run(&self, run: &Run, asked: DeploymentAsked) -> Outcome {
        match self.deploy(run, &asked).await {
            Ok(result) => Outcome::Succeeded(result),
            Err(failure) if failure.code == JobErrorCode::Cancelled.as_str() => Outcome::Cancelled(failure),
            Err(failure) => Outcome::Failed(failure),
        }
    }

    async fn give_up(&self, claim: &Claim) {
        self.close(claim.job_id, DeploymentStatus::Error).await;
    }

    async fn forget(&self, job: JobId) {
        self.close(job, DeploymentStatus::Cancelled).await;
    }
}

/// A deployment that is being done.
pub(super) struct Deploying<'a> {
    pub(super) kind: &'a Deployments,
    pub(super) run: &'a Run,
    pub(super) journal: &'a Journal<'a>,
    pub(super) application: &'a AppName,
    pub(super) asked: &'a DeploymentAsked,
    /// Those around batches; a manual deployment has none.
    pub(super) hooks: Option<AutoHooks>,
    /// That of commits.
    pub(super) commit_hook: PlannedHook,
}

impl Deployments {
    async fn close(&self, id: JobId, status: DeploymentStatus) {
        let closed = patiently(|| self.work.0.svc.close_deployment(id, status)).await;
        if let Err(problem) = closed {
            tracing::warn!("the end of a deployment could not be recorded: {problem}");
        }
    }

    async fn deploy(&self, run: &Run, asked: &DeploymentAsked) -> StepResult<crate::datasvc::Json> {
        let journal = run.journal().await?;
        let application = run.claim.application().map_err(|error| not_recorded(&error))?;
        let hooks = match asked.scope.is_of_groups() {
            true => Some(AutoHooks::plan(&self.hooks, run, &journal).await?),
            false => None,
        };
        let commit_hook = self.hooks.plan(run, &journal, GITDEPLOY_COMMIT_DIFF).await?;
        let deploying = Deploying { kind: self, run, journal: &journal, application, asked, hooks, commit_hook };
        let mut plan = deploying.document().await?.plan;
        let mut fired = Vec::new();
        let worked = deploying.all(&mut plan, &mut fired).await;
        deploying.end(worked, plan, fired).await
    }
}

impl Deploying<'_> {
    pub(super) async fn document(&self) -> StepResult<Deployment> {
        let (svc, id) = (&self.kind.work.0.svc, self.run.claim.job_id);
        let found = patiently(|| svc.deployment_for_work(self.application, id)).await;
        found.map_err(|error| not_recorded(&error))
    }

    /// Says in the document what it does.
    pub(super) async fn is_on(&self, what: &str) -> StepResult<()> {
        let told = patiently(|| self.kind.work.0.svc.deployment_is_on(&self.run.claim, what)).await;
        told.map_err(|error| not_recorded(&error))
    }

    /// From the plan to the last batch. `plan` becomes what is done, and `fired` gets what the hooks came to.
    async fn all(&self, plan: &mut Option<DeploymentPlan>, fired: &mut Vec<Fired>) -> StepResult<Worked> {
        let servers = plan.as_ref().map(DeploymentPlan::servers).unwrap_or_default();
        must_go_on(self, "check whether it may begin", &servers).await?;
        let planned = self.turns(plan.as_ref()).await?;
        let (fixed, turns) = planned;
        *plan = Some(fixed.clone());
        if let Some(hooks) = &self.hooks {
            let fired_now = hooks.start(self, &fixed).await;
            let failure = fired_now.iter().find_map(Fired::failure).cloned();
            fired.extend(fired_now);
            if let Some(failure) = failure {
                let message =
                    format!("a hook AUTO_DEPLOYMENT_START failed, so that nothing was done: {}", failure.message);
                return Err(JobError::new(JobErrorCode::HookFailed, message));
            }
        }
        let gitdeploys = phase2::gitdeploys(self, &fixed).await?;
        let commits = phase1::commit_all(self, &fixed, &gitdeploys, fired).await?;
        let worked = phase2::work(self, &fixed, &gitdeploys, &commits, fired).await;
        // Those of a deployment that ends badly are free as soon as its job has ended.
        if worked.is_ok() {
            for turn in turns {
                turn.give_back().await;
            }
        }
        worked
    }

    /// Waits for the repositories, then fixes what is done.
    async fn turns(&self, known: Option<&DeploymentPlan>) -> StepResult<(DeploymentPlan, Vec<RepoTurn<'_>>)> {
        const STEP: &str = "make the plan";
        let work = &self.kind.work.0;
        let mut repos = known.map(DeploymentPlan::repos).unwrap_or_default();
        loop {
            let mut turns = Vec::new();
            for repo in &repos {
                turns.push(RepoTurn::take(work, self.run, repo).await?);
            }
            // What was fixed in an earlier run stays.
            let document = self.document().await?;
            let planned = if document.status == DeploymentStatus::Created {
                match patiently(|| work.svc.plan_for_work(self.application, self.asked)).await {
                    Ok(planned) if planned.plan.repos().iter().any(|repo| !repos.contains(repo)) => {
                        for turn in turns {
                            turn.give_back().await;
                        }
                        repos = planned.plan.repos();
                        continue;
                    }
                    planned => Some(planned),
                }
            } else {
                None
            };
            let fixing = async {
                let Some(planned) = planned else { return Ok(()) };
                let planned = planned.map_err(|error| plan_failed(&error))?;
                self.agreed(known, &planned.plan)?;
                let begun = patiently(|| work.svc.begin_deployment(&self.run.claim, &planned)).await;
                begun.map(drop).map_err(|error| not_recorded(&error))
            };
            self.journal.repeatable(STEP, fixing).await?;
            let fixed = self.document().await?.plan.ok_or_else(|| {
                JobError::new(JobErrorCode::PlanFailed, "the deployment has lost its plan; start a new one")
            })?;
            return Ok((fixed, turns));
        }
    }

    /// Whether the plan is still the one that was agreed to.
    fn agreed(&self, known: Option<&DeploymentPlan>, now: &DeploymentPlan) -> StepResult<()> {
        match &self.asked.plan {
            Some(agreed) if *agreed != now.hash => {
                let message = "something that the plan depends on has changed since it was agreed to, so that nothing was \
                               done; make a new plan, and look at it";
                Err(JobError::new(JobErrorCode::PlanChanged, message))
            }
            None if known.is_some_and(|known| known.hash != now.hash) => {
                let message = "something that the plan depends on has changed since the deployment was asked for; this \
                               is what is done now";
                self.run.note(&json!({
                    "status": "warning", "message": message, "batches": now.batches.len(), "hash": now.hash,
                }));
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn plan_failed(error: &Error) -> JobError {
    match error {
        Error::Faults(_) | Error::NotFound { .. } | Error::Conflict { .. } => {
            let message = format!("what the deployment needs is not there any more: {error}");
            JobError::new(JobErrorCode::PlanFailed, message)
        }
        fault => JobError::internal("a deployment could not be planned", fault),
    }
}
