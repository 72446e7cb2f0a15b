//! What a plugin may use: for each limit a hostile plugin that passes it, and what its author is told.
//!
//! Each sin is committed beside a well-behaved job, which must not notice; see [`commit`].

use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::harness::{Database, Program, Setup, TestHost, component, eventually, plugin_file};
use crate::plugins::{active, hostile, put, start};

/// The part of a module that registers the action `Bomb` and calls `$run`.
pub(crate) const ONE_ACTION: &str = include_str!("../plugins/wat/one-action.wat");

#[tokio::test]
async fn a_plugin_that_computes_for_ever_is_stopped_at_its_processor_time() {
    let host = start(hostile().flag("--plugin-cpu-ms", 300)).await;
    let job = commit(&host, "Loop").await;
    insta::assert_snapshot!(why(&job), @"cpu-limit-exceeded: the plugin used more than 300 ms of processor time");
}

#[tokio::test]
async fn a_plugin_that_calls_the_host_for_ever_is_stopped_at_its_processor_time() {
    let host = start(hostile().flag("--plugin-cpu-ms", 300)).await;
    let job = commit(&host, "SleepBusy").await;
    insta::assert_snapshot!(why(&job), @"cpu-limit-exceeded: the plugin used more than 300 ms of processor time");
}

#[tokio::test]
async fn a_plugin_that_sleeps_for_ever_inside_a_host_call_is_stopped_at_its_time_limit() {
    let host = start(hostile().flag("--plugin-timeout-seconds", 1)).await;
    let job = commit(&host, "Sleep").await;
    insta::assert_snapshot!(why(&job), @"time-limit-exceeded: the plugin was stopped at its time limit of 1s");
}

#[tokio::test]
async fn no_run_is_longer_than_the_hosts_maximum() {
    let host = start(hostile().flag("--plugin-max-timeout-seconds", 1)).await;
    let job = commit(&host, "Sleep").await;
    insta::assert_snapshot!(why(&job), @"time-limit-exceeded: the plugin was stopped at its time limit of 1s");
}

#[tokio::test]
async fn a_host_call_that_is_not_done_in_time_is_answered_and_the_run_goes_on() {
    let setup = Setup::default().plugins(&["exercise-all"]).flag("--plugin-host-call-ms", 200);
    let host = setup.granting("exercise-all", "interfaces = ['git-providers']").start().await;
    host.create_application("exercise").await;
    let mut blocker = host.database.connect().await;
    blocker.execute("begin; lock table git_providers in access exclusive mode").await.unwrap();
    let id = host.post_action("exercise", "Everything", "").await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    insta::assert_json_snapshot!(job["result"]["git-providers.get"], @r#"
    {
      "error": {
        "code": "timed-out",
        "message": "git-providers.get did not answer within 200ms"
      }
    }
    "#);
}

#[tokio::test]
async fn more_runs_than_fit_wait_for_their_turn() {
    let host = start(hostile().flag("--plugin-runs", 1).flag("--plugin-timeout-seconds", 2)).await;
    let sleeping = host.post_action("hostile", "Sleep", "").await;
    host.running_job(&sleeping).await;
    let waiting = host.post_action("hostile", "Noop", "").await;
    assert_eq!(host.client.get(&format!("/job/{waiting}")).await.body["status"], "queued");
    assert_eq!(host.ended_job(&waiting).await["status"], "succeeded");
    assert_eq!(host.ended_job(&sleeping).await["status"], "failed");
}

#[tokio::test]
async fn a_plugin_that_takes_more_and_more_memory_is_stopped() {
    let host = start(hostile().flag("--plugin-memory-mib", 16)).await;
    let job = commit(&host, "MemoryBomb").await;
    insta::assert_snapshot!(why(&job), @"memory-limit-exceeded: the plugin needed more than 16 MiB of memory");
}

#[tokio::test]
async fn memory_is_summed_over_all_memories_of_a_plugin() {
    let host = start(hostile().flag("--plugin-memory-mib", 16)).await;
    put_bomb(&host, include_str!("../plugins/wat/many-memories.wat")).await;
    let job = commit(&host, "Bomb").await;
    insta::assert_snapshot!(why(&job), @"memory-limit-exceeded: the plugin needed more than 16 MiB of memory");
}

#[tokio::test]
async fn table_elements_are_summed_over_all_tables_of_a_plugin() {
    let host = start(hostile().flag("--plugin-table-elements", 2000)).await;
    put_bomb(&host, include_str!("../plugins/wat/many-tables.wat")).await;
    let job = commit(&host, "Bomb").await;
    insta::assert_snapshot!(why(&job), @"table-limit-exceeded: the plugin's tables needed more than 2000 elements");
}

#[tokio::test]
async fn a_plugin_that_has_all_the_parts_it_may_have_takes_none_from_others() {
    let setup = hostile().flag("--plugin-runs", 2).flag("--plugin-memories", 3).flag("--plugin-instances", 4);
    let host = start(setup).await;
    let parts = "(memory 1)".repeat(2) + &"(table 1 funcref)".repeat(4);
    put_bomb(&host, &format!("{parts} (func $run (loop $on (br $on)))")).await;
    let bomb = host.post_action("hostile", "Bomb", "").await;
    host.running_job(&bomb).await;
    let job = host.run_action("hostile", "Noop", "").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(host.client.get(&format!("/job/{bomb}")).await.body["status"], "running");
}

#[tokio::test]
async fn a_plugin_that_keeps_every_handle_is_stopped() {
    let host = start(hostile().flag("--plugin-handles", 50)).await;
    let job = commit(&host, "HandleFlood").await;
    insta::assert_snapshot!(why(&job), @"handle-limit-exceeded: the plugin had more than 50 handles open");
}

#[tokio::test]
async fn a_plugin_that_floods_the_servers_log_is_stopped() {
    let host = start(hostile().flag("--plugin-log-lines", 50).flag("--plugin-log-kib", 1_000_000_000)).await;
    let job = commit(&host, "LogFlood").await;
    insta::assert_snapshot!(why(&job), @"log-limit-exceeded: the plugin wrote more than 1000000000 KiB or 50 lines to the log, stdout and stderr");
}

#[tokio::test]
async fn a_plugin_that_floods_stdout_is_stopped() {
    let host = start(hostile().flag("--plugin-log-lines", 50).flag("--plugin-log-kib", 1_000_000_000)).await;
    let job = commit(&host, "StdoutFlood").await;
    insta::assert_snapshot!(why(&job), @"log-limit-exceeded: the plugin wrote more than 1000000000 KiB or 50 lines to the log, stdout and stderr");
}

#[tokio::test]
async fn a_plugin_that_floods_stderr_is_stopped() {
    let host = start(hostile().flag("--plugin-log-kib", 1).flag("--plugin-log-lines", 100_000_000)).await;
    let job = commit(&host, "StderrFlood").await;
    insta::assert_snapshot!(why(&job), @"log-limit-exceeded: the plugin wrote more than 1 KiB or 100000000 lines to the log, stdout and stderr");
}

#[tokio::test]
async fn what_floods_a_jobs_log_is_dropped_and_the_host_says_how_much() {
    let host = start(hostile().flag("--plugin-entries", 5)).await;
    let job = commit(&host, "EntryFlood").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let sources: Vec<_> = entries(&job).iter().map(|entry| entry["source"].clone()).collect();
    assert_eq!(sources, ["misbehave", "misbehave", "misbehave", "misbehave", "misbehave", "host"]);
    let last = &entries(&job)[5]["data"];
    let line = entries(&job)[0]["data"].to_string().len();
    assert_eq!((&last["status"], &last["entries"]), (&json!("dropped"), &json!(4995)), "{last}");
    assert_eq!(last["bytes"], 4995 * line, "{last}");
}

#[tokio::test]
async fn entries_are_limited_by_their_size_too() {
    let host = start(hostile().flag("--plugin-entries-kib", 1)).await;
    let job = commit(&host, "EntryFlood").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let of_plugin = entries(&job).iter().filter(|entry| entry["source"] == "misbehave");
    let bytes: usize = of_plugin.map(|entry| entry["data"].to_string().len()).sum();
    assert!((900..=1024).contains(&bytes), "{bytes} bytes were kept");
}

#[tokio::test]
async fn an_entry_that_is_too_long_is_answered_and_the_run_goes_on() {
    let host = start(hostile().flag("--plugin-host-call-kib", 2048)).await;
    let job = commit(&host, "HugeEntry").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    insta::assert_json_snapshot!(job["result"], @r#""the entry is 1048578 bytes long, and at most 65536 are taken""#);
}

#[tokio::test]
async fn a_plugin_that_hands_the_host_a_huge_text_is_stopped() {
    let host = start(hostile()).await;
    let job = commit(&host, "HugeString").await;
    insta::assert_snapshot!(why(&job), @"host-call-limit-exceeded: the plugin handed more than 1024 KiB to the host at once, in a call or as its result");
}

#[tokio::test]
async fn a_plugin_that_returns_a_huge_result_has_failed() {
    let host = start(hostile()).await;
    let job = commit(&host, "HugeResult").await;
    insta::assert_snapshot!(why(&job), @"host-call-limit-exceeded: the plugin handed more than 1024 KiB to the host at once, in a call or as its result");
}

#[tokio::test]
async fn a_result_that_is_no_json_is_a_failure() {
    let host = start(hostile().plugins(&["raw"])).await;
    let job = commit(&host, "InvalidResult").await;
    insta::assert_snapshot!(why(&job), @"invalid-result: the plugin's result is not JSON that can be kept: key must be a string at line 1 column 3");
}

#[tokio::test]
async fn a_failure_whose_details_are_no_json_keeps_its_message() {
    let host = start(hostile().plugins(&["raw"])).await;
    let job = commit(&host, "InvalidDetails").await;
    insta::assert_snapshot!(why(&job), @"invalid-result: the plugin failed (jammed), and the details it gave are not JSON that can be kept: key must be a string at line 1 column 3");
}

#[tokio::test]
async fn an_entry_that_is_no_json_is_answered_and_the_run_goes_on() {
    let host = start(hostile().plugins(&["raw"])).await;
    let job = commit(&host, "InvalidEntry").await;
    insta::assert_json_snapshot!(job["result"], @r#""Err(Error::Invalid(\"data: not JSON that can be kept: key must be a string at line 1 column 3\"))""#);
    assert!(entries(&job).is_empty(), "{job:#}");
}

#[tokio::test]
async fn json_that_is_nested_deeper_than_anyone_can_read_is_refused() {
    let host = start(hostile().plugins(&["raw"])).await;
    let job = commit(&host, "DeepResult").await;
    insta::assert_snapshot!(why(&job), @"invalid-result: the plugin's result is not JSON that can be kept: recursion limit exceeded at line 1 column 128");
    let job = commit(&host, "DeepDetails").await;
    insta::assert_snapshot!(why(&job), @"invalid-result: the plugin failed (jammed), and the details it gave are not JSON that can be kept: recursion limit exceeded at line 1 column 128");
    let job = commit(&host, "DeepEntry").await;
    insta::assert_json_snapshot!(job["result"], @r#""Err(Error::Invalid(\"data: not JSON that can be kept: recursion limit exceeded at line 1 column 128\"))""#);
}

#[tokio::test]
async fn json_that_only_the_grammar_allows_is_refused() {
    let host = start(hostile().plugins(&["raw"])).await;
    let job = commit(&host, "OddEntries").await;
    insta::assert_json_snapshot!(job["result"], @r#"
    [
      "Err(Error::Invalid(\"data: not JSON that can be kept: a text contains a NUL at line 1 column 8\"))",
      "Err(Error::Invalid(\"data: not JSON that can be kept: unexpected end of hex escape at line 1 column 8\"))",
      "Err(Error::Invalid(\"data: not JSON that can be kept: number out of range at line 1 column 5\"))"
    ]
    "#);
}

#[tokio::test]
async fn a_nul_in_a_plugins_message_is_made_visible() {
    let host = start(hostile().plugins(&["raw"])).await;
    let job = commit(&host, "NulMessage").await;
    assert_eq!(why(&job), "action-failed: before\u{fffd}after");
}

#[tokio::test]
async fn a_trap_ends_the_job_with_the_names_of_the_functions_it_happened_in() {
    let host = start(hostile()).await;
    let job = commit(&host, "Trap").await;
    insta::assert_snapshot!(why(&job), @"trap: the plugin trapped: wasm `unreachable` instruction executed");
    let trace = job["error"]["trace"].as_array().unwrap();
    let depth = |function: &str| trace.iter().position(|frame| frame.as_str().unwrap().contains(function)).unwrap();
    assert_eq!(depth("on_the_way_down"), depth("deep_inside_the_plugin") + 1, "{trace:#?}");
}

#[tokio::test]
async fn a_panic_ends_the_job_with_its_message_and_its_place() {
    let host = start(hostile()).await;
    let job = commit(&host, "Panic").await;
    insta::assert_snapshot!(why(&job), @"panic: the plugin panicked: the widget press is jammed: 42 (misbehave/src/crash.rs:13:24)");
    assert!(job["error"]["trace"].to_string().contains("panic_handler"), "{job:#}");
}

#[tokio::test]
async fn a_plugin_that_calls_itself_for_ever_runs_out_of_its_own_stack() {
    let host = start(hostile()).await;
    let job = commit(&host, "StackOverflow").await;
    insta::assert_snapshot!(why(&job), @"stack-limit-exceeded: the plugin's calls went deeper than 1024 KiB of stack");
    assert!(job["error"]["trace"][0].as_str().unwrap().contains("dig"), "{job:#}");
}

#[tokio::test]
async fn a_plugin_that_exits_has_failed() {
    let host = start(hostile()).await;
    let job = commit(&host, "Exit").await;
    insta::assert_snapshot!(why(&job), @"exit: the plugin exited with a failure instead of returning");
}

#[tokio::test]
async fn a_plugins_own_failure_keeps_its_message_and_its_details() {
    let host = start(hostile()).await;
    let job = commit(&host, "Fail").await;
    insta::assert_snapshot!(why(&job), @"action-failed: the widget press is jammed");
    assert_eq!(job["error"]["details"], json!({ "press": 42, "widgets": ["left", "right"] }));
    assert_eq!(job["error"]["trace"], Value::Null);
}

#[tokio::test]
async fn a_plugin_sees_nothing_of_the_world_outside() {
    let host = start(hostile()).await;
    let job = commit(&host, "Environment").await;
    insta::assert_json_snapshot!(job["result"], @r#"
    {
      "arguments": [],
      "connect": "Permission denied (os error 2)",
      "listen": "Permission denied (os error 2)",
      "read_file": "No such file or directory (os error 44)",
      "read_root": "No such file or directory (os error 44)",
      "read_working_directory": "No such file or directory (os error 44)",
      "resolve": "failed to lookup address information: Non-recoverable error",
      "send": "Permission denied (os error 2)",
      "variables": [],
      "write_file": "No such file or directory (os error 44)"
    }
    "#);
}

#[tokio::test]
async fn what_a_plugin_writes_cannot_pass_for_a_line_of_the_host() {
    let (job_id, log) = log_of_fake_lines(&[]).await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_plugin: Vec<_> = lines.iter().filter(|line| line["target"] == "plugin").collect();
    let told: Vec<_> =
        of_plugin.iter().map(|line| format!("{} {}: {}", line["level"], line["message"], line["text"])).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    "INFO" "log": "harmless"
    "INFO" "log": "2026-11-22T10:36:00.123Z ERROR elita: the host is on fire"
    "INFO" "log": "\u001b[2J\u001b[31mred\u001b[0m\u0007"
    "INFO" "stdout": "harmless"
    "INFO" "stdout": "2026-11-22T10:36:00.123Z ERROR elita: the host is on fire\r"
    "INFO" "stdout": "\u001b[2J\u001b[31mred\u001b[0m\u0007"
    "WARN" "stderr": "harmless"
    "WARN" "stderr": "2026-11-22T10:36:00.123Z ERROR elita: the host is on fire\r"
    "WARN" "stderr": "\u001b[2J\u001b[31mred\u001b[0m\u0007"
    "#);
    for line in of_plugin {
        assert_eq!(line["span"]["plugin.name"], "misbehave", "{line:#}");
        assert_eq!(line["span"]["job.id"], *job_id, "{line:#}");
    }
    assert!(!log.contains(is_control_within_a_line), "{log:?}");
}

#[tokio::test]
async fn nor_does_it_in_the_log_for_people() {
    let (job_id, log) = log_of_fake_lines(&["--dev"]).await;
    let faked: Vec<_> = log.lines().filter(|line| line.contains("the host is on fire")).collect();
    assert_eq!(faked.len(), 3, "{log}");
    for line in faked {
        assert!(!line.starts_with("2026-11-22T10:36:00.123Z"), "{line}");
        assert!(line.contains(&job_id) && line.contains("misbehave"), "{line}");
    }
    assert!(!log.contains(is_control_within_a_line), "{log:?}");
}

/// Makes a plugin of [`ONE_ACTION`] and these fields of a module, which define `$run`.
async fn put_bomb(host: &TestHost, fields: &str) {
    put(host, "bomb", component(&format!("{ONE_ACTION}{fields}")));
    let plugin = host.settled_plugin("bomb").await;
    assert!(active(&plugin), "{plugin:#}");
}

/// Runs an action to its end. One that behaves must succeed beside it, and another one after it.
async fn commit(host: &TestHost, sin: &str) -> Value {
    let id = host.post_action("hostile", sin, "").await;
    let beside = host.run_action("hostile", "Noop", "").await;
    assert_eq!(beside["status"], "succeeded", "beside {sin}: {beside:#}");
    let job = host.ended_job(&id).await;
    let after = host.run_action("hostile", "Noop", "").await;
    assert_eq!(after["status"], "succeeded", "after {sin}: {after:#}");
    job
}

/// Why a job failed: the code, and the sentence for the plugin's author.
fn why(job: &Value) -> String {
    assert_eq!(job["status"], "failed", "{job:#}");
    let text = |field: &str| job["error"][field].as_str().unwrap().to_owned();
    format!("{}: {}", text("code"), text("message"))
}

fn entries(job: &Value) -> &[Value] {
    job["job_data"].as_array().unwrap()
}

/// Runs `FakeLogLines` in the real program, because only a process has a log. Returns the job's id and the log.
async fn log_of_fake_lines(flags: &[&str]) -> (String, String) {
    let database = Database::new().await;
    let data_dir = tempfile::tempdir().unwrap();
    let plugin_dir = data_dir.path().join("plugins");
    std::fs::create_dir(&plugin_dir).unwrap();
    std::fs::copy(plugin_file("misbehave"), plugin_dir.join("misbehave.wasm")).unwrap();
    let data_dir = data_dir.path().to_str().unwrap();
    let mut elita = Program::serve(&[&["--data-dir", data_dir, "--database-url", &database.url], flags].concat());
    let (_, client) = elita.ready(&database.token).await;
    let reply = client.post("/app", &json!({ "app_name": "hostile" })).await;
    assert_eq!(reply.status, 201, "{reply}");

    let reply = eventually("the action to be there", async || {
        let reply = client.post_empty("/app/hostile/actions/FakeLogLines").await;
        (reply.status != 404).then_some(reply)
    })
    .await;
    assert_eq!(reply.status, 202, "{reply}");
    let job = reply.body["location"].as_str().unwrap();
    eventually("the job to succeed", async || (client.get(job).await.body["status"] == "succeeded").then_some(()))
        .await;
    elita.signal(Signal::TERM);
    let (_, log) = elita.ended().await;
    (reply.body["job_id"].as_str().unwrap().to_owned(), log)
}

fn is_control_within_a_line(letter: char) -> bool {
    letter.is_control() && letter != '\n'
}
