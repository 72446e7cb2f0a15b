//! Plugins in Rust, Python, JavaScript, C and Go: the same plugin does the same in all of them, and fails the same way.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::compiling::{HeldUp, enlarged};
use crate::harness::{
    Answer, Elita, FakeSalt, Outside, Setup, TestHost, create_minion, eventually, plugin_file, project_root,
    salt_settings,
};
use crate::hooks;
use crate::plugins::{active, put};
use crate::uploads::zip;

/// Each with the plugin `widgets`, and with what there is of `misbehave`.
const LANGUAGES: [(&str, &str, &str); 5] = [
    ("Rust", "widgets", "misbehave"),
    ("Python", "python", "misbehave-python"),
    ("JavaScript", "javascript", "misbehave-javascript"),
    ("C", "c", "misbehave-c"),
    ("Go", "go", "misbehave-go"),
];

/// Requests of the action, good and bad ones.
const REQUESTS: [&str; 14] = [
    "testing=true&count=10",
    "testing=false&count=3",
    "testing=TRUE&count=%2B1",
    "testing=true&count=0",
    "testing=true&count=1&more=of+it",
    "testing=perhaps&count=1",
    "testing=&count=1",
    "testing=true&testing=false&count=1",
    "testing=true&count=ten",
    "testing=true&count=-1",
    "testing=true&count=1.5",
    "testing=true&count=4294967296",
    "testing=true&count=1001",
    "testing=true&count=%F0%9F%98%80%22%5C%0A%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80%F0%9F%98%80\
     %C3%BCber+einhundert+Zeichen+sind+mehr+als+eine+Meldung+von+einem+Wert+zeigt",
];

#[tokio::test]
async fn the_same_plugin_answers_and_records_the_same_in_every_language() {
    let [expected, others @ ..] = LANGUAGES;
    let expected = replies_and_logs(plugin_file(expected.1)).await;
    for (language, file, _) in others {
        assert_eq!(replies_and_logs(plugin_file(file)).await, expected, "Rust on the right, {language} on the left");
    }
}

/// What clients see of the plugin, line by line: what it registers, and for each request the end of its job and its log.
async fn replies_and_logs(file: PathBuf) -> Vec<String> {
    let host = widgets_host(file).await;
    let registered = host.settled_plugin("widgets").await;
    let described = host.client.get("/app/my_application/actions/DeleteWidgets").await;
    let mut seen = vec![format!("{} {}", described.body, registered["hooks"])];
    for request in REQUESTS {
        let job = host.run_action("my_application", "DeleteWidgets", request).await;
        let entries = job["job_data"].as_array().unwrap().iter();
        let log = entries.map(|entry| format!("  {} {}: {}", entry["seq"], entry["source"], entry["data"]));
        seen.push(format!("{request}: {} {} {}", job["status"], job["result"], job["error"]));
        seen.extend(log);
    }
    seen
}

#[tokio::test]
async fn the_same_hook_answers_and_records_the_same_in_every_language() {
    for (language, file, _) in LANGUAGES {
        assert_declares_an_upload(&widgets_host(plugin_file(file)).await, language).await;
    }
}

/// Uploads a build, and expects the hook of `widgets` to record it.
pub(crate) async fn assert_declares_an_upload(host: &TestHost, whose: &str) {
    let job = hooks::ended(host, "my_application", "124-master", zip("a", b"b")).await;
    let fired = hooks::fired(&job, "widgets");
    assert_eq!((&fired["hook"], fired.get("error")), (&json!("BUILD_UPLOAD_SUCCESS"), None), "{whose}: {job:#}");
    assert_eq!(fired["result"], Value::Null, "{whose}: {job:#}");
    let entries = job["job_data"].as_array().unwrap().iter();
    let recorded: Vec<_> = entries.filter(|entry| entry["source"] == "widgets").map(|entry| &entry["data"]).collect();
    assert_eq!(recorded, [&json!({ "status": "declared", "build": "124-master" })], "{whose}: {job:#}");
}

#[tokio::test]
async fn a_plugin_imports_the_interfaces_that_it_uses_and_no_others() {
    for (language, file, _) in LANGUAGES {
        let host = widgets_host(plugin_file(file)).await;
        let plugin = host.settled_plugin("widgets").await;
        let imports = plugin["imports"].as_array().unwrap().iter().map(|import| import.as_str().unwrap());
        let of_elita = imports.filter_map(|import| import.strip_prefix("elita:plugin/")?.strip_suffix("@0.1.0"));
        // Types are imported where an interface uses them.
        let mut of_elita: Vec<_> = of_elita.filter(|interface| *interface != "types").collect();
        of_elita.sort_unstable();
        assert_eq!(of_elita, ["applications", "jobs", "log"], "{language}");
    }
}

#[tokio::test]
async fn values_of_every_shape_go_to_the_host_and_come_back_in_python_and_javascript() {
    for (language, _, file) in &LANGUAGES[1..3] {
        let host = hostile_host(plugin_file(file)).await;
        let reply = host.client.post("/app/hostile/builds", &json!({ "build_name": "one" })).await;
        assert_eq!(reply.status, 201, "{reply}");
        let job = host.run_action("hostile", "Shapes", "").await;
        let expected = json!({
            "builds": [["one"], null],
            "rules": [["web", ["web/**"], null, "www/"]],
            "favor": "ours",
            "prepull": [["echo", "one", "two"]],
            "ordered": [["shapes"]],
            "environments": [],
            "job": true,
            "entries": [[1, "{\"a\": 1}"]],
        });
        assert_eq!(job["result"], expected, "{language}: {job:#}");
        let group = host.client.get("/app/hostile/groups/shapes").await;
        assert_eq!(group.body["gitdeploys"], json!([["shapes"]]), "{language}: {group}");
    }
}

#[tokio::test]
async fn python_and_javascript_work_on_servers() {
    for (language, _, file) in &LANGUAGES[1..3] {
        let setup = Setup::default().switch("--local-servers").plugin("misbehave", plugin_file(file));
        let host = setup.granting("misbehave", "servers = ['web*']\ninterfaces = ['remote']").start().await;
        host.create_application("hostile").await;
        let new = json!({ "name": "web1", "environment": "test", "driver": "local" });
        assert_eq!(host.client.post("/server", &new).await.status, 201);
        let job = host.run_action("hostile", "OnServers", "").await;
        let expected = json!({
            "system": ["web1", "unix", "Linux"],
            "missing": "notfound",
            "reports": [["ok", 0, ""], ["ok", 0, ""], ["failed", 3, "a\nin\nb c ***\n"], ["ok", 0, ""]],
        });
        assert_eq!(job["result"], expected, "{language}: {job:#}");
    }
}

#[tokio::test]
async fn python_and_javascript_call_functions_of_salt() {
    let fake = FakeSalt::start().await;
    for (language, _, file) in &LANGUAGES[1..3] {
        let setup = salt_settings(Setup::default(), &fake.url()).plugin("misbehave", plugin_file(file));
        let host = setup.granting("misbehave", "servers = ['m*']\ninterfaces = ['salt']").start().await;
        host.create_application("hostile").await;
        create_minion(&host, "m1").await;
        let job = host.run_action("hostile", "Salt", "").await;
        assert_eq!(job["result"], json!([["m1", "ok", true, 0]]), "{language}: {job:#}");
    }
    assert_eq!(fake.jobs("test.ping")[0]["kwarg"], json!({ "a": "b=c" }));
}

#[tokio::test]
async fn what_nobody_expected_ends_the_job_with_its_message_and_the_languages_own_trace() {
    let mut messages = Vec::new();
    for (language, _, file) in LANGUAGES {
        let host = hostile_host(plugin_file(file)).await;
        let error = failed(&host, "Panic").await;
        assert!(names_both_functions(&error["trace"]), "{language}: {error:#}");
        assert_eq!(error["details"], Value::Null, "{language}: {error:#}");
        messages.push(format!("{language}: {}: {}", error["code"], error["message"]));
    }
    insta::assert_snapshot!(messages.join("\n"), @r#"
    Rust: "panic": "the plugin panicked: the widget press is jammed: 42 (misbehave/src/crash.rs:13:24)"
    Python: "action-failed": "ValueError: the widget press is jammed: 42"
    JavaScript: "action-failed": "RangeError: the widget press is jammed: 42"
    C: "trap": "the plugin trapped: wasm `unreachable` instruction executed"
    Go: "panic": "the plugin panicked: the widget press is jammed: 42"
    "#);
}

#[tokio::test]
async fn what_the_helper_modules_do_not_catch_ends_the_job_the_same_way() {
    let host = hostile_host(plugin_file("misbehave-python")).await;
    let error = failed(&host, "PanicUncaught").await;
    insta::assert_snapshot!(error["message"].as_str().unwrap(), @"the plugin panicked: ValueError: the widget press is jammed: 42");
    assert!(names_both_functions(&error["trace"]), "{error:#}");

    // Of an error of JavaScript, the host is told what it takes for a failure: the message.
    let host = hostile_host(plugin_file("misbehave-javascript")).await;
    let error = failed(&host, "PanicUncaught").await;
    assert_eq!(error, json!({ "code": "action-failed", "message": "the widget press is jammed: 42" }));
}

#[tokio::test]
async fn what_comes_late_is_told_as_what_it_is() {
    let mut told = Vec::new();
    for (language, _, file) in &LANGUAGES[1..3] {
        let host = hostile_host(plugin_file(file)).await;
        for action in ["Late", "LateFail", "LatePanic", "Never", "Forgotten", "NotAwaited"] {
            let job = host.run_action("hostile", action, "").await;
            let (error, result) = (&job["error"], &job["result"]);
            told.push(format!(
                "{language} {action}: {} {result} {} {}",
                job["status"], error["message"], error["details"]
            ));
            let is_traced = names_both_functions(&error["trace"]);
            assert_eq!(is_traced, action == "LatePanic" || *language == "Python" && action == "NotAwaited", "{job:#}");
        }
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    Python Late: "succeeded" "late" null null
    Python LateFail: "failed" null "the widget press is jammed" {"press":42,"widgets":["left","right"]}
    Python LatePanic: "failed" null "ValueError: the widget press is jammed: 42" null
    Python Never: "failed" null "it waits for something that can never happen, so it would never end" null
    Python Forgotten: "failed" null "TypeError: Object of type coroutine is not JSON serializable\nwhen serializing list item 0\nwhen serializing dict item 'pages'" null
    Python NotAwaited: "failed" null "ValueError: the widget press is jammed: 42" null
    JavaScript Late: "succeeded" "late" null null
    JavaScript LateFail: "failed" null "the widget press is jammed" {"press":42,"widgets":["left","right"]}
    JavaScript LatePanic: "failed" null "RangeError: the widget press is jammed: 42" null
    JavaScript Never: "failed" null "it waits for something that can never happen, so it would never end" null
    JavaScript Forgotten: "failed" null "TypeError: /pages/0 is a promise, and no JSON: await it" null
    JavaScript NotAwaited: "succeeded" "early" null null
    "#);
}

#[tokio::test]
async fn what_a_goroutine_does_late_is_told_as_what_it_is() {
    let host = hostile_host(plugin_file("misbehave-go")).await;
    let mut told = Vec::new();
    for action in ["Late", "LateFail", "LatePanic", "NotAwaited"] {
        let job = host.run_action("hostile", action, "").await;
        let (error, entries) = (&job["error"], job["job_data"].as_array().unwrap());
        let recorded = entries.iter().filter(|entry| entry["source"] == "misbehave").count();
        told.push(format!(
            "{action}: {} {} {} {} {recorded}",
            job["status"], job["result"], error["message"], error["details"]
        ));
        assert_eq!(names_both_functions(&error["trace"]), action == "LatePanic", "{job:#}");
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    Late: "succeeded" "late" null null 0
    LateFail: "failed" null "the widget press is jammed" {"press":42,"widgets":["left","right"]} 0
    LatePanic: "failed" null "the plugin panicked: the widget press is jammed: 42" null 0
    NotAwaited: "succeeded" "early" null null 0
    "#);
}

#[tokio::test]
async fn what_a_hook_does_late_is_told_as_what_it_is() {
    let mut told = Vec::new();
    for (language, _, file) in [1, 2, 4].map(|index| &LANGUAGES[index]) {
        let host = hostile_host(plugin_file(file)).await;
        for build in ["late", "late-fail", "late-never"] {
            // In Go it returns at once.
            if *language == "Go" && build == "late-never" {
                continue;
            }
            let job = hooks::ended(&host, "hostile", build, zip("a", b"b")).await;
            let fired = hooks::fired(&job, "misbehave");
            let error = &fired["error"];
            told.push(format!("{language} {build}: {} {} {}", fired["result"], error["message"], error["details"]));
            assert_eq!(job["status"], "succeeded", "{job:#}");
        }
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    Python late: "late" null null
    Python late-fail: null "the widget press is jammed" {"press":42,"widgets":["left","right"]}
    Python late-never: null "it waits for something that can never happen, so it would never end" null
    JavaScript late: "late" null null
    JavaScript late-fail: null "the widget press is jammed" {"press":42,"widgets":["left","right"]}
    JavaScript late-never: null "it waits for something that can never happen, so it would never end" null
    Go late: "late" null null
    Go late-fail: null "the widget press is jammed" {"press":42,"widgets":["left","right"]}
    "#);
}

#[tokio::test]
async fn no_message_is_lost_whatever_is_thrown() {
    let mut told = Vec::new();
    for (language, _, file) in &LANGUAGES[1..3] {
        let host = hostile_host(plugin_file(file)).await;
        for action in ["ThrowsObject", "ThrowsCause", "OddDetails", "OddProgress"] {
            let error = failed(&host, action).await;
            told.push(format!("{language} {action}: {} {}", error["message"], error["details"]));
            let trace = error["trace"].to_string().replace('_', "").to_lowercase();
            let place = action.to_lowercase();
            let is_traced = trace.contains(&place) || action == "OddProgress" && trace.contains("plugin");
            assert!(is_traced || action == "ThrowsObject", "{language} {action}: {error:#}");
            assert_eq!(
                names_both_functions(&error["trace"]),
                action == "ThrowsCause",
                "{language} {action}: {error:#}"
            );
        }
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    Python ThrowsObject: "the host answered {'code': 5}" null
    Python ThrowsCause: "RuntimeError: no widgets today" null
    Python OddDetails: "the widget press is jammed" null
    Python OddProgress: "ValueError: progress is a number from 0 to 100, and not 300" null
    JavaScript ThrowsObject: "{\"code\":5}" null
    JavaScript ThrowsCause: "Error: no widgets today; caused by RangeError: the widget press is jammed: 42" null
    JavaScript OddDetails: "the widget press is jammed" null
    JavaScript OddProgress: "RangeError: progress is a number from 0 to 100, and not 300" null
    "#);
}

#[tokio::test]
async fn progress_may_be_a_number_that_is_not_whole() {
    for (language, _, file) in &LANGUAGES[1..3] {
        let host = hostile_host(plugin_file(file)).await;
        let job = host.run_action("hostile", "HalfProgress", "").await;
        assert_eq!(job["status"], "succeeded", "{language}: {job:#}");
        let entries = job["job_data"].as_array().unwrap().iter().map(|entry| &entry["data"]);
        let expected = [json!({ "status": "halfway", "progress": 45 }), json!({ "status": "done", "progress": 100 })];
        assert!(entries.eq(&expected), "{language}: {job:#}");
    }
}

#[tokio::test]
async fn a_plugin_in_go_tells_how_it_failed_and_keeps_what_it_was_given() {
    let host = hostile_host(plugin_file("misbehave-go")).await;
    let mut told = Vec::new();
    for action in ["ThrowsCause", "OddDetails", "OddProgress", "Deadlock"] {
        let error = failed(&host, action).await;
        told.push(format!("{action}: {} {} {}", error["code"], error["message"], error["trace"][0]));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    ThrowsCause: "action-failed" "no widgets today: the widget press is jammed: 42" null
    OddDetails: "action-failed" "the widget press is jammed" "its details are left out, because they cannot be written as JSON: json: unsupported type: func()"
    OddProgress: "action-failed" "progress is a number from 0 to 100, and not 300" null
    Deadlock: "panic" "the plugin panicked: fatal error: all goroutines are asleep - deadlock!" "goroutine 1 [chan receive]:"
    "#);
    assert_eq!(host.run_action("hostile", "Late", "").await["result"], "late");
    let collected = host.run_action("hostile", "Collect", "").await;
    assert_eq!(collected["result"], 100, "{collected:#}");
}

#[tokio::test]
async fn a_parameter_may_be_missing_or_null_or_json() {
    for (language, _, file) in [0, 1, 2, 4].map(|index| &LANGUAGES[index]) {
        let host = hostile_host(plugin_file(file)).await;
        let given = async |body: Value| {
            let accepted = host.client.post("/app/hostile/actions/Given", &body).await;
            host.ended_job(accepted.body["job_id"].as_str().unwrap()).await["result"].clone()
        };
        let all = json!({ "text": "null and void", "truth": true, "number": 7, "value": { "a": [1, null] } });
        assert_eq!(given(all).await, json!(["null and void", true, 7, { "a": [1, null] }]), "{language}");
        let missing = json!(["missing", "missing", "missing", "missing"]);
        assert_eq!(given(json!({})).await, missing, "{language}");
        let null = json!({ "text": null, "truth": null, "number": null, "value": null });
        assert_eq!(given(null).await, missing, "{language}");
        assert_eq!(given(json!({ "value": "1.10" })).await[3], "1.10", "{language}");
    }
}

#[tokio::test]
async fn an_optional_parameter_is_declared_and_not_asked_for() {
    for (language, _, file) in [0, 1, 2, 4].map(|index| &LANGUAGES[index]) {
        let host = hostile_host(plugin_file(file)).await;
        let described = host.client.get("/app/hostile/actions/Given").await.body;
        assert_eq!(
            (&described["parameters"], &described["schema"]["required"]),
            (&json!([]), &json!([])),
            "{language}"
        );
        let declared = json!({
            "text": { "title": "string", "description": "a text", "type": "string" },
            "truth": { "title": "boolean", "description": "yes or no", "type": "boolean" },
            "number": { "title": "integer", "description": "a number", "type": "integer" },
        });
        assert_eq!(described["schema"]["properties"], declared, "{language}");
        let registered = host.settled_plugin("misbehave").await;
        let actions = registered["actions"].as_array().unwrap();
        let given = actions.iter().find(|action| action["name"] == "Given").unwrap();
        let number = json!({ "name": "number", "type": "integer", "description": "a number", "optional": true });
        assert_eq!(given["parameters"][2], number, "{language}");
    }

    let host = hostile_host(plugin_file("misbehave")).await;
    let elita = Elita::of(&host);
    let shown = elita.run(&["action", "show", "hostile", "Given"]).await;
    assert!(shown.stdout.contains("number") && shown.stdout.contains("integer, optional"), "{shown}");
    let ran = elita.run(&["run", "hostile", "Given", "number=7"]).await;
    assert!(ran.code == 0 && ran.stdout.contains("7"), "{ran}");
}

#[tokio::test]
async fn a_plugin_in_javascript_fetches_waits_and_digests() {
    let (granted, other) = (Outside::new(Answer::hello()).await, Outside::new(Answer::hello()).await);
    let grant = format!("http = [\"127.0.0.1:{}\"]", granted.port());
    let setup = Setup::default().plugin("fetch", plugin_file("fetch-javascript")).granting("fetch", &grant);
    let host = setup.start().await;
    host.create_application("my_application").await;
    let run = async |action: &str, parameters: &str| host.run_action("my_application", action, parameters).await;
    let fetched = run("Fetch", &format!("url=http://127.0.0.1:{}/", granted.port())).await;
    assert_eq!(fetched["result"], json!({ "status": 200, "text": "hello" }), "{fetched:#}");
    let fetched = run("Axios", &format!("url=http://127.0.0.1:{}/", granted.port())).await;
    assert_eq!(fetched["result"], json!({ "status": 200, "text": "hello" }), "{fetched:#}");
    let denied = run("Fetch", &format!("url=http://127.0.0.1:{}/", other.port())).await;
    let expected = format!(
        "TypeError: NetworkError when attempting to fetch resource (127.0.0.1:{} is not granted)",
        other.port()
    );
    assert_eq!(denied["error"]["message"], *expected, "{denied:#}");
    let path = format!("/job/{}?trace=true", denied["job_id"].as_str().unwrap());
    let trace = host.client.get(&path).await.body["trace"].to_string();
    assert!(trace.contains("denied"), "{trace}");
    let pause = run("Pause", "").await;
    assert!(pause["result"].as_u64().is_some_and(|waited| waited >= 300), "{pause:#}");
    let digest = run("Digest", "text=abc").await;
    assert_eq!(digest["result"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "{digest:#}");
    let (one, other) = (run("Random", "").await, run("Random", "").await);
    assert_ne!((&one["result"][0], &one["result"][1]), (&other["result"][0], &other["result"][1]), "{one:#}");
}

#[tokio::test]
async fn in_python_works_what_the_guide_says() {
    let (granted, other) = (Outside::new(Answer::hello()).await, Outside::new(Answer::hello()).await);
    let grant = format!("http = [\"127.0.0.1:{}\"]", granted.port());
    let setup = Setup::default().plugin("works", plugin_file("works-python")).granting("works", &grant);
    let host = setup.start().await;
    host.create_application("works").await;
    let run = async |action: &str, parameters: &str| host.run_action("works", action, parameters).await;
    let fetched = run("Niquests", &format!("url=http://127.0.0.1:{}/", granted.port())).await;
    assert_eq!(fetched["result"], json!({ "status": 200, "text": "hello" }), "{fetched:#}");
    let denied = run("Niquests", &format!("url=http://127.0.0.1:{}/", other.port())).await["error"].clone();
    assert!(denied["message"].as_str().unwrap().contains("HttpRequestDenied"), "{denied:#}");
    let by_others = run("Clients", &format!("url=http://127.0.0.1:{}/", granted.port())).await["result"].clone();
    assert!(by_others["urllib"].as_str().unwrap().starts_with("URLError: "), "{by_others:#}");
    let native = run("Native", "").await["result"].clone();
    for extension in ["numpy", "lxml.etree", "cryptography.hazmat.primitives.ciphers"] {
        let said = native[extension].as_str().unwrap();
        assert!(said.starts_with("ImportError: ") || said.starts_with("ModuleNotFoundError: "), "{native:#}");
    }
    let by_requests = run("Requests", &format!("url=http://127.0.0.1:{}/", granted.port())).await;
    assert!(by_requests["result"].as_str().unwrap().starts_with("ConnectionError: "), "{by_requests:#}");

    let (one, other) = (run("Random", "").await["result"].clone(), run("Random", "").await["result"].clone());
    assert_eq!(one["frozen"], other["frozen"]);
    assert!((0..3).all(|which| one["now"][which] != other["now"][which]), "{one} {other}");
    let clocks = run("Clocks", "").await["result"].clone();
    assert!(clocks["age"].as_f64() > Some(1.0) && clocks["slept"].as_f64() >= Some(0.05), "{clocks}");
    let zones = run("Zones", "").await["result"].clone();
    assert_eq!(zones["local"], "0:00:00");
    // That of Berlin was read when it was built.
    assert_eq!(zones["berlin"], 14, "{zones}");
    assert!(zones["lima"].as_str().unwrap().starts_with("ZoneInfoNotFoundError"), "{zones}");
    assert_eq!(run("Async", "").await["result"], true);
    let outside = run("Outside", "").await["result"].clone();
    for (what, refused) in [
        ("files", "FileNotFoundError"),
        ("listing", "FileNotFoundError"),
        ("threads", "RuntimeError: can't start new thread"),
        ("processes", "OSError"),
        ("sockets", "gaierror"),
    ] {
        assert!(outside[what].as_str().unwrap().starts_with(refused), "{what}: {outside:#}");
    }
    assert_eq!(outside["environment"], json!({}));
}

#[test]
fn the_examples_in_python_and_javascript_are_tested_without_a_server() {
    let examples = project_root().join("example-plugins");
    assert_says(&mut unit_tests_in_python(&examples.join("python"), &examples), "Ran 4 tests");
    let work = tests_in_javascript(&examples.join("javascript"), &examples);
    assert_says(&mut unit_tests_in_javascript(&work), "# pass 4");
}

fn unit_tests_in_python(plugin: &Path, helpers: &Path) -> Command {
    let mut python = Command::new("python3");
    python.args(["-m", "unittest"]).current_dir(plugin);
    python.env("PYTHONPATH", helpers.join("python/elita-plugin/src")).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

/// A plugin with its tests, and with the helper module where npm puts it.
fn tests_in_javascript(plugin: &Path, helpers: &Path) -> TempDir {
    let work = tempfile::tempdir().unwrap();
    let helpers = helpers.join("javascript");
    std::fs::copy(helpers.join("package.json"), work.path().join("package.json")).unwrap();
    for file in ["plugin.js", "plugin.test.js"] {
        std::fs::copy(plugin.join(file), work.path().join(file)).unwrap();
    }
    std::fs::create_dir(work.path().join("node_modules")).unwrap();
    let linked = work.path().join("node_modules/elita-plugin");
    std::os::unix::fs::symlink(helpers.join("elita-plugin"), linked).unwrap();
    work
}

/// If this machine has no Node.js, `scripts/polyglot` has installed one.
pub(crate) fn with_node(mut command: Command) -> Command {
    let installed = project_root().join("target/polyglot/venv/bin");
    command.env("PATH", format!("{}:{}", std::env::var("PATH").unwrap(), installed.display()));
    command
}

fn unit_tests_in_javascript(work: &TempDir) -> Command {
    let mut node = with_node(Command::new("node"));
    node.args(["--test", "--test-reporter=tap"]).current_dir(work);
    node
}

#[test]
fn servers_in_memory_answer_as_real_ones_in_python_and_javascript() {
    let (helpers, plugins) = (project_root().join("example-plugins"), project_root().join("tests/plugins/polyglot"));
    assert_says(&mut unit_tests_in_python(&plugins.join("python"), &helpers), "Ran 3 tests");
    let work = tests_in_javascript(&plugins.join("javascript"), &helpers);
    assert_says(&mut unit_tests_in_javascript(&work), "# pass 2");
}

#[test]
fn plugins_in_javascript_are_checked_against_the_types_of_the_helper_module() {
    let root = project_root();
    let (work, sources) = (tempfile::tempdir().unwrap(), root.join("tests/plugins/polyglot"));
    for file in ["types-javascript/tsconfig.json", "types-javascript/fits.ts", "watch-javascript/plugin.js"] {
        std::fs::copy(sources.join(file), work.path().join(file.rsplit('/').next().unwrap())).unwrap();
    }
    std::fs::write(work.path().join("package.json"), r#"{ "type": "module" }"#).unwrap();
    std::fs::create_dir(work.path().join("node_modules")).unwrap();
    let helpers = root.join("example-plugins/javascript/elita-plugin");
    std::os::unix::fs::symlink(&helpers, work.path().join("node_modules/elita-plugin")).unwrap();
    let checked = || {
        let mut compiler = with_node(Command::new(root.join("target/polyglot/npm/node_modules/.bin/tsc")));
        let output =
            compiler.args(["--preserveSymlinks", "--pretty", "false"]).current_dir(work.path()).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert_eq!(checked(), "");
    // Where the types let everything through, that is found, too.
    let types = std::fs::read_to_string(helpers.join("index.d.ts")).unwrap();
    std::fs::remove_file(work.path().join("node_modules/elita-plugin")).unwrap();
    let loose = work.path().join("node_modules/elita-plugin");
    std::fs::create_dir_all(loose.join("testing")).unwrap();
    for file in ["package.json", "testing/index.d.ts"] {
        std::fs::copy(helpers.join(file), loose.join(file)).unwrap();
    }
    let typed = "BUILD_UPLOAD_SUCCESS?: (call: HookCall<BuildUploadSuccess>) => Result;";
    assert!(types.contains(typed));
    std::fs::write(loose.join("index.d.ts"), types.replace(typed, "")).unwrap();
    let said = checked();
    assert!(said.contains("fits.ts") && said.contains("Unused '@ts-expect-error' directive"), "{said}");
}

/// Runs a program, and expects it to succeed and to say this.
fn assert_says(command: &mut Command, expected: &str) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains(expected), "{command:?}\n{said}");
}

#[tokio::test]
async fn what_a_plugin_fails_with_is_the_same_in_every_language() {
    for (language, _, file) in LANGUAGES {
        let host = hostile_host(plugin_file(file)).await;
        let error = failed(&host, "Fail").await;
        let details = json!({ "press": 42, "widgets": ["left", "right"] });
        let expected = json!({ "code": "action-failed", "message": "the widget press is jammed", "details": details });
        assert_eq!(error, expected, "{language}");
    }
}

#[tokio::test]
async fn a_large_component_is_compiled_once_and_nobody_waits_for_it() {
    let compiler = HeldUp::new();
    let setup = Setup::default().own_cache().plugins(&["misbehave"]).flag("--plugin-compiler", compiler.path());
    let host = setup.start().await;
    host.create_application("hostile").await;
    host.create_application("my_application").await;
    put(&host, "widgets", enlarged("widgets"));
    host.plugin("widgets", |plugin| plugin["state"] == "compiling").await;
    let early = host.client.post_empty("/app/my_application/actions/DeleteWidgets?testing=true&count=1").await;
    assert_eq!(early.status, 404, "{early}");
    assert_eq!(host.run_action("hostile", "Noop", "").await["status"], "succeeded");
    assert_eq!(host.client.get("/global/plugins/widgets").await.body["state"], "compiling");
    compiler.let_go();
    host.plugin("widgets", active).await;

    // Neither a restart nor runs compile it again, and more runs than fit find room one after the other.
    let compiled = compiled_forms(&host);
    assert_eq!(compiled.len(), 2, "{compiled:?}");
    let host = host.restart().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(host.post_action("my_application", "DeleteWidgets", "testing=true&count=1").await);
    }
    for id in ids {
        let job = host.ended_job(&id).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
    }
    assert_eq!(compiled_forms(&host), compiled);
}

#[tokio::test]
async fn what_one_host_makes_active_is_compiled_on_the_others_before_a_job_needs_it() {
    let storage = tempfile::tempdir().unwrap();
    let host = Setup::default().sharing(&storage).start().await;
    let other = Setup::default().sharing(&storage).own_cache().start_on(host.database.clone()).await;
    put(&host, "widgets", std::fs::read(plugin_file("c")).unwrap());
    host.plugin("widgets", active).await;
    eventually("the other host to have compiled it", async || (compiled_forms(&other).len() == 1).then_some(())).await;
}

/// The compiled forms that a host keeps, and when each was made.
fn compiled_forms(host: &TestHost) -> Vec<(PathBuf, SystemTime)> {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries(host.plugin_dir().with_file_name("cache")).flat_map(entries);
    let finished = files.filter(|file| file.extension().is_some_and(|extension| extension == "cwasm"));
    let mut forms: Vec<_> = finished.map(|file| (file.clone(), file.metadata().unwrap().modified().unwrap())).collect();
    forms.sort();
    forms
}

/// The error of an action's job; the next one runs as if nothing had been.
async fn failed(host: &TestHost, action: &str) -> Value {
    let job = host.run_action("hostile", action, "").await;
    assert_eq!((&job["status"], &job["result"]), (&json!("failed"), &Value::Null), "{job:#}");
    let after = host.run_action("hostile", "Noop", "").await;
    assert_eq!((&after["status"], &after["result"]), (&json!("succeeded"), &Value::Null), "{after:#}");
    job["error"].clone()
}

/// Whether a trace says where it was, and how the plugin got there: each language writes names in its own way.
fn names_both_functions(trace: &Value) -> bool {
    let lines =
        trace.as_array().into_iter().flatten().map(|line| line.as_str().unwrap().replace('_', "").to_lowercase());
    let lines: Vec<_> = lines.collect();
    ["onthewaydown", "deepinsidetheplugin"].iter().all(|name| lines.iter().any(|line| line.contains(name)))
}

pub(crate) async fn widgets_host(file: PathBuf) -> TestHost {
    let host = Setup::default().plugin("widgets", file).start().await;
    host.create_application("my_application").await;
    host
}

async fn hostile_host(file: PathBuf) -> TestHost {
    let host = Setup::default().plugin("misbehave", file).start().await;
    host.create_application("hostile").await;
    host
}
