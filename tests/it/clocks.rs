//! Clocks that are wrong, and are put right: the database's, and one server's.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Client, OwnPostgres, Program, Setup, eventually};
use crate::uploads::{FILE, zip};

/// Longer than two heartbeats, and than it takes to look for what is too old.
const A_WHILE: Duration = Duration::from_secs(5);
/// By then every server has learned of a step of the database's clock: it does with its next heartbeat.
const HEARTBEAT: Duration = Duration::from_millis(2500);

#[tokio::test]
async fn a_step_of_the_databases_clock_takes_no_job_and_removes_nothing_young() {
    let postgres = OwnPostgres::with_a_clock();
    let storage = tempfile::tempdir().unwrap();
    let setup = || Setup::default().sharing(&storage).flag("--job-retention-seconds", 200);
    let setup = || setup().flag("--audit-retention-seconds", 200);
    let one = setup().plugins(&["misbehave"]).start_on(postgres.database().await).await;
    let other = setup().start_on(one.database.clone()).await;
    one.create_application("hostile").await;
    let hosts = [&one, &other];
    let mut running = Vec::new();
    for host in hosts {
        let id = host.post_action("hostile", "Ticks", "").await;
        host.running_job(&id).await;
        running.push(id);
    }
    let (mut posted, mut last) = (Vec::new(), String::new());
    for offset in ["+10s", "-10s", "+1h", "-1h", "+2d", "-2d", "+0"] {
        postgres.set_clock(offset);
        tokio::time::sleep(HEARTBEAT).await;
        let learned = Instant::now();
        while learned.elapsed() < A_WHILE {
            for host in hosts {
                let job = host.run_action("hostile", "Noop", "").await;
                assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{offset}: {job:#}");
                posted.push(job["job_id"].as_str().unwrap().to_owned());
                if !last.is_empty() {
                    // Who asks for what has come since is told of it.
                    let since = host.client.get(&format!("/job?name=Noop&since={last}")).await;
                    assert!(since.items("job_id").contains(&&**posted.last().unwrap()), "{offset}: {since}");
                }
                last = job["created_at"].as_str().unwrap().to_owned();
            }
        }
        for id in &running {
            let job = one.client.get(&format!("/job/{id}")).await;
            assert_eq!((&job.body["status"], &job.body["attempt"]), (&json!("running"), &json!(1)), "{offset}: {job}");
        }
    }
    assert_eq!(all_jobs(&one.client, "Noop").await, posted, "they are there, in the order of the requests");
    let created = one.client.get("/global/audit?operation=applications.create").await;
    assert_eq!(created.body["items"].as_array().map(Vec::len), Some(1), "{created}");
}

#[tokio::test]
async fn one_servers_wrong_clock_neither_removes_what_is_young_nor_changes_the_order() {
    let storage = tempfile::tempdir().unwrap();
    let setup = || Setup::default().sharing(&storage).flag("--job-retention-seconds", 200);
    let right = setup().plugins(&["misbehave"]).start().await;
    right.create_application("hostile").await;
    right.create_application("shop").await;
    right.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    for offset in ["+2d", "-2d"] {
        // An upload that is under way, and what an upload left behind long ago.
        let file = zip("a", b"b");
        let mut upload = begin_upload(&right.client, &right.database.token, file.len()).await;
        upload.write_all(&file[..10]).await.unwrap();
        let orphan = storage.path().join("builds/01890000-0000-7000-8000-000000000001");
        std::fs::create_dir_all(&orphan).unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(10 * 24 * 3600);
        std::fs::File::open(&orphan).unwrap().set_modified(long_ago).unwrap();

        let stopped = setup().start_on(right.database.clone()).await.stop().await;
        let flags = stopped.all_flags();
        let mut program = Program::serve_off_by(offset, &flags.iter().map(String::as_str).collect::<Vec<_>>());
        let (_, wrong) = program.ready(&right.database.token).await;
        let mut posted = Vec::new();
        for _ in 0..10 {
            for client in [&wrong, &right.client] {
                let reply = client.post_empty("/app/hostile/actions/Noop").await;
                assert_eq!(reply.status, 202, "{reply}");
                let id = reply.body["job_id"].as_str().unwrap().to_owned();
                let job = right.ended_job(&id).await;
                assert!(is_recent(&job["created_at"]) && is_recent(&job["completed_at"]), "{offset}: {job:#}");
                // Two servers know the database's time as well as a query is fast, which is not at once under load.
                tokio::time::sleep(Duration::from_millis(100)).await;
                posted.push(id);
            }
        }
        eventually("the old folder to be swept", async || (!orphan.exists()).then_some(())).await;
        tokio::time::sleep(A_WHILE).await;
        let jobs = all_jobs(&right.client, "Noop").await;
        assert_eq!(&jobs[jobs.len() - 20..], posted, "{offset}: they are there, in the order of the requests");

        upload.write_all(&file[10..]).await.unwrap();
        let mut reply = [0; 12];
        upload.read_exact(&mut reply).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&reply), "HTTP/1.1 202", "{offset}");
        eventually("the build to be stored", async || {
            (right.client.get("/app/shop/builds/1").await.body["stored"] == true).then_some(())
        })
        .await;
        eventually("the build to be removed", async || {
            // Not before its upload has ended.
            (right.client.delete("/app/shop/builds/1").await.status == 204).then_some(())
        })
        .await;
        right.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    }
}

#[tokio::test]
async fn the_health_of_a_server_is_dated_by_the_databases_clock() {
    let stopped = Setup::default().switch("--local-servers").start().await.stop().await;
    let flags = stopped.all_flags();
    let mut program = Program::serve_off_by("+2d", &flags.iter().map(String::as_str).collect::<Vec<_>>());
    let (_, client) = program.ready(&stopped.database.token).await;
    let new = json!({ "name": "web1", "environment": "test", "driver": "local" });
    let made = client.post("/server", &new).await;
    assert_eq!(made.status, 201, "{made}");
    let health = eventually("the server to be checked", async || {
        let server = client.get("/server/web1").await;
        server.body["health"].is_object().then(|| server.body["health"].clone())
    })
    .await;
    assert!(is_recent(&health["checked_at"]), "{health:#}");
}

/// The ids of all jobs of this name, oldest first.
async fn all_jobs(client: &Client, name: &str) -> Vec<String> {
    let (mut jobs, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/job?name={name}&limit=100{after}")).await;
        jobs.extend(page.items("job_id").into_iter().map(str::to_owned));
        match page.body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    jobs.reverse();
    jobs
}

/// Whether a time in a document is about now.
fn is_recent(time: &Value) -> bool {
    let parsed = time::OffsetDateTime::parse(time.as_str().unwrap(), &time::format_description::well_known::Rfc3339);
    (time::OffsetDateTime::now_utc() - parsed.unwrap()).abs() < time::Duration::minutes(5)
}

/// An upload whose body is still to be sent.
async fn begin_upload(client: &Client, token: &str, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(client.base().strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "PUT {FILE} HTTP/1.1\r\nhost: elita\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}
