//! The trace of a job: which calls its plugin made, and what it wrote for operators. It is kept while the run lasts,
//! bounded, and written with the job's end.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::DataSvc;
use super::caller::{Caller, Permission};
use super::error::{Error, Result};
use super::ids::JobId;
use super::sql::json_column;

/// How many lines of a run are kept.
const MAX_LINES: usize = 1_000;
/// How long they may be together, in bytes of their texts.
const MAX_BYTES: usize = 256 * 1024;
/// The longest text in a line, in characters; a longer one is cut.
const MAX_TEXT_CHARS: usize = 1_000;

/// One line of a job's trace.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TraceLine {
    /// When the call began, or the text was written.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What it is.
    #[serde(flatten)]
    pub event: TraceEvent,
}

/// What a line of a trace is about.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum TraceEvent {
    /// A call of the data services.
    Call {
        /// The function.
        #[schema(example = "builds.get")]
        call: String,
        /// What it was about: the names it was given, split by `/`.
        #[schema(example = "my_application/123-master")]
        target: String,
        /// `ok`, or the case of the error that the plugin got: `not-found`, `denied` and so on; `interrupted` where
        /// the run ended before the call.
        outcome: String,
        /// How long it took, in milliseconds.
        duration_ms: f64,
    },
    /// A line of output.
    Output {
        /// `log`, `stdout` or `stderr`.
        stream: String,
        /// How important it is: `trace`, `debug`, `info`, `warn` or `error`.
        level: String,
        /// The line.
        text: String,
    },
}

/// The trace of a job, as those see it who may change its application.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct JobTrace {
    /// The lines in their order; empty until the job has ended.
    #[serde(rename = "trace")]
    #[schema(required = false)]
    pub lines: Vec<TraceLine>,
    /// How many more there were.
    #[serde(rename = "trace_dropped")]
    #[schema(required = false)]
    pub dropped: i32,
}

/// The lines in the database.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Lines(Vec<TraceLine>);

json_column!(Lines);

/// The trace of a run that goes on.
#[derive(Debug, Default)]
pub(super) struct Tracer(Mutex<Traced>);

#[derive(Debug, Default)]
struct Traced {
    lines: Vec<TraceLine>,
    bytes: usize,
    dropped: usize,
}

impl Tracer {
    /// Adds a call that has taken this long.
    pub(super) fn call(&self, call: &str, target: &str, outcome: &str, took: Duration) {
        let at = OffsetDateTime::now_utc() - took;
        self.add(at, call.len() + target.len(), || TraceEvent::Call {
            call: call.into(),
            target: cut(target),
            outcome: outcome.into(),
            duration_ms: took.as_micros() as f64 / 1000.0,
        });
    }

    /// Adds a line of output.
    pub(super) fn output(&self, stream: &str, level: &str, text: &str) {
        self.add(OffsetDateTime::now_utc(), text.len(), || TraceEvent::Output {
            stream: stream.into(),
            level: level.into(),
            text: cut(text),
        });
    }

    fn add(&self, at: OffsetDateTime, bytes: usize, event: impl FnOnce() -> TraceEvent) {
        let mut traced = self.lock();
        if traced.lines.len() >= MAX_LINES || traced.bytes + bytes > MAX_BYTES {
            traced.dropped += 1;
            return;
        }
        traced.bytes += bytes;
        traced.lines.push(TraceLine { at, event: event() });
    }

    /// The lines as JSON, and how many more there were. None: there are none.
    pub(super) fn take(&self) -> Result<Option<(String, i32)>> {
        let Traced { lines, dropped, .. } = std::mem::take(&mut *self.lock());
        if lines.is_empty() && dropped == 0 {
            return Ok(None);
        }
        let lines = serde_json::to_string(&lines).map_err(Error::internal)?;
        Ok(Some((lines, i32::try_from(dropped).unwrap_or(i32::MAX))))
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Traced> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(text: &str) -> String {
    // What the database takes for no text.
    text.chars().take(MAX_TEXT_CHARS).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

impl DataSvc {
    /// The trace of a job.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for a job of an application that the caller may not read; [`Error::Denied`] without
    /// write permission on the application, or on `_global`.
    pub async fn job_trace(&self, caller: &Caller, id: JobId) -> Result<JobTrace> {
        let job = self.job(caller, id).await?;
        match &job.application {
            Some(application) if !caller.may_globally(Permission::Write) => {
                caller.require(Permission::Write, application)?;
            }
            _ => caller.require_global(Permission::Write)?,
        }
        let found =
            sqlx::query!(r#"select lines as "lines: Lines", dropped from job_traces where job_id = $1"#, id as _)
                .fetch_optional(&self.pool)
                .await?;
        Ok(found.map(|row| JobTrace { lines: row.lines.0, dropped: row.dropped }).unwrap_or_default())
    }
}
