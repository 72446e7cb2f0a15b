//! apalis with apalis-postgres: a completed task's row is kept, with its result.

use std::time::Duration;

use anyhow::bail;
use apalis::layers::WorkerBuilderExt;
use apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::load::{Handled, Load, Measured, Queue};

/// Tasks that are fetched at once, and run at once. "Larger batches can improve throughput", says the documentation of
/// `Config::batch_size`, and gives no number; this one was no worse than smaller ones.
const BATCH: usize = 500;

#[derive(Clone, Serialize, Deserialize)]
struct Noop {}

#[derive(Clone)]
struct Apalis {
    storage: PostgresStorage<Noop>,
    pool: PgPool,
}

impl Queue for Apalis {
    async fn enqueue(&mut self) -> anyhow::Result<()> {
        self.storage.push(Noop {}).await?;
        Ok(())
    }

    async fn unfinished(&self) -> anyhow::Result<i64> {
        let sql = "SELECT count(*) FROM apalis.jobs WHERE status <> 'Done'";
        Ok(sqlx::query_scalar(sql).fetch_one(&self.pool).await?)
    }
}

async fn noop(_: Noop, handled: Data<Handled>) -> Result<(), BoxDynError> {
    handled.count();
    Ok(())
}

pub(crate) async fn measure(database_url: &str, load: &Load) -> anyhow::Result<Measured> {
    let pool = load.pool(database_url).await?;
    PostgresStorage::setup(&pool).await?;
    let handled = Handled::default();
    // Storing results is the default. The worker is woken by LISTEN/NOTIFY, as in the crate's
    // examples/pubsub.rs, but also looks by itself more often than every 10 s, lest a lost wake-up be measured. Further
    // workers on the same queue, and polling alone, gained nothing here.
    let config = Config::default().queue("noop").batch_size(BATCH);
    let storage = PostgresStorage::new(&pool).with_config(config);
    let worker = WorkerBuilder::new("worker")
        .backend(storage.clone().with_pubsub().poll_with_interval(Duration::from_millis(100)))
        .concurrency(load.workers.unwrap_or(BATCH))
        .data(handled.clone())
        .build(noop);
    let running = tokio::spawn(worker.run());
    tokio::select! {
        measured = load.measure(Apalis { storage, pool }, handled) => measured,
        ended = running => bail!("the worker ended: {ended:?}"),
    }
}
