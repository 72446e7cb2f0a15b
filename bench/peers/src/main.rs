//! How many no-op jobs per second other job queues complete, end to end: each job is enqueued by a commit of its own,
//! run by a worker, and its end is stored. The figure is meant to be set beside Elita's from the same machine.

mod apalis;
mod celery;
mod graphile;
mod load;
mod river;

use anyhow::Context;
use clap::{Parser, Subcommand};
use serde::Serialize;

use self::load::{Load, Measured};

/// Measures how many no-op jobs per second a peer of Elita completes, and prints one line of JSON.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    peer: Peer,
}

#[derive(Subcommand)]
enum Peer {
    /// graphile_worker, on Postgres.
    Graphile(Postgres),
    /// riverqueue, on Postgres.
    River(Postgres),
    /// apalis with apalis-postgres, on Postgres.
    Apalis(Postgres),
    /// Celery, with Redis as its broker and result backend; sets both up by itself.
    Celery(celery::Options),
}

#[derive(clap::Args)]
struct Postgres {
    /// An empty database; the peer creates its own schema in it.
    #[arg(long)]
    database_url: String,
    #[command(flatten)]
    load: Load,
}

/// The line that is printed.
#[derive(Serialize)]
struct Line {
    peer: &'static str,
    version: String,
    jobs: u64,
    seconds: f64,
    per_second: f64,
    enqueue_median_ms: f64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let line = tokio::runtime::Runtime::new()?.block_on(run(&arguments.peer))?;
    println!("{}", serde_json::to_string(&line)?);
    Ok(())
}

async fn run(peer: &Peer) -> anyhow::Result<Line> {
    Ok(match peer {
        Peer::Graphile(on) => line("graphile_worker", graphile::measure(&on.database_url, &on.load).await?)?,
        Peer::River(on) => line("riverqueue", river::measure(&on.database_url, &on.load).await?)?,
        Peer::Apalis(on) => line("apalis-postgres", apalis::measure(&on.database_url, &on.load).await?)?,
        Peer::Celery(options) => {
            let (version, measured) = celery::measure(options).await?;
            Line::new("celery", version, &measured)
        }
    })
}

/// The line of a peer that is a crate.
fn line(krate: &'static str, measured: Measured) -> anyhow::Result<Line> {
    Ok(Line::new(krate, locked_version(krate)?, &measured))
}

impl Line {
    fn new(peer: &'static str, version: String, measured: &Measured) -> Self {
        Self {
            peer,
            version,
            jobs: measured.jobs,
            seconds: thousandths(measured.seconds),
            per_second: thousandths(measured.jobs as f64 / measured.seconds),
            enqueue_median_ms: thousandths(measured.enqueue_median_ms),
        }
    }
}

fn thousandths(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// The version of a crate that this program was built with.
fn locked_version(krate: &str) -> anyhow::Result<String> {
    include_str!("../Cargo.lock")
        .split_once(&format!("name = \"{krate}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(version, _)| version.to_owned())
        .with_context(|| format!("{krate} is not in Cargo.lock"))
}
