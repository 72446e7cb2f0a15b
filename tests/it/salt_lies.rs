//! A salt-api that lies, or has thousands of minions.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::harness::{Database, FakeSalt, Reply, Setup, TestHost, create_minion, salt_settings};

async fn with_fake(minions: &[&str]) -> (TestHost, FakeSalt) {
    let fake = FakeSalt::start().await;
    let host = salt_settings(Setup::default().flag("--server-check-seconds", 0), &fake.url()).start().await;
    for minion in minions {
        create_minion(&host, minion).await;
    }
    (host, fake)
}

fn job_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 202, "{reply}");
    reply.body["job_id"].as_str().unwrap().to_owned()
}

async fn run(host: &TestHost) -> Value {
    let reply = host.client.post("/server/m1/command", &json!({ "command": ["true"] })).await;
    let job = host.ended_job(&job_of(&reply)).await;
    job["result"]["m1"].clone()
}

#[track_caller]
fn assert_done(report: &Value) {
    assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!("I am m1\n")), "{report:#}");
}

#[tokio::test]
async fn an_answer_that_is_cut_off_or_slow_sends_nothing_twice() {
    let (host, fake) = with_fake(&["m1"]).await;
    fake.lies().cut.store(1, Ordering::SeqCst);
    assert_done(&run(&host).await);
    *fake.lies().slow.lock().unwrap() = Duration::from_millis(1500);
    assert_done(&run(&host).await);
    assert_eq!(fake.commands().len(), 2);
    let job = &fake.commands()[0];
    assert_eq!((&job["tgt"], &job["tgt_type"], &job["arg"]), (&json!(["m1"]), &json!("list"), &json!([])), "{job:#}");
    assert_eq!(job["kwarg"]["python_shell"], false, "{job:#}");
    let jid = job["jid"].as_str().unwrap();
    assert!(jid.len() == 20 && jid.bytes().all(|byte| byte.is_ascii_digit()), "{jid}");
}

#[tokio::test]
async fn a_token_that_is_forgotten_is_renewed_once_for_all() {
    let (host, fake) = with_fake(&["m1", "m2", "m3", "m4"]).await;
    assert_done(&run(&host).await);
    assert_eq!(fake.log_ins(), 1);
    fake.lies().forgetful.store(1, Ordering::SeqCst);
    let sent = ["m1", "m2", "m3", "m4"].map(async |minion| {
        let path = format!("/server/{minion}/command");
        let job = host.ended_job(&job_of(&host.client.post(&path, &json!({ "command": ["true"] })).await)).await;
        assert_eq!(job["result"][minion]["outcome"], "ok", "{job:#}");
    });
    futures_util::future::join_all(sent).await;
    assert_eq!(fake.log_ins(), 2, "one for all");
}

#[tokio::test]
async fn returns_of_others_and_second_ones_do_not_count() {
    let (host, fake) = with_fake(&["m1"]).await;
    fake.lies().talkative.store(2, Ordering::SeqCst);
    for _ in 0..3 {
        assert_done(&run(&host).await);
    }
}

#[tokio::test]
async fn what_the_stream_of_events_does_not_tell_is_looked_up() {
    let (host, fake) = with_fake(&["m1"]).await;
    fake.lies().deaf.store(1, Ordering::SeqCst);
    assert_done(&run(&host).await);
    assert_done(&run(&host).await);
    assert_eq!(fake.commands().len(), 2, "nothing was sent twice");
}

#[tokio::test]
async fn a_gigabyte_instead_of_a_return_is_neither_kept_nor_believed() {
    let (host, fake) = with_fake(&["m1"]).await;
    let stopped = host.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let before = program.peak_memory_kib();
    fake.lies().flood.store(1, Ordering::SeqCst);
    let reply = client.post("/server/m1/command", &json!({ "command": ["true"] })).await;
    let path = format!("/job/{}?results=true", job_of(&reply));
    let job = loop {
        let job = client.get(&path).await.body;
        if job["status"] != "queued" && job["status"] != "running" {
            break job;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_done(&job["result"]["m1"]);
    let added = program.peak_memory_kib() - before;
    assert!(added < 96 * 1024, "{added} KiB");
}

/// How many minions there are where there are many.
const MINIONS: usize = 2000;

/// Makes servers of the driver `salt`.
pub(crate) async fn many_minions(database: &Database) -> Vec<String> {
    let mut connection = database.connect().await;
    let make = "insert into servers (name, environment, driver, connection, attributes)
        select 'minion-' || n, 'test', 'salt', json_build_object('minion', 'minion-' || n), '{}'
        from generate_series(1, $1) as n";
    sqlx::query(make).bind(i32::try_from(MINIONS).unwrap()).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    (1..=MINIONS).map(|n| format!("minion-{n}")).collect()
}

#[tokio::test]
async fn a_command_for_thousands_of_minions_takes_little_memory_and_few_jobs_of_salt() {
    let (host, fake) = with_fake(&["m1"]).await;
    let servers = many_minions(&host.database).await;
    let stopped = host.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let reply = client.post("/server/m1/command", &json!({ "command": ["true"] })).await;
    let first = format!("/job/{}", job_of(&reply));
    while client.get(&first).await.body["status"] != "succeeded" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (before, began) = (program.peak_memory_kib(), Instant::now());
    let reply = client.post("/server/command", &json!({ "servers": servers, "command": ["true"] })).await;
    let path = format!("/job/{}", job_of(&reply));
    let job = loop {
        let job = client.get(&path).await.body;
        if job["status"] != "queued" && job["status"] != "running" {
            break job;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let (added, took) = (program.peak_memory_kib() - before, began.elapsed());
    let reports = job["result"].as_object().unwrap();
    for server in &servers {
        assert_eq!(reports[server]["stdout"], format!("I am {server}\n"), "{:#}", reports[server]);
    }
    assert_eq!(fake.commands().len(), 1 + MINIONS / 100);
    println!("{MINIONS} minions: {added} KiB added, {took:?}");
    assert!(added < 256 * 1024, "{added} KiB");
}
