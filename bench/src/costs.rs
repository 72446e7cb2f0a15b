//! What a job costs, counted and not timed: commits, statements, bytes of the write-ahead log, processor time.

use std::time::Duration;

use sqlx::{Executor as _, PgConnection};
use tokio::time::Instant;

use crate::client::{Connection, Request};
use crate::latency::job_id;
use crate::load::load;
use crate::report::Report;
use crate::server::Server;
use crate::site::Site;

/// Statements that are shown, of those that took most time.
const SHOWN: i64 = 6;

/// What has been used up to some moment.
#[derive(Clone, Copy)]
struct Reading {
    /// Transactions that wrote.
    commits: i64,
    wal_bytes: i64,
    /// Where they are counted.
    statements: Option<i64>,
    elita: Duration,
    postgres: Duration,
    bench: Duration,
}

pub(crate) async fn measure(seconds: u64, report: &mut Report) -> anyhow::Result<()> {
    let (site, counts) = Site::counting().await?;
    report.remark("per job (commits: transactions that wrote; cpu: µs of elita, Postgres and this client)");
    let mut accepting = Server::start(&site, "accepting", &["--role", "api"]).await?;
    let mut meter = Meter::new(&mut accepting, counts).await?;
    let jobs = load(accepting.address, accepting.post(), seconds).await?;
    meter.report(&mut accepting, "accepted only, 64 connections", jobs, report).await?;
    accepting.stop().await?;

    let mut server = Server::start(&site, "working", &[]).await?;
    let mut meter = Meter::new(&mut server, counts).await?;
    let jobs = load(server.address, server.post(), seconds).await?;
    server.settled().await?;
    meter.report(&mut server, "end to end, 64 connections", jobs, report).await?;

    let mut meter = Meter::new(&mut server, counts).await?;
    let jobs = one_at_a_time(&server, Duration::from_secs(seconds)).await?;
    meter.report(&mut server, "end to end, one at a time, awaited", jobs, report).await?;
    server.stop().await?;
    site.close().await;
    Ok(())
}

/// Asks for a job and waits for its end, again and again.
async fn one_at_a_time(server: &Server, time: Duration) -> anyhow::Result<u64> {
    let mut connection = Connection::to(server.address).await?;
    let (post, until) = (server.post(), Instant::now() + time);
    let mut jobs = 0;
    while Instant::now() < until {
        let id = job_id(connection.exchange(&post).await?)?.to_owned();
        let wait = Request::get(&format!("/job/{id}/data?wait=30"), &server.database.token);
        connection.exchange(&wait).await?;
        jobs += 1;
    }
    Ok(jobs)
}

struct Meter {
    counts: bool,
    began: Reading,
}

impl Meter {
    async fn new(server: &mut Server, counts: bool) -> anyhow::Result<Self> {
        server.empty().await?;
        if counts {
            count_statements(server).await?;
        }
        Ok(Self { counts, began: reading(server, counts).await? })
    }

    async fn report(&mut self, server: &mut Server, what: &str, jobs: u64, report: &mut Report) -> anyhow::Result<()> {
        let (from, to) = (self.began, reading(server, self.counts).await?);
        let per_job = |count: i64| count as f64 / jobs as f64;
        let micros = |time: Duration| time.as_secs_f64() * 1e6 / jobs as f64;
        let statements = match (from.statements, to.statements) {
            (Some(from), Some(to)) => format!("{:.2}", per_job(to - from)),
            _ => "not counted:".into(),
        };
        report.remark(&format!(
            "  {what:<36} {:.2} commits, {statements} statements, {:.0} bytes of WAL, cpu {:.0} + {:.0} + {:.0} \
             ({jobs} jobs)",
            per_job(to.commits - from.commits),
            per_job(to.wal_bytes - from.wal_bytes),
            micros(to.elita - from.elita),
            micros(to.postgres - from.postgres),
            micros(to.bench - from.bench),
        ));
        if self.counts {
            for statement in longest(&mut server.connection).await? {
                report.remark(&format!("    {statement}"));
            }
        }
        Ok(())
    }
}

async fn reading(server: &mut Server, counts: bool) -> anyhow::Result<Reading> {
    let used = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
                       (pg_current_wal_insert_lsn() - '0/0')::bigint";
    let (commits, wal_bytes) = sqlx::query_as(used).fetch_one(&mut server.connection).await?;
    let statements = match counts {
        true => Some(statements(server).await?),
        false => None,
    };
    let pids: Vec<i32> =
        sqlx::query_scalar("select pid from pg_stat_activity").fetch_all(&mut server.connection).await?;
    let postgres = pids.into_iter().filter_map(|pid| cpu_time(&pid.to_string())).sum();
    let elita = server.pid().and_then(|pid| cpu_time(&pid.to_string())).unwrap_or_default();
    Ok(Reading { commits, wal_bytes, statements, elita, postgres, bench: cpu_time("self").unwrap_or_default() })
}

/// Counts statements from here on, on a site that can.
pub(crate) async fn count_statements(server: &mut Server) -> anyhow::Result<()> {
    server.connection.execute("create extension if not exists pg_stat_statements").await?;
    server.connection.execute("select pg_stat_statements_reset()").await?;
    Ok(())
}

/// How many there were since then.
pub(crate) async fn statements(server: &mut Server) -> anyhow::Result<i64> {
    let calls = sqlx::AssertSqlSafe(format!("select coalesce(sum(calls), 0)::bigint {COUNTED}"));
    Ok(sqlx::query_scalar(calls).fetch_one(&mut server.connection).await?)
}

/// The server's statements, without those of this file.
const COUNTED: &str = "from pg_stat_statements
    where dbid = (select oid from pg_database where datname = current_database())
        and query !~ 'pg_stat_|select exists \\(select from jobs|pg_snapshot_xmax'";

/// Which statements took most time.
async fn longest(connection: &mut PgConnection) -> anyhow::Result<Vec<String>> {
    let longest = format!(
        "select format('%s × %s µs, %s rows each: %s', calls, (mean_exec_time * 1000)::int,
                       round(rows / calls::numeric, 1), left(regexp_replace(query, '\\s+', ' ', 'g'), 90))
         {COUNTED} order by total_exec_time desc limit {SHOWN}"
    );
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(longest)).fetch_all(connection).await?)
}

/// What a process has used of the processor.
fn cpu_time(process: &str) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // After the name, which may contain anything: user time and system time are fields 14 and 15.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    // A tick is a hundredth of a second on every Linux.
    Some(Duration::from_millis(ticks * 10))
}
