//! Jobs as their users see them: asked for, looked at, listed. What runs them is in `queue`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json as SqlJson;
use time::OffsetDateTime;

use super::DataSvc;
use super::caller::{Caller, Permission};
use super::error::{Error, Kind, Result};
use super::ids::{ActionName, AppName, Digest, JobId, PluginName};
use super::page::{Listed, Page};

/// A JSON text, kept as it came: with its order, its repeats and its numbers. It goes to the database as text, because
/// sqlx would send it as `jsonb`, which keeps none of them.
pub type Json = Box<RawValue>;

/// What a job does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum JobType {
    /// Runs an action of a plugin.
    Action,
}

impl JobType {
    /// As in the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
        }
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
    /// The plugin's own backtrace, innermost frame first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Vec<String>>,
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
}

/// The answer to asking for a job.
#[derive(Clone, Debug)]
pub struct Enqueued {
    /// Its id.
    pub job_id: JobId,
    /// Where it stands: further than queued, where the same request came before.
    pub status: JobStatus,
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
    /// Makes a job for an action durable. It runs once a worker claims it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application does not exist; [`Error::KeyReused`] if the idempotency key came with
    /// another request; [`Error::Denied`] without execute permission.
    pub async fn enqueue_action(&self, caller: &Caller, new: NewActionJob) -> Result<Enqueued> {
        let NewActionJob { application, action, plugin, digest, idempotent, timeout, data, idempotency } = new;
        caller.require_execute(&application, &action)?;
        let username = caller.username().map(|name| name.as_str());
        let (key, fingerprint) =
            idempotency.as_ref().map(|(key, fingerprint)| (key.as_str(), fingerprint.as_bytes())).unzip();
        let job_id = JobId::new();
        // The row lock on the application keeps it from being deleted under the new job.
        let inserted = sqlx::query_scalar!(
            r#"insert into jobs (id, job_type, name, application, username, data, plugin, component_digest, idempotent,
                                 timeout_ms, idempotency_key, idempotency_fingerprint)
               select $1, $2, $3, name, $4, $5::text::json, $6, $7, $8, $9, $10, $11 from applications where name = $12 for key share
               on conflict (username, idempotency_key) where idempotency_key is not null do nothing
               returning id as "id: JobId""#,
            job_id as _,
            JobType::Action as _,
            action.as_str(),
            username,
            data.get(),
            plugin.as_str(),
            digest.as_bytes(),
            idempotent,
            i64::try_from(timeout.as_millis()).map_err(Error::internal)?,
            key,
            fingerprint,
            application.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        match (inserted, idempotency) {
            (Some(job_id), _) => Ok(Enqueued { job_id, status: JobStatus::Queued }),
            (None, Some((key, fingerprint))) => self.enqueued_before(username, key, fingerprint, &application).await,
            (None, None) => Err(Error::not_found(Kind::Application, application)),
        }
    }

    /// The job that this key stands for, if it was the same request.
    async fn enqueued_before(
        &self,
        username: Option<&str>,
        key: String,
        fingerprint: Digest,
        application: &AppName,
    ) -> Result<Enqueued> {
        let found = sqlx::query!(
            r#"select id as "id: JobId", status as "status: JobStatus", idempotency_fingerprint = $3 as "same!"
               from jobs where username = $1 and idempotency_key = $2"#,
            username,
            key,
            fingerprint.as_bytes()
        )
        .fetch_optional(&self.pool)
        .await?;
        match found {
            Some(job) if job.same => Ok(Enqueued { job_id: job.id, status: job.status }),
            Some(_) => Err(Error::KeyReused { key }),
            None => Err(Error::not_found(Kind::Application, application)),
        }
    }

    /// One job.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for a job of an application that the caller may not read.
    pub async fn job(&self, caller: &Caller, id: JobId) -> Result<Job> {
        let row = sqlx::query_as!(
            JobRow,
            r#"select id as "id: JobId", name, job_type as "job_type: JobType", status as "status: JobStatus",
                   application as "application: AppName", username, data as "data: SqlJson<Json>", attempt,
                   plugin as "plugin: PluginName", component_digest, result as "result: SqlJson<Json>",
                   error as "error: SqlJson<JobError>", created_at, updated_at, started_at, completed_at
               from jobs where id = $1"#,
            id as _
        )
        .fetch_optional(&self.pool)
        .await?;
        match row {
            Some(row) if may_read(caller, row.application.as_ref()) => row.try_into(),
            _ => Err(Error::not_found(Kind::Job, id)),
        }
    }

    /// # Errors
    /// [`Error::NotFound`], also for a job of an application that the caller may not read.
    pub(super) async fn require_visible_job(&self, caller: &Caller, id: JobId) -> Result<()> {
        let found = sqlx::query!(r#"select application as "application: AppName" from jobs where id = $1"#, id as _)
            .fetch_optional(&self.pool)
            .await?;
        match found {
            Some(job) if may_read(caller, job.application.as_ref()) => Ok(()),
            _ => Err(Error::not_found(Kind::Job, id)),
        }
    }

    /// The jobs that the caller may read, newest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the page begins after something that is no job id.
    pub async fn jobs(&self, caller: &Caller, filter: &JobFilter, page: &Page) -> Result<Listed<Job>> {
        let after = page.after_as(JobId::parse)?;
        let readable = self.readable_applications(caller).await?;
        let rows = sqlx::query_as!(
            JobRow,
            r#"select id as "id: JobId", name, job_type as "job_type: JobType", status as "status: JobStatus",
                   application as "application: AppName", username, data as "data: SqlJson<Json>", attempt,
                   plugin as "plugin: PluginName", component_digest, result as "result: SqlJson<Json>",
                   error as "error: SqlJson<JobError>", created_at, updated_at, started_at, completed_at
               from jobs
               where ($1::uuid is null or id < $1)
                   and ($2::text[] is null or application = any($2))
                   and ($3::text is null or application = $3)
                   and ($4::text is null or name = $4)
                   and ($5::text is null or status = $5)
                   and ($6::boolean is null or (status in ('queued', 'running')) = $6)
                   and ($7::timestamptz is null or created_at >= $7)
               order by id desc limit $8"#,
            after as _,
            readable.as_deref(),
            filter.application.as_ref().map(AppName::as_str),
            filter.name,
            filter.status as _,
            filter.active,
            filter.since,
            page.fetch()
        )
        .fetch_all(&self.pool)
        .await?;
        let jobs = rows.into_iter().map(Job::try_from).collect::<Result<Vec<_>>>()?;
        Ok(page.cut(jobs, |job| job.job_id.to_string()))
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

/// Whether the caller may see a job of this application.
fn may_read(caller: &Caller, application: Option<&AppName>) -> bool {
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
}

impl TryFrom<JobRow> for Job {
    type Error = Error;

    fn try_from(row: JobRow) -> Result<Self> {
        let plugin = match (row.plugin, row.component_digest) {
            (Some(name), Some(digest)) => Some(JobPlugin { name, digest: digest.try_into()? }),
            _ => None,
        };
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
            duration_in_seconds: duration,
        })
    }
}
