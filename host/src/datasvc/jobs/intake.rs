//! Where new jobs come in. Jobs that come while a statement is running share the next statement and its commit.

use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};

use super::job::{ACTION, NewActionJob};
use crate::datasvc::ground::connections::Connections;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{Digest, JobId, WorkerId};

/// How many jobs share a statement, at most.
const MAX_BATCH: usize = 64;
/// How many wait for their turn before the next caller waits with its own.
const MAX_WAITING: usize = 1024;

/// A job on its way into the queue.
pub(in crate::datasvc) struct NewRow {
    pub(in crate::datasvc) id: JobId,
    pub(in crate::datasvc) username: Option<String>,
    pub(in crate::datasvc) job: NewActionJob,
}

/// A worker that takes a new job at once, without the queue.
#[derive(Clone, Copy, Debug)]
pub struct Taker {
    /// The worker.
    pub worker: WorkerId,
    /// Whether the guest starts as soon as the job is durable. Otherwise it is claimed only, and its start is
    /// recorded by [`crate::datasvc::DataSvc::start_job`].
    pub starts: bool,
}

struct Request {
    row: NewRow,
    /// When the job was created, or none if it was not.
    answer: oneshot::Sender<Result<Option<OffsetDateTime>>>,
}

/// The way in. Cheap to clone; it closes with its last clone.
#[derive(Clone, Debug)]
pub(in crate::datasvc) struct Intake(mpsc::Sender<Request>);

impl Intake {
    /// Opens one in front of this database.
    pub(in crate::datasvc) fn open(connections: Connections) -> Self {
        let (sender, mut requests) = mpsc::channel(MAX_WAITING);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(MAX_BATCH);
            while requests.recv_many(&mut batch, MAX_BATCH).await > 0 {
                insert(&connections, std::mem::take(&mut batch)).await;
            }
        });
        Self(sender)
    }

    /// Makes a job durable. Says when it was created, or none if it was not: its application does not exist, its
    /// idempotency key does, or too many jobs have come of its root.
    pub(in crate::datasvc) async fn add(&self, row: NewRow) -> Result<Option<OffsetDateTime>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Request { row, answer }).await.map_err(Error::internal)?;
        answered.await.map_err(Error::internal)?
    }
}

async fn insert(connections: &Connections, batch: Vec<Request>) {
    let (rows, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|request| (request.row, request.answer)).unzip();
    match insert_rows(connections, &rows).await {
        Ok(inserted) => {
            for (row, answer) in rows.iter().zip(answers) {
                let found = inserted.iter().find(|(id, _)| *id == row.id).map(|(_, created_at)| *created_at);
                let _ = answer.send(Ok(found));
            }
        }
        Err(Error::Unavailable(cause)) => {
            for answer in answers {
                let _ = answer.send(Err(Error::Unavailable(cause.clone())));
            }
        }
        // One bad row must not take the others with it.
        Err(_) => {
            for (row, answer) in rows.iter().zip(answers) {
                let alone = insert_rows(connections, std::slice::from_ref(row)).await;
                let _ = answer.send(alone.map(|inserted| inserted.first().map(|(_, created_at)| *created_at)));
            }
        }
    }
}

async fn insert_rows(connections: &Connections, rows: &[NewRow]) -> Result<Vec<(JobId, OffsetDateTime)>> {
    let column = |of: fn(&NewRow) -> String| rows.iter().map(of).collect::<Vec<_>>();
    let timeouts = rows.iter().map(|row| i64::try_from(row.job.timeout.as_millis()).map_err(Error::internal));
    let (keys, fingerprints): (Vec<_>, Vec<_>) = rows
        .iter()
        .map(|row| row.job.idempotency.as_ref().map(|(key, print)| (key.clone(), print.as_bytes().to_vec())).unzip())
        .unzip();
    // The row lock on the application keeps it from being deleted under the new job.
    let inserting = sqlx::query!(
        r#"insert into jobs (id, job_type, name, application, username, data, plugin, component_digest, idempotent,
                             timeout_ms, idempotency_key, idempotency_fingerprint, parent, depth, rerun_of, root,
                             status, worker, fence, attempt, started_at, created_at)
           select new.id, $1, new.name, applications.name, username, data::json, plugin, digest, idempotent,
                  timeout_ms, key, fingerprint, parent, depth, rerun_of, root,
                  case when worker is null then 'queued' else 'running' end, worker, (worker is not null)::int,
                  starts::int, case when starts then now() end, coalesce(made_at, now())
           from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[],
                       $9::boolean[], $10::bigint[], $11::text[], $12::bytea[], $13::uuid[], $14::boolean[],
                       $15::uuid[], $16::int[], $17::uuid[], $18::bigint[], $19::uuid[],
                       $20::timestamptz[])
                    as new (id, name, application, username, data, plugin, digest,
                            idempotent, timeout_ms, key, fingerprint, worker, starts, parent, depth,
                            root, room, rerun_of, made_at)
               join applications on applications.name = new.application
           where new.root is null
               or (select count(*) from (select from jobs where jobs.root = new.root limit greatest(room, 0)) as family)
                   < room
           for key share of applications
           on conflict (username, idempotency_key) where idempotency_key is not null do nothing
           returning id as "id: JobId", created_at"#,
        ACTION,
        &rows.iter().map(|row| row.id).collect::<Vec<_>>() as _,
        &column(|row| row.job.action.to_string()),
        &column(|row| row.job.application.to_string()),
        &rows.iter().map(|row| row.username.clone()).collect::<Vec<_>>() as _,
        &column(|row| row.job.data.get().to_owned()),
        &column(|row| row.job.plugin.to_string()),
        &rows.iter().map(|row| Digest::as_bytes(&row.job.digest).to_vec()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.job.idempotent).collect::<Vec<_>>(),
        &timeouts.collect::<Result<Vec<_>>>()?,
        &keys as _,
        &fingerprints as _,
        &rows.iter().map(|row| row.job.taker.map(|taker| taker.worker)).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.job.taker.is_some_and(|taker| taker.starts)).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.job.parent.map(|parent| parent.job_id)).collect::<Vec<_>>() as _,
        &rows.iter().map(|row| row.job.parent.map_or(0, |parent| parent.depth + 1)).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.job.parent.map(|parent| parent.root)).collect::<Vec<_>>() as _,
        &(0..rows.len()).map(|at| room(rows, at)).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.job.rerun_of).collect::<Vec<_>>() as _,
        // The same time as in the id, so that what is listed by one is in the order of the other.
        &rows.iter().map(|row| row.id.made_at()).collect::<Vec<_>>() as _,
    );
    let inserted = connections.run(async |connection| Ok(inserting.fetch_all(connection).await?)).await?;
    Ok(inserted.into_iter().map(|row| (row.id, row.created_at)).collect())
}

/// How many jobs may come of the root of this row's job before it is one too many. Those that come with it and before
/// it use space, too.
fn room(rows: &[NewRow], at: usize) -> i64 {
    let Some(parent) = rows[at].job.parent else { return 0 };
    let of_same_root = |row: &&NewRow| row.job.parent.is_some_and(|other| other.root == parent.root);
    let before = rows[..at].iter().filter(of_same_root).count();
    i64::from(parent.descendants) - i64::try_from(before).unwrap_or(i64::MAX)
}
