//! How far a job is, by its newest entry with a progress. It is read from each entry once, when the entry is added to
//! the log, so that a list of jobs need not read logs.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

/// How many characters of an entry's `status` are kept.
const MAX_STEP_CHARS: usize = 200;

/// How far a job is.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobProgress {
    /// 0 to 100.
    pub percent: i16,
    /// What is being done: the entry's `status`, of which 200 characters are shown.
    pub status: Option<String>,
    /// The entry that says so.
    pub seq: i64,
    /// When it was recorded.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// What an entry says of its job's progress.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::datasvc) struct Reached {
    /// 0 to 100.
    pub(in crate::datasvc) percent: i16,
    /// What is being done.
    pub(in crate::datasvc) step: Option<String>,
}

/// The members of an entry that are looked at; others may be there.
#[derive(Deserialize)]
struct Entry {
    progress: f64,
    #[serde(default)]
    status: Value,
}

impl Reached {
    /// What the entry says, if its `progress` is a number from 0 to 100.
    pub(in crate::datasvc) fn of(entry: &str) -> Option<Self> {
        // Most entries have no progress, and are not read.
        if !entry.contains("\"progress\"") {
            return None;
        }
        let Entry { progress, status } = serde_json::from_str(entry).ok()?;
        if !(0.0..=100.0).contains(&progress) {
            return None;
        }
        let step = status.as_str().map(|status| status.chars().take(MAX_STEP_CHARS).collect());
        #[expect(clippy::cast_possible_truncation, reason = "it is 0 to 100")]
        Some(Self { percent: progress.floor() as i16, step })
    }
}

#[cfg(test)]
mod tests;
