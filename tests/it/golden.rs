//! Plugins that were built against the WIT package as it once was are loaded and run for ever. They are in
//! `tests/golden/<version>`, and are never changed; docs/adr/0010-the-wit-package-only-grows.md says why they are there.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;

use crate::doors::exercised_by;
use crate::harness::{plugin_file, project_root};
use crate::languages::{assert_declares_an_upload, widgets_host};
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
