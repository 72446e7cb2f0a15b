//! Deployments that go on with an earlier one, or take it back.

use serde_json::{Value, json};

use super::{
    DEPLOYMENTS, WEB, cancel, deployed, deployment, make_group, on, prepull, start, states, to_groups, with, with_shop,
    with_two_batches,
};
use crate::commits::{repository, upload};
use crate::harness::TestHost;
use crate::working_copies::sh;

#[tokio::test]
async fn what_a_deployment_has_not_done_is_done_by_another_one() {
    let host = with_two_batches().await;
    upload(&host, "1", &[("a", "1")]).await;
    prepull(&host, "test ! -e ../broken").await;
    sh(&host, "web2", "touch broken").await;
    let failed = deployed(&host, &to_groups("1", &["front"])).await;
    assert_eq!(failed["status"], "failed", "{failed:#}");
    sh(&host, "web2", "rm broken").await;
    let resumed = again(&host, &failed, "resume").await;
    assert_eq!(resumed["status"], "succeeded", "{resumed:#}");
    let shown = deployment(&host, &resumed).await;
    assert_eq!(states(&shown), "web2 succeeded");
    assert_eq!((&shown["resumes"], &shown["rolls_back"]), (&failed["job_id"], &Value::Null), "{shown:#}");
    assert_eq!(shown["groups"], json!(["front"]));
    assert_eq!(sh(&host, "web2", "cat shop/a").await, "1");
    // Nothing is left; and of the first one it would be, but something else was committed.
    assert_eq!(refused(&host, &resumed, "resume").await, 409);
    upload(&host, "2", &[("a", "2")]).await;
    assert_eq!(deployed(&host, &to_groups("2", &["front"])).await["status"], "succeeded");
    assert_eq!(refused(&host, &failed, "resume").await, 409);
}

#[tokio::test]
async fn a_rollback_puts_back_what_was_there_on_the_servers_that_were_touched() {
    let host = with_two_batches().await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build), (build, "")]).await;
    }
    let first = deployed(&host, &to_groups("1", &["front"])).await;
    // Nothing was there before.
    assert_eq!(refused(&host, &first, "rollback").await, 409);
    prepull(&host, "test ! -e ../broken").await;
    sh(&host, "web1", "touch broken").await;
    let failed = deployed(&host, &to_groups("2", &["front"])).await;
    assert_eq!(states(&deployment(&host, &failed).await), "web1 failed: prepull\nweb2 pending");
    sh(&host, "web1", "rm broken").await;
    // Its build is kept for that.
    let kept = host.client.delete("/app/shop/builds/1").await;
    assert_eq!(kept.status, 409, "{kept}");
    let rolled_back = again(&host, &failed, "rollback").await;
    assert_eq!(rolled_back["status"], "succeeded", "{rolled_back:#}");
    let shown = deployment(&host, &rolled_back).await;
    assert_eq!((states(&shown).as_str(), &shown["build_name"]), ("web1 succeeded", &json!("1")), "{shown:#}");
    assert_eq!(shown["rolls_back"], failed["job_id"]);
    assert_eq!(sh(&host, "web1", "cd shop; ls; cat a").await, "1\na\n1");
    // A deployment that has touched nothing has nothing to put back.
    upload(&host, "fail-AUTO_DEPLOYMENT_START", &[("a", "3")]).await;
    let stopped = deployed(&host, &to_groups("fail-AUTO_DEPLOYMENT_START", &["front"])).await;
    assert_eq!(refused(&host, &stopped, "rollback").await, 409);
}

#[tokio::test]
async fn servers_that_had_different_builds_are_named_and_not_put_back() {
    let host = with_shop(&["web1", "web2", "web3"], &[]).await;
    on(&host, "web", "initialize", &["web1", "web2", "web3"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    for build in ["1", "2", "3"] {
        upload(&host, build, &[("a", build)]).await;
    }
    for (build, servers) in [("1", vec!["web1", "web3"]), ("2", vec!["web2"])] {
        let asked = json!({ "build_name": build, "servers": servers, "gitdeploys": ["web"] });
        assert_eq!(deployed(&host, &asked).await["status"], "succeeded");
    }
    prepull(&host, "test ! -e ../broken").await;
    sh(&host, "web2", "touch broken").await;
    let job = deployed(&host, &to_groups("3", &["front"])).await;
    assert_eq!(job["status"], "failed", "{job:#}");
    let path = format!("{DEPLOYMENTS}/{}", job["job_id"].as_str().unwrap());
    let refused = host.client.post(&path, &json!({ "rollback": true })).await;
    assert_eq!(refused.status, 409, "{refused}");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("`web` on `web1` had build `1`") && detail.contains("`web` on `web2` had build `2`"));
    // Those that keep another build than the branch gets are in the plan.
    let alone = json!({ "build_name": "3", "servers": ["web1"], "gitdeploys": ["web"] });
    let job = deployed(&host, &alone).await;
    let path = format!("{DEPLOYMENTS}/{}", job["job_id"].as_str().unwrap());
    let plan = host.client.post(&path, &json!({ "rollback": true, "dry_run": true })).await;
    // web1 had it already.
    assert_eq!((plan.status, &plan.body["build_name"]), (200, &json!("3")), "{plan}");
    assert_eq!(
        plan.body["left_out"],
        json!([{ "server": "web2", "gitdeploy": "web" }, { "server": "web3", "gitdeploy": "web" }])
    );
}

#[tokio::test]
async fn a_rollback_puts_back_what_moved_and_leaves_the_rest_as_it_is() {
    let servers = ["web1", "web2", "web3", "web4"];
    let host = with_shop(&servers, &[]).await;
    on(&host, "web", "initialize", &servers).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build)]).await;
    }
    assert_eq!(deployed(&host, &to_groups("1", &["front"])).await["status"], "succeeded");
    let postpull = json!({ "actions": { "postpull": [["sh", "-c", "test ! -e ../broken"]] } });
    assert_eq!(host.client.patch(WEB, &postpull).await.status, 200);
    sh(&host, "web2", "touch broken").await;
    let failed = deployed(&host, &to_groups("2", &["front"])).await;
    let touched = "web1 succeeded\nweb2 failed: postpull\nweb3 pending\nweb4 pending";
    assert_eq!(states(&deployment(&host, &failed).await), touched);
    let before = sh(&host, "web3", "git -C shop rev-parse HEAD").await;
    sh(&host, "web2", "rm broken").await;
    let rolled_back = again(&host, &failed, "rollback").await;
    assert_eq!(rolled_back["status"], "succeeded", "{rolled_back:#}");
    assert_eq!(states(&deployment(&host, &rolled_back).await), "web1 succeeded\nweb2 succeeded");
    for server in servers {
        assert_eq!(sh(&host, server, "cat shop/a").await, "1", "{server}");
    }
    assert_eq!(sh(&host, "web3", "git -C shop rev-parse HEAD").await, before);
}

#[tokio::test]
async fn what_has_failed_before_any_server_is_not_taken_back() {
    let host = with_two_batches().await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build)]).await;
    }
    let complete = deployed(&host, &to_groups("1", &["front"])).await;
    let path = format!("{DEPLOYMENTS}/{}", complete["job_id"].as_str().unwrap());
    assert_eq!(host.client.post(&path, &json!({ "cancel": true })).await.status, 409);
    // In phase 1.
    let repo = repository(&host).await;
    let aside = repo.with_extension("aside");
    std::fs::rename(&repo, &aside).unwrap();
    let failed = deployed(&host, &to_groups("2", &["front"])).await;
    assert_eq!(failed["status"], "failed", "{failed:#}");
    std::fs::rename(&aside, &repo).unwrap();
    assert_eq!(states(&deployment(&host, &failed).await), "web1 pending\nweb2 pending");
    assert_eq!(refused(&host, &failed, "rollback").await, 409);
    for server in ["web1", "web2"] {
        assert_eq!(sh(&host, server, "cat shop/a").await, "1", "{server}");
    }
    // It can be gone on with.
    assert_eq!(again(&host, &failed, "resume").await["status"], "succeeded");
    assert_eq!(sh(&host, "web2", "cat shop/a").await, "2");
}

#[tokio::test]
async fn a_deployment_that_has_not_ended_is_neither_gone_on_with_nor_taken_back() {
    let host = with_two_batches().await;
    upload(&host, "1", &[("a", "1")]).await;
    let id = start(&host, &with(&to_groups("1", &["front"]), &json!({ "rolling_pause": 3600 }))).await;
    let job = json!({ "job_id": id });
    for task in ["resume", "rollback"] {
        assert_eq!(refused(&host, &job, task).await, 409);
    }
    for body in [json!({}), json!({ "cancel": true, "resume": true }), json!({ "cancel": true, "dry_run": true })] {
        assert_eq!(host.client.post(&format!("{DEPLOYMENTS}/{id}"), &body).await.status, 422, "{body}");
    }
    let unknown = format!("{DEPLOYMENTS}/0197c9a0-7b1e-7c3d-8a54-3f2f1f0e9d8c");
    assert_eq!(host.client.post(&unknown, &json!({ "cancel": true })).await.status, 404);
    cancel(&host, &id).await;
    host.ended_job(&id).await;
}

/// The job of a deployment that goes on with another one or takes it back, once it has ended.
async fn again(host: &TestHost, job: &Value, task: &str) -> Value {
    let path = format!("{DEPLOYMENTS}/{}", job["job_id"].as_str().unwrap());
    let accepted = host.client.post(&path, &json!({ task: true })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    host.ended_job(accepted.body["job_id"].as_str().unwrap()).await
}

async fn refused(host: &TestHost, job: &Value, task: &str) -> u16 {
    let path = format!("{DEPLOYMENTS}/{}", job["job_id"].as_str().unwrap());
    host.client.post(&path, &json!({ task: true })).await.status
}
