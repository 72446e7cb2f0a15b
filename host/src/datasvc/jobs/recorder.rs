//! Writes what runs record, log entries and outcomes, into the database. Records that come while a statement is running
//! share the next statement and its commit; if no statement is running, a record is written at once.
//!
//! Every record carries its claim's fencing number: if another server has taken over the claim, nothing is written. If
//! the answer to a statement was lost, it is repeated without the entries that are in the log already: only this worker
//! can have written those while it held the claim.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::value::to_raw_value;
use time::OffsetDateTime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};
use tracing::{error, warn};

use super::job::{JobStatus, Json};
use super::log::SOURCE_HOST;
use super::progress::Reached;
use super::queue::{TAKEN, no_longer_held};
use super::steps::StepRecord;
use crate::datasvc::ground::connections::Connections;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::JobId;
use crate::datasvc::ground::sql::OnConstraint;
use crate::errors::Outage;

/// How many records share a statement, at most.
const MAX_BATCH: usize = 1000;
/// How many bytes of entries wait to be written before the next one waits for its place.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;
/// How long to wait before a statement is repeated, while the database is away.
const RETRY: Duration = Duration::from_millis(200);
/// How many changes a follower may be behind before it is told that everything may have changed.
const MAX_CHANGES: usize = 1024;

/// The jobs that a statement has changed.
pub type Changed = Arc<[JobId]>;

/// An entry that has its place in its job's log.
pub(in crate::datasvc) struct EntryRecord {
    pub(in crate::datasvc) job_id: JobId,
    pub(in crate::datasvc) fence: i64,
    pub(in crate::datasvc) seq: i64,
    pub(in crate::datasvc) at: OffsetDateTime,
    pub(in crate::datasvc) source: String,
    pub(in crate::datasvc) data: Json,
    /// The durable step that it tells of, whose row changes with it.
    pub(in crate::datasvc) step: Option<StepRecord>,
    /// What it says of the job's progress.
    pub(in crate::datasvc) progress: Option<Reached>,
    /// Set when the claim turns out to have been given away.
    pub(in crate::datasvc) lost: Arc<AtomicBool>,
    /// Room for it among what waits, which is free again when this is dropped.
    pub(in crate::datasvc) _room: Option<OwnedSemaphorePermit>,
}

/// How a job ended.
pub(in crate::datasvc) struct EndRecord {
    pub(in crate::datasvc) job_id: JobId,
    pub(in crate::datasvc) fence: i64,
    pub(in crate::datasvc) status: JobStatus,
    pub(in crate::datasvc) result: Option<Json>,
    pub(in crate::datasvc) error: Option<String>,
    /// The lines of the job's trace as JSON, and how many more there were.
    pub(in crate::datasvc) trace: Option<(String, i32)>,
    pub(in crate::datasvc) answer: oneshot::Sender<Result<()>>,
}

enum Record {
    Entry(EntryRecord),
    End(EndRecord),
    /// Answered once all before it is written.
    Mark(oneshot::Sender<()>),
}

/// The way to the writer. Cheap to clone; the writer ends with its last clone.
#[derive(Clone, Debug)]
pub(in crate::datasvc) struct Recorder {
    records: mpsc::UnboundedSender<Record>,
    room: Arc<Semaphore>,
    changes: broadcast::Sender<Changed>,
}

impl Recorder {
    /// Starts a writer to this database.
    pub(in crate::datasvc) fn start(connections: Connections) -> Self {
        let (records, received) = mpsc::unbounded_channel();
        let (changes, _) = broadcast::channel(MAX_CHANGES);
        tokio::spawn(write_all(connections, received, changes.clone()));
        Self { records, room: Arc::new(Semaphore::new(MAX_WAITING_BYTES)), changes }
    }

    /// Waits for capacity for an entry of so many bytes.
    pub(in crate::datasvc) async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).map_err(Error::internal)?;
        self.room.clone().acquire_many_owned(bytes).await.map_err(Error::internal)
    }

    /// Hands over an entry.
    pub(in crate::datasvc) fn entry(&self, entry: EntryRecord) -> Result<()> {
        self.send(Record::Entry(entry))
    }

    /// Hands over an end. The answer comes when it is durable.
    pub(in crate::datasvc) fn end(&self, end: EndRecord) -> Result<()> {
        self.send(Record::End(end))
    }

    /// Waits until all that was handed over before is written.
    pub(in crate::datasvc) async fn written(&self) -> Result<()> {
        let (mark, reached) = oneshot::channel();
        self.send(Record::Mark(mark))?;
        reached.await.map_err(Error::internal)
    }

    fn send(&self, record: Record) -> Result<()> {
        self.records.send(record).map_err(|_| Error::internal("the writer of job logs has stopped"))
    }

    /// The changes from now on.
    pub(in crate::datasvc) fn changes(&self) -> broadcast::Receiver<Changed> {
        self.changes.subscribe()
    }

    /// Tells those who follow these jobs.
    pub(in crate::datasvc) fn changed(&self, jobs: Changed) {
        // Nobody may be listening.
        let _ = self.changes.send(jobs);
    }
}

async fn write_all(
    connections: Connections,
    mut received: mpsc::UnboundedReceiver<Record>,
    changes: broadcast::Sender<Changed>,
) {
    let mut records = Vec::with_capacity(MAX_BATCH);
    while received.recv_many(&mut records, MAX_BATCH).await > 0 {
        let (mut batch, mut marks) = (Batch::default(), Vec::new());
        for record in records.drain(..) {
            match record {
                Record::Entry(entry) => batch.entries.push(entry),
                Record::End(end) => batch.ends.push(end),
                Record::Mark(mark) => marks.push(mark),
            }
        }
        let jobs = batch.jobs();
        if !jobs.is_empty() {
            batch.record(&connections).await;
            // Nobody may be listening, here and below.
            let _ = changes.send(jobs);
        }
        for mark in marks {
            let _ = mark.send(());
        }
    }
}

/// What one statement writes: of each job all entries that come before its end.
#[derive(Default)]
struct Batch {
    entries: Vec<EntryRecord>,
    ends: Vec<EndRecord>,
}

impl Batch {
    fn jobs(&self) -> Changed {
        let jobs = self.entries.iter().map(|entry| entry.job_id).chain(self.ends.iter().map(|end| end.job_id));
        jobs.collect::<HashSet<_>>().into_iter().collect()
    }

    /// Writes it, however long the database is away, and answers.
    async fn record(mut self, connections: &Connections) {
        match self.persist(connections).await {
            Ok(held) => self.answer(&held),
            // One bad record must not take the others with it.
            Err(problem) => {
                warn!("job logs are written one by one, because together they were refused: {problem:?}");
                for entry in self.entries {
                    record_entry_alone(connections, entry).await;
                }
                for end in self.ends {
                    record_end_alone(connections, end).await;
                }
            }
        }
    }

    /// Says to each writer whether its claim was held.
    fn answer(self, held: &HashSet<(JobId, i64)>) {
        for entry in self.entries {
            let is_held = held.contains(&(entry.job_id, entry.fence));
            if !is_held {
                entry.lost.store(true, Ordering::Relaxed);
            }
            if let Some(step) = entry.step {
                let _ = step.answer.send(if is_held { Ok(()) } else { Err(no_longer_held(entry.job_id)) });
            }
        }
        for end in self.ends {
            let is_held = held.contains(&(end.job_id, end.fence));
            let _ = end.answer.send(if is_held { Ok(()) } else { Err(no_longer_held(end.job_id)) });
        }
    }

    /// Writes it, and again while the database is away. Returns the claims that were held.
    async fn persist(&mut self, connections: &Connections) -> Result<HashSet<(JobId, i64)>> {
        let mut outage = Outage::default();
        loop {
            match self.write(connections).await {
                Err(Error::Unavailable(cause)) => outage.goes_on("job logs and ends wait for the database", &*cause),
                // A statement that was given up has gone on meanwhile.
                Err(Error::Conflict { reason }) if reason == TAKEN => {}
                other => {
                    outage.is_over("the database is back, and what waited for it is written");
                    return other;
                }
            }
            tokio::time::sleep(RETRY).await;
            self.leave_out_written(connections).await;
        }
    }

    /// Leaves out the entries that are in the log already, if their claims are still held: then only this worker can
    /// have written them. If the database does not answer now, the next try checks again.
    async fn leave_out_written(&mut self, connections: &Connections) {
        let written = connections.run(async |connection| {
            let rows = sqlx::query!(
                r#"select job_id as "job_id!: JobId", seq as "seq!"
                   from unnest($1::uuid[], $2::bigint[], $3::bigint[]) as entry (job_id, seq, fence)
                       join job_entries using (job_id, seq)
                       join jobs on jobs.id = job_id and jobs.fence = entry.fence"#,
                &self.entries.iter().map(|entry| entry.job_id).collect::<Vec<_>>() as _,
                &self.entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
                &self.entries.iter().map(|entry| entry.fence).collect::<Vec<_>>(),
            )
            .fetch_all(connection)
            .await?;
            Ok(rows.into_iter().map(|row| (row.job_id, row.seq)).collect::<HashSet<_>>())
        });
        let Ok(written) = written.await else { return };
        for entry in self.entries.extract_if(.., |entry| written.contains(&(entry.job_id, entry.seq))) {
            if let Some(step) = entry.step {
                let _ = step.answer.send(Ok(()));
            }
        }
    }

    async fn write(&self, connections: &Connections) -> Result<HashSet<(JobId, i64)>> {
        let Self { entries, ends } = self;
        let steps: Vec<_> = entries.iter().filter_map(|entry| Some((entry, &entry.step.as_ref()?.change))).collect();
        let writing = sqlx::query!(
            r#"with entries as (
                   select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[],
                                        $23::smallint[], $24::text[])
                       as entry (job_id, fence, seq, at, source, data, percent, step)
               ), ends as (
                   select * from unnest($7::uuid[], $8::bigint[], $9::text[], $10::text[], $11::text[], $12::text[], $13::int[])
                       as ending (job_id, fence, status, result, error, trace, untraced)
               ), ended as (
                   update jobs set status = ends.status, result = ends.result::json, error = ends.error::json,
                       host_id = (select host_id from workers where workers.id = jobs.worker),
                       worker = null, completed_at = now(), updated_at = now()
                   from ends where jobs.id = ends.job_id and jobs.fence = ends.fence and jobs.status = 'running'
                   returning jobs.id, jobs.fence
               ), traced as (
                   insert into job_traces (job_id, lines, dropped)
                   select ends.job_id, ends.trace::json, ends.untraced
                   from ends join ended on ended.id = ends.job_id and ended.fence = ends.fence
                   where ends.trace is not null
                   on conflict (job_id) do update set lines = excluded.lines, dropped = excluded.dropped
               ), held as (
                   -- The row lock holds off a takeover until the entries are in their places.
                   select jobs.id, jobs.fence from jobs
                       join (select distinct job_id, fence from entries) as written
                           on written.job_id = jobs.id and written.fence = jobs.fence
                   where jobs.status = 'running' and not exists (select from ends where ends.job_id = jobs.id and ends.fence = jobs.fence)
                   for share of jobs
               ), written as (
                   insert into job_entries (job_id, seq, at, source, data, percent, step)
                   select entries.job_id, entries.seq, entries.at, entries.source, entries.data::json,
                       entries.percent, entries.step
                   from entries join (select * from ended union all select * from held) as owned
                       on owned.id = entries.job_id and owned.fence = entries.fence
               ), stepped as (
                   insert into job_steps (job_id, name, ordinal, kind, state, fence, identity, outcome, until,
                                          started_at, ended_at)
                   select job_id, name, ordinal, kind, state, step.fence, identity::json, outcome::json,
                       now() + make_interval(secs => pause), now(), case when state <> 'running' then now() end
                   from unnest($14::uuid[], $15::bigint[], $16::text[], $17::int[], $18::text[], $19::text[],
                               $20::text[], $21::text[], $22::float8[])
                           as step (job_id, fence, name, ordinal, kind, state, identity, outcome, pause)
                       join (select * from ended union all select * from held) as owned
                           on owned.id = step.job_id and owned.fence = step.fence
                   on conflict (job_id, name) do update set
                       state = excluded.state, fence = excluded.fence, outcome = excluded.outcome,
                       ended_at = excluded.ended_at
               )
               select id as "id!: JobId", fence as "fence!" from ended
               union all select id, fence from held
               -- Ended by the same statement, when its answer was lost.
               union all select jobs.id, jobs.fence from jobs join ends on ends.job_id = jobs.id
                   where jobs.fence = ends.fence and jobs.status not in ('queued', 'running')"#,
            &entries.iter().map(|entry| entry.job_id).collect::<Vec<_>>() as _,
            &entries.iter().map(|entry| entry.fence).collect::<Vec<_>>(),
            &entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(),
            &entries.iter().map(|entry| entry.at).collect::<Vec<_>>(),
            &entries.iter().map(|entry| entry.source.clone()).collect::<Vec<_>>(),
            &entries.iter().map(|entry| entry.data.get().to_owned()).collect::<Vec<_>>(),
            &ends.iter().map(|end| end.job_id).collect::<Vec<_>>() as _,
            &ends.iter().map(|end| end.fence).collect::<Vec<_>>(),
            &ends.iter().map(|end| end.status).collect::<Vec<_>>() as _,
            &ends.iter().map(|end| end.result.as_ref().map(|json| json.get().to_owned())).collect::<Vec<_>>() as _,
            &ends.iter().map(|end| end.error.clone()).collect::<Vec<_>>() as _,
            &ends.iter().map(|end| end.trace.as_ref().map(|(lines, _)| lines.clone())).collect::<Vec<_>>() as _,
            &ends.iter().map(|end| end.trace.as_ref().map(|(_, more)| *more)).collect::<Vec<_>>() as _,
            &steps.iter().map(|(entry, _)| entry.job_id).collect::<Vec<_>>() as _,
            &steps.iter().map(|(entry, _)| entry.fence).collect::<Vec<_>>(),
            &steps.iter().map(|(_, step)| step.name.clone()).collect::<Vec<_>>(),
            &steps.iter().map(|(_, step)| step.ordinal).collect::<Vec<_>>(),
            &steps.iter().map(|(_, step)| step.kind).collect::<Vec<_>>() as _,
            &steps.iter().map(|(_, step)| step.state).collect::<Vec<_>>() as _,
            &steps.iter().map(|(_, step)| text(step.identity.as_ref())).collect::<Vec<_>>() as _,
            &steps.iter().map(|(_, step)| text(step.outcome.as_ref())).collect::<Vec<_>>() as _,
            &steps.iter().map(|(_, step)| step.pause.map(|pause| pause.as_secs_f64())).collect::<Vec<_>>() as _,
            &entries.iter().map(|entry| entry.progress.as_ref().map(|it| it.percent)).collect::<Vec<_>>() as _,
            &entries.iter().map(|entry| entry.progress.as_ref()?.step.clone()).collect::<Vec<_>>() as _,
        );
        let held = connections
            .run(async |connection| {
                let held = writing.fetch_all(connection).await;
                held.on_constraint("job_entries_pkey", || Error::conflict(TAKEN))
            })
            .await?;
        Ok(held.into_iter().map(|claim| (claim.id, claim.fence)).collect())
    }
}

fn text(json: Option<&Json>) -> Option<String> {
    json.map(|json| json.get().to_owned())
}

/// Writes an entry that may be what the database refuses. Its place must not stay empty: then the host says why.
async fn record_entry_alone(connections: &Connections, entry: EntryRecord) {
    let mut batch = Batch { entries: vec![entry], ..Batch::default() };
    let problem = match batch.persist(connections).await {
        Ok(held) => return batch.answer(&held),
        Err(problem) => problem,
    };
    error!("an entry of a job's log was refused: {problem:?}");
    for entry in &mut batch.entries {
        if let Some(step) = entry.step.take() {
            let _ = step.answer.send(Err(Error::internal("the database refused a step")));
        }
        entry.source = SOURCE_HOST.into();
        entry.progress = None;
        entry.data = to_raw_value("an entry could not be recorded; the server's log says why").expect("a text is JSON");
    }
    match batch.persist(connections).await {
        Ok(held) => batch.answer(&held),
        Err(problem) => error!("nothing could be recorded in its place: {problem:?}"),
    }
}

/// Writes an end that may be what the database refuses, which its sender is told then.
async fn record_end_alone(connections: &Connections, end: EndRecord) {
    let mut batch = Batch { ends: vec![end], ..Batch::default() };
    match batch.persist(connections).await {
        Ok(held) => batch.answer(&held),
        Err(problem) => {
            let problem = format!("the end of a job was refused: {problem:?}");
            for end in batch.ends {
                let _ = end.answer.send(Err(Error::internal(problem.as_str())));
            }
        }
    }
}
