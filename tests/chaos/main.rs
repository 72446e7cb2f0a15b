//! Breaks servers and their Postgres under load, and checks afterwards what became of every job that was acknowledged.
//!
//! `plan` draws the faults from a seed and `faults` carries them out, on the servers of `fleet` (each a `host` behind
//! a `cable`) and on `postgres`. Meanwhile the `clients` and their `streams` note in the `journal` what they were
//! promised and shown. In the end `evidence` is what the database and the servers' logs say, `check` compares the two,
//! and `report` tells. `lookout` is for whoever has to explain what was slow.

mod cable;
mod check;
mod clients;
mod evidence;
mod faults;
mod fleet;
mod host;
mod journal;
mod lookout;
mod plan;
mod postgres;
mod random;
mod report;
mod streams;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum as _};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use self::clients::Clients;
use self::evidence::Evidence;
use self::faults::Scene;
use self::fleet::Fleet;
use self::journal::Journal;
use self::lookout::Lookout;
use self::plan::Fault;
use self::postgres::Postgres;
use self::random::Random;
use self::report::Report;

/// How long the load goes on before the first fault.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long unfinished jobs may take once everything is well again.
const SETTLE: Duration = Duration::from_secs(60);

/// Breaks servers and Postgres under load, and checks that no job is lost or run twice.
#[derive(Parser)]
struct Arguments {
    /// How long things are broken, in seconds; it takes some twenty more to start and to settle.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// Repeats the faults of an earlier run [default: a new one].
    #[arg(long)]
    seed: Option<u64>,
    /// The kinds of faults [default: all].
    #[arg(long, value_enum, value_delimiter = ',')]
    faults: Vec<Fault>,
    /// Servers.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=8))]
    hosts: u8,
    /// Clients.
    #[arg(long, default_value_t = 40)]
    clients: usize,
    /// File to write the figures to, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Keeps the logs and the database, which are kept anyway when something is wrong.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    elita::outbound::provide_cryptography();
    let outcome = tokio::runtime::Runtime::new().context("there is no runtime").and_then(|runtime| {
        runtime.block_on(async {
            let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            tokio::select! {
                outcome = run(&arguments) => outcome,
                _ = interrupt.recv() => anyhow::bail!("interrupted"),
                _ = terminate.recv() => anyhow::bail!("terminated"),
            }
        })
    });
    match outcome {
        Ok(report) if report.is_good() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(problem) => {
            eprintln!("elita-chaos: {problem:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Report> {
    let seed = arguments.seed.unwrap_or_else(Random::new_seed);
    let mut random = Random::new(seed);
    let kinds = if arguments.faults.is_empty() { Fault::value_variants() } else { &arguments.faults };
    let hosts = usize::from(arguments.hosts);
    let plan = plan::draw(&mut random, kinds, hosts, Duration::from_secs(arguments.seconds));
    println!("seed {seed}: {} faults in {} s, on {hosts} servers", plan.len(), arguments.seconds);

    let directory = TempDir::with_prefix("elita-chaos-")?;
    faults::let_through(directory.path())?;
    let postgres = Postgres::start(directory.path(), kinds.contains(&Fault::FillDisk)).await?;
    let fleet = Fleet::start(directory.path(), &postgres, hosts).await?;
    let journal = Journal::default();
    let clients = Clients::start(fleet.doors(), &journal, &mut random, arguments.clients);

    let lookout = Lookout::start(postgres.url("elita").parse()?, directory.path().join("lookout.log"));
    let mut scene = Scene::new(fleet, postgres, journal.clone());
    tokio::time::sleep(WARM_UP).await;
    for step in &plan {
        scene.carry_out(step).await?;
    }
    println!("the faults are over");
    clients.stop_asking();
    scene.mend().await?;
    let settled = settle(&scene).await?;
    clients.finish().await;
    let Scene { mut fleet, mut postgres, .. } = scene;
    fleet.stop().await;

    let evidence = Evidence::gather(&postgres, &fleet.logs()).await?;
    let mut report = check::all(&journal.take(), &evidence, settled);
    let seen = lookout.end();
    report.note(format!("{seen} times a statement took more than 2 s in Postgres, see lookout.log"));
    report.seed = seed;
    report.seconds = arguments.seconds;
    report.note_faults(&plan, kinds, postgres.why_not_full.as_deref());
    postgres.stop().await;
    finish(arguments, report, directory)
}

/// Waits until no job is unfinished: how long it took, or none if it took too long.
async fn settle(scene: &Scene) -> Result<Option<Duration>> {
    let began = Instant::now();
    while began.elapsed() < SETTLE {
        if scene.postgres.unfinished_jobs().await? == 0 {
            return Ok(Some(began.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(None)
}

fn finish(arguments: &Arguments, report: Report, directory: TempDir) -> Result<Report> {
    println!("{report}");
    if let Some(file) = &arguments.json {
        std::fs::write(file, report.json()).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    if arguments.keep || !report.is_good() {
        println!("the logs are in {}", keep(directory).display());
    }
    Ok(report)
}

fn keep(directory: TempDir) -> PathBuf {
    directory.keep()
}

/// A program beside this one, in the same profile.
fn beside(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let found = here.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|file| file.exists());
    found.with_context(|| {
        format!("there is no {name} beside {}; `cargo build --workspace --bins` makes it", here.display())
    })
}

/// The checkout.
fn project_root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}
