//! Jobs as their users see them: asked for and looked at. What runs them is in `queue`.

use std::time::Instant;

use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::types::Json as SqlJson;
use time::OffsetDateTime;

use super::cancel::JobLane;
use super::claim::{Claim, ClaimedPlugin};
use super::error::JobError;
use super::intake::NewRow;
use super::job::{ACTION, Enqueued, Job, JobPlugin, JobStatus, JobType, Json, NewActionJob, Parent, UPLOAD};
use super::log::SOURCE_HOST;
use super::progress::JobProgress;
use super::queue::TAKEN;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{AppName, Digest, HostId, JobId, PluginName, UserName};
use crate::datasvc::ground::sql::OnConstraint;

/// How many bytes of jobs are read at a time, give or take the last one.
const MAX_PAGE_BYTES: i64 = 4 * 1024 * 1024;

impl DataSvc {
    /// Makes a job for an action durable. It runs once a worker claims it, or at once where it has a taker.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the application does not exist; [`Error::KeyReused`] if the idempotency key came with
    /// another request; [`Error::Throttled`] if too much was asked for; [`Error::Denied`] without execute permission.
    pub async fn enqueue_action(&self, caller: &Caller, job: NewActionJob) -> Result<Enqueued> {
        caller.require_execute(&job.application, &job.action)?;
        if let Some(earlier) = job.rerun_of {
            self.check_rerun(caller, earlier, &job).await?;
        }
        self.count_asked(caller, &job.application, job.data.get().len())?;
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
            rerun_of: _,
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
            application: Some(application),
            name: action.to_string(),
            job_type: JobType::new(ACTION),
            plugin: Some(ClaimedPlugin { name: plugin, digest }),
            unreadable: None,
            username,
            data,
            timeout,
        });
        Ok(Enqueued { job_id: id, status: JobStatus::Queued, claim })
    }

    /// # Errors
    /// [`Error::TooMany`] if as many jobs as may have come of the root of this one.
    pub(in crate::datasvc) async fn check_descendants(&self, parent: &Parent) -> Result<()> {
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
        let error = JobError::cancelled(&described(caller));
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
            JobStatus::Queued | JobStatus::Running | JobStatus::Cancelled | JobStatus::Unknown => Ok(job),
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
        let found = self.reads.run(async |connection| documents(connection, &[id], true).await).await?.pop();
        found.filter(|job| job.is_for(caller)).ok_or_else(|| Error::not_found(Kind::Job, id))
    }

    /// Makes sure that a job can be said to run that one again.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the job; [`Error::Invalid`] if it ran another action.
    async fn check_rerun(&self, caller: &Caller, earlier: JobId, job: &NewActionJob) -> Result<()> {
        let found = self.job(caller, earlier).await?;
        let same = found.job_type.as_str() == ACTION
            && found.application.as_ref() == Some(&job.application)
            && found.name == job.action.as_str();
        if same {
            return Ok(());
        }
        let reason =
            format!("job `{earlier}` did not run action `{}` of application `{}`", job.action, job.application);
        Err(Error::invalid("rerun_of", reason))
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
}

/// These jobs as documents, in this order: those that are still there, and of all together no more than some MiB.
pub(in crate::datasvc) async fn documents(
    connection: &mut PgConnection,
    ids: &[JobId],
    details: bool,
) -> Result<Vec<Job>> {
    let rows = sqlx::query_as!(
        JobRow,
        r#"select jobs.id as "id: JobId", name, job_type as "job_type: JobType", status as "status: JobStatus",
               nullif(application, '') as "application: AppName", username, parent as "parent: JobId",
               rerun_of as "rerun_of: JobId", case when $3 then data end as "data: SqlJson<Json>", attempt, idempotent,
               timeout_ms, nullif(plugin, '') as "plugin: PluginName", component_digest,
               coalesce(workers.host_id, jobs.host_id) as "host: HostId",
               progress.percent as "percent?", progress.step, progress.seq as "progress_seq?",
               progress.at as "progress_at?",
               (select coalesce(max(seq), 0) from job_entries where job_id = jobs.id) as "last_seq!",
               case when $3 then result end as "result: SqlJson<Json>", error as "error: SqlJson<Json>",
               created_at, updated_at, jobs.started_at, completed_at, cancel_requested_at
           from (
               select jobs.*, rank, sum(coalesce(octet_length(error::text), 0) + case when $3
                       then octet_length(data::text) + coalesce(octet_length(result::text), 0) else 0 end)
                   over (order by rank rows between unbounded preceding and 1 preceding) as passed
               from unnest($1::uuid[]) with ordinality as wanted (id, rank) join jobs on jobs.id = wanted.id
           ) as jobs
               left join workers on workers.id = jobs.worker
               left join lateral (
                   select percent, step, seq, at from job_entries
                   where job_id = jobs.id and percent is not null order by seq desc limit 1
               ) as progress on true
           where coalesce(passed, 0) < $2 order by rank"#,
        ids as _,
        MAX_PAGE_BYTES,
        details
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| row.into_job(details)).collect())
}

/// Who the caller is, for a sentence.
pub(in crate::datasvc) fn described(caller: &Caller) -> String {
    match caller {
        Caller::User { name, .. } => format!("user `{name}`"),
        Caller::Plugin { name, .. } => format!("plugin `{name}`"),
    }
}

/// Whether the caller may see a job of this application, or, of the installation, the one that this user asked for. Who
/// may only upload to the application sees the uploads that they asked for.
pub(in crate::datasvc) fn may_read(
    caller: &Caller,
    application: Option<&AppName>,
    username: Option<&str>,
    job_type: &str,
) -> bool {
    let is_own = username.is_some() && caller.username().map(UserName::as_str) == username;
    let may = match application {
        Some(application) => {
            caller.may(Permission::Read, application)
                || (is_own && job_type == UPLOAD && caller.may(Permission::Upload, application))
        }
        None => is_own,
    };
    may || caller.may_globally(Permission::Read)
}

impl Job {
    /// Whether the caller may see it.
    pub(in crate::datasvc) fn is_for(&self, caller: &Caller) -> bool {
        may_read(caller, self.application.as_ref(), self.username.as_deref(), self.job_type.as_str())
    }
}

/// A job as it is stored.
struct JobRow {
    id: JobId,
    name: String,
    job_type: JobType,
    status: JobStatus,
    application: Option<AppName>,
    username: Option<String>,
    parent: Option<JobId>,
    rerun_of: Option<JobId>,
    data: Option<SqlJson<Json>>,
    attempt: i32,
    idempotent: bool,
    timeout_ms: i64,
    plugin: Option<PluginName>,
    component_digest: Option<Vec<u8>>,
    host: Option<HostId>,
    percent: Option<i16>,
    step: Option<String>,
    progress_seq: Option<i64>,
    progress_at: Option<OffsetDateTime>,
    last_seq: i64,
    result: Option<SqlJson<Json>>,
    error: Option<SqlJson<Json>>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    started_at: Option<OffsetDateTime>,
    completed_at: Option<OffsetDateTime>,
    cancel_requested_at: Option<OffsetDateTime>,
}

impl JobRow {
    /// What cannot be read of it is shown as it is: one damaged row must not hide the others of a list.
    fn into_job(self, details: bool) -> Job {
        let progress = match (self.percent, self.progress_seq, self.progress_at) {
            (Some(percent), Some(seq), Some(at)) => Some(JobProgress { percent, status: self.step, seq, at }),
            _ => None,
        };
        let plugin = JobPlugin::from_row(self.plugin, self.component_digest);
        let error = self.error.map(|stored| JobError::from_row(&stored.0));
        let error = error.map(|error| if details { error } else { JobError { trace: None, ..error } });
        let until = self.completed_at.unwrap_or_else(OffsetDateTime::now_utc);
        let duration = self.started_at.map(|from| (until - from).as_seconds_f64().max(0.0));
        Job {
            job_id: self.id,
            name: self.name,
            job_type: self.job_type,
            status: self.status,
            application: self.application,
            username: self.username,
            parent: self.parent,
            rerun_of: self.rerun_of,
            data: self.data.map(|data| data.0),
            attempt: self.attempt,
            idempotent: self.idempotent,
            // A run is not stopped earlier than this says.
            timeout_seconds: self.timeout_ms.unsigned_abs().div_ceil(1000).cast_signed(),
            plugin,
            host: self.host,
            progress,
            last_seq: self.last_seq,
            result: details.then(|| self.result.map(|result| result.0)),
            error,
            created_at: self.created_at,
            updated_at: self.updated_at,
            started_at: self.started_at,
            completed_at: self.completed_at,
            cancel_requested_at: self.cancel_requested_at,
            duration_in_seconds: duration,
        }
    }
}
