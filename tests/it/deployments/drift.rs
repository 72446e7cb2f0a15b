//! Drift: what servers have that did not come from here.

use serde_json::{Value, json};

use super::{deployed, to_groups, two_batches_on, with_two_batches};
use crate::commits::upload;
use crate::harness::{Elita, Setup, TestHost, eventually};
use crate::working_copies::sh;

/// Commits what is in the working copy of a server.
const COMMIT: &str = "git -C shop -c user.name=ada -c user.email=ada@localhost commit -qam";

#[tokio::test]
async fn a_check_finds_local_commits_and_uncommitted_changes() {
    let host = with_two_batches().await;
    upload(&host, "1", &[("a", "1"), ("b", "1")]).await;
    deployed(&host, &to_groups("1", &["front"])).await;
    assert_eq!(drift(&host, "web1").await, Value::Null);
    let checked = check(&host, "web1").await;
    let found = drift(&host, "web1").await;
    let commit = sh(&host, "web1", "git -C shop rev-parse HEAD").await;
    assert_eq!(
        (&found["drifted"], &found["head"], &found["expected"]),
        (&json!(false), &json!(commit), &json!(commit))
    );
    assert_eq!(found["job_id"], checked["job_id"], "{found:#}");

    sh(&host, "web1", &format!("echo mine >shop/a && {COMMIT} 'Mend it here' && echo more >shop/b && touch shop/new"))
        .await;
    check(&host, "web1").await;
    let found = drift(&host, "web1").await;
    let own = sh(&host, "web1", "git -C shop rev-parse HEAD").await;
    assert_eq!((&found["drifted"], &found["head"]), (&json!(true), &json!(own)), "{found:#}");
    assert_eq!(found["local_commits"], json!([format!("{own} Mend it here")]), "{found:#}");
    assert_eq!((&found["uncommitted"], &found["expected"]), (&json!(["b"]), &json!(commit)), "{found:#}");
    assert_eq!(sh(&host, "web1", "cat shop/b").await, "more", "a check changes nothing");

    // A commit of the server's own stays, and an uncommitted change goes.
    upload(&host, "2", &[("a", "1"), ("b", "2")]).await;
    assert_eq!(deployed(&host, &to_groups("2", &["front"])).await["status"], "succeeded");
    assert_eq!(drift(&host, "web1").await, Value::Null);
    check(&host, "web1").await;
    let found = drift(&host, "web1").await;
    assert_eq!(found["local_commits"], json!([format!("{own} Mend it here")]), "{found:#}");
    assert_eq!(found["uncommitted"], json!([]), "{found:#}");
    // What was pulled is gone.
    sh(&host, "web2", "git -C shop reset -q --hard HEAD~1").await;
    check(&host, "web2").await;
    let found = drift(&host, "web2").await;
    assert_eq!(found["drifted"], true, "{found:#}");
    assert_eq!(found["message"], "the commit that was pulled last is not there");
    // All of it is.
    sh(&host, "web2", "rm -r shop").await;
    check(&host, "web2").await;
    let found = drift(&host, "web2").await;
    assert_eq!(found["drifted"], Value::Null, "{found:#}");
    assert!(found["message"].as_str().unwrap().contains("there is no working copy"), "{found:#}");
}

#[tokio::test]
async fn the_client_shows_which_servers_have_drifted() {
    let host = with_two_batches().await;
    upload(&host, "1", &[("a", "1")]).await;
    deployed(&host, &to_groups("1", &["front"])).await;
    let elita = Elita::of(&host);
    assert_eq!(elita.run(&["server", "check", "web1", "web2"]).await.code, 0);
    let fine = elita.run(&["census", "shop", "--drift", "--exit-code"]).await;
    assert!(fine.code == 0 && !fine.stdout.contains("web1"), "{fine}");
    sh(&host, "web1", "echo mine >shop/a").await;
    assert_eq!(elita.run(&["server", "check", "web1", "web2"]).await.code, 0);
    for command in [&["census", "shop", "--drift", "--exit-code"][..], &["status", "shop", "--exit-code"]] {
        let said = elita.run(command).await;
        assert_eq!(said.code, 1, "{said}");
        assert!(said.stdout.contains("1 changed file: a") && !said.stdout.contains("web2"), "{said}");
    }
}

#[tokio::test]
async fn drift_is_found_by_the_clock() {
    let host = two_batches_on(Setup::default().flag("--server-check-seconds", "2")).await;
    upload(&host, "1", &[("a", "1")]).await;
    deployed(&host, &to_groups("1", &["front"])).await;
    sh(&host, "web1", "echo mine >shop/a").await;
    eventually("the check to find it", async || (drift(&host, "web1").await["drifted"] == true).then_some(())).await;
}

async fn check(host: &TestHost, server: &str) -> Value {
    let asked = host.client.post_empty(&format!("/server/{server}?check=true")).await;
    let job = host.ended_job(asked.body["job_id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    job
}

async fn drift(host: &TestHost, server: &str) -> Value {
    let census = host.client.get("/app/shop/census").await.body;
    census["production"]["front"][server]["web"]["drift"].clone()
}
