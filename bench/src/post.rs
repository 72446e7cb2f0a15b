//! A request for an action, from POST to 202: beside pgbench running the same INSERT. Elita's worker runs the jobs
//! meanwhile, on the same two cores.

use std::time::{Duration, Instant};

use crate::client::Poster;
use crate::pgbench;
use crate::report::{Report, median};
use crate::site::{ACTION, APPLICATION, Site};

/// Connections of the comparison under load.
const CLIENTS: usize = 64;

pub(crate) async fn measure(site: &Site, rounds: usize, seconds: u64, report: &mut Report) -> anyhow::Result<()> {
    let (mut alone, mut loaded) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let elita = elita(site, 1, seconds).await?;
        settled(site).await?;
        let peer = pgbench::run(&site.peer_url, site.directory.path(), 1, seconds)?;
        alone.push((median(elita), peer.median_ms));

        let elita = elita_per_second(site, seconds).await?;
        settled(site).await?;
        let peer = pgbench::run(&site.peer_url, site.directory.path(), CLIENTS, seconds)?;
        loaded.push((elita, peer.per_second));
    }
    report.add("POST to 202, 1 connection, median", "pgbench, same INSERT, 1 client, median", "ms", alone);
    report.add("POST to 202, 64 connections", "pgbench, same INSERT, 64 clients", "/s", loaded);
    Ok(())
}

async fn elita_per_second(site: &Site, seconds: u64) -> anyhow::Result<f64> {
    Ok(elita(site, CLIENTS, seconds).await?.len() as f64 / seconds as f64)
}

/// The latency of each request in milliseconds.
async fn elita(site: &Site, clients: usize, seconds: u64) -> anyhow::Result<Vec<f64>> {
    let path = format!("/app/{APPLICATION}/actions/{ACTION}");
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let mut poster = Poster::new(site.address, &path, &site.token).await?;
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < until {
                let began = Instant::now();
                poster.post().await?;
                latencies.push(began.elapsed().as_secs_f64() * 1e3);
            }
            anyhow::Ok(latencies)
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

/// Waits until all jobs are done, so that the peer has the machine to itself.
async fn settled(site: &Site) -> anyhow::Result<()> {
    let caller = site.svc.caller_of(&site.token).await?;
    let filter = elita::datasvc::JobFilter { active: Some(true), ..Default::default() };
    let page = elita::datasvc::Page::new(None, Some(1))?;
    while !site.svc.jobs(&caller, &filter, &page).await?.items.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
