//! Whether a deployment goes on, the hooks around it, and how it ends.

use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::Deploying;
use super::phase2::Worked;
use crate::datasvc::{DeploymentPlan, DeploymentStatus, JobError, JobErrorCode, Json, ServerName, Standing, patiently};
use crate::engine::{Journal, Run, StepResult};
use crate::work::gitdeploys::servers::not_recorded;
use crate::work::hooks::{Fired, Hooks, PlannedHook};

/// The hooks of a deployment to groups.
pub(in crate::work) struct AutoHooks {
    start: PlannedHook,
    begin: PlannedHook,
    done: PlannedHook,
    complete: PlannedHook,
    failed: PlannedHook,
}

impl AutoHooks {
    pub(super) async fn plan(hooks: &Hooks, run: &Run, journal: &Journal<'_>) -> StepResult<Self> {
        Ok(Self {
            start: hooks.plan(run, journal, "AUTO_DEPLOYMENT_START").await?,
            begin: hooks.plan(run, journal, "AUTO_DEPLOYMENT_BATCH_BEGIN").await?,
            done: hooks.plan(run, journal, "AUTO_DEPLOYMENT_BATCH_DONE").await?,
            complete: hooks.plan(run, journal, "AUTO_DEPLOYMENT_COMPLETE").await?,
            failed: hooks.plan(run, journal, "AUTO_DEPLOYMENT_FAILED").await?,
        })
    }

    pub(super) async fn start(&self, deploying: &Deploying<'_>, plan: &DeploymentPlan) -> Vec<Fired> {
        let parameters = json!({
            "deployment_id": deploying.run.claim.job_id,
            "build": plan.build_name,
            "target": deploying.asked.scope.target(),
            "batches": plan.batches,
        });
        deploying.fire(&self.start, "", &parameters).await
    }

    pub(super) async fn begin(&self, deploying: &Deploying<'_>, plan: &DeploymentPlan, number: usize) -> Vec<Fired> {
        deploying.fire(&self.begin, &number.to_string(), &around_batch(deploying, plan, number)).await
    }

    pub(super) async fn done(&self, deploying: &Deploying<'_>, plan: &DeploymentPlan, number: usize) -> Vec<Fired> {
        deploying.fire(&self.done, &number.to_string(), &around_batch(deploying, plan, number)).await
    }
}

fn around_batch(deploying: &Deploying<'_>, plan: &DeploymentPlan, number: usize) -> Value {
    json!({
        "deployment_id": deploying.run.claim.job_id,
        "build": plan.build_name,
        "batch_number": number,
        "batch_count": plan.batches.len(),
        "batch": plan.batches[number],
        "batches": plan.batches,
    })
}

/// Whether the deployment may go on; what is found is kept, so that another server finds the same.
///
/// # Errors
/// `cancelled` where someone has asked for it to stop, `not-allowed` where who asked for it may not do this any more.
pub(super) async fn must_go_on(deploying: &Deploying<'_>, step: &str, servers: &[ServerName]) -> StepResult<()> {
    let (kind, run, journal) = (deploying.kind, deploying.run, deploying.journal);
    let looking = async {
        let standing = patiently(|| kind.work.0.svc.standing(&run.claim, servers)).await;
        match standing.map_err(|error| not_recorded(&error))? {
            Standing::Cancelled(by) => Err(JobError::cancelled(by.as_deref().unwrap_or("someone"))),
            Standing::Goes | Standing::OfPlugin(_) if run.cancel.is_requested() => Err(JobError::cancelled("someone")),
            Standing::Goes => Ok(()),
            Standing::OfPlugin(plugin) => {
                let caller = kind.work.0.plugins.caller(&plugin, run.claim.job_id, deploying.application);
                caller.require_deploy(deploying.application, servers).map_err(|why| not_allowed(&why.to_string()))
            }
            Standing::Refused(why) => Err(not_allowed(&why)),
        }
    };
    journal.repeatable(step, looking).await
}

/// The same failure; of a deployment that was asked to stop, with who has asked for that, if it is known.
pub(super) async fn with_who(deploying: &Deploying<'_>, failure: JobError) -> JobError {
    if failure.code != JobErrorCode::Cancelled.as_str() {
        return failure;
    }
    match patiently(|| deploying.kind.work.0.svc.standing(&deploying.run.claim, &[])).await {
        Ok(Standing::Cancelled(Some(by))) => JobError::cancelled(&by),
        Ok(Standing::Cancelled(None) | Standing::Goes | Standing::Refused(_) | Standing::OfPlugin(_)) | Err(_) => {
            failure
        }
    }
}

fn not_allowed(why: &str) -> JobError {
    let message = format!("who asked for the deployment may not do this any more: {why}");
    JobError::new(JobErrorCode::NotAllowed, message)
}

impl Deploying<'_> {
    async fn fire(&self, hook: &PlannedHook, of: &str, parameters: &Value) -> Vec<Fired> {
        self.kind.hooks.fire_of(self.run, self.journal, hook, of, parameters, None).await
    }

    /// Records how it ended, and tells the plugins.
    pub(super) async fn end(
        &self,
        worked: StepResult<Worked>,
        plan: Option<DeploymentPlan>,
        mut fired: Vec<Fired>,
    ) -> StepResult<Json> {
        let failure = match worked {
            Ok(worked) => worked.failure,
            Err(failure) => Some(failure),
        };
        let status = match &failure {
            None => DeploymentStatus::Complete,
            Some(failure) if failure.code == JobErrorCode::Cancelled.as_str() => DeploymentStatus::Cancelled,
            Some(_) => DeploymentStatus::Error,
        };
        let (svc, claim) = (&self.kind.work.0.svc, &self.run.claim);
        let ended = patiently(|| svc.end_deployment(claim, status, failure.as_ref())).await;
        ended.map_err(|error| not_recorded(&error))?;
        let document = self.document().await?;
        if let Some(hooks) = &self.hooks {
            let mut parameters = json!({
                "deployment_id": claim.job_id,
                "build": self.asked.build_name,
                "target": self.asked.scope.target(),
                "batches": plan.map(|plan| plan.batches).unwrap_or_default(),
                "deployment": document,
            });
            let hook = match &failure {
                None => &hooks.complete,
                Some(failure) => {
                    parameters["error"] = json!(failure);
                    &hooks.failed
                }
            };
            fired.extend(self.fire(hook, "", &parameters).await);
        }
        let details = json!({
            "deployment_id": claim.job_id,
            "status": status,
            "commits": document.commits,
            "summary": document.summary,
            "batches": document.progress.map(|progress| progress.phase2.batches),
            "hooks": fired,
        });
        match failure {
            None => to_raw_value(&details).map_err(|error| JobError::internal("a result is no JSON", &error)),
            Some(failure) => Err(JobError { details: to_raw_value(&details).ok(), ..failure }),
        }
    }
}
