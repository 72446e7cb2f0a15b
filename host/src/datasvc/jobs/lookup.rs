//! Jobs as their users see them: asked for, looked at, listed. What runs them is in `queue`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use sqlx::postgres::PgConnection;
use sqlx::types::Json as SqlJson;
use time::OffsetDateTime;
use tracing::error;

use super::cancel::JobLane;
use super::intake::{NewRow, Taker};
use super::log::SOURCE_HOST;
use super::queue::{Claim, TAKEN};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{ActionName, AppName, Digest, JobId, PluginName};
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::sql::OnConstraint;

/// A JSON text, kept as it came: with its order, its repeats and its numbers. It goes to the database as text, because
/// sqlx would send it as `jsonb`, which keeps none of them.
pub type Json = Box<RawValue>;

/// The kind of work of jobs that run an action of a plugin.
pub const ACTION: &str = "action";

/// How many bytes of jobs are read at a time, give or take the last one.
const MAX_PAGE_BYTES: i64 = 4 * 1024 * 1024;

/// What kind of work a job is, such as `action` or `upload`. The data services know no kind: the engine does.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, sqlx::Type, utoipa::ToSchema)]
#[serde(transparent)]
#[sqlx(transparent)]
#[schema(example = "action")]
pub struct JobType(String);

impl JobType {
    /// The kind of this name.
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// As in the documents.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, serde::Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum JobStatus {
    /// It waits for a worker.
    Queued,
    /// A worker runs it.
    Running,
    /// It ended with a result.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// Someone stopped it.
    Cancelled,
    /// Its host died while it ran, and it may not be run again.
    Lost,
}

impl JobStatus {
    /// As in the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// Whether nothing more will come of it.
    pub fn is_final(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Lost => true,
        }
    }
}

/// Why a job ended without a result.
#[derive(Clone, Debug, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct JobError {
    /// Stable, in kebab-case.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// What the plugin gave with its failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub details: Option<serde_json::Value>,
    /// Where in the plugin it happened, line by line: the traceback of its language, or wasm's, innermost frame first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Vec<String>>,
}

impl JobError {
    /// One without details.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: None, trace: None }
    }

    /// A fault of the service: `what` went wrong and its cause are logged here, and not shown.
    pub fn internal(what: &str, cause: &dyn std::error::Error) -> Self {
        error!("{what}: {cause:?}");
        Self::new("internal", "the service failed; the server's log says why")
    }
}

/// Which plugin a job runs.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobPlugin {
    /// Its name.
    pub name: PluginName,
    /// The very component, whatever is active by now.
    #[schema(value_type = String)]
    pub digest: Digest,
}

impl JobPlugin {
    /// As it is stored.
    pub(in crate::datasvc) fn from_row(plugin: Option<PluginName>, digest: Option<Vec<u8>>) -> Result<Option<Self>> {
        match (plugin, digest) {
            (Some(name), Some(digest)) => Ok(Some(Self { name, digest: digest.try_into()? })),
            _ => Ok(None),
        }
    }
}

/// A job.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Job {
    /// Its id.
    pub job_id: JobId,
    /// What runs, such as the action's name.
    pub name: String,
    /// What it does.
    pub job_type: JobType,
    /// Where it stands.
    pub status: JobStatus,
    /// The application it belongs to.
    pub application: Option<AppName>,
    /// Who asked for it.
    pub username: Option<String>,
    /// What was asked.
    #[schema(value_type = Object)]
    pub data: Json,
    /// How often it was started.
    pub attempt: i32,
    /// What it runs.
    pub plugin: Option<JobPlugin>,
    /// What it returned: any JSON, once it has succeeded.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Json>,
    /// Why it ended otherwise.
    pub error: Option<JobError>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// When its last attempt began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub completed_at: Option<OffsetDateTime>,
    /// When someone asked for it to stop.
    #[serde(with = "time::serde::rfc3339::option")]
    pub cancel_requested_at: Option<OffsetDateTime>,
    /// From its start to its end, or to now.
    pub duration_in_seconds: Option<f64>,
}

/// A job for an action, as it is asked for.
#[derive(Clone, Debug)]
pub struct NewActionJob {
    /// The application it was called for.
    pub application: AppName,
    /// Its name.
    pub action: ActionName,
    /// The plugin that registered it.
    pub plugin: PluginName,
    /// The component to run.
    pub digest: Digest,
    /// Whether it may be run again when its host dies.
    pub idempotent: bool,
    /// The wall-clock limit of a run.
    pub timeout: Duration,
    /// What was asked, for the job's document and for the run.
    pub data: Json,
    /// The client's key and what its request was.
    pub idempotency: Option<(String, Digest)>,
    /// Who takes it at once. Without one it waits in the queue.
    pub taker: Option<Taker>,
    /// The job that asks for it, if it is one.
    pub parent: Option<Parent>,
}

/// A job that has started another one.
#[derive(Clone, Copy, Debug)]
pub struct Parent {
    /// The job.
    pub job_id: JobId,
    /// The job that all this began with, which a user asked for.
    pub root: JobId,
    /// How many jobs are above it.
    pub depth: i32,
    /// How many jobs may come of the root.
    pub descendants: u32,
}

impl Parent {
    /// How many jobs may be above another one.
    const MAX_DEPTH: i32 = 8;

    /// Whether it may start another job.
    ///
    /// # Errors
    /// [`Error::TooMany`] if too many are above it.
    pub fn check(&self) -> Result<()> {
        if self.depth < Self::MAX_DEPTH {
            return Ok(());
        }
        Err(Error::TooMany { what: "jobs started by one another", limit: Self::MAX_DEPTH.unsigned_abs() })
    }
}

/// The answer to asking for a job.
#[derive(Clone, Debug)]
pub struct Enqueued {
    /// Its id.
    pub job_id: JobId,
    /// Where it stood: queued if it is new, even where its taker has begun with it.
    pub status: JobStatus,
    /// What its taker holds of it, if it has one and the job is new.
    pub claim: Option<Claim>,
}

/// Which jobs to list. What is `None` filters nothing.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Queued and running ones, or those that have ended.
    pub active: Option<bool>,
    /// Those in this state.
    pub status: Option<JobStatus>,
    /// Those of this application.
    pub application: Option<AppName>,
    /// Those of this name.
    pub name: Option<String>,
    /// Those created at this time or later.
    pub since: Option<OffsetDateTime>,
}

impl DataSvc {
    /// Makes a job for an action durable. It runs once a worker claims it, or at once where it has a taker.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application does not exist; [`Error::KeyReused`] if the idempotency key came with
    /// another request; [`Error::Denied`] without execute permission.
    pub async fn enqueue_action(&self, caller: &Caller, job: NewActionJob) -> Result<Enqueued> {
        caller.require_execute(&job.application, &job.action)?;
        let (id, username) = (self.new_job_id(), caller.username().map(|name| name.as_str().to_owned()));
        let asked_at = Instant::now();
        let added = self.intake.add(NewRow { id, username: username.clone(), job: job.clone() }).await?;
        let NewActionJob {
            application,
            action,
            plugin,
            digest,
            timeout,
            data,
            idempotency,
            taker,
            parent,
            idempotent: _,
        } = job;
        if added.is_none() {
            if let Some(parent) = &parent {
                self.check_descendants(parent).await?;
            }
            let found = match &idempotency {
                Some((key, fingerprint)) => self.enqueued_before(caller, key, *fingerprint).await?,
                None => None,
            };
            return found.ok_or_else(|| Error::not_found(Kind::Application, application));
        }
        let claim = taker.map(|taker| Claim {
            job_id: id,
            fence: 1,
            asked_at,
            attempt: i32::from(taker.starts),
            started: taker.starts,
            root: parent.map_or(id, |parent| parent.root),
            depth: parent.map_or(0, |parent| parent.depth + 1),
            entries: 0,
            plugin_entries: 0,
            plugin_bytes: 0,
            application,
            name: action.to_string(),
            job_type: JobType::new(ACTION),
            plugin: Some(JobPlugin { name: plugin, digest }),
            username,
            data,
            timeout,
        });
        Ok(Enqueued { job_id: id, status: JobStatus::Queued, claim })
    }

    /// # Errors
    /// [`Error::TooMany`] if as many jobs as may have come of the root of this one.
    async fn check_descendants(&self, parent: &Parent) -> Result<()> {
        let counting = sqlx::query_scalar!(
            r#"select count(*) as "count!" from (select from jobs where root = $1 limit $2) as family"#,
            parent.root as _,
            i64::from(parent.descendants)
        );
        let count = self.reads.run(async |connection| Ok(counting.fetch_one(connection).await?)).await?;
        if count < i64::from(parent.descendants) {
            return Ok(());
        }
        Err(Error::TooMany { what: "jobs that come of one job", limit: parent.descendants })
    }

    /// The job that this caller's key stands for, if it has been used.
    ///
    /// # Errors
    /// [`Error::KeyReused`] if it was another request.
    pub async fn enqueued_before(&self, caller: &Caller, key: &str, fingerprint: Digest) -> Result<Option<Enqueued>> {
        let looking = sqlx::query!(
            r#"select id as "id: JobId", status as "status: JobStatus", idempotency_fingerprint = $3 as "same!"
               from jobs where username = $1 and idempotency_key = $2"#,
            caller.username().map(|name| name.as_str()),
            key,
            fingerprint.as_bytes()
        );
        let found = self.reads.run(async |connection| Ok(looking.fetch_optional(connection).await?)).await?;
        match found {
            Some(job) if job.same => Ok(Some(Enqueued { job_id: job.id, status: job.status, claim: None })),
            Some(_) => Err(Error::KeyReused { key: key.to_owned() }),
            None => Ok(None),
        }
    }

    /// Asks for a job to stop. One that is queued has ended when this returns; one that runs is told, and stopped
    /// after a while. Says where it stands then. `may` says whether the caller may stop this kind of work.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for a job of an application that the caller may not read; [`Error::Denied`] if the
    /// caller may not run such a job; [`Error::Conflict`] if it has ended otherwise.
    pub async fn cancel_job(&self, caller: &Caller, id: JobId, may: impl Fn(&JobLane) -> Result<()>) -> Result<Job> {
        let job = self.job(caller, id).await?;
        may(&JobLane::of(&job))?;
        let error = JobError::new("cancelled", format!("{} asked for it to stop", described(caller)));
        let error = serde_json::to_value(&error).map_err(Error::internal)?;
        let changed = loop {
            match self.request_stop(caller, &job, &error).await {
                // The former holder has just recorded an entry.
                Err(Error::Conflict { reason }) if reason == TAKEN => {}
                other => break other?,
            }
        };
        if changed.is_some() {
            self.recorder.changed([id].into());
        }
        let job = self.job(caller, id).await?;
        match job.status {
            JobStatus::Queued | JobStatus::Running | JobStatus::Cancelled => Ok(job),
            JobStatus::Succeeded | JobStatus::Failed | JobStatus::Lost => {
                Err(Error::conflict(format!("job `{id}` has ended already: it is `{}`", job.status.as_str())))
            }
        }
    }

    /// Where the job stands then, if it had not ended.
    async fn request_stop(&self, caller: &Caller, job: &Job, error: &serde_json::Value) -> Result<Option<JobStatus>> {
        let mut transaction = self.change(caller, "jobs.cancel").await?;
        let status = sqlx::query_scalar!(
            r#"with cancelled as (
                   update jobs set cancel_requested_at = coalesce(cancel_requested_at, now()),
                       cancel_requested_by = coalesce(cancel_requested_by, $2), updated_at = now(),
                       status = case status when 'queued' then 'cancelled' else status end,
                       fence = fence + (status = 'queued')::int,
                       completed_at = case status when 'queued' then now() end,
                       error = case status when 'queued' then $3::json end
                   where id = $1 and status in ('queued', 'running') returning id, status
               ), noted as (
                   insert into job_entries (job_id, seq, source, data)
                   select id, 1 + (select coalesce(max(seq), 0) from job_entries where job_id = cancelled.id), $4,
                       json_build_object('status', 'cancelled', 'error', $3::json)
                   from cancelled where status = 'cancelled'
               )
               select status as "status: JobStatus" from cancelled"#,
            job.job_id as _,
            caller.username().map(|name| name.as_str()),
            error,
            SOURCE_HOST
        )
        .fetch_optional(&mut *transaction)
        .await
        .on_constraint("job_entries_pkey", || Error::conflict(TAKEN))?;
        let Some(status) = status else { return Ok(None) };
        let after = json!({ "status": status, "cancel_requested": true });
        transaction.updated(job.application.as_ref(), &job.job_id, &json!({ "status": job.status }), &after).await?;
        Ok(Some(status))
    }

    /// One job.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for a job of an application that the caller may not read.
    pub async fn job(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let reading = sqlx::query_as!(
            JobRow,
            r#"select id as "id: JobId", name, job_type as "job_type: JobType", status as "status: JobStatus",
                   application as "application: AppName", username, data as "data: SqlJson<Json>", attempt,
                   nullif(plugin, '') as "plugin: PluginName", component_digest, result as "result: SqlJson<Json>",
                   error as "error: SqlJson<JobError>", created_at, updated_at, started_at, completed_at,
                   cancel_requested_at, 1::bigint as "found!"
               from jobs where id = $1"#,
            id as _
        );
        let row = self.reads.run(async |connection| Ok(reading.fetch_optional(connection).await?)).await?;
        match row {
            Some(row) if may_read(caller, row.application.as_ref()) => row.try_into(),
            _ => Err(Error::not_found(Kind::Job, id)),
        }
    }

    /// The jobs that the caller may read, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the page begins after something that is no job id.
    pub async fn jobs(&self, caller: &Caller, filter: &JobFilter, page: &Page) -> Result<Listed<Job>> {
        let after = page.after_as(JobId::parse)?;
        let applications = match (&filter.application, self.readable_applications(caller).await?) {
            (Some(wanted), None) => Some(vec![wanted.to_string()]),
            (Some(wanted), Some(readable)) => {
                Some(readable.into_iter().filter(|name| name == wanted.as_str()).collect())
            }
            (None, readable) => readable,
        };
        let mut transaction = self.pool.begin().await?;
        // A plan for these filters, and not one that fits all: each has an index of its own.
        sqlx::query!("set local plan_cache_mode = force_custom_plan").execute(&mut *transaction).await?;
        let rows = match applications {
            None => self.jobs_of_all(&mut transaction, filter, after, page).await?,
            Some(applications) => self.jobs_of(&mut transaction, &applications, filter, after, page).await?,
        };
        transaction.commit().await?;
        let found = rows.first().map_or(0, |row| row.found);
        let jobs = rows.into_iter().map(Job::try_from).collect::<Result<Vec<_>>>()?;
        Ok(page.cut_from(found, jobs, |job| job.job_id.to_string()))
    }

    /// How far these jobs are: the numbers of their last entries, and whether they have ended.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn job_positions(&self, jobs: &[JobId]) -> Result<Vec<(JobId, (i64, bool))>> {
        let positions = sqlx::query!(
            r#"select id as "id: JobId", status not in ('queued', 'running') as "ended!",
                   (select coalesce(max(seq), 0) from job_entries where job_id = jobs.id) as "last!"
               from jobs where id = any($1)"#,
            jobs as _
        );
        let rows = self.reads.run(async |connection| Ok(positions.fetch_all(connection).await?)).await?;
        Ok(rows.into_iter().map(|row| (row.id, (row.last, row.ended))).collect())
    }

    async fn jobs_of_all(
        &self,
        transaction: &mut PgConnection,
        filter: &JobFilter,
        after: Option<JobId>,
        page: &Page,
    ) -> Result<Vec<JobRow>> {
        let rows = sqlx::query_as!(
            JobRow,
            r#"select id as "id: JobId", name, job_type as "job_type: JobType", status as "status: JobStatus",
                   application as "application: AppName", username, data as "data: SqlJson<Json>", attempt,
                   nullif(plugin, '') as "plugin: PluginName", component_digest, result as "result: SqlJson<Json>",
                   error as "error: SqlJson<JobError>", created_at, updated_at, started_at, completed_at,
                   cancel_requested_at, found as "found!"
               from (
                   select *, count(*) over () as found,
                       coalesce(sum(octet_length(data::text) + coalesce(octet_length(result::text), 0)
                                    + coalesce(octet_length(error::text), 0))
                                over (order by id desc rows between unbounded preceding and 1 preceding), 0) as before
                   from (
                       select * from jobs
                       where ($1::uuid is null or id < $1)
                           and ($2::text is null or name = $2)
                           and ($3::text is null or status = $3)
                           and (not coalesce($4::boolean, false) or status in ('queued', 'running'))
                           and (coalesce($4::boolean, true) or status not in ('queued', 'running'))
                           and ($5::timestamptz is null or created_at >= $5)
                           and ($6::uuid is null or id >= $6)
                       order by id desc limit $7
                   ) as wanted
               ) as counted where before < $8 order by id desc"#,
            after as _,
            filter.name,
            filter.status as _,
            filter.active,
            filter.since,
            filter.since.map(JobId::before) as _,
            page.fetch(),
            MAX_PAGE_BYTES
        )
        .fetch_all(transaction)
        .await?;
        Ok(rows)
    }

    /// The newest of each application are merged, so that few jobs among many of others are found as fast.
    async fn jobs_of(
        &self,
        transaction: &mut PgConnection,
        applications: &[String],
        filter: &JobFilter,
        after: Option<JobId>,
        page: &Page,
    ) -> Result<Vec<JobRow>> {
        let rows = sqlx::query_as!(
            JobRow,
            r#"select id as "id: JobId", name, job_type as "job_type: JobType", status as "status: JobStatus",
                   application as "application: AppName", username, data as "data: SqlJson<Json>", attempt,
                   nullif(plugin, '') as "plugin: PluginName", component_digest, result as "result: SqlJson<Json>",
                   error as "error: SqlJson<JobError>", created_at, updated_at, started_at, completed_at,
                   cancel_requested_at, found as "found!"
               from (
                   select *, count(*) over () as found,
                       coalesce(sum(octet_length(data::text) + coalesce(octet_length(result::text), 0)
                                    + coalesce(octet_length(error::text), 0))
                                over (order by id desc rows between unbounded preceding and 1 preceding), 0) as before
                   from (
                       select newest.* from unnest($9::text[]) as readable (app) cross join lateral (
                           select * from jobs
                           where application = app and ($1::uuid is null or id < $1)
                           and ($2::text is null or name = $2)
                           and ($3::text is null or status = $3)
                           and (not coalesce($4::boolean, false) or status in ('queued', 'running'))
                           and (coalesce($4::boolean, true) or status not in ('queued', 'running'))
                           and ($5::timestamptz is null or created_at >= $5)
                           and ($6::uuid is null or id >= $6)
                           order by id desc limit $7
                       ) as newest
                       order by id desc limit $7
                   ) as wanted
               ) as counted where before < $8 order by id desc"#,
            after as _,
            filter.name,
            filter.status as _,
            filter.active,
            filter.since,
            filter.since.map(JobId::before) as _,
            page.fetch(),
            MAX_PAGE_BYTES,
            applications
        )
        .fetch_all(transaction)
        .await?;
        Ok(rows)
    }

    /// The applications whose jobs the caller may see; `None` means all jobs.
    async fn readable_applications(&self, caller: &Caller) -> Result<Option<Vec<String>>> {
        if caller.may_globally(Permission::Read) {
            return Ok(None);
        }
        let names: BTreeSet<AppName> = sqlx::query_scalar!(r#"select name as "name: AppName" from applications"#)
            .fetch_all(&self.pool)
            .await?
            .into_iter()
            .collect();
        let readable = names.into_iter().filter(|name| caller.may(Permission::Read, name));
        Ok(Some(readable.map(|name| name.to_string()).collect()))
    }
}

/// Who the caller is, for a sentence.
pub(in crate::datasvc) fn described(caller: &Caller) -> String {
    match caller {
        Caller::User { name, .. } => format!("user `{name}`"),
        Caller::Plugin { name, .. } => format!("plugin `{name}`"),
    }
}

/// Whether the caller may see a job of this application.
pub(in crate::datasvc) fn may_read(caller: &Caller, application: Option<&AppName>) -> bool {
    application.is_some_and(|application| caller.may(Permission::Read, application))
        || caller.may_globally(Permission::Read)
}

/// A job as it is stored.
struct JobRow {
    id: JobId,
    name: String,
    job_type: JobType,
    status: JobStatus,
    application: Option<AppName>,
    username: Option<String>,
    data: SqlJson<Json>,
    attempt: i32,
    plugin: Option<PluginName>,
    component_digest: Option<Vec<u8>>,
    result: Option<SqlJson<Json>>,
    error: Option<SqlJson<JobError>>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    started_at: Option<OffsetDateTime>,
    completed_at: Option<OffsetDateTime>,
    cancel_requested_at: Option<OffsetDateTime>,
    /// How many there are for the page, of which those at its end may be left out for their length.
    found: i64,
}

impl TryFrom<JobRow> for Job {
    type Error = Error;

    fn try_from(row: JobRow) -> Result<Self> {
        let plugin = JobPlugin::from_row(row.plugin, row.component_digest)?;
        let until = row.completed_at.unwrap_or_else(OffsetDateTime::now_utc);
        let duration = row.started_at.map(|from| (until - from).as_seconds_f64().max(0.0));
        Ok(Self {
            job_id: row.id,
            name: row.name,
            job_type: row.job_type,
            status: row.status,
            application: row.application,
            username: row.username,
            data: row.data.0,
            attempt: row.attempt,
            plugin,
            result: row.result.map(|result| result.0),
            error: row.error.map(|error| error.0),
            created_at: row.created_at,
            updated_at: row.updated_at,
            started_at: row.started_at,
            completed_at: row.completed_at,
            cancel_requested_at: row.cancel_requested_at,
            duration_in_seconds: duration,
        })
    }
}
