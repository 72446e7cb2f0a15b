//! The log of a job: entries numbered from 1 without gaps, written by the holder of its claim, read by anyone who
//! may see the job.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use serde_json::value::to_raw_value;
use sqlx::types::Json as SqlJson;
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::claim::{Claim, Outcome};
use super::error::JobError;
use super::job::{JobStatus, Json};
use super::lookup::may_read;
use super::progress::Reached;
use super::queue::no_longer_held;
use super::recorder::{EndRecord, EntryRecord, Recorder};
use super::steps::{StepChange, StepRecord};
use super::trace::Tracer;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::Caller;
use crate::datasvc::ground::clock::Clock;
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{AppName, JobId, PluginName};

/// The longest entry, in bytes of its JSON text.
pub const MAX_ENTRY_BYTES: usize = 64 * 1024;
/// How many entries are read at a time, at most.
pub const MAX_ENTRIES_PAGE: u32 = 1000;
/// How many bytes of entries are read at a time, give or take the last one.
pub const MAX_ENTRIES_PAGE_BYTES: i64 = 4 * 1024 * 1024;
/// The longest text to search a log for, in characters.
pub(in crate::datasvc) const MAX_SEARCHED_CHARS: usize = 200;
/// What is found as small letters, too.
const CAPITALS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
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
    #[schema(value_type = serde_json::Value)]
    pub data: Json,
}

/// A part of a job's log.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobEntries {
    /// In the order in which they were recorded.
    pub items: Vec<JobEntry>,
    /// Where to go on, for `after`; null if there are no more yet.
    pub next: Option<i64>,
    /// Where the job stood when they were read: once it has ended and `next` is null, there is no more to come.
    pub status: JobStatus,
    /// The number of the log's last entry then; 0 if the log is empty.
    #[serde(skip)]
    pub last_seq: i64,
    /// How many entries of the whole log have the text that was searched for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub hits: Option<i64>,
}

impl JobEntries {
    /// Makes sure that the log has the entry after which it was to be read.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the entry is not there: the reader has seen another log.
    pub fn check_reaches(&self, part: LogPart) -> Result<()> {
        match part {
            LogPart::After(seq) if seq > self.last_seq => {
                let reason = format!("the log has no entry {seq}; its last one so far is {}", self.last_seq);
                Err(Error::invalid("after", reason))
            }
            LogPart::After(_) | LogPart::Before(_) | LogPart::Last(_) => Ok(()),
        }
    }
}

/// Which part of a job's log to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogPart {
    /// What comes after the entry with this number; 0: from the beginning.
    After(i64),
    /// The last ones before the entry with this number.
    Before(i64),
    /// From so many before the end on.
    Last(u32),
}

/// What a plugin may add to the log of one job.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Entries.
    pub entries: usize,
    /// Bytes of all entries together.
    pub bytes: usize,
}

/// The log of a running job in the hands of its claim's holder, who is its only writer. Cheap to clone.
///
/// An entry has its place when a method returns, and is durable soon after: always before the job's end is visible.
#[derive(Clone, Debug)]
pub struct JobLog(Arc<Log>);

#[derive(Debug)]
struct Log {
    recorder: Recorder,
    clock: Clock,
    job_id: JobId,
    fence: i64,
    limits: LogLimits,
    /// Locked while an entry gets its place, so that the order is that of the calls.
    state: Mutex<State>,
    /// Whether the job was given away.
    lost: Arc<AtomicBool>,
    trace: Tracer,
}

#[derive(Debug)]
struct State {
    /// The number of the last entry.
    last: i64,
    /// What the plugin has added, over all attempts.
    entries: usize,
    bytes: usize,
    /// What it would have added, had there been room.
    dropped_entries: usize,
    dropped_bytes: usize,
}

/// An entry before it has its place.
struct Entry<'a> {
    source: &'a str,
    data: Json,
    progress: Option<Reached>,
    room: Option<OwnedSemaphorePermit>,
    step: Option<StepRecord>,
}

impl JobLog {
    /// The job whose log this is.
    pub fn job_id(&self) -> JobId {
        self.0.job_id
    }

    /// Adds an entry of the plugin and returns its number.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`MAX_ENTRY_BYTES`]; [`Error::LogFull`] if the entry was dropped; [`Error::Conflict`]
    /// if the job was taken away from this run.
    pub async fn append(&self, plugin: &PluginName, data: Json) -> Result<i64> {
        let length = data.get().len();
        if length > MAX_ENTRY_BYTES {
            return Err(Error::TooLarge { what: "the entry", actual: length, limit: MAX_ENTRY_BYTES });
        }
        let progress = Reached::of(data.get());
        // While the database is away, this is where a plugin that writes much waits.
        let room = self.0.recorder.room_for(length).await?;
        let LogLimits { entries, bytes } = self.0.limits;
        let mut state = self.lock();
        if state.entries >= entries || state.bytes + length > bytes {
            state.dropped_entries += 1;
            state.dropped_bytes += length;
            return Err(Error::LogFull { entries, bytes });
        }
        state.entries += 1;
        state.bytes += length;
        self.push(&mut state, plugin.as_str(), (data, progress), Some(room))
    }

    /// Adds an entry of the host and returns its number.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the job was taken away from this run.
    pub fn note(&self, data: &impl Serialize) -> Result<i64> {
        let data = to_raw_value(data).map_err(Error::internal)?;
        let progress = Reached::of(data.get());
        self.push(&mut self.lock(), SOURCE_HOST, (data, progress), None)
    }

    /// Adds an entry of the host that tells of a durable step, and changes the step's row with it. Both are durable
    /// when this returns, however long the database is away.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the job was taken away from this run; [`Error::Internal`] if the database refuses the
    /// row.
    pub async fn step(&self, data: &impl Serialize, change: StepChange) -> Result<()> {
        let data = to_raw_value(data).map_err(Error::internal)?;
        let (answer, answered) = oneshot::channel();
        let step = StepRecord { change, answer };
        self.push_with(
            &mut self.lock(),
            Entry { source: SOURCE_HOST, data, progress: None, room: None, step: Some(step) },
        )?;
        answered.await.map_err(Error::internal)?
    }

    /// Adds a call of a plugin to the job's trace; `target` is what it was about.
    pub fn trace_call(
        &self,
        plugin: &PluginName,
        call: impl Into<Cow<'static, str>>,
        target: &str,
        outcome: impl Into<Cow<'static, str>>,
        took: Duration,
    ) {
        self.0.trace.call(plugin, self.0.clock.now(), call.into(), target, outcome.into(), took);
    }

    /// Adds a line of a plugin's output to the job's trace.
    pub fn trace_output(&self, plugin: &PluginName, stream: &'static str, level: &'static str, text: &str) {
        self.0.trace.output(plugin, self.0.clock.now(), stream, level, text);
    }

    /// Waits until all entries so far can be read.
    ///
    /// # Errors
    /// [`Error::Internal`] if the server is stopping.
    pub async fn written(&self) -> Result<()> {
        self.0.recorder.written().await
    }

    /// Ends the job: its last entries, what was dropped and how it failed, are visible no later than its end.
    /// Returns when that is durable, however long the database is away.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held: the job was handed on, and nothing changed.
    pub async fn finish(&self, outcome: &Outcome) -> Result<()> {
        let dropped = {
            let mut state = self.lock();
            (std::mem::take(&mut state.dropped_entries), std::mem::take(&mut state.dropped_bytes))
        };
        if let (1.., _) = dropped {
            let (entries, bytes) = dropped;
            let message = format!(
                "{entries} entries of {bytes} bytes together were dropped: a job's log takes {} entries and {} bytes",
                self.0.limits.entries, self.0.limits.bytes
            );
            self.note(&json!({ "status": "dropped", "entries": entries, "bytes": bytes, "message": message }))?;
        }
        let (status, result, error) = match outcome {
            Outcome::Succeeded(result) => (JobStatus::Succeeded, Some(result.clone()), None),
            Outcome::Failed(error) => (JobStatus::Failed, None, Some(self.note_end("failed", error)?)),
            Outcome::Cancelled(error) => (JobStatus::Cancelled, None, Some(self.note_end("cancelled", error)?)),
        };
        let (answer, answered) = oneshot::channel();
        let (job_id, fence, trace) = (self.0.job_id, self.0.fence, self.0.trace.take()?);
        self.0.recorder.end(EndRecord { job_id, fence, status, result, error, trace, answer })?;
        answered.await.map_err(Error::internal)?
    }

    fn note_end(&self, status: &str, error: &JobError) -> Result<String> {
        self.note(&json!({ "status": status, "error": error }))?;
        serde_json::to_string(error).map_err(Error::internal)
    }

    fn push(
        &self,
        state: &mut State,
        source: &str,
        (data, progress): (Json, Option<Reached>),
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<i64> {
        self.push_with(state, Entry { source, data, progress, room, step: None })
    }

    fn push_with(&self, state: &mut State, entry: Entry<'_>) -> Result<i64> {
        let log = &self.0;
        if log.lost.load(Ordering::Relaxed) {
            return Err(no_longer_held(log.job_id));
        }
        let (seq, Entry { source, data, progress, room, step }) = (state.last + 1, entry);
        log.recorder.entry(EntryRecord {
            job_id: log.job_id,
            fence: log.fence,
            seq,
            at: log.clock.now(),
            source: source.to_owned(),
            data,
            step,
            progress,
            lost: log.lost.clone(),
            _room: room,
        })?;
        state.last = seq;
        Ok(seq)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// # Errors
/// [`Error::Invalid`] if no page has so many entries.
fn check_limit(limit: u32) -> Result<u32> {
    if (1..=MAX_ENTRIES_PAGE).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::invalid("limit", format!("1 to {MAX_ENTRIES_PAGE} entries are read at a time, not {limit}")))
}

impl DataSvc {
    /// Waits until all entries and ends of this server's jobs so far are durable.
    ///
    /// # Errors
    /// [`Error::Internal`] if the server is stopping.
    pub async fn recorded(&self) -> Result<()> {
        self.recorder.written().await
    }

    /// The log of a claimed job, for the holder of the claim to write to.
    pub fn job_log(&self, claim: &Claim, limits: LogLimits) -> JobLog {
        let state = State {
            last: claim.entries,
            entries: usize::try_from(claim.plugin_entries).unwrap_or(0),
            bytes: usize::try_from(claim.plugin_bytes).unwrap_or(0),
            dropped_entries: 0,
            dropped_bytes: 0,
        };
        JobLog(Arc::new(Log {
            recorder: self.recorder.clone(),
            clock: self.clock.clone(),
            job_id: claim.job_id,
            fence: claim.fence,
            limits,
            state: Mutex::new(state),
            lost: Arc::default(),
            trace: Tracer::default(),
        }))
    }

    /// A part of a job's log, in order: at most `limit` entries, and fewer where they are more than `max_bytes` long
    /// together, but at least one. What is left out then is at the end, and of [`LogPart::Before`] at the beginning.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such job or the caller may not see it; [`Error::Invalid`] if `limit` is
    /// not 1 to [`MAX_ENTRIES_PAGE`].
    pub async fn job_entries(
        &self,
        caller: &Caller,
        id: JobId,
        part: LogPart,
        limit: u32,
        max_bytes: i64,
    ) -> Result<JobEntries> {
        let limit = check_limit(limit)?;
        // Numbers have no gaps, so that they say where a part begins.
        let (after, before, last) = match part {
            LogPart::After(seq) => (Some(seq), i64::MAX, 0),
            LogPart::Before(seq) => (None, seq, limit),
            LogPart::Last(last) => (None, i64::MAX, last),
        };
        // One statement, so that the entries are all there are if the status says that the job has ended.
        let reading = sqlx::query!(
            r#"with newest as (select coalesce(max(seq), 0) as seq from job_entries where job_id = $1)
               select nullif(application, '') as "application: AppName", username, job_type, status as "status: JobStatus",
                   page.seq as "seq?", page.at as "at?", page.source as "source?", page.data as "data?: SqlJson<Json>",
                   (select seq from newest) as "newest!"
               from jobs left join lateral (
                   select * from (
                       select *, sum(octet_length(data::text)) over (order by case when $7 then -seq else seq end)
                           - octet_length(data::text) as passed
                       from (
                           select * from job_entries
                           where job_id = $1 and seq > coalesce($2, least((select seq from newest), $5::bigint - 1) - $6::bigint) and seq < $5
                           order by seq limit $3
                       ) as wanted
                   ) as counted where passed < $4
               ) as page on true
               where jobs.id = $1 order by page.seq"#,
            id as _,
            after,
            i64::from(limit),
            max_bytes,
            before,
            i64::from(last),
            matches!(part, LogPart::Before(_))
        );
        let rows = self.reads.run(async |connection| Ok(reading.fetch_all(connection).await?)).await?;
        let job = rows
            .first()
            .filter(|job| may_read(caller, job.application.as_ref(), job.username.as_deref(), &job.job_type));
        let (status, newest) =
            job.map(|job| (job.status, job.newest)).ok_or_else(|| Error::not_found(Noun::Job, id))?;
        let next = rows.last().and_then(|last| last.seq.filter(|seq| *seq < newest));
        let entries = rows
            .into_iter()
            .filter_map(|row| Some(JobEntry { seq: row.seq?, at: row.at?, source: row.source?, data: row.data?.0 }));
        Ok(JobEntries { items: entries.collect(), next, status, last_seq: newest, hits: None })
    }

    /// The entries of a part of a job's log that have this text in their data, with as many of them as in
    /// [`DataSvc::job_entries`]. ASCII letters match in capitals or not.
    ///
    /// # Errors
    /// Those of [`DataSvc::job_entries`]; [`Error::Invalid`] if the text is empty or longer than
    /// [`MAX_SEARCHED_CHARS`]; [`Error::Unavailable`] if it takes longer than five seconds.
    pub async fn job_hits(
        &self,
        caller: &Caller,
        id: JobId,
        text: &str,
        part: LogPart,
        limit: u32,
        max_bytes: i64,
    ) -> Result<JobEntries> {
        if !(1..=MAX_SEARCHED_CHARS).contains(&text.chars().count()) || text.contains('\0') {
            let reason = format!("the text to search for has 1 to {MAX_SEARCHED_CHARS} characters, and no NUL");
            return Err(Error::invalid("q", reason));
        }
        let limit = if let LogPart::Last(last) = part { last.min(MAX_ENTRIES_PAGE) } else { check_limit(limit)? };
        let (after, before) = match part {
            LogPart::After(seq) => (seq, i64::MAX),
            LogPart::Before(seq) => (0, seq),
            LogPart::Last(_) => (0, i64::MAX),
        };
        // As it stands in a string of the JSON.
        let quoted = serde_json::to_string(&text.to_ascii_lowercase()).map_err(Error::internal)?;
        // First: if the job has ended by then, its log is complete.
        let status = self.job(caller, id).await?.status;
        let searching = sqlx::query!(
            r#"with hits as materialized (
                   select seq, octet_length(data::text) as bytes from job_entries
                   where job_id = $1 and position($2 in translate(data::text, $8, lower($8))) > 0
               ),
               page as (
                   select seq, sum(bytes) over (order by case when $7 then -seq else seq end) - bytes as passed
                   from (
                       (select * from hits where not $7 and seq > $3 order by seq limit $5)
                       union all
                       (select * from hits where $7 and seq < $4 order by seq desc limit $5)
                   ) as wanted
               )
               select (select count(*) from hits) as "hits!", (select coalesce(max(seq), 0) from hits) as "last!",
                   (select coalesce(max(seq), 0) from job_entries where job_id = $1) as "newest!",
                   found.seq as "seq?", found.at as "at?", found.source as "source?",
                   found.data as "data?: SqlJson<Json>"
               from (select) as always left join lateral (
                   select entries.* from page join job_entries as entries on entries.job_id = $1 and entries.seq = page.seq
                   where passed < $6
               ) as found on true
               order by found.seq"#,
            id as _,
            quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default(),
            after,
            before,
            i64::from(limit),
            max_bytes,
            !matches!(part, LogPart::After(_)),
            CAPITALS
        );
        let rows = self.lists.run(async |connection| Ok(searching.fetch_all(connection).await?)).await?;
        let (hits, last, newest) = rows.first().map_or((0, 0, 0), |row| (row.hits, row.last, row.newest));
        let next = rows.last().and_then(|row| row.seq.filter(|seq| *seq < last));
        let entries = rows
            .into_iter()
            .filter_map(|row| Some(JobEntry { seq: row.seq?, at: row.at?, source: row.source?, data: row.data?.0 }));
        Ok(JobEntries { items: entries.collect(), next, status, last_seq: newest, hits: Some(hits) })
    }
}
