//! Deployments as their jobs work on them.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::{DeployedCommit, DeployedCommits, DeploymentPlan, DeploymentStatus, PlannedDeployment, TargetState};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::documents::uploads::hold;
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{AppName, GitdeployName, JobId, PluginName, ServerName};
use crate::datasvc::jobs::claim::Claim;
use crate::datasvc::jobs::error::JobError;
use crate::datasvc::jobs::lookup::described;

/// Whether a deployment may go on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Standing {
    /// It may.
    Goes,
    /// Someone asked for it to stop: who, if that is known.
    Cancelled(Option<String>),
    /// Who asked for it may not do this any more: why.
    Refused(String),
    /// It may, as far as the grants of the plugin that asked for it go.
    OfPlugin(PluginName),
}

/// What a target came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TargetOutcome {
    /// How it ended.
    pub state: TargetState,
    /// Why, for programs.
    pub code: Option<String>,
    /// Why, for people.
    pub message: Option<String>,
    /// The commit that the working copy is at.
    pub head: Option<String>,
}

impl DataSvc {
    /// Fixes what a deployment does: from here on it does not change. Of a deployment that has begun nothing changes.
    /// Says what it does.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held; [`Error::NotFound`].
    pub async fn begin_deployment(&self, claim: &Claim, planned: &PlannedDeployment) -> Result<DeploymentPlan> {
        let plan = &planned.plan;
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        let begun = sqlx::query!(
            "update deployments set status = 'running', plan = $2, git_repos = $3, started_at = now(), updated_at = now()
             where id = $1 and status = 'created'",
            claim.job_id as _,
            plan as _,
            &plan.repos().iter().map(ToString::to_string).collect::<Vec<_>>()
        );
        if begun.execute(&mut *transaction).await?.rows_affected() > 0 {
            sqlx::query!("delete from deployment_targets where deployment = $1", claim.job_id as _)
                .execute(&mut *transaction)
                .await?;
            insert_targets(&mut transaction, claim.job_id, plan).await?;
            // What a rollback would put back.
            sqlx::query!(
                "insert into build_needs (application, build, reason, needed_by)
                 select distinct $2, build_before, 'rollback', $1::uuid::text from deployment_targets t
                     join builds b on b.application = $2 and b.name = t.build_before
                 where t.deployment = $1
                 on conflict do nothing",
                claim.job_id as _,
                claim.application()?.as_str()
            )
            .execute(&mut *transaction)
            .await?;
        }
        let fixed = sqlx::query_scalar!(
            r#"select plan as "plan: DeploymentPlan" from deployments where id = $1"#,
            claim.job_id as _
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::not_found(Noun::Deployment, claim.job_id))?;
        transaction.commit().await?;
        Ok(fixed)
    }

    /// Whether a deployment may go on: nobody has asked for it to stop, and who asked for it may still use these servers.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn standing(&self, claim: &Claim, servers: &[ServerName]) -> Result<Standing> {
        let asked = sqlx::query!(
            r#"select d.cancelled_by, (d.cancelled_by is not null or j.cancel_requested_at is not null) as "stops!",
                   d.plugin as "plugin: PluginName"
               from deployments d join jobs j on j.id = d.id where d.id = $1"#,
            claim.job_id as _
        );
        let asked = asked.fetch_optional(&self.pool).await?;
        let Some(asked) = asked else { return Ok(Standing::Cancelled(None)) };
        if asked.stops {
            return Ok(Standing::Cancelled(asked.cancelled_by));
        }
        if let Some(plugin) = asked.plugin {
            return Ok(Standing::OfPlugin(plugin));
        }
        let Some(caller) = self.requester(claim.job_id).await? else {
            let reason = "the token with which it was asked for has ended, or its user was removed";
            return Ok(Standing::Refused(reason.into()));
        };
        match caller.require_deploy(claim.application()?, servers) {
            Ok(()) => Ok(Standing::Goes),
            Err(refused) => Ok(Standing::Refused(refused.to_string())),
        }
    }

    /// Says in the document what a deployment does at the moment.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn deployment_is_on(&self, claim: &Claim, what: &str) -> Result<()> {
        sqlx::query!(
            "update deployments set currently_on = $2, updated_at = now() where id = $1",
            claim.job_id as _,
            what
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Records what the branches are at by a deployment.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn record_deployed_commits(&self, claim: &Claim, commits: &[DeployedCommit]) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        sqlx::query!(
            "update deployments set commits = $2, updated_at = now() where id = $1",
            claim.job_id as _,
            DeployedCommits(commits.to_vec()) as _
        )
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Records that a batch begins.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn begin_batch(&self, claim: &Claim, batch: usize, what: &str) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        sqlx::query!(
            "with begun as (
                 update deployment_targets set state = 'running', started_at = now()
                 where deployment = $1 and batch = $2 and state = 'pending')
             update deployments set currently_on = $3, updated_at = now() where id = $1",
            claim.job_id as _,
            i32::try_from(batch).map_err(Error::internal)?,
            what
        )
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Records how a deployment ended. Its build, and what a rollback of earlier ones would need, may go then, unless
    /// something else needs them.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn end_deployment(
        &self,
        claim: &Claim,
        status: DeploymentStatus,
        error: Option<&JobError>,
    ) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        close(&mut transaction, claim.job_id, status, error).await?;
        end_needs_of_rollbacks(&mut transaction, claim.application()?, Some(claim.job_id)).await?;
        Ok(transaction.commit().await?)
    }

    /// The same of one whose job cannot record it itself. Of a deployment that has ended nothing changes.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn close_deployment(&self, id: JobId, status: DeploymentStatus) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        close(&mut transaction, id, status, None).await?;
        Ok(transaction.commit().await?)
    }

    /// Asks for a deployment to stop, and its job. One that does not run at the moment stops when it is run, so that its
    /// hooks hear of it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if it has ended; [`Error::Denied`] without write permission on the
    /// application.
    pub async fn cancel_deployment(&self, caller: &Caller, application: &AppName, id: JobId) -> Result<()> {
        caller.require(Permission::Write, application)?;
        let mut transaction = self.change(caller, "deployments.cancel").await?;
        let found = sqlx::query!(
            r#"select d.status in ('created', 'running') as "goes_on!",
                   j.status in ('queued', 'running') as "works!"
               from jobs j join deployments d on d.id = j.id
               where d.id = $1 and d.application = $2 for update of j, d"#,
            id as _,
            application.as_str()
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::not_found(Noun::Deployment, id))?;
        if !found.goes_on || !found.works {
            return Err(Error::conflict(format!("deployment `{id}` has ended already")));
        }
        let by = described(caller);
        sqlx::query!(
            "with told as (
                 update jobs set cancel_requested_at = coalesce(cancel_requested_at, now()),
                     cancel_requested_by = coalesce(cancel_requested_by, $3), updated_at = now()
                 where id = $1 and status in ('queued', 'running'))
             update deployments set cancelled_by = coalesce(cancelled_by, $2), updated_at = now() where id = $1",
            id as _,
            by,
            caller.username().map(|name| name.as_str())
        )
        .execute(&mut *transaction)
        .await?;
        let change = serde_json::json!({ "cancelled_by": by });
        transaction.updated(Some(application), &id, &serde_json::json!({}), &change).await?;
        self.recorder.changed([id].into());
        Ok(())
    }
}

/// Lets builds go that no rollback needs any more: a deployment is taken back only where it was the last one, and only
/// while the gitdeploy is initialized there. What the deployment that ends now would put back stays.
pub(in crate::datasvc::documents) async fn end_needs_of_rollbacks(
    connection: &mut PgConnection,
    application: &AppName,
    ending: Option<JobId>,
) -> Result<()> {
    sqlx::query!(
        "delete from build_needs n where n.application = $2 and n.reason = 'rollback'
             and n.needed_by is distinct from $1::uuid::text
             and not exists (
                 select from deployment_targets t
                     join gitdeploy_servers s on s.application = $2 and s.gitdeploy = t.gitdeploy and s.server = t.server
                 where t.deployment::text = n.needed_by
                     and t.build_before = n.build and t.state not in ('pending', 'skipped')
                     and not exists (
                         select from deployment_targets newer join deployments d on d.id = newer.deployment
                         where newer.server = t.server and newer.gitdeploy = t.gitdeploy
                             and d.application = $2 and newer.deployment > t.deployment
                             and newer.state not in ('pending', 'skipped')))
             and exists (select from deployments d where d.id::text = n.needed_by
                 and d.status not in ('created', 'running'))",
        ending as _,
        application.as_str()
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn close(
    connection: &mut PgConnection,
    id: JobId,
    status: DeploymentStatus,
    error: Option<&JobError>,
) -> Result<()> {
    sqlx::query!(
        "with ended as (
             update deployments set status = $2, error = $3, currently_on = null, updated_at = now(), completed_at = now()
             where id = $1 and status in ('created', 'running'))
         delete from build_needs where reason = 'deployment' and needed_by = $1::uuid::text",
        id as _,
        status as _,
        error.map(sqlx::types::Json) as _
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes the targets of a plan, with what they have now.
pub(super) async fn insert_targets(connection: &mut PgConnection, id: JobId, plan: &DeploymentPlan) -> Result<()> {
    let numbered = (0..).zip(&plan.batches).flat_map(|(number, batch)| batch.targets.iter().map(move |t| (number, t)));
    let (mut batches, mut servers, mut gitdeploys): (Vec<i32>, Vec<String>, Vec<String>) = Default::default();
    let mut before: Vec<Option<String>> = Vec::new();
    let had: std::collections::BTreeMap<(&ServerName, &GitdeployName), _> =
        plan.before.iter().map(|had| ((&had.server, &had.gitdeploy), &had.deployed)).collect();
    for (number, target) in numbered {
        batches.push(number);
        servers.push(target.server.to_string());
        gitdeploys.push(target.gitdeploy.to_string());
        let build = had.get(&(&target.server, &target.gitdeploy)).copied();
        before.push(build.and_then(Option::as_ref).map(ToString::to_string));
    }
    sqlx::query!(
        "insert into deployment_targets (deployment, batch, server, gitdeploy, build_before)
         select $1, t.batch, t.server, t.gitdeploy, t.before
         from unnest($2::int[], $3::text[], $4::text[], $5::text[]) as t (batch, server, gitdeploy, before)",
        id as _,
        &batches,
        &servers,
        &gitdeploys,
        &before as _
    )
    .execute(connection)
    .await?;
    Ok(())
}
