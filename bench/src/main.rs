//! What Elita costs beside a peer, as ratios: both arms of a comparison take turns in one run, and the median of
//! the rounds' ratios counts. Absolute times are printed for the curious; they mean nothing on another machine.

mod bare;
mod call;
mod client;
mod pgbench;
mod post;
mod report;
mod site;

use clap::Parser;

use self::report::Report;

/// Measures what Elita costs beside bare wasmtime and Postgres.
#[derive(Parser)]
struct Arguments {
    /// Rounds of each comparison.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that one arm of a comparison under load runs in a round.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    /// File to write the figures to, as JSON.
    #[arg(long, default_value = "target/bench.json")]
    json: std::path::PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tokio::runtime::Runtime::new()?.block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let site = site::Site::new().await?;
    let mut report = Report::default();
    call::measure(&site, arguments.rounds, &mut report).await?;
    post::measure(&site, arguments.rounds, arguments.seconds, &mut report).await?;
    site.close().await;
    println!("{report}");
    std::fs::write(&arguments.json, report.json())?;
    println!("figures: {}", arguments.json.display());
    Ok(())
}
