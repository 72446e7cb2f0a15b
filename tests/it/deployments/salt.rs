//! A deployment to the minions of a real Salt, with a state of Salt after each pull.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::json;

use super::{WEB, deployed, deployment, make_group, on, states, to_groups};
use crate::commits::{upload, with_gitdeploy};
use crate::harness::{Salt, Setup, create_minion};
use crate::working_copies::sh;

#[tokio::test]
async fn a_state_of_salt_is_applied_after_each_pull() {
    let shared = Salt::shared().await;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let here = format!("127.0.0.1:{port}");
    let setup = Setup::default().switch("--local-servers").flag("--listen", &here);
    let setup = setup.flag("--public-url", format!("http://{here}"));
    let host = with_gitdeploy(shared.salt.settings(setup), &json!({})).await;
    // Its minions are one machine, so that only one of them has the working copy.
    create_minion(&host, "m1").await;
    let folder = shared.salt.home("m1");
    let path = folder.join(format!("shop-{port}"));
    let settings = json!({
        "location": { "path": path },
        "actions": { "prepull": [{ "script": "touch ../before-the-pull" }], "postpull": [{ "sls": "fine" }] },
    });
    assert_eq!(host.client.patch(WEB, &settings).await.status, 200);
    assert_eq!(host.client.patch("/server/m1", &json!({ "environment": "production" })).await.status, 200);
    on(&host, "web", "initialize", &["m1"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    upload(&host, "1", &[("a", "1")]).await;
    let job = deployed(&host, &to_groups("1", &["front"])).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "1");
    assert!(folder.join("before-the-pull").exists());
    let applied = job["job_data"].as_array().unwrap().iter().find(|entry| entry["data"]["command"] == "state.sls fine");
    assert_eq!(applied.unwrap()["data"]["status"], "ok", "{job:#}");
    // A plugin, and the hook's parameters, see commands.
    let shown = host.client.get(WEB).await.body;
    assert_eq!(shown["actions"]["postpull"], json!([{ "sls": "fine" }]));

    // A state that fails is a failure of its server, whose working copy has moved.
    assert_eq!(host.client.patch(WEB, &json!({ "actions": { "postpull": [{ "sls": "bad" }] } })).await.status, 200);
    upload(&host, "2", &[("a", "2")]).await;
    let job = deployed(&host, &to_groups("2", &["front"])).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("servers-failed")), "{job:#}");
    assert_eq!(states(&deployment(&host, &job).await), "m1 failed: postpull");
    assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "2");

    // Where there is no Salt there are no states.
    let new = json!({ "name": "web1", "environment": "staging", "driver": "local" });
    assert_eq!(host.client.post("/server", &new).await.status, 201);
    sh(&host, "web1", &format!("mkdir -p .{}", folder.display())).await;
    on(&host, "web", "initialize", &["web1"]).await;
    let asked = json!({ "build_name": "2", "servers": ["web1"], "gitdeploys": ["web"] });
    let job = deployed(&host, &asked).await;
    assert_eq!(states(&deployment(&host, &job).await), "web1 failed: postpull", "{job:#}");
}

#[tokio::test]
async fn commands_around_a_pull_are_lists_scripts_or_states() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    for (command, pointer) in [
        (json!({ "script": " " }), "/actions/prepull/0/script"),
        (json!({ "sls": "" }), "/actions/prepull/0/sls"),
        (json!({ "script": "true", "shell": "zsh" }), "/actions/prepull/0"),
        (json!({ "script": "true", "sls": "fine" }), "/actions/prepull/0"),
        (json!({}), "/actions/prepull/0"),
        (json!("true"), "/actions/prepull/0"),
    ] {
        let refused = host.client.patch(WEB, &json!({ "actions": { "prepull": [command] } })).await;
        assert_eq!(refused.fault(), (422, pointer), "{command}: {refused}");
    }
    let commands =
        json!([["true"], { "script": "true" }, { "script": "true", "shell": "powershell" }, { "sls": "a.b" }]);
    let changed = host.client.patch(WEB, &json!({ "actions": { "prepull": commands } })).await;
    assert_eq!(changed.status, 200, "{changed}");
    assert_eq!(changed.body["actions"]["prepull"][1], json!({ "script": "true", "shell": "sh" }));
}
