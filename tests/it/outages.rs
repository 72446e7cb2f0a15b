//! A Postgres that is away for longer than claims last and than a host call may take: jobs wait for it, and go on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Cable, OwnPostgres, SOON, Setup, TestHost, eventually};

/// How many jobs record something when it happens.
const JOBS: usize = 6;

#[tokio::test]
async fn jobs_that_log_go_on_after_sixteen_seconds_without_postgres() {
    let host = Setup::default().plugins(&["misbehave"]).start().await;
    host.create_application("hostile").await;
    let mut stopped = host.stop().await;
    let mut cable = Cable::to(&stopped.database).await;
    stopped.database.url = cable.url().to_owned();
    let host = stopped.start().await;
    let jobs = logging_jobs(&host).await;
    cable.cut();
    tokio::time::sleep(Duration::from_secs(16)).await;
    cable.mend().await;
    assert_they_go_on(&host, &jobs).await;
}

#[tokio::test]
async fn jobs_that_log_go_on_after_a_postgres_that_was_frozen_for_thirty_two_seconds() {
    let postgres = OwnPostgres::start();
    let host = Setup::default().plugins(&["misbehave"]).start_on(postgres.database().await).await;
    host.create_application("hostile").await;
    let jobs = logging_jobs(&host).await;
    postgres.freeze();
    tokio::time::sleep(Duration::from_secs(32)).await;
    postgres.thaw();
    assert_they_go_on(&host, &jobs).await;
}

#[tokio::test]
async fn a_job_that_records_faster_than_is_written_waits_for_room() {
    let setup = Setup::default().plugins(&["misbehave"]).flag("--plugin-host-call-ms", 1000);
    let host = setup.flag("--plugin-entries-kib", 65_536).start().await;
    host.create_application("hostile").await;
    let mut brake = host.database.connect().await;
    let mut held = sqlx::Connection::begin(&mut brake).await.unwrap();
    sqlx::Executor::execute(&mut *held, "lock table job_entries in share mode").await.unwrap();
    // More than waits in memory.
    let id = host.post_action("hostile", "LargeEntries", "count=600").await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        let job = host.client.get(&format!("/job/{id}")).await;
        assert!(["queued", "running"].contains(&job.body["status"].as_str().unwrap()), "{job}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    held.rollback().await.unwrap();
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let last = host.client.get(&format!("/job/{id}/data?after=599")).await;
    assert_eq!(last.body["items"][0]["seq"], 600);
}

/// Jobs that record something all the time, once they have begun with it.
async fn logging_jobs(host: &TestHost) -> Vec<String> {
    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        jobs.push(host.post_action("hostile", "Ticks", "").await);
    }
    for id in &jobs {
        eventually("a tick", async || (!ticks(host, id).await?.is_empty()).then_some(())).await;
    }
    jobs
}

/// Each goes on where it was, within five seconds, in its first attempt and without a gap.
async fn assert_they_go_on(host: &TestHost, jobs: &[String]) {
    let back = Instant::now();
    let mut before = Vec::new();
    for id in jobs {
        before.push(eventually("Postgres to be back", async || ticks(host, id).await).await.len());
    }
    for (id, before) in jobs.iter().zip(before) {
        eventually("the job to go on", async || (ticks(host, id).await?.len() > before).then_some(())).await;
    }
    assert!(back.elapsed() < SOON, "it took {:?}", back.elapsed());
    for id in jobs {
        assert_eq!(host.client.post_empty(&format!("/job/{id}?cancel=true")).await.status, 202);
        let job = host.ended_job(id).await;
        assert_eq!((&job["status"], &job["attempt"]), (&json!("cancelled"), &json!(1)), "{job:#}");
        let ticks = ticks(host, id).await.unwrap();
        assert_eq!(ticks, (1..=ticks.len() as u64).collect::<Vec<_>>());
    }
}

/// What a job has recorded so far, unless the database is away.
async fn ticks(host: &TestHost, id: &str) -> Option<Vec<u64>> {
    let page = host.client.get(&format!("/job/{id}/data?after=0&limit=1000")).await;
    let entries = page.body["items"].as_array()?;
    Some(entries.iter().filter_map(|entry: &Value| entry["data"]["tick"].as_u64()).collect())
}
