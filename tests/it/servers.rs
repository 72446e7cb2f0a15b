//! Servers and environments over HTTP.

use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::harness::{Reply, TestHost};

const SERVERS: &str = "/server";
const WEB: &str = "/server/web1.example.com";
const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

/// A server's document without what its check says, which comes later.
fn unchecked(reply: &Reply) -> Value {
    let mut document = reply.body.clone();
    for member in ["health", "check_job"] {
        document.as_object_mut().unwrap().shift_remove(member);
    }
    document
}

#[tokio::test]
async fn a_server_is_created_and_shown() {
    let host = TestHost::start().await;
    let new = json!({
        "name": "web1.example.com",
        "environment": "production",
        "driver": "ssh",
        "connection": { "port": 2222, "user": "deploy", "host_key": HOST_KEY },
        "attributes": { "rack": 7 },
    });
    let created = host.client.post(SERVERS, &new).await;
    assert_eq!((created.status, created.header("location")), (201, WEB), "{created}");
    assert_json_snapshot!(unchecked(&created), { ".created_at" => "[time]", ".updated_at" => "[time]" }, @r#"
    {
      "name": "web1.example.com",
      "environment": "production",
      "driver": "ssh",
      "connection": {
        "host": "web1.example.com",
        "port": 2222,
        "user": "deploy",
        "host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti",
        "keypair": null,
        "jump": null,
        "sudo": false
      },
      "attributes": {
        "rack": 7
      },
      "created_at": "[time]",
      "updated_at": "[time]"
    }
    "#);
    let shown = host.client.get(WEB).await;
    assert_eq!(unchecked(&shown), unchecked(&created));
    // The one of what was created is good for a change.
    let change = host.client.request(Method::PATCH, WEB).header("if-match", created.header("etag"));
    let changed = host.client.send(change.json(&json!({ "attributes": { "rack": 8 } }))).await;
    assert_eq!(changed.status, 200, "{changed}");
    assert!(shown.header("etag").starts_with('"'), "{shown}");
}

#[tokio::test]
async fn a_machine_is_one_server() {
    let host = TestHost::start().await;
    let new = |name: &str, driver: &str, connection: Value| json!({ "name": name, "environment": "test", "driver": driver, "connection": connection });
    for taken in
        [new("web1", "ssh", json!({})), new("web2", "salt", json!({ "minion": "m1" })), new("a", "local", json!({}))]
    {
        assert_eq!(host.client.post(SERVERS, &taken).await.status, 201, "{taken}");
    }
    for other in [new("b", "ssh", json!({ "host": "WEB1" })), new("b", "salt", json!({ "minion": "m1" }))] {
        let refused = host.client.post(SERVERS, &other).await;
        assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    }
    for another in [new("b", "ssh", json!({ "host": "web1", "port": 2222 })), new("c", "salt", json!({}))] {
        assert_eq!(host.client.post(SERVERS, &another).await.status, 201, "{another}");
    }
    let moved = host.client.patch("/server/b", &json!({ "connection": { "port": 22 } })).await;
    assert_eq!((moved.status, &moved.body["code"]), (409, &json!("conflict")), "{moved}");
}

#[tokio::test]
async fn a_server_is_created_by_a_put_as_in_the_reference() {
    let host = TestHost::start().await;
    let connection = "%7B%22port%22%3A2222%7D";
    let arguments = format!("name=web1.example.com&environment=staging&driver=ssh&connection={connection}");
    let put = host.client.put(&format!("{SERVERS}?{arguments}")).await;
    assert_eq!((put.status, put.header("location")), (201, WEB), "{put}");
    assert_eq!((&put.body["connection"]["port"], &put.body["attributes"]), (&json!(2222), &json!({})));
    assert_eq!(unchecked(&host.client.get(WEB).await), unchecked(&put));
    let no_json = host.client.put(&format!("{SERVERS}?name=db1&environment=staging&driver=ssh&connection=port")).await;
    assert_eq!(no_json.fault(), (422, "connection"), "{no_json}");
}

#[tokio::test]
async fn a_connection_has_what_its_driver_needs() {
    let host = TestHost::start().await;
    for (driver, connection) in [
        (
            "ssh",
            json!({ "host": "web", "port": 22, "user": "root", "host_key": null, "keypair": null, "jump": null, "sudo": false }),
        ),
        ("salt", json!({ "minion": "web" })),
        ("local", json!({})),
    ] {
        let new = json!({ "name": "web", "environment": "production", "driver": driver });
        let created = host.client.post(SERVERS, &new).await;
        assert_eq!((created.status, &created.body["connection"]), (201, &connection), "{created}");
        assert_eq!(host.client.delete("/server/web").await.status, 204);
    }
}

#[tokio::test]
async fn servers_are_listed_by_name_page_by_page() {
    let host = TestHost::start().await;
    assert_eq!(host.client.get(SERVERS).await.items("name"), [""; 0]);
    for name in ["c", "a", "b"] {
        create(&host, name, "production").await;
    }
    let first = host.client.get(&format!("{SERVERS}?limit=2")).await;
    assert_eq!((first.items("name"), &first.body["next"]), (vec!["a", "b"], &json!("b")));
    assert_eq!(first.header("link"), format!(r#"<{SERVERS}?limit=2&after=b>; rel="next""#));
    let last = host.client.get(&format!("{SERVERS}?limit=2&after=b")).await;
    assert_eq!((last.items("name"), &last.body["next"]), (vec!["c"], &Value::Null));
}

#[tokio::test]
async fn environments_are_shown_with_their_servers() {
    let host = TestHost::start().await;
    assert_eq!(host.client.get("/server/environments").await.body, json!({}));
    for (name, environment) in [("web2", "production"), ("web1", "production"), ("web3", "staging")] {
        create(&host, name, environment).await;
    }
    let shown = host.client.get("/server/environments").await;
    assert_eq!(shown.body, json!({ "production": ["web1", "web2"], "staging": ["web3"] }), "{shown}");
    host.client.patch("/server/web3", &json!({ "environment": "production" })).await;
    let shown = host.client.get("/server/environments").await;
    assert_eq!(shown.body, json!({ "production": ["web1", "web2", "web3"] }), "{shown}");
}

#[tokio::test]
async fn a_server_that_is_there_is_not_overwritten() {
    let host = TestHost::start().await;
    let first = create(&host, "web", "production").await;
    let again = json!({ "name": "web", "environment": "staging", "driver": "salt" });
    let second = host.client.post(SERVERS, &again).await;
    assert_eq!((second.status, &second.body["code"]), (409, &json!("already-exists")), "{second}");
    assert_eq!(unchecked(&host.client.get("/server/web").await), unchecked(&first));
}

#[tokio::test]
async fn what_is_no_server_is_refused_where_it_is_wrong() {
    let host = TestHost::start().await;
    let with = |member: &str, value: Value| {
        let mut server = json!({ "name": "web", "environment": "production", "driver": "ssh" });
        server[member] = value;
        server
    };
    for (body, fault) in [
        (json!({ "environment": "production", "driver": "ssh" }), (400, "/name")),
        (json!({ "name": "web", "driver": "ssh" }), (400, "/environment")),
        (json!({ "name": "web", "environment": "production" }), (400, "/driver")),
        (with("name", json!("a/b")), (422, "/name")),
        (with("name", json!("environments")), (422, "/name")),
        (with("name", json!("command")), (422, "/name")),
        (with("name", json!("x".repeat(254))), (422, "/name")),
        (with("environment", json!("a b")), (422, "/environment")),
        (with("driver", json!("telnet")), (422, "/driver")),
        (with("connection", json!([])), (422, "/connection")),
        (with("connection", json!({ "password": "secret" })), (422, "/connection/password")),
        (with("connection", json!({ "port": 0 })), (422, "/connection/port")),
        (with("connection", json!({ "port": "22" })), (422, "/connection/port")),
        (with("connection", json!({ "host": "-oProxyCommand=x" })), (422, "/connection/host")),
        (with("connection", json!({ "user": "a b" })), (422, "/connection/user")),
        (with("connection", json!({ "user": "x".repeat(254) })), (422, "/connection/user")),
        (with("connection", json!({ "host_key": "no key" })), (422, "/connection/host_key")),
        (with("connection", json!({ "minion": "web" })), (422, "/connection/minion")),
        (with("connection", json!({ "keypair": "none" })), (422, "/connection/keypair")),
        (with("connection", json!({ "jump": "none" })), (422, "/connection/jump")),
        (with("connection", json!({ "jump": "web" })), (422, "/connection/jump")),
        (with("connection", json!({ "sudo": "yes" })), (422, "/connection/sudo")),
        (with("attributes", json!([])), (422, "/attributes")),
        (with("created_at", json!("2026-11-22T12:00:00Z")), (400, "/created_at")),
        (with("colour", json!("red")), (400, "/colour")),
    ] {
        let refused = host.client.post(SERVERS, &body).await;
        assert_eq!(refused.fault(), fault, "{body}: {refused}");
    }
    assert_eq!(host.client.get(SERVERS).await.items("name"), [""; 0]);
}

#[tokio::test]
async fn a_server_is_changed_by_a_merge_patch() {
    let host = TestHost::start().await;
    create(&host, "web", "production").await;
    let change = json!({ "environment": "staging", "connection": { "port": 2222 }, "attributes": { "rack": 7 } });
    let changed = host.client.patch("/server/web", &change).await;
    assert_eq!(changed.status, 200, "{changed}");
    assert_eq!((&changed.body["environment"], &changed.body["driver"]), (&json!("staging"), &json!("ssh")));
    let connection = json!({ "host": "web", "port": 2222, "user": "root", "host_key": null, "keypair": null,
        "jump": null, "sudo": false });
    assert_eq!((&changed.body["connection"], &changed.body["attributes"]), (&connection, &json!({ "rack": 7 })));
    assert_eq!(unchecked(&host.client.get("/server/web").await), unchecked(&changed));

    let back = host.client.patch("/server/web", &json!({ "connection": { "port": null } })).await;
    assert_eq!(back.body["connection"]["port"], 22, "{back}");
    // The whole document as it is shown changes nothing.
    assert_eq!(host.client.patch("/server/web", &unchecked(&back)).await.body["connection"], back.body["connection"]);
}

#[tokio::test]
async fn a_server_is_changed_by_a_json_patch() {
    let host = TestHost::start().await;
    create(&host, "web", "production").await;
    let other_driver = json!([
        { "op": "test", "path": "/driver", "value": "ssh" },
        { "op": "replace", "path": "/driver", "value": "salt" },
        { "op": "replace", "path": "/connection", "value": { "minion": "web.example.com" } },
    ]);
    let changed = host.client.patch_by("/server/web", &other_driver).await;
    assert_eq!(changed.status, 200, "{changed}");
    assert_eq!(changed.body["connection"], json!({ "minion": "web.example.com" }));
    let refused = host.client.patch_by("/server/web", &other_driver).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    assert_eq!(unchecked(&host.client.get("/server/web").await), unchecked(&changed));
}

#[tokio::test]
async fn another_driver_takes_another_connection() {
    let host = TestHost::start().await;
    let before = create(&host, "web", "production").await;
    let refused = host.client.patch("/server/web", &json!({ "driver": "salt" })).await;
    assert_eq!(refused.fault(), (422, "/connection/host"), "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("to null"), "{refused}");
    assert_eq!(unchecked(&host.client.get("/server/web").await), unchecked(&before));
    let change = json!({ "driver": "salt", "connection": { "host": null, "port": null, "user": null, "sudo": null } });
    let changed = host.client.patch("/server/web", &change).await;
    assert_eq!(
        (&changed.body["driver"], &changed.body["connection"]),
        (&json!("salt"), &json!({ "minion": "web" })),
        "{changed}"
    );
}

#[tokio::test]
async fn what_cannot_be_changed_of_a_server_stays() {
    let host = TestHost::start().await;
    let before = create(&host, "web", "production").await;
    for (change, pointer) in [
        (json!({ "name": "other" }), "/name"),
        (json!({ "created_at": null }), "/created_at"),
        (json!({ "colour": "red" }), "/colour"),
        (json!({ "environment": null }), "/environment"),
        (json!({ "environment": "a b" }), "/environment"),
        (json!({ "driver": null }), "/driver"),
        (json!({ "driver": "telnet" }), "/driver"),
        (json!({ "connection": { "password": "secret" } }), "/connection/password"),
        (json!({ "connection": { "port": 65536 } }), "/connection/port"),
        (json!({ "connection": 7 }), "/connection"),
        (json!({ "attributes": [] }), "/attributes"),
    ] {
        let refused = host.client.patch("/server/web", &change).await;
        assert_eq!(refused.fault(), (422, pointer), "{change}: {refused}");
    }
    assert_eq!(unchecked(&host.client.get("/server/web").await), unchecked(&before));
}

#[tokio::test]
async fn a_server_that_has_changed_since_is_neither_changed_nor_removed() {
    let host = TestHost::start().await;
    let old = create(&host, "web", "production").await.header("etag").to_owned();
    let first = host.client.patch_if("/server/web", &old, &json!({ "environment": "staging" })).await;
    assert_eq!(first.status, 200, "{first}");
    assert_ne!(first.header("etag"), old);
    let second = host.client.patch_if("/server/web", &old, &json!({ "environment": "testing" })).await;
    assert_eq!((second.status, &second.body["code"]), (412, &json!("changed")), "{second}");
    assert_eq!(host.client.delete_if("/server/web", &old).await.status, 412);
    assert_eq!(unchecked(&host.client.get("/server/web").await), unchecked(&first));
    assert_eq!(host.client.delete_if("/server/web", first.header("etag")).await.status, 204);
}

#[tokio::test]
async fn a_server_that_was_removed_is_gone() {
    let host = TestHost::start().await;
    create(&host, "web", "production").await;
    assert_eq!(host.client.delete("/server/web").await.status, 204);
    for gone in [
        host.client.get("/server/web").await,
        host.client.delete("/server/web").await,
        host.client.patch("/server/web", &json!({})).await,
    ] {
        assert_eq!(gone.status, 404, "{gone}");
        assert!(gone.body["detail"].as_str().unwrap().contains("server `web`"), "{gone}");
    }
    create(&host, "web", "production").await;
}

#[tokio::test]
async fn a_server_stays_while_gitdeploys_are_initialized_on_it() {
    let host = TestHost::start().await;
    create(&host, "web", "production").await;
    let mut connection = host.database.connect().await;
    for statement in [
        "insert into applications (name) values ('shop')",
        "insert into git_repos (application, name, uri, attributes) values ('shop', 'site', '/srv/site.git', '{}')",
        "insert into gitdeploys
             (application, name, package, path, git_repo, default_branch, options, actions, attributes)
         select 'shop', 'g' || n, 'web', '/srv/' || n, 'site', 'master', '{}', '{}', '{}' from generate_series(1, 7) n",
        "insert into gitdeploy_servers (application, gitdeploy, server)
         select 'shop', 'g' || n, 'web' from generate_series(1, 7) n",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    let refused = host.client.delete("/server/web").await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("`shop/g1`") && detail.contains("`shop/g5` and 2 more"), "{detail}");
    assert_eq!(host.client.get("/server/web").await.status, 200);

    let operator = host.guest(&json!({ "apps": { "_global": "read/write", "blog": "read" } })).await;
    let refused = operator.delete("/server/web").await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("7 gitdeploys that you may not see") && !detail.contains("shop"), "{detail}");

    sqlx::query("delete from gitdeploy_servers").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(host.client.delete("/server/web").await.status, 204);
}

#[tokio::test]
async fn a_user_sees_the_servers_that_are_granted_and_changes_none() {
    let host = TestHost::start().await;
    for (name, environment) in [("web1", "production"), ("db1", "production"), ("web2", "staging"), ("db2", "testing")]
    {
        create(&host, name, environment).await;
    }
    let client = host.guest(&json!({ "servers": ["web*"] })).await;
    assert_eq!(client.get(&format!("{SERVERS}?limit=2")).await.items("name"), ["web1", "web2"]);
    let environments = client.get("/server/environments").await;
    assert_eq!(environments.body, json!({ "production": ["web1"], "staging": ["web2"] }), "{environments}");
    assert_eq!(client.get("/server/web1").await.status, 200);
    for denied in [
        client.get("/server/db1").await,
        client.post(SERVERS, &json!({ "name": "web3", "environment": "staging", "driver": "ssh" })).await,
        client.patch("/server/web1", &json!({ "environment": "staging" })).await,
        client.delete("/server/web1").await,
    ] {
        assert_eq!((denied.status, &denied.body["code"]), (403, &json!("denied")), "{denied}");
    }
}

async fn create(host: &TestHost, name: &str, environment: &str) -> Reply {
    let new = json!({ "name": name, "environment": environment, "driver": "ssh" });
    let created = host.client.post(SERVERS, &new).await;
    assert_eq!(created.status, 201, "{created}");
    created
}
