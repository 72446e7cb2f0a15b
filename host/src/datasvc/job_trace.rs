//! The trace of a job: which calls its plugin made, and what it wrote for operators. It is kept while the run lasts,
//! bounded, and written with the job's end.

use std::borrow::Cow;
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
/// How many of the lines are about calls that cost so little that a run may make very many of them.
const MAX_FREQUENT_LINES: usize = MAX_LINES / 2;
/// Those calls.
const FREQUENT: [&str; 4] = ["jobs.append", "jobs.progress", "jobs.current", "jobs.cancel-requested"];

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
    /// A call of the data services, or a request to a server outside.
    Call {
        /// The function, or `http.` and the method.
        #[schema(value_type = String, example = "builds.get")]
        call: Cow<'static, str>,
        /// What it was about: the names it was given, split by `/`, or the server that was asked.
        #[schema(example = "my_application/123-master")]
        target: String,
        /// `ok`, or the case of the error that the plugin got: `not-found`, `denied` and so on; `interrupted` where
        /// the run ended before the call. Of a request that was answered, the status.
        #[schema(value_type = String)]
        outcome: Cow<'static, str>,
        /// How long it took, in milliseconds.
        duration_ms: f64,
    },
    /// A line of output.
    Output {
        /// `log`, `stdout` or `stderr`.
        #[schema(value_type = String)]
        stream: Cow<'static, str>,
        /// How important it is: `trace`, `debug`, `info`, `warn` or `error`.
        #[schema(value_type = String)]
        level: Cow<'static, str>,
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
    /// How many of the lines are about frequent calls.
    frequent: usize,
    dropped: usize,
}

impl Tracer {
    /// Adds a call that has taken this long by now.
    pub(super) fn call(
        &self,
        now: OffsetDateTime,
        call: Cow<'static, str>,
        target: &str,
        outcome: Cow<'static, str>,
        took: Duration,
    ) {
        let mut traced = self.lock();
        let is_frequent = FREQUENT.contains(&&*call);
        if is_frequent && traced.frequent == MAX_FREQUENT_LINES {
            traced.dropped += 1;
        } else if traced.take(call.len() + target.len()) {
            traced.frequent += usize::from(is_frequent);
            let at = now - took;
            let duration_ms = took.as_micros() as f64 / 1000.0;
            traced
                .lines
                .push(TraceLine { at, event: TraceEvent::Call { call, target: cut(target), outcome, duration_ms } });
        }
    }

    /// Adds a line of output.
    pub(super) fn output(&self, at: OffsetDateTime, stream: &'static str, level: &'static str, text: &str) {
        let mut traced = self.lock();
        if traced.take(text.len()) {
            let (stream, level) = (stream.into(), level.into());
            traced.lines.push(TraceLine { at, event: TraceEvent::Output { stream, level, text: cut(text) } });
        }
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

impl Traced {
    /// Takes room for a line with texts of so many bytes, or counts it as dropped.
    fn take(&mut self, bytes: usize) -> bool {
        if self.lines.len() >= MAX_LINES || self.bytes + bytes > MAX_BYTES {
            self.dropped += 1;
            return false;
        }
        self.bytes += bytes;
        true
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
