//! Git providers over HTTP.

use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::harness::{Reply, Setup, TestHost};

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
      "has_auth": false,
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
        (json!({ "name": "hub", "type": "github", "has_auth": true }), (400, "/has_auth")),
    ] {
        let reply = host.client.post(PROVIDERS, &new).await;
        assert_eq!(reply.fault(), fault, "{reply}");
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
        (json!({ "has_auth": true }), "/has_auth"),
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

    let operator = host.guest(&json!({ "apps": { "_global": "read/write", "shop": "read" } })).await;
    let refused = operator.delete(HUB).await;
    let detail = refused.body["detail"].as_str().unwrap();
    let named = "`shop/a`, `shop/b`, `shop/c`, `shop/d`, `shop/e` and 2 more";
    assert!(refused.status == 409 && detail.contains(named) && !detail.contains("blog"), "{refused}");

    assert_eq!(host.client.delete("/app/shop").await.status, 204);
    let refused = host.client.delete(HUB).await;
    assert!(refused.body["detail"].as_str().unwrap().contains("`blog/api`, `blog/web`;"), "{refused}");
    assert_eq!(host.client.delete("/app/blog").await.status, 204);
    assert_eq!(host.client.delete(HUB).await.status, 204);
}

/// A token, a username and a password that are nowhere else.
const TOKEN: &str = "ghp_canaryTokenOfTheseTests";
const USERNAME: &str = "canary@example.com";
const PASSWORD: &str = "canary-app-password";

#[tokio::test]
async fn each_type_takes_its_credentials_and_nothing_shows_them() {
    let host = TestHost::start().await;
    let token = json!({ "token": TOKEN });
    let password = json!({ "username": USERNAME, "password": PASSWORD });
    for (kind, auth, status) in [
        ("github", &token, 201),
        ("gitlab", &token, 201),
        ("gitea", &token, 201),
        ("bitbucket", &token, 201),
        ("other", &token, 422),
        ("local", &token, 422),
        ("github", &password, 422),
        ("gitlab", &password, 422),
        ("gitea", &password, 422),
        ("bitbucket", &password, 201),
        ("other", &password, 201),
        ("local", &password, 422),
    ] {
        let url = ["gitea", "other"].contains(&kind).then_some("https://git.example.com");
        let name = format!("{kind}-{}", auth.as_object().unwrap().len());
        let new = json!({ "name": name, "type": kind, "base_url": url, "auth": auth });
        let created = host.client.post(PROVIDERS, &new).await;
        assert_eq!(created.status, status, "{created}");
        assert_shows_no_secret(&created);
        if status == 201 {
            assert_eq!(created.body["has_auth"], true, "{created}");
            let shown = host.client.get(&format!("{PROVIDERS}/{name}")).await;
            assert_eq!(shown.body, created.body);
        } else {
            assert_eq!(created.fault().1, "/auth", "{created}");
        }
    }
    assert_shows_no_secret(&host.client.get(PROVIDERS).await);
}

#[tokio::test]
async fn credentials_that_are_none_are_refused_where_they_are_wrong_and_not_repeated() {
    let host = TestHost::start().await;
    create(&host, json!({ "name": "hub", "type": "bitbucket" })).await;
    let long = TOKEN.repeat(200);
    for (auth, pointer) in [
        (json!(TOKEN), "/auth"),
        (json!([TOKEN]), "/auth"),
        (json!({}), "/auth"),
        (json!({ "token": TOKEN, "username": USERNAME, "password": PASSWORD }), "/auth"),
        (json!({ "token": [TOKEN] }), "/auth/token"),
        (json!({ "token": "" }), "/auth/token"),
        (json!({ "token": format!("{TOKEN}\r\nHost: elsewhere") }), "/auth/token"),
        (json!({ "token": long }), "/auth/token"),
        (json!({ "username": USERNAME }), "/auth/password"),
        (json!({ "password": PASSWORD }), "/auth/username"),
        (json!({ "username": "a:b", "password": PASSWORD }), "/auth/username"),
        (json!({ "token": TOKEN, "a/b": 1 }), "/auth/a~1b"),
    ] {
        let created = host.client.post(PROVIDERS, &json!({ "name": "new", "type": "bitbucket", "auth": auth })).await;
        let changed = host.client.patch(HUB, &json!({ "auth": auth })).await;
        for refused in [created, changed] {
            assert_eq!(refused.fault(), (422, pointer), "{auth}: {refused}");
            assert_shows_no_secret(&refused);
        }
    }
    assert_eq!(host.client.get(HUB).await.body["has_auth"], false);
}

#[tokio::test]
async fn credentials_stand_in_no_url() {
    let host = TestHost::start().await;
    let in_url =
        host.client.put(&format!("{PROVIDERS}?name=hub&type=github&auth=%7B%22token%22%3A%22{TOKEN}%22%7D")).await;
    assert_eq!(in_url.fault(), (400, "auth"), "{in_url}");
    assert_shows_no_secret(&in_url);
    let request = host.client.request(Method::PUT, &format!("{PROVIDERS}?name=hub&type=github"));
    let created = host.client.send(request.json(&json!({ "auth": { "token": TOKEN } }))).await;
    assert_eq!((created.status, &created.body["has_auth"]), (201, &json!(true)), "{created}");
}

#[tokio::test]
async fn credentials_are_replaced_kept_and_taken_away_by_patches() {
    let host = TestHost::start().await;
    let new = json!({ "name": "hub", "type": "github", "auth": { "token": TOKEN } });
    let before = create(&host, new).await;
    let first = sealed(&host).await;
    assert_eq!(host.client.patch(HUB, &before.body).await.status, 200);
    assert_eq!(host.client.patch(HUB, &json!({ "attributes": { "a": 1 } })).await.status, 200);
    assert_eq!(sealed(&host).await, first);

    let replaced = host.client.patch(HUB, &json!({ "auth": { "token": "another" } })).await;
    assert_eq!((replaced.status, &replaced.body["has_auth"]), (200, &json!(true)), "{replaced}");
    assert_ne!(replaced.header("etag"), before.header("etag"));
    let second = sealed(&host).await;
    assert!(second.is_some() && second != first);

    let removed = host.client.patch(HUB, &json!({ "auth": null })).await;
    assert_eq!((removed.status, &removed.body["has_auth"]), (200, &json!(false)), "{removed}");
    assert_eq!(sealed(&host).await, None);
    let added =
        host.client.patch_by(HUB, &json!([{ "op": "add", "path": "/auth", "value": { "token": TOKEN } }])).await;
    assert_eq!((added.status, &added.body["has_auth"]), (200, &json!(true)), "{added}");
    let copied = host.client.patch_by(HUB, &json!([{ "op": "copy", "from": "/auth", "path": "/attributes/b" }])).await;
    assert_shows_no_secret(&copied);
    let removed = host.client.patch_by(HUB, &json!([{ "op": "remove", "path": "/auth" }])).await;
    assert_eq!((removed.status, &removed.body["has_auth"]), (200, &json!(false)), "{removed}");
    assert_eq!(host.client.patch(HUB, &json!({ "auth": true })).await.fault(), (422, "/auth"));
}

#[tokio::test]
async fn credentials_are_not_for_another_url() {
    let host = TestHost::start().await;
    let old = "https://git.example.com";
    create(&host, json!({ "name": "hub", "type": "gitea", "base_url": old, "auth": { "token": TOKEN } })).await;
    let elsewhere = "https://elsewhere.example";
    let refused = host.client.patch(HUB, &json!({ "base_url": elsewhere })).await;
    assert_eq!(refused.fault(), (422, "/auth"), "{refused}");
    let shown = host.client.get(HUB).await;
    assert_eq!((&shown.body["base_url"], &shown.body["has_auth"]), (&json!(old), &json!(true)));
    let anew = host.client.patch(HUB, &json!({ "base_url": elsewhere, "auth": { "token": "another" } })).await;
    assert_eq!((anew.status, &anew.body["base_url"]), (200, &json!(elsewhere)), "{anew}");
    let without = host.client.patch(HUB, &json!({ "base_url": old, "auth": null })).await;
    assert_eq!((without.status, &without.body["has_auth"]), (200, &json!(false)), "{without}");
}

#[tokio::test]
async fn credentials_are_in_the_database_sealed_only_and_for_their_provider() {
    let host = TestHost::start().await;
    for name in ["one", "two"] {
        create(&host, json!({ "name": name, "type": "github", "auth": { "token": TOKEN } })).await;
    }
    let mut connection = host.database.connect().await;
    let rows =
        sqlx::query("select git_providers::text as text, auth from git_providers").fetch_all(&mut connection).await;
    let sealed: Vec<Vec<u8>> = rows
        .unwrap()
        .iter()
        .map(|row| {
            assert!(!row.get::<String, _>("text").contains(TOKEN));
            row.get("auth")
        })
        .collect();
    assert_ne!(sealed[0], sealed[1]);
    for bytes in &sealed {
        assert!(!bytes.windows(8).any(|bytes| TOKEN.as_bytes().windows(8).any(|part| part == bytes)));
    }
}

#[tokio::test]
async fn credentials_are_sealed_anew_under_a_newer_key() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("secret.key");
    let host = Setup::default().flag("--secret-key-file", key.display()).start().await;
    create(&host, json!({ "name": "hub", "type": "github", "auth": { "token": TOKEN } })).await;
    let first = (version(&host).await, sealed(&host).await);
    let stopped = host.stop().await;

    // As long as credentials are under the old key, no server goes without it.
    let old = std::fs::read_to_string(&key).unwrap();
    let newer = "2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
    std::fs::write(&key, newer).unwrap();
    let (code, stderr) = stopped.start_program().ended().await;
    assert!(code != Some(0) && stderr.contains("version 1 of the secret key"), "{stderr}");

    std::fs::write(&key, format!("{newer}{old}")).unwrap();
    let host = stopped.start().await;
    let second = (version(&host).await, sealed(&host).await);
    assert_eq!((first.0, second.0), (Some(1), Some(2)));
    assert_ne!(first.1, second.1);
    let stopped = host.stop().await;

    std::fs::write(&key, newer).unwrap();
    let host = stopped.start().await;
    assert_eq!(host.client.get(HUB).await.body["has_auth"], true);
}

/// The credentials of the only git provider, as they are kept.
async fn sealed(host: &TestHost) -> Option<Vec<u8>> {
    let mut connection = host.database.connect().await;
    sqlx::query_scalar("select auth from git_providers").fetch_one(&mut connection).await.unwrap()
}

async fn version(host: &TestHost) -> Option<i32> {
    let mut connection = host.database.connect().await;
    sqlx::query_scalar("select secret_version from git_providers").fetch_one(&mut connection).await.unwrap()
}

fn assert_shows_no_secret(reply: &Reply) {
    for secret in [TOKEN, PASSWORD] {
        assert!(!reply.to_string().contains(secret), "{reply}");
    }
}

async fn create(host: &TestHost, new: Value) -> Reply {
    let created = host.client.post(PROVIDERS, &new).await;
    assert_eq!(created.status, 201, "{created}");
    created
}
