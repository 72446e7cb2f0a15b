//! What jobs on servers make of a gitdeploy: its place there, its options, what runs around a pull, and the hooks.

use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _};

use crate::commits::{committed, upload, with_gitdeploy};
use crate::harness::{Setup, eventually, plugin_file};
use crate::working_copies::{ask_basic, on, sh, with_servers, with_servers_on};

const WEB: &str = "/app/shop/gitdeploys/web";
const REFS: &str = "/git/shop/site.git/info/refs?service=git-upload-pack";

#[tokio::test]
async fn a_gitdeploy_has_its_place_from_the_request_on_until_its_job_has_failed() {
    let host = with_servers(&["web1"], &json!({})).await;
    for (name, path) in [("below", "/shop/below"), ("same", "/shop")] {
        let location = json!({ "path": path, "gitrepo": "site" });
        let new = json!({ "name": name, "package": "master", "location": location });
        assert_eq!(host.client.post("/app/shop/gitdeploys", &new).await.status, 201);
    }
    // A token that is known here, and good for nothing any more.
    assert_eq!(on(&host, "initialize", &["web1"]).await["status"], "succeeded");
    let credentials = sh(&host, "web1", "cat shop/.git/elita/credentials").await;
    let token = credentials.split_once("elita:").unwrap().1.split_once('@').unwrap().0;
    let mut database = host.database.connect().await;
    let row = sqlx::query("select secret_sha256 from git_tokens").fetch_one(&mut database).await.unwrap();
    let digest: Vec<u8> = row.get(0);
    assert_eq!(ask_basic(&host, REFS, token).await, 200);
    assert_eq!(on(&host, "deinitialize", &["web1"]).await["status"], "succeeded");
    assert_eq!(ask_basic(&host, REFS, token).await, 401);

    // The script waits where it looks whose directory that is.
    sh(&host, "web1", "mkdir -p shop/.git/elita && mkfifo shop/.git/elita/owner").await;
    let asked = json!({ "initialize": true, "servers": ["web1"] });
    let post_once = async || {
        let request = host.client.request(reqwest::Method::POST, WEB).header("Idempotency-Key", "once");
        host.client.send(request.json(&asked)).await
    };
    let accepted = post_once().await;
    assert_eq!(accepted.status, 202, "{accepted}");
    let job = accepted.body["job_id"].as_str().unwrap();
    assert_eq!(post_once().await.body["job_id"], job);
    for name in ["below", "same"] {
        let refused = host.client.post(&format!("/app/shop/gitdeploys/{name}"), &asked).await;
        assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{name}: {refused}");
    }
    for change in [json!({ "location": { "path": "/other" } }), json!({ "options": { "autocrlf": true } })] {
        let refused = host.client.patch(WEB, &change).await;
        assert_eq!(refused.status, 409, "{change}: {refused}");
    }
    assert_eq!(host.client.delete(WEB).await.status, 409);
    eventually("the token to be made", async || {
        let known = sqlx::query("update git_tokens set secret_sha256 = $1").bind(&digest);
        (known.execute(&mut database).await.unwrap().rows_affected() > 0).then_some(())
    })
    .await;
    assert_eq!(ask_basic(&host, REFS, token).await, 200);

    sh(&host, "web1", "printf x >shop/.git/elita/owner").await;
    let job = host.ended_job(job).await;
    assert_eq!(job["error"]["details"]["servers"]["web1"]["code"], "not-ours", "{job:#}");
    assert_eq!(ask_basic(&host, REFS, token).await, 401);
    let moved = json!({ "location": { "path": "/other" }, "options": { "autocrlf": true } });
    assert_eq!(host.client.patch(WEB, &moved).await.status, 200);
    let accepted = host.client.post("/app/shop/gitdeploys/below", &asked).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    database.close().await.unwrap();
}

#[tokio::test]
async fn line_endings_are_up_to_git_where_the_gitdeploy_says_so() {
    let host = with_servers(&["web1"], &json!({ "autocrlf": "true" })).await;
    assert_eq!(host.client.get(WEB).await.body["options"]["autocrlf"], true);
    upload(&host, "1", &[("a", "one\n"), ("binary", "x\n\0"), (".gitattributes", "* filter=lfs\n")]).await;
    committed(&host, "1").await;
    assert_eq!(on(&host, "initialize", &["web1"]).await["status"], "succeeded");
    let look = "cd shop && od -An -c a && od -An -c binary && git -c core.fsmonitor=false status --short";
    assert_eq!(sh(&host, "web1", look).await, "   o   n   e  \\r  \\n\n   x  \\n  \\0");
    upload(&host, "2", &[("a", "one\ntwo\n"), ("binary", "x\n\0")]).await;
    committed(&host, "2").await;
    assert_eq!(on(&host, "pull", &["web1"]).await["status"], "succeeded");
    assert_eq!(sh(&host, "web1", "od -An -c shop/a").await, "   o   n   e  \\r  \\n   t   w   o  \\r  \\n");
    let refused = host.client.patch(WEB, &json!({ "options": { "autocrlf": false } })).await;
    assert_eq!(refused.status, 409, "{refused}");
}

#[tokio::test]
async fn commands_around_a_pull_are_changed_by_who_may_use_all_servers_that_they_run_on() {
    let host = with_servers(&["db1", "web1"], &json!({})).await;
    assert_eq!(on(&host, "initialize", &["db1", "web1"]).await["status"], "succeeded");
    let some = host.guest(&json!({ "apps": { "shop": "read/write" }, "servers": ["db*"] })).await;
    let plant = json!({ "actions": { "prepull": [["touch", "planted"]] } });
    let refused = some.patch(WEB, &plant).await;
    assert_eq!(refused.status, 403, "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("server `web1`"), "{refused}");
    // What stays as it is may be sent back, and the rest may be changed.
    assert_eq!(some.patch(WEB, &json!({ "actions": {}, "package": "master" })).await.status, 200);
    assert_eq!(host.client.patch(WEB, &plant).await.status, 200);
    assert_eq!(some.patch(WEB, &json!({ "actions": null })).await.status, 403);
    assert_eq!(on(&host, "deinitialize", &["web1"]).await["status"], "succeeded");
    assert_eq!(some.patch(WEB, &json!({ "actions": null })).await.status, 200);
}

#[tokio::test]
async fn scripts_run_around_a_pull_and_states_of_salt_only_where_salt_is() {
    let host = with_servers(&["web1"], &json!({})).await;
    let script = "cd .. && x='a b' &&\nprintf '%s\\n' \"$x\" >ran";
    let actions = json!({ "prepull": [{ "script": script }], "postpull": [{ "script": "exit 4", "shell": "sh" }] });
    let changed = host.client.patch(WEB, &json!({ "actions": actions })).await;
    let prepull = json!([{ "script": script, "shell": "sh" }]);
    assert_eq!((changed.status, &changed.body["actions"]["prepull"]), (200, &prepull), "{changed}");
    upload(&host, "1", &[("a", "1")]).await;
    committed(&host, "1").await;
    assert_eq!(on(&host, "initialize", &["web1"]).await["status"], "succeeded");
    let job = on(&host, "pull", &["web1"]).await;
    assert_eq!(job["error"]["details"]["servers"]["web1"]["code"], "postpull", "{job:#}");
    assert_eq!(sh(&host, "web1", "cat ran").await, "a b");
    let states = json!({ "actions": { "prepull": [{ "sls": "shop.stopped" }], "postpull": [] } });
    assert_eq!(host.client.patch(WEB, &states).await.status, 200);
    let job = on(&host, "pull", &["web1"]).await;
    let server = &job["error"]["details"]["servers"]["web1"];
    assert_eq!(server["code"], "prepull", "{job:#}");
    assert!(server["message"].as_str().unwrap().contains("driver `salt`"), "{job:#}");
    for (command, pointer) in [
        (json!("systemctl stop shop"), "/actions/prepull/0"),
        (json!({ "script": " " }), "/actions/prepull/0/script"),
        (json!({ "script": "a\0b" }), "/actions/prepull/0/script"),
        (json!({ "script": "x", "shell": "bash" }), "/actions/prepull/0"),
        (json!({ "script": "x", "cwd": "/" }), "/actions/prepull/0"),
        (json!({ "sls": "a b" }), "/actions/prepull/0/sls"),
        (json!({ "sls": "" }), "/actions/prepull/0/sls"),
        (json!({ "sls": "x".repeat(513) }), "/actions/prepull/0/sls"),
    ] {
        let refused = host.client.patch(WEB, &json!({ "actions": { "prepull": [command] } })).await;
        if command.to_string().contains("\\u0000") {
            assert!(refused.status == 400 || refused.status == 422, "{command}: {refused}");
        } else {
            assert_eq!(refused.fault(), (422, pointer), "{command}: {refused}");
        }
    }
}

#[tokio::test]
async fn hooks_fire_around_work_on_servers_and_those_before_can_stop_it() {
    let setup = Setup::default().plugin("watch-deployments", plugin_file("watch-deployments"));
    let host = with_servers_on(setup, &["web1", "web2"], &json!({})).await;
    host.settled_plugin("watch-deployments").await;
    let fail = async |hook: &str| {
        let attributes = json!({ "attributes": { "fail": hook } });
        assert_eq!(host.client.patch(WEB, &attributes).await.status, 200);
    };
    // What is in the way on one of the servers is nothing to the other.
    sh(&host, "web2", "mkdir shop && echo precious >shop/file").await;
    fail("GITDEPLOY_INIT_PRE").await;
    let job = on(&host, "initialize", &["web1", "web2"]).await;
    assert_eq!(job["error"]["code"], "hook-failed", "{job:#}");
    assert_eq!(order(&job), ["GITDEPLOY_INIT_PRE web1 web2"]);
    assert_eq!(sh(&host, "web1", "ls").await, "");
    // A hook that fails afterwards undoes nothing.
    fail("GITDEPLOY_INIT_POST").await;
    let job = on(&host, "initialize", &["web1", "web2"]).await;
    assert_eq!(job["error"]["code"], "servers-failed", "{job:#}");
    assert_eq!(
        order(&job),
        ["GITDEPLOY_INIT_PRE web1 web2", "web1 ok", "web2 failed", "GITDEPLOY_INIT_POST web1"],
        "{job:#}"
    );
    let hooks = job["error"]["details"]["hooks"].as_array().unwrap();
    let of_hooks: Vec<_> = hooks.iter().map(|fired| (&fired["hook"], &fired["error"]["code"])).collect();
    let [pre, post] = ["GITDEPLOY_INIT_PRE", "GITDEPLOY_INIT_POST"].map(Value::from);
    assert_eq!(of_hooks, [(&pre, &Value::Null), (&post, &json!("hook-failed"))], "{job:#}");
    // Nobody hears of servers on which nothing succeeded.
    let job = on(&host, "initialize", &["web2"]).await;
    assert_eq!(order(&job), ["GITDEPLOY_INIT_PRE web2", "web2 failed"], "{job:#}");

    fail("GITDEPLOY_DEINIT_PRE").await;
    let job = on(&host, "deinitialize", &["web1"]).await;
    assert_eq!((&job["error"]["code"], order(&job)), (&json!("hook-failed"), vec!["GITDEPLOY_DEINIT_PRE web1".into()]));
    assert_eq!(host.client.get(WEB).await.body["servers"][0]["server"], "web1");
    fail("").await;
    let job = on(&host, "deinitialize", &["web1", "web2"]).await;
    assert_eq!(
        order(&job),
        ["GITDEPLOY_DEINIT_PRE web1 web2", "web1 ok", "web2 failed", "GITDEPLOY_DEINIT_POST web1"],
        "{job:#}"
    );
    assert_eq!(sh(&host, "web2", "cat shop/file").await, "precious");
}

#[tokio::test]
async fn servers_are_a_list_or_a_glob() {
    let host = with_servers(&["db1", "web1", "web2"], &json!({})).await;
    for (asked, expected) in [
        (json!({ "initialize": true, "servers": "web*" }), json!(["web1", "web2"])),
        (json!({ "initialize": true, "servers": "db1" }), json!(["db1"])),
        (json!({ "initialize": true, "servers": ["web2", "db1"] }), json!(["db1", "web2"])),
    ] {
        let accepted = host.client.post(WEB, &asked).await;
        assert_eq!(accepted.status, 202, "{asked}: {accepted}");
        let job = host.ended_job(accepted.body["job_id"].as_str().unwrap()).await;
        assert_eq!((&job["status"], &job["data"]["servers"]), (&json!("succeeded"), &expected), "{asked}: {job:#}");
    }
    // As in the reference, in the query.
    for (servers, status) in [("web*", 202), (r#"["db1"]"#, 202), ("mail*", 422), (r#"["mail"]"#, 404)] {
        let query = [("deinitialize", "true"), ("servers", servers)];
        let url = reqwest::Url::parse_with_params("http://query/", query).unwrap();
        let reply = host.client.post(&format!("{WEB}?{}", url.query().unwrap()), &json!({})).await;
        assert_eq!(reply.status, status, "{servers}: {reply}");
        if status == 202 {
            host.ended_job(reply.body["job_id"].as_str().unwrap()).await;
        }
    }
    assert_eq!(host.client.get(WEB).await.body["servers"], json!([]));
    for (servers, pointer) in [(json!(7), "/servers"), (json!(["a b"]), "/servers/0"), (json!("["), "/glob")] {
        let refused = host.client.post(WEB, &json!({ "pull": true, "servers": servers })).await;
        assert_eq!(refused.fault(), (422, pointer), "{servers}: {refused}");
    }
}

#[tokio::test]
async fn servers_elsewhere_need_the_address_of_this_one() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    assert_eq!(host.client.post("/global/keypairs", &json!({ "name": "k", "generate": true })).await.status, 201);
    let connection = json!({ "host": "127.0.0.1", "port": 1, "user": "x", "keypair": "k" });
    let new = json!({ "name": "web1", "environment": "test", "driver": "ssh", "connection": connection });
    assert_eq!(host.client.post("/server", &new).await.status, 201);
    let refused = host.client.post(WEB, &json!({ "initialize": true, "servers": ["web1"] })).await;
    assert_eq!(refused.fault(), (422, "/servers"), "{refused}");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("server `web1`") && detail.contains("--public-url"), "{refused}");
}

/// Hooks with the servers that they were told of, and what came of each server, which is sorted.
fn order(job: &Value) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut servers: Vec<String> = Vec::new();
    for entry in job["job_data"].as_array().unwrap() {
        let data = &entry["data"];
        match (data["told"]["servers"].as_array(), data["server"].as_str()) {
            (Some(told), _) => {
                servers.sort();
                lines.append(&mut servers);
                let told: Vec<_> = told.iter().map(|server| server.as_str().unwrap()).collect();
                lines.push(format!("{} {}", data["hook"].as_str().unwrap(), told.join(" ")));
            }
            (None, Some(server)) if data["status"].is_string() => {
                servers.push(format!("{server} {}", data["status"].as_str().unwrap()));
            }
            (None, _) => {}
        }
    }
    servers.sort();
    lines.append(&mut servers);
    lines
}
