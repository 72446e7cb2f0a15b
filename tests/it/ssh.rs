//! Commands by SSH, on a real sshd.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::fidelity::Vectors;
use crate::harness::{Program, Sshd, TestHost, eventually};

/// A host with a server `web1` that is this sshd.
async fn with_sshd(more: &str) -> (TestHost, Sshd) {
    let host = TestHost::start().await;
    let made = host.client.post("/global/keypairs", &json!({ "name": "deploy", "generate": true })).await;
    let sshd = Sshd::start(made.body["public_key"].as_str().unwrap(), more).await;
    create(&host, "web1", &sshd, json!({})).await;
    (host, sshd)
}

async fn create(host: &TestHost, name: &str, sshd: &Sshd, more: Value) {
    let mut connection = json!({ "host": "127.0.0.1", "port": sshd.port, "user": sshd.user, "keypair": "deploy" });
    connection.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let new = json!({ "name": name, "environment": "test", "driver": "ssh", "connection": connection });
    let created = host.client.post("/server", &new).await;
    assert_eq!(created.status, 201, "{created}");
}

async fn send(host: &TestHost, server: &str, body: &Value) -> String {
    let reply = host.client.post(&format!("/server/{server}/command"), body).await;
    assert_eq!(reply.status, 202, "{reply}");
    reply.body["job_id"].as_str().unwrap().to_owned()
}

async fn run_on(host: &TestHost, server: &str, body: &Value) -> Value {
    let job = host.ended_job(&send(host, server, body).await).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    job["result"][server].clone()
}

async fn run(host: &TestHost, body: &Value) -> Value {
    run_on(host, "web1", body).await
}

#[tokio::test]
async fn a_command_runs_by_ssh_and_its_outcomes_are_told_apart() {
    // One key is shown, and no other before it.
    let (host, sshd) = with_sshd("MaxAuthTries 2").await;
    let arguments = ["printf", "%s|", "it's", "$HOME `x` \"y\"", "a\nb", "", "*", "é", "--", "!"];
    let report = run(&host, &json!({ "command": arguments })).await;
    assert_eq!(
        (&report["outcome"], &report["stdout"]),
        (&json!("ok"), &json!("it's|$HOME `x` \"y\"|a\nb||*|é|--|!|")),
        "{report:#}"
    );
    // More than fits into one argument of a program.
    let long = "x".repeat(100_000);
    let report =
        run(&host, &json!({ "command": ["sh", "-c", "printf %s \"$@\" | wc -c", "sh", long, long, long] })).await;
    assert_eq!(report["stdout"].as_str().unwrap().trim(), "300000", "{report:#}");
    for (script, exit_code, signal) in [
        ("exit 3", 3, Value::Null),
        ("exit 255", 255, Value::Null),
        ("kill -9 $$", 137, json!(9)),
        ("no-such", 127, Value::Null),
    ] {
        let report = run(&host, &json!({ "script": script })).await;
        let expected = (&json!("failed"), &json!(exit_code), &signal);
        assert_eq!((&report["outcome"], &report["exit_code"], &report["signal"]), expected, "{script}: {report:#}");
    }
    let late = run(&host, &json!({ "script": "echo before; sleep 50 & sleep 51", "timeout": 1 })).await;
    assert_eq!((&late["timed_out"], &late["stdout"]), (&json!(true), &json!("before\n")), "{late:#}");
    // All of that was one connection.
    assert!(sshd.sessions().len() <= 2, "{:?}", sshd.sessions());
    assert!(sshd.home.join(".elita").exists());
}

#[tokio::test]
async fn a_host_key_is_kept_at_the_first_contact_and_then_required() {
    let (host, mut sshd) = with_sshd("").await;
    assert_eq!(run(&host, &json!({ "command": ["true"] })).await["outcome"], "ok");
    sshd.change_host_key().await;
    let refused = run(&host, &json!({ "script": "touch ~/ran" })).await;
    assert_eq!(refused["outcome"], "no-response", "{refused:#}");
    assert!(refused["message"].as_str().unwrap().contains("another key"), "{refused:#}");
    assert!(!sshd.home.join("ran").exists());
    let new_key = std::fs::read_to_string(sshd.host_key_file()).unwrap();
    let (kind_and_key, _) = new_key.trim().rsplit_once(' ').unwrap();
    let changed = host.client.patch("/server/web1", &json!({ "connection": { "host_key": kind_and_key } })).await;
    assert_eq!(changed.status, 200, "{changed}");
    assert_eq!(run(&host, &json!({ "command": ["true"] })).await["outcome"], "ok");
}

#[tokio::test]
async fn twenty_first_contacts_at_once_lose_nothing() {
    let (host, _sshd) = with_sshd("MaxStartups 5:30:20").await;
    let (client, body) = (&host.client, json!({ "command": ["echo", "x"] }));
    let sent = (0..20).map(|_| client.post("/server/web1/command", &body));
    let ids: Vec<String> = futures_util::future::join_all(sent)
        .await
        .iter()
        .map(|reply| reply.body["job_id"].as_str().unwrap().to_owned())
        .collect();
    for id in ids {
        let job = host.ended_job(&id).await;
        assert_eq!(job["result"]["web1"]["stdout"], "x\n", "{job:#}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_no_response() {
    let (host, mut sshd) = with_sshd("").await;
    sshd.stop();
    let refused = run(&host, &json!({ "command": ["true"] })).await;
    assert_eq!(refused["outcome"], "no-response", "{refused:#}");
    // One that accepts and drips lines.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = silent.accept().await.unwrap();
            tokio::spawn(async move {
                while connection.write_all(b"hello\r\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            });
        }
    });
    let moved = host.client.patch("/server/web1", &json!({ "connection": { "port": port } })).await;
    assert_eq!(moved.status, 200, "{moved}");
    let began = Instant::now();
    let silent = run(&host, &json!({ "command": ["true"], "timeout": 5 })).await;
    assert_eq!(silent["outcome"], "no-response", "{silent:#}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_connection_that_is_cut_in_mid_command_loses_nothing() {
    let (host, sshd) = with_sshd("").await;
    let id = send(&host, "web1", &json!({ "script": "echo x >> ~/runs; sleep 3; echo done" })).await;
    let runs = sshd.home.join("runs");
    eventually("the command to begin", async || runs.exists().then_some(())).await;
    for session in sshd.sessions() {
        let _ = kill_process(Pid::from_raw(session.cast_signed()).unwrap(), Signal::KILL);
    }
    let job = host.ended_job(&id).await;
    let report = &job["result"]["web1"];
    assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!("done\n")), "{job:#}");
    assert_eq!(std::fs::read_to_string(runs).unwrap(), "x\n", "it ran once");
}

#[tokio::test]
async fn a_connection_that_freezes_in_mid_command_is_given_up_and_loses_nothing() {
    let (host, sshd) = with_sshd("").await;
    let id = send(&host, "web1", &json!({ "script": "echo x >> ~/runs; sleep 3; echo done" })).await;
    let runs = sshd.home.join("runs");
    eventually("the command to begin", async || runs.exists().then_some(())).await;
    let frozen = sshd.sessions();
    let signal = |signal| {
        for session in &frozen {
            let _ = kill_process(Pid::from_raw(session.cast_signed()).unwrap(), signal);
        }
    };
    let began = Instant::now();
    signal(Signal::STOP);
    let job = host.ended_job(&id).await;
    signal(Signal::CONT);
    let report = &job["result"]["web1"];
    assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!("done\n")), "{job:#}");
    assert_eq!(std::fs::read_to_string(runs).unwrap(), "x\n", "it ran once");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_stays_away_after_the_start_is_unknown() {
    let (host, mut sshd) = with_sshd("").await;
    let id = send(&host, "web1", &json!({ "script": "touch ~/began; sleep 2", "timeout": 4 })).await;
    let began = sshd.home.join("began");
    eventually("the command to begin", async || began.exists().then_some(())).await;
    sshd.stop();
    let job = host.ended_job(&id).await;
    assert_eq!(job["result"]["web1"]["outcome"], "unknown", "{job:#}");
}

#[tokio::test]
async fn the_private_key_is_on_no_disk_and_a_keypair_in_use_stays() {
    let (host, _sshd) = with_sshd("").await;
    assert_eq!(run(&host, &json!({ "command": ["true"] })).await["outcome"], "ok");
    let refused = host.client.delete("/global/keypairs/deploy").await;
    assert_eq!(refused.status, 409, "{refused}");
    let unknown = host.client.patch("/server/web1", &json!({ "connection": { "keypair": "none" } })).await;
    assert_eq!(unknown.fault(), (422, "/connection/keypair"), "{unknown}");
}

#[tokio::test]
async fn arguments_arrive_as_they_are_whatever_the_login_shell_is() {
    let mut vectors = Vectors::new();
    let (host, mut sshd) = with_sshd("").await;
    let paths = ["/usr/bin", "/bin", "/usr/local/bin"];
    let shells = ["dash", "bash", "zsh", "fish", "tcsh", "busybox sh"];
    let there =
        |shell: &&&str| paths.iter().any(|path| Path::new(path).join(shell.split(' ').next().unwrap()).exists());
    for shell in shells.iter().filter(there) {
        // As sshd starts the login shell of an account.
        sshd.restart_with(&format!("ForceCommand exec {shell} -c \"$SSH_ORIGINAL_COMMAND\"")).await;
        for printed in vectors.some() {
            let report = run(&host, &json!({ "command": printed.command })).await;
            printed.assert_arrived(&report, &format!("{shell}, {vectors}"));
        }
        println!("{shell}: {vectors}");
    }
}

#[tokio::test]
async fn a_server_is_reached_through_another_one_and_each_shows_its_own_key() {
    let (host, gate) = with_sshd("").await;
    let key = host.client.get("/global/keypairs/deploy").await.body["public_key"].as_str().unwrap().to_owned();
    let mut inner = Sshd::start(&key, "").await;
    create(&host, "inner", &inner, json!({ "jump": "web1" })).await;
    let body = json!({ "script": "echo \"$SSH_CONNECTION\" > through; cat through" });
    let report = run_on(&host, "inner", &body).await;
    assert_eq!(report["outcome"], "ok", "{report:#}");
    assert!(report["stdout"].as_str().unwrap().trim().ends_with(&inner.port.to_string()), "{report:#}");
    assert!(inner.home.join("through").exists() && !gate.home.join("through").exists());
    // The other one has a connection, and nothing ran there.
    assert!(!gate.sessions().is_empty());

    // Both keys were kept: neither may change.
    inner.change_host_key().await;
    let refused = run_on(&host, "inner", &body).await;
    assert_eq!(refused["outcome"], "no-response", "{refused:#}");
    assert!(refused["message"].as_str().unwrap().contains("another key"), "{refused:#}");
    let used = host.client.delete("/server/web1").await;
    assert_eq!(used.status, 409, "{used}");

    let late = json!({ "script": "echo before; sleep 61 & sleep 61", "timeout": 1 });
    let other = Sshd::start(&key, "").await;
    create(&host, "other", &other, json!({ "jump": "web1" })).await;
    let late = run_on(&host, "other", &late).await;
    assert_eq!((&late["timed_out"], &late["stdout"]), (&json!(true), &json!("before\n")), "{late:#}");
}

#[tokio::test]
async fn servers_behind_one_gate_are_connected_to_at_once() {
    let (host, _gate) = with_sshd("MaxStartups 100\nMaxSessions 100").await;
    // All of 127.0.0.0/8 is this machine.
    let inner = Sshd::start(&authorized(&host).await, "ListenAddress 0.0.0.0\nMaxStartups 100").await;
    let names: Vec<String> = (0..12).map(|number| format!("behind-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        create(&host, name, &inner, json!({ "host": format!("127.0.1.{}", number + 1), "jump": "web1" })).await;
    }
    let body = json!({ "servers": names, "script": "echo there" });
    let reply = host.client.post("/server/command", &body).await;
    let job = host.ended_job(reply.body["job_id"].as_str().unwrap()).await;
    for name in &names {
        assert_eq!(job["result"][name]["outcome"], "ok", "{name}: {job:#}");
    }
}

#[tokio::test]
async fn commands_run_as_root_by_sudo_or_say_why_not() {
    let (host, sshd) = with_sshd("").await;
    let may = run(&host, &json!({ "script": "sudo -n true" })).await["outcome"] == "ok";
    drop(sshd);
    let other = Sshd::start(&authorized(&host).await, "").await;
    create(&host, "root1", &other, json!({ "sudo": true })).await;
    let report = run_on(&host, "root1", &json!({ "script": "id -u; echo $HOME" })).await;
    if may {
        assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!("0\n/root\n")), "{report:#}");
        let late = run_on(&host, "root1", &json!({ "script": "echo before; sleep 62 & sleep 62", "timeout": 1 })).await;
        assert_eq!((&late["timed_out"], &late["stdout"]), (&json!(true), &json!("before\n")), "{late:#}");
    } else {
        assert_eq!(report["outcome"], "no-response", "{report:#}");
        assert!(report["message"].as_str().unwrap().contains("sudo"), "{report:#}");
    }
}

#[tokio::test]
async fn a_host_that_is_killed_while_it_logs_in_leaves_no_agent_with_its_key() {
    let (host, _sshd) = with_sshd("").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let moved = host.client.patch("/server/web1", &json!({ "connection": { "port": port } })).await;
    assert_eq!(moved.status, 200, "{moved}");
    let stopped = host.stop().await;
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let place = directory.path().to_str().unwrap();
    let flags = stopped.all_flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let mut program = Program::serve_with(&[("TMPDIR", place)], &flags);
    let (_, client) = program.ready(&stopped.database.token).await;
    let accepted = client.post("/server/web1/command", &json!({ "command": ["true"] })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    let agents = || command_lines().filter(|line| line.contains("ssh-agent") && line.contains(place)).count();
    eventually("the log-in", async || (agents() > 0).then_some(())).await;
    program.signal(Signal::KILL);
    program.ended().await;
    eventually("the agent to end", async || (agents() == 0).then_some(())).await;
}

/// The command lines of all processes.
fn command_lines() -> impl Iterator<Item = String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|process| {
        let line = std::fs::read(process.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    })
}

async fn authorized(host: &TestHost) -> String {
    host.client.get("/global/keypairs/deploy").await.body["public_key"].as_str().unwrap().to_owned()
}

/// How many servers one sshd stands for, each with a connection of its own; `ELITA_SESSIONS=200` tries more.
const CONNECTIONS: usize = 24;

#[tokio::test]
async fn many_servers_are_connected_to_at_once_and_each_is_told_apart() {
    let count = std::env::var("ELITA_SESSIONS").ok().map_or(CONNECTIONS, |count| count.parse().unwrap());
    // All of 127.0.0.0/8 is this machine.
    let (host, sshd) = with_sshd("ListenAddress 0.0.0.0\nMaxStartups 10:30:100").await;
    let names: Vec<String> = (0..count).map(|number| format!("many-{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        let address = format!("127.0.{}.{}", number / 250, 2 + number % 250);
        create(&host, name, &sshd, json!({ "host": address })).await;
    }
    for round in ["first contact", "connections are there"] {
        let began = Instant::now();
        let body = json!({ "servers": names, "script": "echo ${SSH_CONNECTION% *}" });
        let reply = host.client.post("/server/command", &body).await;
        let job = host.ended_job(reply.body["job_id"].as_str().unwrap()).await;
        println!("{count} servers, {round}: {:?}, {} sessions", began.elapsed(), sshd.sessions().len());
        for (number, name) in names.iter().enumerate() {
            let report = &job["result"][name];
            assert_eq!(report["outcome"], "ok", "{name}: {report:#}");
            let address = format!(" 127.0.{}.{}\n", number / 250, 2 + number % 250);
            assert!(report["stdout"].as_str().unwrap().ends_with(&address), "{name}: {report:#}");
        }
    }
}
