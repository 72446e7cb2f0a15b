//! Commands on servers, by the driver `local`: what is asked for, what comes of it, and who may.

use std::time::{Duration, Instant};

use insta::assert_json_snapshot;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Reply, Setup, TestHost, eventually};

pub(crate) async fn with_servers(names: &[&str]) -> TestHost {
    let host = Setup::default().switch("--local-servers").start().await;
    for name in names {
        create(&host, name).await;
    }
    host
}

async fn create(host: &TestHost, name: &str) {
    let new = json!({ "name": name, "environment": "test", "driver": "local" });
    let created = host.client.post("/server", &new).await;
    assert_eq!(created.status, 201, "{created}");
}

async fn send(host: &TestHost, server: &str, body: &Value) -> String {
    job_of(&host.client.post(&format!("/server/{server}/command"), body).await)
}

fn job_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 202, "{reply}");
    assert_eq!(reply.header("location"), format!("/job/{}", reply.body["job_id"].as_str().unwrap()));
    reply.body["job_id"].as_str().unwrap().to_owned()
}

/// Runs a command on one server, and returns its report.
async fn run(host: &TestHost, body: &Value) -> Value {
    let job = host.ended_job(&send(host, "web1", body).await).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    job["result"]["web1"].clone()
}

async fn sh(host: &TestHost, script: &str, timeout: u32) -> Value {
    run(host, &json!({ "script": script, "timeout": timeout })).await
}

#[tokio::test]
async fn a_command_runs_as_a_job_and_its_report_is_the_result() {
    let host = with_servers(&["web1"]).await;
    let body = json!({ "command": ["sh", "-c", "echo \"$1\"; echo careful >&2; exit 3", "sh", "it's $HOME; `x`\n*"] });
    let job = host.ended_job(&send(&host, "web1", &body).await).await;
    assert_eq!(
        (&job["status"], &job["job_type"], &job["name"]),
        (&json!("succeeded"), &json!("server"), &json!("command"))
    );
    assert_eq!(job["application"], Value::Null, "{job:#}");
    assert_json_snapshot!(job["result"], { ".web1.duration_in_seconds" => "[seconds]" }, @r#"
    {
      "web1": {
        "outcome": "failed",
        "exit_code": 3,
        "signal": null,
        "timed_out": false,
        "stdout": "it's $HOME; `x`\n*\n",
        "stderr": "careful\n",
        "truncated": false,
        "message": null,
        "duration_in_seconds": "[seconds]"
      }
    }
    "#);
    let entries = job["job_data"].as_array().unwrap();
    let ended = entries.iter().find(|entry| entry["data"]["status"] == "failed").unwrap_or_else(|| panic!("{job:#}"));
    assert_eq!((&ended["data"]["server"], &ended["data"]["exit_code"]), (&json!("web1"), &json!(3)), "{job:#}");

    let steps = host.client.get(&format!("/job/{}?steps=true", job["job_id"].as_str().unwrap())).await;
    let steps = steps.body["steps"].as_array().unwrap();
    let steps: Vec<_> =
        steps.iter().map(|step| (step["name"].as_str().unwrap(), step["kind"].as_str().unwrap())).collect();
    assert_eq!(steps, [("look up servers", "repeatable"), ("command web1", "inspected")]);
}

#[tokio::test]
async fn several_servers_have_a_report_each() {
    let host = with_servers(&["web1", "web2", "db"]).await;
    let script = r#"case $HOME in */db) exit 1;; esac; pwd"#;
    let body = json!({ "servers": ["web1", "web2", "db"], "script": script, "shell": "sh" });
    let job = host.ended_job(&job_of(&host.client.post("/server/command", &body).await)).await;
    let outcomes: Vec<_> =
        ["web1", "web2", "db"].iter().map(|name| job["result"][name]["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["ok", "ok", "failed"], "{job:#}");
    assert!(job["result"]["web2"]["stdout"].as_str().unwrap().trim_end().ends_with("/servers/web2"), "{job:#}");
}

#[tokio::test]
async fn a_command_runs_where_it_is_asked_to_and_sees_no_environment_of_the_host() {
    let host = with_servers(&["web1"]).await;
    assert_eq!(run(&host, &json!({ "command": ["mkdir", "-p", "srv/app"] })).await["outcome"], "ok");
    let there = run(&host, &json!({ "command": ["pwd"], "cwd": "/srv/app" })).await;
    assert!(there["stdout"].as_str().unwrap().trim_end().ends_with("/servers/web1/srv/app"), "{there:#}");
    assert_eq!(run(&host, &json!({ "command": ["pwd"], "cwd": "~/srv/app" })).await["stdout"], there["stdout"]);
    let missing = run(&host, &json!({ "command": ["pwd"], "cwd": "/nowhere" })).await;
    assert_eq!((&missing["outcome"], &missing["exit_code"]), (&json!("failed"), &json!(1)), "{missing:#}");
    let environment = run(&host, &json!({ "command": ["env"] })).await;
    let names: Vec<_> =
        environment["stdout"].as_str().unwrap().lines().filter_map(|line| line.split('=').next()).collect();
    assert!(
        names.iter().all(|name| ["PATH", "HOME", "USER", "LANG", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)),
        "{names:?}"
    );
    if rustix::process::geteuid().is_root() {
        assert_ne!(
            run(&host, &json!({ "command": ["id", "-u"] })).await["stdout"],
            "0\n",
            "commands do not run as root"
        );
    }
}

#[tokio::test]
async fn what_a_command_makes_can_be_read_by_whom_its_users_umask_lets_read_it() {
    let host = with_servers(&["web1"]).await;
    let here = std::process::Command::new("/bin/sh").args(["-c", "umask"]).output().unwrap().stdout;
    let here = String::from_utf8(here).unwrap();
    for body in [json!({ "command": ["sh", "-c", "umask"] }), json!({ "script": "umask" })] {
        assert_eq!(run(&host, &body).await["stdout"], here, "{body}");
    }
    // What Elita keeps there is for nobody else.
    let kept = run(&host, &json!({ "script": "find ~/.elita/commands ! -type l -exec stat -c '%A %n' {} +" })).await;
    let kept = kept["stdout"].as_str().unwrap();
    assert!(kept.lines().all(|file| file[4..].starts_with("------")) && kept.contains("script"), "{kept}");
}

#[tokio::test]
async fn a_deadline_ends_all_that_a_command_has_started_and_keeps_its_output() {
    let host = with_servers(&["web1"]).await;
    let mark = format!("{}", 1_000_000 + std::process::id());
    let began = Instant::now();
    let late = sh(&host, &format!("echo before; sleep {mark} & sleep {mark}"), 1).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(
        (&late["outcome"], &late["timed_out"], &late["stdout"]),
        (&json!("failed"), &json!(true), &json!("before\n")),
        "{late:#}"
    );
    assert_eq!(late["message"], "it was ended at its deadline of 1 s, with all that it had started");
    assert!(!is_running(&mark), "something is left running");

    let stubborn = sh(&host, &format!("trap '' TERM; sleep {mark} & while :; do sleep {mark}; done"), 1).await;
    assert_eq!((&stubborn["timed_out"], &stubborn["signal"]), (&json!(true), &json!(9)), "{stubborn:#}");
    assert!(!is_running(&mark), "something is left running");
}

/// Whether a process has this among its arguments.
fn is_running(mark: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok())
        .any(|line| line.split('\0').any(|argument| argument == mark))
}

#[tokio::test]
async fn endless_output_is_cut_and_costs_no_memory() {
    let host = with_servers(&["web1"]).await;
    let flood = run(&host, &json!({ "command": ["yes", "0123456789"], "timeout": 2 })).await;
    assert_eq!((&flood["outcome"], &flood["truncated"]), (&json!("failed"), &json!(true)), "{flood:#}");
    assert_eq!(flood["stdout"].as_str().unwrap().len(), 64 * 1024);
    let binary = sh(&host, r"printf 'a\377b\000c\n\n'", 5).await;
    assert_eq!(binary["stdout"], "a\u{fffd}b\u{0}c\n\n", "{binary:#}");
}

#[tokio::test]
async fn what_ends_badly_is_told_apart() {
    let host = with_servers(&["web1"]).await;
    for (body, exit_code, signal) in [
        (json!({ "command": ["sh", "-c", "exit 255"] }), 255, Value::Null),
        (json!({ "command": ["sh", "-c", "kill -9 $$"] }), 137, json!(9)),
        (json!({ "command": ["no-such-program"] }), 127, Value::Null),
    ] {
        let report = run(&host, &body).await;
        assert_eq!(
            (&report["outcome"], &report["exit_code"], &report["signal"]),
            (&json!("failed"), &json!(exit_code), &signal),
            "{report:#}"
        );
    }
    // What a command leaves behind does not hold it up.
    let began = Instant::now();
    let report = sh(&host, "echo started; sleep 30 &", 20).await;
    assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!("started\n")), "{report:#}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn what_no_server_can_be_asked_for_is_refused_before_anything_runs() {
    let host = with_servers(&["web1"]).await;
    for (body, status) in [
        (json!({}), 400),
        (json!({ "command": [] }), 422),
        (json!({ "command": ["a\u{0}b"] }), 400),
        (json!({ "command": ["a"], "script": "b" }), 422),
        (json!({ "script": "a", "shell": "tcsh" }), 422),
        (json!({ "command": ["a"], "cwd": "srv" }), 422),
        (json!({ "command": ["a"], "cwd": "/srv/../etc" }), 422),
        (json!({ "command": ["a"], "timeout": 0 }), 422),
        (json!({ "command": ["a"], "timeout": 86401 }), 422),
        (json!({ "command": ["x".repeat(140_000)] }), 422),
        (json!({ "command": ["a"], "environment": {} }), 400),
    ] {
        let refused = host.client.post("/server/web1/command", &body).await;
        assert_eq!(refused.status, status, "{body:.200}: {refused}");
    }
    for name in ["*", "web?", "G@os:Linux", "-oProxyCommand=x"] {
        let refused = host.client.post("/server/command", &json!({ "servers": [name], "command": ["a"] })).await;
        assert_eq!(refused.status, 422, "{name}: {refused}");
    }
    for (servers, status) in [(json!([]), 422), (json!(["web1", "web1"]), 422), (json!(["web1", "web9"]), 404)] {
        let refused = host.client.post("/server/command", &json!({ "servers": servers, "command": ["a"] })).await;
        assert_eq!(refused.status, status, "{servers}: {refused}");
    }
    assert_eq!(host.client.get("/job?name=command").await.items("name"), [""; 0]);
}

#[tokio::test]
async fn servers_of_the_driver_local_are_off_unless_the_operator_says_otherwise() {
    let host = TestHost::start().await;
    create(&host, "web1").await;
    let refused = host.client.post("/server/web1/command", &json!({ "command": ["true"] })).await;
    assert_eq!(refused.status, 422, "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("--local-servers"), "{refused}");
}

/// Gives the guest these permissions and no others.
async fn permit(host: &TestHost, permissions: &Value) {
    let operation = json!([{ "op": "replace", "path": "/permissions", "value": permissions }]);
    let changed = host.client.patch_by("/global/users/guest", &operation).await;
    assert_eq!(changed.status, 200, "{changed}");
}

#[tokio::test]
async fn a_command_needs_its_own_permission_and_the_server_and_is_its_users_own() {
    let host = with_servers(&["web1", "db1"]).await;
    let servers = json!({ "servers": ["web*"] });
    let granted = json!({ "servers": ["web*"], "actions": { "_global": { "command": "execute" } } });
    let everything =
        json!({ "servers": ["web*"], "actions": { "*": { "*": "execute" } }, "apps": { "*": "read/write" } });
    let body = json!({ "command": ["echo", "hello"] });
    let guest = host.guest(&granted).await;
    for permissions in [&servers, &everything] {
        permit(&host, permissions).await;
        let refused = guest.post("/server/web1/command", &body).await;
        assert_eq!(refused.status, 403, "{permissions}: {refused}");
    }
    permit(&host, &granted).await;
    assert_eq!(guest.post("/server/db1/command", &body).await.status, 403);
    let several = guest.post("/server/command", &json!({ "servers": ["web1", "db1"], "command": ["true"] })).await;
    assert_eq!(several.status, 403, "nothing runs where one is not granted");

    let id = job_of(&guest.post("/server/web1/command", &body).await);
    host.ended_job(&id).await;
    // It is the guest's, and the guest finds it; an administrator does, too.
    assert_eq!(guest.get(&format!("/job/{id}")).await.status, 200);
    assert_eq!(guest.get(&format!("/job/{id}/data")).await.status, 200);
    assert_eq!(guest.get("/job").await.items("job_id"), [&*id]);
    assert_eq!(guest.get("/job?type=server&status=succeeded").await.items("job_id"), [&*id]);
    let other = job_of(&host.client.post("/server/web1/command", &body).await);
    assert_eq!(guest.get(&format!("/job/{other}")).await.status, 404);
    assert_eq!(guest.get("/job").await.items("job_id"), [&*id]);
    assert_eq!(host.client.get("/job?name=command").await.items("job_id"), [&*other, &*id]);

    let audit = host.client.get("/global/audit?operation=servers.command&user=guest").await;
    let entry = &audit.body["items"][0];
    assert_eq!((&entry["name"], &entry["after"]["job_id"]), (&json!("web1"), &json!(id)), "{audit}");
    assert_eq!(entry["after"]["asked"]["command"], "echo hello", "{audit}");
}

#[tokio::test]
async fn what_looks_like_a_secret_is_in_no_log_and_no_audit() {
    let host = with_servers(&["web1"]).await;
    let body = json!({ "command": ["echo", "--password", "canary-1", "https://ada:canary-1@db/x"] });
    let id = send(&host, "web1", &body).await;
    host.ended_job(&id).await;
    let entries = host.client.get(&format!("/job/{id}/data")).await.body;
    let told = entries["items"].as_array().unwrap().iter().filter(|entry| entry["data"].get("command").is_some());
    let told = told.map(ToString::to_string).collect::<String>();
    let audit = host.client.get("/global/audit?operation=servers.command").await.body.to_string();
    assert!(told.contains("--password ***") && !told.contains("canary-1"), "{told}");
    assert!(audit.contains("--password ***") && !audit.contains("canary-1"), "{audit}");
}

#[tokio::test]
async fn the_same_key_runs_a_command_once() {
    let host = with_servers(&["web1"]).await;
    let post = async |command: &str| {
        let request =
            host.client.request(reqwest::Method::POST, "/server/web1/command").header("Idempotency-Key", "k1");
        host.client.send(request.json(&json!({ "script": command }))).await
    };
    let first = job_of(&post("echo x >> runs").await);
    host.ended_job(&first).await;
    assert_eq!(job_of(&post("echo x >> runs").await), first);
    assert_eq!(post("echo y >> runs").await.body["code"], "idempotency-key-reused");
    assert_eq!(sh(&host, "cat runs", 5).await["stdout"], "x\n");
}

#[tokio::test]
async fn a_command_that_is_stopped_ends_on_its_server() {
    let host = with_servers(&["web1", "web2"]).await;
    let mark = format!("{}", 2_000_000 + std::process::id());
    let body = json!({ "servers": ["web1", "web2"], "command": ["sleep", mark] });
    let id = job_of(&host.client.post("/server/command", &body).await);
    eventually("the command to run", async || is_running(&mark).then_some(())).await;
    assert_eq!(host.client.post_empty(&format!("/job/{id}?cancel=true")).await.status, 202);
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "cancelled", "{job:#}");
    eventually("the command to end", async || (!is_running(&mark)).then_some(())).await;
}

#[tokio::test]
async fn a_queued_command_of_a_token_that_has_ended_does_not_run() {
    let host = Setup::default().switch("--local-servers").flag("--role", "api").start().await;
    create(&host, "web1").await;
    let guest = host.guest(&json!({ "servers": ["web*"], "actions": { "_global": { "command": "execute" } } })).await;
    let id = job_of(&guest.post("/server/web1/command", &json!({ "command": ["true"] })).await);
    assert_eq!(guest.delete("/global/tokens/current").await.status, 204);
    let host = host.stop().await.with_flag("--role", "all").start().await;
    let job = host.ended_job(&id).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("not-allowed")), "{job:#}");
}

#[tokio::test]
async fn a_host_that_is_killed_in_mid_command_finds_out_what_became_of_it_and_runs_nothing_twice() {
    let stopped = with_servers(&["web1"]).await.stop().await;
    let mut doomed = stopped.start_program();
    let (_, client) = doomed.ready(&stopped.database.token).await;
    let script = "echo x >> runs; sleep 3; echo done";
    let reply = client.post("/server/web1/command", &json!({ "script": script })).await;
    let id = job_of(&reply);
    eventually("the command to begin", async || {
        let steps = client.get(&format!("/job/{id}?steps=true")).await.body["steps"].clone();
        let is_running = |step: &Value| step["name"] == "command web1" && step["state"] == "running";
        steps.as_array().is_some_and(|steps| steps.iter().any(is_running)).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    doomed.signal(Signal::KILL);
    doomed.ended().await;

    let host = stopped.start().await;
    let job = host.ended_job(&id).await;
    let report = &job["result"]["web1"];
    assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!("done\n")), "{job:#}");
    assert_eq!(sh(&host, "cat runs", 5).await["stdout"], "x\n", "it ran once");
    // Nothing is kept of it on the server for longer than needed.
    eventually("the server to forget", async || {
        let kept = sh(&host, "ls .elita/commands | grep -c lock", 5).await;
        // Its own.
        (kept["stdout"] == "1\n").then_some(())
    })
    .await;
}

/// How often a host is killed at a random moment; `ELITA_KILLS=50` tries more.
const KILLS: usize = 3;

#[tokio::test]
async fn a_host_that_is_killed_at_any_moment_runs_a_command_at_most_once_and_knows_what_became_of_it() {
    let seed: u64 = std::env::var("ELITA_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("ELITA_SEED={seed}");
    let kills = std::env::var("ELITA_KILLS").ok().map_or(KILLS, |kills| kills.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(seed);
    let mut stopped = with_servers(&["web1", "web2"]).await.stop().await;
    for kill in 0..kills {
        let mut doomed = stopped.start_program();
        let (_, client) = doomed.ready(&stopped.database.token).await;
        let script = format!("echo x >> runs-{kill}; sleep 0.3; echo done");
        let body = json!({ "servers": ["web1", "web2"], "script": script });
        let id = job_of(&client.post("/server/command", &body).await);
        let moment = Duration::from_millis(rng.random_range(0..900));
        tokio::time::sleep(moment).await;
        doomed.signal(Signal::KILL);
        doomed.ended().await;

        let host = stopped.start().await;
        let job = host.ended_job(&id).await;
        let about = format!("seed {seed}, killed after {moment:?}: {job:#}");
        assert_eq!(job["status"], "succeeded", "{about}");
        for server in ["web1", "web2"] {
            let report = &job["result"][server];
            assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!("done\n")), "{about}");
            let read = json!({ "command": ["cat", format!("runs-{kill}")] });
            let runs = host.ended_job(&send(&host, server, &read).await).await;
            assert_eq!(runs["result"][server]["stdout"], "x\n", "it runs once; {about}");
        }
        stopped = host.stop().await;
    }
}
