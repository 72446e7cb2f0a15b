//! Git repositories over HTTP.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::{Client, Reply, Setup, TestHost, plugin_file};

const REPOS: &str = "/app/shop/gitrepos";
const SITE: &str = "/app/shop/gitrepos/site";
const URI: &str = "git@git.example.com:shop/site.git";

#[tokio::test]
async fn a_git_repository_that_exists_is_taken_in_and_shown() {
    let host = with_shop().await;
    let new = json!({
        "name": "site",
        "gitprovider": "hub",
        "existing": true,
        "uri": URI,
        "attributes": { "team": "red" },
    });
    let created = host.client.post(REPOS, &new).await;
    assert_eq!((created.status, created.header("location")), (201, SITE), "{created}");
    assert_json_snapshot!(created.body, { ".created_at" => "[time]", ".updated_at" => "[time]" }, @r#"
    {
      "name": "site",
      "application": "shop",
      "uri": "git@git.example.com:shop/site.git",
      "gitprovider": "hub",
      "keypair": null,
      "host_key": null,
      "last_build": null,
      "last_commit": null,
      "state": "ready",
      "job_id": null,
      "attributes": {
        "team": "red"
      },
      "created_at": "[time]",
      "updated_at": "[time]"
    }
    "#);
    let shown = host.client.get(SITE).await;
    assert_eq!((&shown.body, shown.header("etag")), (&created.body, created.header("etag")));
    assert!(shown.header("etag").starts_with('"'), "{shown}");
}

#[tokio::test]
async fn a_git_repository_is_taken_in_by_a_put_as_in_the_reference() {
    let host = with_shop().await;
    let query =
        "name=site&existing=true&uri=https%3A%2F%2Fgit.example.com%2Fsite.git&attributes=%7B%22a%22%3A%5B1%5D%7D";
    let put = host.client.put(&format!("{REPOS}?{query}")).await;
    assert_eq!((put.status, put.header("location")), (201, SITE), "{put}");
    assert_eq!(
        (&put.body["uri"], &put.body["gitprovider"], &put.body["attributes"]),
        (&json!("https://git.example.com/site.git"), &Value::Null, &json!({ "a": [1] }))
    );
    assert_eq!(host.client.get(SITE).await.body, put.body);
}

#[tokio::test]
async fn git_repositories_are_listed_by_name_page_by_page() {
    let host = with_shop().await;
    assert_eq!(host.client.get(REPOS).await.items("name"), [""; 0]);
    for name in ["c", "a", "b"] {
        create(&host, name).await;
    }
    let first = host.client.get(&format!("{REPOS}?limit=2")).await;
    assert_eq!((first.items("name"), &first.body["next"]), (vec!["a", "b"], &json!("b")));
    assert_eq!(first.header("link"), format!(r#"<{REPOS}?limit=2&after=b>; rel="next""#));
    let last = host.client.get(&format!("{REPOS}?limit=2&after=b")).await;
    assert_eq!((last.items("name"), &last.body["next"]), (vec!["c"], &Value::Null));
}

#[tokio::test]
async fn a_git_repository_that_is_there_is_not_overwritten() {
    let host = with_shop().await;
    let first = create(&host, "site").await;
    let other = json!({ "name": "site", "existing": true, "uri": "https://git.example.com/other.git" });
    let second = host.client.post(REPOS, &other).await;
    assert_eq!((second.status, &second.body["code"]), (409, &json!("already-exists")), "{second}");
    assert_eq!(host.client.get(SITE).await.body, first.body);
}

#[tokio::test]
async fn applications_have_git_repositories_of_their_own() {
    let host = with_shop().await;
    host.create_application("blog").await;
    create(&host, "site").await;
    let new = json!({ "name": "site", "existing": true, "uri": "https://git.example.com/blog.git" });
    assert_eq!(host.client.post("/app/blog/gitrepos", &new).await.status, 201);
    assert_eq!(host.client.get(SITE).await.body["uri"], URI);
    assert_eq!(host.client.get("/app/blog/gitrepos/site").await.body["uri"], "https://git.example.com/blog.git");
}

#[tokio::test]
async fn a_repository_that_does_not_exist_is_to_be_created_at_its_provider_first() {
    let host = with_shop().await;
    for (new, fault, why) in [
        (json!({ "name": "site", "gitprovider": "hub" }), "/gitprovider", "needs credentials"),
        (json!({ "name": "site", "existing": false, "uri": URI }), "/gitprovider", "needs the git provider"),
    ] {
        let refused = host.client.post(REPOS, &new).await;
        assert_eq!(refused.fault(), (422, fault), "{refused}");
        assert!(detail(&refused).contains(why), "{refused}");
    }
    assert_eq!(host.client.get(SITE).await.status, 404);
}

#[tokio::test]
async fn what_is_no_git_repository_is_refused_where_it_is_wrong() {
    let host = with_shop().await;
    for (change, fault) in [
        (json!({ "name": null }), (422, "/name")),
        (json!({ "name": "a/b" }), (422, "/name")),
        (json!({ "existing": "perhaps" }), (422, "/existing")),
        (json!({ "uri": null }), (422, "/uri")),
        (json!({ "uri": 7 }), (422, "/uri")),
        (json!({ "uri": "site.git" }), (422, "/uri")),
        (json!({ "uri": "--upload-pack=x" }), (422, "/uri")),
        (json!({ "uri": "ext::sh -c x" }), (422, "/uri")),
        (json!({ "uri": "/srv/site.git\n" }), (422, "/uri")),
        (json!({ "uri": format!("/srv/{}", "x".repeat(3000)) }), (422, "/uri")),
        (json!({ "gitprovider": "a/b" }), (422, "/gitprovider")),
        (json!({ "gitprovider": "nowhere" }), (422, "/gitprovider")),
        (json!({ "attributes": [] }), (422, "/attributes")),
        (json!({ "last_build": "1" }), (400, "/last_build")),
        (json!({ "auth": "token" }), (400, "/auth")),
    ] {
        let mut new = json!({ "name": "site", "existing": true, "uri": URI });
        new.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let reply = host.client.post(REPOS, &new).await;
        assert_eq!(reply.fault(), fault, "{change}: {reply}");
    }
    assert_eq!(host.client.get(REPOS).await.items("name"), [""; 0]);
}

#[tokio::test]
async fn a_secret_in_a_uri_is_refused_and_not_repeated() {
    let host = with_shop().await;
    create(&host, "site").await;
    for uri in ["https://me:hunter2@git.example.com/site.git", "https://hunter2@github.com/site.git"] {
        let new = json!({ "name": "other", "existing": true, "uri": uri });
        let created = host.client.post(REPOS, &new).await;
        let changed = host.client.patch(SITE, &json!({ "uri": uri })).await;
        for refused in [created, changed] {
            assert_eq!(refused.fault(), (422, "/uri"), "{refused}");
            assert!(!refused.body.to_string().contains("hunter2"), "{refused}");
        }
    }
}

#[tokio::test]
async fn a_repository_is_where_its_git_provider_is() {
    let host = Setup::default().flag("--git-hosts", "git.internal:22,10.0.0.5:3000").start().await;
    host.create_application("shop").await;
    for provider in [
        json!({ "name": "tea", "type": "gitea", "base_url": "https://git.example.com/gitea" }),
        json!({ "name": "inside", "type": "gitea", "base_url": "http://10.0.0.5:3000" }),
        json!({ "name": "github", "type": "github" }),
        json!({ "name": "own", "type": "local" }),
    ] {
        let made = host.client.post("/global/gitproviders", &provider).await;
        assert_eq!(made.status, 201, "{made}");
    }
    let outside = json!({ "name": "other", "type": "gitea", "base_url": "http://10.0.0.6:3000" });
    assert_eq!(host.client.post("/global/gitproviders", &outside).await.fault(), (422, "/base_url"));
    let writer = host.guest(&json!({ "apps": { "shop": "read/write" } })).await;
    let take_in = async |client: &Client, provider: &str, uri: &str| {
        let provider = Some(provider).filter(|name| !name.is_empty());
        let new = json!({ "name": "site", "existing": true, "uri": uri, "gitprovider": provider });
        let reply = client.post(REPOS, &new).await;
        client.delete(SITE).await;
        reply
    };
    for (provider, uri) in [
        ("tea", "https://git.example.com/gitea/shop/site.git"),
        ("tea", "git@git.example.com:shop/site.git"),
        ("inside", "http://10.0.0.5:3000/shop/site.git"),
        ("github", "https://github.com/shop/site.git"),
        ("", "git@git.internal:site.git"),
        ("", "https://anywhere.example/site.git"),
    ] {
        let reply = take_in(&writer, provider, uri).await;
        assert_eq!(reply.status, 201, "{provider} {uri}: {reply}");
    }
    for (provider, uri) in [
        ("tea", "https://git.example.com/gitea2/site.git"),
        ("tea", "http://git.example.com/gitea/site.git"),
        ("tea", "https://git.example.org/gitea/site.git"),
        ("tea", "git@evil.example:shop/site.git"),
        ("tea", "/srv/git/site.git"),
        ("github", "https://github.com.evil.example/shop/site.git"),
        ("own", "https://git.example.com/site.git"),
        ("", "file:///etc"),
        ("", "/etc"),
        ("", "http://169.254.169.254/latest/meta-data"),
        ("", "http://0x7f.1/site.git"),
        ("", "https://localhost/site.git"),
        ("", "ssh://git@[::1]/site.git"),
        ("", "git@10.0.0.5:site.git"),
        ("", "git@[fe80::1]:site.git"),
    ] {
        let reply = take_in(&host.client, provider, uri).await;
        assert_eq!(reply.fault(), (422, "/uri"), "{provider} {uri}: {reply}");
    }
    // A path on this machine is for those who manage it.
    assert_eq!(take_in(&writer, "own", "/srv/git/site.git").await.status, 403);
    assert_eq!(take_in(&host.client, "own", "/srv/git/site.git").await.status, 201);
}

#[tokio::test]
async fn a_keypair_is_not_led_elsewhere_by_who_may_not_use_it() {
    let host = with_shop().await;
    let made = host.client.post("/global/keypairs", &json!({ "name": "deploy", "generate": true })).await;
    assert_eq!(made.status, 201, "{made}");
    let new = json!({ "name": "site", "existing": true, "uri": URI, "keypair": "deploy" });
    assert_eq!(host.client.post(REPOS, &new).await.status, 201);
    let writer = host.guest(&json!({ "apps": { "shop": "read/write" } })).await;
    let elsewhere = json!({ "uri": "git@evil.example:shop/site.git" });
    let refused = writer.patch(SITE, &elsewhere).await;
    assert_eq!((refused.status, &refused.body["code"]), (403, &json!("denied")), "{refused}");
    assert_eq!(host.client.get(SITE).await.body["uri"], URI);
    assert_eq!(writer.patch(SITE, &json!({ "attributes": { "a": 1 } })).await.status, 200);
    let without = json!({ "uri": "git@other.example:shop/site.git", "keypair": null });
    assert_eq!(writer.patch(SITE, &without).await.status, 200);
}

#[tokio::test]
async fn a_git_providers_credentials_are_not_used_by_who_may_not_read_git_providers() {
    let host = with_shop().await;
    let auth = json!({ "token": "t" });
    for provider in [
        json!({ "name": "secret", "type": "gitea", "base_url": "https://git.example.com", "auth": auth }),
        json!({ "name": "acme", "type": "github", "auth": auth }),
    ] {
        let made = host.client.post("/global/gitproviders", &provider).await;
        assert_eq!(made.status, 201, "{made}");
    }
    let writer = host.guest(&json!({ "apps": { "shop": "read/write" } })).await;
    let refuses = |reply: Reply| {
        assert_eq!((reply.status, &reply.body["code"]), (403, &json!("denied")), "{reply}");
        assert!(detail(&reply).contains("credentials of git provider `"), "{reply}");
    };
    let uri = "https://git.example.com/others/private.git";
    let taken_in = json!({ "name": "site", "existing": true, "uri": uri, "gitprovider": "secret" });
    refuses(writer.post(REPOS, &taken_in).await);
    refuses(
        writer.post(REPOS, &json!({ "name": "new", "gitprovider": "acme", "uri": "git@github.com:a/b.git" })).await,
    );

    let without = json!({ "name": "site", "existing": true, "uri": uri, "gitprovider": "hub" });
    let made = writer.post(REPOS, &without).await;
    assert_eq!(made.status, 201, "{made}");
    refuses(writer.patch(SITE, &json!({ "gitprovider": "secret" })).await);
    let set_up = host.client.patch(SITE, &json!({ "gitprovider": "secret" })).await;
    assert_eq!(set_up.status, 200, "{set_up}");
    refuses(writer.patch(SITE, &json!({ "uri": "https://git.example.com/others/other.git" })).await);
    assert_eq!(host.client.get(SITE).await.body["uri"], uri);
    assert_eq!(writer.patch(SITE, &json!({ "attributes": { "a": 1 } })).await.status, 200);
    assert_eq!(writer.patch(SITE, &json!({ "gitprovider": null })).await.status, 200);
}

#[tokio::test]
async fn a_plugin_uses_a_git_providers_credentials_only_where_git_providers_are_granted() {
    for (interfaces, is_granted) in [("[]", false), ("['git-providers']", true)] {
        let host = Setup::default()
            .plugin("exercise-all", plugin_file("exercise-all"))
            .granting("exercise-all", &format!("applications = ['exercise-*']\ninterfaces = {interfaces}"))
            .start()
            .await;
        host.create_application("exercise").await;
        let hub = json!({ "name": "exercise-hub", "type": "github", "base_url": "https://git.example.com",
            "auth": { "token": "t" } });
        assert_eq!(host.client.post("/global/gitproviders", &hub).await.status, 201);
        let job = host.run_action("exercise", "Everything", "").await;
        let answer = &job["result"]["git-repos.create"];
        assert_eq!(answer.to_string().contains("credentials of git provider"), !is_granted, "{answer:#}");
        let made = host.client.get("/app/exercise/gitrepos/exercised").await;
        assert_eq!(made.status == 200, is_granted, "{made}");
    }
}

#[tokio::test]
async fn a_git_repository_is_changed_by_either_kind_of_patch() {
    let host = with_shop().await;
    let before = create(&host, "site").await;
    let merge =
        json!({ "uri": "https://git.example.com/site.git", "gitprovider": "hub", "attributes": { "team": "red" } });
    let merged = host.client.patch(SITE, &merge).await;
    assert_eq!((merged.status, &merged.body["uri"]), (200, &json!("https://git.example.com/site.git")), "{merged}");
    assert_eq!((&merged.body["gitprovider"], &merged.body["attributes"]), (&json!("hub"), &json!({ "team": "red" })));
    assert_ne!(merged.header("etag"), before.header("etag"));
    let operations = json!([
        { "op": "test", "path": "/gitprovider", "value": "hub" },
        { "op": "remove", "path": "/gitprovider" },
        { "op": "replace", "path": "/uri", "value": URI },
        { "op": "add", "path": "/attributes/size", "value": 3 },
    ]);
    let operated = host.client.patch_by(SITE, &operations).await;
    assert_eq!((&operated.body["gitprovider"], &operated.body["uri"]), (&Value::Null, &json!(URI)), "{operated}");
    assert_eq!(operated.body["attributes"], json!({ "team": "red", "size": 3 }));
    let shown = host.client.get(SITE).await;
    assert_eq!((&shown.body, shown.header("etag")), (&operated.body, operated.header("etag")));
}

#[tokio::test]
async fn a_change_that_cannot_be_made_leaves_a_git_repository_as_it_is() {
    let host = with_shop().await;
    let before = create(&host, "site").await;
    for (change, pointer) in [
        (json!({ "name": "other" }), "/name"),
        (json!({ "application": "blog" }), "/application"),
        (json!({ "last_build": "1" }), "/last_build"),
        (json!({ "last_commit": "0123" }), "/last_commit"),
        (json!({ "created_at": null }), "/created_at"),
        (json!({ "existing": true }), "/existing"),
        (json!({ "auth": "token" }), "/auth"),
        (json!({ "uri": null }), "/uri"),
        (json!({ "uri": "-x" }), "/uri"),
        (json!({ "gitprovider": "nowhere" }), "/gitprovider"),
        (json!({ "attributes": 7 }), "/attributes"),
    ] {
        let refused = host.client.patch(SITE, &change).await;
        assert_eq!(refused.fault(), (422, pointer), "{change}: {refused}");
    }
    let shown = host.client.get(SITE).await;
    assert_eq!((&shown.body, shown.header("etag")), (&before.body, before.header("etag")));
}

#[tokio::test]
async fn a_git_repository_that_has_changed_since_is_neither_changed_nor_removed() {
    let host = with_shop().await;
    let old = create(&host, "site").await.header("etag").to_owned();
    let changed = host.client.patch_if(SITE, &old, &json!({ "attributes": { "a": 1 } })).await;
    assert_eq!(changed.status, 200, "{changed}");
    let again = host.client.patch_if(SITE, &old, &json!({ "attributes": { "a": 2 } })).await;
    assert_eq!((again.status, &again.body["code"]), (412, &json!("changed")), "{again}");
    assert_eq!(host.client.delete_if(SITE, &old).await.status, 412);
    assert_eq!(host.client.get(SITE).await.body, changed.body);
    assert_eq!(host.client.delete_if(SITE, changed.header("etag")).await.status, 204);
}

#[tokio::test]
async fn a_git_repository_that_was_removed_is_gone_and_its_name_is_free() {
    let host = with_shop().await;
    create(&host, "site").await;
    let removed = host.client.delete(&format!("{SITE}?delete=false")).await;
    assert_eq!((removed.status, &removed.body), (204, &Value::Null), "{removed}");
    assert_eq!(host.client.get(SITE).await.status, 404);
    assert_eq!(host.client.patch(SITE, &json!({})).await.status, 404);
    assert_eq!(host.client.delete(SITE).await.status, 404);
    create(&host, "site").await;
}

#[tokio::test]
async fn a_git_repository_is_not_removed_at_its_provider() {
    let host = with_shop().await;
    create(&host, "site").await;
    let refused = host.client.delete(&format!("{SITE}?delete=true")).await;
    assert_eq!(refused.fault(), (422, "delete"), "{refused}");
    assert!(detail(&refused).contains("only repositories that Elita has made"), "{refused}");
    assert_eq!(host.client.get(SITE).await.status, 200);
}

#[tokio::test]
async fn a_git_repository_that_gitdeploys_use_stays_and_they_are_named() {
    let host = with_shop().await;
    create(&host, "site").await;
    create(&host, "other").await;
    for n in 1..=7 {
        deploy(&host, &format!("web{n}"), "site").await;
    }
    deploy(&host, "elsewhere", "other").await;
    let refused = host.client.delete(SITE).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    let named = "the gitdeploys `web1`, `web2`, `web3`, `web4`, `web5` and 2 more";
    assert!(detail(&refused).contains(named), "{refused}");

    for n in 2..=7 {
        assert_eq!(host.client.delete(&format!("/app/shop/gitdeploys/web{n}")).await.status, 204);
    }
    let refused = host.client.delete(SITE).await;
    assert!(detail(&refused).contains("is used by the gitdeploy `web1`;"), "{refused}");
    host.client.delete("/app/shop/gitdeploys/web1").await;
    assert_eq!(host.client.delete(SITE).await.status, 204);
    assert_eq!(host.client.get("/app/shop/gitrepos/other").await.status, 200);
}

#[tokio::test]
async fn git_repositories_of_no_application_are_not_found() {
    let host = TestHost::start().await;
    let created = host.client.post(REPOS, &json!({ "name": "site", "existing": true, "uri": URI })).await;
    let listed = host.client.get(REPOS).await;
    for reply in [created, listed] {
        assert_eq!(reply.status, 404, "{reply}");
        assert!(detail(&reply).contains("application `shop`"), "{reply}");
    }
}

#[tokio::test]
async fn git_repositories_go_with_their_application() {
    let host = with_shop().await;
    create(&host, "site").await;
    deploy(&host, "web", "site").await;
    assert_eq!(host.client.delete("/app/shop").await.status, 204);
    host.create_application("shop").await;
    assert_eq!(host.client.get(REPOS).await.items("name"), [""; 0]);
}

/// The application `shop`, and the git provider `hub`.
async fn with_shop() -> TestHost {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let hub = json!({ "name": "hub", "type": "gitea", "base_url": "https://git.example.com" });
    let hub = host.client.post("/global/gitproviders", &hub).await;
    assert_eq!(hub.status, 201, "{hub}");
    host
}

async fn create(host: &TestHost, name: &str) -> Reply {
    let created = host.client.post(REPOS, &json!({ "name": name, "existing": true, "uri": URI })).await;
    assert_eq!(created.status, 201, "{created}");
    created
}

async fn deploy(host: &TestHost, name: &str, repo: &str) {
    let new = json!({ "name": name, "package": "web", "location": { "path": "/srv/shop", "gitrepo": repo } });
    let created = host.client.post("/app/shop/gitdeploys", &new).await;
    assert_eq!(created.status, 201, "{created}");
}

fn detail(reply: &Reply) -> &str {
    reply.body["detail"].as_str().unwrap()
}
