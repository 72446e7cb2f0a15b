//! One job at a time on an idle system: from POST to 202, and from POST until its client has seen that it has ended.
//! Beside one client of pgbench running the same INSERT, and a bare server that runs it for each POST: what that takes
//! more is what it costs to have a server between a client and Postgres at all.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::client::{Connection, Request};
use crate::pgbench;
use crate::reads::bare;
use crate::report::{Comparison, Goal, Report, median};
use crate::server::Server;
use crate::site::Site;

/// For how long an arm has its turn. A round has many, because the time that a disk takes changes from one second to
/// the next.
const TURN_SECONDS: u64 = 1;

/// Milliseconds.
#[derive(Default)]
struct Latencies {
    accepted: Vec<f64>,
    seen: Vec<f64>,
}

pub(crate) async fn measure(site: &Site, rounds: usize, seconds: u64, report: &mut Report) -> anyhow::Result<()> {
    let mut accepting = Server::start(site, "accepting_one", &["--role", "api"]).await?;
    let mut server = Server::start(site, "idle", &[]).await?;
    let peer = site.database("peer").await?;
    let (_process, bare) = bare(&peer.url).await?;
    let (mut alone, mut beside_bare, mut least) = (Vec::new(), Vec::new(), Vec::new());
    let (mut accepted, mut seen) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        accepting.empty().await?;
        server.empty().await?;
        pgbench::empty(&peer.url).await?;
        let (mut posts, mut elita, mut inserts) = (Vec::new(), Latencies::default(), Vec::new());
        let mut bare_posts = Vec::new();
        for _ in 0..seconds.div_ceil(TURN_SECONDS) {
            posts.extend(one_at_a_time(accepting.address, &accepting, false).await?.accepted);
            bare_posts.extend(one_at_a_time(bare, &accepting, false).await?.accepted);
            let Latencies { accepted, seen } = one_at_a_time(server.address, &server, true).await?;
            elita.accepted.extend(accepted);
            elita.seen.extend(seen);
            inserts.extend(pgbench::run(&peer.url, site.directory.path(), 1, TURN_SECONDS)?.latencies_ms);
        }
        let (insert, post, bare_post) = (median(inserts), median(posts), median(bare_posts));
        alone.push((post, insert));
        beside_bare.push((post, bare_post));
        least.push((bare_post, insert));
        accepted.push((median(elita.accepted), insert));
        seen.push((median(elita.seen), 2.0 * insert));
    }
    let beside = "pgbench, same INSERT, 1 client, median";
    let what = "POST to 202, --role api, median";
    report.add(Comparison::new("2", what, beside, "ms", alone).goal(Goal::AtMost(1.15)));
    report.add(Comparison::new("2", what, "bare hyper with that INSERT", "ms", beside_bare).goal(Goal::More));
    let what = "the bare server's POST, median";
    report.add(Comparison::new("2", what, beside, "ms", least).goal(Goal::More));
    let what = "POST to 202, its job awaited, median";
    report.add(Comparison::new("2", what, beside, "ms", accepted).goal(Goal::More));
    let what = "POST to GET /job/{id}/data?wait answered";
    report.add(Comparison::new("3", what, "twice that", "ms", seen).goal(Goal::AtMost(1.25)));
    accepting.stop().await?;
    server.stop().await
}

/// Requests and maybe the ends of their jobs, on a thread that does nothing else, so that an answer wakes nobody but its client.
async fn one_at_a_time(address: SocketAddr, like: &Server, awaited: bool) -> anyhow::Result<Latencies> {
    let (token, post) = (like.database.token.clone(), like.post());
    let alone = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(run(address, &token, &post, awaited))
    };
    tokio::task::spawn_blocking(alone).await?
}

async fn run(address: SocketAddr, token: &str, post: &Request, awaited: bool) -> anyhow::Result<Latencies> {
    let mut asking = Connection::to(address).await?;
    let mut following = Connection::to(address).await?;
    let Latencies { mut accepted, mut seen } = Latencies::default();
    let until = Instant::now() + Duration::from_secs(TURN_SECONDS);
    while Instant::now() < until {
        let began = Instant::now();
        let reply = asking.exchange(post).await?;
        accepted.push(began.elapsed().as_secs_f64() * 1e3);
        if !awaited {
            continue;
        }
        let wait = Request::get(&format!("/job/{}/data?after=0&wait=30", job_id(reply)?), token);
        let reply = following.exchange(&wait).await?;
        seen.push(began.elapsed().as_secs_f64() * 1e3);
        let has_ended = std::str::from_utf8(reply)?.contains(r#""status":"succeeded""#);
        anyhow::ensure!(has_ended, "it has not succeeded: {}", String::from_utf8_lossy(reply));
    }
    Ok(Latencies { accepted, seen })
}

/// The job that a reply to a POST names.
pub(crate) fn job_id(reply: &[u8]) -> anyhow::Result<&str> {
    let (_, rest) = std::str::from_utf8(reply)?.split_once(r#""job_id":""#).context("no job_id")?;
    Ok(rest.split_once('"').context("no job_id")?.0)
}
