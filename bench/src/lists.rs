//! How Postgres carries out the server's queries on a table with a million jobs. They are those of the server's own
//! code, run by it; the plans come from Postgres' log.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use elita::datasvc::{
    AppName, Caller, DataSvc, HostId, JobFilter, JobId, JobStatus, JobType, LogPart, NamePattern, Page, Room,
    TimeOrder, UPLOAD, WorkerId,
};
use sqlx::{Connection as _, Executor as _, PgConnection};
use time::OffsetDateTime;

use crate::plans::{Plan, Plans};
use crate::report::Report;
use crate::site::Site;

/// The table, its logs and the users.
const FILL: &str = include_str!("lists.sql");
/// A hundred thousand jobs in the queue.
const QUEUE: &str = include_str!("queue.sql");
/// Fifty thousand jobs are done.
const LEAVE: &str = "
    update jobs set status = 'succeeded' where id in (
        select id from jobs where status = 'queued' and application = 'app1' order by id limit 50000);
    analyze jobs";
/// Some of many other actions, too.
const LANES: &str = include_str!("lanes.sql");

/// Where all plans go.
const FILE: &str = "target/lists.txt";

/// How often each list is asked for: the fastest time counts.
const TRIES: usize = 5;
/// How much longer than the fastest one a list may take.
const MANY_TIMES: u32 = 5;
/// What is reported as too much: rows thrown away, pages looked at.
const MANY_ROWS: u64 = 10_000;
const MANY_PAGES: u64 = 5_000;

struct Looker<'a> {
    plans: Plans,
    report: &'a mut Report,
    /// All plans.
    text: String,
}

pub(crate) async fn measure(site: &Site, report: &mut Report) -> anyhow::Result<()> {
    let url = site.database("lists").await?.url;
    let mut connection = PgConnection::connect(&url).await?;
    connection.execute(FILL).await?;
    let mut looker = Looker { plans: Plans::of(&url).await?, report, text: String::new() };
    looker.plans.since().await?;
    let svc = DataSvc::connect(&url, 1).await?;
    looker.report.remark("lists of a million jobs: plan's ms, rows thrown away, pages, and !! where that is much");
    lists(&svc, &mut connection, &mut looker).await?;
    claims(&svc, &mut connection, &mut looker).await?;
    claims_beside_a_transaction(&url, &svc, &mut connection, &mut looker).await?;
    retention(&svc, &mut looker).await?;
    svc.close().await;
    std::fs::write(FILE, &looker.text)?;
    looker.report.remark(&format!("all plans: {FILE}"));
    Ok(())
}

impl Looker<'_> {
    /// Reports what the statements of a call were.
    async fn see(&mut self, what: &str, took: Duration, rows: usize) -> anyhow::Result<()> {
        for plan in self.plans.since().await? {
            let (thrown_away, pages) = (plan.thrown_away(), plan.pages());
            let is_much = plan.scans_a_table() || thrown_away > MANY_ROWS || pages > MANY_PAGES;
            let line = format!(
                "  {} {what:<58} {:>8.2} ms {thrown_away:>8} {pages:>7} {}({rows} rows, {:.1} ms with all)",
                if is_much { "!!" } else { "  " },
                plan.millis,
                if plan.scans_a_table() { "whole table " } else { "" },
                took.as_secs_f64() * 1e3,
            );
            self.report.remark(&line);
            let Plan { millis: _, text } = plan;
            writeln!(self.text, "{line}\n{text}")?;
        }
        Ok(())
    }
}

async fn lists(svc: &DataSvc, connection: &mut PgConnection, looker: &mut Looker<'_>) -> anyhow::Result<()> {
    let middle = sqlx::query_scalar("select id::text from jobs order by id offset 500000 limit 1");
    let middle: String = middle.fetch_one(connection).await?;
    let mut times = Vec::new();
    for user in ["global", "all", "one", "quiet", "quiets", "many"] {
        let caller = svc.caller_of(&format!("elita_{user}")).await?;
        for (what, filter) in filters(user)? {
            for (page, after) in [("", None), (", from the middle", Some(middle.clone()))] {
                let page_of_list = Page::new(after, None)?;
                // The first time is for what it finds in no cache, and the others for what else the machine does.
                svc.jobs(&caller, &filter, false, &page_of_list).await?;
                let mut fastest = Duration::MAX;
                for _ in 1..TRIES {
                    fastest = fastest.min(timed(svc.jobs(&caller, &filter, false, &page_of_list)).await?.1);
                }
                looker.plans.since().await?;
                let (rows, took) = timed(svc.jobs(&caller, &filter, false, &page_of_list)).await?;
                looker.see(&format!("{user}: {what}{page}"), took, rows.items.len()).await?;
                times.push((took.min(fastest), rows.items.len(), format!("{user}: {what}{page}")));
            }
        }
        let job = JobId::parse(&middle)?;
        one_job(svc, &caller, job, user, looker).await?;
    }
    compare(&times, looker);
    Ok(())
}

/// Reports the lists that take many times as long as the fastest one of a full page.
fn compare(times: &[(Duration, usize, String)], looker: &mut Looker<'_>) {
    let best = times.iter().filter(|(_, rows, _)| *rows == 100).map(|(took, ..)| *took).min().unwrap_or_default();
    let slow = times.iter().filter(|(took, ..)| *took > best * MANY_TIMES);
    let shown = slow.map(|(took, rows, what)| format!("    {what}: {took:?} ({rows} rows)")).collect::<Vec<_>>();
    looker.report.remark(&format!(
        "of {} lists {} take over {MANY_TIMES} times as long as the fastest full page, {best:?}\n{}",
        times.len(),
        shown.len(),
        shown.join("\n")
    ));
}

/// What is asked of a job that may or may not be seen.
async fn one_job(
    svc: &DataSvc,
    caller: &Caller,
    job: JobId,
    user: &str,
    looker: &mut Looker<'_>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let found = svc.job(caller, job).await.is_ok();
    looker.see(&format!("{user}: GET /job/{{id}}"), began.elapsed(), found.into()).await?;
    let began = Instant::now();
    let found = svc.job_entries(caller, job, LogPart::After(0), 100, 1 << 20).await.is_ok();
    looker.see(&format!("{user}: GET /job/{{id}}/data"), began.elapsed(), found.into()).await
}

/// What users ask for. The table's SQL says which names are frequent.
fn filters(user: &str) -> anyhow::Result<Vec<(String, JobFilter)>> {
    let none = JobFilter::default;
    let app = |name: &str| anyhow::Ok(JobFilter { applications: vec![AppName::parse(name)?], ..none() });
    let name = |name: &str| JobFilter { name: NamePattern::new(name).ok(), ..none() };
    let status = |status| JobFilter { statuses: vec![status], ..none() };
    let since = |days| JobFilter { since: Some(OffsetDateTime::now_utc() - time::Duration::days(days)), ..none() };
    let mut filters = vec![
        ("all".to_owned(), none()),
        ("active=true".into(), JobFilter { active: Some(true), ..none() }),
        ("active=false".into(), JobFilter { active: Some(false), ..none() }),
    ];
    use JobStatus::{Cancelled, Failed, Lost, Queued, Running, Succeeded};
    for wanted in [Queued, Running, Succeeded, Failed, Cancelled, Lost] {
        filters.push((format!("status={}", wanted.as_str()), status(wanted)));
    }
    filters.extend([
        ("name=frequent".into(), name("Action1")),
        ("name=rare, old".into(), name("Rare")),
        ("name=none".into(), name("Nowhere")),
        ("since=today".into(), since(1)),
        ("since=a month ago".into(), since(30)),
        ("since=tomorrow".into(), since(-1)),
        ("name=frequent&status=failed".into(), JobFilter { statuses: vec![Failed], ..name("Action1") }),
        ("name=rare&status=failed".into(), JobFilter { statuses: vec![Failed], ..name("Rare") }),
        ("name=rare&status=succeeded".into(), JobFilter { statuses: vec![Succeeded], ..name("Rare") }),
        ("name=frequent&active=true".into(), JobFilter { active: Some(true), ..name("Action1") }),
        ("status=failed&since=today".into(), JobFilter { statuses: vec![Failed], ..since(1) }),
        ("status=lost&since=a month ago".into(), JobFilter { statuses: vec![Lost], ..since(30) }),
        ("name=rare&since=today".into(), JobFilter { name: NamePattern::new("Rare").ok(), ..since(1) }),
        ("status=failed,lost".into(), JobFilter { statuses: vec![Failed, Lost], ..none() }),
        ("until=a month ago".into(), JobFilter { until: since(30).since, ..none() }),
        ("username=frequent".into(), JobFilter { username: Some("user7".into()), ..none() }),
        ("username=seldom".into(), JobFilter { username: Some("seldom".into()), ..none() }),
        ("username=nobody".into(), JobFilter { username: Some("nobody".into()), ..none() }),
        ("plugin=widgets".into(), JobFilter { plugin: Some("widgets".into()), ..none() }),
        ("plugin=rare".into(), JobFilter { plugin: Some("rare".into()), ..none() }),
        ("type=upload".into(), JobFilter { types: vec![JobType::new(UPLOAD)], ..none() }),
        ("id_suffix".into(), JobFilter { id_suffix: Some("e668b057".into()), ..none() }),
        ("parent=some".into(), JobFilter { parent: Some(JobId::new()), ..none() }),
        ("active=false&status=failed".into(), JobFilter { active: Some(false), ..status(Failed) }),
    ]);
    let oldest = |(what, filter): &(String, JobFilter)| {
        (format!("{what}, oldest first"), JobFilter { order: TimeOrder::Oldest, ..filter.clone() })
    };
    let oldest_first: Vec<_> = filters.iter().map(oldest).collect();
    filters.extend(oldest_first);
    if user == "global" {
        for (which, of) in [("large", "app1"), ("small", "app590"), ("quiet", "quiet1"), ("none", "nowhere")] {
            let of = app(of)?;
            filters.extend([
                (format!("app={which}"), of.clone()),
                (format!("app={which}&plugin=rare"), JobFilter { plugin: Some("rare".into()), ..of.clone() }),
                (format!("app={which}&active=true"), JobFilter { active: Some(true), ..of.clone() }),
                (format!("app={which}&active=false"), JobFilter { active: Some(false), ..of.clone() }),
                (format!("app={which}&status=failed"), JobFilter { statuses: vec![Failed], ..of.clone() }),
                (format!("app={which}&status=lost"), JobFilter { statuses: vec![Lost], ..of.clone() }),
                (
                    format!("app={which}&name=frequent"),
                    JobFilter { name: NamePattern::new("Action1").ok(), ..of.clone() },
                ),
                (
                    format!("app={which}&name=rare, old"),
                    JobFilter { name: NamePattern::new("Rare").ok(), ..of.clone() },
                ),
                (format!("app={which}&since=today"), JobFilter { applications: of.applications, ..since(1) }),
            ]);
        }
    }
    Ok(filters)
}

async fn claims(svc: &DataSvc, connection: &mut PgConnection, looker: &mut Looker<'_>) -> anyhow::Result<()> {
    let worker = WorkerId::new();
    connection.execute(QUEUE).await?;
    claim(svc, worker, "100,000 queued of one action: first claim", 1, looker).await?;
    claim(svc, worker, "100,000 queued of one action: 300 claims on", 300, looker).await?;
    connection.execute(LANES).await?;
    claim(svc, worker, "and 20 of each of 1000 others: first claim", 1, looker).await?;
    claim(svc, worker, "and 20 of each of 1000 others: 100 claims on", 100, looker).await?;
    let (held, took) = timed(svc.held_jobs(worker)).await?;
    looker.see("what a worker holds", took, held.len()).await?;
    let (_, took) = timed(svc.take_over(worker, &[])).await?;
    looker.see("what dead workers hold", took, 0).await?;
    let caller = svc.caller_of("elita_global").await?;
    let filter = JobFilter { active: Some(true), ..JobFilter::default() };
    let (rows, took) = timed(svc.jobs(&caller, &filter, false, &Page::new(None, None)?)).await?;
    looker.see("active=true, 100,000 queued", took, rows.items.len()).await
}

/// Half of the queue has left it, and its rows stay.
async fn claims_beside_a_transaction(
    url: &str,
    svc: &DataSvc,
    connection: &mut PgConnection,
    looker: &mut Looker<'_>,
) -> anyhow::Result<()> {
    let mut other = PgConnection::connect(url).await?;
    other.execute("begin isolation level repeatable read; select from workers").await?;
    connection.execute(LEAVE).await?;
    let worker = WorkerId::new();
    for nth in ["first", "second", "third"] {
        claim(svc, worker, &format!("50,000 dead rows in the queue: {nth} claim"), 1, looker).await?;
    }
    Ok(other.close().await?)
}

/// Looks at the last of so many claims.
async fn claim(
    svc: &DataSvc,
    worker: WorkerId,
    what: &str,
    claims: usize,
    looker: &mut Looker<'_>,
) -> anyhow::Result<()> {
    let room = Room { jobs: 32, per_plugin: 32, per_action: 32, ..Room::default() };
    for _ in 1..claims {
        svc.beat(worker, HostId::new(), true).await?;
        svc.claim_jobs(worker, &room).await?;
    }
    svc.beat(worker, HostId::new(), true).await?;
    looker.plans.since().await?;
    let (claimed, took) = timed(svc.claim_jobs(worker, &room)).await?;
    looker.see(what, took, claimed.len()).await
}

async fn retention(svc: &DataSvc, looker: &mut Looker<'_>) -> anyhow::Result<()> {
    for (what, days) in [("nothing is old enough", 90), ("a half is old", 30)] {
        let age = Duration::from_secs(days * 24 * 3600);
        let (removed, took) = timed(svc.remove_old_jobs(age)).await?;
        looker.see(&format!("retention, {what}"), took, usize::try_from(removed)?).await?;
    }
    Ok(())
}

async fn timed<T>(call: impl Future<Output = elita::datasvc::Result<T>>) -> anyhow::Result<(T, Duration)> {
    let began = Instant::now();
    Ok((call.await?, began.elapsed()))
}
