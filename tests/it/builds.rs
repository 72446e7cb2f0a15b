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
      "app_name": "shop",
      "stored": false,
      "master_file": null,
      "packages": {},
      "files": [],
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
