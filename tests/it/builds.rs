//! Builds as records over HTTP.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::harness::TestHost;

#[tokio::test]
async fn a_build_is_created_and_shown() {
    let host = with_shop().await;
    let new = json!({ "build_name": "124-master", "attributes": { "branch": "master", "commit": 7 } });
    let created = host.client.post("/app/shop/builds", &new).await;
    assert_eq!((created.status, created.header("location")), (201, "/app/shop/builds/124-master"), "{created}");
    assert_json_snapshot!(created.body, { ".created_at" => "[time]", ".updated_at" => "[time]" }, @r#"
    {
      "build_name": "124-master",
      "application": "shop",
      "app_name": "shop",
      "stored": false,
      "master_file": null,
      "packages": {},
      "file_count": 0,
      "attributes": {
        "branch": "master",
        "commit": 7
      },
      "created_at": "[time]",
      "updated_at": "[time]"
    }
    "#);
    let shown = host.client.get("/app/shop/builds/124-master").await;
    assert_eq!((&shown.body, shown.header("etag")), (&created.body, created.header("etag")));
}

#[tokio::test]
async fn a_build_is_created_by_a_put_as_in_the_reference() {
    let host = with_shop().await;
    let put = host.client.put("/app/shop/builds?build_name=1&attributes=%7B%22a%22%3A%5B1%5D%7D").await;
    assert_eq!((put.status, &put.body["attributes"]), (201, &json!({ "a": [1] })), "{put}");
    assert_eq!(host.client.get("/app/shop/builds/1").await.body, put.body);
}

#[tokio::test]
async fn builds_are_listed_by_name_page_by_page() {
    let host = with_shop().await;
    for name in ["3", "1", "2"] {
        host.client.post("/app/shop/builds", &json!({ "build_name": name })).await;
    }
    let first = host.client.get("/app/shop/builds?limit=2").await;
    assert_eq!((first.items("build_name"), &first.body["next"]), (vec!["1", "2"], &json!("2")));
    let last = host.client.get("/app/shop/builds?limit=2&after=2").await;
    assert_eq!((last.items("build_name"), &last.body["next"]), (vec!["3"], &Value::Null));
}

#[tokio::test]
async fn the_newest_builds_come_first_if_that_is_asked_for() {
    let host = with_shop().await;
    for name in ["1.10", "1.9", "1.11"] {
        host.client.post("/app/shop/builds", &json!({ "build_name": name })).await;
    }
    let stored = "update builds set stored = true where name <> '1.9'";
    sqlx::query(stored).execute(&mut host.database.connect().await).await.unwrap();
    let path = "/app/shop/builds?order=-created&limit=2";
    let first = host.client.get(path).await;
    assert_eq!(first.items("build_name"), ["1.11", "1.9"], "{first}");
    let next = first.header("link").strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
    let last = host.client.get(&next).await;
    assert_eq!((last.items("build_name"), &last.body["next"]), (vec!["1.10"], &Value::Null), "{last}");
    for (query, expected) in [
        ("stored=true&order=-created", vec!["1.11", "1.10"]),
        ("stored=true", vec!["1.10", "1.11"]),
        ("stored=false", vec!["1.9"]),
        ("order=created", vec!["1.10", "1.9", "1.11"]),
        ("since=2026-01-01", vec!["1.10", "1.11", "1.9"]),
        ("until=2026-01-01&order=created", vec![]),
        ("order=name", vec!["1.10", "1.11", "1.9"]),
    ] {
        let listed = host.client.get(&format!("/app/shop/builds?{query}")).await;
        assert_eq!(listed.items("build_name"), expected, "{query}");
    }
    for query in ["order=size", "order=-created&after=1", "order=-created&after=x.1"] {
        let refused = host.client.get(&format!("/app/shop/builds?{query}")).await;
        assert_eq!((refused.status, &refused.body["code"]), (422, &json!("invalid")), "{query}: {refused}");
    }
}

#[tokio::test]
async fn the_paths_of_a_build_are_listed_page_by_page() {
    let host = with_shop().await;
    host.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    let many = "insert into build_files (application, build, part, last_path, paths)
        select 'shop', '1', part, max(path), array_agg(path order by path) from (
            select (n - 1) / 1000 as part, 'web/' || lpad(n::text, 6, '0') || case when n % 25000 = 0 then '.html' else '.js' end
                as path
            from generate_series(1, 50500) n
        ) as paths group by part";
    sqlx::query(many).execute(&mut host.database.connect().await).await.unwrap();

    let first = host.client.get("/app/shop/builds/1/files?limit=2").await;
    let expected = json!({ "items": ["web/000001.js", "web/000002.js"], "next": "web/000002.js" });
    assert_eq!(first.body, expected, "{first}");
    let across = host.client.get("/app/shop/builds/1/files?limit=3&after=web/000999.js").await;
    assert_eq!(across.body["items"], json!(["web/001000.js", "web/001001.js", "web/001002.js"]), "{across}");
    assert_eq!(
        host.client.get("/app/shop/builds/1/files?after=web/050500.js").await.body,
        json!({ "items": [], "next": null })
    );

    // A glob that matches little: no page looks at all of them, and none is left out.
    let (mut found, mut pages, mut path) = (Vec::new(), 0, "/app/shop/builds/1/files?glob=**/*.html".to_owned());
    loop {
        let page = host.client.get(&path).await;
        assert_eq!(page.status, 200, "{page}");
        found.extend(page.body["items"].as_array().unwrap().iter().cloned());
        pages += 1;
        let Some(next) = page.body["next"].as_str() else { break };
        path = format!("/app/shop/builds/1/files?glob=**/*.html&after={next}");
    }
    assert_eq!((found, pages), (vec![json!("web/025000.html"), json!("web/050000.html")], 3));
    let directory = host.client.get("/app/shop/builds/1/files?glob=*.js").await;
    assert_eq!(directory.body["items"], json!([]), "a star stays within a directory");
    for glob in ["%5B", "%7Ba".to_owned().as_str(), &"*".repeat(513)] {
        let refused = host.client.get(&format!("/app/shop/builds/1/files?glob={glob}")).await;
        assert_eq!(refused.fault(), (422, "glob"), "{refused}");
    }
    assert_eq!(host.client.get("/app/shop/builds/none/files").await.status, 404);
    assert_eq!(host.client.delete("/app/shop/builds/1").await.status, 204);
    host.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    assert_eq!(host.client.get("/app/shop/builds/1/files").await.body["items"], json!([]), "they went with it");
}

#[tokio::test]
async fn a_build_that_is_there_is_not_overwritten() {
    let host = with_shop().await;
    let first = host.client.post("/app/shop/builds", &json!({ "build_name": "1", "attributes": { "a": 1 } })).await;
    let second = host.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    assert_eq!((second.status, &second.body["code"]), (409, &json!("already-exists")), "{second}");
    assert_eq!(host.client.get("/app/shop/builds/1").await.body, first.body);
}

#[tokio::test]
async fn a_build_of_no_application_is_not_found() {
    let host = TestHost::start().await;
    let created = host.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    let listed = host.client.get("/app/shop/builds").await;
    for reply in [created, listed] {
        assert_eq!(reply.status, 404, "{reply}");
        assert!(reply.body["detail"].as_str().unwrap().contains("application `shop`"), "{reply}");
    }
}

#[tokio::test]
async fn what_is_no_build_is_refused_where_it_is_wrong() {
    let host = with_shop().await;
    for (body, fault) in [
        (json!({}), (400, "/build_name")),
        (json!({ "build_name": "a/b" }), (422, "/build_name")),
        (json!({ "build_name": "1", "stored": true }), (400, "/stored")),
        (json!({ "build_name": "1", "attributes": [] }), (422, "/attributes")),
        (json!({ "build_name": "1", "attributes": { "long": "x".repeat(70_000) } }), (422, "/attributes")),
    ] {
        let reply = host.client.post("/app/shop/builds", &body).await;
        assert_eq!(reply.fault(), fault, "{reply}");
    }
    assert_eq!(host.client.get("/app/shop/builds").await.items("build_name"), [""; 0]);
}

#[tokio::test]
async fn a_build_that_was_removed_is_gone() {
    let host = with_shop().await;
    host.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    assert_eq!(host.client.delete("/app/shop/builds/1").await.status, 204);
    assert_eq!(host.client.get("/app/shop/builds/1").await.status, 404);
    assert_eq!(host.client.delete("/app/shop/builds/1").await.status, 404);
}

#[tokio::test]
async fn builds_go_with_their_application() {
    let host = with_shop().await;
    host.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    assert_eq!(host.client.delete("/app/shop").await.status, 204);
    host.create_application("shop").await;
    assert_eq!(host.client.get("/app/shop/builds").await.items("build_name"), [""; 0]);
}

async fn with_shop() -> TestHost {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    host
}
