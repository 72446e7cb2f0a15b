//! Several servers on one Postgres: what they share, and what becomes of a job whose server dies or hangs.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use crate::harness::{Cable, Client, Program, SOON, Setup, StoppedHost, TestHost, eventually, plugin_file};
use crate::uploads::zip;

/// How soon the jobs of a dead host are taken over.
const TAKEN_OVER: Duration = Duration::from_secs(15);

#[tokio::test]
async fn any_host_accepts_any_worker_runs_and_any_host_shows() {
    any_worker_runs(|setup| setup).await;
}

#[tokio::test]
async fn without_notifications_it_only_takes_longer() {
    any_worker_runs(|setup| setup.switch("--no-notify")).await;
}

async fn any_worker_runs(with: impl Fn(Setup) -> Setup) {
    let storage = tempfile::tempdir().unwrap();
    let api = with(Setup::default().sharing(&storage)).flag("--role", "api").start().await;
    let worker = with(Setup::default().sharing(&storage)).flag("--role", "worker").start_on(api.database.clone()).await;
    api.create_application("hostile").await;
    // Known to the worker through the database and the storage alone.
    std::fs::copy(plugin_file("misbehave"), api.plugin_dir().join("misbehave.wasm")).unwrap();
    api.plugin("misbehave", |plugin| plugin["state"] == "active").await;

    let job = api.run_action("hostile", "Echo", "a=1").await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job:#}");
    assert_eq!(job["result"]["parameters"], json!([["a", "1"]]));
    assert_eq!(worker.client.get("/health/ready").await.status, 200);
    assert_eq!(worker.client.get("/about").await.status, 200);
    assert_eq!(worker.client.get("/job").await.status, 404, "a worker answers for its health only");

    let stopped = worker.stop().await;
    let id = api.post_action("hostile", "Echo", "").await;
    assert_eq!(api.client.get(&format!("/job/{id}")).await.body["status"], "queued", "nobody is there to run it");
    let _worker = stopped.start().await;
    assert_eq!(api.ended_job(&id).await["status"], "succeeded");
}

#[tokio::test]
async fn a_second_host_whose_files_are_its_own_is_refused() {
    let host = TestHost::start().await;
    let refused = |flags: Vec<String>| async move {
        let data_dir = tempfile::tempdir().unwrap();
        let flags = [vec!["--data-dir".into(), data_dir.path().display().to_string()], flags].concat();
        let (code, stderr) = Program::serve(&flags.iter().map(String::as_str).collect::<Vec<_>>()).ended().await;
        assert_eq!(code, Some(1), "{stderr}");
        stderr
    };
    let database = ["--database-url".to_owned(), host.database.url.clone()];
    let stderr = refused(database.to_vec()).await;
    assert!(stderr.contains("uses this database with a storage directory that it has for itself"), "{stderr}");
    assert!(stderr.contains("--storage-url") && stderr.contains("--storage-shared"), "{stderr}");

    let elsewhere = tempfile::tempdir().unwrap();
    let shared = ["--storage-url".into(), format!("file://{}", elsewhere.path().display()), "--storage-shared".into()];
    let stderr = refused([database.to_vec(), shared.to_vec()].concat()).await;
    assert!(stderr.contains("--storage-url"), "{stderr}");
    let stderr = refused(vec!["--storage-url".into(), "s3//nothing".into()]).await;
    assert!(stderr.contains("`s3//nothing` is not a storage URL; it looks like file:///"), "{stderr}");

    // The one that was there goes on, and may come back.
    let host = host.restart().await;
    assert_eq!(host.client.get("/app").await.status, 200);
}

#[tokio::test]
async fn jobs_of_a_killed_host_are_lost_or_run_again_on_another_one_within_15_seconds() {
    let Pair { mut doomed, client, survivor, _files } = pair().await;
    let started = [running(&client, "Sleep").await, running(&client, "Ticks").await];
    doomed.signal(Signal::KILL);
    doomed.ended().await;
    let killed = Instant::now();

    let [lost, again] = [survivor.ended_job(&started[0]).await, survivor.ended_job(&started[1]).await];
    assert!(killed.elapsed() < TAKEN_OVER, "it took {:?}", killed.elapsed());
    assert_eq!((&lost["status"], &lost["error"]["code"]), (&json!("lost"), &json!("lost")), "{lost:#}");
    assert_eq!(
        lost["error"]["message"],
        "the server that ran the job gave no sign of life, and it may have done a part of its work; look before you \
         run it again"
    );
    assert_eq!((&again["status"], &again["attempt"]), (&json!("succeeded"), &json!(2)), "{again:#}");
    let seam = seam(&again);
    assert_eq!(seam["message"], "the server that ran the job gave no sign of life");
}

#[tokio::test]
async fn a_host_that_was_frozen_leaves_no_trace_in_a_job_that_was_handed_on() {
    let Pair { doomed: mut frozen, client, survivor, _files } = pair().await;
    let id = running(&client, "Ticks").await;
    frozen.signal(Signal::STOP);
    let ended = survivor.ended_job(&id).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("succeeded"), &json!(2)), "{ended:#}");
    assert_eq!(ended["result"], json!({ "attempt": 2 }));
    seam(&ended);

    // The run of the first attempt is still there, and goes on as soon as it can.
    frozen.signal(Signal::CONT);
    let after = running(&client, "UntilCancelled").await;
    assert_eq!(client.post_empty(&format!("/job/{after}?cancel=true")).await.status, 202);
    assert_eq!(survivor.ended_job(&after).await["status"], "cancelled", "the host works on");
    assert_eq!(survivor.ended_job(&id).await, ended, "and nothing was added");
    frozen.signal(Signal::TERM);
    let (code, stderr) = frozen.ended().await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("its job was given away while this server gave no sign of life"), "{stderr}");
}

#[tokio::test]
async fn a_host_that_was_cut_off_leaves_no_trace_in_a_job_that_was_handed_on() {
    let storage = tempfile::tempdir().unwrap();
    let host = Setup::default().plugins(&["misbehave"]).sharing(&storage).start().await;
    host.create_application("hostile").await;
    let mut stopped = host.stop().await;
    let direct = stopped.database.clone();
    let mut cable = Cable::to(&stopped.database).await;
    stopped.database.url = cable.url().to_owned();
    let cut_off = stopped.start().await;
    let survivor = Setup::default().sharing(&storage).start_on(direct).await;
    let id = running(&cut_off.client, "Ticks").await;

    cable.cut();
    let ended = survivor.ended_job(&id).await;
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("succeeded"), &json!(2)), "{ended:#}");
    seam(&ended);
    cable.mend().await;
    let after = running(&cut_off.client, "UntilCancelled").await;
    survivor.client.post_empty(&format!("/job/{after}?cancel=true")).await;
    assert_eq!(survivor.ended_job(&after).await["status"], "cancelled", "the host works on");
    assert_eq!(survivor.ended_job(&id).await, ended, "and nothing was added");
}

#[tokio::test]
async fn an_outage_of_postgres_takes_no_job_from_a_healthy_host_and_loses_nothing() {
    let host = Setup::default().plugins(&["misbehave"]).start().await;
    host.create_application("hostile").await;
    let mut stopped = host.stop().await;
    let mut cable = Cable::to(&stopped.database).await;
    stopped.database.url = cable.url().to_owned();
    let host = stopped.start().await;
    let id = host.post_action("hostile", "Ticks", "").await;
    host.client.get(&format!("/job/{id}/data?wait=10")).await;

    // For longer than claims last, and than a host call may take.
    cable.cut();
    let cut = Instant::now();
    while cut.elapsed() < Duration::from_secs(13) {
        let reply = host.client.post_empty("/app/hostile/actions/Noop").await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, "2"), "{reply}");
    }
    cable.mend().await;
    let mended = Instant::now();
    eventually("a job to be accepted and run", async || {
        let reply = host.client.post_empty("/app/hostile/actions/Noop").await;
        (reply.status == 202).then_some(())
    })
    .await;
    assert!(mended.elapsed() < SOON, "it took {:?}", mended.elapsed());

    let before = last_seq(&host, &id).await;
    eventually("the job to go on", async || (last_seq(&host, &id).await > before).then_some(())).await;
    host.client.post_empty(&format!("/job/{id}?cancel=true")).await;
    let job = host.ended_job(&id).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("cancelled"), &json!(1)), "{job:#}");
    // No tick is missing, whether it waited or was refused and repeated.
    let of_plugin = job["job_data"].as_array().unwrap().iter().filter(|entry| entry["source"] == "misbehave");
    let ticks: Vec<_> = of_plugin.map(|entry| entry["data"]["tick"].as_u64().unwrap()).collect();
    assert_eq!(ticks, (1..=ticks.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn with_a_hundred_thousand_jobs_of_one_application_queued_anothers_starts_within_two_claims() {
    let setup = Setup::default().plugins(&["misbehave", "widgets"]).flag("--plugin-runs", 1);
    let host = setup.start().await;
    host.create_application("hostile").await;
    host.create_application("my_application").await;
    let first = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&first).await;
    let queued = host.post_action("hostile", "Noop", "").await;
    let mut database = host.database.connect().await;
    let many =
        "insert into jobs (id, job_type, name, application, username, data, plugin, component_digest, timeout_ms)
                select (lpad(to_hex(number), 8, '0') || substr(id::text, 9))::uuid, job_type, name, application,
                       username, data, plugin, component_digest, timeout_ms
                from jobs, generate_series(1, 100000) as number where id = $1::text::uuid";
    sqlx::query(many).bind(&queued).execute(&mut database).await.unwrap();

    // One of another plugin, and one of the very same.
    let others = host.post_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    let same_plugin = "insert into jobs (id, job_type, name, application, data, plugin, component_digest, timeout_ms)
                       select gen_random_uuid(), job_type, name, 'third', data, plugin, component_digest, timeout_ms
                       from jobs where id = $1::text::uuid returning id::text";
    host.create_application("third").await;
    let same_plugin: String = sqlx::query_scalar(same_plugin).bind(&queued).fetch_one(&mut database).await.unwrap();
    host.client.post_empty(&format!("/job/{first}?cancel=true")).await;
    let job = host.ended_job(&others).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    host.ended_job(&same_plugin).await;
    let before = "select count(*) from jobs, jobs other where other.id = $1::text::uuid
                      and jobs.application = 'hostile' and jobs.name = 'Noop' and jobs.started_at < other.started_at";
    for other in [others, same_plugin] {
        let before: i64 = sqlx::query_scalar(before).bind(&other).fetch_one(&mut database).await.unwrap();
        assert!(before <= 1, "{before} jobs were started before it");
    }
    // The others have their turn again.
    assert_eq!(host.ended_job(&queued_first(&mut database).await).await["status"], "succeeded");
}

#[tokio::test]
async fn an_action_at_its_limit_waits_in_order_and_lets_others_pass() {
    let limits = Setup::default().flag("--plugin-runs", 4).flag("--plugin-runs-per-action", 1);
    let host = limits.plugins(&["misbehave"]).start().await;
    host.create_application("hostile").await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(host.post_action("hostile", "UntilCancelled", "").await);
    }
    for turn in 0..3 {
        host.running_job(&waiting[turn]).await;
        assert_eq!(host.run_action("hostile", "Noop", "").await["status"], "succeeded", "others pass");
        for later in &waiting[turn + 1..] {
            assert_eq!(host.client.get(&format!("/job/{later}")).await.body["status"], "queued");
        }
        host.client.post_empty(&format!("/job/{}?cancel=true", waiting[turn])).await;
        host.ended_job(&waiting[turn]).await;
    }
}

#[tokio::test]
async fn a_plugin_at_its_limit_leaves_room_for_others() {
    let limits = Setup::default().flag("--plugin-runs", 4).flag("--plugin-runs-per-plugin", 2);
    let host = limits.plugins(&["misbehave", "widgets"]).start().await;
    host.create_application("hostile").await;
    host.create_application("my_application").await;
    for action in ["UntilCancelled", "Sleep"] {
        let id = host.post_action("hostile", action, "").await;
        host.running_job(&id).await;
    }
    let waiting = host.post_action("hostile", "Noop", "").await;
    let other = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    assert_eq!(other["status"], "succeeded", "{other:#}");
    assert_eq!(host.client.get(&format!("/job/{waiting}")).await.body["status"], "queued");
}

#[tokio::test]
async fn finished_jobs_go_after_their_time_with_their_logs_and_steps() {
    let host = Setup::default().plugins(&["misbehave"]).flag("--job-retention-seconds", 3).start().await;
    host.create_application("hostile").await;
    let kept = host.post_action("hostile", "UntilCancelled", "").await;
    let job = host.run_action("hostile", "EntryFlood", "").await;
    goes_with_all_of_it(&host, &job, "job_entries").await;
    let job = crate::hooks::ended(&host, "hostile", "1", zip("a", b"b")).await;
    goes_with_all_of_it(&host, &job, "job_steps").await;
    assert_eq!(host.running_job(&kept).await.status, 200, "what runs stays");
}

async fn goes_with_all_of_it(host: &TestHost, job: &Value, table: &str) {
    let id = job["job_id"].as_str().unwrap();
    let count = format!("select count(*) from {table} where job_id = $1::text::uuid");
    let mut database = host.database.connect().await;
    let mut rows =
        async || -> i64 { sqlx::query_scalar(AssertSqlSafe(&*count)).bind(id).fetch_one(&mut database).await.unwrap() };
    assert!(rows().await > 0, "{job:#}");
    eventually("the job to be gone", async || {
        (host.client.get(&format!("/job/{id}")).await.status == 404).then_some(())
    })
    .await;
    assert_eq!(rows().await, 0, "{table}");
}

#[tokio::test]
async fn a_key_is_good_for_its_job_after_the_action_has_gone() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let post = async || {
        let request = host.client.request(reqwest::Method::POST, "/app/hostile/actions/Noop");
        host.client.send(request.header("idempotency-key", "once")).await
    };
    let first = post().await;
    assert_eq!(first.status, 202, "{first}");
    host.ended_job(first.body["job_id"].as_str().unwrap()).await;
    std::fs::remove_file(host.plugin_dir().join("misbehave.wasm")).unwrap();
    eventually("the action to be gone", async || {
        (host.client.get("/app/hostile/actions/Noop").await.status == 404).then_some(())
    })
    .await;
    let again = post().await;
    assert_eq!((again.status, &again.body["job_id"]), (202, &first.body["job_id"]), "{again}");
}

/// Two hosts on one database, the first of which is the real program.
struct Pair {
    doomed: Program,
    client: Client,
    survivor: TestHost,
    _files: (StoppedHost, TempDir),
}

async fn pair() -> Pair {
    let storage = tempfile::tempdir().unwrap();
    let host = Setup::default().plugins(&["misbehave"]).sharing(&storage).start().await;
    host.create_application("hostile").await;
    let stopped = host.stop().await;
    let mut doomed = stopped.start_program();
    let (_, client) = doomed.ready(&stopped.database.token).await;
    let survivor = Setup::default().sharing(&storage).start_on(stopped.database.clone()).await;
    Pair { doomed, client, survivor, _files: (stopped, storage) }
}

/// Starts an action at a host, which takes the job itself, and returns the job once it has something to show.
async fn running(client: &Client, action: &str) -> String {
    let id = eventually("the action to be accepted", async || {
        let reply = client.post_empty(&format!("/app/hostile/actions/{action}")).await;
        (reply.status == 202).then(|| reply.body["job_id"].as_str().unwrap().to_owned())
    })
    .await;
    eventually("the job to run", async || {
        let job = client.get(&format!("/job/{id}?results=true")).await.body;
        let is_begun = action == "Sleep" || job["job_data"].as_array().is_some_and(|entries| !entries.is_empty());
        (job["status"] == "running" && is_begun).then_some(())
    })
    .await;
    id
}

/// The host's entry between the first attempt and the second one, which ends what either has recorded.
fn seam(job: &Value) -> Value {
    let entries = job["job_data"].as_array().unwrap();
    let seqs: Vec<_> = entries.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=entries.len() as u64).collect::<Vec<_>>(), "there is no gap");
    let at = entries.iter().position(|entry| entry["source"] == "host").unwrap();
    let attempts: Vec<_> = entries.iter().map(|entry| entry["data"]["attempt"].as_u64().unwrap()).collect();
    assert!(attempts[..=at].iter().all(|attempt| *attempt == 1), "{job:#}");
    assert_eq!(attempts[at + 1..], [2], "{job:#}");
    entries[at]["data"].clone()
}

async fn last_seq(host: &TestHost, id: &str) -> i64 {
    let page = host.client.get(&format!("/job/{id}/data?after=0&limit=1000")).await;
    page.body["items"].as_array().unwrap().len() as i64
}

/// The first of the many that has been run.
async fn queued_first(database: &mut sqlx::PgConnection) -> String {
    let first = "select id::text from jobs
                 where application = 'hostile' and name = 'Noop' and started_at is not null limit 1";
    eventually("a job of many to run", async || sqlx::query_scalar(first).fetch_optional(&mut *database).await.unwrap())
        .await
}
