//! The queue: how a worker claims jobs, keeps them and hands them on.
//!
//! A worker holds its jobs by its heartbeat, never by an open transaction. Every claim has its own fencing number. A
//! write with an older number changes nothing, and the writer learns that it no longer holds the job. How
//! a job's run is recorded is in `recorder`.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::to_value;
use sqlx::types::Json as SqlJson;
use time::OffsetDateTime;

use super::claim::{Claim, ClaimedPlugin, HandedOn, HeldClaim, Room};
use super::error::{JobError, JobErrorCode};
use super::heads::KnownHeads;
use super::job::{JobStatus, JobType, Json};
use super::log::SOURCE_HOST;
use super::peers::Silent;
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{AppName, Digest, HostId, JobId, PluginName, WorkerId};
use crate::datasvc::ground::sql::OnConstraint;

/// How long a worker's claims last after its last heartbeat.
pub const TIME_TO_LIVE: Duration = Duration::from_secs(8);

/// How often an idempotent action is started before it is given up. The host's own work goes on however often its
/// server dies: what must not be done twice is a step of it, which is recorded before.
const MAX_ATTEMPTS: i32 = 5;

/// How many jobs are handed on by one statement.
const MAX_HANDED_ON: i64 = 500;

/// What a claim is given.
#[derive(Serialize)]
struct Asked<'a> {
    #[serde(flatten)]
    room: &'a Room,
    /// Where the lanes begin, if that is known.
    heads: Option<KnownHeads>,
}

/// Which jobs to take from their workers.
enum From<'a> {
    /// All that this worker holds.
    Worker(WorkerId),
    /// These claims, by their fencing numbers, since the worker may claim a job again as soon as it is queued.
    Some { worker: WorkerId, claims: &'a [(JobId, i64)], begun: bool },
    /// Those whose workers have given no sign of life after these, in the eyes of this one.
    Dead { seen_by: WorkerId, silent: &'a [Silent] },
}

impl DataSvc {
    /// What a worker holds.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn held_jobs(&self, worker: WorkerId) -> Result<Vec<HeldClaim>> {
        let rows = self
            .engine
            .run(async |connection| {
                let rows = sqlx::query!(
                    r#"select id as "job_id: JobId", fence, cancel_requested_at is not null as "cancel_requested!",
                       cancel_requested_by
                   from jobs where worker = $1 and status = 'running'"#,
                    worker as _
                )
                .fetch_all(connection)
                .await?;
                Ok(rows)
            })
            .await?;
        let held = rows.into_iter().map(|row| HeldClaim {
            job_id: row.job_id,
            fence: row.fence,
            cancel_requested: row.cancel_requested.then_some(row.cancel_requested_by),
        });
        Ok(held.collect())
    }

    /// Claims queued jobs: of each action the oldest, and of the applications in turn, so that none waits for all
    /// that another one has queued. A worker that has given no sign of life gets none.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn claim_jobs(&self, worker: WorkerId, room: &Room) -> Result<Vec<Claim>> {
        let heads = self.known_heads().await?;
        let asked_at = Instant::now();
        let are_known = heads.is_some();
        let claimed = sqlx::query_file!(
            "src/datasvc/jobs/claim.sql",
            worker as _,
            SqlJson(Asked { room, heads }) as _,
            &room.ready.iter().map(|digest| digest.as_bytes().to_vec()).collect::<Vec<_>>(),
            TIME_TO_LIVE.as_secs_f64()
        );
        let rows = self.engine.run(async |connection| Ok(claimed.fetch_all(connection).await?)).await?;
        let took = asked_at.elapsed();
        // They are this worker's by now, so that one that cannot be read must not keep it from running the others.
        let claims = rows.into_iter().map(|row| {
            let timeout = u64::try_from(row.timeout_ms);
            let digest = row.component_digest.map(Digest::try_from).transpose();
            let unreadable = match (&timeout, &digest) {
                (Err(_), _) => Some("its time limit is negative"),
                (_, Err(_)) => Some("the digest of its component is not a SHA-256"),
                _ => None,
            };
            let component = row.plugin.zip(digest.ok().flatten());
            Claim {
                job_id: row.id,
                fence: row.fence,
                asked_at,
                attempt: row.attempt,
                started: row.started,
                root: row.root,
                depth: row.depth,
                entries: row.entries,
                plugin_entries: row.plugin_entries,
                plugin_bytes: row.plugin_bytes,
                application: row.application,
                job_type: row.job_type,
                plugin: component.map(|(name, digest)| ClaimedPlugin { name, digest }),
                unreadable,
                name: row.name,
                username: row.username,
                data: row.data.0,
                timeout: Duration::from_millis(timeout.unwrap_or(0)),
            }
        });
        let claims: Vec<_> = claims.collect();
        if are_known {
            self.heads.claimed(&claims);
        } else {
            self.heads.claim_took(took);
        }
        Ok(claims)
    }

    /// Records that a claimed job starts now, and says which attempt this is. From here on the job is not simply run
    /// again.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn start_job(&self, claim: &Claim) -> Result<i32> {
        let started = sqlx::query_scalar!(
            "update jobs set attempt = attempt + (started_at is null)::int, started_at = now(), updated_at = now()
             where id = $1 and fence = $2 and status = 'running' returning attempt",
            claim.job_id as _,
            claim.fence
        );
        let attempt = self.engine.run(async |connection| Ok(started.fetch_optional(connection).await?)).await?;
        attempt.ok_or_else(|| no_longer_held(claim.job_id))
    }

    /// Takes from earlier runs of this host, which are over, what they held, and forgets them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn recover_jobs(&self, host: HostId, own: WorkerId) -> Result<HandedOn> {
        let left = sqlx::query_scalar!(
            r#"select id as "id: WorkerId" from workers where host_id = $1 and id <> $2"#,
            host as _,
            own as _
        )
        .fetch_all(self.engine.pool())
        .await?;
        let mut total = HandedOn::default();
        for worker in left {
            total += self.hand_back(worker, "the server stopped while the job was running").await?;
            self.remove_worker(worker).await?;
        }
        Ok(total)
    }

    /// Takes from a worker all that it holds, with an entry in each log that says so and `why`: what has not begun,
    /// what is idempotent and was not started too often, and the host's own work is queued again. Anything else is
    /// lost.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn hand_back(&self, worker: WorkerId, why: &str) -> Result<HandedOn> {
        self.hand_on(From::Worker(worker), why).await
    }

    /// Takes from a worker what it holds according to the database and does not know of: what its guests never
    /// `begun` is queued again, anything else as in [`DataSvc::hand_back`].
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn hand_back_strays(
        &self,
        worker: WorkerId,
        claims: &[(JobId, i64)],
        begun: bool,
        why: &str,
    ) -> Result<HandedOn> {
        self.hand_on(From::Some { worker, claims, begun }, why).await
    }

    /// Takes from workers that have been silent what they hold, unless they have said meanwhile that they live. A
    /// worker that has been silent itself takes nothing: after the database has stood still everybody has.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn take_over(&self, seen_by: WorkerId, silent: &[Silent]) -> Result<HandedOn> {
        if silent.is_empty() {
            return Ok(HandedOn::default());
        }
        self.hand_on(From::Dead { seen_by, silent }, "the server that ran the job gave no sign of life").await
    }

    async fn hand_on(&self, from: From<'_>, why: &str) -> Result<HandedOn> {
        let mut total = HandedOn::default();
        loop {
            match self.hand_some_on(&from, why).await {
                // The former holder has just recorded an entry.
                Err(Error::Conflict { reason }) if reason == TAKEN => {}
                Err(problem) => return Err(problem),
                Ok(HandedOn { queued: 0, lost: 0 }) => return Ok(total),
                Ok(some) => total += some,
            }
        }
    }

    async fn hand_some_on(&self, from: &From<'_>, why: &str) -> Result<HandedOn> {
        let (workers, claims, unbegun, seen_by) = match from {
            From::Worker(worker) => (vec![(*worker, OffsetDateTime::UNIX_EPOCH)], None, false, None),
            From::Some { worker, claims, begun } => {
                let (jobs, fences): (Vec<JobId>, Vec<i64>) = claims.iter().copied().unzip();
                (vec![(*worker, OffsetDateTime::UNIX_EPOCH)], Some((jobs, fences)), !begun, None)
            }
            From::Dead { seen_by, silent } => (silent.to_vec(), None, false, Some(*seen_by)),
        };
        let (workers, beats): (Vec<WorkerId>, Vec<OffsetDateTime>) = workers.into_iter().unzip();
        let (jobs, fences) = claims.unzip();
        let lost = format!("{why}, and it may have done a part of its work; look before you run it again");
        let lost = to_value(JobError::new(JobErrorCode::Lost, lost)).map_err(Error::internal)?;
        let cancelled = to_value(JobError::cancelled("someone")).map_err(Error::internal)?;
        let moving = sqlx::query!(
            r#"with held as (
                   select id, started_at is null or $10 or (idempotent and (plugin = '' or attempt < $2)) as again,
                       -- A deployment ends itself, so that its document and its hooks hear of it.
                       cancel_requested_at is not null
                           and not exists (select from deployments where deployments.id = jobs.id) as cancelled,
                       ($10 and started_at is not null)::int as not_begun
                   from jobs
                   where status = 'running' and worker = any($1)
                       and ($6::uuid[] is null or (id, fence) in (select * from unnest($6, $9::bigint[])))
                       and ($11::uuid is null or (
                           (worker, coalesce((select seen_at from workers where workers.id = jobs.worker), to_timestamp(0)))
                               in (select * from unnest($1, $12::timestamptz[]))
                           and exists (select from workers where workers.id = $11
                                           and seen_at > now() - make_interval(secs => $7))))
                   limit $8 for update skip locked
               ), moved as (
                   update jobs set host_id = (select host_id from workers where workers.id = jobs.worker),
                       worker = null, fence = fence + 1, updated_at = now(), attempt = attempt - not_begun,
                       status = case when again and cancelled then 'cancelled' when again then 'queued' else 'lost' end,
                       started_at = case when again and not cancelled then null else started_at end,
                       error = case when again and cancelled then $13::json when again then null else $3::json end,
                       completed_at = case when again and not cancelled then null else now() end
                   from held where jobs.id = held.id returning jobs.id, jobs.status, jobs.attempt
               ), noted as (
                   insert into job_entries (job_id, seq, source, data)
                   select id, 1 + (select coalesce(max(seq), 0) from job_entries where job_id = moved.id), $4,
                       json_build_object('status', status, 'attempt', attempt, 'message', $5::text) from moved
               )
               select id as "id: JobId", status as "status: JobStatus" from moved"#,
            workers as _,
            MAX_ATTEMPTS,
            lost,
            SOURCE_HOST,
            why,
            jobs as _,
            (TIME_TO_LIVE / 2).as_secs_f64(),
            MAX_HANDED_ON,
            fences as _,
            unbegun,
            seen_by as _,
            &beats,
            cancelled
        );
        let moved = self
            .engine
            .run(async |connection| {
                let moved = moving.fetch_all(connection).await;
                moved.on_constraint("job_entries_pkey", || Error::conflict(TAKEN))
            })
            .await?;
        self.heads.forget();
        self.recorder.changed(moved.iter().map(|job| job.id).collect());
        let lost = moved.iter().filter(|job| job.status == JobStatus::Lost).count() as u64;
        Ok(HandedOn { queued: moved.len() as u64 - lost, lost })
    }

    /// Forgets a worker that has ended. Its jobs must have been ended or handed back.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn remove_worker(&self, worker: WorkerId) -> Result<()> {
        sqlx::query!("delete from workers where id = $1", worker as _).execute(self.engine.pool()).await?;
        Ok(())
    }
}

/// The reason of a conflict when an entry of the chosen number exists.
pub(in crate::datasvc) const TAKEN: &str = "an entry of this number exists";

/// What a writer with an old fencing number is told.
pub(in crate::datasvc) fn no_longer_held(job: JobId) -> Error {
    Error::conflict(format!("job `{job}` was taken away from this run"))
}
