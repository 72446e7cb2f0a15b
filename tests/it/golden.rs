//! Plugins that were built against the WIT package as it once was are loaded and run for ever. They are in
//! `tests/golden/<version>`, and are never changed; docs/adr/0010-the-wit-package-only-grows.md says why they are there.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use crate::doors::exercised_by;
use crate::harness::{component_for, plugin_file, project_root};
use crate::languages::{assert_declares_an_upload, widgets_host};
use crate::limits::ONE_ACTION;
use crate::plugins::put;
use crate::surface::imported_functions;

/// `widgets` of version 0.1.0, in each language.
fn widgets_of_0_1_0() -> [PathBuf; 5] {
    let [python, javascript, go] = ["0.1.0-python", "0.1.0-javascript", "0.1.0-go"].map(plugin_file);
    [of_0_1_0("rust"), python, javascript, of_0_1_0("c"), go]
}

fn of_0_1_0(name: &str) -> PathBuf {
    project_root().join(format!("tests/golden/0.1.0/{name}.wasm"))
}

#[tokio::test]
async fn plugins_of_0_1_0_are_loaded_and_run() {
    for file in widgets_of_0_1_0() {
        let name = file.display().to_string();
        let host = widgets_host(file).await;
        let plugin = host.settled_plugin("widgets").await;
        assert_eq!(plugin["state"], "active", "{name}: {plugin:#}");

        let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=10").await;
        let result = json!({ "application": "my_application", "deleted": 0, "testing": true });
        assert_eq!((&job["status"], &job["result"]), (&json!("succeeded"), &result), "{name}: {job:#}");
        let log: Vec<_> = job["job_data"].as_array().unwrap().iter().map(|entry| entry["data"].clone()).collect();
        let steps = [("starting", 0), ("frobnicating the foobar", 45), ("finished", 100)];
        assert_eq!(log, steps.map(|(status, progress)| json!({ "status": status, "progress": progress })), "{name}");

        let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1001").await;
        let error = json!({ "code": "action-failed", "message": "there are 1000 widgets, 1001 cannot be deleted" });
        assert_eq!((&job["status"], &job["error"]), (&json!("failed"), &error), "{name}: {job:#}");
    }
}

#[tokio::test]
async fn a_plugin_for_a_wit_that_has_more_is_refused_in_words_and_one_for_the_oldest_runs_beside_it() {
    let newer = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(project_root().join("wit")).unwrap() {
        let file = file.unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        // A function, a parameter and an interface more.
        let text = text.replacen("    cancel-requested:", "    pause: func();\n    cancel-requested:", 1);
        let text =
            text.replacen("write: func(level: level, message: string)", "write: func(level: level, more: u32)", 1);
        let text = text.replacen("    import servers;", "    import servers;\n    import forecasts;", 1);
        std::fs::write(newer.path().join(file.file_name()), text).unwrap();
    }
    let forecasts = "package elita:plugin@0.1.0;\ninterface forecasts { tomorrow: func(); }";
    std::fs::write(newer.path().join("forecasts.wit"), forecasts).unwrap();
    let host = widgets_host(of_0_1_0("rust")).await;
    let mut told = Vec::new();
    for (name, import) in [
        ("function", r#"(import "elita:plugin/jobs@0.1.0" "pause" (func $run))"#),
        ("interface", r#"(import "elita:plugin/forecasts@0.1.0" "tomorrow" (func $run))"#),
        ("parameter", r#"(import "elita:plugin/log@0.1.0" "write" (func $write (param i32 i32)))"#),
    ] {
        let run = if name == "parameter" { "(func $run (call $write (i32.const 0) (i32.const 0)))" } else { "" };
        let component = component_for(newer.path(), &format!("{import}{ONE_ACTION}{run}"));
        put(&host, name, component);
        let refused = host.settled_plugin(name).await;
        told.push(format!("{name}: {} {}", refused["state"], refused["last_error"]));
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    function: "refused" "it cannot be used: it imports the function `pause` of `elita:plugin/jobs@0.1.0`, which this host does not offer: build it with the WIT of this Elita, or update the server if the plugin's is newer"
    interface: "refused" "it imports `elita:plugin/forecasts@0.1.0`, which this host does not offer: build it with the WIT of this Elita, or update the server if the plugin's is newer"
    parameter: "refused" "it cannot be used: its `write` of `elita:plugin/log@0.1.0` is not that of this host (type mismatch with parameters: expected `string` found `u32`): build it with the WIT of this Elita, or update the server if the plugin's is newer"
    "#);
    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=10").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
}

#[tokio::test]
async fn hooks_of_0_1_0_run() {
    for file in widgets_of_0_1_0() {
        let name = file.display().to_string();
        assert_declares_an_upload(&widgets_host(file).await, &name).await;
    }
}

#[tokio::test]
async fn every_function_of_0_1_0_can_still_be_called() {
    let (_host, job) = exercised_by(of_0_1_0("everything")).await;
    let answers = job["result"].as_object().unwrap();
    let called: BTreeSet<_> = answers.keys().cloned().collect();
    assert_eq!(called, imported_functions(&project_root().join("tests/golden/0.1.0/wit")));
    let failed = answers.iter().filter(|(_, answer)| !answer["error"].is_null());
    let failed: Vec<_> =
        failed.map(|(call, answer)| (call.as_str(), answer["error"]["code"].as_str().unwrap())).collect();
    // It says what its server is reached by, which is for people to say by now.
    let refused = [("servers.create", "denied"), ("servers.get", "not-found"), ("servers.update", "not-found")];
    assert_eq!(BTreeSet::from_iter(failed), BTreeSet::from(refused), "{answers:#?}");
}
