//! Connections and what clients do to them: the slow, the greedy, the silent. Each host here has deadlines of a second
//! or two, and what is asked is always whether they hold and whether others are served.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::harness::{Client, PATIENCE, SOON, Setup, TestHost, eventually};
use crate::http::{END_HEADERS, END_STREAM, PREFACE, assert_problem, connect, frame, read_frame};

/// A request head that is complete.
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: elita\r\n\r\n";
/// `:method: GET`, `:scheme: http`, `:path: /`, and `:authority` with its value.
const GET_2: &[u8] = b"\x82\x86\x84\x41\x05elita";
/// `:method: POST`, `:scheme: http`, and `:path` and `:authority` with their values.
const LOG_IN_2: &[u8] = b"\x83\x86\x44\x0e/global/tokens\x41\x05elita";
/// `SETTINGS_INITIAL_WINDOW_SIZE` of 0: of no reply may more come than its head.
const NO_WINDOW: &[u8] = b"\0\x04\0\0\0\0";
/// Kinds of HTTP/2's frames.
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ENHANCE_YOUR_CALM: u8 = 11;

#[tokio::test]
async fn a_head_that_drips_is_given_up_first_and_later() {
    let host = Setup::default().flag("--http-head-seconds", 1).start().await;
    let mut fresh = connect(&host.client).await;
    drip(&mut fresh, b"GET / HTTP/1.1\r\nX-Filler: ").await;
    let mut used = connect(&host.client).await;
    used.write_all(GET).await.unwrap();
    read_until(&mut used, b"}}\n").await;
    drip(&mut used, b"GET / HTTP/1.1\r\nX-Filler: ").await;
    assert_eq!(host.client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_let_go() {
    let host = Setup::default().flag("--http-head-seconds", 1).start().await;
    for first_words in [&b""[..], b"GE", PREFACE] {
        let mut silent = connect(&host.client).await;
        silent.write_all(first_words).await.unwrap();
        ends(&mut silent).await;
    }
}

#[tokio::test]
async fn a_body_that_drips_is_answered_with_408() {
    let host = Setup::default().flag("--http-body-seconds", 1).start().await;
    let began = Instant::now();
    let (mut reader, mut writer) = connect(&host.client).await.into_split();
    let head = format!(
        "POST /app HTTP/1.1\r\nHost: elita\r\nAuth-Token: {}\r\nContent-Type: application/json\r\n\
         Content-Length: 100\r\n\r\n",
        host.database.token
    );
    writer.write_all(head.as_bytes()).await.unwrap();
    let drip = async {
        while writer.write_all(b" ").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await
    };
    let read = async {
        let mut reply = Vec::new();
        while let Ok(1..) = reader.read_buf(&mut reply).await {}
        String::from_utf8(reply).unwrap()
    };
    let reply = tokio::select! {
        () = drip => unreachable!(),
        reply = read => reply,
    };
    assert!(reply.starts_with("HTTP/1.1 408 ") && reply.contains(r#""code":"timed-out""#), "{reply}");
    assert!(reply.contains("within 1 second"), "{reply}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(host.client.get("/app").await.body["items"], json!([]));
}

#[tokio::test]
async fn more_connections_than_there_may_be_wait_for_a_place() {
    let host = Setup::default().flag("--http-connections", 2).flag("--http-head-seconds", 2).start().await;
    let mut both = [connect(&host.client).await, connect(&host.client).await];
    for stream in &mut both {
        stream.write_all(GET).await.unwrap();
        read_until(stream, b"\"version\"").await;
    }
    let [first, _second] = both;
    let mut third = connect(&host.client).await;
    third.write_all(GET).await.unwrap();
    assert!(timeout(Duration::from_millis(300), third.read(&mut [0])).await.is_err(), "it was served");
    drop(first);
    read_until(&mut third, b"\"version\"").await;
}

#[tokio::test]
async fn an_http_2_client_that_only_pings_is_let_go() {
    let host = Setup::default().flag("--http-head-seconds", 1).flag("--http-idle-seconds", 1).start().await;
    let mut stream = with_get_2(&host.client, &[]).await;
    eventually("a reply", async || (read_frame(&mut stream).await?.0 == HEADERS).then_some(())).await;
    let began = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    let ping = async {
        while writer.write_all(&frame(PING, 0, 0, b"still on")).await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await
    };
    let mut rest = Vec::new();
    tokio::select! {
        () = ping => unreachable!(),
        // A reset is as good as an end.
        read = timeout(PATIENCE, reader.read_to_end(&mut rest)) => drop(read.expect("it stays for ever")),
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_that_takes_no_reply_does_not_keep_its_place() {
    let setup = || Setup::default().flag("--http-idle-seconds", 1).flag("--http-head-seconds", 5);
    let host = setup().flag("--http-connections", 1).start().await;
    // More than all buffers on the way hold.
    let mut of_http_1 = connect(&host.client).await;
    let get = format!("GET /openapi.json HTTP/1.1\r\nHost: elita\r\nAuth-Token: {}\r\n\r\n", host.database.token);
    for _ in 0..200 {
        if timeout(Duration::from_millis(100), of_http_1.write_all(get.as_bytes())).await.is_err() {
            break;
        }
    }
    assert_served(&host.client).await;
    let of_http_2 = with_get_2(&host.client, NO_WINDOW).await;
    assert_served(&host.client).await;
    drop((of_http_1, of_http_2));
}

#[tokio::test]
async fn replies_that_nobody_takes_do_not_keep_their_places_while_others_are_taken() {
    let host = Setup::default().flag("--http-idle-seconds", 1).flag("--http-requests", 4).start().await;
    let mut stream = with_get_2(&host.client, NO_WINDOW).await;
    for request in 1..4 {
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 2 * request + 1, GET_2)).await.unwrap();
    }
    eventually("all places to be taken", async || (host.client.get("/").await.status == 503).then_some(())).await;
    let (mut reader, mut writer) = stream.into_split();
    let ask_on = async {
        for request in 4.. {
            let get = frame(HEADERS, END_STREAM | END_HEADERS, 2 * request + 1, GET_2);
            let take = frame(WINDOW_UPDATE, 0, 2 * request + 1, &1_000_u32.to_be_bytes());
            if writer.write_all(&[get, take].concat()).await.is_err() {
                break;
            }
            sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await
    };
    let mut replies = Vec::new();
    tokio::select! {
        () = ask_on => unreachable!(),
        // A reset is as good as an end.
        read = timeout(Duration::from_secs(20), reader.read_to_end(&mut replies)) => drop(read.expect("it goes on")),
    }
    // Its own connections have been idle for too long as well.
    let other = host.client.from(Ipv4Addr::LOCALHOST.into());
    eventually("others to be served again", async || (other.get("/").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn an_event_stream_without_news_stays_while_other_replies_are_taken() {
    let host = Setup::default().plugins(&["misbehave"]).flag("--http-idle-seconds", 1).start().await;
    host.create_application("hostile").await;
    let id = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&id).await;
    // `:path` and `accept` with their values, and `auth-token`, which HPACK does not know.
    let mut head = b"\x82\x86\x41\x05elita".to_vec();
    for (name, value) in [
        (&b"\x04"[..], format!("/job/{id}/data").as_bytes()),
        (b"\x0f\x04", b"text/event-stream"),
        (b"\0\x0aauth-token", host.database.token.as_bytes()),
    ] {
        assert!(value.len() < 127, "its length takes more than a byte");
        head.extend([name, &[u8::try_from(value.len()).unwrap()], value].concat());
    }
    let mut stream = connect(&host.client).await;
    let events = frame(HEADERS, END_STREAM | END_HEADERS, 1, &head);
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, b""), &events].concat()).await.unwrap();
    let began = Instant::now();
    for request in 1.. {
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 2 * request + 1, GET_2)).await.unwrap();
        if began.elapsed() > Duration::from_secs(4) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    host.client.post_empty(&format!("/job/{id}?cancel=true")).await;
    eventually("the last event", async || {
        let (_, of, payload) = read_frame(&mut stream).await.expect("the connection goes on");
        (of == 1 && payload.starts_with(b"event: end\n")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn more_requests_than_there_may_be_are_refused_until_some_are_answered() {
    let host = Setup::default().plugins(&["misbehave"]).flag("--http-requests", 2).start().await;
    host.create_application("hostile").await;
    let id = host.post_action("hostile", "UntilCancelled", "").await;
    eventually("the entry after which one of them waits", async || {
        (host.client.get(&format!("/job/{id}")).await.body["last_seq"] == 1).then_some(())
    })
    .await;
    let mut waiting = Vec::new();
    for request in [
        host.client.request(Method::GET, &format!("/job/{id}/data?after=1&wait=60")),
        host.client.request(Method::GET, &format!("/job/{id}/data")).header("Accept", "text/event-stream"),
    ] {
        let client = host.client.clone();
        // Until it has a place itself.
        waiting
            .push(tokio::spawn(async move { while client.send(request.try_clone().unwrap()).await.status == 503 {} }));
    }
    let refused = eventually("both to be under way", async || {
        let reply = host.client.get("/app").await;
        (reply.status != 200).then_some(reply)
    })
    .await;
    assert_problem(&refused, 503, "busy");
    assert!(refused.header("retry-after").parse::<u32>().is_ok(), "{refused}");

    for task in &waiting {
        task.abort();
    }
    eventually("others to be served again", async || (host.client.get("/app").await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn logins_that_never_come_to_their_end_leave_places_for_others() {
    let host = Setup::default().flag("--http-requests", 300).start().await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut flood = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
        for request in 0..100 {
            flood.extend(frame(HEADERS, END_HEADERS, 2 * request + 1, LOG_IN_2));
        }
        let mut stream = connect(&host.client).await;
        stream.write_all(&flood).await.unwrap();
        streams.push(stream);
    }
    let refused = eventually("all places for logins to be taken", async || {
        let reply = host.client.anonymous().post("/global/tokens", &json!({})).await;
        (reply.status == 503).then_some(reply)
    })
    .await;
    assert_problem(&refused, 503, "busy");
    assert_eq!(host.client.get("/app").await.status, 200);

    drop(streams);
    eventually("others to log in again", async || {
        (host.client.anonymous().post("/global/tokens", &json!({})).await.status == 400).then_some(())
    })
    .await;
}

#[tokio::test]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let host = TestHost::start().await;
    let mut flood = [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat();
    for request in 0..5_000 {
        let stream = 2 * request + 1;
        flood.extend(frame(HEADERS, END_STREAM | END_HEADERS, stream, GET_2));
        flood.extend(frame(RESET, 0, stream, b"\0\0\0\x08"));
    }
    assert_eq!(calmed(&host.client, &flood).await, ENHANCE_YOUR_CALM);
    assert_eq!(host.client.get("/").await.status, 200);
}

#[tokio::test]
async fn a_head_without_end_ends_the_connection() {
    let host = TestHost::start().await;
    let mut flood = [PREFACE, &frame(SETTINGS, 0, 0, b""), &frame(HEADERS, END_STREAM, 1, GET_2)].concat();
    let empty = flood.clone();
    // A header field of 15 KiB in each frame, whose name and value are not to be remembered; or none at all.
    let field = [&b"\0\x01x\x7f\x81\x77"[..], &[b'x'; 15 * 1024]].concat();
    for _ in 0..500 {
        flood.extend(frame(CONTINUATION, 0, 1, &field));
    }
    assert_eq!(calmed(&host.client, &flood).await, ENHANCE_YOUR_CALM);
    let endless = [empty, frame(CONTINUATION, 0, 1, b"").repeat(50_000)].concat();
    assert_eq!(calmed(&host.client, &endless).await, ENHANCE_YOUR_CALM);
    assert_eq!(host.client.get("/").await.status, 200);
}

#[tokio::test]
async fn the_client_behind_a_proxy_is_known_only_if_the_proxy_is_trusted() {
    let told = json!({ "username": "nobody", "password": "guess" });
    for (networks, is_believed) in [("10.0.0.0/8", false), ("127.0.0.1", true), ("192.0.2.1,127.0.0.0/8", true)] {
        let host = Setup::default().flag("--trusted-proxies", networks).start().await;
        let log_in = async |from: &str| {
            let request = host.client.anonymous().request(Method::POST, "/global/tokens").json(&told);
            host.client.send(request.header("X-Forwarded-For", from)).await.status
        };
        for _ in 0..5 {
            assert_eq!(log_in("6.6.6.6, 192.0.2.77").await, 401);
        }
        assert_eq!(log_in("192.0.2.77").await, 429);
        assert_eq!(log_in("192.0.2.78").await, if is_believed { 401 } else { 429 }, "{networks}");
    }
}

/// Sends a byte from time to time until the server has had enough.
async fn drip(stream: &mut TcpStream, beginning: &[u8]) {
    let began = Instant::now();
    stream.write_all(beginning).await.unwrap();
    loop {
        assert!(began.elapsed() < SOON, "it goes on and on");
        let mut reply = [0; 1024];
        match timeout(Duration::from_millis(100), stream.read(&mut reply)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(length)) => panic!("{}", reply[..length].escape_ascii()),
            Err(_) => drop(stream.write_all(b"x").await),
        }
    }
}

/// Waits for the server to end it.
async fn ends(stream: &mut TcpStream) {
    let end = timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await;
    end.expect("it is not let go").ok();
}

async fn read_until(stream: &mut TcpStream, text: &[u8]) {
    let mut reply = Vec::new();
    while !reply.windows(text.len()).any(|window| window == text) {
        let length = timeout(PATIENCE, stream.read_buf(&mut reply)).await.expect("there is no reply").unwrap();
        assert!(length > 0, "{}", reply.escape_ascii());
    }
}

/// A connection of HTTP/2 with these settings and a request for `/`.
async fn with_get_2(client: &Client, settings: &[u8]) -> TcpStream {
    let mut stream = connect(client).await;
    let request = frame(HEADERS, END_STREAM | END_HEADERS, 1, GET_2);
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings), &request].concat()).await.unwrap();
    stream
}

/// Whether somebody else is served before long.
async fn assert_served(client: &Client) {
    let mut stream = connect(client).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: elita\r\nConnection: close\r\n\r\n").await.unwrap();
    timeout(Duration::from_secs(20), read_until(&mut stream, b"\"version\"")).await.expect("nobody else is served");
}

/// Sends all that the server takes, and returns the reason for which it ends the connection.
async fn calmed(client: &Client, flood: &[u8]) -> u8 {
    let (mut reader, mut writer) = connect(client).await.into_split();
    let read = async {
        let mut received = Vec::new();
        while let Ok(1..) = reader.read_buf(&mut received).await {}
        received
    };
    let write = async {
        let _ = writer.write_all(flood).await;
        std::future::pending::<()>().await
    };
    let received = tokio::select! {
        received = timeout(PATIENCE, read) => received.expect("the connection goes on"),
        () = write => unreachable!(),
    };
    let mut rest = &received[..];
    while let [l1, l2, l3, kind, _, _, _, _, _, payload @ ..] = rest {
        let length = u32::from_be_bytes([0, *l1, *l2, *l3]) as usize;
        if *kind == GO_AWAY && payload[7] != 0 {
            return payload[7];
        }
        rest = payload.get(length..).unwrap_or_default();
    }
    panic!("it says nothing of why: {}", received.escape_ascii())
}
