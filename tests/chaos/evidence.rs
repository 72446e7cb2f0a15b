//! What there is in the end: the rows of the jobs, and the marks that runs have left in the servers' logs.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};
use sqlx::types::{Json, Uuid};
use sqlx::{FromRow, postgres::PgConnection};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::postgres::Postgres;

/// How the text of a mark begins.
const MARK: &str = "chaos-mark ";

/// All of it.
pub(crate) struct Evidence {
    pub(crate) jobs: HashMap<Uuid, Job>,
    /// By job, in the order of the logs.
    pub(crate) marks: HashMap<Uuid, Vec<Mark>>,
}

/// A job and its log.
pub(crate) struct Job {
    pub(crate) row: JobRow,
    pub(crate) entries: Vec<Entry>,
}

/// The columns that are looked at.
#[derive(FromRow)]
pub(crate) struct JobRow {
    id: Uuid,
    pub(crate) name: String,
    pub(crate) status: String,
    pub(crate) attempt: i32,
    fence: i64,
    pub(crate) result: Option<Json<Value>>,
    pub(crate) error: Option<Json<Value>>,
    pub(crate) idempotency_key: Option<String>,
}

/// A line of a job's log.
#[derive(FromRow)]
pub(crate) struct Entry {
    job_id: Uuid,
    pub(crate) seq: i64,
    pub(crate) at: OffsetDateTime,
    pub(crate) source: String,
    pub(crate) data: Json<Value>,
}

/// That a guest was at a step of its work; at step 0 it began.
pub(crate) struct Mark {
    pub(crate) host: String,
    pub(crate) at: OffsetDateTime,
    pub(crate) attempt: i64,
    pub(crate) step: u64,
}

impl Evidence {
    /// Reads the database and these logs.
    pub(crate) async fn gather(postgres: &Postgres, logs: &[PathBuf]) -> Result<Self> {
        let mut marks = HashMap::new();
        for log in logs {
            read_marks(log, &mut marks)?;
        }
        Ok(Self { jobs: read_jobs(&mut postgres.connect().await?).await?, marks })
    }

    /// The marks of a job.
    pub(crate) fn marks_of(&self, job: Uuid) -> &[Mark] {
        self.marks.get(&job).map_or(&[], Vec::as_slice)
    }

    /// All that is known of a job, for people.
    pub(crate) fn dossier(&self, job: Uuid) -> Value {
        let marks = self
            .marks_of(job)
            .iter()
            .map(|mark| json!(format!("{} {}: attempt {}, step {}", mark.at, mark.host, mark.attempt, mark.step)));
        let marks: Vec<_> = marks.collect();
        let Some(Job { row, entries }) = self.jobs.get(&job) else {
            return json!({ "job": job.to_string(), "row": null, "marks": marks });
        };
        let entries =
            entries.iter().map(|Entry { seq, at, source, data, .. }| format!("{seq} {at} {source}: {}", data.0));
        json!({
            "job": row.id.to_string(), "name": row.name, "status": row.status, "attempt": row.attempt, "fence": row.fence,
            "key": row.idempotency_key, "result": row.result, "error": row.error,
            "entries": entries.collect::<Vec<_>>(), "marks": marks,
        })
    }
}

impl Entry {
    /// The attempt that the plugin recorded it in, and the step.
    pub(crate) fn of_plugin(&self) -> Option<(i64, u64)> {
        let data = &self.data.0;
        (self.source != "host").then(|| Some((data["run"].as_i64()?, data["step"].as_u64()?))).flatten()
    }

    /// The attempt that the host says is over, and what it has made of the job.
    pub(crate) fn handed_on(&self) -> Option<(i64, &str)> {
        let data = &self.data.0;
        let attempt = data["attempt"].as_i64().filter(|_| self.source == "host")?;
        data["status"]
            .as_str()
            .filter(|status| ["queued", "lost", "cancelled"].contains(status))
            .map(|status| (attempt, status))
    }

    /// Whether the host says by it that the job has ended.
    pub(crate) fn is_end(&self) -> bool {
        self.source == "host"
            && self.data.0["status"].as_str().is_some_and(|status| ["failed", "cancelled", "lost"].contains(&status))
    }
}

async fn read_jobs(database: &mut PgConnection) -> Result<HashMap<Uuid, Job>> {
    let rows: Vec<JobRow> =
        sqlx::query_as("select id, name, status, attempt, fence, result, error, idempotency_key from jobs")
            .fetch_all(&mut *database)
            .await?;
    let mut jobs: HashMap<_, _> = rows.into_iter().map(|row| (row.id, Job { row, entries: Vec::new() })).collect();
    let entries: Vec<Entry> =
        sqlx::query_as("select job_id, seq, at, source, data from job_entries order by job_id, seq")
            .fetch_all(database)
            .await?;
    for entry in entries {
        if let Some(job) = jobs.get_mut(&entry.job_id) {
            job.entries.push(entry);
        }
    }
    Ok(jobs)
}

fn read_marks(log: &Path, marks: &mut HashMap<Uuid, Vec<Mark>>) -> Result<()> {
    let host = log.file_stem().unwrap_or_default().to_string_lossy();
    for line in BufReader::new(File::open(log)?).split(b'\n') {
        let line = line?;
        // The last line of a server that was killed may be half a line.
        let Ok(line) = serde_json::from_slice::<Value>(&line) else { continue };
        let Some((job, mark)) = parse_mark(&host, &line) else { continue };
        marks.entry(job).or_default().push(mark);
    }
    Ok(())
}

fn parse_mark(host: &str, line: &Value) -> Option<(Uuid, Mark)> {
    let mut words = line["text"].as_str()?.strip_prefix(MARK)?.split(' ');
    let job = words.next()?.parse().ok()?;
    let (attempt, step) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let at = OffsetDateTime::parse(line["timestamp"].as_str()?, &Rfc3339).ok()?;
    Some((job, Mark { host: host.to_owned(), at, attempt, step }))
}
