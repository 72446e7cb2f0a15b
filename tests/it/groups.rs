//! Groups and the census over HTTP.

use insta::assert_json_snapshot;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::harness::{Reply, TestHost};

const GROUPS: &str = "/app/shop/groups";
const FRONT: &str = "/app/shop/groups/front";

#[tokio::test]
async fn a_group_is_created_and_shown() {
    let host = with_gitdeploys().await;
    let new = json!({
        "name": "front",
        "gitdeploys": ["web", "api"],
        "rolling_deploy": true,
        "description": "what customers see",
        "attributes": { "team": "red" },
    });
    let created = host.client.post(GROUPS, &new).await;
    assert_eq!((created.status, created.header("location")), (201, FRONT), "{created}");
    assert_json_snapshot!(created.body, { ".created_at" => "[time]", ".updated_at" => "[time]" }, @r#"
    {
      "name": "front",
      "application": "shop",
      "app_name": "shop",
      "gitdeploys": [
        "web",
        "api"
      ],
      "rolling_deploy": true,
      "description": "what customers see",
      "attributes": {
        "team": "red"
      },
      "servers": [],
      "created_at": "[time]",
      "updated_at": "[time]"
    }
    "#);
    let shown = host.client.get(FRONT).await;
    assert_eq!((&shown.body, shown.header("etag")), (&created.body, created.header("etag")));
    assert!(shown.header("etag").starts_with('"'), "{shown}");
    assert_eq!(host.client.get("/app/shop").await.body["containers"]["groups"], GROUPS);
}

#[tokio::test]
async fn a_group_is_created_by_a_put_as_in_the_reference() {
    let host = with_gitdeploys().await;
    let stages = "%5B%5B%22api%22%5D%2C%5B%22web%22%5D%5D";
    let put = host.client.put(&format!("{GROUPS}?name=front&gitdeploys={stages}&rolling_deploy=true")).await;
    assert_eq!((put.status, put.header("location")), (201, FRONT), "{put}");
    assert_eq!((&put.body["gitdeploys"], &put.body["rolling_deploy"]), (&json!([["api"], ["web"]]), &json!(true)));
    assert_eq!(host.client.get(FRONT).await.body, put.body);
    let no_json = host.client.put(&format!("{GROUPS}?name=other&gitdeploys=web")).await;
    assert_eq!(no_json.fault(), (422, "gitdeploys"), "{no_json}");
}

#[tokio::test]
async fn gitdeploys_keep_their_order_and_their_stages() {
    let host = with_gitdeploys().await;
    for (name, gitdeploys) in [
        ("one", json!(["web"])),
        ("unordered", json!(["web", "db", "api"])),
        ("one-stage", json!([["web", "api"]])),
        ("ordered", json!([["web"], ["db", "api"], ["assets"]])),
    ] {
        let created = create(&host, name, gitdeploys.clone()).await;
        assert_eq!((&created.body["gitdeploys"], &created.body["rolling_deploy"]), (&gitdeploys, &json!(false)));
        assert_eq!(host.client.get(&format!("{GROUPS}/{name}")).await.body, created.body);
    }
    let listed = host.client.get(GROUPS).await;
    assert_eq!(listed.items("name"), ["one", "one-stage", "ordered", "unordered"]);
    assert_eq!(listed.body["items"][2]["gitdeploys"], json!([["web"], ["db", "api"], ["assets"]]));
}

#[tokio::test]
async fn groups_are_listed_by_name_page_by_page() {
    let host = with_gitdeploys().await;
    assert_eq!(host.client.get(GROUPS).await.items("name"), [""; 0]);
    for name in ["c", "a", "b"] {
        create(&host, name, json!(["web"])).await;
    }
    let first = host.client.get(&format!("{GROUPS}?limit=2")).await;
    assert_eq!((first.items("name"), &first.body["next"]), (vec!["a", "b"], &json!("b")));
    assert_eq!(first.header("link"), format!(r#"<{GROUPS}?limit=2&after=b>; rel="next""#));
    let last = host.client.get(&format!("{GROUPS}?limit=2&after=b")).await;
    assert_eq!((last.items("name"), &last.body["next"]), (vec!["c"], &Value::Null));
}

#[tokio::test]
async fn a_group_that_is_there_is_not_overwritten() {
    let host = with_gitdeploys().await;
    let first = create(&host, "front", json!(["web"])).await;
    let second = host.client.post(GROUPS, &json!({ "name": "front", "gitdeploys": ["api"] })).await;
    assert_eq!((second.status, &second.body["code"]), (409, &json!("already-exists")), "{second}");
    assert_eq!(host.client.get(FRONT).await.body, first.body);
}

#[tokio::test]
async fn what_is_no_group_is_refused_where_it_is_wrong() {
    let host = with_gitdeploys().await;
    let of = |gitdeploys: Value| json!({ "name": "front", "gitdeploys": gitdeploys });
    let with = |member: &str, value: Value| {
        let mut group = of(json!(["web"]));
        group[member] = value;
        group
    };
    let many: Vec<_> = (0..101).map(|n| format!("g{n}")).collect();
    for (body, fault) in [
        (json!({ "gitdeploys": ["web"] }), (400, "/name")),
        (json!({ "name": "front" }), (400, "/gitdeploys")),
        (of(json!([])), (422, "/gitdeploys")),
        (of(json!([[]])), (422, "/gitdeploys")),
        (of(json!([["web"], []])), (422, "/gitdeploys")),
        (of(json!(["web", ["api"]])), (422, "/gitdeploys")),
        (of(json!([["web", ["api"]]])), (422, "/gitdeploys/0/1")),
        (of(json!(["web", 7])), (422, "/gitdeploys/1")),
        (of(json!("web")), (422, "/gitdeploys")),
        (of(json!(["a/b"])), (422, "/gitdeploys/0")),
        (of(json!(["web", "web"])), (422, "/gitdeploys")),
        (of(json!([["web"], ["api", "web"]])), (422, "/gitdeploys")),
        (of(json!(many)), (422, "/gitdeploys")),
        (with("name", json!("a/b")), (422, "/name")),
        (with("rolling_deploy", json!("yes")), (422, "/rolling_deploy")),
        (with("description", json!("x".repeat(4097))), (422, "/description")),
        (with("attributes", json!([])), (422, "/attributes")),
        (with("servers", json!([])), (400, "/servers")),
        (with("colour", json!("red")), (400, "/colour")),
    ] {
        let refused = host.client.post(GROUPS, &body).await;
        assert_eq!(refused.fault(), fault, "{body}: {refused}");
    }
    assert_eq!(host.client.get(GROUPS).await.items("name"), [""; 0]);
}

#[tokio::test]
async fn gitdeploys_that_do_not_exist_are_named() {
    let host = with_gitdeploys().await;
    let before = create(&host, "front", json!(["web"])).await;
    for (gitdeploys, named) in [
        (json!(["web", "cron"]), "`cron`"),
        (json!([["mail"], ["api", "cron"]]), "`mail`, `cron`"),
        (json!(["a", "b", "c", "d", "e", "f", "g"]), "`d`, `e` and 2 more"),
    ] {
        let created = host.client.post(GROUPS, &json!({ "name": "back", "gitdeploys": gitdeploys })).await;
        let changed = host.client.patch(FRONT, &json!({ "gitdeploys": gitdeploys })).await;
        for refused in [created, changed] {
            assert_eq!(refused.fault(), (422, "/gitdeploys"), "{refused}");
            assert!(refused.body["detail"].as_str().unwrap().contains(named), "{named}: {refused}");
        }
    }
    assert_eq!(host.client.get(GROUPS).await.items("name"), ["front"]);
    assert_eq!(host.client.get(FRONT).await.body, before.body);
    // Those of another application are none of this one.
    host.create_application("blog").await;
    let other = host.client.post("/app/blog/groups", &json!({ "name": "front", "gitdeploys": ["web"] })).await;
    assert_eq!(other.fault(), (422, "/gitdeploys"), "{other}");
}

#[tokio::test]
async fn a_group_of_no_application_is_not_found() {
    let host = TestHost::start().await;
    for reply in [
        host.client.post(GROUPS, &json!({ "name": "front", "gitdeploys": ["web"] })).await,
        host.client.get(GROUPS).await,
        host.client.get("/app/shop/census").await,
    ] {
        assert_eq!(reply.status, 404, "{reply}");
        assert!(reply.body["detail"].as_str().unwrap().contains("application `shop`"), "{reply}");
    }
}

#[tokio::test]
async fn a_group_is_changed_by_a_merge_patch() {
    let host = with_gitdeploys().await;
    create(&host, "front", json!(["web"])).await;
    let change = json!({
        "gitdeploys": [["api"], ["web"]],
        "rolling_deploy": true,
        "description": "new",
        "attributes": { "team": "red" },
    });
    let changed = host.client.patch(FRONT, &change).await;
    assert_eq!(changed.status, 200, "{changed}");
    for (name, value) in change.as_object().unwrap() {
        assert_eq!(&changed.body[name], value, "{name}");
    }
    assert_eq!(host.client.get(FRONT).await.body, changed.body);
    // What is not in the patch stays, and the whole document as it is shown changes nothing.
    let described = host.client.patch(FRONT, &json!({ "description": null })).await;
    assert_eq!((&described.body["description"], &described.body["rolling_deploy"]), (&json!(""), &json!(true)));
    assert_eq!(described.body["gitdeploys"], change["gitdeploys"]);
    let same = host.client.patch(FRONT, &described.body).await;
    assert_eq!((same.status, &same.body["gitdeploys"]), (200, &change["gitdeploys"]), "{same}");
}

#[tokio::test]
async fn a_group_is_changed_by_a_json_patch() {
    let host = with_gitdeploys().await;
    create(&host, "front", json!(["web", "db"])).await;
    let change = json!([
        { "op": "test", "path": "/gitdeploys/1", "value": "db" },
        { "op": "remove", "path": "/gitdeploys/1" },
        { "op": "add", "path": "/gitdeploys/-", "value": "api" },
    ]);
    let changed = host.client.patch_by(FRONT, &change).await;
    assert_eq!((changed.status, &changed.body["gitdeploys"]), (200, &json!(["web", "api"])), "{changed}");
    let refused = host.client.patch_by(FRONT, &change).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    assert_eq!(host.client.get(FRONT).await.body, changed.body);
}

#[tokio::test]
async fn what_cannot_be_changed_of_a_group_stays() {
    let host = with_gitdeploys().await;
    let before = create(&host, "front", json!(["web"])).await;
    for (change, pointer) in [
        (json!({ "name": "other" }), "/name"),
        (json!({ "app_name": "other" }), "/app_name"),
        (json!({ "servers": ["web1"] }), "/servers"),
        (json!({ "created_at": null }), "/created_at"),
        (json!({ "colour": "red" }), "/colour"),
        (json!({ "gitdeploys": null }), "/gitdeploys"),
        (json!({ "gitdeploys": [] }), "/gitdeploys"),
        (json!({ "gitdeploys": ["web", ["api"]] }), "/gitdeploys"),
        (json!({ "gitdeploys": [["web"], ["web"]] }), "/gitdeploys"),
        (json!({ "rolling_deploy": "yes" }), "/rolling_deploy"),
        (json!({ "description": 7 }), "/description"),
        (json!({ "description": "x".repeat(4097) }), "/description"),
        (json!({ "attributes": [] }), "/attributes"),
    ] {
        let refused = host.client.patch(FRONT, &change).await;
        assert_eq!(refused.fault(), (422, pointer), "{change}: {refused}");
    }
    assert_eq!(host.client.get(FRONT).await.body, before.body);
}

#[tokio::test]
async fn a_group_that_has_changed_since_is_neither_changed_nor_removed() {
    let host = with_gitdeploys().await;
    let old = create(&host, "front", json!(["web"])).await.header("etag").to_owned();
    let first = host.client.patch_if(FRONT, &old, &json!({ "gitdeploys": ["api"] })).await;
    assert_eq!(first.status, 200, "{first}");
    assert_ne!(first.header("etag"), old);
    let second = host.client.patch_if(FRONT, &old, &json!({ "gitdeploys": ["db"] })).await;
    assert_eq!((second.status, &second.body["code"]), (412, &json!("changed")), "{second}");
    assert_eq!(host.client.delete_if(FRONT, &old).await.status, 412);
    assert_eq!(host.client.get(FRONT).await.body, first.body);
    assert_eq!(host.client.delete_if(FRONT, first.header("etag")).await.status, 204);
}

#[tokio::test]
async fn changes_of_one_group_at_once_are_all_kept() {
    let host = with_gitdeploys().await;
    create(&host, "front", json!(["web"])).await;
    let changes = ["api", "db", "assets"].map(|name| {
        let client = host.client.clone();
        let add = json!([{ "op": "add", "path": "/gitdeploys/-", "value": name }]);
        tokio::spawn(async move { client.patch_by(FRONT, &add).await.status })
    });
    for change in changes {
        assert_eq!(change.await.unwrap(), 200);
    }
    let shown = host.client.get(FRONT).await;
    let mut names: Vec<_> = shown.body["gitdeploys"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["api", "assets", "db", "web"], "{shown}");
}

#[tokio::test]
async fn a_group_that_was_removed_is_gone_and_its_gitdeploys_stay() {
    let host = with_gitdeploys().await;
    create(&host, "front", json!(["web"])).await;
    let refused = host.client.delete("/app/shop/gitdeploys/web").await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("`front`"), "{refused}");

    assert_eq!(host.client.delete(FRONT).await.status, 204);
    for gone in
        [host.client.get(FRONT).await, host.client.delete(FRONT).await, host.client.patch(FRONT, &json!({})).await]
    {
        assert_eq!(gone.status, 404, "{gone}");
        assert!(gone.body["detail"].as_str().unwrap().contains("group `front`"), "{gone}");
    }
    assert_eq!(host.client.get("/app/shop/gitdeploys/web").await.status, 200);
    assert_eq!(host.client.delete("/app/shop/gitdeploys/web").await.status, 204);
}

#[tokio::test]
async fn groups_go_with_their_application() {
    let host = with_gitdeploys().await;
    create(&host, "front", json!([["web"], ["api"]])).await;
    assert_eq!(host.client.delete("/app/shop").await.status, 204);
    host.create_application("shop").await;
    assert_eq!(host.client.get(GROUPS).await.items("name"), [""; 0]);
}

#[tokio::test]
async fn members_are_the_servers_on_which_all_gitdeploys_are_initialized() {
    let host = with_members().await;
    for (gitdeploys, servers) in [
        (json!(["web"]), json!(["web1", "web2", "web3"])),
        (json!(["web", "api"]), json!(["web1", "web3"])),
        (json!([["web"], ["api"]]), json!(["web1", "web3"])),
        (json!(["web", "api", "db"]), json!([])),
    ] {
        let changed = host.client.patch(FRONT, &json!({ "gitdeploys": gitdeploys })).await;
        assert_eq!((changed.status, &changed.body["servers"]), (200, &servers), "{changed}");
        assert_eq!(host.client.get(FRONT).await.body["servers"], servers);
    }
    let created = create(&host, "back", json!(["db"])).await;
    assert_eq!(created.body["servers"], json!(["db1"]), "{created}");
}

#[tokio::test]
async fn members_can_be_those_of_some_environments() {
    let host = with_members().await;
    create(&host, "back", json!(["db"])).await;
    for (environments, front, back) in [
        ("production", json!(["web1", "web2"]), json!(["db1"])),
        ("staging", json!(["web3"]), json!([])),
        ("staging+production", json!(["web1", "web2", "web3"]), json!(["db1"])),
        ("staging,production", json!(["web1", "web2", "web3"]), json!(["db1"])),
        ("nowhere", json!([]), json!([])),
    ] {
        let shown = host.client.get(&format!("{FRONT}?environments={environments}")).await;
        assert_eq!((shown.status, &shown.body["servers"]), (200, &front), "{environments}: {shown}");
        let listed = host.client.get(&format!("{GROUPS}?environments={environments}")).await;
        assert_eq!(listed.items("name"), ["back", "front"], "{environments}: {listed}");
        let servers = (&listed.body["items"][0]["servers"], &listed.body["items"][1]["servers"]);
        assert_eq!(servers, (&back, &front), "{environments}: {listed}");
    }
    let page = host.client.get(&format!("{GROUPS}?environments=staging%2Cproduction&limit=1")).await;
    let next = page.header("link").split(['<', '>']).nth(1).unwrap();
    let second = host.client.get(next).await;
    assert_eq!(second.body["items"][0]["servers"], json!(["web1", "web2", "web3"]), "{second}");
    for environments in ["", "a%2Fb", "staging++production"] {
        for path in [GROUPS, FRONT] {
            let refused = host.client.get(&format!("{path}?environments={environments}")).await;
            assert_eq!(refused.fault(), (422, "environments"), "{environments}: {refused}");
        }
    }
}

#[tokio::test]
async fn the_census_shows_what_runs_where() {
    let host = with_members().await;
    assert_eq!(host.client.patch(FRONT, &json!({ "gitdeploys": ["web", "api"] })).await.status, 200);
    create(&host, "back", json!(["db"])).await;
    create(&host, "empty", json!(["assets"])).await;
    let mut connection = host.database.connect().await;
    for statement in [
        "update git_repos set last_build = '124' where name = 'site'",
        "update gitdeploy_servers set deployed_build = '124' where server = 'web1' and gitdeploy = 'web'",
        "update gitdeploy_servers set deployed_build = '123' where server = 'web3'",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let census = host.client.get("/app/shop/census").await;
    assert_eq!(census.status, 200, "{census}");
    // Who has put it there is shown where a job has: here it is not known.
    let of = |committed: Value, deployed: Value| {
        let [committed, deployed] = [committed, deployed].map(|build| match build {
            Value::Null => Value::Null,
            build => json!({ "build": build, "at": null, "job_id": null, "username": null }),
        });
        json!({ "committed": committed, "deployed": deployed, "drift": null })
    };
    let expected = json!({
        "production": {
            "back": { "db1": { "db": of(Value::Null, Value::Null) } },
            "front": { "web1": { "api": of(json!("124"), Value::Null), "web": of(json!("124"), json!("124")) } },
        },
        "staging": {
            "front": { "web3": { "api": of(json!("124"), json!("123")), "web": of(json!("124"), json!("123")) } },
        },
    });
    assert_eq!(census.body, expected, "{census}");
}

#[tokio::test]
async fn a_census_and_a_look_at_all_environments_have_an_end() {
    let host = with_members().await;
    let production = host.client.get("/app/shop/census?environments=production").await;
    assert_eq!(production.body.as_object().unwrap().keys().collect::<Vec<_>>(), ["production"], "{production}");
    let mut connection = host.database.connect().await;
    for statement in [
        "insert into servers (name, environment, driver, connection, attributes)
         select 'many-' || n, 'testing', 'ssh', '{}', '{}' from generate_series(1, 20000) n",
        "insert into gitdeploy_servers (application, gitdeploy, server)
         select 'shop', 'web', name from servers where environment = 'testing'",
    ] {
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let all = host.client.get("/app/shop/census").await;
    assert_eq!((all.status, &all.body["code"]), (422, &json!("too-many")), "{}", all.status);
    assert!(all.body["detail"].as_str().unwrap().contains("ask for some `environments`"), "{all}");
    assert_eq!(host.client.get("/app/shop/census?environments=production").await.body, production.body);
    let environments = host.client.get("/server/environments").await;
    assert_eq!((environments.status, &environments.body["code"]), (422, &json!("too-many")), "{}", environments.status);
}

#[tokio::test]
async fn whoever_may_read_an_application_sees_the_names_of_its_servers_and_no_more_of_them() {
    let host = with_members().await;
    let reader = host.guest(&json!({ "apps": { "shop": "read" } })).await;
    assert_eq!(reader.get(FRONT).await.body["servers"], json!(["web1", "web2", "web3"]));
    let gitdeploy = reader.get("/app/shop/gitdeploys/db").await;
    assert_eq!(gitdeploy.body["servers"][0]["server"], "db1", "{gitdeploy}");
    let census = reader.get("/app/shop/census").await;
    assert!(census.body["staging"]["front"]["web3"].is_object(), "{census}");
    for server in ["web1", "web2", "web3", "db1"] {
        assert_eq!(reader.get(&format!("/server/{server}")).await.status, 403);
    }
    assert_eq!(reader.get("/server").await.items("name"), [""; 0]);
    assert_eq!(reader.get("/server/environments").await.body, json!({}));
}

#[tokio::test]
async fn the_census_of_an_application_without_servers_is_empty() {
    let host = with_gitdeploys().await;
    create(&host, "front", json!(["web"])).await;
    assert_eq!(host.client.get("/app/shop/census").await.body, json!({}));
}

async fn create(host: &TestHost, name: &str, gitdeploys: Value) -> Reply {
    let created = host.client.post(GROUPS, &json!({ "name": name, "gitdeploys": gitdeploys })).await;
    assert_eq!(created.status, 201, "{created}");
    created
}

/// With the gitdeploys `web`, `api` and `assets`, of one repository, and `db` of another.
async fn with_gitdeploys() -> TestHost {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    for repo in ["site", "data"] {
        let new = json!({ "name": repo, "existing": true, "uri": format!("https://git.example.com/{repo}.git") });
        let reply = host.client.post("/app/shop/gitrepos", &new).await;
        assert_eq!(reply.status, 201, "{reply}");
    }
    for (name, repo) in [("web", "site"), ("api", "site"), ("assets", "site"), ("db", "data")] {
        let location = json!({ "path": format!("/srv/{name}"), "gitrepo": repo });
        let new = json!({ "name": name, "package": "master", "location": location });
        let reply = host.client.post("/app/shop/gitdeploys", &new).await;
        assert_eq!(reply.status, 201, "{reply}");
    }
    host
}

/// With the group `front` of `web`; `web` is on all of three servers, `api` on two of them, and `db` on a fourth.
async fn with_members() -> TestHost {
    let host = with_gitdeploys().await;
    let servers = [("web1", "production"), ("web2", "production"), ("web3", "staging"), ("db1", "production")];
    for (name, environment) in servers {
        let new = json!({ "name": name, "environment": environment, "driver": "ssh" });
        let reply = host.client.post("/server", &new).await;
        assert_eq!(reply.status, 201, "{reply}");
    }
    let mut connection = host.database.connect().await;
    let initialized = "insert into gitdeploy_servers (application, gitdeploy, server) values
        ('shop', 'web', 'web1'), ('shop', 'web', 'web2'), ('shop', 'web', 'web3'),
        ('shop', 'api', 'web1'), ('shop', 'api', 'web3'), ('shop', 'db', 'db1')";
    sqlx::query(initialized).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    create(&host, "front", json!(["web"])).await;
    host
}
