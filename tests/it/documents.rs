//! How documents are changed: merge patches, JSON Patches, and versions that guard them. Shown on a build; every other
//! noun goes through the same code.

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::harness::{Reply, TestHost};

const BUILD: &str = "/app/shop/builds/1";

#[tokio::test]
async fn a_merge_patch_sets_members_and_removes_them_by_null() {
    let host = with_build().await;
    let changed = host.client.patch(BUILD, &json!({ "attributes": { "a": null, "b": { "c": 2 } } })).await;
    assert_eq!((changed.status, &changed.body["attributes"]), (200, &json!({ "b": { "c": 2 } })), "{changed}");
    let shown = host.client.get(BUILD).await;
    assert_eq!((&shown.body, shown.header("etag")), (&changed.body, changed.header("etag")));
    assert!(shown.body["updated_at"].as_str() > shown.body["created_at"].as_str(), "{shown}");
}

#[tokio::test]
async fn plain_json_is_taken_for_a_merge_patch() {
    let host = with_build().await;
    let request = host.client.request(Method::PATCH, BUILD).json(&json!({ "attributes": { "b": 2 } }));
    let changed = host.client.send(request).await;
    assert_eq!(changed.body["attributes"], json!({ "a": 1, "b": 2 }), "{changed}");
}

#[tokio::test]
async fn a_json_patch_does_all_of_its_operations_or_none() {
    let host = with_build().await;
    let both = json!([
        { "op": "test", "path": "/attributes/a", "value": 1 },
        { "op": "add", "path": "/attributes/list", "value": [1] },
        { "op": "add", "path": "/attributes/list/-", "value": 2 },
    ]);
    let changed = host.client.patch_by(BUILD, &both).await;
    assert_eq!(changed.body["attributes"], json!({ "a": 1, "list": [1, 2] }), "{changed}");

    let second_fails = json!([
        { "op": "remove", "path": "/attributes/list" },
        { "op": "test", "path": "/attributes/a", "value": 2 },
    ]);
    let refused = host.client.patch_by(BUILD, &second_fails).await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    let leads_nowhere = json!([{ "op": "remove", "path": "/attributes/none" }]);
    let refused = host.client.patch_by(BUILD, &leads_nowhere).await;
    assert_eq!(refused.status, 422, "{refused}");
    assert_eq!(host.client.get(BUILD).await.body, changed.body);
}

#[tokio::test]
async fn a_patch_that_makes_a_document_grow_without_end_is_stopped() {
    let host = with_build().await;
    let mut doubling = vec![json!({ "op": "add", "path": "/attributes/x", "value": "x".repeat(1000) })];
    doubling.extend(
        (0..40).map(|n| json!({ "op": "copy", "from": "/attributes", "path": format!("/attributes/copy{n}") })),
    );
    let refused = host.client.patch_by(BUILD, &json!(doubling)).await;
    assert_eq!(refused.status, 422, "{refused}");
    let many = json!(vec![json!({ "op": "test", "path": "/attributes/a", "value": 1 }); 257]);
    assert_eq!(host.client.patch_by(BUILD, &many).await.status, 422);
    assert_eq!(host.client.get(BUILD).await.body["attributes"], json!({ "a": 1 }));
}

#[tokio::test]
async fn what_is_the_servers_or_a_name_is_not_changed() {
    let host = with_build().await;
    let before = host.client.get(BUILD).await;
    for (change, pointer) in [
        (json!({ "build_name": "2" }), "/build_name"),
        (json!({ "app_name": "other" }), "/app_name"),
        (json!({ "stored": true }), "/stored"),
        (json!({ "created_at": null }), "/created_at"),
        (json!({ "colour": "red" }), "/colour"),
        (json!({ "colour": null }), "/colour"),
        (json!({ "a/b": 1 }), "/a~1b"),
        (json!({ "attributes": [] }), "/attributes"),
    ] {
        let refused = host.client.patch(BUILD, &change).await;
        assert_eq!(refused.fault(), (422, pointer), "{refused}");
    }
    assert_eq!(host.client.get(BUILD).await.body, before.body);
    // The whole document as it is shown changes nothing.
    assert_eq!(host.client.patch(BUILD, &before.body).await.status, 200);
}

#[tokio::test]
async fn an_if_match_that_names_nothing_is_refused() {
    let host = with_build().await;
    let before = host.client.get(BUILD).await;
    for none in ["", " ", "never-given", "\"never given"] {
        let changed = host.client.patch_if(BUILD, none, &json!({ "attributes": { "by": "nobody" } })).await;
        assert_eq!((changed.status, &changed.body["code"]), (400, &json!("malformed")), "{none:?}: {changed}");
        assert_eq!(host.client.delete_if(BUILD, none).await.status, 400, "{none:?}");
    }
    assert_eq!(host.client.get(BUILD).await.body, before.body);
}

#[tokio::test]
async fn a_version_that_has_changed_since_is_neither_changed_nor_removed() {
    let host = with_build().await;
    let old = host.client.get(BUILD).await.header("etag").to_owned();
    let first = host.client.patch_if(BUILD, &old, &json!({ "attributes": { "by": "first" } })).await;
    assert_eq!(first.status, 200, "{first}");
    assert_ne!(first.header("etag"), old);

    let weak = format!("W/{}", first.header("etag"));
    for etag in [&old, "\"none\"", &weak, "\"a,b\", W/\",\""] {
        let second = host.client.patch_if(BUILD, etag, &json!({ "attributes": { "by": "second" } })).await;
        assert_eq!((second.status, &second.body["code"]), (412, &json!("changed")), "{second}");
        assert_eq!(host.client.delete_if(BUILD, etag).await.status, 412);
    }
    assert_eq!(host.client.get(BUILD).await.body, first.body);
    let any = format!("{old}, {}", first.header("etag"));
    assert_eq!(host.client.patch_if(BUILD, &any, &json!({})).await.status, 200);
    assert_eq!(host.client.delete_if(BUILD, "*").await.status, 204);
}

#[tokio::test]
async fn what_was_made_again_is_another_version() {
    let host = with_build().await;
    let old = host.client.get(BUILD).await.header("etag").to_owned();
    host.client.delete(BUILD).await;
    let again = host.client.post("/app/shop/builds", &json!({ "build_name": "1", "attributes": { "a": 1 } })).await;
    assert_ne!(again.header("etag"), old);
    assert_eq!(host.client.delete_if(BUILD, &old).await.status, 412);
}

#[tokio::test]
async fn of_two_changes_at_once_of_one_version_one_is_made() {
    let host = with_build().await;
    let etag = host.client.get(BUILD).await.header("etag").to_owned();
    let changes = (0..8).map(|n| {
        let (client, etag) = (host.client.clone(), etag.clone());
        tokio::spawn(async move { client.patch_if(BUILD, &etag, &json!({ "attributes": { "n": n } })).await.status })
    });
    let mut statuses = Vec::new();
    for change in changes.collect::<Vec<_>>() {
        statuses.push(change.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
}

#[tokio::test]
async fn a_patch_that_is_none_is_refused() {
    let host = with_build().await;
    for (content_type, body, status) in [
        ("text/plain", "{}", 415),
        ("application/merge-patch+json", "{", 400),
        ("application/merge-patch+json", "[]", 422),
        ("application/merge-patch+json", r#"{"attributes": {"a": "\u0000"}}"#, 400),
        ("application/json-patch+json", "{}", 422),
        ("application/json-patch+json", r#"[{"op": "jump", "path": "/attributes"}]"#, 422),
    ] {
        let refused = send_patch(&host, content_type, body).await;
        assert_eq!(refused.status, status, "{content_type} {body}: {refused}");
    }
    for (body, pointer) in [
        (r#"[{"op": "test", "path": "/a", "value": 1}, {"op": "add", "path": "a", "value": 1}]"#, "/1"),
        (r#"[{"op": "move", "path": "/attributes"}]"#, "/0"),
    ] {
        let refused = send_patch(&host, "application/json-patch+json", body).await;
        assert_eq!(refused.fault(), (422, pointer), "{body}: {refused}");
    }
    for none in ["", "7", "\"7", "\"7\" \"8\"", "W/7", "\"7\", 8"] {
        let refused = host.client.patch_if(BUILD, none, &json!({})).await;
        assert_eq!(refused.status, 400, "{none}: {refused}");
    }
    assert_eq!(host.client.get(BUILD).await.body["attributes"], json!({ "a": 1 }));
}

#[tokio::test]
async fn attributes_keep_the_order_of_their_members() {
    let host = with_build().await;
    let text = r#"{"attributes": {"z": 1, "b": {"y": 1, "a": 2}}}"#;
    send_patch(&host, "application/json", text).await;
    let shown = host.client.get(BUILD).await.body["attributes"].to_string();
    let places: Vec<_> =
        ["\"a\":1", "\"z\"", "\"b\"", "\"y\"", "\"a\":2"].iter().map(|part| shown.find(part)).collect();
    assert!(places.is_sorted() && places[0].is_some(), "{shown}");
}

#[tokio::test]
async fn a_list_of_long_documents_has_short_pages() {
    let host = with_build().await;
    let long = json!({ "long": "x".repeat(60_000) });
    for n in 0..80 {
        let new = json!({ "build_name": format!("b{n:02}"), "attributes": long });
        assert_eq!(host.client.post("/app/shop/builds", &new).await.status, 201);
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let page = host.client.get(&format!("/app/shop/builds?limit=1000&after={after}")).await;
        assert!(page.body.to_string().len() < 5 * 1024 * 1024);
        names.extend(page.items("build_name").into_iter().map(String::from));
        match page.body["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(names.len(), 81);
    assert!(names.is_sorted());
}

#[tokio::test]
async fn what_would_be_a_pattern_a_path_or_everything_is_no_name_of_anything() {
    let host = with_build().await;
    for (path, member, rest) in [
        ("/app", "app_name", json!({})),
        ("/app/shop/builds", "build_name", json!({})),
        ("/app/shop/packagemaps", "name", json!({ "packages": {} })),
        ("/app/shop/gitrepos", "name", json!({ "gitprovider": "local" })),
        (
            "/app/shop/gitdeploys",
            "name",
            json!({ "package": "master", "location": { "path": "/srv", "gitrepo": "r" } }),
        ),
        ("/app/shop/groups", "name", json!({ "gitdeploys": [] })),
        ("/server", "name", json!({ "environment": "test", "driver": "ssh" })),
        ("/server", "environment", json!({ "name": "web1", "driver": "ssh" })),
        ("/global/users", "username", json!({ "password": "long enough" })),
        ("/global/keypairs", "name", json!({ "generate": true })),
        ("/global/gitproviders", "name", json!({ "type": "github" })),
    ] {
        for name in ["*", "?", "web*", "_global", ".", "..", "../b", "a/../b", "a/b", "a\\b", "-x", "a b", "", "G@os:*"]
        {
            let mut new = rest.clone();
            new[member] = json!(name);
            let refused = host.client.post(path, &new).await;
            assert_eq!(refused.fault(), (422, &*format!("/{member}")), "{path} {name:?}: {refused}");
        }
    }
    for path in ["/app/*", "/app/_global", "/app/shop/builds/*", "/app/a%2F..%2Fshop", "/server/*", "/global/users/*"] {
        for reply in [host.client.get(path).await, host.client.delete(path).await] {
            assert_eq!((reply.status, &reply.body["code"]), (404, &json!("not-found")), "{path}: {reply}");
        }
    }
    assert_eq!(host.client.get(BUILD).await.status, 200);
}

/// A document without what a check of a new server adds to it meanwhile.
fn settled(document: &Value) -> Value {
    let mut document = document.clone();
    document.as_object_mut().unwrap().retain(|member, _| member != "check_job" && member != "health");
    document
}

/// The version that an `ETag` begins with.
fn version(etag: &str) -> &str {
    etag.split_once('-').unwrap().0
}

#[tokio::test]
async fn every_noun_is_created_read_listed_changed_and_removed() {
    let host = TestHost::start().await;
    let location = json!({ "path": "/srv/a", "gitrepo": "a" });
    let rules = json!({ "web": { "patterns": ["web/**"] } });
    let nouns = [
        ("/app", "app_name", json!({}), json!({})),
        ("/global/gitproviders", "name", json!({ "type": "github" }), json!({ "base_url": "https://git.example.com" })),
        ("/global/keypairs", "name", json!({ "generate": true }), json!({})),
        (
            "/global/users",
            "username",
            json!({ "password": "long enough" }),
            json!({ "permissions": { "servers": ["*"] } }),
        ),
        ("/server", "name", json!({ "environment": "a", "driver": "salt" }), json!({ "environment": "b" })),
        ("/app/a/builds", "build_name", json!({}), json!({})),
        (
            "/app/a/packagemaps",
            "name",
            json!({ "packages": rules }),
            json!({ "packages": { "web": { "prefix": "a/" } } }),
        ),
        (
            "/app/a/gitrepos",
            "name",
            json!({ "existing": true, "uri": "https://git.example.com/a.git" }),
            json!({ "uri": "https://git.example.com/b.git" }),
        ),
        (
            "/app/a/gitdeploys",
            "name",
            json!({ "package": "web", "location": location }),
            json!({ "package": "master" }),
        ),
        ("/app/a/groups", "name", json!({ "gitdeploys": ["a"] }), json!({ "gitdeploys": [["a"]] })),
    ];
    for (container, name, more, change) in &nouns {
        let mut new = json!({ *name: "a", "attributes": { "kept": true } });
        new.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let created = host.client.post(container, &new).await;
        let at = format!("{container}/a");
        assert_eq!((created.status, created.header("location")), (201, at.as_str()), "{created}");
        let shown = host.client.get(&at).await;
        assert_eq!(version(shown.header("etag")), version(created.header("etag")), "{shown}");
        assert_eq!(settled(&shown.body), settled(&created.body), "{shown}");
        let listed = host.client.get(container).await;
        assert!(listed.items(name).contains(&"a"), "{listed}");
        let again = host.client.post(container, &new).await;
        assert_eq!((again.status, &again.body["code"]), (409, &json!("already-exists")), "{again}");

        let mut change = change.clone();
        change["attributes"] = json!({ "kept": null, "more": 1 });
        let changed = host.client.patch_if(&at, created.header("etag"), &change).await;
        let expected = (200, &json!({ "more": 1 }), true);
        assert_eq!((changed.status, &changed.body["attributes"], changed.body != created.body), expected, "{changed}");
        assert_eq!(settled(&host.client.get(&at).await.body), settled(&changed.body));
        assert_eq!(host.client.patch_if(&at, created.header("etag"), &change).await.status, 412);
        assert_eq!(host.client.delete_if(&at, created.header("etag")).await.status, 412);
        let fixed = host.client.patch(&at, &json!({ *name: "b" })).await;
        assert_eq!(fixed.fault(), (422, format!("/{name}").as_str()), "{fixed}");
        new[*name] = "again".into();
        is_taken_back(&host, container, name, &new).await;
    }
    for (container, ..) in nouns.iter().rev() {
        let at = format!("{container}/a");
        assert_eq!(host.client.delete(&at).await.status, 204, "{at}");
        assert_eq!(host.client.get(&at).await.status, 404, "{at}");
        assert_eq!(host.client.delete(&at).await.status, 404, "{at}");
    }
}

/// What creating and reading a document answers can be sent back, with what is the server's to say in it.
async fn is_taken_back(host: &TestHost, container: &str, name: &str, new: &Value) {
    let at = format!("{container}/again");
    let created = host.client.post(container, new).await;
    assert_eq!(created.status, 201, "{created}");
    if let Some(check) = created.body["check_job"].as_str() {
        host.ended_job(check).await;
    }
    let edited = |read: &Value, number: u32| {
        let mut edited = read.clone();
        edited["attributes"]["number"] = number.into();
        edited
    };
    let changed = host.client.patch(&at, &edited(&created.body, 1)).await;
    assert_eq!((changed.status, &changed.body["attributes"]["number"]), (200, &json!(1)), "{changed}");
    let read = host.client.get(&at).await.body;
    let changed = host.client.patch(&at, &edited(&read, 2)).await;
    assert_eq!((changed.status, &changed.body["attributes"]["number"]), (200, &json!(2)), "{changed}");
    // What has changed since is not overwritten, and what is the server's or a name does not change.
    let old = host.client.patch(&at, &edited(&read, 3)).await;
    assert_eq!(old.fault(), (422, "/updated_at"), "{old}");
    assert!(old.body["errors"][0]["detail"].as_str().unwrap().contains("read it again"), "{old}");
    let read = host.client.get(&at).await.body;
    let extra = ["containers", "has_auth", "fingerprint"];
    for member in ["created_at", name].into_iter().chain(extra.into_iter().filter(|extra| !read[*extra].is_null())) {
        let mut other = read.clone();
        other[member] = json!("other");
        let refused = host.client.patch(&at, &other).await;
        assert_eq!(refused.fault(), (422, format!("/{member}").as_str()), "{refused}");
        assert_eq!(refused.body["errors"][0]["detail"], "this cannot be changed", "{refused}");
    }
    assert_eq!(host.client.delete(&at).await.status, 204);
}

async fn with_build() -> TestHost {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let new = json!({ "build_name": "1", "attributes": { "a": 1 } });
    let created = host.client.post("/app/shop/builds", &new).await;
    assert_eq!(created.status, 201, "{created}");
    assert_ne!(created.body, Value::Null);
    host
}

async fn send_patch(host: &TestHost, content_type: &str, body: &str) -> Reply {
    let request = host.client.request(Method::PATCH, BUILD).header(CONTENT_TYPE, content_type);
    host.client.send(request.body(body.to_owned())).await
}
