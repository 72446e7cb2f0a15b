//! What replies cost: those that a client has already, long ones, and those for pages of other servers.

use std::io::Read as _;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, IF_NONE_MATCH};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::harness::{Client, Setup, TestHost};

#[tokio::test]
async fn a_reply_in_json_is_a_line() {
    let host = TestHost::start().await;
    for path in ["/", "/app", "/app/nowhere", "/health/live", "/openapi.json", "/global/tokens/current"] {
        let text = host.client.request(Method::GET, path).send().await.unwrap().text().await.unwrap();
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1, "{path}: {text}");
    }
}

#[tokio::test]
async fn what_a_client_has_already_is_not_sent_again() {
    let host = TestHost::with_plugins(&["widgets"]).await;
    host.create_application("my_application").await;
    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    let job = format!("/job/{}", job["job_id"].as_str().unwrap());
    let data = format!("{job}/data");
    for path in ["/app", "/app/my_application", "/job", &job, &data, "/openapi.json", "/app/my_application/actions"] {
        let first = host.client.get(path).await;
        let etag = first.header("etag").to_owned();
        assert_eq!(first.header("cache-control"), "private, no-cache", "{path}: {first}");
        let known = host.client.send(asking(&host.client, path, &etag)).await;
        assert_eq!((known.status, &known.body), (304, &Value::Null), "{path}: {known}");
        assert_eq!((known.header("etag"), known.header("content-type")), (&*etag, ""), "{known}");
        for tags in [format!("\"other\", W/{etag}"), "*".into()] {
            assert_eq!(host.client.send(asking(&host.client, path, &tags)).await.status, 304, "{path}: {tags}");
        }
        let other = host.client.send(asking(&host.client, path, "\"other\"")).await;
        assert_eq!((other.status, &other.body), (200, &first.body), "{path}");
        let head = host.client.request(Method::HEAD, path).header(IF_NONE_MATCH, &etag);
        assert_eq!(host.client.send(head).await.status, 304, "{path}");
    }
}

#[tokio::test]
async fn what_has_changed_is_sent_and_the_version_of_a_document_is_still_its_own() {
    let host = TestHost::start().await;
    let list = host.client.get("/app").await.header("etag").to_owned();
    host.create_application("shop").await;
    assert_eq!(host.client.send(asking(&host.client, "/app", &list)).await.status, 200);

    let first = host.client.get("/app/shop").await.header("etag").to_owned();
    let changed = host.client.patch_if("/app/shop", &first, &json!({ "attributes": { "team": "a" } })).await;
    assert_eq!(changed.status, 200, "{changed}");
    assert_eq!(host.client.get("/app/shop").await.header("etag"), changed.header("etag"));
    assert_eq!(host.client.send(asking(&host.client, "/app/shop", &first)).await.status, 200);
    assert_eq!(host.client.patch_if("/app/shop", &first, &json!({ "attributes": {} })).await.status, 412);
    // The version alone is enough, as earlier servers gave it.
    let version = changed.header("etag").split('-').next().unwrap().to_owned() + "\"";
    assert_eq!(host.client.patch_if("/app/shop", &version, &json!({ "attributes": {} })).await.status, 200);

    // Nobody learns that something is there by what they may not see.
    assert_eq!(host.client.send(asking(&host.client.anonymous(), "/app/shop", "*")).await.status, 401);
    assert_eq!(host.client.send(asking(&host.client, "/app/nowhere", "*")).await.status, 404);
}

#[tokio::test]
async fn a_document_shows_what_was_done_elsewhere_though_its_version_is_the_same() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let empty = host.client.get("/server/environments").await.header("etag").to_owned();
    host.client.post("/server", &json!({ "name": "web", "environment": "test", "driver": "local" })).await;
    assert_eq!(host.client.send(asking(&host.client, "/server/environments", &empty)).await.status, 200);
}

#[tokio::test]
async fn long_replies_are_compressed_for_those_who_take_it() {
    let host = TestHost::start().await;
    for number in 0..40 {
        host.create_application(&format!("application-{number}")).await;
    }
    // One is compressed at once, the other one aside.
    for path in ["/app", "/openapi.json", "/app?pretty", "/openapi.json?pretty"] {
        let plain = accepting(&host.client, path, "identity").await;
        assert_eq!((header(&plain, "content-encoding"), header(&plain, "vary")), ("", "Accept-Encoding"));
        let plain = plain.bytes().await.unwrap();
        for (accepted, coding) in [("gzip", "gzip"), ("gzip, deflate, br, zstd", "zstd"), ("zstd;q=0.1, gzip", "gzip")]
        {
            let reply = accepting(&host.client, path, accepted).await;
            assert_eq!((header(&reply, "content-encoding"), header(&reply, "vary")), (coding, "Accept-Encoding"));
            let length: usize = header(&reply, "content-length").parse().unwrap();
            let packed = reply.bytes().await.unwrap();
            assert!(packed.len() == length && length * 2 < plain.len(), "{length} of {}", plain.len());
            assert_eq!(unpacked(coding, &packed), plain, "{path} by {coding}");
        }
    }
    for (path, accepted) in [("/", "gzip"), ("/app", "br"), ("/app?limit=1", "zstd")] {
        assert_eq!(header(&accepting(&host.client, path, accepted).await, "content-encoding"), "", "{path}");
    }
    let head = host.client.request(Method::HEAD, "/app").header(ACCEPT_ENCODING, "gzip").send().await.unwrap();
    let get = accepting(&host.client, "/app", "gzip").await;
    assert_eq!(header(&head, "content-length"), header(&get, "content-length"));
}

#[tokio::test]
async fn pages_of_other_servers_may_ask_if_the_operator_says_so() {
    let host = TestHost::start().await;
    let asked = preflight(&host.client, "https://console.example.org").await;
    assert_eq!(header(&asked, "access-control-allow-origin"), "", "nobody has allowed it");

    let host =
        Setup::default().flag("--http-cors-origins", "https://console.example.org,http://localhost:5173").start().await;
    for origin in ["https://console.example.org", "http://localhost:5173"] {
        let asked = preflight(&host.client.anonymous(), origin).await;
        assert!(asked.status().is_success(), "{asked:?}");
        assert_eq!(header(&asked, "access-control-allow-origin"), origin);
        assert!(header(&asked, "access-control-allow-methods").contains("PATCH"), "{asked:?}");
        assert!(header(&asked, "access-control-allow-headers").contains("if-match"), "{asked:?}");
        let reply = host.client.request(Method::GET, "/app").header("Origin", origin).send().await.unwrap();
        assert_eq!((reply.status().as_u16(), header(&reply, "access-control-allow-origin")), (200, origin));
        assert!(header(&reply, "access-control-expose-headers").contains("etag"), "{reply:?}");
        let refused =
            host.client.anonymous().request(Method::GET, "/app").header("Origin", origin).send().await.unwrap();
        assert_eq!((refused.status().as_u16(), header(&refused, "access-control-allow-origin")), (401, origin));
    }
    let stranger = preflight(&host.client, "https://console.example.org.evil.example").await;
    assert_eq!(header(&stranger, "access-control-allow-origin"), "");
}

fn asking(client: &Client, path: &str, tags: &str) -> RequestBuilder {
    client.request(Method::GET, path).header(IF_NONE_MATCH, tags)
}

async fn accepting(client: &Client, path: &str, codings: &str) -> Response {
    client.request(Method::GET, path).header(ACCEPT_ENCODING, codings).send().await.unwrap()
}

async fn preflight(client: &Client, origin: &str) -> Response {
    let request = client.request(Method::OPTIONS, "/app/shop").header("Origin", origin);
    let request = request.header("Access-Control-Request-Method", "PATCH");
    request
        .header("Access-Control-Request-Headers", format!("authorization, if-match, {CONTENT_TYPE}"))
        .send()
        .await
        .unwrap()
}

fn header<'r>(reply: &'r Response, name: &str) -> &'r str {
    reply.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn unpacked(coding: &str, packed: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(packed).read_to_end(&mut text).unwrap(),
        _ => ruzstd::decoding::StreamingDecoder::new(packed).unwrap().read_to_end(&mut text).unwrap(),
    };
    text
}
