//! A host that is killed (SIGKILL) after each step of a deployment, which often is in the midst of the next one: it goes on
//! where it was, and nothing is done twice.

use std::net::{Ipv4Addr, TcpListener};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{DEPLOYMENTS, WEB, deployment, make_group, on, shop_on, states, to_groups, with};
use crate::commits::{git, repository, upload};
use crate::harness::{Client, Setup, eventually};
use crate::working_copies::sh;

#[tokio::test]
async fn a_host_that_is_killed_after_each_step_does_each_once() {
    // Working copies pull from the address that they were made with.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let setup = Setup::default().switch("--local-servers").flag("--listen", format!("127.0.0.1:{port}"));
    let host = shop_on(setup, &["web1", "web2"], &[]).await;
    on(&host, "web", "initialize", &["web1", "web2"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    let record = |what: &str| json!([["sh", "-c", format!("echo x >>../{what}; sleep 0.2")]]);
    let actions = json!({ "actions": { "prepull": record("before"), "postpull": record("after") } });
    assert_eq!(host.client.patch(WEB, &actions).await.status, 200);
    upload(&host, "1", &[("a", "1")]).await;
    let repo = repository(&host).await;
    let stopped = host.stop().await;

    let mut program = stopped.start_program();
    let (_, mut client) = program.ready(&stopped.database.token).await;
    let asked = with(&to_groups("1", &["front"]), &json!({ "rolling_pause": 1 }));
    let id = client.post(DEPLOYMENTS, &asked).await.body["job_id"].as_str().unwrap().to_owned();
    let mut kills = 0;
    let mut done = 0;
    while let Some(steps) = more_steps(&client, &id, done).await {
        program.signal(Signal::KILL);
        program.ended().await;
        (done, kills) = (steps, kills + 1);
        program = stopped.start_program();
        (_, client) = program.ready(&stopped.database.token).await;
    }
    // The check before it begins, the plan, the commit, and for each server a check, two commands, a pull and a pause.
    assert!(kills >= 8, "{kills}");
    program.signal(Signal::TERM);
    program.ended().await;

    let host = stopped.start().await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(states(&deployment(&host, &job).await), "web1 succeeded\nweb2 succeeded");
    for server in ["web1", "web2"] {
        assert_eq!(sh(&host, server, "cat shop/a before after").await, "1x\nx", "{server}");
    }
    assert_eq!(git(&repo, &["log", "--format=%H", "--all"]).lines().count(), 1);
    let receipts = host.client.get("/app/shop/receipts").await.body;
    assert_eq!(receipts["items"].as_array().unwrap().len(), 2, "{receipts:#}");
}

/// Waits until more steps have ended than these. `None`: the job has.
async fn more_steps(client: &Client, id: &str, than: usize) -> Option<usize> {
    eventually("another step to end", async || {
        let job = client.get(&format!("/job/{id}?steps=true")).await.body;
        let has_ended = |step: &&Value| {
            // That a hook is planned touches nothing.
            !step["ended_at"].is_null() && !step["name"].as_str().unwrap().starts_with("plan ")
        };
        let ended = job["steps"].as_array().unwrap().iter().filter(has_ended).count();
        match job["status"].as_str().unwrap() {
            "queued" | "running" if ended > than => Some(Some(ended)),
            "queued" | "running" => None,
            _ => Some(None),
        }
    })
    .await
}
