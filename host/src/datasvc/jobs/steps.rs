//! Durable steps of the host's own work: how their rows are written and read. What they are for is in `engine::steps`.
//!
//! A step's row is written by the recorder, together with the entry of the job's log that tells of it, under the fence of
//! its claim.

use std::time::Duration;

use serde::Serialize;
use sqlx::types::Json as SqlJson;
use time::OffsetDateTime;
use tokio::sync::oneshot;

use super::job::Json;
use super::lookup::may_read;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::Caller;
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{AppName, JobId};
use crate::datasvc::ground::words::stored_words;

/// How many steps of a job are shown at a time.
const MAX_STEPS_PAGE: u16 = 1000;

/// What happens to a step that was in flight when its server died.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, serde::Deserialize, sqlx::Encode, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum StepKind {
    /// It runs again.
    Repeatable,
    /// It has failed, and never runs again.
    Once,
    /// A look at the world says what became of it.
    Inspected,
    /// It goes on until its time is over.
    Pause,
    /// What only a newer server knows.
    #[serde(skip_deserializing)]
    Unknown,
}

stored_words!(StepKind);

/// Where a step stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, serde::Deserialize, sqlx::Encode, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum StepState {
    /// Started, not finished.
    Running,
    /// It has returned something.
    Succeeded,
    /// It has failed.
    Failed,
    /// What only a newer server knows.
    #[serde(skip_deserializing)]
    Unknown,
}

stored_words!(StepState);

/// A durable step, as users see it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobStep {
    /// Unique in the job.
    pub name: String,
    /// What happens to it when its server dies.
    pub kind: StepKind,
    /// Where it stands.
    pub state: StepState,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it had its outcome.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// What it returned, any JSON; or why it failed, an error as jobs have it.
    #[schema(value_type = serde_json::Value)]
    pub outcome: Option<Json>,
}

/// The steps of a job, in the order in which they began.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobSteps {
    /// At most 1000.
    pub steps: Vec<JobStep>,
    /// Where to go on, for `steps_after`; null if there are no more.
    pub steps_next: Option<i32>,
}

/// A step that an earlier run of the job, or this one, has recorded.
#[derive(Clone, Debug)]
pub struct RecordedStep {
    /// Its name.
    pub name: String,
    /// Its number.
    pub ordinal: i32,
    /// Where it stands.
    pub state: StepState,
    /// What was made before it began.
    pub identity: Option<Json>,
    /// What it returned, or why it failed.
    pub outcome: Option<Json>,
    /// How much of a pause is left.
    pub left: Option<Duration>,
}

/// A change of a step's row.
#[derive(Clone, Debug)]
pub struct StepChange {
    /// The step's name.
    pub name: String,
    /// Its number.
    pub ordinal: i32,
    /// What happens to it when its server dies.
    pub kind: StepKind,
    /// Where it stands.
    pub state: StepState,
    /// What was made before it began. Null changes nothing.
    pub identity: Option<Json>,
    /// What it returned, or why it failed.
    pub outcome: Option<Json>,
    /// How long a pause lasts that begins now.
    pub pause: Option<Duration>,
}

/// A change of a step's row on its way into the database.
pub(in crate::datasvc) struct StepRecord {
    pub(super) change: StepChange,
    /// Answered once it is durable, or its claim turns out to have been given away.
    pub(super) answer: oneshot::Sender<Result<()>>,
}

impl DataSvc {
    /// The steps of a job that have been recorded, for the holder of its claim.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn recorded_steps(&self, job: JobId) -> Result<Vec<RecordedStep>> {
        let reading = sqlx::query!(
            r#"select name, ordinal, state as "state: StepState", identity as "identity: SqlJson<Json>",
                   outcome as "outcome: SqlJson<Json>", extract(epoch from until - now())::float8 as left
               from job_steps where job_id = $1 order by ordinal"#,
            job as _
        );
        let rows = self.engine.run(async |connection| Ok(reading.fetch_all(connection).await?)).await?;
        let steps = rows.into_iter().map(|row| RecordedStep {
            name: row.name,
            ordinal: row.ordinal,
            state: row.state,
            identity: row.identity.map(|json| json.0),
            outcome: row.outcome.map(|json| json.0),
            left: row.left.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()),
        });
        Ok(steps.collect())
    }

    /// The steps of a job after this number, as many as are shown at a time.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for a job of an application that the caller may not read.
    pub async fn job_steps(&self, caller: &Caller, job: JobId, after: i32) -> Result<JobSteps> {
        let reading = sqlx::query!(
            r#"select nullif(application, '') as "application: AppName", username, job_type, step.name as "name?", step.ordinal as "ordinal?",
                   step.kind as "kind?: StepKind", step.state as "state?: StepState",
                   step.started_at as "started_at?", step.ended_at,
                   step.outcome as "outcome: SqlJson<Json>"
               from jobs left join lateral (
                   select * from job_steps where job_id = $1 and ordinal > $2 order by ordinal limit $3 + 1
               ) as step on true
               where jobs.id = $1 order by step.ordinal"#,
            job as _,
            after,
            i32::from(MAX_STEPS_PAGE)
        );
        let rows = self.reads.run(async |connection| Ok(reading.fetch_all(connection).await?)).await?;
        if !rows
            .first()
            .is_some_and(|row| may_read(caller, row.application.as_ref(), row.username.as_deref(), &row.job_type))
        {
            return Err(Error::not_found(Noun::Job, job));
        }
        let mut last = None;
        let steps = rows.into_iter().filter_map(|row| {
            let step = JobStep {
                name: row.name?,
                kind: row.kind?,
                state: row.state?,
                started_at: row.started_at?,
                ended_at: row.ended_at,
                outcome: row.outcome.map(|json| json.0),
            };
            Some((row.ordinal?, step))
        });
        let mut steps: Vec<_> = steps.collect();
        if steps.len() > usize::from(MAX_STEPS_PAGE) {
            steps.pop();
            last = steps.last().map(|(ordinal, _)| *ordinal);
        }
        Ok(JobSteps { steps: steps.into_iter().map(|(_, step)| step).collect(), steps_next: last })
    }
}
