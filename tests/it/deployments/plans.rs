//! What is asked for, what is missing, and the plan that is agreed to.

use serde_json::{Value, json};

use super::{
    DEPLOYMENTS, LONG, WEB, cancel, currently_on, deployed, make_gitdeploy, make_group, on, start, to_groups, with,
    with_shop, with_two_batches,
};
use crate::commits::upload;
use crate::harness::TestHost;

#[tokio::test]
async fn all_that_is_missing_is_named_at_once() {
    let host = with_two_batches().await;
    make_gitdeploy(&host, "same", "site", "master", "/same").await;
    assert_eq!(host.client.patch("/app/shop/gitdeploys/same", &json!({ "package": "other" })).await.status, 200);
    upload(&host, "1", &[("a", "1")]).await;
    let asked = json!({ "build_name": "1", "servers": ["web1", "web9"], "gitdeploys": ["web", "same", "none"] });
    let refused = host.client.post(DEPLOYMENTS, &asked).await;
    assert_eq!(refused.status, 422, "{refused}");
    let faults: Vec<_> =
        refused.body["errors"].as_array().unwrap().iter().map(|fault| fault["detail"].as_str().unwrap()).collect();
    for part in [
        "gitdeploy `none` does not exist",
        "server `web9` does not exist",
        "gitdeploy `same` is not initialized on server `web1`",
        "build `1` has no package `other`",
        "put the packages `other` and `master` on the same branch `master`",
    ] {
        assert!(faults.iter().any(|fault| fault.contains(part)), "{part}: {refused}");
    }
    for (asked, pointer) in [
        (to_groups("9", &["front"]), "/build_name"),
        (to_groups("1", &[]), "/groups"),
        (to_groups("1", &["none"]), "/groups"),
        (json!({ "build_name": "1", "environments": [], "groups": ["front"] }), "/environments"),
        (json!({ "build_name": "1", "environments": ["Production"], "groups": ["front"] }), "/environments"),
        (json!({ "build_name": "1", "environments": ["production"] }), "/groups"),
        (json!({ "build_name": "1", "groups": ["front"] }), "/environments"),
        (json!({ "build_name": "1", "servers": [], "gitdeploys": ["web"] }), "/servers"),
        (json!({ "build_name": "1", "servers": ["web1"], "gitdeploys": [] }), "/gitdeploys"),
        (
            json!({ "build_name": "1", "servers": ["web1"], "gitdeploys": ["web"], "rolling_pause": 0 }),
            "/rolling_pause",
        ),
        (with(&to_groups("1", &["front"]), &json!({ "rolling_divisor": 0 })), "/rolling_divisor"),
        (with(&to_groups("1", &["front"]), &json!({ "rolling_pause": 86401 })), "/rolling_pause"),
        (with(&to_groups("1", &["front"]), &json!({ "servers": ["web1"] })), "/groups"),
    ] {
        let refused = host.client.post(DEPLOYMENTS, &asked).await;
        assert_eq!(
            (refused.status, &refused.body["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{asked}: {refused}"
        );
    }
    assert_eq!(host.client.get(DEPLOYMENTS).await.body["items"], json!([]));
}

#[tokio::test]
async fn groups_without_servers_are_told_and_none_with_any_is_refused() {
    let host = with_shop(&["web1"], &["web9"]).await;
    on(&host, "web", "initialize", &["web1"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    make_gitdeploy(&host, "worker", "tools", "master", "/worker").await;
    make_group(&host, "empty", &json!(["worker"]), true).await;
    upload(&host, "1", &[("a", "1")]).await;
    let plan = planned(&host, &to_groups("1", &["front", "empty"])).await;
    assert_eq!(plan["warnings"], json!(["group `empty` has no server in these environments"]));
    let refused = host.client.post(DEPLOYMENTS, &to_groups("1", &["empty"])).await;
    assert_eq!((refused.status, &refused.body["errors"][0]["pointer"]), (422, &json!("/groups")), "{refused}");
    let elsewhere = json!({ "build_name": "1", "environments": ["staging"], "groups": ["front"] });
    assert_eq!(host.client.post(DEPLOYMENTS, &elsewhere).await.status, 422);
}

#[tokio::test]
async fn a_plan_shows_what_would_be_done_and_changes_nothing() {
    let host = with_two_batches().await;
    upload(&host, "1", &[("a", "1")]).await;
    let asked = to_groups("1", &["front"]);
    let plan = planned(&host, &asked).await;
    assert_eq!(plan, planned(&host, &asked).await);
    assert_eq!(
        plan["batches"],
        json!([
            { "servers": ["web1"], "gitdeploys": ["web"], "ordered_gitdeploy": false,
              "targets": [{ "server": "web1", "gitdeploy": "web" }] },
            { "servers": ["web2"], "gitdeploys": ["web"], "ordered_gitdeploy": false,
              "targets": [{ "server": "web2", "gitdeploy": "web" }] },
        ])
    );
    assert_eq!(plan["before"][0], json!({ "server": "web1", "gitdeploy": "web", "deployed": null }));
    assert_eq!(plan["commits"][0]["gitrepo"], "site");
    assert_eq!(host.client.get(DEPLOYMENTS).await.body["items"], json!([]));
    assert_eq!(host.client.get("/app/shop/gitrepos/site").await.body["last_commit"], Value::Null);
}

#[tokio::test]
async fn only_the_plan_that_was_agreed_to_is_done() {
    let host = with_two_batches().await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build)]).await;
    }
    let asked = to_groups("2", &["front"]);
    let agreed = with(&asked, &json!({ "plan": planned(&host, &asked).await["hash"] }));
    // Commands around the pull, members, and what the branch is at.
    let actions = json!({ "actions": { "postpull": [["true"]] } });
    assert_eq!(host.client.patch(WEB, &actions).await.status, 200);
    let refused = host.client.post(DEPLOYMENTS, &agreed).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    assert_eq!(host.client.patch(WEB, &json!({ "actions": { "postpull": [] } })).await.status, 200);
    // While it waits for another one to end.
    let first = start(&host, &with(&to_groups("1", &["front"]), &json!({ "rolling_pause": LONG }))).await;
    currently_on(&host.client, &first, "pause of").await;
    let again = with(&asked, &json!({ "plan": planned(&host, &asked).await["hash"] }));
    assert_eq!(host.client.post(DEPLOYMENTS, &agreed).await.status, 409);
    let second = start(&host, &again).await;
    host.running_job(&second).await;
    assert_eq!(host.client.patch(WEB, &actions).await.status, 200);
    cancel(&host, &first).await;
    let job = host.ended_job(&second).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("plan-changed")), "{job:#}");
    assert_eq!(host.client.get("/app/shop/gitrepos/site").await.body["last_build"], "1");
    let agreed = with(&asked, &json!({ "plan": planned(&host, &asked).await["hash"] }));
    assert_eq!(deployed(&host, &agreed).await["status"], "succeeded");
}

async fn planned(host: &TestHost, asked: &Value) -> Value {
    let plan = host.client.post(DEPLOYMENTS, &with(asked, &json!({ "dry_run": true }))).await;
    assert_eq!(plan.status, 200, "{plan}");
    plan.body
}
