//! Deployments: builds that go to servers, in batches. The id of a deployment is that of its job.

mod again;
mod asked;
mod batches;
mod list;
mod plan;
mod work;

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::to_raw_value;
use sqlx::types::Json as SqlJson;
use time::OffsetDateTime;

use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{
    AppName, BuildName, Digest, EnvironmentName, GitRepoName, GitdeployName, GroupName, JobId, PluginName, ServerName,
};
use crate::datasvc::ground::sql::{OnConstraint as _, json_column};
use crate::datasvc::jobs::error::JobError;
use crate::datasvc::jobs::job::{Enqueued, JobStatus, Parent};
use crate::datasvc::jobs::own::NewOwnJob;

pub use asked::{Again, DeploymentAsked, DeploymentOptions, DeploymentScope, GivenOptions};
pub use batches::{Batch, Target};
pub use list::DeploymentFilter;
pub use plan::{DeploymentPlan, DeploymentWait, PlannedCommit, PlannedDeployment};
pub use work::{Standing, TargetOutcome};

/// The kind of work of jobs that deploy builds.
pub const DEPLOYMENT: &str = "deployment";

/// How long a deployment may take beside its pauses.
const WITHIN_SECONDS: u64 = 24 * 3600;

/// A deployment.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Deployment {
    /// Its id.
    pub id: JobId,
    /// Its job, which has the same id.
    pub job_id: JobId,
    /// The application that it is of.
    pub application: AppName,
    /// The build that is deployed.
    pub build_name: BuildName,
    /// The environments that were asked for; null in a manual deployment.
    pub environments: Option<Vec<EnvironmentName>>,
    /// The groups that were asked for; null in a manual deployment.
    pub groups: Option<Vec<GroupName>>,
    /// The servers that were asked for; null in a deployment to groups.
    pub servers: Option<Vec<ServerName>>,
    /// The gitdeploys that were asked for; null in a deployment to groups.
    pub gitdeploys: Option<Vec<GitdeployName>>,
    /// Who asked for it; null: a plugin.
    pub username: Option<String>,
    /// The plugin that asked for it.
    pub plugin: Option<PluginName>,
    /// How it is done.
    pub options: DeploymentOptions,
    /// The deployment that it goes on with.
    pub resumes: Option<JobId>,
    /// The deployment that it takes back.
    pub rolls_back: Option<JobId>,
    /// Where it stands.
    pub status: DeploymentStatus,
    /// What it waits for.
    pub waits_for: Option<DeploymentWait>,
    /// The commit that it made in each git repository; with the branch, `site:main`, if it commits to several branches.
    pub commits: BTreeMap<String, String>,
    /// How many targets, which are gitdeploys on servers, are in which state.
    pub summary: DeploymentSummary,
    /// Why it ended otherwise than complete.
    pub error: Option<JobError>,
    /// What it does. Not in lists, unless they are to have details.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = DeploymentPlan)]
    pub plan: Option<DeploymentPlan>,
    /// How far it is. Not in lists, unless they are to have details.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = DeploymentProgress)]
    pub progress: Option<DeploymentProgress>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// When it began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub completed_at: Option<OffsetDateTime>,
}

/// Where a deployment stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum DeploymentStatus {
    /// It has not begun yet.
    Created,
    /// It goes on.
    Running,
    /// All targets have the build.
    Complete,
    /// It failed, on some servers or before it touched any.
    Error,
    /// Someone stopped it.
    Cancelled,
}

/// How many targets are in which state.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeploymentSummary {
    /// Not begun.
    pub pending: u32,
    /// Begun.
    pub running: u32,
    /// They have the build.
    pub succeeded: u32,
    /// They do not, or a command after the pull has failed.
    pub failed: u32,
    /// Left out.
    pub skipped: u32,
}

/// How far a deployment is.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct DeploymentProgress {
    /// What it does at the moment.
    pub currently_on: Option<String>,
    /// The commits.
    pub phase1: Phase1,
    /// The servers.
    pub phase2: Phase2,
}

/// The commits of a deployment.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Phase1 {
    /// By git repository, as in `commits`.
    pub gitrepos: BTreeMap<String, RepoProgress>,
}

/// How far a commit is.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct RepoProgress {
    /// In percent.
    #[schema(maximum = 100)]
    pub progress: u8,
    /// `pending`, `committed`, or `unchanged` where the branch had this content already.
    pub step: &'static str,
    /// How many files the commit has changed.
    pub changed_files: u64,
}

/// The servers of a deployment.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Phase2 {
    /// For each batch, by server and gitdeploy.
    #[schema(value_type = Vec<BTreeMap<String, BTreeMap<String, TargetProgress>>>)]
    pub batches: Vec<BTreeMap<ServerName, BTreeMap<GitdeployName, TargetProgress>>>,
}

/// How far a gitdeploy on a server is.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct TargetProgress {
    /// In percent.
    #[schema(maximum = 100)]
    pub progress: u8,
    /// Where it stands.
    pub state: TargetState,
    /// Why it failed or was left out, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = String)]
    pub code: Option<String>,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = String)]
    pub message: Option<String>,
    /// The commit that the working copy is at.
    pub head: Option<String>,
    /// The build that was there before.
    pub before: Option<BuildName>,
    /// When its batch began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
}

/// Where a target stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum TargetState {
    /// Its batch has not begun.
    Pending,
    /// Its batch has begun, and it has not ended.
    Running,
    /// It has the build.
    Succeeded,
    /// It does not, or a command after the pull has failed.
    Failed,
    /// It was left out: its server did not answer, or has failed before.
    Skipped,
}

impl TargetState {
    fn progress(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 50,
            Self::Succeeded | Self::Failed | Self::Skipped => 100,
        }
    }
}

/// What a branch is at by a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeployedCommit {
    /// The git repository.
    pub gitrepo: GitRepoName,
    /// The branch.
    pub branch: String,
    /// The commit.
    pub commit: String,
    /// Whether it was made now.
    pub is_new: bool,
    /// How many files it has changed.
    pub changed_files: u64,
}

/// Those of a deployment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::datasvc) struct DeployedCommits(pub Vec<DeployedCommit>);

json_column!(DeployedCommits);
json_column!(DeploymentSummary);

/// A deployment on its way into the queue.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    /// The application that it is of.
    pub application: AppName,
    /// What is asked.
    pub asked: DeploymentAsked,
    /// What that comes to.
    pub planned: PlannedDeployment,
    /// The client's key and what its request was.
    pub idempotency: Option<(String, Digest)>,
    /// The job that asks for it, if it is one.
    pub parent: Option<Parent>,
}

impl DataSvc {
    /// Makes a deployment and its job durable. Who calls this has planned it for the caller.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the application; [`Error::Conflict`] if another plan was agreed to;
    /// [`Error::KeyReused`]; [`Error::TooMany`] if too many jobs have come of one.
    pub async fn enqueue_deployment(&self, caller: &Caller, new: &NewDeployment) -> Result<Enqueued> {
        let NewDeployment { application, asked, planned, idempotency, parent } = new;
        if let Some((key, fingerprint)) = idempotency
            && let Some(before) = self.enqueued_before(caller, key, *fingerprint).await?
        {
            return Ok(before);
        }
        let plan = &planned.plan;
        if asked.plan.as_ref().is_some_and(|agreed| *agreed != plan.hash) {
            let reason = "something that the plan depends on has changed since it was made; make a new plan, with \
                          `dry_run=true`, and look at it";
            return Err(Error::conflict(reason));
        }
        if let Some(parent) = parent {
            self.check_descendants(parent).await?;
        }
        let pauses: u64 = plan.batches.iter().map(|batch| u64::from(asked.options.pause_after(batch))).sum();
        let job_id = self.new_job_id();
        let job = NewOwnJob {
            job_id,
            kind: DEPLOYMENT,
            name: asked.build_name.to_string(),
            application: application.clone(),
            data: to_raw_value(asked).map_err(Error::internal)?,
            timeout: std::time::Duration::from_secs(WITHIN_SECONDS + pauses),
            bound_to: planned.host,
            parent: *parent,
            idempotency: idempotency.clone(),
        };
        let mut transaction = self.change(caller, "deployments.create").await?;
        if !job.insert(&mut transaction, caller).await? {
            transaction.rollback().await?;
            let found = match idempotency {
                Some((key, fingerprint)) => self.enqueued_before(caller, key, *fingerprint).await?,
                None => None,
            };
            return found.ok_or_else(|| Error::not_found(Kind::Application, application));
        }
        sqlx::query!("update jobs set token_id = $2 where id = $1", job_id as _, caller.token() as _)
            .execute(&mut *transaction)
            .await?;
        let Asked { environments, groups, servers, gitdeploys, resumes, rolls_back } = Asked::of(&asked.scope);
        sqlx::query!(
            "insert into deployments (id, application, build, username, environments, groups, servers, gitdeploys,
                                      options, resumes, rolls_back, plan, git_repos, plugin)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
            job_id as _,
            application.as_str(),
            asked.build_name.as_str(),
            caller.username().map(|name| name.as_str()),
            environments.map(SqlJson) as _,
            groups.map(SqlJson) as _,
            servers.map(SqlJson) as _,
            gitdeploys.map(SqlJson) as _,
            asked.options as _,
            resumes as _,
            rolls_back as _,
            plan as _,
            &plan.repos().iter().map(ToString::to_string).collect::<Vec<_>>(),
            caller.plugin().map(PluginName::as_str)
        )
        .execute(&mut *transaction)
        .await?;
        work::insert_targets(&mut transaction, job_id, plan).await?;
        sqlx::query!(
            "insert into build_needs (application, build, reason, needed_by) values ($1, $2, 'deployment', $3)",
            application.as_str(),
            asked.build_name.as_str(),
            job_id.to_string()
        )
        .execute(&mut *transaction)
        .await
        .on_constraint("build_needs_build_fkey", || {
            Error::conflict(format!("build `{}` was removed meanwhile", asked.build_name))
        })?;
        transaction.created(Some(application), &job_id, &json!({ "asked": asked, "plan": plan.hash })).await?;
        Ok(Enqueued { job_id, status: JobStatus::Queued, claim: None })
    }

    /// One deployment.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without read permission on the application.
    pub async fn deployment(&self, caller: &Caller, application: &AppName, id: JobId) -> Result<Deployment> {
        caller.require(Permission::Read, application)?;
        self.deployment_for_work(application, id).await
    }

    /// One deployment, for its job.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn deployment_for_work(&self, application: &AppName, id: JobId) -> Result<Deployment> {
        let all = (JobId::LAST, JobId::FIRST);
        let mut found =
            self.read_deployments(application, Some(id), &DeploymentFilter::default(), all, 1, true).await?;
        found.pop().ok_or_else(|| Error::not_found(Kind::Deployment, id))
    }

    /// Those after the first of these ids, up to the second one, in this order.
    async fn read_deployments(
        &self,
        application: &AppName,
        id: Option<JobId>,
        filter: &DeploymentFilter,
        (after, last): (JobId, JobId),
        limit: i64,
        details: bool,
    ) -> Result<Vec<Deployment>> {
        let statuses = (!filter.statuses.is_empty()).then_some(&filter.statuses[..]);
        let rows = sqlx::query!(
            r#"select d.id as "id: JobId", d.application as "application: AppName", d.build as "build: BuildName",
                   d.environments as "environments: SqlJson<Vec<EnvironmentName>>",
                   d.groups as "groups: SqlJson<Vec<GroupName>>", d.servers as "servers: SqlJson<Vec<ServerName>>",
                   d.gitdeploys as "gitdeploys: SqlJson<Vec<GitdeployName>>", d.username, d.plugin as "plugin: PluginName",
                   d.options as "options: DeploymentOptions", d.resumes as "resumes: JobId",
                   d.rolls_back as "rolls_back: JobId", d.commits as "commits: DeployedCommits", d.currently_on,
                   standing.status as "status!: DeploymentStatus",
                   d.plan as "plan: DeploymentPlan",
                   coalesce(d.error, j.error) as "error: SqlJson<JobError>",
                   (select json_build_object('reason', 'gitrepo', 'gitrepo', r.name, 'job_id', o.id, 'name', o.name)
                    from git_repos r join jobs o on o.id = r.lock_job and o.fence = r.lock_fence
                    where r.application = d.application and r.name = any(d.git_repos) and o.id <> d.id
                        and o.status = 'running' and d.status = 'created' order by r.name limit 1)
                       as "waits_for: DeploymentWait",
                   (select json_build_object(
                        'pending', count(*) filter (where state = 'pending'),
                        'running', count(*) filter (where state = 'running'),
                        'succeeded', count(*) filter (where state = 'succeeded'),
                        'failed', count(*) filter (where state = 'failed'),
                        'skipped', count(*) filter (where state = 'skipped'))
                    from deployment_targets t where t.deployment = d.id) as "summary!: DeploymentSummary",
                   d.created_at, d.updated_at, d.started_at, d.completed_at
               from deployments d left join jobs j on j.id = d.id cross join lateral (
                   select case when d.status not in ('created', 'running') or j.status in ('queued', 'running') then d.status
                       when j.status = 'cancelled' then 'cancelled' else 'error' end as status
               ) as standing
               where d.application = $1 and ($2::uuid is null or d.id = $2)
                   and case when $6 then d.id < $3 and d.id >= $4 else d.id > $3 and d.id <= $4 end
                   and ($7::text[] is null or standing.status = any($7))
                   and ($8::timestamptz is null or d.created_at >= $8) and ($9::timestamptz is null or d.created_at < $9)
               order by case when $6 then d.id end desc, d.id limit $5"#,
            application.as_str(),
            id as _,
            after as _,
            last as _,
            limit,
            filter.order.is_newest_first(),
            statuses as _,
            filter.since,
            filter.until
        )
        .fetch_all(&self.pool)
        .await?;
        let mut deployments = Vec::new();
        for row in rows {
            let progress = match details {
                true => Some(self.progress(row.id, &row.plan, &row.commits, row.currently_on).await?),
                false => None,
            };
            deployments.push(Deployment {
                id: row.id,
                job_id: row.id,
                application: row.application,
                build_name: row.build,
                environments: row.environments.map(|names| names.0),
                groups: row.groups.map(|names| names.0),
                servers: row.servers.map(|names| names.0),
                gitdeploys: row.gitdeploys.map(|names| names.0),
                username: row.username,
                plugin: row.plugin,
                options: row.options,
                resumes: row.resumes,
                rolls_back: row.rolls_back,
                status: row.status,
                waits_for: row.waits_for,
                commits: row.commits.by_repo(&row.plan),
                summary: row.summary,
                error: row.error.map(|error| error.0),
                plan: details.then_some(row.plan),
                progress,
                created_at: row.created_at,
                updated_at: row.updated_at,
                started_at: row.started_at,
                completed_at: row.completed_at,
            });
        }
        Ok(deployments)
    }

    async fn progress(
        &self,
        id: JobId,
        plan: &DeploymentPlan,
        commits: &DeployedCommits,
        currently_on: Option<String>,
    ) -> Result<DeploymentProgress> {
        let mut batches = Vec::new();
        batches.resize_with(plan.batches.len(), BTreeMap::<_, BTreeMap<_, _>>::new);
        let mut rows = sqlx::query!(
            r#"select batch, server as "server: ServerName", gitdeploy as "gitdeploy: GitdeployName",
                   state as "state: TargetState", code, message, head, build_before as "before: BuildName", started_at,
                   ended_at
               from deployment_targets where deployment = $1"#,
            id as _
        )
        .fetch(&self.pool);
        while let Some(row) = rows.try_next().await? {
            let target = TargetProgress {
                progress: row.state.progress(),
                state: row.state,
                code: row.code,
                message: row.message,
                head: row.head,
                before: row.before,
                started_at: row.started_at,
                ended_at: row.ended_at,
            };
            if let Some(batch) = usize::try_from(row.batch).ok().and_then(|batch| batches.get_mut(batch)) {
                batch.entry(row.server).or_default().insert(row.gitdeploy, target);
            }
        }
        let gitrepos = plan.commits.iter().map(|planned| {
            let made = commits.0.iter().find(|made| made.gitrepo == planned.gitrepo && made.branch == planned.branch);
            let progress = match made {
                None => RepoProgress { step: "pending", ..RepoProgress::default() },
                Some(DeployedCommit { is_new, changed_files, .. }) => RepoProgress {
                    progress: 100,
                    step: if *is_new { "committed" } else { "unchanged" },
                    changed_files: *changed_files,
                },
            };
            (key(plan, &planned.gitrepo, &planned.branch), progress)
        });
        let phase1 = Phase1 { gitrepos: gitrepos.collect() };
        Ok(DeploymentProgress { currently_on, phase1, phase2: Phase2 { batches } })
    }
}

impl DeployedCommits {
    fn by_repo(&self, plan: &DeploymentPlan) -> BTreeMap<String, String> {
        let named = self.0.iter().map(|made| (key(plan, &made.gitrepo, &made.branch), made.commit.clone()));
        named.collect()
    }
}

/// What a branch of a repository is called in a document: like its repository, where there is no other.
fn key(plan: &DeploymentPlan, repo: &GitRepoName, branch: &str) -> String {
    match plan.commits.iter().filter(|commit| commit.gitrepo == *repo).count() {
        0 | 1 => repo.to_string(),
        _ => format!("{repo}:{branch}"),
    }
}

/// What was asked, as columns.
#[derive(Default)]
struct Asked<'a> {
    environments: Option<&'a [EnvironmentName]>,
    groups: Option<&'a [GroupName]>,
    servers: Option<&'a [ServerName]>,
    gitdeploys: Option<&'a [GitdeployName]>,
    resumes: Option<JobId>,
    rolls_back: Option<JobId>,
}

impl<'a> Asked<'a> {
    fn of(scope: &'a DeploymentScope) -> Self {
        match scope {
            DeploymentScope::Manual { servers, gitdeploys } => {
                Self { servers: Some(servers), gitdeploys: Some(gitdeploys), ..Self::default() }
            }
            DeploymentScope::Groups { environments, groups } => {
                Self { environments: Some(environments), groups: Some(groups), ..Self::default() }
            }
            DeploymentScope::Again(again) => Self {
                environments: again.environments.as_deref(),
                groups: again.groups.as_deref(),
                resumes: (!again.is_rollback).then_some(again.of),
                rolls_back: again.is_rollback.then_some(again.of),
                ..Self::default()
            },
        }
    }
}
