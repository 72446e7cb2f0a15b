//! graphile_worker: the job's row is deleted when it has completed, and no result is stored.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, WorkerContext, WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::load::{Handled, Load, Measured, Queue};

/// Of the "Throughput-oriented worker" in the crate's docs/src/configuration/worker-options.md.
const CONCURRENCY: usize = 16;

#[derive(Serialize, Deserialize)]
struct Noop {}

impl TaskHandler for Noop {
    const IDENTIFIER: &'static str = "noop";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(handled) = context.get_ext::<Handled>() {
            handled.count();
        }
        Ok::<(), String>(())
    }
}

#[derive(Clone)]
struct Graphile {
    utils: Arc<WorkerUtils>,
    pool: PgPool,
}

impl Queue for Graphile {
    async fn enqueue(&mut self) -> anyhow::Result<()> {
        self.utils.add_job(Noop {}, JobSpec::default()).await?;
        Ok(())
    }

    async fn unfinished(&self) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM graphile_worker._private_jobs").fetch_one(&self.pool).await?)
    }
}

pub(crate) async fn measure(database_url: &str, load: &Load) -> anyhow::Result<Measured> {
    let pool = load.pool(database_url).await?;
    let handled = Handled::default();
    // All values are those of the "Throughput-oriented worker". Jobs are waited for by LISTEN/NOTIFY, as is the
    // default; the interval only is the fallback. The refetch delay and the further local queues that
    // docs/src/guides/local-queue.md suggests to try gained nothing here.
    let worker = Arc::new(
        WorkerOptions::default()
            .pg_pool(pool.clone())
            .concurrency(load.workers.unwrap_or(CONCURRENCY))
            .poll_interval(Duration::from_millis(500))
            .complete_job_batch_delay(Duration::from_millis(5))
            .fail_job_batch_delay(Duration::from_millis(5))
            .local_queue(LocalQueueConfig::default().with_size(100).with_ttl(Duration::from_secs(60)))
            .add_extension(handled.clone())
            .define_job::<Noop>()
            .init()
            .await?,
    );
    let queue = Graphile { utils: Arc::new(worker.create_utils()), pool };
    let running = tokio::spawn({
        let worker = worker.clone();
        async move { worker.run().await }
    });
    tokio::select! {
        measured = load.measure(queue, handled) => {
            worker.request_shutdown();
            measured
        }
        ended = running => bail!("the worker ended: {ended:?}"),
    }
}
