//! Servers that do not answer, some of them by SSH: a real sshd that goes in the middle of a deployment.

use std::net::{Ipv4Addr, TcpListener};

use serde_json::{Value, json};

use super::{
    DEPLOYMENTS, WEB, currently_on, deployed, deployment, make_gitdeploy, make_group, on, prepull, shop_on, start,
    states, to_groups, with,
};
use crate::commits::{upload, with_gitdeploy};
use crate::harness::{Setup, Sshd, TestHost, eventually};
use crate::ssh_copies::with_server;
use crate::working_copies::sh;

/// The servers `db1` and `web2`, which are local, and between them `web1`, which is reached by SSH; a group that rolls over
/// them one by one.
async fn with_three() -> (TestHost, Sshd) {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let here = format!("127.0.0.1:{port}");
    let setup = Setup::default().switch("--local-servers").flag("--listen", &here);
    let host = with_gitdeploy(setup.flag("--public-url", format!("http://{here}")), &json!({})).await;
    let sshd = with_server(&host).await;
    let path = sshd.home.join("shop");
    assert_eq!(host.client.patch(WEB, &json!({ "location": { "path": path } })).await.status, 200);
    assert_eq!(host.client.patch("/server/web1", &json!({ "environment": "production" })).await.status, 200);
    for name in ["db1", "web2"] {
        let new = json!({ "name": name, "environment": "production", "driver": "local" });
        assert_eq!(host.client.post("/server", &new).await.status, 201);
        sh(&host, name, &format!("mkdir -p .{}", sshd.home.display())).await;
    }
    on(&host, "web", "initialize", &["db1", "web1", "web2"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    (host, sshd)
}

fn one_by_one(build: &str, more: &Value) -> Value {
    with(&with(&to_groups(build, &["front"]), &json!({ "rolling_divisor": 3 })), more)
}

#[tokio::test]
async fn a_server_that_dies_between_batches_ends_the_deployment_which_goes_on_when_it_is_back() {
    let (host, mut sshd) = with_three().await;
    upload(&host, "1", &[("a", "1")]).await;
    let job = deployed(&host, &one_by_one("1", &json!({}))).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(std::fs::read_to_string(sshd.home.join("shop/a")).unwrap(), "1");

    upload(&host, "2", &[("a", "2")]).await;
    let id = start(&host, &one_by_one("2", &json!({ "rolling_pause": 2 }))).await;
    currently_on(&host.client, &id, "pause of").await;
    sshd.stop();
    let job = host.ended_job(&id).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("servers-failed")), "{job:#}");
    assert_eq!(states(&deployment(&host, &job).await), "db1 succeeded\nweb1 failed: failed\nweb2 pending");
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("`web1` failed in batch 2 of 3; later batches were not begun"), "{message}");

    sshd.restart_with("").await;
    let resumed = host.client.post(&format!("{DEPLOYMENTS}/{id}"), &json!({ "resume": true })).await;
    let job = host.ended_job(resumed.body["job_id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(states(&deployment(&host, &job).await), "web1 succeeded\nweb2 succeeded");
    assert_eq!(std::fs::read_to_string(sshd.home.join("shop/a")).unwrap(), "2");
}

#[tokio::test]
async fn two_of_six_that_do_not_answer_are_left_out_in_one_batch_and_in_two() {
    let host = shop_on(Setup::default().switch("--local-servers"), &["a", "c", "d", "f"], &[]).await;
    on(&host, "web", "initialize", &["a", "c", "d", "f"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    // As they were when they still answered.
    let mut database = host.database.connect().await;
    for (server, port) in [("b", 9), ("e", 10)] {
        let connection = json!({ "host": "127.0.0.1", "port": port, "user": "nobody" });
        let new = json!({ "name": server, "environment": "production", "driver": "ssh", "connection": connection });
        assert_eq!(host.client.post("/server", &new).await.status, 201);
        let had = "insert into gitdeploy_servers (application, gitdeploy, server, deployed_build, deployed_at)
            values ('shop', 'web', $1, 'old', now())";
        sqlx::query(had).bind(server).execute(&mut database).await.unwrap();
    }
    upload(&host, "1", &[("a", "1")]).await;
    for (divisor, batches) in [(1, 1), (3, 3)] {
        let asked = with(&to_groups("1", &["front"]), &json!({ "rolling_divisor": divisor, "skip_unreachable": true }));
        let job = deployed(&host, &asked).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        let shown = deployment(&host, &job).await;
        assert_eq!(shown["progress"]["phase2"]["batches"].as_array().unwrap().len(), batches, "{shown:#}");
        let expected = "a succeeded\nb skipped: failed\nc succeeded\nd succeeded\ne skipped: failed\nf succeeded";
        assert_eq!(states(&shown), expected);
        let census = host.client.get("/app/shop/census").await.body;
        for (server, build) in [("a", "1"), ("b", "old"), ("e", "old"), ("f", "1")] {
            assert_eq!(
                census["production"]["front"][server]["web"]["deployed"]["build"], build,
                "{server}: {census:#}"
            );
        }
    }
    // Otherwise they are failures, and the first one ends it.
    let job = deployed(&host, &with(&to_groups("1", &["front"]), &json!({ "rolling_divisor": 6 }))).await;
    let expected = "a succeeded\nb failed: failed\nc pending\nd pending\ne pending\nf pending";
    assert_eq!(states(&deployment(&host, &job).await), expected);
}

#[tokio::test]
async fn a_server_that_is_back_meanwhile_is_not_half_done() {
    let (host, mut sshd) = with_three().await;
    let worker = sshd.home.join("worker");
    make_gitdeploy(&host, "worker", "tools", "master", worker.to_str().unwrap()).await;
    on(&host, "worker", "initialize", &["db1", "web1", "web2"]).await;
    make_group(&host, "stages", &json!([["web"], ["worker"]]), true).await;
    upload(&host, "1", &[("a", "1")]).await;
    sshd.stop();
    let options = json!({ "rolling_divisor": 1, "ordered_pause": 5, "skip_unreachable": true });
    let id = start(&host, &with(&to_groups("1", &["stages"]), &options)).await;
    currently_on(&host.client, &id, "pause of").await;
    sshd.restart_with("").await;
    eventually("the server to answer", async || {
        let checked = host.client.post_empty("/server/web1?check=true").await;
        let job = host.ended_job(checked.body["job_id"].as_str().unwrap()).await;
        (job["result"]["web1"]["reachable"] == true).then_some(())
    })
    .await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let shown = deployment(&host, &job).await;
    for stage in shown["progress"]["phase2"]["batches"].as_array().unwrap() {
        let states = ["db1", "web1", "web2"].map(|server| {
            let of = stage[server].as_object().unwrap().values().next().unwrap();
            of["state"].as_str().unwrap()
        });
        assert_eq!(states, ["succeeded", "skipped", "succeeded"], "{shown:#}");
    }
    assert!(!worker.join("a").exists() && !sshd.home.join("shop/a").exists());
}

#[tokio::test]
async fn servers_that_do_not_answer_are_skipped_where_that_is_asked_for() {
    let (host, mut sshd) = with_three().await;
    upload(&host, "1", &[("a", "1")]).await;
    sshd.stop();
    let skip = json!({ "skip_unreachable": true });
    let job = deployed(&host, &one_by_one("1", &skip)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let shown = deployment(&host, &job).await;
    let expected = "db1 succeeded\nweb1 skipped: failed\nweb2 succeeded";
    assert_eq!((&*states(&shown), &shown["status"]), (expected, &json!("complete")), "{shown:#}");
    let census = host.client.get("/app/shop/census").await.body;
    assert_eq!(census["production"]["front"]["web1"]["web"]["deployed"], Value::Null, "{census:#}");

    // Commands before the pull do not answer either.
    prepull(&host, "true").await;
    let job = deployed(&host, &one_by_one("1", &skip)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    // No server was reached.
    let alone = json!({ "build_name": "1", "servers": ["web1"], "gitdeploys": ["web"], "skip_unreachable": true });
    let job = deployed(&host, &alone).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("servers-failed")), "{job:#}");
    assert_eq!(deployment(&host, &job).await["status"], "error");

    // What fails after its server has answered is a failure.
    sshd.restart_with("").await;
    eventually("the server to answer", async || {
        let checked = host.client.post_empty("/server/web1?check=true").await;
        let job = host.ended_job(checked.body["job_id"].as_str().unwrap()).await;
        (job["result"]["web1"]["reachable"] == true).then_some(())
    })
    .await;
    prepull(&host, "test ! -e ../broken").await;
    std::fs::write(sshd.home.join("broken"), "").unwrap();
    let job = deployed(&host, &one_by_one("1", &skip)).await;
    assert_eq!(job["status"], "failed", "{job:#}");
    assert_eq!(states(&deployment(&host, &job).await), "db1 succeeded\nweb1 failed: prepull\nweb2 pending");
}
