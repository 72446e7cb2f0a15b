//! The log of one job: entries that its guest appends, beside COPY of the same rows over one connection.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};
use tokio::time::sleep;
use uuid::Uuid;

use crate::client::{Connection, Request};
use crate::latency::job_id;
use crate::report::{Comparison, Goal, Report};
use crate::server::Server;
use crate::site::{APPLICATION, PLUGIN, Site};

/// Entries of a job.
const ENTRIES: i64 = 20_000;
/// Jobs of a round.
const JOBS: usize = 3;
/// How often the database is asked whether the job has ended.
const GLANCE: Duration = Duration::from_millis(2);

pub(crate) async fn measure(site: &Site, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let room = ["--plugin-entries", "1000000", "--plugin-entries-kib", "1000000"];
    let mut server = Server::start(site, "logging", &room).await?;
    let peer = site.database("peer").await?;
    let mut peer = PgConnection::connect(&peer.url).await?;
    let mut figures = Vec::new();
    let mut data = String::new();
    for _ in 0..rounds {
        let (mut of_elita, mut of_peer) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..JOBS {
            let (took, entry) = append(&mut server).await?;
            data = entry;
            of_elita += took;
            of_peer += copy(&mut peer, &data).await?;
        }
        let per_second = |time: Duration| (JOBS as f64) * (ENTRIES as f64) / time.as_secs_f64();
        figures.push((per_second(of_elita), per_second(of_peer)));
    }
    let (what, beside) = (format!("entries of {} bytes, one job", data.len()), "COPY of the rows, 1 connection");
    report.add(Comparison::new("9", &what, beside, "/s", figures).goal(Goal::AtLeast(0.5)));
    server.stop().await
}

/// From the POST to the job's end. Also returns what one entry says.
async fn append(server: &mut Server) -> anyhow::Result<(Duration, String)> {
    let post = Request::post(&format!("/app/{APPLICATION}/actions/Entries?count={ENTRIES}"), &server.database.token);
    let mut connection = Connection::to(server.address).await?;
    let began = Instant::now();
    let job: Uuid = job_id(connection.exchange(&post).await?)?.parse()?;
    let status = loop {
        let status = sqlx::query_scalar("select status from jobs where id = $1").bind(job);
        let status: String = status.fetch_one(&mut server.connection).await?;
        if !matches!(&*status, "queued" | "running") {
            break status;
        }
        sleep(GLANCE).await;
    };
    let took = began.elapsed();
    let written = sqlx::query_as("select count(*), min(data::text) from job_entries where job_id = $1").bind(job);
    let (count, data): (i64, String) = written.fetch_one(&mut server.connection).await?;
    anyhow::ensure!((status.as_str(), count) == ("succeeded", ENTRIES), "a job has {status} with {count} entries");
    Ok((took, data))
}

async fn copy(peer: &mut PgConnection, data: &str) -> anyhow::Result<Duration> {
    let (job, now) = (Uuid::now_v7(), time::OffsetDateTime::now_utc());
    let at = now.format(&time::format_description::well_known::Rfc3339)?;
    let row = |seq| format!("{job}\t{seq}\t{at}\t{PLUGIN}\t{data}\n");
    let rows: String = (1..=ENTRIES).map(row).collect();
    let began = Instant::now();
    let mut copy = peer.copy_in_raw("copy job_entries (job_id, seq, at, source, data) from stdin").await?;
    copy.send(rows.as_bytes()).await?;
    copy.finish().await?;
    Ok(began.elapsed())
}
