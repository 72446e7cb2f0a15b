//! What becomes of jobs when the server stops, dies, or loses a job to another one.

use std::time::{Duration, Instant};

use elita::datasvc::{
    Claim, DataSvc, Error, HandedOn, HostId, JobError, JobErrorCode, JobLog, LogLimits, Outcome, Room, WorkerId,
};
use rustix::process::Signal;
use serde_json::{json, value::to_raw_value};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, Postgres, Transaction};
use uuid::Uuid;

use crate::harness::{Cable, Client, Setup, StoppedHost, TestHost, eventually};

#[tokio::test]
async fn what_was_queued_goes_on_after_a_restart() {
    let host = one_at_a_time().await;
    let running = host.post_action("hostile", "Sleep", "").await;
    host.running_job(&running).await;
    let queued = [host.post_action("hostile", "Echo", "a=1").await, host.post_action("hostile", "Noop", "").await];

    let host = host.restart().await;
    for id in queued {
        let job = host.ended_job(&id).await;
        assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job:#}");
    }
}

#[tokio::test]
async fn a_job_that_does_not_end_in_time_when_the_server_stops_is_lost() {
    let host = one_at_a_time().await;
    let id = host.post_action("hostile", "Sleep", "").await;
    host.running_job(&id).await;

    let host = host.restart().await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "lost", "{job:#}");
    assert_eq!(job["error"]["code"], "lost");
    assert_eq!(
        job["error"]["message"],
        "the server was stopped while the job was running, and it may have done a part of its work; look before you \
         run it again"
    );
    assert_eq!(job["job_data"].as_array().unwrap().len(), 1, "{job:#}");
    assert_eq!(job["job_data"][0]["source"], "host");
    assert_eq!(job["job_data"][0]["data"]["status"], "lost");
}

#[tokio::test]
async fn a_job_that_ends_in_time_when_the_server_stops_has_succeeded() {
    let host = TestHost::with_plugins(&["widgets"]).await;
    host.create_application("my_application").await;
    let stopped = host.stop().await;
    let mut elita = stopped.start_program();
    let (_, client) = elita.ready(&stopped.database.token).await;

    let mut brake = stopped.database.connect().await;
    let held = hold_logs(&mut brake).await;
    let id = running_job(&client, "/app/my_application/actions/DeleteWidgets?testing=true&count=1").await;

    elita.signal(Signal::TERM);
    let address = client.base().strip_prefix("http://").unwrap();
    eventually("the server to stop accepting", async || tokio::net::TcpStream::connect(address).await.err()).await;
    held.rollback().await.unwrap();
    let (code, stderr) = elita.ended().await;
    assert_eq!(code, Some(0), "{stderr}");

    let job = stopped.start().await.ended_job(&id).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job:#}");
    assert_eq!(job["job_data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_job_that_runs_when_the_server_is_killed_is_lost() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let stopped = host.stop().await;
    let mut elita = stopped.start_program();
    let (_, client) = elita.ready(&stopped.database.token).await;
    let id = running_job(&client, "/app/hostile/actions/Sleep").await;

    elita.signal(Signal::KILL);
    elita.ended().await;
    let host = stopped.start().await;
    let job = host.ended_job(&id).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("lost"), &json!("lost")), "{job:#}");
    assert!(job["completed_at"].is_string(), "{job:#}");
    assert_eq!(job["job_data"].as_array().unwrap().len(), 1, "{job:#}");
    assert_eq!(
        (&job["job_data"][0]["source"], &job["job_data"][0]["data"]),
        (
            &json!("host"),
            &json!({ "status": "lost", "attempt": 1, "message": "the server stopped while the job was running" })
        )
    );
    assert_eq!(host.run_action("hostile", "Noop", "").await["status"], "succeeded", "the server works on");
}

#[tokio::test]
async fn a_job_that_ends_while_postgres_is_away_has_ended_when_it_is_back() {
    let host = Setup::default().plugins(&["misbehave"]).flag("--plugin-timeout-seconds", 1).start().await;
    host.create_application("hostile").await;
    let mut stopped = host.stop().await;
    let mut cable = Cable::to(&stopped.database).await;
    stopped.database.url = cable.url().to_owned();
    let host = stopped.start().await;
    let id = host.post_action("hostile", "Sleep", "").await;
    host.running_job(&id).await;

    cable.cut();
    let cut = Instant::now();
    // For longer than the job may run.
    while cut.elapsed() < Duration::from_secs(2) {
        assert_eq!(host.client.get("/job").await.status, 503);
    }
    cable.mend().await;
    let job = eventually("the job's end", async || {
        let reply = host.client.get(&format!("/job/{id}?results=true")).await;
        (reply.status == 200 && reply.body["status"] != "running").then_some(reply.body)
    })
    .await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("failed"), &json!(1)), "{job:#}");
    assert_eq!(job["error"]["code"], "time-limit-exceeded");
}

#[tokio::test]
async fn an_idempotent_action_runs_again_when_its_server_died() {
    let (stopped, id) = stopped_with_queued_echo().await;
    run_on_a_dead_server(&stopped, id, 1).await;
    let job = stopped.start().await.ended_job(&id.to_string()).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(2)), "{job:#}");
    assert_eq!(job["result"]["attempt"], 2);
    assert_eq!(
        job["job_data"][0]["data"],
        json!({ "status": "queued", "attempt": 1, "message": "the server stopped while the job was running" })
    );
}

#[tokio::test]
async fn an_idempotent_action_is_given_up_after_its_fifth_attempt() {
    let (stopped, id) = stopped_with_queued_echo().await;
    run_on_a_dead_server(&stopped, id, 5).await;
    let job = stopped.start().await.ended_job(&id.to_string()).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("lost"), &json!(5)), "{job:#}");
    assert_eq!(job["error"]["code"], "lost");
}

#[tokio::test]
async fn a_job_that_was_handed_on_takes_nothing_from_its_former_holder() {
    let (stopped, id) = stopped_with_queued_echo().await;
    let svc = DataSvc::connect(&stopped.database.url, 2).await.unwrap();
    let [former, present] = [WorkerId::new(), WorkerId::new()];
    for worker in [former, present] {
        svc.beat(worker, HostId::new(), true).await.unwrap();
    }
    let old = svc.claim_jobs(former, &room()).await.unwrap().remove(0);
    let (old, old_log) = begun(&svc, old).await;
    assert_eq!(svc.hand_back(former, "this is a test").await.ok(), Some(HandedOn { queued: 1, lost: 0 }));
    let new = svc.claim_jobs(present, &room()).await.unwrap().remove(0);
    let (new, new_log) = begun(&svc, new).await;
    assert_eq!((old.job_id, old.attempt, new.attempt), (new.job_id, 1, 2));

    let late = Outcome::Failed(JobError::new(JobErrorCode::ActionFailed, "too late"));
    old_log.note(&"too late").unwrap();
    assert!(matches!(old_log.finish(&late).await, Err(Error::Conflict { .. })));
    assert!(matches!(old_log.note(&"too late"), Err(Error::Conflict { .. })));
    assert!(matches!(svc.start_job(&old).await, Err(Error::Conflict { .. })));
    assert!(svc.held_jobs(former).await.unwrap().is_empty());

    new_log.note(&"in time").unwrap();
    new_log.finish(&Outcome::Succeeded(to_raw_value("in time").unwrap())).await.unwrap();
    svc.close().await;
    let job = stopped.start().await.ended_job(&id.to_string()).await;
    assert_eq!((&job["status"], &job["result"]), (&json!("succeeded"), &json!("in time")), "{job:#}");
    let numbers: Vec<_> = job["job_data"].as_array().unwrap().iter().map(|entry| &entry["seq"]).collect();
    assert_eq!(numbers, [1, 2], "{job:#}");
}

#[tokio::test]
async fn what_has_left_the_queue_is_not_read_by_every_claim_while_a_transaction_keeps_it() {
    const DEAD: i64 = 100_000;
    let (stopped, id) = stopped_with_queued_echo().await;
    let mut database = stopped.database.connect().await;
    let mut other = stopped.database.connect().await;
    other.execute("begin isolation level repeatable read; select from workers").await.unwrap();
    let copies = "insert into jobs (id, job_type, name, application, data, plugin, component_digest, timeout_ms)
        select (lpad(to_hex(1700000000000 + number), 12, '0') || '7000' || substr(md5(number::text), 1, 16))::uuid,
               job_type, name, application, data, plugin, component_digest, timeout_ms
        from jobs, generate_series(1, $2) as number where id = $1";
    sqlx::query(copies).bind(id).bind(DEAD).execute(&mut database).await.unwrap();
    let leave = "update jobs set status = 'succeeded' where status = 'queued' and id <> $1";
    sqlx::query(leave).bind(id).execute(&mut database).await.unwrap();
    // Few are queued now, which must not lead Postgres to another index.
    database.execute("analyze jobs").await.unwrap();

    let svc = DataSvc::connect(&stopped.database.url, 2).await.unwrap();
    let worker = WorkerId::new();
    let mut claimed = Vec::new();
    let mut read = Vec::new();
    for round in 0..12 {
        let queue = "insert into jobs (id, job_type, name, application, data, plugin, component_digest, timeout_ms)
            select $2, job_type, name, application, data, plugin, component_digest, timeout_ms from jobs where id = $1";
        let next = Uuid::from(svc.new_job_id());
        sqlx::query(queue).bind(id).bind(next).execute(&mut database).await.unwrap();
        if round == 2 || round == 11 {
            // A connection tells what it has read after a statement, and not more often than once a second.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        svc.beat(worker, HostId::new(), true).await.unwrap();
        claimed.extend(svc.claim_jobs(worker, &room()).await.unwrap().into_iter().map(|claim| claim.job_id));
        let entries = "select sum(idx_tup_read)::bigint from pg_stat_user_indexes where relname = 'jobs'";
        read.push(sqlx::query_scalar::<_, i64>(entries).fetch_one(&mut database).await.unwrap());
    }
    svc.close().await;
    assert_eq!(claimed.len(), 12, "each claim takes one");
    assert!(claimed.is_sorted(), "the oldest first");
    // Once more all of it may have been looked at, with a claim beside it, because what is known is not used for long.
    let of_nine = read[11] - read[2];
    assert!(of_nine < 9 * DEAD, "nine claims have read {of_nine} entries of indexes");
}

#[tokio::test]
async fn a_run_whose_job_was_taken_away_leaves_no_trace() {
    let host = Setup::default().plugins(&["widgets"]).flag("--plugin-runs", 1).start().await;
    host.create_application("my_application").await;
    let mut database = host.database.connect().await;
    let mut brake = host.database.connect().await;
    let held = hold_logs(&mut brake).await;
    let id = host.post_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    host.running_job(&id).await;

    let taken = sqlx::query("update jobs set worker = gen_random_uuid(), fence = fence + 1 where id = $1");
    taken.bind(id.parse::<Uuid>().unwrap()).execute(&mut database).await.unwrap();
    held.rollback().await.unwrap();
    // There is room for one run: that this one ends shows that the other one is over.
    let next = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    assert_eq!(next["status"], "succeeded", "{next:#}");
    let job = host.running_job(&id).await;
    assert_eq!(job.body["job_data"], json!([]), "{job}");
}

/// A host that runs one job at a time and waits for none when it stops.
async fn one_at_a_time() -> TestHost {
    let setup = Setup::default().plugins(&["misbehave"]).flag("--plugin-runs", 1).flag("--drain-seconds", 0);
    let host = setup.start().await;
    host.create_application("hostile").await;
    host
}

/// Asks the real program for an action and returns the job once it runs.
async fn running_job(client: &Client, path: &str) -> String {
    let reply = client.post_empty(path).await;
    assert_eq!(reply.status, 202, "{reply}");
    let id = reply.body["job_id"].as_str().unwrap().to_owned();
    eventually("the job to run", async || {
        (client.get(&format!("/job/{id}")).await.body["status"] == "running").then_some(())
    })
    .await;
    id
}

/// Room for one job.
fn room() -> Room {
    Room { jobs: 1, per_plugin: 1, per_action: 1, ..Room::default() }
}

/// A claimed job whose guest has started, as far as the database knows, and its log.
async fn begun(svc: &DataSvc, mut claim: Claim) -> (Claim, JobLog) {
    claim.attempt = svc.start_job(&claim).await.unwrap();
    let log = svc.job_log(&claim, LogLimits { entries: 10, bytes: 1000 });
    (claim, log)
}

/// Holds every job at its first entry until the transaction ends.
async fn hold_logs(database: &mut PgConnection) -> Transaction<'_, Postgres> {
    let mut held = database.begin().await.unwrap();
    held.execute("lock table job_entries in share mode").await.unwrap();
    held
}

/// A server that was stopped while the idempotent action Echo was queued.
async fn stopped_with_queued_echo() -> (StoppedHost, Uuid) {
    let host = one_at_a_time().await;
    let running = host.post_action("hostile", "Sleep", "").await;
    host.running_job(&running).await;
    let queued = host.post_action("hostile", "Echo", "").await;
    (host.stop().await, queued.parse().unwrap())
}

/// Makes a queued job look as it does after its server died in that attempt.
async fn run_on_a_dead_server(stopped: &StoppedHost, job: Uuid, attempt: i32) {
    let mut database = stopped.database.connect().await;
    let worker = Uuid::new_v4();
    let host = sqlx::query("insert into workers (id, host_id) values ($1, $2)").bind(worker).bind(stopped.host_id());
    host.execute(&mut database).await.unwrap();
    let claimed = sqlx::query(
        "update jobs set status = 'running', worker = $2, attempt = $3, fence = $3, started_at = now()
         where id = $1 and status = 'queued'",
    );
    let claimed = claimed.bind(job).bind(worker).bind(attempt);
    assert_eq!(claimed.execute(&mut database).await.unwrap().rows_affected(), 1);
}
