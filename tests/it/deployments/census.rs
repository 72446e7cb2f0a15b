//! The census after runs that fail, or do a half of it: what is committed, what each server has, since when and by whom.

use serde_json::{Value, json};

use super::{
    DEPLOYMENTS, WEB, cancel, currently_on, deployed, on, prepull, start, to_groups, two_batches_on, with,
    with_two_batches,
};
use crate::commits::{committed, upload};
use crate::harness::{Setup, TestHost};
use crate::working_copies::sh;

#[tokio::test]
async fn it_shows_what_there_is_after_a_deployment_of_every_outcome() {
    let host = with_two_batches().await;
    for build in ["fail-AUTO_DEPLOYMENT_START", "fail-AUTO_DEPLOYMENT_BATCH_BEGIN-0", "1", "2", "3", "4", "5"] {
        upload(&host, build, &[("a", build)]).await;
    }
    upload(&host, "in-the-way", &[("a", "6"), ("mine", "6")]).await;
    // Nothing was done.
    fails(&host, "fail-AUTO_DEPLOYMENT_START").await;
    assert_eq!(shown(&host).await, "web1 none none, web2 none none");
    // It was committed, and no server was touched.
    let begin = fails(&host, "fail-AUTO_DEPLOYMENT_BATCH_BEGIN-0").await;
    let build = "fail-AUTO_DEPLOYMENT_BATCH_BEGIN-0";
    assert_eq!(shown(&host).await, format!("web1 {build} none, web2 {build} none"));
    assert_eq!(entry(&host, "web1").await["committed"]["job_id"], begin["job_id"]);

    let first = deployed(&host, &to_groups("1", &["front"])).await;
    assert_eq!(shown(&host).await, "web1 1 1, web2 1 1");
    let before = entry(&host, "web2").await["deployed"].clone();
    assert_eq!((&before["job_id"], &before["username"]), (&first["job_id"], &json!("admin")), "{before:#}");
    // Before the pull.
    prepull(&host, "test ! -e ../broken").await;
    sh(&host, "web1", "touch broken").await;
    fails(&host, "2").await;
    assert_eq!(shown(&host).await, "web1 2 1, web2 2 1");
    sh(&host, "web1", "rm broken").await;
    // In the pull.
    sh(&host, "web1", "echo mine >shop/mine").await;
    fails(&host, "in-the-way").await;
    assert_eq!(shown(&host).await, "web1 in-the-way 1, web2 in-the-way 1");
    // What a server has had all the time it has since then.
    assert_eq!(entry(&host, "web2").await["deployed"], before);
    // After the pull: the working copy has moved.
    let broken = json!({ "actions": { "postpull": [["sh", "-c", "test ! -e ../late"]] } });
    assert_eq!(host.client.patch(WEB, &broken).await.status, 200);
    sh(&host, "web1", "rm shop/mine; touch late").await;
    let failed = fails(&host, "3").await;
    assert_eq!(shown(&host).await, "web1 3 3, web2 3 1");
    let moved = entry(&host, "web1").await["deployed"].clone();
    assert_eq!(moved["job_id"], failed["job_id"], "{moved:#}");
    sh(&host, "web1", "rm late").await;
    // What goes on with it has web2 alone to pull, and finds web1 as it is.
    let resumed = again(&host, &failed, "resume").await;
    assert_eq!(resumed["status"], "succeeded", "{resumed:#}");
    assert_eq!(shown(&host).await, "web1 3 3, web2 3 3");
    assert_eq!(entry(&host, "web1").await["deployed"], moved);
    assert_eq!(entry(&host, "web2").await["deployed"]["job_id"], resumed["job_id"]);

    // Between two batches.
    let id = start(&host, &with(&to_groups("4", &["front"]), &json!({ "rolling_pause": super::LONG }))).await;
    currently_on(&host.client, &id, "pause of").await;
    cancel(&host, &id).await;
    let cancelled = host.ended_job(&id).await;
    assert_eq!(shown(&host).await, "web1 4 4, web2 4 3");
    // A half of what takes it back.
    sh(&host, "web1", "touch broken").await;
    let half = again(&host, &cancelled, "rollback").await;
    assert_eq!(half["status"], "failed", "{half:#}");
    assert_eq!(shown(&host).await, "web1 3 4, web2 3 3");
    sh(&host, "web1", "rm broken").await;
    assert_eq!(again(&host, &cancelled, "rollback").await["status"], "succeeded");
    assert_eq!(shown(&host).await, "web1 3 3, web2 3 3");
}

#[tokio::test]
async fn it_shows_what_there_is_after_jobs_of_gitdeploys_that_fail_on_a_server() {
    let host = with_two_batches().await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build)]).await;
    }
    committed(&host, "1").await;
    assert_eq!(shown(&host).await, "web1 1 none, web2 1 none");
    prepull(&host, "test ! -e ../broken").await;
    sh(&host, "web1", "touch broken").await;
    let pulled = job_on(&host, "pull", &["web1", "web2"]).await;
    assert_eq!(pulled["status"], "failed", "{pulled:#}");
    assert_eq!(shown(&host).await, "web1 1 none, web2 1 1");
    assert_eq!(entry(&host, "web2").await["deployed"]["job_id"], pulled["job_id"]);
    // A commit that nobody has pulled.
    committed(&host, "2").await;
    assert_eq!(shown(&host).await, "web1 2 none, web2 2 1");
    // Where it is not removed it is still there, and where it is removed it is not.
    sh(&host, "web1", "mv shop/.git/elita shop/.git/kept").await;
    let removed = job_on(&host, "deinitialize", &["web1", "web2"]).await;
    assert_eq!(removed["status"], "failed", "{removed:#}");
    assert_eq!(shown(&host).await, "web1 2 none");
    sh(&host, "web1", "mv shop/.git/kept shop/.git/elita").await;
    on(&host, "web", "deinitialize", &["web1"]).await;
    // The same of making it; there it has what was committed, and nobody has deployed that.
    sh(&host, "web2", "mkdir shop && touch shop/precious").await;
    let made = job_on(&host, "initialize", &["web1", "web2"]).await;
    assert_eq!(made["status"], "failed", "{made:#}");
    assert_eq!(shown(&host).await, "web1 2 none");
}

#[tokio::test]
async fn it_shows_what_there_is_after_a_host_has_died() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = two_batches_on(Setup::default().flag("--listen", format!("127.0.0.1:{port}"))).await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build)]).await;
    }
    deployed(&host, &to_groups("1", &["front"])).await;
    let stopped = host.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let asked = with(&to_groups("2", &["front"]), &json!({ "rolling_pause": super::LONG }));
    let id = client.post(DEPLOYMENTS, &asked).await.body["job_id"].as_str().unwrap().to_owned();
    currently_on(&client, &id, "pause of").await;
    program.signal(rustix::process::Signal::KILL);
    program.ended().await;
    let host = stopped.start().await;
    assert_eq!(shown(&host).await, "web1 2 2, web2 2 1");
    currently_on(&host.client, &id, "pause of").await;
    cancel(&host, &id).await;
    assert_eq!(host.ended_job(&id).await["status"], "cancelled");
    assert_eq!(shown(&host).await, "web1 2 2, web2 2 1");
    assert_eq!(entry(&host, "web1").await["deployed"]["job_id"], json!(id));
}

/// A deployment that does not succeed.
async fn fails(host: &TestHost, build: &str) -> Value {
    let job = deployed(host, &to_groups(build, &["front"])).await;
    assert_eq!(job["status"], "failed", "{job:#}");
    job
}

async fn again(host: &TestHost, job: &Value, task: &str) -> Value {
    let path = format!("{DEPLOYMENTS}/{}", job["job_id"].as_str().unwrap());
    let accepted = host.client.post(&path, &json!({ task: true })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    host.ended_job(accepted.body["job_id"].as_str().unwrap()).await
}

/// The job that does something with the gitdeploy on servers, once it has ended.
async fn job_on(host: &TestHost, task: &str, servers: &[&str]) -> Value {
    let accepted = host.client.post(WEB, &json!({ task: true, "servers": servers })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    host.ended_job(accepted.body["job_id"].as_str().unwrap()).await
}

async fn entry(host: &TestHost, server: &str) -> Value {
    let census = host.client.get("/app/shop/census").await.body;
    census["production"]["front"][server]["web"].clone()
}

/// Each server with what is committed and what it has. Only a build that is there has a time.
async fn shown(host: &TestHost) -> String {
    let census = host.client.get("/app/shop/census").await.body;
    let servers = census["production"]["front"].as_object().unwrap_or_else(|| panic!("{census:#}")).iter();
    let lines = servers.map(|(server, of)| {
        let build = |side: &str| {
            let build = &of["web"][side];
            assert_eq!(build.is_null(), !build["at"].is_string(), "{census:#}");
            build["build"].as_str().unwrap_or("none")
        };
        format!("{server} {} {}", build("committed"), build("deployed"))
    });
    lines.collect::<Vec<_>>().join(", ")
}
