//! Old builds are removed, and never one that something needs.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _};

use crate::access::{gitdeploy, repo};
use crate::harness::{Setup, TestHost, eventually};
use crate::uploads::{id, put, zip};

#[tokio::test]
async fn the_last_builds_are_kept_and_the_old_ones_removed_with_their_files() {
    let host = with_builds(&["1", "2", "3", "4", "5"]).await;
    host.client.post("/app/shop/builds", &json!({ "build_name": "never-uploaded" })).await;
    host.client.post("/app", &json!({ "app_name": "blog" })).await;
    host.client.post("/app/blog/builds", &json!({ "build_name": "1" })).await;

    let would = pruned(&host, "keep_last=2&dry_run=true").await;
    assert_eq!((&would["dry_run"], &would["removed"]), (&json!(true), &json!(["3", "2", "1"])), "{would:#}");
    assert_eq!(builds(&host).await, ["1", "2", "3", "4", "5", "never-uploaded"], "a dry run removes nothing");
    assert_eq!(kept_files(&host).await, 2 * 5, "each with its tree");

    let job = prune(&host, "keep_last=2").await;
    let size = zip("a.txt", b"1").len();
    assert_eq!(
        job["result"],
        json!({
            "dry_run": false,
            "removed": ["1", "2", "3"], "removed_count": 3, "removed_bytes": 3 * size,
            "kept": [
                { "build": "never-uploaded", "reasons": ["last"] },
                { "build": "5", "reasons": ["last"] },
                { "build": "4", "reasons": ["last"] },
            ],
            "kept_count": 3,
        })
    );
    assert_eq!((&would["removed_count"], &would["removed_bytes"]), (&json!(3), &json!(3 * size)));
    assert_eq!(builds(&host).await, ["4", "5", "never-uploaded"]);
    assert_eq!(kept_files(&host).await, 2 * 2, "their files are gone");
    assert_eq!(host.client.get("/app/blog/builds").await.items("build_name"), ["1"], "another application's stays");
    let audit = host.client.get("/global/audit?operation=builds.prune").await;
    assert_eq!(audit.items("name"), ["3", "2", "1"]);
    let entry = &audit.body["items"][0];
    assert_eq!((&entry["username"], &entry["job_id"]), (&json!("admin"), &job["job_id"]), "{entry:#}");
    assert_eq!(entry["before"]["packages"]["master"]["filename"], "3.zip", "{entry:#}");

    let again = pruned(&host, "keep_last=2").await;
    assert_eq!((&again["removed_count"], &again["kept_count"]), (&json!(0), &json!(3)), "nothing is left to remove");
}

async fn kept_files(host: &TestHost) -> usize {
    host.stored_files().await.len()
}

#[tokio::test]
async fn young_builds_are_kept_however_many_there_are() {
    let host = with_builds(&["1", "2", "3"]).await;
    aged(&host, "1", 7200).await;
    aged(&host, "2", 3000).await;
    let would = pruned(&host, "keep_seconds=3600&dry_run=true").await;
    assert_eq!(reasons(&would), [("2", "young"), ("3", "young")].map(owned).into(), "{would:#}");
    assert_eq!(would["removed"], json!(["1"]));
    // With both, one of the two is enough.
    let would = pruned(&host, "keep_seconds=3600&keep_last=3&dry_run=true").await;
    let kept = [("1", "last"), ("2", "last, young"), ("3", "last, young")].map(owned).into();
    assert_eq!((reasons(&would), &would["removed"]), (kept, &json!([])), "{would:#}");
}

#[tokio::test]
async fn what_something_needs_stays_and_the_result_says_why() {
    let host = with_builds(&["1", "2", "3", "4", "5", "6"]).await;
    pin(&host, "1").await;
    deployed(&host, "2").await;
    let mut database = host.database.connect().await;
    database.execute("update git_repos set last_build = '3' where name = 'base'").await.unwrap();
    database.execute("insert into build_needs values ('shop', '4', 'rollback', '17')").await.unwrap();

    let result = pruned(&host, "keep_last=1").await;
    let kept =
        [("1", "pinned"), ("2", "deployed"), ("3", "committed"), ("4", "rollback"), ("6", "last")].map(owned).into();
    assert_eq!((reasons(&result), &result["removed"]), (kept, &json!(["5"])), "{result:#}");
    let held_by = |build: &str| {
        let kept = result["kept"].as_array().unwrap().iter().find(|kept| kept["build"] == build).unwrap();
        kept["held_by"].clone()
    };
    assert_eq!(
        ["1", "2", "3", "4"].map(held_by),
        [json!(null), json!(["web on web1"]), json!(["base"]), json!(["17"])]
    );

    // By hand a pinned build can be removed, and what a deployment needs cannot.
    assert_eq!(host.client.delete("/app/shop/builds/1").await.status, 204);
    let refused = host.client.delete("/app/shop/builds/4").await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("rollback `17`"), "{refused}");
    // What is over holds nothing any more, and goes with its application.
    database.execute("update gitdeploy_servers set deployed_build = '6'").await.unwrap();
    assert_eq!(pruned(&host, "keep_last=1").await["removed"], json!(["2"]));
    database.execute("delete from gitdeploy_servers").await.unwrap();
    assert_eq!(host.client.delete("/app/shop").await.status, 204);
}

#[tokio::test]
async fn a_build_that_is_needed_at_the_last_moment_stays() {
    let host = with_builds(&["1", "2"]).await;
    let mut database = host.database.connect().await;
    let mut needing = database.begin().await.unwrap();
    needing.execute("insert into build_needs values ('shop', '1', 'deployment', '18')").await.unwrap();
    let accepted = host.client.send(host.client.request(reqwest::Method::DELETE, "/app/shop/builds?keep_last=1")).await;
    let mut watching = host.database.connect().await;
    eventually("the job to come to the build", async || {
        let waits = "select exists (select from pg_stat_activity where datname = current_database()
                         and wait_event_type = 'Lock' and query like '%from builds%for update%')";
        sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut watching).await.unwrap().then_some(())
    })
    .await;
    needing.commit().await.unwrap();
    let job = host.ended_job(id(&accepted)).await;
    let kept = [("1", "deployment"), ("2", "last")].map(owned).into();
    assert_eq!((reasons(&job["result"]), &job["result"]["removed"]), (kept, &json!([])), "{job:#}");
}

#[tokio::test]
async fn what_is_no_rule_removes_nothing() {
    let host = with_builds(&["1"]).await;
    for (query, status) in [
        ("", 400),
        ("?dry_run=true", 400),
        ("?keep_last=0", 422),
        ("?keep_last=x", 422),
        ("?keep_seconds=0", 422),
        ("?keep=1", 400),
    ] {
        let refused = host.client.delete(&format!("/app/shop/builds{query}")).await;
        assert_eq!(refused.status, status, "{query}: {refused}");
    }
    assert_eq!(host.client.delete("/app/none/builds?keep_last=1").await.status, 404);
    for retention in [json!({}), json!({ "keep_last": 0 }), json!({ "keep_last": 1, "keep": 2 }), json!(7)] {
        let refused = host.client.patch("/app/shop", &json!({ "retention": retention })).await;
        assert_eq!(refused.status, 422, "{retention}: {refused}");
    }
    assert_eq!(builds(&host).await, ["1"]);
    // The same request with the same key is one job.
    let asked = || {
        let request = host.client.request(reqwest::Method::DELETE, "/app/shop/builds?keep_last=1");
        host.client.send(request.header("idempotency-key", "k"))
    };
    let (first, second) = (asked().await, asked().await);
    assert_eq!((first.status, &first.body["job_id"]), (202, &second.body["job_id"]), "{second}");
}

#[tokio::test]
async fn the_server_applies_the_rule_of_an_application() {
    let host = started(Setup::default().flag("--prune-interval-seconds", 1), &["1", "2", "3"]).await;
    pin(&host, "1").await;
    let changed = host.client.patch("/app/shop", &json!({ "retention": { "keep_last": 1 } })).await;
    assert_eq!(changed.body["retention"], json!({ "keep_last": 1 }), "{changed}");
    eventually("the old build to go", async || (builds(&host).await == ["1", "3"]).then_some(())).await;
    let jobs = host.client.get("/job?type=prune").await;
    let job = host.ended_job(jobs.body["items"][0]["job_id"].as_str().unwrap()).await;
    assert_eq!((&job["username"], &job["result"]["removed"]), (&json!(null), &json!(["2"])), "{job:#}");
    let entry = host.client.get("/global/audit?operation=builds.prune").await.body["items"][0].clone();
    assert_eq!((&entry["username"], &entry["plugin"], &entry["job_id"]), (&json!(null), &json!(null), &job["job_id"]));

    // Where nothing is to be removed, no job is made; and without the rule nothing is removed.
    let cleared = host.client.patch("/app/shop", &json!({ "retention": null })).await;
    assert_eq!(cleared.body["retention"], json!(null), "{cleared}");
    upload(&host, "4").await;
    let other = json!({ "app_name": "blog", "retention": { "keep_seconds": 1 } });
    assert_eq!(host.client.post("/app", &other).await.body["retention"], json!({ "keep_seconds": 1 }));
    host.client.post("/app/blog/builds", &json!({ "build_name": "1" })).await;
    eventually("the other application's rule to be applied", async || {
        host.client.get("/app/blog/builds").await.items("build_name").is_empty().then_some(())
    })
    .await;
    assert_eq!(builds(&host).await, ["1", "3", "4"]);
    assert_eq!(host.client.get("/job?type=prune&app=shop").await.items("job_id").len(), 1);
}

/// A server with these builds, the first of which is the oldest.
async fn with_builds(names: &[&str]) -> TestHost {
    started(Setup::default(), names).await
}

async fn started(setup: Setup, names: &[&str]) -> TestHost {
    let host = setup.start().await;
    host.create_application("shop").await;
    for name in names {
        upload(&host, name).await;
    }
    host
}

async fn upload(host: &TestHost, name: &str) {
    host.client.post("/app/shop/builds", &json!({ "build_name": name })).await;
    let path = format!("/app/shop/builds/{name}/file?file_type=zip");
    let accepted = put(&host.client, &path, zip("a.txt", name.as_bytes())).await;
    assert_eq!(host.ended_job(id(&accepted)).await["status"], "succeeded");
}

/// The job, which has succeeded.
async fn prune(host: &TestHost, query: &str) -> Value {
    let accepted = host.client.delete(&format!("/app/shop/builds?{query}")).await;
    assert_eq!((accepted.status, &accepted.body["name"]), (202, &json!("prune")), "{accepted}");
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!((&job["status"], &job["job_type"]), (&json!("succeeded"), &json!("prune")), "{job:#}");
    job
}

async fn pruned(host: &TestHost, query: &str) -> Value {
    prune(host, query).await["result"].clone()
}

async fn builds(host: &TestHost) -> Vec<String> {
    let listed = host.client.get("/app/shop/builds").await;
    listed.items("build_name").into_iter().map(str::to_owned).collect()
}

/// Why each build is kept.
fn reasons(result: &Value) -> BTreeMap<String, String> {
    let kept = result["kept"].as_array().unwrap().iter().map(|kept| {
        let reasons: Vec<_> = kept["reasons"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        (kept["build"].as_str().unwrap().to_owned(), reasons.join(", "))
    });
    kept.collect()
}

fn owned((build, reasons): (&str, &str)) -> (String, String) {
    (build.to_owned(), reasons.to_owned())
}

async fn pin(host: &TestHost, build: &str) {
    let path = format!("/app/shop/builds/{build}");
    let pinned = host.client.patch(&path, &json!({ "attributes": { "pinned": true } })).await;
    assert_eq!(pinned.status, 200, "{pinned}");
}

async fn aged(host: &TestHost, build: &str, seconds: i32) {
    let age = "update builds set created_at = now() - make_interval(secs => $1) where name = $2";
    sqlx::query(age).bind(f64::from(seconds)).bind(build).execute(&mut host.database.connect().await).await.unwrap();
}

/// The build is on a server.
async fn deployed(host: &TestHost, build: &str) {
    host.client.post("/app/shop/gitrepos", &repo("base")).await;
    let made = host.client.post("/app/shop/gitdeploys", &gitdeploy("web")).await;
    assert_eq!(made.status, 201, "{made}");
    host.client.post("/server", &json!({ "name": "web1", "environment": "test", "driver": "local" })).await;
    let on = "insert into gitdeploy_servers (application, gitdeploy, server, deployed_build) values ('shop', 'web', 'web1', $1)";
    sqlx::query(on).bind(build).execute(&mut host.database.connect().await).await.unwrap();
}
