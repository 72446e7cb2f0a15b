//! The queue: how a worker claims jobs, keeps them and ends them.
//!
//! A claim is a lease that its worker renews, never an open transaction. Every claim has a fencing number of its
//! own; a write that carries an older one changes nothing, and its writer learns that the job is no longer its.

use std::time::Duration;

use serde_json::json;
use sqlx::types::Json as SqlJson;

use super::DataSvc;
use super::error::{Error, Result};
use super::ids::{ActionName, AppName, Digest, HostId, JobId, PluginName, WorkerId};
use super::job_log::{JobLog, SOURCE_HOST, TAKEN};
use super::jobs::{JobError, JobStatus, Json};
use super::sql::OnConstraint;

/// How long a claim lasts after it was last renewed.
const LEASE_SECONDS: f64 = 8.0;

/// How often an idempotent action is started before it is given up.
const MAX_ATTEMPTS: i32 = 5;

/// A job that this worker runs, until it ends it or loses the lease.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The job.
    pub job_id: JobId,
    /// This claim's number; every write carries it.
    pub fence: i64,
    /// How often the job was started, with this time.
    pub attempt: i32,
    /// How many entries its log has.
    pub entries: i64,
    /// The application it belongs to.
    pub application: AppName,
    /// The action to run.
    pub action: ActionName,
    /// Who asked.
    pub username: Option<String>,
    /// What was asked.
    pub data: Json,
    /// The plugin to run.
    pub plugin: PluginName,
    /// The component to run.
    pub digest: Digest,
    /// The wall-clock limit of this run.
    pub timeout: Duration,
}

/// What renewing told about a claim.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// The job.
    pub job_id: JobId,
    /// The claim's number.
    pub fence: i64,
    /// Whether someone asked for the job to stop.
    pub cancel_requested: bool,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// With a result.
    Succeeded(Json),
    /// With an error.
    Failed(JobError),
}

impl DataSvc {
    /// Enters a worker. One server run is one worker.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn register_worker(&self, worker: WorkerId, host: HostId) -> Result<()> {
        sqlx::query!("insert into workers (id, host_id) values ($1, $2)", worker as _, host as _)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Claims the oldest queued jobs, at most so many, and starts their leases.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn claim_jobs(&self, worker: WorkerId, limit: usize) -> Result<Vec<Claim>> {
        let rows = sqlx::query!(
            r#"update jobs set status = 'running', worker = $1, fence = fence + 1, attempt = attempt + 1,
                   lease_until = now() + make_interval(secs => $2), started_at = now(), updated_at = now()
               where id in (select id from jobs where status = 'queued' order by id limit $3 for update skip locked)
               returning id as "id: JobId", fence, attempt, application as "application!: AppName",
                   name as "action: ActionName", username, data as "data: SqlJson<Json>",
                   plugin as "plugin!: PluginName", component_digest as "digest!", timeout_ms,
                   case when attempt = 1 then 0
                        else (select coalesce(max(seq), 0) from job_entries where job_id = jobs.id) end as "entries!""#,
            worker as _,
            LEASE_SECONDS,
            i64::try_from(limit).map_err(Error::internal)?
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Claim {
                    job_id: row.id,
                    fence: row.fence,
                    attempt: row.attempt,
                    entries: row.entries,
                    application: row.application,
                    action: row.action,
                    username: row.username,
                    data: row.data.0,
                    plugin: row.plugin,
                    digest: row.digest.try_into()?,
                    timeout: Duration::from_millis(u64::try_from(row.timeout_ms).map_err(Error::internal)?),
                })
            })
            .collect()
    }

    /// Renews the leases of all that this worker runs, and says what it still holds.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn renew_leases(&self, worker: WorkerId) -> Result<Vec<Lease>> {
        let leases = sqlx::query_as!(
            Lease,
            r#"with seen as (update workers set seen_at = now() where id = $1)
               update jobs set lease_until = now() + make_interval(secs => $2)
               where worker = $1 and status = 'running'
               returning id as "job_id: JobId", fence, cancel_requested_at is not null as "cancel_requested!""#,
            worker as _,
            LEASE_SECONDS
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(leases)
    }

    /// The log of a claimed job, for the holder of the claim to write to.
    pub fn job_log(&self, claim: &Claim) -> JobLog {
        JobLog::new(self.clone(), claim.job_id, claim.fence, claim.entries)
    }

    /// Ends a job. A failure is also the last entry of its log, in the same statement.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held: the job was handed on, and nothing changed.
    pub async fn finish_job(&self, claim: &Claim, outcome: &Outcome) -> Result<()> {
        // An entry that a stopped run had on its way may take the number that was chosen for the last one.
        loop {
            match self.try_to_finish_job(claim, outcome).await {
                Err(Error::Conflict { reason }) if reason == TAKEN => {}
                other => return other,
            }
        }
    }

    async fn try_to_finish_job(&self, claim: &Claim, outcome: &Outcome) -> Result<()> {
        let (status, result, error) = match outcome {
            Outcome::Succeeded(result) => (JobStatus::Succeeded, Some(result.get()), None),
            Outcome::Failed(error) => {
                (JobStatus::Failed, None, Some(serde_json::to_string(error).map_err(Error::internal)?))
            }
        };
        let ended = sqlx::query!(
            r#"with ended as (
                   update jobs set status = $3, result = $4::text::json, error = $5::text::json, worker = null, lease_until = null,
                       completed_at = now(), updated_at = now()
                   where id = $1 and fence = $2 and status = 'running' returning id, error
               ), noted as (
                   insert into job_entries (job_id, seq, source, data)
                   select id, 1 + (select coalesce(max(seq), 0) from job_entries where job_id = ended.id), $6,
                       json_build_object('status', 'failed', 'error', error) from ended where error is not null
               )
               select id as "id: JobId" from ended"#,
            claim.job_id as _,
            claim.fence,
            status as _,
            result,
            error,
            SOURCE_HOST
        )
        .fetch_optional(&self.pool)
        .await
        .on_constraint("job_entries_pkey", || Error::conflict(TAKEN))?;
        ended.map(|_| ()).ok_or_else(|| no_longer_held(claim.job_id))
    }

    /// Ends or hands on what earlier runs of this host left running: an idempotent action is queued again,
    /// anything else is lost. Returns how many jobs were (queued again, lost).
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn recover_jobs(&self, host: HostId, own: WorkerId) -> Result<(u64, u64)> {
        let left = sqlx::query_scalar!(
            r#"select id as "id: WorkerId" from workers where host_id = $1 and id <> $2"#,
            host as _,
            own as _
        )
        .fetch_all(&self.pool)
        .await?;
        let mut total = (0, 0);
        for worker in left {
            let (queued, lost) = self.hand_back(worker, "the server stopped while the job was running").await?;
            total = (total.0 + queued, total.1 + lost);
            sqlx::query!("delete from workers where id = $1", worker as _).execute(&self.pool).await?;
        }
        Ok(total)
    }

    /// Takes all that a worker runs away from it, with an entry in each log that says so and `why`: an idempotent
    /// action is queued again, anything else is lost. Returns how many jobs were (queued again, lost).
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn hand_back(&self, worker: WorkerId, why: &str) -> Result<(u64, u64)> {
        self.hand_back_some(worker, None, why).await
    }

    /// The same for these jobs only, or for all if there are none named.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn hand_back_some(&self, worker: WorkerId, jobs: Option<&[JobId]>, why: &str) -> Result<(u64, u64)> {
        loop {
            match self.try_to_hand_back(worker, jobs, why).await {
                Err(Error::Conflict { reason }) if reason == TAKEN => {}
                other => return other,
            }
        }
    }

    async fn try_to_hand_back(&self, worker: WorkerId, jobs: Option<&[JobId]>, why: &str) -> Result<(u64, u64)> {
        let error = json!({
            "code": "lost",
            "message": format!("{why}, and it may have done a part of its work; look before you run it again"),
        });
        let moved = sqlx::query_scalar!(
            r#"with held as (
                   select id, idempotent and attempt < $2 as again from jobs
                   where worker = $1 and status = 'running' and ($6::uuid[] is null or id = any($6)) for update
               ), moved as (
                   update jobs set status = case when again then 'queued' else 'lost' end, worker = null,
                       lease_until = null, fence = fence + 1, updated_at = now(),
                       error = case when again then null else $3::json end,
                       completed_at = case when again then null else now() end
                   from held where jobs.id = held.id returning jobs.id, jobs.status, jobs.attempt
               ), noted as (
                   insert into job_entries (job_id, seq, source, data)
                   select id, 1 + (select coalesce(max(seq), 0) from job_entries where job_id = moved.id), $4,
                       json_build_object('status', status, 'attempt', attempt, 'message', $5::text) from moved
               )
               select status as "status: JobStatus" from moved"#,
            worker as _,
            MAX_ATTEMPTS,
            error,
            SOURCE_HOST,
            why,
            jobs as _
        )
        .fetch_all(&self.pool)
        .await
        .on_constraint("job_entries_pkey", || Error::conflict(TAKEN))?;
        let lost = moved.iter().filter(|status| **status == JobStatus::Lost).count() as u64;
        Ok((moved.len() as u64 - lost, lost))
    }

    /// Forgets a worker that has ended. Its jobs must have been ended or handed back.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn remove_worker(&self, worker: WorkerId) -> Result<()> {
        sqlx::query!("delete from workers where id = $1", worker as _).execute(&self.pool).await?;
        Ok(())
    }
}

/// What a writer with an old fencing number is told.
pub(super) fn no_longer_held(job: JobId) -> Error {
    Error::conflict(format!("job `{job}` was taken away from this run"))
}
