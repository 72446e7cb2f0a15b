//! What a stranger may see: what the server is and whether it is well, and nothing else.

use serde_json::json;

use crate::harness::{Api, Setup, TestHost, filled_in};

/// What needs no token.
const OPEN: [&str; 6] =
    ["GET /", "GET /about", "POST /global/tokens", "GET /health/live", "GET /health/ready", "GET /openapi.json"];

#[tokio::test]
async fn anyone_may_ask_what_the_server_is() {
    let host = TestHost::start().await;
    let about = host.client.anonymous().get("/about").await;
    assert_eq!(about.status, 200, "{about}");
    let (name, version) = (&about.body["name"], &about.body["version"]);
    assert_eq!((name, version), (&json!("elita"), &json!(env!("CARGO_PKG_VERSION"))), "{about}");
    // What receipts are signed with is for all to see.
    assert_eq!(about.body.as_object().unwrap().len(), 3, "{about}");
    let key = &about.body["receipt_keys"][0]["public_key"];
    assert!(key.as_str().unwrap().starts_with("-----BEGIN PUBLIC KEY-----"), "{about}");
    let root = host.client.anonymous().get("/").await;
    assert_eq!((&root.body["name"], &root.body["version"]), (&about.body["name"], &about.body["version"]), "{root}");
}

#[tokio::test]
async fn the_root_leads_to_all_that_there_is() {
    let host = TestHost::start().await;
    let root = host.client.anonymous().get("/").await;
    let links = root.body["links"].as_object().unwrap();
    assert!(links.len() >= 10, "{root}");
    for (name, path) in links {
        let reply = host.client.get(path.as_str().unwrap()).await;
        assert_eq!(reply.status, 200, "{name}: {reply}");
    }
    let worker = Setup::default().flag("--role", "worker").start().await;
    assert_eq!(worker.client.get("/").await.body["links"], json!({ "health": "/health/ready" }));
}

#[tokio::test]
async fn anyone_may_ask_whether_the_server_is_well() {
    let host = TestHost::start().await;
    for (path, status) in [("/health/live", "live"), ("/health/ready", "ready")] {
        let reply = host.client.anonymous().get(path).await;
        assert_eq!(reply.status, 200, "{reply}");
        assert_eq!(reply.body, json!({ "status": status }));
    }
}

#[tokio::test]
async fn whatever_else_is_asked_needs_a_token() {
    let host = TestHost::start().await;
    let stranger = host.client.anonymous();
    let mut open = Vec::new();
    for operation in Api::of(&host.client).await.operations() {
        let reply = stranger.send(stranger.request(operation.method.clone(), &filled_in(operation.path))).await;
        match reply.status {
            401 => assert_eq!((&reply.body["code"], reply.header("www-authenticate")), (&json!("no-token"), "Bearer")),
            _ => open.push(format!("{} {}", operation.method, operation.path)),
        }
    }
    assert_eq!(open, OPEN);
}
