//! A request for an action, from POST to 202, beside pgbench running the same INSERT.

use crate::load::{CLIENTS, load};
use crate::pgbench;
use crate::report::{Comparison, Goal, Report};
use crate::server::Server;
use crate::site::Site;

pub(crate) async fn measure(site: &Site, rounds: usize, seconds: u64, report: &mut Report) -> anyhow::Result<()> {
    let mut accepting = Server::start(site, "accepting", &["--role", "api"]).await?;
    let mut running = Server::start(site, "running", &[]).await?;
    let peer = site.database("peer").await?;
    let (mut alone, mut all) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        accepting.empty().await?;
        let accepted = load(accepting.address, accepting.post(), seconds).await? as f64 / seconds as f64;
        pgbench::empty(&peer.url).await?;
        let inserted = pgbench::run(&peer.url, site.directory.path(), CLIENTS, seconds)?.per_second;
        alone.push((accepted, inserted));
        running.empty().await?;
        let accepted = load(running.address, running.post(), seconds).await? as f64 / seconds as f64;
        running.settled().await?;
        all.push((accepted, inserted));
    }
    let beside = "pgbench, same INSERT, 64 clients";
    report.add(Comparison::new("1", "POST to 202, --role api", beside, "/s", alone).goal(Goal::AtLeast(1.5)));
    report.add(Comparison::new("1", "POST to 202, running them meanwhile", beside, "/s", all).goal(Goal::More));
    accepting.stop().await?;
    running.stop().await
}
