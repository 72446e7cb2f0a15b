//! Gitdeploys as records over HTTP.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{Reply, TestHost};

const GITDEPLOYS: &str = "/app/shop/gitdeploys";
const WEB: &str = "/app/shop/gitdeploys/web";

#[tokio::test]
async fn a_gitdeploy_is_created_and_shown() {
    let host = with_site().await;
    let new = json!({
        "name": "web",
        "package": "frontend",
        "location": { "path": "/srv/shop", "gitrepo": "site", "default_branch": "release/1" },
        "options": { "favor": "ours", "ignore-whitespace": true, "gitignore": ["*.log", "", "!keep.log"] },
        "actions": { "prepull": [["systemctl", "stop", "shop"]], "postpull": [["sh", "-c", "a\nb"], ["true"]] },
        "attributes": { "team": "red" },
    });
    let created = host.client.post(GITDEPLOYS, &new).await;
    assert_eq!((created.status, created.header("location")), (201, WEB), "{created}");
    assert_json_snapshot!(created.body, { ".created_at" => "[time]", ".updated_at" => "[time]" }, @r#"
    {
      "name": "web",
      "application": "shop",
      "app_name": "shop",
      "package": "frontend",
      "location": {
        "path": "/srv/shop",
        "gitrepo": "site",
        "default_branch": "release/1"
      },
      "options": {
        "favor": "ours",
        "ignore-whitespace": true,
        "gitignore": [
          "*.log",
          "",
          "!keep.log"
        ],
        "autocrlf": false
      },
      "actions": {
        "prepull": [
          [
            "systemctl",
            "stop",
            "shop"
          ]
        ],
        "postpull": [
          [
            "sh",
            "-c",
            "a\nb"
          ],
          [
            "true"
          ]
        ]
      },
      "attributes": {
        "team": "red"
      },
      "servers": [],
      "created_at": "[time]",
      "updated_at": "[time]"
    }
    "#);
    let shown = host.client.get(WEB).await;
    assert_eq!((&shown.body, shown.header("etag")), (&created.body, created.header("etag")));
    assert!(shown.header("etag").starts_with('"'), "{shown}");
}

#[tokio::test]
async fn what_is_not_given_is_what_most_want() {
    let host = with_site().await;
    let created = create(&host, "web").await;
    assert_eq!(created.body["location"]["default_branch"], "master");
    let options = json!({ "favor": "theirs", "ignore-whitespace": false, "gitignore": [], "autocrlf": false });
    assert_eq!(created.body["options"], options);
    assert_eq!(created.body["actions"], json!({ "prepull": [], "postpull": [] }));
    assert_eq!((&created.body["attributes"], &created.body["servers"]), (&json!({}), &json!([])));
}

#[tokio::test]
async fn a_gitdeploy_is_created_by_a_put_as_in_the_reference() {
    let host = with_site().await;
    let query = [
        ("name", "web"),
        ("package", "master"),
        ("location", r#"{"path": "C:\\sites\\shop", "gitrepo": "site"}"#),
        ("options", r#"{"ignore-whitespace": "true"}"#),
        ("actions", r#"{"postpull": [["iisreset", "/restart"]]}"#),
    ];
    let url = reqwest::Url::parse_with_params("http://query/", query).unwrap();
    let put = host.client.put(&format!("{GITDEPLOYS}?{}", url.query().unwrap())).await;
    assert_eq!((put.status, put.header("location")), (201, WEB), "{put}");
    let location = json!({ "path": "C:\\sites\\shop", "gitrepo": "site", "default_branch": "master" });
    assert_eq!((&put.body["location"], &put.body["options"]["ignore-whitespace"]), (&location, &json!(true)));
    assert_eq!(put.body["actions"], json!({ "prepull": [], "postpull": [["iisreset", "/restart"]] }));
    assert_eq!(host.client.get(WEB).await.body, put.body);
}

#[tokio::test]
async fn gitdeploys_are_listed_by_name_page_by_page_with_their_servers() {
    let host = with_site().await;
    assert_eq!(host.client.get(GITDEPLOYS).await.items("name"), [""; 0]);
    for name in ["c", "a", "b"] {
        create(&host, name).await;
    }
    initialize(&host, "b", &["s1"]).await;
    let first = host.client.get(&format!("{GITDEPLOYS}?limit=2")).await;
    assert_eq!((first.items("name"), &first.body["next"]), (vec!["a", "b"], &json!("b")));
    assert_eq!(first.header("link"), format!(r#"<{GITDEPLOYS}?limit=2&after=b>; rel="next""#));
    assert_eq!(first.body["items"][0]["servers"], json!([]));
    assert_eq!(first.body["items"][1], host.client.get(&format!("{GITDEPLOYS}/b")).await.body);
    let last = host.client.get(&format!("{GITDEPLOYS}?limit=2&after=b")).await;
    assert_eq!((last.items("name"), &last.body["next"]), (vec!["c"], &Value::Null));
}

#[tokio::test]
async fn the_servers_it_is_initialized_on_are_shown_with_what_is_deployed_there() {
    let host = with_site().await;
    create(&host, "web").await;
    create(&host, "other").await;
    initialize(&host, "web", &["s2", "s1"]).await;
    initialize(&host, "other", &["s3"]).await;
    let mut database = host.database.connect().await;
    let deployed = "update gitdeploy_servers set deployed_build = '124', initialized_at = '2026-11-24T10:00:00.5Z'
        where server = 's1'";
    sqlx::query(deployed).execute(&mut database).await.unwrap();
    let shown = host.client.get(WEB).await;
    let servers = shown.body["servers"].as_array().unwrap();
    let first = json!({ "server": "s1", "deployed_build": "124", "initialized_at": "2026-11-24T10:00:00.5Z" });
    assert_eq!(servers[0], first, "{shown}");
    assert_eq!((servers.len(), &servers[1]["server"], &servers[1]["deployed_build"]), (2, &json!("s2"), &Value::Null));
    assert!(servers[1]["initialized_at"].as_str().unwrap().ends_with('Z'), "{shown}");
}

#[tokio::test]
async fn a_gitdeploy_that_is_there_is_not_overwritten() {
    let host = with_site().await;
    let first = create(&host, "web").await;
    let other = json!({ "name": "web", "package": "api", "location": { "path": "/srv/api", "gitrepo": "site" } });
    let second = host.client.post(GITDEPLOYS, &other).await;
    assert_eq!((second.status, &second.body["code"]), (409, &json!("already-exists")), "{second}");
    assert_eq!(host.client.get(WEB).await.body, first.body);
}

#[tokio::test]
async fn what_is_no_gitdeploy_is_refused_where_it_is_wrong() {
    let host = with_site().await;
    let many_lines = vec!["x"; 1001];
    let long_lines = vec!["x".repeat(1000); 100];
    let many_commands = vec![["true"]; 51];
    let many_arguments = vec!["x"; 201];
    for (change, fault) in [
        (json!({ "name": "a b" }), (422, "/name")),
        (json!({ "package": "../web" }), (422, "/package")),
        (json!({ "location": "/srv/shop" }), (422, "/location")),
        (json!({ "location": { "path": "/srv/shop" } }), (422, "/location")),
        (json!({ "location": { "path": "/srv/shop", "gitrepo": "site", "host": "s1" } }), (422, "/location/host")),
        (json!({ "location": { "path": "/srv/shop", "gitrepo": "a b" } }), (422, "/location/gitrepo")),
        (json!({ "location": { "path": "/srv/shop", "gitrepo": "nowhere" } }), (422, "/location/gitrepo")),
        (location("srv/shop", "master"), (422, "/location/path")),
        (location("/", "master"), (422, "/location/path")),
        (location("C:\\", "master"), (422, "/location/path")),
        (location("/srv/../etc", "master"), (422, "/location/path")),
        (location(&format!("/{}", "x".repeat(2000)), "master"), (422, "/location/path")),
        (location("/srv/shop", "a..b"), (422, "/location/default_branch")),
        (location("/srv/shop", ""), (422, "/location/default_branch")),
        (location("/srv/shop", &"x".repeat(300)), (422, "/location/default_branch")),
        (json!({ "options": { "favor": "mine" } }), (422, "/options/favor")),
        (json!({ "options": { "ignore-whitespace": "perhaps" } }), (422, "/options/ignore-whitespace")),
        (json!({ "options": { "ignore_whitespace": true } }), (422, "/options/ignore_whitespace")),
        (json!({ "options": { "gitignore": ["a", "b\nc"] } }), (422, "/options/gitignore/1")),
        (json!({ "options": { "gitignore": ["x".repeat(1025)] } }), (422, "/options/gitignore/0")),
        (json!({ "options": { "gitignore": many_lines } }), (422, "/options/gitignore")),
        (json!({ "options": { "gitignore": long_lines } }), (422, "/options")),
        (json!({ "actions": { "prepull": ["systemctl stop shop"] } }), (422, "/actions/prepull/0")),
        (json!({ "actions": { "preput": [] } }), (422, "/actions/preput")),
        (json!({ "actions": { "prepull": [["true"], []] } }), (422, "/actions/prepull/1")),
        (json!({ "actions": { "postpull": [[""]] } }), (422, "/actions/postpull/0/0")),
        (json!({ "actions": { "postpull": [["echo", "x".repeat(9000)]] } }), (422, "/actions/postpull/0/1")),
        (json!({ "actions": { "postpull": many_commands } }), (422, "/actions/postpull")),
        (json!({ "actions": { "postpull": [many_arguments] } }), (422, "/actions/postpull/0")),
        (json!({ "attributes": [] }), (422, "/attributes")),
        (json!({ "servers": ["s1"] }), (400, "/servers")),
        (json!({ "initialize": true }), (400, "/initialize")),
    ] {
        let mut new =
            json!({ "name": "web", "package": "web", "location": { "path": "/srv/shop", "gitrepo": "site" } });
        new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let reply = host.client.post(GITDEPLOYS, &new).await;
        assert_eq!(reply.fault(), fault, "{change}: {reply}");
    }
    for missing in ["name", "package", "location"] {
        let mut new =
            json!({ "name": "web", "package": "web", "location": { "path": "/srv/shop", "gitrepo": "site" } });
        new.as_object_mut().unwrap().remove(missing);
        let reply = host.client.post(GITDEPLOYS, &new).await;
        assert_eq!(reply.fault(), (400, &*format!("/{missing}")), "{reply}");
    }
    assert_eq!(host.client.get(GITDEPLOYS).await.items("name"), [""; 0]);
}

#[tokio::test]
async fn a_git_repository_of_another_application_is_none_of_this_one() {
    let host = with_site().await;
    host.create_application("blog").await;
    let new = json!({ "name": "web", "package": "web", "location": { "path": "/srv/blog", "gitrepo": "site" } });
    let refused = host.client.post("/app/blog/gitdeploys", &new).await;
    assert_eq!(refused.fault(), (422, "/location/gitrepo"), "{refused}");
    assert!(detail(&refused).contains("git repository `site` does not exist"), "{refused}");
}

#[tokio::test]
async fn a_gitdeploy_is_changed_by_either_kind_of_patch() {
    let host = with_site().await;
    let before = create(&host, "web").await;
    let merge = json!({
        "package": "api",
        "location": { "path": "/srv/api", "default_branch": "main" },
        "options": { "favor": "ours", "gitignore": ["a", "b"] },
        "actions": { "postpull": [["true"]] },
        "attributes": { "team": "red" },
    });
    let merged = host.client.patch(WEB, &merge).await;
    assert_eq!((merged.status, &merged.body["package"]), (200, &json!("api")), "{merged}");
    let location = json!({ "path": "/srv/api", "gitrepo": "site", "default_branch": "main" });
    let options = json!({ "favor": "ours", "ignore-whitespace": false, "gitignore": ["a", "b"], "autocrlf": false });
    assert_eq!((&merged.body["location"], &merged.body["options"]), (&location, &options));
    assert_eq!(merged.body["actions"], json!({ "prepull": [], "postpull": [["true"]] }));
    assert_ne!(merged.header("etag"), before.header("etag"));
    let operations = json!([
        { "op": "test", "path": "/options/favor", "value": "ours" },
        { "op": "remove", "path": "/options/gitignore/0" },
        { "op": "replace", "path": "/options/ignore-whitespace", "value": true },
        { "op": "add", "path": "/actions/prepull/-", "value": ["systemctl", "stop", "shop"] },
        { "op": "replace", "path": "/location/gitrepo", "value": "other" },
        { "op": "add", "path": "/attributes/size", "value": 3 },
    ]);
    let operated = host.client.patch_by(WEB, &operations).await;
    let options = json!({ "favor": "ours", "ignore-whitespace": true, "gitignore": ["b"], "autocrlf": false });
    assert_eq!((operated.status, &operated.body["options"]), (200, &options), "{operated}");
    assert_eq!(operated.body["actions"]["prepull"], json!([["systemctl", "stop", "shop"]]));
    assert_eq!(operated.body["location"]["gitrepo"], "other");
    assert_eq!(operated.body["attributes"], json!({ "team": "red", "size": 3 }));
    let shown = host.client.get(WEB).await;
    assert_eq!((&shown.body, shown.header("etag")), (&operated.body, operated.header("etag")));
}

#[tokio::test]
async fn options_that_are_removed_are_as_if_they_had_not_been_given() {
    let host = with_site().await;
    let before = create(&host, "web").await;
    let set = json!({
        "location": { "default_branch": "main" },
        "options": { "favor": "ours", "gitignore": ["a"] },
        "actions": { "prepull": [["true"]] },
    });
    assert_eq!(host.client.patch(WEB, &set).await.status, 200);
    let removal = json!({
        "location": { "default_branch": null },
        "options": { "favor": null, "gitignore": null },
        "actions": null,
    });
    let removed = host.client.patch(WEB, &removal).await;
    for member in ["location", "options", "actions"] {
        assert_eq!(removed.body[member], before.body[member], "{removed}");
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_made_leaves_a_gitdeploy_as_it_is() {
    let host = with_site().await;
    let before = create(&host, "web").await;
    for (change, pointer) in [
        (json!({ "name": "other" }), "/name"),
        (json!({ "app_name": "blog" }), "/app_name"),
        (json!({ "servers": [{ "server": "s1" }] }), "/servers"),
        (json!({ "updated_at": null }), "/updated_at"),
        (json!({ "colour": "red" }), "/colour"),
        (json!({ "package": null }), "/package"),
        (json!({ "package": "a b" }), "/package"),
        (json!({ "location": null }), "/location"),
        (json!({ "location": { "host": "s1" } }), "/location/host"),
        (json!({ "location": { "gitrepo": "a b" } }), "/location/gitrepo"),
        (json!({ "location": { "gitrepo": "nowhere" } }), "/location/gitrepo"),
        (json!({ "location": { "path": "/srv/.." } }), "/location/path"),
        (json!({ "location": { "default_branch": "a b" } }), "/location/default_branch"),
        (json!({ "options": { "favor": "mine" } }), "/options/favor"),
        (json!({ "options": { "ignore-whitespace": 1 } }), "/options/ignore-whitespace"),
        (json!({ "options": { "gitignore": ["a\nb"] } }), "/options/gitignore/0"),
        (json!({ "actions": { "prepull": ["true"] } }), "/actions/prepull/0"),
        (json!({ "actions": { "prepull": [["true"], []] } }), "/actions/prepull/1"),
        (json!({ "attributes": 7 }), "/attributes"),
    ] {
        let refused = host.client.patch(WEB, &change).await;
        assert_eq!(refused.fault(), (422, pointer), "{change}: {refused}");
    }
    let failed = host.client.patch_by(WEB, &json!([{ "op": "test", "path": "/package", "value": "api" }])).await;
    assert_eq!((failed.status, &failed.body["code"]), (409, &json!("conflict")), "{failed}");
    let shown = host.client.get(WEB).await;
    assert_eq!((&shown.body, shown.header("etag")), (&before.body, before.header("etag")));
}

#[tokio::test]
async fn a_gitdeploy_on_servers_stays_where_it_is_there() {
    let host = with_site().await;
    create(&host, "web").await;
    initialize(&host, "web", &["s1", "s2", "s3", "s4", "s5", "s6"]).await;
    for change in [json!({ "path": "/srv/api" }), json!({ "gitrepo": "other" }), json!({ "default_branch": "main" })] {
        let refused = host.client.patch(WEB, &json!({ "location": change })).await;
        assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
        let named = "is initialized on the servers `s1`, `s2`, `s3`, `s4`, `s5` and 1 more";
        assert!(detail(&refused).contains(named), "{refused}");
    }
    // What it shows may be sent back, and the rest can be changed.
    let shown = host.client.get(WEB).await;
    assert_eq!(host.client.patch(WEB, &shown.body).await.status, 200);
    let rest = json!({ "package": "api", "options": { "favor": "ours" } });
    let changed = host.client.patch(WEB, &rest).await;
    assert_eq!((changed.status, &changed.body["package"]), (200, &json!("api")), "{changed}");
    assert_eq!(changed.body["servers"], shown.body["servers"]);
}

#[tokio::test]
async fn a_gitdeploy_that_has_changed_since_is_neither_changed_nor_removed() {
    let host = with_site().await;
    let old = create(&host, "web").await.header("etag").to_owned();
    let changed = host.client.patch_if(WEB, &old, &json!({ "package": "api" })).await;
    assert_eq!(changed.status, 200, "{changed}");
    let again = host.client.patch_if(WEB, &old, &json!({ "package": "web" })).await;
    assert_eq!((again.status, &again.body["code"]), (412, &json!("changed")), "{again}");
    assert_eq!(host.client.delete_if(WEB, &old).await.status, 412);
    assert_eq!(host.client.get(WEB).await.body, changed.body);
    assert_eq!(host.client.delete_if(WEB, changed.header("etag")).await.status, 204);
}

#[tokio::test]
async fn a_gitdeploy_that_was_removed_is_gone_and_its_name_is_free() {
    let host = with_site().await;
    create(&host, "web").await;
    let removed = host.client.delete(WEB).await;
    assert_eq!((removed.status, &removed.body), (204, &Value::Null), "{removed}");
    assert_eq!(host.client.get(WEB).await.status, 404);
    assert_eq!(host.client.patch(WEB, &json!({})).await.status, 404);
    assert_eq!(host.client.delete(WEB).await.status, 404);
    create(&host, "web").await;
}

#[tokio::test]
async fn a_gitdeploy_of_a_group_stays_and_the_group_is_named() {
    let host = with_site().await;
    create(&host, "web").await;
    for name in ["front", "all"] {
        let group = host.client.post("/app/shop/groups", &json!({ "name": name, "gitdeploys": ["web"] })).await;
        assert_eq!(group.status, 201, "{group}");
    }
    let refused = host.client.delete(WEB).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    assert!(detail(&refused).contains("is used by the groups `all`, `front`;"), "{refused}");
    for name in ["front", "all"] {
        assert_eq!(host.client.delete(&format!("/app/shop/groups/{name}")).await.status, 204);
    }
    assert_eq!(host.client.delete(WEB).await.status, 204);
}

#[tokio::test]
async fn a_gitdeploy_on_a_server_stays_and_the_server_is_named() {
    let host = with_site().await;
    create(&host, "web").await;
    initialize(&host, "web", &["s1"]).await;
    let refused = host.client.delete(WEB).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    assert!(detail(&refused).contains("is initialized on the server `s1`;"), "{refused}");
    assert_eq!(host.client.get(WEB).await.body["servers"][0]["server"], "s1");
}

#[tokio::test]
async fn gitdeploys_of_no_application_are_not_found() {
    let host = TestHost::start().await;
    let new = json!({ "name": "web", "package": "web", "location": { "path": "/srv/shop", "gitrepo": "site" } });
    let created = host.client.post(GITDEPLOYS, &new).await;
    let listed = host.client.get(GITDEPLOYS).await;
    for reply in [created, listed] {
        assert_eq!(reply.status, 404, "{reply}");
        assert!(detail(&reply).contains("application `shop`"), "{reply}");
    }
}

/// The application `shop` with the git repositories `site` and `other`.
async fn with_site() -> TestHost {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    for name in ["site", "other"] {
        let new = json!({ "name": name, "existing": true, "uri": format!("https://git.example.com/{name}.git") });
        let repo = host.client.post("/app/shop/gitrepos", &new).await;
        assert_eq!(repo.status, 201, "{repo}");
    }
    host
}

async fn create(host: &TestHost, name: &str) -> Reply {
    let new = json!({ "name": name, "package": "web", "location": { "path": "/srv/shop", "gitrepo": "site" } });
    let created = host.client.post(GITDEPLOYS, &new).await;
    assert_eq!(created.status, 201, "{created}");
    created
}

/// Makes new servers, and records that the gitdeploy is initialized on them.
async fn initialize(host: &TestHost, gitdeploy: &str, servers: &[&str]) {
    let mut database = host.database.connect().await;
    for server in servers {
        let new = json!({ "name": server, "environment": "production", "driver": "ssh" });
        let created = host.client.post("/server", &new).await;
        assert_eq!(created.status, 201, "{created}");
        sqlx::query("insert into gitdeploy_servers (application, gitdeploy, server) values ('shop', $1, $2)")
            .bind(gitdeploy)
            .bind(server)
            .execute(&mut database)
            .await
            .unwrap();
    }
}

fn location(path: &str, branch: &str) -> Value {
    json!({ "location": { "path": path, "gitrepo": "site", "default_branch": branch } })
}

fn detail(reply: &Reply) -> &str {
    reply.body["detail"].as_str().unwrap()
}
