//! A plugin call: instantiate, run an action that does nothing, drop. In every language, beside bare wasmtime on the
//! same component; and beside extism on the same work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser as _;
use elita::config::{Cli, Commands};
use elita::datasvc::{AppName, Claim, ClaimedPlugin, DataSvc, Digest, JobId, JobType, Lease, PluginName};
use elita::outbound::Outbound;
use elita::plugin::{ActionRun, Plugins, Sandbox};
use elita::storage::Storage;
use serde_json::value::RawValue;

use crate::bare::Bare;
use crate::nothing::Nothing;
use crate::report::{Comparison, Goal, Report, median};
use crate::site::{self, ACTION, APPLICATION, PLUGIN, Site};
use crate::{memory, peers};

/// A language, its component, and how many calls one arm makes in a round.
const LANGUAGES: [(&str, &str, usize); 5] = [
    ("Rust", "tests/misbehave", 2000),
    ("C", "polyglot/misbehave-c", 2000),
    ("Go", "polyglot/misbehave-go", 500),
    ("JavaScript", "polyglot/misbehave-javascript", 200),
    ("Python", "polyglot/misbehave-python", 200),
];
/// An action that calls the host once, so that memory can be looked at while it runs.
const ASK: &str = "Ask";

/// Both arms of a comparison.
struct Arms {
    svc: DataSvc,
    sandbox: Sandbox,
    digest: Digest,
    bare: Bare,
}

/// Microseconds that a call takes in Elita and in its peer, for each round.
type Rounds = Vec<(f64, f64)>;

pub(crate) async fn measure(site: &Site, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let svc = DataSvc::connect(&site.database("calling").await?.url, 2).await?;
    let storage = Storage::in_directory(&site.directory.path().join("storage"))?;
    let compiler = std::env::current_exe()?.with_file_name("elita").display().to_string();
    let arguments = ["elita", "serve", "--plugin-compiler", &compiler];
    let Cli { command: Commands::Serve(settings) } = Cli::parse_from(arguments);
    let (outbound, cache) = (Outbound::new(None)?, site.directory.path().join("cache"));
    let plugins = Plugins::new(svc.clone(), storage.clone(), &cache, settings.limits, BTreeMap::new())?;
    let sandbox = Sandbox::new(svc.clone(), plugins.clone(), outbound, Arc::new(Nothing));

    let mut costs = Vec::new();
    let mut of_rust = None;
    for (language, component, calls) in LANGUAGES {
        let component = std::fs::read(site::built(component)?)?;
        let digest = Digest::of(&component);
        let bare = Bare::new(&component).map_err(|error| anyhow::anyhow!("{error:#}"))?;
        storage.put_component(&digest.hex(), component.into()).await?;
        let began = Instant::now();
        plugins.prepare(digest).await.map_err(|error| anyhow::anyhow!(error.message))?;
        let compiling = began.elapsed().as_secs_f64();

        let arms = Arms { svc: svc.clone(), sandbox: sandbox.clone(), digest, bare };
        // On the threads that guests run on, as a worker would.
        let (figures, memory) = sandbox.guest_threads().spawn(arms.measure(rounds, calls)).await??;
        let micros = median(figures.iter().map(|(elita, _)| *elita).collect());
        let of_rust = of_rust.get_or_insert(micros);
        let [elita, bare] = memory.map(|bytes| bytes / f64::from(1 << 20));
        costs.push(format!(
            "    {language:<10} {:>8.1} {elita:>12.2} {bare:>12.2} {compiling:>12.1}",
            micros / *of_rust
        ));
        let (what, beside) = (format!("plugin call in {language}"), "bare wasmtime, same component");
        report.add(Comparison::new("6", &what, beside, "µs", figures).goal(Goal::AtMost(1.2)));
        if language == "Rust" {
            beside_extism(&sandbox, &svc, digest, rounds, calls, report).await?;
        }
    }
    svc.close().await;
    report.remark(
        "runs by language: time by Rust's; memory of one run, MiB, in Elita and bare; seconds to compile, once",
    );
    for line in costs {
        report.remark(&line);
    }
    Ok(())
}

impl Arms {
    /// Both in turns; and what a run of each takes of memory.
    async fn measure(self, rounds: usize, calls: usize) -> anyhow::Result<(Rounds, [f64; 2])> {
        let Self { svc, sandbox, digest, bare } = self;
        elita_calls(&svc, &sandbox, digest, calls).await?;
        bare_calls(&bare, calls).await?;
        let (mut figures, mut elita_memory, mut bare_memory) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let elita = elita_calls(&svc, &sandbox, digest, calls).await?;
            let peer = bare_calls(&bare, calls).await?;
            figures.push((per_call(elita, calls), per_call(peer, calls)));
            elita_memory.push(elita_memory_of_a_run(&svc, &sandbox, digest).await? as f64);
            bare_memory.push(bare.memory_of(ASK).await.map_err(|error| anyhow::anyhow!("{error:#}"))? as f64);
        }
        Ok((figures, [median(elita_memory), median(bare_memory)]))
    }
}

async fn beside_extism(
    sandbox: &Sandbox,
    svc: &DataSvc,
    digest: Digest,
    rounds: usize,
    calls: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    if !peers::extism_is_built() {
        report.remark("6 without extism: `just bench-peers` builds it");
        return Ok(());
    }
    let mut figures = Vec::new();
    for _ in 0..rounds {
        let (svc, of_elita) = (svc.clone(), sandbox.clone());
        let elita = async move { elita_calls(&svc, &of_elita, digest, calls).await };
        let elita = sandbox.guest_threads().spawn(elita).await??;
        figures.push((per_call(elita, calls), peers::extism(calls).await?));
    }
    let comparison = Comparison::new("6", "plugin call in Rust", "extism, a plugin that does as little", "µs", figures);
    report.add(comparison.goal(Goal::AtMost(1.0)));
    Ok(())
}

async fn elita_calls(svc: &DataSvc, sandbox: &Sandbox, digest: Digest, calls: usize) -> anyhow::Result<Duration> {
    let (claim, lease) = (claim(digest, ACTION)?, lease());
    let began = Instant::now();
    for _ in 0..calls {
        elita_call(svc, sandbox, &claim, &lease, || {}).await?;
    }
    Ok(began.elapsed())
}

/// The private memory that a run uses, when it asks whether to stop.
async fn elita_memory_of_a_run(svc: &DataSvc, sandbox: &Sandbox, digest: Digest) -> anyhow::Result<u64> {
    let during = Arc::new(AtomicU64::new(0));
    let seen = during.clone();
    let before = memory::private_bytes();
    let look = move || seen.store(memory::private_bytes(), Ordering::Relaxed);
    elita_call(svc, sandbox, &claim(digest, ASK)?, &lease(), look).await?;
    Ok(during.load(Ordering::Relaxed).saturating_sub(before))
}

async fn elita_call(
    svc: &DataSvc,
    sandbox: &Sandbox,
    claim: &Claim,
    lease: &Lease,
    when_it_asks: impl Fn() + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let Some(plugin) = &claim.plugin else { anyhow::bail!("only actions are called") };
    let run = ActionRun {
        log: svc.job_log(claim, sandbox.plugins().limits().job_log()),
        lease: lease.clone(),
        claim: claim.clone(),
        plugin: plugin.clone(),
        parameters: Vec::new(),
        cancel_requested: Box::new(move || {
            when_it_asks();
            false
        }),
    };
    sandbox.run_action(run).await.map(drop).map_err(|error| anyhow::anyhow!("{}", error.message))
}

fn lease() -> Lease {
    let (keeper, lease) = Lease::new();
    keeper.confirm(Instant::now());
    lease
}

fn claim(digest: Digest, action: &str) -> anyhow::Result<Claim> {
    let job_id = JobId::new();
    Ok(Claim {
        job_id,
        root: job_id,
        fence: 1,
        asked_at: Instant::now(),
        attempt: 1,
        started: true,
        entries: 0,
        depth: 0,
        plugin_entries: 0,
        plugin_bytes: 0,
        application: Some(AppName::parse(APPLICATION)?),
        name: action.to_owned(),
        job_type: JobType::new(elita::datasvc::ACTION),
        plugin: Some(ClaimedPlugin { name: PluginName::parse(PLUGIN)?, digest }),
        unreadable: None,
        username: None,
        data: RawValue::NULL.to_owned(),
        timeout: Duration::from_secs(60),
    })
}

async fn bare_calls(bare: &Bare, calls: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    for _ in 0..calls {
        bare.call(ACTION).await.map_err(|error| anyhow::anyhow!("{error:#}"))?;
    }
    Ok(began.elapsed())
}

/// In microseconds.
fn per_call(duration: Duration, calls: usize) -> f64 {
    duration.as_secs_f64() * 1e6 / calls as f64
}
