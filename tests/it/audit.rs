//! Who changed what.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::doors;
use crate::harness::{Client, PASSWORD, Setup, TestHost, eventually};

#[tokio::test]
async fn a_change_is_on_record_with_who_made_it_and_the_document_before_and_after() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let permissions = json!({ "apps": { "shop": "read/write" } });
    let ada = json!({ "username": "ada", "password": PASSWORD, "permissions": permissions });
    assert_eq!(host.client.post("/global/users", &ada).await.status, 201);
    let log_in = json!({ "username": "ada", "password": PASSWORD });
    let token = host.client.post("/global/tokens", &log_in).await.body;
    let ada = host.client.with_token(token["token"].as_str().unwrap());

    let build = "/app/shop/builds/1";
    let made = ada.post("/app/shop/builds", &json!({ "build_name": "1", "attributes": { "a": 1 } })).await.body;
    let changed = ada.patch(build, &json!({ "attributes": { "a": 2 } })).await.body;
    assert_eq!(ada.delete(build).await.status, 204);

    let entries = recorded(&host.client, "user=ada&app=shop").await;
    let (null, when) = (Value::Null, |entry: &Value| entry["at"].as_str().unwrap().to_owned());
    let found: Vec<_> = entries.iter().map(|it| (&it["operation"], &it["before"], &it["after"])).collect();
    assert_eq!(
        found,
        [
            (&json!("builds.delete"), &changed, &null),
            (&json!("builds.update"), &made, &changed),
            (&json!("builds.create"), &null, &made),
        ]
    );
    for entry in &entries {
        assert_eq!((&entry["application"], &entry["name"]), (&json!("shop"), &json!("1")), "{entry:#}");
        assert_eq!((&entry["username"], &entry["token_id"]), (&json!("ada"), &token["token_id"]), "{entry:#}");
        assert_eq!((&entry["address"], &entry["plugin"]), (&json!("127.0.0.1"), &null), "{entry:#}");
    }
    assert!(entries.is_sorted_by(|newer, older| when(newer) >= when(older)));
    let log_ins = recorded(&host.client, "user=ada&operation=tokens.create").await;
    assert_eq!((log_ins.len(), &log_ins[0]["token_id"]), (1, &token["token_id"]), "{log_ins:#?}");
}

#[tokio::test]
async fn what_a_plugin_changes_is_on_record_with_its_job() {
    let (host, job) = doors::exercised().await;
    let entries = recorded(&host.client, "plugin=exercise-all&limit=1000").await;
    assert!(entries.iter().all(|entry| entry["username"].is_null()), "{entries:#?}");
    let (own, of_hook): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry["job_id"] == job["job_id"]);
    let recorded: BTreeSet<_> = own.iter().map(|entry| entry["operation"].as_str().unwrap()).collect();
    let called = job["result"].as_object().unwrap().keys().map(String::as_str);
    // What a plugin has done on servers is on record as well, but not that it asked what they run.
    let changing = called.filter(|call| {
        let is_on_servers =
            call.starts_with("remote.") && *call != "remote.operating-systems" || call.starts_with("salt.");
        is_on_servers || [".create", ".update", ".delete"].iter().any(|verb| call.ends_with(verb))
    });
    // A deployment is a document.
    let of_deployments = ["deployments.create", "deployments.cancel"];
    assert_eq!(recorded, changing.chain(of_deployments).collect());
    // Packages are added by a hook, in the job of the upload.
    assert!(
        !of_hook.is_empty() && of_hook.iter().all(|entry| entry["operation"] == "builds.add-package"),
        "{of_hook:#?}"
    );
}

#[tokio::test]
async fn a_change_that_cannot_be_recorded_is_not_made() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let no_more = "alter table audit add constraint no_more check (name <> 'unheard')";
    host.database.connect().await.execute(no_more).await.unwrap();
    let refused = host.client.post("/app/shop/builds", &json!({ "build_name": "unheard" })).await;
    assert_eq!(refused.status, 500, "{refused}");
    assert_eq!(host.client.get("/app/shop/builds/unheard").await.status, 404);
}

#[tokio::test]
async fn what_was_refused_is_not_on_record() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let build = json!({ "build_name": "1" });
    assert_eq!(host.client.post("/app/shop/builds", &build).await.status, 201);
    for refused in [
        host.client.post("/app/shop/builds", &build).await,
        host.client.patch("/app/shop/builds/1", &json!({ "stored": true })).await,
        host.client.delete_if("/app/shop/builds/1", "\"0\"").await,
        host.client.delete("/app/shop/builds/2").await,
    ] {
        assert!((400..500).contains(&refused.status), "{refused}");
    }
    let entries = recorded(&host.client, "app=shop").await;
    let operations: Vec<_> = entries.iter().map(|entry| &entry["operation"]).collect();
    assert_eq!(operations, ["builds.create", "applications.create"]);
}

#[tokio::test]
async fn a_new_password_is_on_record_and_no_password_is() {
    let host = TestHost::start().await;
    let ada = json!({ "username": "ada", "password": "the first secret", "permissions": {} });
    host.client.post("/global/users", &ada).await;
    host.client.patch("/global/users/ada", &json!({ "password": "the second secret" })).await;
    let entries = recorded(&host.client, "name=ada").await;
    assert_eq!(entries[0]["after"]["password_changed"], true, "{entries:#?}");
    assert!(!json!(entries).to_string().contains("secret"), "{entries:#?}");
}

#[tokio::test]
async fn the_record_is_filtered_and_paged() {
    let host = TestHost::start().await;
    for name in ["a", "b", "c"] {
        host.create_application(name).await;
    }
    host.client.patch("/app/b", &json!({ "attributes": { "x": 1 } })).await;
    let all = recorded(&host.client, "limit=1000").await;
    let at = |number: usize| all[number]["at"].as_str().unwrap();
    for (query, count) in [
        ("operation=applications.create".to_owned(), 3),
        ("app=b".to_owned(), 2),
        ("name=c&operation=applications.create".to_owned(), 1),
        ("user=admin&app=a".to_owned(), 1),
        ("user=nobody".to_owned(), 0),
        ("plugin=widgets".to_owned(), 0),
        (format!("since={}", at(1)), 2),
        (format!("until={}&operation=applications.create", at(1)), 2),
    ] {
        assert_eq!(recorded(&host.client, &query).await.len(), count, "{query}");
    }
    let (mut paged, mut next) = (Vec::new(), String::new());
    loop {
        let page = host.client.get(&format!("/global/audit?limit=2{next}")).await;
        paged.extend(page.body["items"].as_array().unwrap().iter().cloned());
        match page.body["next"].as_str() {
            Some(cursor) => next = format!("&after={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, all);
    assert_eq!(host.client.get("/global/audit?after=x").await.fault(), (422, "after"));
}

#[tokio::test]
async fn the_record_is_kept_as_long_as_was_set() {
    let host = Setup::default().flag("--audit-retention-seconds", 1).start().await;
    host.create_application("shop").await;
    eventually("the record to be removed", async || recorded(&host.client, "app=shop").await.is_empty().then_some(()))
        .await;
    assert_eq!(host.client.get("/app/shop").await.status, 200);
}

/// What the audit says, newest first.
async fn recorded(client: &Client, query: &str) -> Vec<Value> {
    let reply = client.get(&format!("/global/audit?{query}")).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.body["items"].as_array().unwrap().clone()
}
