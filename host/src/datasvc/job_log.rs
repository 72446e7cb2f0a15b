//! The log of a job: entries numbered from 1 without gaps, written by the holder of its claim, read by anyone who
//! may see the job.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::types::Json as SqlJson;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::DataSvc;
use super::caller::Caller;
use super::error::{Error, Result};
use super::ids::JobId;
use super::jobs::Json;
use super::queue::no_longer_held;
use super::sql::OnConstraint;

/// The longest entry, in bytes of its JSON text.
pub const MAX_ENTRY_BYTES: usize = 64 * 1024;
/// How many entries are read at a time, at most.
pub const MAX_ENTRIES_PAGE: u32 = 1000;
/// How many bytes of entries are read at a time, give or take the last one.
const MAX_PAGE_BYTES: i64 = 4 * 1024 * 1024;
/// The source of the host's own entries. No plugin can have this name.
pub const SOURCE_HOST: &str = "host";

/// One line of a job's log.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobEntry {
    /// From 1, without gaps.
    pub seq: i64,
    /// When it was recorded.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// `host`, or the plugin that recorded it.
    pub source: String,
    /// What it says: any JSON.
    #[schema(value_type = Object)]
    pub data: Json,
}

/// A part of a job's log.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobEntries {
    /// In the order in which they were recorded.
    pub items: Vec<JobEntry>,
    /// Where to go on, for `after`; null if these are all there are so far.
    pub next: Option<i64>,
}

/// What to add to a log.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// Who says it: set by the host, never by a guest.
    pub source: &'a str,
    /// What it says.
    pub data: &'a RawValue,
}

/// The log of a running job in the hands of its claim's holder, who is its only writer.
#[derive(Clone, Debug)]
pub struct JobLog {
    svc: DataSvc,
    job_id: JobId,
    fence: i64,
    /// The number of the last entry. Locked while one is written, so that the order is that of the calls.
    last: Arc<Mutex<i64>>,
}

impl JobLog {
    pub(super) fn new(svc: DataSvc, job_id: JobId, fence: i64, entries: i64) -> Self {
        Self { svc, job_id, fence, last: Arc::new(Mutex::new(entries)) }
    }

    /// The job whose log this is.
    pub fn job_id(&self) -> JobId {
        self.job_id
    }

    /// Adds one entry and returns its number. It is durable then.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`MAX_ENTRY_BYTES`]; [`Error::Conflict`] if the job was taken away from this run.
    pub async fn append(&self, entry: NewEntry<'_>) -> Result<i64> {
        let length = entry.data.get().len();
        if length > MAX_ENTRY_BYTES {
            return Err(Error::TooLarge { what: "the entry", actual: length, limit: MAX_ENTRY_BYTES });
        }
        let mut last = self.last.lock().await;
        match self.insert(*last + 1, entry).await {
            // An earlier insert was reported as failed and had happened: the answer was lost on its way.
            Err(Error::Conflict { reason }) if reason == TAKEN => {
                *last = self.newest().await?;
                self.insert(*last + 1, entry).await?;
            }
            other => other?,
        }
        *last += 1;
        Ok(*last)
    }

    async fn insert(&self, seq: i64, entry: NewEntry<'_>) -> Result<()> {
        // The row lock holds off a takeover until the entry is in its place.
        let inserted = sqlx::query!(
            "with held as (select id from jobs where id = $1 and fence = $2 and status = 'running' for share)
             insert into job_entries (job_id, seq, source, data) select id, $3, $4, $5::text::json from held",
            self.job_id as _,
            self.fence,
            seq,
            entry.source,
            entry.data.get()
        )
        .execute(&self.svc.pool)
        .await
        .on_constraint("job_entries_pkey", || Error::conflict(TAKEN))?;
        if inserted.rows_affected() == 0 {
            return Err(no_longer_held(self.job_id));
        }
        Ok(())
    }

    async fn newest(&self) -> Result<i64> {
        let newest = sqlx::query_scalar!(
            r#"select coalesce(max(seq), 0) as "seq!" from job_entries where job_id = $1"#,
            self.job_id as _
        );
        Ok(newest.fetch_one(&self.svc.pool).await?)
    }
}

/// The reason of a conflict when an entry of the chosen number exists.
pub(super) const TAKEN: &str = "an entry of this number exists";

impl DataSvc {
    /// Entries of a job's log with a number above `after`, in order: at most `limit`, and fewer where they are long.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such job or the caller may not see it; [`Error::Invalid`] if `limit` is
    /// not 1 to [`MAX_ENTRIES_PAGE`].
    pub async fn job_entries(&self, caller: &Caller, id: JobId, after: i64, limit: u32) -> Result<JobEntries> {
        self.require_visible_job(caller, id).await?;
        if !(1..=MAX_ENTRIES_PAGE).contains(&limit) {
            return Err(Error::invalid(
                "limit",
                format!("1 to {MAX_ENTRIES_PAGE} entries are read at a time, not {limit}"),
            ));
        }
        let rows = sqlx::query!(
            r#"select seq as "seq!", at as "at!", source as "source!", data as "data!: SqlJson<Json>",
                   (select max(seq) from job_entries where job_id = $1) as "newest!"
               from (select *, sum(octet_length(data::text)) over (order by seq) - octet_length(data::text) as before
                     from job_entries where job_id = $1 and seq > $2 order by seq limit $3) as entries
               where before < $4 order by seq"#,
            id as _,
            after,
            i64::from(limit),
            MAX_PAGE_BYTES
        )
        .fetch_all(&self.pool)
        .await?;
        let next = rows.last().filter(|row| row.seq < row.newest).map(|row| row.seq);
        let entries = rows.into_iter();
        let entries = entries.map(|row| JobEntry { seq: row.seq, at: row.at, source: row.source, data: row.data.0 });
        Ok(JobEntries { items: entries.collect(), next })
    }
}
