//! Checks of servers: whether each can be reached, and what there is on it.

use serde_json::{Value, json};

use crate::harness::{Elita, Setup, TestHost, eventually};

async fn with_local(flags: &[(&str, &str)]) -> TestHost {
    let setup = Setup::default().switch("--local-servers");
    flags.iter().fold(setup, |setup, (name, value)| setup.flag(name, value)).start().await
}

async fn create(host: &TestHost, new: &Value) -> Value {
    let created = host.client.post("/server", new).await;
    assert_eq!(created.status, 201, "{created}");
    created.body
}

fn local(name: &str) -> Value {
    json!({ "name": name, "environment": "test", "driver": "local" })
}

fn away(name: &str) -> Value {
    json!({ "name": name, "environment": "test", "driver": "ssh", "connection": { "host": "127.0.0.1", "port": 1 } })
}

#[tokio::test]
async fn a_new_server_is_checked_and_shows_what_there_is_on_it() {
    let host = with_local(&[]).await;
    let created = create(&host, &local("web1")).await;
    assert_eq!(created["health"], Value::Null, "{created:#}");
    let id = created["check_job"].as_str().unwrap_or_else(|| panic!("{created:#}"));
    let job = host.ended_job(id).await;
    assert_eq!(
        (&job["status"], &job["job_type"], &job["name"]),
        (&json!("succeeded"), &json!("server"), &json!("check")),
        "{job:#}"
    );
    let server = host.client.get("/server/web1").await.body;
    let health = &server["health"];
    assert_eq!(job["result"]["web1"], *health, "{server:#}");
    assert_eq!(
        (&health["reachable"], &health["os"], &health["system"]),
        (&json!(true), &json!("unix"), &json!("Linux")),
        "{health:#}"
    );
    assert!(health["git_version"].as_str().is_some_and(|version| version.starts_with('2')), "{health:#}");
    assert!(health["shell"].as_str().is_some_and(|shell| shell.starts_with('/')), "{health:#}");
    assert!(health["clock_difference_in_seconds"].as_f64().is_some_and(|by| by.abs() < 3.0), "{health:#}");
    assert_eq!((&health["job_id"], &health["message"]), (&json!(id), &Value::Null), "{health:#}");
    assert!(server.get("check_job").is_none());
    assert_eq!(host.client.get("/server").await.body["items"][0]["health"], *health);

    // It is nothing that anybody sets.
    let changed = host.client.patch("/server/web1", &json!({ "health": { "reachable": false } })).await;
    assert_eq!(changed.status, 422, "{changed}");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_says_why_until_it_is_reached_in_another_way() {
    let host = with_local(&[]).await;
    let created = create(&host, &away("web1")).await;
    let job = host.ended_job(created["check_job"].as_str().unwrap()).await;
    let health = &job["result"]["web1"];
    assert_eq!(
        (&job["status"], &health["reachable"], &health["system"]),
        (&json!("succeeded"), &json!(false), &Value::Null),
        "{job:#}"
    );
    assert!(health["message"].as_str().is_some_and(|message| message.contains("refused")), "{health:#}");

    let version = host.client.get("/server/web1").await.header("etag").to_owned();
    let same = host.client.patch_if("/server/web1", &version, &json!({ "attributes": { "a": 1 } })).await;
    assert_eq!((same.status, same.body.get("check_job")), (200, None), "{same}");
    assert_eq!(same.body["health"], *health);
    let elsewhere = host.client.patch("/server/web1", &json!({ "connection": { "port": 2 } })).await;
    assert_eq!(elsewhere.body["health"], Value::Null, "{elsewhere}");
    let again = host.ended_job(elsewhere.body["check_job"].as_str().unwrap()).await;
    assert_eq!(host.client.get("/server/web1").await.body["health"], again["result"]["web1"]);
}

#[tokio::test]
async fn a_check_that_is_asked_for_needs_the_server_and_nothing_else() {
    let host = with_local(&[]).await;
    create(&host, &local("web1")).await;
    let guest = host.guest(&json!({ "servers": ["web*"] })).await;
    let asked = guest.post_empty("/server/web1?check=true").await;
    assert_eq!((asked.status, &asked.body["name"]), (202, &json!("check")), "{asked}");
    let id = asked.body["job_id"].as_str().unwrap();
    host.ended_job(id).await;
    assert_eq!(guest.get("/server/web1").await.body["health"]["job_id"], *id);
    let others = json!({ "permissions": { "servers": ["db*"], "apps": { "*": "read/write" } } });
    assert_eq!(host.client.patch("/global/users/guest", &others).await.status, 200);
    assert_eq!(guest.post_empty("/server/web1?check=true").await.status, 403);
    assert_eq!(host.client.post_empty("/server/web9?check=true").await.status, 404);
    for query in ["", "?check=false", "?check=true&uncheck=true"] {
        assert_eq!(host.client.post_empty(&format!("/server/web1{query}")).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn servers_are_checked_again_by_the_clock() {
    let host = with_local(&[("--server-check-seconds", "2")]).await;
    let mut first = Vec::new();
    for server in [local("web1"), local("web2"), away("web3")] {
        first.push(create(&host, &server).await["check_job"].clone());
    }
    eventually("all to be checked again", async || {
        let servers = host.client.get("/server").await.body["items"].clone();
        let again = |server: &Value| server["health"].is_object() && !first.contains(&server["health"]["job_id"]);
        servers.as_array()?.iter().all(again).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_client_checks_servers_and_its_exit_code_says_whether_all_are_there() {
    let host = with_local(&[]).await;
    create(&host, &local("web1")).await;
    create(&host, &away("web2")).await;
    let elita = Elita::of(&host);
    let fine = elita.run(&["server", "check", "web1"]).await;
    assert_eq!(fine.code, 0, "{fine}");
    assert!(fine.stdout.contains("web1") && fine.stdout.contains("Linux"), "{fine}");
    let some = elita.run(&["server", "check", "web1", "web2"]).await;
    assert_eq!(some.code, 1, "{some}");
    assert!(some.stdout.contains("no-response") && some.stdout.contains("refused"), "{some}");
    let json = elita.run(&["server", "check", "web1", "--json"]).await;
    assert_eq!(serde_json::from_str::<Value>(&json.stdout).unwrap()["web1"]["reachable"], true, "{json}");
    assert_eq!(elita.run(&["server", "check", "web9"]).await.code, 5);
}
