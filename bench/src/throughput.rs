//! Jobs that do nothing, end to end: asked for over many connections, until the last result is stored. Beside other
//! queues with the same load, each in a process of its own, on a database of its own.

use crate::load::load;
use crate::peers::{self, ON_POSTGRES};
use crate::report::{Comparison, Goal, Report};
use crate::server::Server;
use crate::site::Site;

pub(crate) async fn measure(site: &Site, rounds: usize, seconds: u64, report: &mut Report) -> anyhow::Result<()> {
    let what = "no-op jobs, POST to result stored";
    if !peers::are_built() {
        let why = "not measured: `just bench-peers` builds the peers";
        report.remark(&format!("4, 5: {what}: {why}"));
        return Ok(());
    }
    let mut server = Server::start(site, "working", &[]).await?;
    let mut elita = Vec::new();
    let mut of_peers = vec![Vec::new(); ON_POSTGRES.len()];
    let mut celery = Vec::new();
    for round in 0..rounds {
        elita.push(per_second(&mut server, seconds).await?);
        // In turns of their own, so that none comes always after the same one.
        for offset in 0..ON_POSTGRES.len() {
            let peer = (round + offset) % ON_POSTGRES.len();
            let url = site.empty_database("queue").await?;
            of_peers[peer].push(peers::on_postgres(ON_POSTGRES[peer], &url, seconds).await?);
        }
        match peers::celery(seconds).await {
            Ok(per_second) => celery.push(per_second),
            Err(problem) => report.remark(&format!("5: no figure of Celery: {problem:#}")),
        }
    }
    let best = (0..rounds).map(|round| of_peers.iter().map(|figures| figures[round]).fold(0.0, f64::max));
    let best = elita.iter().copied().zip(best).collect();
    report.add(Comparison::new("4", what, "the best of the next three", "/s", best).goal(Goal::AtLeast(1.5)));
    for (peer, figures) in ON_POSTGRES.into_iter().zip(of_peers) {
        let rounds = elita.iter().copied().zip(figures).collect();
        report.add(Comparison::new("4", what, peer, "/s", rounds).goal(Goal::More));
    }
    if celery.len() == rounds {
        let rounds = elita.into_iter().zip(celery).collect();
        let beside = "Celery on Redis, acks late";
        report.add(Comparison::new("5", what, beside, "/s", rounds).goal(Goal::AtLeast(10.0)));
    }
    server.stop().await
}

/// From the first POST to the last end.
async fn per_second(server: &mut Server, seconds: u64) -> anyhow::Result<f64> {
    server.empty().await?;
    let began = tokio::time::Instant::now();
    let jobs = load(server.address, server.post(), seconds).await?;
    let ended = server.settled().await?;
    Ok(jobs as f64 / (ended - began).as_secs_f64())
}
