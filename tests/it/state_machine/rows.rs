//! The jobs as they stand in the database, looked at between the steps.

use std::collections::BTreeMap;

use elita::datasvc::{JobId, JobStatus};
use sqlx::postgres::PgConnection;

use super::journal::Broken;

/// A job's row.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: JobId,
    /// The number of the request that made it.
    pub(super) request: i32,
    pub(super) status: JobStatus,
    pub(super) fence: i64,
    pub(super) attempt: i32,
    pub(super) idempotent: bool,
    pub(super) key: Option<String>,
    pub(super) fingerprint: Option<Vec<u8>>,
    pub(super) cancel_requested: bool,
    /// The result or the error.
    pub(super) outcome: String,
    /// How many entries its log has.
    pub(super) entries: i64,
    /// All of it.
    whole: String,
}

/// What was seen of the jobs so far.
#[derive(Default)]
pub(super) struct Rows {
    jobs: BTreeMap<JobId, Seen>,
}

struct Seen {
    row: Row,
    /// The steps after which it had a new fencing number, with that.
    fences: Vec<(usize, i64)>,
    /// The step after which it had ended.
    ended: Option<usize>,
}

/// All rows, in the order of their creation.
pub(super) async fn all(database: &mut PgConnection) -> Vec<Row> {
    sqlx::query_as(
        "select id, (data->>'request')::int as request, status, fence, attempt, idempotent, idempotency_key as key,
             idempotency_fingerprint as fingerprint, cancel_requested_at is not null as cancel_requested,
             coalesce(result::text, error::text, '') as outcome, row_to_json(jobs)::text as whole,
             (select count(*) from job_entries where job_id = jobs.id) as entries
         from jobs order by id",
    )
    .fetch_all(database)
    .await
    .unwrap()
}

impl Rows {
    /// Looks at the jobs after a step, and at how they came there.
    pub(super) async fn look(&mut self, database: &mut PgConnection, step: usize) -> Result<(), Broken> {
        let rows = all(database).await;
        if let Some(gone) = self.jobs.keys().find(|id| !rows.iter().any(|row| row.id == **id)) {
            return Err(Broken::of(*gone, "the job has gone"));
        }
        for row in rows {
            let seen = self.jobs.entry(row.id).or_insert_with(|| Seen::new(row.clone()));
            check_move(&seen.row, &row)?;
            if seen.fences.last().is_none_or(|(_, fence)| *fence < row.fence) {
                seen.fences.push((step, row.fence));
            }
            if row.status.is_final() {
                seen.ended.get_or_insert(step);
            }
            seen.row = row;
        }
        Ok(())
    }

    /// As they were seen last.
    pub(super) fn seen(&self) -> impl Iterator<Item = &Row> {
        self.jobs.values().map(|seen| &seen.row)
    }

    /// One of them.
    pub(super) fn of(&self, job: JobId) -> Option<&Row> {
        self.jobs.get(&job).map(|seen| &seen.row)
    }

    /// The step after which a claim was seen to be over.
    pub(super) fn over(&self, job: JobId, fence: i64) -> Option<usize> {
        let seen = self.jobs.get(&job)?;
        let passed = seen.fences.iter().find(|(_, later)| *later > fence).map(|(step, _)| *step);
        passed.into_iter().chain(seen.ended).min()
    }
}

impl Seen {
    fn new(row: Row) -> Self {
        Self { row, fences: Vec::new(), ended: None }
    }
}

/// Whether a job may have become this since it was seen last.
fn check_move(old: &Row, new: &Row) -> Result<(), Broken> {
    use JobStatus::{Cancelled, Failed, Lost, Queued, Running, Succeeded, Unknown};
    let is_known = match (old.status, new.status, new.fence - old.fence) {
        (Unknown, ..) | (_, Unknown, _) => false,
        (Succeeded | Failed | Cancelled | Lost, ..) => old.whole == new.whole && old.entries == new.entries,
        (Queued | Running, _, ..=-1) => false,
        (Queued, Queued, 0) | (Running, Running | Succeeded | Failed | Cancelled, 0) => true,
        (Queued, _, 0) | (Running, Queued | Lost, 0) => false,
        (Queued, Queued | Lost, 1) | (Running, Running | Succeeded | Failed, 1) => false,
        (Queued | Running, _, 1..) => true,
    };
    if is_known && new.entries >= old.entries {
        return Ok(());
    }
    Err(Broken::of(new.id, format!("the job has moved from\n{}\nto\n{}", old.whole, new.whole)))
}
