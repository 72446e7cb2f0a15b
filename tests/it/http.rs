//! The manners of HTTP: problems, limits, malformed requests, and what is the same for all paths.

use reqwest::header::CONTENT_TYPE;
use reqwest::multipart::Form;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{
    Api, Cable, Client, Database, Operation, PATIENCE, Program, Reply, TestHost, eventually, filled_in,
};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn every_refusal_is_a_problem_document_with_the_requests_id() {
    let host = TestHost::start().await;
    let (client, stranger) = (&host.client, host.client.anonymous());
    let text = client.request(Method::POST, "/app").header(CONTENT_TYPE, "text/plain").body("app_name=shop");
    let untyped = client.request(Method::POST, "/app").body("app_name=shop");
    let too_long = client.request(Method::POST, "/app").json(&json!({ "app_name": "x".repeat(MIB) }));
    let long_uri = format!("/app?after={}", "x".repeat(40 * 1024));
    let long_header = client.request(Method::GET, "/app").header("X-Filler", "x".repeat(70 * 1024));
    for (request, status, code) in [
        (client.request(Method::POST, "/app").header(CONTENT_TYPE, "application/json").body("{"), 400, "malformed"),
        (stranger.request(Method::GET, "/app"), 401, "no-token"),
        (client.request(Method::GET, "/nowhere"), 404, "not-found"),
        (client.request(Method::GET, "/app/nowhere"), 404, "not-found"),
        (client.request(Method::DELETE, "/app"), 405, "method-not-allowed"),
        (too_long, 413, "too-large"),
        (client.request(Method::GET, &long_uri), 414, "uri-too-long"),
        (text, 415, "unsupported-media-type"),
        (untyped, 415, "unsupported-media-type"),
        (client.request(Method::PUT, "/app?app_name=_global"), 422, "invalid"),
        (long_header, 431, "headers-too-large"),
    ] {
        let reply = client.send(request).await;
        assert_problem(&reply, status, code);
    }
}

#[tokio::test]
async fn a_request_with_too_many_headers_is_refused_with_a_problem_too() {
    let host = TestHost::start().await;
    let with_headers = |count| {
        let request = host.client.request(Method::GET, "/app");
        (0..count).fold(request, |request, number| request.header(format!("X-Filler-{number}"), "x"))
    };
    assert_eq!(host.client.send(with_headers(90)).await.status, 200);
    assert_problem(&host.client.send(with_headers(110)).await, 431, "headers-too-large");
}

#[tokio::test]
async fn a_request_keeps_the_id_that_its_client_gave_it() {
    let host = TestHost::start().await;
    let with_id = |id: &str| host.client.request(Method::GET, "/nowhere").header("X-Request-Id", id);
    let reply = host.client.send(with_id("deploy-42.a_B")).await;
    assert_eq!((reply.header("x-request-id"), &reply.body["request_id"]), ("deploy-42.a_B", &json!("deploy-42.a_B")));

    let mut own = Vec::new();
    for unfit in ["", "two words", "<script>", &"x".repeat(129)] {
        let reply = host.client.send(with_id(unfit)).await;
        assert_problem(&reply, 404, "not-found");
        own.push(reply.header("x-request-id").to_owned());
    }
    own.sort();
    own.dedup();
    assert_eq!(own.len(), 4, "{own:?}");
    assert!(own.iter().all(|id| id.len() == 36), "{own:?}");
}

#[tokio::test]
async fn every_reply_has_an_id_and_forbids_guessing_its_type() {
    let host = TestHost::start().await;
    for path in ["/", "/app", "/nowhere", "/openapi.json"] {
        let reply = host.client.get(path).await;
        assert_eq!(
            (reply.header("x-request-id").len(), reply.header("x-content-type-options")),
            (36, "nosniff"),
            "{reply}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_malformed() {
    let host = TestHost::start().await;
    let nested_lists = format!(r#"{{"app_name": {}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let nested_objects = format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000));
    let unclosed = "[".repeat(MIB / 2);
    for body in [
        "{",
        r#"{"app_name": "shop",}"#,
        r#"{"app_name": "shop"} {}"#,
        "{'app_name': 'shop'}",
        "app_name=shop",
        r#"{"app_name": "sh\u0000op"}"#,
        &nested_lists,
        &nested_objects,
        &unclosed,
    ] {
        assert_problem(&host.client.send(json_body(&host.client, body)).await, 400, "malformed");
    }
    assert_problem(&host.client.send(json_body(&host.client, b"{\"app_name\": \"\xff\"}")).await, 400, "malformed");
    for body in ["[]", "null", r#""shop""#, "7"] {
        assert_problem(&host.client.send(json_body(&host.client, body)).await, 422, "invalid");
    }
    assert_eq!(host.client.get("/app").await.body["items"], json!([]));
}

#[tokio::test]
async fn a_nul_in_a_url_is_malformed() {
    let host = TestHost::start().await;
    for path in ["/app/%00", "/app/sh%00op/actions", "/app?after=%00", "/%00", "/app?%00=1"] {
        assert_problem(&host.client.get(path).await, 400, "malformed");
    }
}

#[tokio::test]
async fn a_nul_in_any_text_of_any_operation_is_malformed() {
    let host = TestHost::start().await;
    let api = Api::of(&host.client).await;
    let form = Form::new().text("name", "a\0b");
    let multipart = host.client.request(Method::POST, "/global/keypairs").multipart(form);
    assert_problem(&host.client.send(multipart).await, 400, "malformed");
    let (mut bodies, mut paths) = (0, 0);
    for Operation { method, path, description } in api.operations() {
        if path.contains('{') {
            paths += 1;
            let request = host.client.request(method.clone(), &filled_in(path).replace("anything", "any%00thing"));
            assert_problem(&host.client.send(request).await, 400, "malformed");
        }
        let request = host.client.request(method.clone(), &format!("{}?a=%00", filled_in(path)));
        if method != Method::HEAD {
            assert_problem(&host.client.send(request).await, 400, "malformed");
        }
        for content_type in description["requestBody"]["content"].as_object().into_iter().flat_map(|types| types.keys())
        {
            let body = match &**content_type {
                // A file may have any bytes.
                "application/octet-stream" => continue,
                "application/x-www-form-urlencoded" => "a=%00",
                "application/json-patch+json" => {
                    r#"[{"op": "add", "path": "/attributes/a", "value": {"b": ["\u0000"]}}]"#
                }
                _ => r#"{"a": {"b": ["\u0000"]}}"#,
            };
            bodies += 1;
            // What is not an id is found before a body is read.
            let path = path.replace("{id}", "0197c9a0-7b1e-7c3d-8a54-3f2f1f0e9d8c");
            let request = host.client.request(method.clone(), &filled_in(&path));
            let reply = host.client.send(request.header(CONTENT_TYPE, content_type).body(body)).await;
            assert_problem(&reply, 400, "malformed");
        }
    }
    assert!(bodies > 30 && paths > 50, "{bodies} bodies and {paths} paths are too few");
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_refused_before_it_is_sent() {
    let host = TestHost::start().await;
    let head = post_app(&host, &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", MIB + 1));
    let reply = exchange(&host.client, head.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 413 ") && reply.contains("application/problem+json"), "{reply}");
}

#[tokio::test]
async fn a_reply_that_leaves_a_body_unread_says_that_the_connection_ends() {
    let host = TestHost::start().await;
    let token = &host.database.token;
    let head = |more: &str| format!("POST /app HTTP/1.1\r\nHost: elita\r\nAuth-Token: {token}\r\n{more}\r\n");
    for (request, status) in [
        (head(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", MIB + 1)), "413"),
        ("POST /app HTTP/1.1\r\nHost: elita\r\nContent-Length: 1000000\r\n\r\n".into(), "401"),
    ] {
        let reply = exchange(&host.client, request.as_bytes()).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
        assert!(reply.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{reply}");
    }
    // One that was read leaves the connection to the next request.
    let create = head("Content-Type: application/json\r\nContent-Length: 20\r\n") + r#"{"app_name": "shop"}"#;
    let get = format!("GET /app HTTP/1.1\r\nHost: elita\r\nAuth-Token: {token}\r\nConnection: close\r\n\r\n");
    let replies = exchange(&host.client, (create + &get).as_bytes()).await;
    assert_eq!(replies.matches("HTTP/1.1 20").count(), 2, "{replies}");
}

#[tokio::test]
async fn a_client_that_looks_for_the_reply_only_after_its_body_finds_it() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    host.client.put("/app/shop/builds?build_name=1").await;
    let token = &host.database.token;
    // More than all buffers on the way hold.
    let body = vec![b'x'; 24 * MIB];
    let upload = |token: &str| {
        format!(
            "PUT /app/shop/builds/1/file?file_type=zip HTTP/1.1\r\nHost: elita\r\nAuth-Token: {token}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        )
    };
    let json = format!(
        "POST /app HTTP/1.1\r\nHost: elita\r\nAuth-Token: {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    for (head, status) in [(upload("elita_wrong"), "401"), (upload(token), "422"), (json, "413")] {
        let mut stream = connect(&host.client).await;
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap_or_else(|error| panic!("{status}: the body is not taken: {error}"));
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap_or_else(|error| panic!("{status}: the reply is lost: {error}"));
        let reply = String::from_utf8(reply).unwrap();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")) && reply.contains("problem+json"), "{reply}");
    }
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_not_asked_for_what_nobody_reads() {
    let host = TestHost::start().await;
    let head = "POST /app HTTP/1.1\r\nHost: elita\r\nAuth-Token: elita_wrong\r\nContent-Type: application/json\r\n\
                Expect: 100-continue\r\nContent-Length: 1000\r\n\r\n";
    let reply = exchange(&host.client, head.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 401 ") && reply.matches("HTTP/1.1").count() == 1, "{reply}");
}

#[tokio::test]
async fn a_body_that_becomes_too_long_is_refused_on_its_way() {
    let host = TestHost::start().await;
    let mut bytes = post_app(&host, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n").into_bytes();
    // The last chunk, which ends a body, never comes.
    for _ in 0..=16 {
        bytes.extend(b"10000\r\n");
        bytes.extend([b' '; 0x10000]);
        bytes.extend(b"\r\n");
    }
    let reply = exchange(&host.client, &bytes).await;
    assert!(reply.starts_with("HTTP/1.1 413 ") && reply.contains("application/problem+json"), "{reply}");
}

#[tokio::test]
async fn the_body_of_a_login_is_shorter_than_others() {
    let host = TestHost::start().await;
    let log_in = async |bytes: usize| {
        let mut body = br#"{"username": "nobody", "password": "guess"}"#.to_vec();
        body.resize(bytes, b' ');
        let request = host.client.anonymous().request(Method::POST, "/global/tokens");
        host.client.send(request.header(CONTENT_TYPE, "application/json").body(body)).await
    };
    assert_problem(&log_in(64 * 1024).await, 401, "wrong-password");
    assert_problem(&log_in(64 * 1024 + 1).await, 413, "too-large");
    let chunked = "POST /global/tokens HTTP/1.1\r\nHost: elita\r\nConnection: close\r\n\
                   Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    // The last chunk never comes.
    let bytes = [chunked.as_bytes(), b"10001\r\n", &[b' '; 0x10001], b"\r\n"].concat();
    let reply = exchange(&host.client, &bytes).await;
    assert!(reply.starts_with("HTTP/1.1 413 ") && reply.contains("application/problem+json"), "{reply}");
}

#[tokio::test]
async fn the_longest_body_is_taken_in_either_form() {
    let host = TestHost::start().await;
    let mut body = br#"{"app_name": "declared"}"#.to_vec();
    body.resize(MIB, b' ');
    assert_eq!(host.client.send(json_body(&host.client, &body)).await.status, 201);
    let mut bytes = post_app(&host, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n").into_bytes();
    bytes.extend(b"8\r\n{\"app_na\r\n10\r\nme\": \"chunked\"} \r\n0\r\n\r\n");
    let reply = exchange(&host.client, &bytes).await;
    assert!(reply.starts_with("HTTP/1.1 201 "), "{reply}");
}

#[tokio::test]
async fn a_request_with_two_lengths_is_refused() {
    let host = TestHost::start().await;
    let body = r#"{"app_name": "shop"}"#;
    let lengths = format!("Content-Length: {}\r\nContent-Length: {}\r\n", body.len(), body.len() + 1);
    let request = post_app(&host, &format!("Content-Type: application/json\r\n{lengths}")) + body;
    let reply = exchange(&host.client, request.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
    assert_eq!(host.client.get("/app").await.body["items"], json!([]));
}

#[tokio::test]
async fn nothing_is_smuggled_in_behind_a_request_with_two_kinds_of_length() {
    let host = TestHost::start().await;
    let body = r#"{"app_name": "shop"}"#;
    let token = &host.database.token;
    let smuggled = format!("PUT /app?app_name=smuggled HTTP/1.1\r\nHost: elita\r\nAuth-Token: {token}\r\n\r\n");
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n{smuggled}", body.len());
    for lengths in
        ["Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"]
    {
        let head = format!("POST /app HTTP/1.1\r\nHost: elita\r\nAuth-Token: {token}\r\n{lengths}\r\n");
        let reply = exchange(&host.client, (head + &chunked).as_bytes()).await;
        assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{reply}");
    }
    assert!(!host.client.get("/app").await.items("app_name").contains(&"smuggled"));
}

#[tokio::test]
async fn what_no_server_should_read_to_its_end_is_refused() {
    let host = TestHost::start().await;
    let giant_uri = format!("GET /{} HTTP/1.1\r\nHost: elita\r\n\r\n", "x".repeat(MIB));
    let giant_header = format!("GET / HTTP/1.1\r\nHost: elita\r\nX-Filler: {}\r\n\r\n", "x".repeat(MIB));
    for (request, statuses) in [(giant_uri, ["414", "431"]), (giant_header, ["431", "431"])] {
        let reply = exchange(&host.client, request.as_bytes()).await;
        let status = reply.split(' ').nth(1).unwrap_or_default();
        assert!(statuses.contains(&status), "{reply}");
        assert_explained(&reply);
    }
    assert_eq!(host.client.get("/").await.status, 200);
}

#[tokio::test]
async fn what_is_no_request_is_told_so_in_a_problem_document() {
    let host = TestHost::start().await;
    for noise in ["\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/1.1\r\nBroken header\r\n\r\n"]
    {
        let reply = exchange(&host.client, noise.as_bytes()).await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{reply}");
        assert_explained(&reply);
    }
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    for (path, status) in [("/", 200), ("/app/shop", 200), ("/app?limit=1&pretty=true", 200), ("/app/nowhere", 404)] {
        let get = host.client.get(path).await;
        let head = host.client.send(host.client.request(Method::HEAD, path)).await;
        assert_eq!((head.status, &head.body), (status, &Value::Null), "{path}: {head}");
        for name in ["content-type", "content-length", "link"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn a_reply_is_indented_for_those_who_ask() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    for path in ["/app", "/app/shop", "/app/nowhere"] {
        let plain = text(&host.client, path).await;
        assert!(plain.ends_with("}\n") && plain.matches('\n').count() == 1, "{plain}");
        assert_eq!(text(&host.client, &format!("{path}?pretty=false")).await.len(), plain.len());
        let pretty = text(&host.client, &format!("{path}?pretty=true")).await;
        assert!(pretty.starts_with("{\n  \"") && pretty.ends_with("}\n"), "{pretty}");
        let mut documents: [Value; 2] = [&plain, &pretty].map(|text| serde_json::from_str(text).unwrap());
        for document in documents.iter_mut().filter(|document| document["request_id"].is_string()) {
            document["request_id"] = json!("[id]");
        }
        assert_eq!(documents[0], documents[1]);
    }
    assert_problem(&host.client.get("/app?pretty=please").await, 422, "invalid");
}

#[tokio::test]
async fn a_parameter_that_nothing_knows_is_named() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    for path in
        ["/", "/about", "/health/live", "/app", "/app/shop", "/app/shop/actions", "/job", "/global/tokens/current"]
    {
        let reply = host.client.get(&format!("{path}?colour=red")).await;
        assert_problem(&reply, 400, "malformed");
        assert_eq!(reply.body["errors"][0]["parameter"], "colour", "{path}: {reply}");
    }
    assert_problem(&host.client.delete("/app/shop?force=true").await, 400, "malformed");
    assert_eq!(host.client.get("/app/shop").await.status, 200);
}

#[tokio::test]
async fn a_parameter_that_is_given_twice_is_named() {
    let host = TestHost::start().await;
    let reply = host.client.get("/app?limit=1&limit=2").await;
    assert_problem(&reply, 400, "malformed");
    assert_eq!(reply.body["errors"][0]["parameter"], "limit", "{reply}");
}

#[tokio::test]
async fn a_client_may_speak_http_2_from_the_start() {
    let host = TestHost::start().await;
    let mut stream = connect(&host.client).await;
    let settings = frame(4, 0, 0, b"");
    // `:method: GET`, `:scheme: http`, `:path: /`, and `:authority` with its value.
    let headers = frame(1, END_STREAM | END_HEADERS, 1, b"\x82\x86\x84\x41\x05elita");
    stream.write_all(&[PREFACE, &settings, &headers].concat()).await.unwrap();
    let headers = eventually("a reply on the first stream", async || {
        let (kind, stream_id, payload) = read_frame(&mut stream).await?;
        (kind == 1 && stream_id == 1).then_some(payload)
    })
    .await;
    // `:status: 200` from HPACK's static table.
    assert_eq!(headers[0], 0x88, "{headers:?}");
}

#[tokio::test]
async fn while_postgres_is_away_clients_are_asked_to_come_back() {
    let data_dir = tempfile::tempdir().unwrap();
    let database = Database::new().await;
    let mut cable = Cable::to(&database).await;
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", cable.url()];
    let mut elita = Program::serve(&flags);
    let (_, client) = elita.ready(&database.token).await;
    assert_eq!(client.put("/app?app_name=before").await.status, 201);

    cable.cut();
    for reply in [client.get("/health/ready").await, client.put("/app?app_name=meanwhile").await] {
        assert_problem(&reply, 503, "unavailable");
        assert!(reply.header("retry-after").parse::<u32>().is_ok(), "{reply}");
    }
    assert_eq!(client.get("/health/live").await.status, 200);

    cable.mend().await;
    eventually("the server to be ready again", async || {
        (client.get("/health/ready").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(client.get("/app/before").await.status, 200);
    assert_eq!(client.get("/app/meanwhile").await.status, 404);
}

pub(crate) fn assert_problem(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{reply}");
    assert_eq!(reply.header("content-type"), "application/problem+json", "{reply}");
    assert_eq!((&reply.body["status"], &reply.body["code"]), (&json!(status), &json!(code)), "{reply}");
    assert_eq!(reply.body["type"], "about:blank", "{reply}");
    assert!(["title", "detail"].iter().all(|name| reply.body[*name].as_str().is_some_and(|text| !text.is_empty())));
    assert!(!reply.header("x-request-id").is_empty(), "{reply}");
    assert_eq!(reply.body["request_id"], reply.header("x-request-id"), "{reply}");
}

/// A reply that came before there was a request is a problem document, too.
fn assert_explained(reply: &str) {
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains("content-type: application/problem+json"), "{reply}");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"].to_string(), head.split(' ').nth(1).unwrap(), "{reply}");
    assert!(head.contains(problem["request_id"].as_str().unwrap()), "{reply}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{reply}");
}

fn json_body(client: &Client, body: impl AsRef<[u8]>) -> RequestBuilder {
    client.request(Method::POST, "/app").header(CONTENT_TYPE, "application/json").body(body.as_ref().to_vec())
}

/// The reply's body as it came.
async fn text(client: &Client, path: &str) -> String {
    client.request(Method::GET, path).send().await.unwrap().text().await.unwrap()
}

/// The head of a request to create an application, with these header lines and the connection to be closed.
fn post_app(host: &TestHost, headers: &str) -> String {
    let token = &host.database.token;
    format!("POST /app HTTP/1.1\r\nHost: elita\r\nConnection: close\r\nAuth-Token: {token}\r\n{headers}\r\n")
}

pub(crate) async fn connect(client: &Client) -> TcpStream {
    TcpStream::connect(client.base().strip_prefix("http://").unwrap()).await.unwrap()
}

/// Sends these bytes on a connection of their own, and returns all that comes back until the server closes it.
async fn exchange(client: &Client, bytes: &[u8]) -> String {
    let (mut reader, mut writer) = connect(client).await.into_split();
    let mut reply = Vec::new();
    let write = async {
        // The server may close the connection before it has read everything.
        let _ = writer.write_all(bytes).await;
        std::future::pending::<()>().await
    };
    let read = async {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = reader.read(&mut buffer).await {
            reply.extend_from_slice(&buffer[..length]);
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
        () = tokio::time::sleep(PATIENCE) => panic!("the server does not close the connection"),
    }
    String::from_utf8(reply).unwrap()
}

/// What a client of HTTP/2 says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The next frame: its kind, its stream and its payload; none at the end of the connection.
pub(crate) async fn read_frame(connection: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    connection.read_exact(&mut head).await.ok()?;
    let [l1, l2, l3, kind, _flags, s1, s2, s3, s4] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, l1, l2, l3]) as usize];
    connection.read_exact(&mut payload).await.ok()?;
    Some((kind, u32::from_be_bytes([s1, s2, s3, s4]), payload))
}
