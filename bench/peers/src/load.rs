//! The load that every peer on Postgres is measured with, and how its throughput is taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Producers wait while the handlers of more jobs than this have yet to run, so that draining stays bounded.
const BACKLOG: u64 = 10_000;

/// Connections beside those of the producers: for fetching, completing, listening and upkeep.
const SPARE_CONNECTIONS: usize = 16;

/// A run in which nothing is completed for so long has failed.
const STALLED: Duration = Duration::from_secs(30);

/// How often a held-back producer, and the end of the run, look again.
const GLANCE: Duration = Duration::from_millis(1);

#[derive(clap::Args)]
pub(crate) struct Load {
    /// Seconds during which jobs are enqueued.
    #[arg(long)]
    pub(crate) seconds: u64,
    /// Producers, each of which enqueues one job after the other.
    #[arg(long, default_value_t = 64)]
    pub(crate) clients: usize,
    /// Jobs that the workers run at once [default: what the peer's documentation recommends for throughput].
    #[arg(long)]
    pub(crate) workers: Option<usize>,
}

/// What a run came to; `seconds` is from the first enqueue to the last completion.
#[derive(Deserialize)]
pub(crate) struct Measured {
    pub(crate) jobs: u64,
    pub(crate) seconds: f64,
    pub(crate) enqueue_median_ms: f64,
}

/// Counts the jobs whose handler has run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handled(Arc<AtomicU64>);

impl Handled {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A peer as a producer sees it.
pub(crate) trait Queue: Clone + Send + 'static {
    /// Enqueues one no-op job, which is durable when this returns.
    fn enqueue(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// How many jobs the database holds whose end is not stored.
    fn unfinished(&self) -> impl Future<Output = anyhow::Result<i64>> + Send;
}

impl Load {
    /// A pool with a connection for each producer, all opened before the clock starts. The default number of clients
    /// stays below the 100 connections that Postgres allows by default.
    pub(crate) async fn pool(&self, database_url: &str) -> anyhow::Result<PgPool> {
        let size = self.clients + SPARE_CONNECTIONS;
        let pool = PgPoolOptions::new().max_connections(u32::try_from(size)?).connect(database_url).await?;
        let mut open = Vec::with_capacity(size);
        for _ in 0..size {
            open.push(pool.acquire().await?);
        }
        Ok(pool)
    }

    /// Enqueues jobs for the given time while the peer's workers run them, and waits until all have ended.
    pub(crate) async fn measure(&self, queue: impl Queue, handled: Handled) -> anyhow::Result<Measured> {
        let enqueued = Handled::default();
        let start = Instant::now();
        let end = start + Duration::from_secs(self.seconds);
        let mut producers = JoinSet::new();
        for _ in 0..self.clients {
            producers.spawn(produce(queue.clone(), end, enqueued.clone(), handled.clone()));
        }
        let mut latencies = Vec::new();
        while let Some(of_one) = producers.join_next().await {
            latencies.append(&mut of_one??);
        }
        let jobs = enqueued.get();
        drain(&queue, jobs, &handled).await?;
        let seconds = start.elapsed().as_secs_f64();
        ensure!(!latencies.is_empty(), "no job was enqueued");
        latencies.sort_unstable();
        let enqueue_median_ms = latencies[latencies.len() / 2].as_secs_f64() * 1000.0;
        Ok(Measured { jobs, seconds, enqueue_median_ms })
    }
}

/// One producer: enqueues one job after the other, and tells how long each took.
async fn produce(
    mut queue: impl Queue,
    end: Instant,
    enqueued: Handled,
    handled: Handled,
) -> anyhow::Result<Vec<Duration>> {
    let mut latencies = Vec::new();
    while Instant::now() < end {
        if enqueued.get().saturating_sub(handled.get()) > BACKLOG {
            sleep(GLANCE).await;
            continue;
        }
        let start = Instant::now();
        queue.enqueue().await?;
        latencies.push(start.elapsed());
        enqueued.count();
    }
    Ok(latencies)
}

/// Waits until the handlers of all jobs have run, and then until the database says that they have ended.
async fn drain(queue: &impl Queue, jobs: u64, handled: &Handled) -> anyhow::Result<()> {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        let now = handled.get();
        if now >= jobs && queue.unfinished().await? == 0 {
            return Ok(());
        }
        if now > seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > STALLED {
            let unfinished = queue.unfinished().await?;
            bail!("{seen} of {jobs} jobs were run, then none for {STALLED:?}; the end of {unfinished} is not stored");
        }
        sleep(GLANCE).await;
    }
}
