//! The trace of a job: which calls its plugin made, and what it wrote for operators. It is kept while the run lasts,
//! bounded, and written with the job's end. The kinds of lines share its capacity.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{JobId, PluginName};
use crate::datasvc::ground::sql::json_column;

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
    /// The plugin that made the call, or wrote the text. Null in traces of Elita 0.1.0 and before.
    #[serde(default)]
    pub plugin: Option<PluginName>,
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
    /// What only a newer server knows, as that has written it.
    Other(BTreeMap<String, serde_json::Value>),
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
pub(in crate::datasvc) struct Tracer(Mutex<Traced>);

#[derive(Debug, Default)]
struct Traced {
    /// By number.
    lines: BTreeMap<u64, TraceLine>,
    last_number: u64,
    /// How many there are, and their bytes.
    kept: Share,
    kinds: HashMap<Cow<'static, str>, Kind>,
    dropped: usize,
}

/// What there is of some lines.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    lines: usize,
    bytes: usize,
}

/// The lines of one kind: those about one function, about requests, or of one stream.
#[derive(Debug, Default)]
struct Kind {
    kept: Share,
    /// The number of each, and its bytes.
    numbers: Vec<(u64, usize)>,
}

impl Tracer {
    /// Adds a call that has taken this long by now.
    pub(in crate::datasvc) fn call(
        &self,
        plugin: &PluginName,
        now: OffsetDateTime,
        call: Cow<'static, str>,
        target: &str,
        outcome: Cow<'static, str>,
        took: Duration,
    ) {
        // A plugin makes up methods as it likes, and functions it does not.
        let kind = if call.starts_with("http.") { "http".into() } else { call.clone() };
        let bytes = call.len() + target.len();
        self.lock().add(kind, bytes, || {
            let at = now - took;
            let duration_ms = took.as_micros() as f64 / 1000.0;
            let event = TraceEvent::Call { call, target: cut(target), outcome, duration_ms };
            TraceLine { at, plugin: Some(plugin.clone()), event }
        });
    }

    /// Adds a line of output.
    pub(in crate::datasvc) fn output(
        &self,
        plugin: &PluginName,
        at: OffsetDateTime,
        stream: &'static str,
        level: &'static str,
        text: &str,
    ) {
        self.lock().add(stream.into(), text.len(), || {
            let (stream, level) = (stream.into(), level.into());
            let event = TraceEvent::Output { stream, level, text: cut(text) };
            TraceLine { at, plugin: Some(plugin.clone()), event }
        });
    }

    /// The lines as JSON, and how many were left out. `None`: there are no lines.
    pub(in crate::datasvc) fn take(&self) -> Result<Option<(String, i32)>> {
        let Traced { lines, dropped, .. } = std::mem::take(&mut *self.lock());
        let lines: Vec<_> = lines.into_values().collect();
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
    /// Adds a line with texts of so many bytes, or counts it as dropped.
    fn add(&mut self, kind: Cow<'static, str>, bytes: usize, line: impl FnOnce() -> TraceLine) {
        if !self.make_room(&kind, bytes) {
            self.dropped += 1;
            return;
        }
        self.last_number += 1;
        self.lines.insert(self.last_number, line());
        self.kept.add(bytes);
        let kind = self.kinds.entry(kind).or_default();
        kind.kept.add(bytes);
        kind.numbers.push((self.last_number, bytes));
    }

    /// Makes room for a line of this kind. If the trace is full, the kind with the most lines loses its last ones: so
    /// no kind pushes all others out, whichever comes first.
    fn make_room(&mut self, kind: &str, bytes: usize) -> bool {
        let own = self.kinds.get(kind).map(|kind| kind.kept).unwrap_or_default();
        while self.kept.lines >= MAX_LINES {
            if !self.drop_of_the_largest(own.lines + 1, |share| share.lines) {
                return false;
            }
        }
        while self.kept.bytes + bytes > MAX_BYTES {
            if !self.drop_of_the_largest(own.bytes + bytes, |share| share.bytes) {
                return false;
            }
        }
        true
    }

    /// Drops the last line of the kind that has the most, if that is more than this much.
    fn drop_of_the_largest(&mut self, than: usize, of: fn(&Share) -> usize) -> bool {
        let largest = self.kinds.values_mut().max_by_key(|kind| of(&kind.kept));
        let Some(largest) = largest.filter(|kind| of(&kind.kept) > than) else { return false };
        let Some((number, bytes)) = largest.numbers.pop() else { return false };
        largest.kept.remove(bytes);
        self.kept.remove(bytes);
        self.lines.remove(&number);
        self.dropped += 1;
        true
    }
}

impl Share {
    fn add(&mut self, bytes: usize) {
        self.lines += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: usize) {
        self.lines -= 1;
        self.bytes -= bytes;
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
