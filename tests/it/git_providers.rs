//! Git providers over HTTP.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{Reply, TestHost};

const PROVIDERS: &str = "/global/gitproviders";
const HUB: &str = "/global/gitproviders/hub";

#[tokio::test]
async fn a_git_provider_is_created_and_shown() {
    let host = TestHost::start().await;
    let new = json!({
        "name": "hub",
        "type": "gitea",
        "base_url": "https://git.example.com/gitea",
        "attributes": { "team": "red" },
    });
    let created = host.client.post(PROVIDERS, &new).await;
    assert_eq!((created.status, created.header("location")), (201, HUB), "{created}");
    assert_json_snapshot!(created.body, { ".created_at" => "[time]", ".updated_at" => "[time]" }, @r#"
    {
      "name": "hub",
      "type": "gitea",
      "base_url": "https://git.example.com/gitea",
      "attributes": {
        "team": "red"
      },
      "created_at": "[time]",
      "updated_at": "[time]"
    }
    "#);
    let shown = host.client.get(HUB).await;
    assert_eq!((&shown.body, shown.header("etag")), (&created.body, created.header("etag")));
    assert!(shown.header("etag").starts_with('"'), "{shown}");
}

#[tokio::test]
async fn a_git_provider_is_created_by_a_put_as_in_the_reference() {
    let host = TestHost::start().await;
    let put = host.client.put(&format!("{PROVIDERS}?name=hub&type=other&base_url=https%3A%2F%2Fgit.example.com")).await;
    assert_eq!((put.status, put.header("location")), (201, HUB), "{put}");
    assert_eq!((&put.body["type"], &put.body["base_url"]), (&json!("other"), &json!("https://git.example.com")));
    assert_eq!(host.client.get(HUB).await.body, put.body);
}

#[tokio::test]
async fn git_providers_are_listed_by_name_page_by_page() {
    let host = TestHost::start().await;
    assert_eq!(host.client.get(PROVIDERS).await.items("name"), [""; 0]);
    for name in ["c", "a", "b"] {
        create(&host, json!({ "name": name, "type": "github" })).await;
    }
    let first = host.client.get(&format!("{PROVIDERS}?limit=2")).await;
    assert_eq!((first.items("name"), &first.body["next"]), (vec!["a", "b"], &json!("b")));
    assert_eq!(first.header("link"), format!(r#"<{PROVIDERS}?limit=2&after=b>; rel="next""#));
    let last = host.client.get(&format!("{PROVIDERS}?limit=2&after=b")).await;
    assert_eq!((last.items("name"), &last.body["next"]), (vec!["c"], &Value::Null));
}

#[tokio::test]
async fn a_git_provider_that_is_there_is_not_overwritten() {
    let host = TestHost::start().await;
    let first = create(&host, json!({ "name": "hub", "type": "github" })).await;
    let second = host.client.post(PROVIDERS, &json!({ "name": "hub", "type": "gitlab" })).await;
    assert_eq!((second.status, &second.body["code"]), (409, &json!("already-exists")), "{second}");
    assert_eq!(host.client.get(HUB).await.body, first.body);
}

#[tokio::test]
async fn the_type_says_whether_there_is_a_base_url() {
    let host = TestHost::start().await;
    let url = "https://git.example.com";
    for (kind, with, without) in [
        ("local", 422, 201),
        ("github", 201, 201),
        ("gitlab", 201, 201),
        ("bitbucket", 201, 201),
        ("gitea", 201, 422),
        ("other", 201, 422),
    ] {
        let new = json!({ "name": format!("{kind}-with"), "type": kind, "base_url": url });
        let created = host.client.post(PROVIDERS, &new).await;
        assert_eq!(created.status, with, "{created}");
        let new = json!({ "name": format!("{kind}-without"), "type": kind, "base_url": null });
        let created = host.client.post(PROVIDERS, &new).await;
        assert_eq!(created.status, without, "{created}");
        if without == 422 {
            assert_eq!(created.fault().1, "/base_url", "{created}");
            let change = json!({ "base_url": null });
            let changed = host.client.patch(&format!("{PROVIDERS}/{kind}-with"), &change).await;
            assert_eq!(changed.fault(), (422, "/base_url"), "{changed}");
        }
    }
    let changed = host.client.patch(&format!("{PROVIDERS}/local-without"), &json!({ "base_url": url })).await;
    assert_eq!(changed.fault(), (422, "/base_url"), "{changed}");
}

#[tokio::test]
async fn what_is_no_git_provider_is_refused_where_it_is_wrong() {
    let host = TestHost::start().await;
    for (new, fault) in [
        (json!({ "name": "hub" }), (400, "/type")),
        (json!({ "type": "github" }), (400, "/name")),
        (json!({ "name": "a/b", "type": "github" }), (422, "/name")),
        (json!({ "name": "hub", "type": "svn" }), (422, "/type")),
        (json!({ "name": "hub", "type": "github", "attributes": [] }), (422, "/attributes")),
        (json!({ "name": "hub", "type": "github", "created_at": null }), (400, "/created_at")),
        // There is nowhere to keep a secret, so that none is taken.
        (json!({ "name": "hub", "type": "github", "auth": { "token": "secret" } }), (400, "/auth")),
    ] {
        let reply = host.client.post(PROVIDERS, &new).await;
        assert_eq!(reply.fault(), fault, "{reply}");
        assert!(!reply.body.to_string().contains("secret"), "{reply}");
    }
    assert_eq!(host.client.get(PROVIDERS).await.items("name"), [""; 0]);
}

#[tokio::test]
async fn a_base_url_is_one_of_the_web_and_holds_no_secret_whether_it_is_new_or_changed() {
    let host = TestHost::start().await;
    let before = create(&host, json!({ "name": "hub", "type": "gitea", "base_url": "https://git.example.com" })).await;
    let long = format!("https://git.example.com/{}", "x".repeat(2048));
    for url in [
        "",
        "git.example.com",
        "ssh://git.example.com",
        "file:///etc/passwd",
        "https://me:hunter2@git.example.com",
        "https://hunter2@git.example.com",
        "https://git.example.com/?token=hunter2",
        &long,
    ] {
        let new = json!({ "name": "other", "type": "gitea", "base_url": url });
        let created = host.client.post(PROVIDERS, &new).await;
        let changed = host.client.patch(HUB, &json!({ "base_url": url })).await;
        for refused in [created, changed] {
            assert_eq!(refused.fault(), (422, "/base_url"), "{url}: {refused}");
            assert!(!refused.body.to_string().contains("hunter2"), "{refused}");
        }
    }
    assert_eq!(host.client.get(HUB).await.body, before.body);
}

#[tokio::test]
async fn a_base_url_has_no_slash_at_its_end() {
    let host = TestHost::start().await;
    let new = json!({ "name": "hub", "type": "gitea", "base_url": "HTTPS://Git.Example.com:443/gitea/" });
    let created = create(&host, new).await;
    assert_eq!(created.body["base_url"], "https://git.example.com/gitea");
}

#[tokio::test]
async fn a_merge_patch_changes_the_base_url_and_the_attributes() {
    let host = TestHost::start().await;
    let before = create(&host, json!({ "name": "hub", "type": "gitlab", "attributes": { "team": "red" } })).await;
    let change = json!({ "base_url": "https://git.example.com", "attributes": { "team": null, "more": true } });
    let changed = host.client.patch(HUB, &change).await;
    assert_eq!(changed.status, 200, "{changed}");
    assert_eq!(changed.body["base_url"], "https://git.example.com");
    assert_eq!(changed.body["attributes"], json!({ "more": true }));
    assert_ne!(changed.header("etag"), before.header("etag"));
    let shown = host.client.get(HUB).await;
    assert_eq!((&shown.body, shown.header("etag")), (&changed.body, changed.header("etag")));
    let without = host.client.patch(HUB, &json!({ "base_url": null })).await;
    assert_eq!((without.status, &without.body["base_url"]), (200, &Value::Null), "{without}");
}

#[tokio::test]
async fn a_json_patch_changes_the_base_url_and_the_attributes() {
    let host = TestHost::start().await;
    let new = json!({ "name": "hub", "type": "gitlab", "base_url": "https://old.example.com" });
    create(&host, new).await;
    let operations = json!([
        { "op": "test", "path": "/base_url", "value": "https://old.example.com" },
        { "op": "replace", "path": "/base_url", "value": "https://new.example.com" },
        { "op": "add", "path": "/attributes/team", "value": "blue" },
    ]);
    let changed = host.client.patch_by(HUB, &operations).await;
    assert_eq!(changed.body["base_url"], "https://new.example.com", "{changed}");
    assert_eq!(changed.body["attributes"], json!({ "team": "blue" }));
    let again = host.client.patch_by(HUB, &operations).await;
    assert_eq!((again.status, &again.body["code"]), (409, &json!("conflict")), "{again}");
    let without = host.client.patch_by(HUB, &json!([{ "op": "remove", "path": "/base_url" }])).await;
    assert_eq!((without.status, &without.body["base_url"]), (200, &Value::Null), "{without}");
}

#[tokio::test]
async fn a_patch_of_what_is_fixed_or_unknown_changes_nothing() {
    let host = TestHost::start().await;
    let before = create(&host, json!({ "name": "hub", "type": "github" })).await;
    for (change, pointer) in [
        (json!({ "name": "other" }), "/name"),
        (json!({ "type": "gitlab" }), "/type"),
        (json!({ "updated_at": null }), "/updated_at"),
        (json!({ "auth": { "token": "secret" } }), "/auth"),
        (json!({ "base_url": 7 }), "/base_url"),
        (json!({ "attributes": "red" }), "/attributes"),
    ] {
        let refused = host.client.patch(HUB, &change).await;
        assert_eq!(refused.fault(), (422, pointer), "{refused}");
    }
    let shown = host.client.get(HUB).await;
    assert_eq!((&shown.body, shown.header("etag")), (&before.body, before.header("etag")));
}

#[tokio::test]
async fn a_git_provider_that_has_changed_since_is_neither_changed_nor_removed() {
    let host = TestHost::start().await;
    let old = create(&host, json!({ "name": "hub", "type": "github" })).await.header("etag").to_owned();
    let first = host.client.patch_if(HUB, &old, &json!({ "attributes": { "by": "first" } })).await;
    assert_eq!(first.status, 200, "{first}");
    let second = host.client.patch_if(HUB, &old, &json!({ "attributes": { "by": "second" } })).await;
    assert_eq!((second.status, &second.body["code"]), (412, &json!("changed")), "{second}");
    assert_eq!(host.client.delete_if(HUB, &old).await.status, 412);
    assert_eq!(host.client.get(HUB).await.body, first.body);
    assert_eq!(host.client.delete_if(HUB, first.header("etag")).await.status, 204);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let host = TestHost::start().await;
    let replies = [
        host.client.get(HUB).await,
        host.client.patch(HUB, &json!({ "attributes": { "a": 1 } })).await,
        host.client.delete(HUB).await,
        host.client.get("/global/gitproviders/_hub").await,
    ];
    for reply in replies {
        assert_eq!((reply.status, &reply.body["code"]), (404, &json!("not-found")), "{reply}");
    }
}

#[tokio::test]
async fn a_git_provider_that_was_removed_is_gone_and_its_name_is_free() {
    let host = TestHost::start().await;
    create(&host, json!({ "name": "hub", "type": "github" })).await;
    let removed = host.client.delete(HUB).await;
    assert_eq!((removed.status, &removed.body), (204, &Value::Null), "{removed}");
    assert_eq!(host.client.get(HUB).await.status, 404);
    create(&host, json!({ "name": "hub", "type": "gitlab" })).await;
}

#[tokio::test]
async fn a_git_provider_stays_while_git_repositories_use_it() {
    let host = TestHost::start().await;
    create(&host, json!({ "name": "hub", "type": "github" })).await;
    host.create_application("shop").await;
    host.create_application("blog").await;
    for (application, name) in
        [("shop", "e"), ("shop", "a"), ("shop", "c"), ("shop", "d"), ("shop", "b"), ("blog", "web"), ("blog", "api")]
    {
        let uri = format!("https://github.com/example/{name}.git");
        let new = json!({ "name": name, "gitprovider": "hub", "existing": true, "uri": uri });
        let created = host.client.post(&format!("/app/{application}/gitrepos"), &new).await;
        assert_eq!(created.status, 201, "{created}");
    }
    let refused = host.client.delete(HUB).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    let named = "`blog/api`, `blog/web`, `shop/a`, `shop/b`, `shop/c` and 2 more";
    assert!(refused.body["detail"].as_str().unwrap().contains(named), "{refused}");
    assert_eq!(host.client.get(HUB).await.status, 200);

    assert_eq!(host.client.delete("/app/shop").await.status, 204);
    let refused = host.client.delete(HUB).await;
    assert!(refused.body["detail"].as_str().unwrap().contains("`blog/api`, `blog/web`;"), "{refused}");
    assert_eq!(host.client.delete("/app/blog").await.status, 204);
    assert_eq!(host.client.delete(HUB).await.status, 204);
}

async fn create(host: &TestHost, new: Value) -> Reply {
    let created = host.client.post(PROVIDERS, &new).await;
    assert_eq!(created.status, 201, "{created}");
    created
}
