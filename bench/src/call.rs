//! A plugin call: instantiate, run an action that does nothing, drop. Beside bare wasmtime on the same component.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Parser as _;
use elita::config::{Cli, Commands};
use elita::datasvc::{ActionName, AppName, Claim, DataSvc, Digest, JobId, Lease, PluginName};
use elita::outbound::Outbound;
use elita::plugin::{ActionRun, Plugins};
use elita::storage::Storage;
use serde_json::value::RawValue;

use crate::bare::Bare;
use crate::report::{Comparison, Goal, Report};
use crate::site::{self, ACTION, APPLICATION, PLUGIN, Site};

/// Calls of one arm in a round.
const CALLS: usize = 2000;

pub(crate) async fn measure(site: &Site, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let component = std::fs::read(site::component()?)?;
    let digest = Digest::of(&component);
    let bare = Bare::new(&component).map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let storage = Storage::in_directory(&site.directory.path().join("storage"))?;
    storage.put_component(&digest.hex(), component.into()).await?;
    let Cli { command: Commands::Serve(settings) } = Cli::parse_from(["elita", "serve"]);
    let svc = DataSvc::connect(&site.database("calling").await?.url, 2).await?;
    let plugins = Plugins::new(
        svc.clone(),
        storage,
        Outbound::new(None)?,
        &site.directory.path().join("cache"),
        settings.limits,
        BTreeMap::new(),
    )?;

    // Both on the threads that guests run on, as a worker would.
    let threads = plugins.guest_threads().clone();
    let taking_turns = threads.spawn(async move {
        elita_calls(&svc, &plugins, digest, CALLS).await?;
        bare_calls(&bare, CALLS).await?;
        let mut figures = Vec::new();
        for _ in 0..rounds {
            let elita = elita_calls(&svc, &plugins, digest, CALLS).await?;
            let peer = bare_calls(&bare, CALLS).await?;
            figures.push((micros(elita) / CALLS as f64, micros(peer) / CALLS as f64));
        }
        // Given back, because the threads end with it.
        anyhow::Ok((figures, plugins, svc))
    });
    let (figures, _plugins, svc) = taking_turns.await??;
    svc.close().await;
    let (what, beside) = ("plugin call: instantiate, run, drop", "bare wasmtime, same component");
    report.add(Comparison::new("6", what, beside, "µs", figures).goal(Goal::AtMost(1.2)));
    Ok(())
}

async fn elita_calls(svc: &DataSvc, plugins: &Plugins, digest: Digest, calls: usize) -> anyhow::Result<Duration> {
    let claim = Claim {
        job_id: JobId::new(),
        fence: 1,
        asked_at: Instant::now(),
        attempt: 1,
        started: true,
        entries: 0,
        depth: 0,
        plugin_entries: 0,
        plugin_bytes: 0,
        application: AppName::parse(APPLICATION)?,
        action: ActionName::parse(ACTION)?,
        username: None,
        data: RawValue::NULL.to_owned(),
        plugin: PluginName::parse(PLUGIN)?,
        digest,
        timeout: Duration::from_secs(60),
    };
    let (keeper, lease) = Lease::new();
    keeper.confirm(Instant::now());
    let began = Instant::now();
    for _ in 0..calls {
        let run = ActionRun {
            log: svc.job_log(&claim, plugins.limits().job_log()),
            lease: lease.clone(),
            claim: claim.clone(),
            parameters: Vec::new(),
            cancel_requested: Box::new(|| false),
            tell_queued: Box::new(|| {}),
        };
        plugins.run_action(run).await.map_err(|error| anyhow::anyhow!("{}", error.message))?;
    }
    Ok(began.elapsed())
}

async fn bare_calls(bare: &Bare, calls: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    for _ in 0..calls {
        bare.call().await.map_err(|error| anyhow::anyhow!("{error:#}"))?;
    }
    Ok(began.elapsed())
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
