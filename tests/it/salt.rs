//! Commands by Salt, on a real master with two minions and its salt-api.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::commits::{committed, upload, with_gitdeploy};
use crate::fidelity::Vectors;
use crate::harness::{Reply, Salt, Setup, SharedSalt, TestHost, create_minion, eventually};

/// A host with the servers `m1` and `m2`, which are the minions of the Salt of all tests.
async fn with_salt() -> (TestHost, SharedSalt) {
    let shared = Salt::shared().await;
    (with_minions(shared.salt.settings(Setup::default())).await, shared)
}

async fn with_minions(setup: Setup) -> TestHost {
    let host = setup.start().await;
    for minion in ["m1", "m2"] {
        create_minion(&host, minion).await;
    }
    host
}

fn job_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 202, "{reply}");
    reply.body["job_id"].as_str().unwrap().to_owned()
}

async fn send(host: &TestHost, server: &str, body: &Value) -> String {
    job_of(&host.client.post(&format!("/server/{server}/command"), body).await)
}

/// Runs a command on the first minion, and returns its report.
async fn run(host: &TestHost, body: &Value) -> Value {
    let job = host.ended_job(&send(host, "m1", body).await).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    job["result"]["m1"].clone()
}

/// Whether a process has this among its arguments.
fn is_running(mark: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok())
        .any(|line| line.split('\0').any(|argument| argument == mark))
}

#[tokio::test]
async fn a_command_runs_by_salt_and_its_outcomes_are_told_apart() {
    let (host, _salt) = with_salt().await;
    let arguments =
        ["printf", "%s|", "it's", "$HOME `x` \"y\"", "a\nb", "", "*", "é", "--", "!", "a=b", "1:30", "{a: b}"];
    let report = run(&host, &json!({ "command": arguments })).await;
    let expected = "it's|$HOME `x` \"y\"|a\nb||*|é|--|!|a=b|1:30|{a: b}|";
    assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!(expected)), "{report:#}");
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
    // What Salt's own client says of a minion that is silent is output like any other.
    let sentence = "Minion did not return. [No response]";
    let report = run(&host, &json!({ "command": ["echo", sentence] })).await;
    assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!(format!("{sentence}\n"))), "{report:#}");
    let report = run(&host, &json!({ "script": "printf 'a\\377b\\000c \\n\\n'; printf 'x\\\\ny'" })).await;
    assert_eq!(report["stdout"], "a\u{fffd}b\u{0}c \n\nx\\ny", "{report:#}");
}

#[tokio::test]
async fn several_minions_get_a_command_by_one_job_of_salt_and_have_a_report_each() {
    let (host, shared) = with_salt().await;
    create_minion(&host, "ghost").await;
    let mark = format!("{}-several", std::process::id());
    let body =
        json!({ "servers": ["m1", "ghost", "m2"], "command": ["sh", "-c", "cd; pwd; exit $1", "sh", "0", mark] });
    let job = host.ended_job(&job_of(&host.client.post("/server/command", &body).await)).await;
    let outcome = |name: &str| job["result"][name]["outcome"].as_str().unwrap().to_owned();
    assert_eq!(["m1", "ghost", "m2"].map(outcome), ["ok", "no-response", "ok"], "{job:#}");
    for minion in ["m1", "m2"] {
        let home = shared.salt.home(minion).display().to_string();
        assert_eq!(job["result"][minion]["stdout"], format!("{home}\n"), "{job:#}");
    }
    let why = job["result"]["ghost"]["message"].as_str().unwrap();
    assert!(why.contains("no key of a minion `ghost`"), "{why}");
    let told = job["job_data"].as_array().unwrap().iter().filter(|entry| entry["data"]["driver"] == "salt").count();
    assert_eq!(told, 3, "{job:#}");
    assert_eq!(jobs_with(&shared, &mark).await, 1, "it was one job of Salt");
}

/// How many jobs of the master's cache have this text in what they were asked.
async fn jobs_with(shared: &SharedSalt, mark: &str) -> usize {
    let listing = json!({ "client": "runner", "fun": "jobs.list_jobs" });
    let token = shared.salt.log_in().await.unwrap();
    let listed = shared.salt.ask(&token, &listing).await.unwrap();
    listed.as_object().unwrap().values().filter(|job| job.to_string().contains(mark)).count()
}

#[tokio::test]
async fn a_deadline_ends_all_that_a_command_has_started_on_the_minion() {
    let (host, _salt) = with_salt().await;
    let mark = format!("{}", 3_000_000 + std::process::id());
    let body = json!({ "script": format!("echo before; sleep {mark} & sleep {mark}"), "timeout": 2 });
    let late = run(&host, &body).await;
    let expected = (&json!("failed"), &json!(true), &json!("before\n"));
    assert_eq!((&late["outcome"], &late["timed_out"], &late["stdout"]), expected, "{late:#}");
    assert!(!is_running(&mark), "something is left running");
    let flood = run(&host, &json!({ "command": ["yes", "0123456789"], "timeout": 2 })).await;
    assert_eq!((&flood["outcome"], &flood["truncated"]), (&json!("failed"), &json!(true)), "{flood:#}");
    assert_eq!(flood["stdout"].as_str().unwrap().len(), 64 * 1024);
}

#[tokio::test]
async fn a_command_that_is_stopped_ends_on_its_minion() {
    let (host, _salt) = with_salt().await;
    let mark = format!("{}", 4_000_000 + std::process::id());
    let id = send(&host, "m1", &json!({ "command": ["sleep", mark] })).await;
    eventually("the command to run", async || is_running(&mark).then_some(())).await;
    assert_eq!(host.client.post_empty(&format!("/job/{id}?cancel=true")).await.status, 202);
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "cancelled", "{job:#}");
    eventually("the command to end", async || (!is_running(&mark)).then_some(())).await;
}

#[tokio::test]
async fn a_host_that_is_killed_in_mid_command_finds_the_job_of_salt_and_runs_nothing_twice() {
    let (host, shared) = with_salt().await;
    let stopped = host.stop().await;
    let mark = format!("{}-killed", std::process::id());
    let runs = |minion: &str| shared.salt.home(minion).join(format!("runs-{mark}"));
    let mut ids = Vec::new();
    // Before it began, while it runs, and after its end.
    for (after, sleep) in [(0, 2), (1500, 3), (3000, 1)] {
        let mut doomed = stopped.start_program();
        let (_, client) = doomed.ready(&stopped.database.token).await;
        let script = format!("echo x >> ~/runs-{mark}; sleep {sleep}; echo done");
        let body = json!({ "servers": ["m1", "m2"], "script": script });
        ids.push(job_of(&client.post("/server/command", &body).await));
        tokio::time::sleep(Duration::from_millis(after)).await;
        doomed.signal(Signal::KILL);
        let (_, log) = doomed.ended().await;
        assert!(!log.contains("elita-test-secret"), "{log}");
    }
    let host = stopped.start().await;
    for id in &ids {
        let job = host.ended_job(id).await;
        for minion in ["m1", "m2"] {
            let report = &job["result"][minion];
            assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!("done\n")), "{job:#}");
        }
    }
    for minion in ["m1", "m2"] {
        assert_eq!(std::fs::read_to_string(runs(minion)).unwrap(), "x\n".repeat(ids.len()), "each ran once");
        // Each is forgotten, whichever of the hosts came so far: it was told so before its job ended.
        eventually("the minion to forget", async || {
            let kept = std::fs::read_dir(shared.salt.home(minion).join(".elita/commands")).unwrap();
            let kept = kept.filter(|entry| {
                let script = entry.as_ref().unwrap().path().join("script");
                std::fs::read_to_string(script).is_ok_and(|script| script.contains(&mark))
            });
            (kept.count() == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn salt_api_may_start_anew_in_mid_command() {
    let alone = Salt::alone().await;
    let host = with_minions(alone.salt.settings(Setup::default())).await;
    let mark = format!("{}-restart", std::process::id());
    let runs = alone.salt.home("m1").join(format!("runs-{mark}"));
    let id = send(&host, "m1", &json!({ "script": format!("echo x >> ~/runs-{mark}; sleep 4; echo done") })).await;
    eventually("the command to begin", async || runs.exists().then_some(())).await;
    alone.salt.stop_program("salt-api");
    alone.salt.start_program("salt-api");
    let job = host.ended_job(&id).await;
    let report = &job["result"]["m1"];
    assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!("done\n")), "{job:#}");
    assert_eq!(std::fs::read_to_string(runs).unwrap(), "x\n", "it ran once");
    // Its tokens are gone, and the next command does not notice.
    assert_eq!(run(&host, &json!({ "command": ["true"] })).await["outcome"], "ok");
    alone.salt.is_back().await;
}

#[tokio::test]
async fn a_minion_that_is_gone_is_no_response_and_one_that_goes_in_mid_command_is_unknown() {
    let alone = Salt::alone().await;
    let host = with_minions(alone.salt.settings(Setup::default())).await;
    let mark = format!("{}", 5_000_000 + std::process::id());
    let id = send(&host, "m2", &json!({ "command": ["sleep", mark], "timeout": 600 })).await;
    eventually("the command to run", async || is_running(&mark).then_some(())).await;
    // Until it has told that the job runs.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let began = Instant::now();
    alone.salt.stop_program("m2");
    let gone = send(&host, "m2", &json!({ "command": ["true"] })).await;
    let job = ended(&host, &gone).await;
    assert_eq!(job["result"]["m2"]["outcome"], "no-response", "{job:#}");
    let job = ended(&host, &id).await;
    assert_eq!(job["result"]["m2"]["outcome"], "unknown", "{job:#}");
    assert!(began.elapsed() < Duration::from_secs(150), "{:?}", began.elapsed());
    alone.salt.start_program("m2");
    alone.salt.is_back().await;
    // What was sent to the one that was gone is not caught up on.
    let again = host.ended_job(&send(&host, "m2", &json!({ "command": ["echo", "back"] })).await).await;
    assert_eq!(again["result"]["m2"]["stdout"], "back\n", "{again:#}");
    for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let line = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        if line == format!("sleep\0{mark}\0") {
            let pid = process.file_name().to_string_lossy().parse().unwrap();
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
    }
}

/// A job that may take as long as a minion is waited for.
async fn ended(host: &TestHost, id: &str) -> Value {
    loop {
        let job = host.client.get(&format!("/job/{id}?results=true")).await.body;
        if job["status"] != "running" && job["status"] != "queued" {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn what_salt_cannot_carry_is_refused_before_anything_runs() {
    let (host, _salt) = with_salt().await;
    let argument = "x".repeat(120_000);
    let long = host.client.post("/server/m1/command", &json!({ "command": vec![argument; 5] })).await;
    assert_eq!(long.fault(), (422, "/command"), "{long}");
    assert!(long.body["detail"].as_str().unwrap().contains("at most 524288"), "{long}");
    let carried = "é'\\".repeat(20_000);
    let report = run(&host, &json!({ "command": ["sh", "-c", "printf %s \"$1\" | wc -c", "sh", carried] })).await;
    assert_eq!(report["stdout"], "80000\n", "{report:#}");
}

#[tokio::test]
async fn servers_of_the_driver_salt_need_a_salt_api() {
    let host = TestHost::start().await;
    create_minion(&host, "m1").await;
    let refused = host.client.post("/server/m1/command", &json!({ "command": ["true"] })).await;
    assert_eq!(refused.status, 422, "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("--salt-url"), "{refused}");
}

/// How many commands are on their way at a time.
const AT_A_TIME: usize = 8;

#[tokio::test]
async fn arguments_arrive_as_they_are_by_salt() {
    let mut vectors = Vectors::new();
    let (host, _salt) = with_salt().await;
    let all = vectors.some();
    for some in all.chunks(AT_A_TIME) {
        let tried = some.iter().map(async |printed| {
            let report = run(&host, &json!({ "command": printed.command })).await;
            printed.assert_arrived(&report, &vectors.to_string());
        });
        futures_util::future::join_all(tried).await;
    }
    println!("salt: {vectors}");
}

/// A host with a plugin that may call some functions of Salt, on `m1` and `m2` and on a server of another driver.
async fn with_plugin(grants: &str) -> (TestHost, SharedSalt) {
    let shared = Salt::shared().await;
    let setup = Setup::default().switch("--local-servers").plugins(&["on-servers"]).granting("on-servers", grants);
    let host = with_minions(shared.salt.settings(setup)).await;
    host.create_application("commands").await;
    let new = json!({ "name": "web1", "environment": "test", "driver": "local" });
    assert_eq!(host.client.post("/server", &new).await.status, 201);
    (host, shared)
}

/// What a function that the plugin called answered.
async fn called(host: &TestHost, call: Value) -> Value {
    let reply = host.client.post("/app/commands/actions/Do", &json!({ "call": call.to_string() })).await;
    let job = host.ended_job(&job_of(&reply)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    job["result"].clone()
}

#[tokio::test]
async fn a_plugin_calls_the_functions_of_salt_that_it_is_granted() {
    let grants = "servers = ['m*', 'web*']\ninterfaces = ['salt']\nsalt-functions = ['test.*', 'publish.*']";
    let (host, _salt) = with_plugin(grants).await;
    let both = json!(["m1", "m2"]);
    let salt = |function: &str, arguments: Value, named: Value| json!([function, arguments, named]);
    let pinged = called(
        &host,
        json!({ "function": "salt-command", "servers": both, "salt": salt("test.ping", json!([]), json!([])) }),
    );
    let pinged = pinged.await;
    for (index, minion) in ["m1", "m2"].iter().enumerate() {
        let expected = (&json!(minion), &json!("ok"), &json!(true), &json!(0));
        let answer = &pinged[index];
        assert_eq!(
            (&answer["server"], &answer["outcome"], &answer["value"], &answer["retcode"]),
            expected,
            "{pinged:#}"
        );
    }
    // Arguments arrive as they are: the text with a name even where it looks like something else.
    let echo = salt("test.arg", json!(["web", 7, { "a": [null, "x=y"] }]), json!([["text", "a=b: {c}\n#"]]));
    let echoed = called(&host, json!({ "function": "salt-command", "servers": ["m1"], "salt": echo })).await;
    let value = &echoed[0]["value"];
    assert_eq!(value["args"], json!(["web", 7, { "a": [null, "x=y"] }]), "{echoed:#}");
    assert_eq!(value["kwargs"]["text"], "a=b: {c}\n#", "{echoed:#}");
    let failed = called(
        &host,
        json!({ "function": "salt-command", "servers": ["m1"],
        "salt": salt("test.exception", json!(["no such luck"]), json!([])) }),
    )
    .await;
    assert_eq!(failed[0]["outcome"], "failed", "{failed:#}");
    let slow = salt("test.sleep", json!([40]), json!([]));
    let began = Instant::now();
    let late =
        called(&host, json!({ "function": "salt-command", "servers": ["m1"], "salt": slow, "timeout": 3 })).await;
    assert_eq!((&late[0]["outcome"], &late[0]["timed_out"]), (&json!("failed"), &json!(true)), "{late:#}");
    assert!(began.elapsed() < Duration::from_secs(35), "{:?}", began.elapsed());

    for (servers, salt, code) in [
        (json!(["m1"]), salt("cmd.run", json!(["id"]), json!([])), "Denied"),
        (json!(["m1"]), salt("state.sls", json!(["fine"]), json!([])), "Denied"),
        (json!(["m1"]), salt("publish.publish", json!(["m2", "test.ping"]), json!([])), "Invalid"),
        (json!(["m1"]), salt("test.arg", json!(["a=b"]), json!([])), "Invalid"),
        (json!(["web1"]), salt("test.ping", json!([]), json!([])), "Invalid"),
        (json!(["*"]), salt("test.ping", json!([]), json!([])), "Invalid"),
        (json!(["db1"]), salt("test.ping", json!([]), json!([])), "Denied"),
    ] {
        let refused = called(&host, json!({ "function": "salt-command", "servers": servers, "salt": salt })).await;
        assert_eq!(refused["error"]["code"], code, "{servers} {salt}: {refused:#}");
    }
    let refused = called(&host, json!({ "function": "run-sls", "servers": ["m1"], "sls": "fine" })).await;
    assert_eq!(refused["error"]["code"], "Denied", "{refused:#}");
    // The one interface is not the other.
    let refused = called(&host, json!({ "function": "run", "servers": ["m1"], "command": ["id"] })).await;
    assert_eq!(refused["error"]["code"], "Denied", "{refused:#}");
    let audit = host.client.get("/global/audit?operation=salt.salt-command").await;
    assert!(audit.body["items"].as_array().unwrap().len() >= 4, "{audit}");
}

#[tokio::test]
async fn test_ping_is_all_that_a_plugin_may_call_unless_it_is_told() {
    let (host, _salt) = with_plugin("servers = ['m*']\ninterfaces = ['salt']").await;
    let ping = json!({ "function": "salt-command", "servers": ["m1"], "salt": ["test.ping", [], []] });
    assert_eq!(called(&host, ping).await[0]["value"], true);
    let other = json!({ "function": "salt-command", "servers": ["m1"], "salt": ["test.version", [], []] });
    let refused = called(&host, other).await;
    let why = refused["error"]["message"].as_str().unwrap();
    assert!(refused["error"]["code"] == "Denied" && why.contains("salt-functions"), "{refused:#}");
}

#[tokio::test]
async fn states_are_applied_before_a_pull_and_end_it_where_they_fail() {
    let shared = Salt::shared().await;
    let host = with_gitdeploy(shared.salt.settings(Setup::default()), &json!({})).await;
    create_minion(&host, "m1").await;
    upload(&host, "1", &[("a", "1")]).await;
    committed(&host, "1").await;
    let mut database = host.database.connect().await;
    let initialized = "insert into gitdeploy_servers (application, gitdeploy, server) values ('shop', 'web', 'm1')";
    sqlx::query(initialized).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
    for (states, code) in [("bad", "prepull"), ("fine", "missing")] {
        let actions = json!({ "actions": { "prepull": [{ "sls": states }] } });
        assert_eq!(host.client.patch("/app/shop/gitdeploys/web", &actions).await.status, 200);
        let job = crate::working_copies::on(&host, "pull", &["m1"]).await;
        assert_eq!(job["error"]["details"]["servers"]["m1"]["code"], code, "{job:#}");
        assert!(job["job_data"].to_string().contains(&format!("state.sls {states}")), "{job:#}");
    }
}

#[tokio::test]
async fn states_run_one_after_the_other_on_a_minion() {
    let grants = "servers = ['m*']\ninterfaces = ['salt']\nsalt-functions = ['state.sls', 'state.highstate']";
    let (host, _salt) = with_plugin(grants).await;
    let slow = json!({ "function": "run-sls", "servers": ["m1", "m2"], "sls": "slow", "timeout": 120 });
    let (first, second) = tokio::join!(called(&host, slow.clone()), called(&host, slow));
    for returned in [&first, &second] {
        for answer in returned.as_array().unwrap() {
            assert_eq!((&answer["outcome"], &answer["retcode"]), (&json!("ok"), &json!(0)), "{returned:#}");
        }
    }
    let bad = json!({ "function": "run-sls", "servers": ["m1"], "sls": "bad", "timeout": 120 });
    let bad = called(&host, bad).await;
    assert_eq!((&bad[0]["outcome"], &bad[0]["retcode"]), (&json!("failed"), &json!(2)), "{bad:#}");
    let all = called(&host, json!({ "function": "highstate", "servers": ["m1"], "timeout": 120 })).await;
    assert_eq!(all[0]["outcome"], "ok", "{all:#}");
    assert!(all[0]["value"].as_object().is_some_and(|states| !states.is_empty()), "{all:#}");
}
