//! The servers on this database: each one writes heartbeats to its row. The others see that a server is alive if its
//! row changes. They do not use the clock of the database or of another machine.

use std::time::Instant;

use time::OffsetDateTime;

use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::{HostId, JobId, WorkerId};

/// How often the database is asked for the time before a slow answer has to do.
const QUESTIONS: u32 = 5;

/// Another server.
#[derive(Clone, Debug)]
pub struct Peer {
    /// This run of it.
    pub worker: WorkerId,
    /// Its data directory.
    pub host: HostId,
    /// Where that is; empty: it does not say.
    pub place: String,
    /// Changes with every heartbeat.
    pub beat: OffsetDateTime,
}

/// A server, and the beat after which there was none.
pub type Silent = (WorkerId, OffsetDateTime);

/// What the database answers to a heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// Whether the storage of this server is still that of the installation.
    pub storage_is_bound: bool,
}

impl DataSvc {
    /// Asks the database what time it is, and again where the answer was slow.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub(in crate::datasvc) async fn learn_time(&self) -> Result<()> {
        for _ in 0..QUESTIONS {
            if self.ask_time().await? {
                break;
            }
        }
        Ok(())
    }

    async fn ask_time(&self) -> Result<bool> {
        let asking = sqlx::query!(
            r#"select clock_timestamp() as "now!",
                   (select id from jobs where id < job_id_at(now() + interval '7 days') order by id desc limit 1)
                       as "newest: JobId""#
        );
        let asked = Instant::now();
        let known = self.engine.run(async |connection| Ok(asking.fetch_one(connection).await?)).await?;
        Ok(self.clock.learn(asked, known.now, known.newest))
    }

    /// Enters a server among those on this database.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn enter(&self, worker: WorkerId, host: HostId, runs_jobs: bool, place: &str) -> Result<()> {
        let entering = sqlx::query!(
            "insert into workers (id, host_id, runs_jobs, place) values ($1, $2, $3, $4)",
            worker as _,
            host as _,
            runs_jobs,
            place
        );
        self.engine.run(async |connection| Ok(entering.execute(connection).await?)).await?;
        Ok(())
    }

    /// Says that a server lives, whether it runs jobs or not. One that is not entered, or no longer, is.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn beat(&self, worker: WorkerId, host: HostId, runs_jobs: bool) -> Result<Pulse> {
        let beating = sqlx::query!(
            r#"with beat as (
                   insert into workers (id, host_id, runs_jobs) values ($1, $2, $3)
                   on conflict (id) do update set seen_at = now()
               )
               select clock_timestamp() as "now!", storage.id as "storage?", storage.host_id as "owner?: HostId",
                   (select id from jobs where id < job_id_at(now() + interval '7 days') order by id desc limit 1)
                       as "newest: JobId"
               from (select) as always left join storage on true"#,
            worker as _,
            host as _,
            runs_jobs
        );
        let asked = Instant::now();
        let answer = self.engine.run(async |connection| Ok(beating.fetch_one(connection).await?)).await?;
        if !self.clock.learn(asked, answer.now, answer.newest) {
            self.learn_time().await?;
        }
        let bound = answer.storage.map(|storage| (storage, answer.owner));
        Ok(Pulse { storage_is_bound: self.bound.get().is_none_or(|own| bound == Some(*own)) })
    }

    /// The others.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn peers(&self, own: WorkerId) -> Result<Vec<Peer>> {
        let looking = sqlx::query_as!(
            Peer,
            r#"select id as "worker: WorkerId", host_id as "host: HostId", place, seen_at as beat
               from workers where id <> $1"#,
            own as _
        );
        self.engine.run(async |connection| Ok(looking.fetch_all(connection).await?)).await
    }

    /// Servers that are no longer entered and hold jobs: of a claim that arrived when its server had gone.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn forgotten_holders(&self) -> Result<Vec<Silent>> {
        let looking = sqlx::query_scalar!(
            r#"select distinct worker as "worker!: WorkerId" from jobs
               where status = 'running' and not exists (select from workers where workers.id = jobs.worker)"#
        );
        let found = self.engine.run(async |connection| Ok(looking.fetch_all(connection).await?)).await?;
        Ok(found.into_iter().map(|worker| (worker, OffsetDateTime::UNIX_EPOCH)).collect())
    }

    /// Forgets servers that have been silent for long and hold nothing.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn forget_silent(&self, silent: &[Silent]) -> Result<()> {
        let (workers, beats): (Vec<_>, Vec<_>) = silent.iter().copied().unzip();
        let forgetting = sqlx::query!(
            "delete from workers where (id, seen_at) in (select * from unnest($1::uuid[], $2::timestamptz[]))
                 and not exists (select from jobs where jobs.worker = workers.id and jobs.status = 'running')",
            workers as _,
            &beats
        );
        self.engine.run(async |connection| Ok(forgetting.execute(connection).await?)).await?;
        Ok(())
    }
}
