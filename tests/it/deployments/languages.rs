//! Plugins in every language hear of deployments, by the typed parameters of their helper modules.

use std::collections::BTreeSet;

use super::*;

/// All hooks of gitdeploys and deployments.
const HOOKS: [&str; 10] = [
    "AUTO_DEPLOYMENT_BATCH_BEGIN",
    "AUTO_DEPLOYMENT_BATCH_DONE",
    "AUTO_DEPLOYMENT_COMPLETE",
    "AUTO_DEPLOYMENT_FAILED",
    "AUTO_DEPLOYMENT_START",
    "GITDEPLOY_COMMIT_DIFF",
    "GITDEPLOY_DEINIT_POST",
    "GITDEPLOY_DEINIT_PRE",
    "GITDEPLOY_INIT_POST",
    "GITDEPLOY_INIT_PRE",
];

#[tokio::test]
async fn every_hook_tells_the_same_in_every_language() {
    let mut setup = Setup::default();
    let others = ["watch-python", "watch-javascript", "watch-go"];
    for other in others {
        setup = setup.plugin(other, plugin_file(other));
    }
    let host = watched_shop_on(setup, &["web1", "web2"], &[]).await;
    for other in others {
        host.settled_plugin(other).await;
    }
    make_group(&host, "front", &json!(["web"]), true).await;
    let mut jobs = vec![task(&host, "initialize").await];
    upload(&host, "1", &[("a", "1")]).await;
    jobs.push(deployed(&host, &to_groups("1", &["front"])).await);
    prepull(&host, "exit 3").await;
    upload(&host, "2", &[("a", "2"), ("b", "\0")]).await;
    jobs.push(deployed(&host, &to_groups("2", &["front"])).await);
    jobs.push(task(&host, "deinitialize").await);

    let expected = heard(&jobs, "watch-deployments");
    let fired: BTreeSet<_> = expected.iter().filter_map(|entry| entry["hook"].as_str()).collect();
    assert_eq!(fired, BTreeSet::from(HOOKS));
    let lines: Vec<_> = expected.iter().filter_map(|entry| entry.get("lines")).collect();
    assert_eq!(lines, [&json!([[false, 1, 0]]), &json!([[false, 1, 1], [true, null, null]])], "{expected:#?}");
    for other in others {
        assert_eq!(heard(&jobs, other), expected, "{other} on the left, Rust on the right");
    }
}

/// Has `web` put on the servers, or removed from them.
async fn task(host: &TestHost, task: &str) -> Value {
    let accepted = host.client.post(WEB, &json!({ task: true, "servers": ["web1", "web2"] })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    host.ended_job(accepted.body["job_id"].as_str().unwrap()).await
}

/// What a plugin has recorded in jobs.
fn heard(jobs: &[Value], plugin: &str) -> Vec<Value> {
    let entries = jobs.iter().flat_map(|job| job["job_data"].as_array().unwrap());
    entries.filter(|entry| entry["source"] == plugin).map(|entry| entry["data"].clone()).collect()
}
