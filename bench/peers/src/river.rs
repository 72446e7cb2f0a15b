//! riverqueue: a completed job's row is kept, with the output that the job recorded.

use std::time::Duration;

use anyhow::bail;
use riverqueue::migrate::PostgresMigrator;
use riverqueue::{BoxError, Client, Job, JobArgs, QueueConfig, WorkContext, WorkOutcome, Workers};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;

use crate::load::{Handled, Load, Measured, Queue};

// The values of River's own benchmark, cmd/river/riverbench/river_bench.go in the repository riverqueue/river, where they
// are said to perform much better than the defaults. The documentation of `fetch_cooldown` has it that "throughput is
// limited by this value", and as many jobs are fetched at once as there are free workers.
const FETCH_COOLDOWN: Duration = Duration::from_millis(2);
const FETCH_POLL_INTERVAL: Duration = Duration::from_millis(20);
const MAX_WORKERS: usize = 2_000;

#[derive(Clone, Serialize, Deserialize, JobArgs)]
#[river(kind = "noop")]
struct Noop {}

#[derive(Clone)]
struct River {
    client: Client,
    pool: PgPool,
}

impl Queue for River {
    async fn enqueue(&mut self) -> anyhow::Result<()> {
        self.client.insert(Noop {}).await?;
        Ok(())
    }

    async fn unfinished(&self) -> anyhow::Result<i64> {
        let sql = "SELECT count(*) FROM river_job WHERE state <> 'completed'";
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pool).await?)
    }
}

pub(crate) async fn measure(database_url: &str, load: &Load) -> anyhow::Result<Measured> {
    let pool = load.pool(database_url).await?;
    PostgresMigrator::new(pool.clone()).migrate_up().await?;
    let handled = Handled::default();
    let mut workers = Workers::new();
    // The output is what a job's result is to River, and recording it is the job's own business.
    workers.add_fn({
        let handled = handled.clone();
        move |context: WorkContext, _: Job<Noop>| {
            let handled = handled.clone();
            async move {
                context.record_output(json!({}))?;
                handled.count();
                Ok::<_, BoxError>(WorkOutcome::Complete)
            }
        }
    })?;
    let config = QueueConfig::new(load.workers.unwrap_or(MAX_WORKERS)).with_fetch_poll_interval(FETCH_POLL_INTERVAL);
    let client = Client::builder(pool.clone())
        .workers(workers)
        .fetch_cooldown(FETCH_COOLDOWN)
        .queue("default", config)
        .build()?;
    let mut running = client.start()?;
    tokio::select! {
        measured = load.measure(River { client, pool }, handled) => {
            running.stop().await?;
            measured
        }
        ended = running.wait() => bail!("the client ended: {ended:?}"),
    }
}
