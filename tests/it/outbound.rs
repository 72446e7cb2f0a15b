//! Requests of plugins to servers outside: to those that are granted, and within limits.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Answer, Authority, Cable, Outside, PATIENCE, Setup, TestHost, plugin_file};
use crate::plugins::active;

// Where to

#[tokio::test]
async fn a_plugin_reaches_the_servers_that_are_granted_to_it_and_no_others() {
    let (mut granted, mut other) = (Outside::new(Answer::hello()).await, Outside::new(Answer::hello()).await);
    let (port, other_port) = (granted.port(), other.port());
    let host = start(Setup::default(), &format!(r#""127.0.0.1:{port}""#)).await;
    let outcomes = fetch(
        &host,
        &[
            format!("http://127.0.0.1:{port}/path?query"),
            format!("http://127.0.0.1:{other_port}/"),
            format!("http://localhost:{port}/"),
            "https://example.org/".into(),
            "https://127.0.0.1/".into(),
        ],
    )
    .await;
    assert_eq!(outcomes[0], json!({ "status": 200, "bytes": 5, "text": "hello" }));
    for outcome in &outcomes[1..] {
        assert_eq!(outcome["error"], "denied", "{outcome}");
    }
    insta::assert_snapshot!(outcomes[3]["message"], @r#""example.org is not granted to this plugin; the operator grants `host:port` with `http` under [plugins.<name>]""#);
    assert_eq!(granted.asked(), [format!("GET /path?query HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n")]);
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn without_a_grant_a_plugin_reaches_nobody() {
    let mut server = Outside::new(Answer::hello()).await;
    let host = start(Setup::default(), "").await;
    let job = run(&host, "AtOnce", &format!("url=http://127.0.0.1:{}&count=1", server.port())).await;
    assert_eq!(job["result"], json!(["ErrorCode::HttpRequestDenied"]), "{job:#}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_grant_is_for_the_plugin_that_it_names() {
    let mut server = Outside::new(Answer::hello()).await;
    let grant = format!("http = [\"127.0.0.1:{}\"]", server.port());
    let host = start(Setup::default().granting("another-plugin", &grant), "").await;
    let outcomes = fetch(&host, &[format!("http://127.0.0.1:{}", server.port())]).await;
    assert_eq!(outcomes[0]["error"], "denied", "{outcomes:?}");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_name_leads_to_private_addresses_only_where_the_operator_says_so() {
    let mut server = Outside::new(Answer::hello()).await;
    let urls = [format!("http://localhost:{}", server.port())];
    let host = start(Setup::default(), &format!(r#""localhost:{}""#, server.port())).await;
    let job = run(&host, "AtOnce", &format!("url={}&count=1", urls[0])).await;
    assert_eq!(job["result"], json!(["ErrorCode::DestinationIpProhibited"]), "{job:#}");
    let outcome = &fetch(&host, &urls).await[0];
    insta::assert_snapshot!(without_port(outcome, &server), @r#""denied": "localhost:[port] leads to a private address, which is not granted to this plugin""#);
    assert!(server.asked().is_empty());

    let grant = format!(r#"{{ host = "localhost:{}", addresses = ["127.0.0.0/8"] }}"#, server.port());
    let host = start(Setup::default(), &grant).await;
    assert_eq!(fetch(&host, &urls).await[0]["status"], 200);
    let host = start(Setup::default(), &grant.replace("127.0.0.0/8", "10.0.0.0/8")).await;
    assert_eq!(fetch(&host, &urls).await[0]["error"], "denied");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn no_spelling_of_an_address_is_a_way_around_the_grants() {
    let mut server = Outside::new(Answer::hello()).await;
    let port = server.port();
    let host = start(Setup::default(), &format!(r#""localhost:{port}", "10.0.0.5:{port}", "a.example:{port}""#)).await;
    let spellings = [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "%31%32%37.0.0.1",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "0",
        "[::]",
        "user@127.0.0.1",
        "10.0.0.5@127.0.0.1",
        "169.254.169.254",
        "2852039166",
        "[fd00:ec2::254]",
        "100.64.0.1",
        "224.0.0.1",
    ];
    let urls: Vec<_> = spellings.iter().map(|host| format!("http://{host}:{port}/")).collect();
    for (outcome, url) in fetch(&host, &urls).await.iter().zip(&urls) {
        let refused = outcome["error"] == "denied" || outcome["error"] == "invalid";
        assert!(refused, "{url}: {outcome}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_redirect_is_a_new_request_which_has_to_be_granted() {
    let mut secret = Outside::new(Answer::hello()).await;
    for to in ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"] {
        let mut server = Outside::new(Answer::redirect(&format!("http://{to}:{}/secret", secret.port()))).await;
        let host = start(Setup::default(), &format!(r#""127.0.0.1:{}""#, server.port())).await;
        let job = run(&host, "Follow", &format!("url=http://127.0.0.1:{}", server.port())).await;
        let outcomes = job["result"].as_array().unwrap_or_else(|| panic!("{job:#}"));
        assert_eq!((outcomes.len(), &outcomes[0]["status"], &outcomes[1]["error"]), (2, &json!(302), &json!("denied")));
        assert_eq!(server.asked().len(), 1);
    }
    assert!(secret.asked().is_empty());
}

// Trust

#[tokio::test]
async fn a_server_with_tls_is_trusted_only_by_its_certificate() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    known.write_to(&file);
    let trusted = Outside::with_tls(Answer::hello(), &known, "localhost").await;
    let mut of_another_name = Outside::with_tls(Answer::hello(), &known, "example.org").await;
    let mut of_another_authority = Outside::with_tls(Answer::hello(), &unknown, "localhost").await;
    let of_an_address = Outside::with_tls(Answer::hello(), &known, "127.0.0.1").await;
    let servers = [&trusted, &of_another_name, &of_another_authority, &of_an_address];
    let named = |server: &&Outside| {
        format!(r#"{{ host = "localhost:{0}", addresses = ["127.0.0.1"] }}, "127.0.0.1:{0}""#, server.port())
    };
    let grants: Vec<_> = servers.iter().map(named).collect();
    let setup = Setup::default().flag("--outbound-ca-file", file.display());
    let host = start(setup, &grants.join(", ")).await;
    let urls: Vec<_> = servers[..3].iter().map(|server| format!("https://localhost:{}/", server.port())).collect();
    let outcomes = fetch(&host, &urls).await;
    assert_eq!(outcomes[0]["text"], "hello", "{outcomes:#?}");
    let by_address = format!("https://127.0.0.1:{}", of_an_address.port());
    assert_eq!(fetch(&host, &[by_address]).await[0]["text"], "hello");
    insta::assert_snapshot!(without_port(&outcomes[1], &of_another_name), @r#""unavailable": "localhost:[port] has no certificate that the host trusts""#);
    insta::assert_snapshot!(without_port(&outcomes[2], &of_another_authority), @r#""unavailable": "localhost:[port] has no certificate that the host trusts""#);

    // Without the operator's authority, neither.
    let host = start(Setup::default(), &grants.join(", ")).await;
    let outcomes = fetch(&host, &urls[..1]).await;
    insta::assert_snapshot!(without_port(&outcomes[0], &trusted), @r#""unavailable": "localhost:[port] has no certificate that the host trusts""#);
    assert!(of_another_name.asked().is_empty() && of_another_authority.asked().is_empty());
}

// How much

#[tokio::test]
async fn a_response_without_end_is_cut_at_its_limit() {
    let mut server = Outside::new(Answer::Floods).await;
    let host = start(Setup::default().flag("--plugin-http-response-kib", 100), &granted(&server)).await;
    let job = run(&host, "Bodies", &url_of(&server)).await;
    assert_eq!(job["result"]["end"], "Some(ErrorCode::HttpResponseBodySize(Some(102400)))", "{job:#}");
    assert!(job["result"]["bytes"].as_u64().unwrap() <= 102_400, "{job:#}");
    let outcome = &fetch(&host, &[format!("http://127.0.0.1:{}", server.port())]).await[0];
    assert_eq!(outcome["error"], "limit-exceeded", "{outcome}");
    server.is_left().await;
}

#[tokio::test]
async fn a_run_has_only_so_many_requests_under_way() {
    let server = Outside::new(Answer::Floods).await;
    let host = start(Setup::default().flag("--plugin-http-requests", 2), &granted(&server)).await;
    let job = run(&host, "AtOnce", &format!("{}&count=3", url_of(&server))).await;
    assert_eq!(job["result"], json!(["200", "200", "ErrorCode::ConnectionLimitReached"]), "{job:#}");
}

#[tokio::test]
async fn headers_without_end_are_not_read() {
    let server = Outside::new(Answer::FloodsHeaders).await;
    let host = start(Setup::default(), &granted(&server)).await;
    let job = run(&host, "Bodies", &url_of(&server)).await;
    assert_eq!(job["result"], "ErrorCode::HttpResponseHeaderSectionSize(None)", "{job:#}");
}

#[tokio::test]
async fn a_request_has_a_body_of_limited_size() {
    let server = Outside::new(Answer::Measures).await;
    let host = start(Setup::default().flag("--plugin-http-request-kib", 1000), &granted(&server)).await;
    let job = run(&host, "Fetch", &format!("{}&method=POST&body_kib=1000", url_of(&server))).await;
    assert_eq!(job["result"][0]["text"], "1024000", "{job:#}");
    let job = run(&host, "Fetch", &format!("{}&method=PUT&body_kib=1001", url_of(&server))).await;
    insta::assert_snapshot!(without_port(&job["result"][0], &server), @r#""limit-exceeded": "127.0.0.1:[port] is not sent a request as large as this one""#);
}

#[tokio::test]
async fn headers_of_a_request_are_limited() {
    let host = start(Setup::default(), "").await;
    let job = run(&host, "Headers", "").await;
    insta::assert_json_snapshot!((&job["error"]["code"], &job["error"]["message"]), @r#"
    [
      "http-fields-limit-exceeded",
      "the plugin made HTTP headers of more than 32 KiB"
    ]
    "#);
}

#[tokio::test]
async fn a_request_takes_a_method_a_server_and_a_path_of_limited_length() {
    let host = start(Setup::default(), "").await;
    let job = run(&host, "Lengths", "").await;
    let longest = json!({ "method": 64, "authority": 300, "path": 16 * 1024, "scheme": 64 });
    assert_eq!(job["result"], longest, "{job:#}");
}

#[tokio::test]
async fn what_a_request_takes_counts_as_handles() {
    let server = Outside::new(Answer::hello()).await;
    let setup = Setup::default().flag("--plugin-handles", 50).flag("--plugin-http-requests", 1000);
    let host = start(setup, &granted(&server)).await;
    let job = run(&host, "AtOnce", &format!("{}&count=100", url_of(&server))).await;
    assert_eq!(job["error"]["code"], "handle-limit-exceeded", "{job:#}");
}

#[tokio::test]
async fn nobody_makes_a_tunnel_or_says_for_whom_a_request_is() {
    let mut server = Outside::new(Answer::hello()).await;
    let host = start(Setup::default(), &granted(&server)).await;
    for more in ["method=CONNECT", "header=host", "header=connection", "header=transfer-encoding"] {
        let job = run(&host, "Fetch", &format!("{}&{more}", url_of(&server))).await;
        assert_eq!(job["result"][0]["error"], "invalid", "{more}: {job:#}");
    }
    assert!(server.asked().is_empty());
}

// How long

#[tokio::test]
async fn a_response_that_comes_too_slowly_is_not_waited_for() {
    let mut server = Outside::new(Answer::Drips).await;
    let host = start(Setup::default().flag("--plugin-http-ms", 300), &granted(&server)).await;
    let job = run(&host, "Bodies", &url_of(&server)).await;
    assert_eq!(job["result"]["end"], "Some(ErrorCode::HttpResponseTimeout)", "{job:#}");
    server.is_left().await;
}

#[tokio::test]
async fn a_response_that_does_not_begin_is_not_waited_for() {
    let server = Outside::new(Answer::Waits).await;
    let host = start(Setup::default().flag("--plugin-http-ms", 60_000), &granted(&server)).await;
    let job = run(&host, "Fetch", &format!("{}&timeout_ms=200", url_of(&server))).await;
    insta::assert_snapshot!(without_port(&job["result"][0], &server), @r#""timed-out": "127.0.0.1:[port] did not answer in time""#);
}

#[tokio::test]
async fn a_plugin_that_waits_for_a_response_uses_no_processor_time() {
    let hello = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned();
    let server = Outside::new(Answer::SaysAfter(Duration::from_secs(2), hello)).await;
    let host = start(Setup::default().flag("--plugin-cpu-ms", 1000), &granted(&server)).await;
    let job = run(&host, "Fetch", &url_of(&server)).await;
    assert_eq!(job["result"][0]["text"], "hello", "{job:#}");
}

#[tokio::test]
async fn a_run_that_is_stopped_leaves_the_server_that_it_waits_for() {
    let mut server = Outside::new(Answer::Waits).await;
    let setup = Setup::default().flag("--cancel-grace-seconds", 1).flag("--plugin-timeout-seconds", 3);
    let host = start(setup, &granted(&server)).await;
    let id = host.post_action("outside", "Hold", &url_of(&server)).await;
    server.is_asked().await;
    assert_eq!(host.client.post_empty(&format!("/job/{id}?cancel=true")).await.status, 202);
    server.is_left().await;
    assert_eq!(host.ended_job(&id).await["status"], "cancelled");
    assert_eq!(traced(&host, &id, &server).await, ["http.GET http://127.0.0.1:[port]: interrupted"]);

    let id = host.post_action("outside", "Hold", &url_of(&server)).await;
    server.is_asked().await;
    server.is_left().await;
    assert_eq!(host.ended_job(&id).await["error"]["code"], "time-limit-exceeded");
}

#[tokio::test]
async fn no_request_is_sent_while_the_job_may_have_been_given_away() {
    let mut server = Outside::new(Answer::hello()).await;
    let mut stopped = start(Setup::default(), &granted(&server)).await.stop().await;
    let mut cable = Cable::to(&stopped.database).await;
    stopped.database.url = cable.url().to_owned();
    let host = stopped.start().await;
    let id = host.post_action("outside", "Repeat", &url_of(&server)).await;
    server.is_asked().await;

    cable.cut();
    let cut = Instant::now();
    let still_asked = async |server: &mut Outside| {
        server.asked();
        tokio::time::timeout(Duration::from_secs(1), server.is_asked()).await.is_ok()
    };
    while still_asked(&mut server).await {
        assert!(cut.elapsed() < PATIENCE, "it goes on although others may run the job");
    }
    cable.mend().await;
    server.is_asked().await;
    assert_eq!(host.client.post_empty(&format!("/job/{id}?cancel=true")).await.status, 202);
    assert_eq!(host.ended_job(&id).await["status"], "succeeded", "no request was answered with an error");
}

// What there is to see

#[tokio::test]
async fn a_plugins_document_shows_that_it_sends_requests_and_where_it_may() {
    let grant = r#""api.example.org:443", { host = "ci.example.org:80", addresses = ["10.1.0.0/16"] }"#;
    let host = start(Setup::default().plugins(&["widgets"]), grant).await;
    let document = host.settled_plugin("calls-out").await;
    assert_eq!(document["access"]["requests_http"], true, "{document:#}");
    assert_eq!(document["access"]["granted_http"], json!(["api.example.org:443", "ci.example.org:80 at 10.1.0.0/16"]));
    let widgets = host.settled_plugin("widgets").await;
    assert_eq!(widgets["access"]["requests_http"], false, "{widgets:#}");
    let imports = &document["imports"];
    for interface in ["types", "outgoing-handler"] {
        assert!(imports.to_string().contains(&format!("wasi:http/{interface}@0.2.")), "{imports}");
    }
}

#[tokio::test]
async fn each_request_is_a_line_in_the_trace_without_what_may_be_secret() {
    let server = Outside::new(Answer::hello()).await;
    let host = start(Setup::default(), &granted(&server)).await;
    let query = format!("{}/secret?token=secret&url=http://user:secret@127.0.0.1&url=http://10.0.0.1", url_of(&server));
    let job = run(&host, "Fetch", &query).await;
    let lines = traced(&host, job["job_id"].as_str().unwrap(), &server).await;
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    http.GET http://127.0.0.1:[port]: 200
    http.GET http://127.0.0.1: invalid
    http.GET http://10.0.0.1: denied
    ");
}

#[tokio::test]
async fn a_request_is_traced_when_the_plugin_drops_it_and_not_kept_until_the_runs_end() {
    let dropped = Outside::new(Answer::Waits).await;
    let hello = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned();
    let answering = Outside::new(Answer::SaysAfter(Duration::from_millis(500), hello)).await;
    let host = start(Setup::default(), &format!("{}, {}", granted(&dropped), granted(&answering))).await;
    let query = format!("{}&then=http://127.0.0.1:{}", url_of(&dropped), answering.port());
    let job = run(&host, "Abandon", &query).await;
    assert_eq!(job["result"], "200", "{job:#}");
    let lines = traced(&host, job["job_id"].as_str().unwrap(), &dropped).await;
    let then = format!("http.GET http://127.0.0.1:{}: 200", answering.port());
    assert_eq!(lines, ["http.GET http://127.0.0.1:[port]: interrupted", &then]);
}

#[tokio::test]
async fn a_plugin_for_an_older_wasi_sends_requests_too() {
    // Whoever built it with tools that know 0.2.0 gets the same interfaces.
    let bytes = std::fs::read(plugin_file("calls-out")).unwrap();
    let older = replaced(&bytes, b"wasi:http/types@0.2.12", b"wasi:http/types@0.2.10");
    let older = replaced(&older, b"wasi:http/outgoing-handler@0.2.12", b"wasi:http/outgoing-handler@0.2.10");
    let server = Outside::new(Answer::hello()).await;
    let host = Setup::default().granting("older", &format!("http = [{}]", granted(&server))).start().await;
    crate::plugins::put(&host, "older", older);
    let plugin = host.settled_plugin("older").await;
    assert!(active(&plugin), "{plugin:#}");
    host.create_application("outside").await;
    let job = run(&host, "Fetch", &url_of(&server)).await;
    assert_eq!(job["result"][0]["text"], "hello", "{job:#}");
}

/// Starts a server with the plugin that calls out, to which this list is granted.
async fn start(setup: Setup, granted: &str) -> TestHost {
    let host = setup.plugins(&["calls-out"]).granting("calls-out", &format!("http = [{granted}]")).start().await;
    let plugin = host.settled_plugin("calls-out").await;
    assert!(active(&plugin), "{plugin:#}");
    host.create_application("outside").await;
    host
}

async fn run(host: &TestHost, action: &str, query: &str) -> Value {
    host.run_action("outside", action, query).await
}

/// What became of each URL.
async fn fetch(host: &TestHost, urls: &[String]) -> Vec<Value> {
    let query: Vec<_> = urls.iter().map(|url| format!("url={}", url.replace('%', "%25"))).collect();
    let job = run(host, "Fetch", &query.join("&")).await;
    job["result"].as_array().unwrap_or_else(|| panic!("{job:#}")).clone()
}

fn granted(server: &Outside) -> String {
    format!(r#""127.0.0.1:{}""#, server.port())
}

/// As a query.
fn url_of(server: &Outside) -> String {
    format!("url=http://127.0.0.1:{}", server.port())
}

/// The requests in a job's trace, each with its outcome.
async fn traced(host: &TestHost, job: &str, server: &Outside) -> Vec<String> {
    let shown = host.client.get(&format!("/job/{job}?results=true&trace=true")).await;
    let lines = shown.body["trace"].as_array().unwrap_or_else(|| panic!("{shown}"));
    let text = |line: &Value, member: &str| line[member].as_str().unwrap_or_default().to_owned();
    let requests = lines.iter().filter(|line| text(line, "call").starts_with("http."));
    let told =
        requests.map(|line| format!("{} {}: {}", text(line, "call"), text(line, "target"), text(line, "outcome")));
    told.map(|line| line.replace(&server.port().to_string(), "[port]")).collect()
}

fn without_port(outcome: &Value, server: &Outside) -> String {
    let text = format!("{}: {}", outcome["error"], outcome["message"]);
    text.replace(&server.port().to_string(), "[port]")
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<_> = (0..bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}
