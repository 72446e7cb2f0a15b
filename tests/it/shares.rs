//! One client that takes all there is, and another one that needs some.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::harness::{Client, PASSWORD, PATIENCE, Setup, TestHost, eventually};
use crate::http::{END_HEADERS, END_STREAM, PREFACE, frame};

const GREEDY: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: elita\r\n\r\n";
/// `:method: GET`, `:scheme: http`, `:path: /`, and `:authority` with its value.
const GET_2: &[u8] = b"\x82\x86\x84\x41\x05elita";
/// `:method: POST`, `:scheme: http`, and `:path` and `:authority` with their values.
const LOG_IN_2: &[u8] = b"\x83\x86\x44\x0e/global/tokens\x41\x05elita";
/// `SETTINGS_INITIAL_WINDOW_SIZE` of 0: of no reply may more come than its head.
const NO_WINDOW: &[u8] = b"\0\x04\0\0\0\0";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;

#[tokio::test]
async fn connections_of_one_address_go_for_those_of_another() {
    let host = Setup::default().flag("--http-connections", 4).flag("--http-head-seconds", 60).start().await;
    let mut greedy = Vec::new();
    for _ in 0..4 {
        greedy.push(served(&host.client, GREEDY).await);
    }
    let mut waits = connect(&host.client, GREEDY).await;
    waits.write_all(GET).await.unwrap();
    assert!(timeout(Duration::from_millis(300), waits.read(&mut [0])).await.is_err(), "it was served");
    let _other = served(&host.client, OTHER).await;
    let is_closed = |stream: &&TcpStream| !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    let closed = eventually("one to go for it", async || {
        let closed = greedy.iter().filter(is_closed).count();
        (closed > 0).then_some(closed)
    });
    assert_eq!(closed.await, 1, "one had to go for it");
}

#[tokio::test]
async fn connections_of_a_trusted_proxy_count_each_for_itself() {
    let setup = Setup::default().flag("--http-connections", 2).flag("--http-head-seconds", 60);
    let host = setup.flag("--trusted-proxies", GREEDY).start().await;
    let mut of_proxy = [served(&host.client, GREEDY).await, served(&host.client, GREEDY).await];
    let mut other = connect(&host.client, OTHER).await;
    other.write_all(GET).await.unwrap();
    assert!(timeout(Duration::from_millis(300), other.read(&mut [0])).await.is_err(), "it was served");
    for stream in &mut of_proxy {
        stream.write_all(GET).await.unwrap();
        assert!(timeout(PATIENCE, stream.read(&mut [0])).await.unwrap().unwrap() > 0, "it was closed");
    }
}

#[tokio::test]
async fn requests_of_one_address_go_for_those_of_another() {
    let host = Setup::default().flag("--http-requests", 100).start().await;
    let _attack = streams(&host.client, NO_WINDOW, &[HEADERS, END_STREAM | END_HEADERS], GET_2).await;
    eventually("all places to be taken", async || (host.client.get("/").await.status == 503).then_some(())).await;
    for _ in 0..5 {
        let reply = host.client.from(OTHER.into()).get("/").await;
        assert_eq!(reply.status, 200, "{reply}");
    }
}

#[tokio::test]
async fn logins_that_never_come_to_their_end_go_for_those_of_other_addresses() {
    let host = TestHost::start().await;
    let mut attack = Vec::new();
    for _ in 0..3 {
        attack.push(streams(&host.client, b"", &[HEADERS, END_HEADERS], LOG_IN_2).await);
    }
    let log_in = json!({ "username": "admin", "password": PASSWORD });
    eventually("all places for logins to be taken", async || {
        (host.client.anonymous().post("/global/tokens", &log_in).await.status == 503).then_some(())
    })
    .await;
    for _ in 0..3 {
        let reply = host.client.anonymous().from(OTHER.into()).post("/global/tokens", &log_in).await;
        assert_eq!(reply.status, 201, "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_that_wait_to_be_checked_go_for_those_of_other_addresses() {
    let host = TestHost::start().await;
    let log_in = json!({ "username": "admin", "password": PASSWORD });
    let flood: Vec<_> = (0..120)
        .map(|_| {
            let (client, log_in) = (host.client.anonymous(), log_in.clone());
            tokio::spawn(async move {
                loop {
                    client.post("/global/tokens", &log_in).await;
                }
            })
        })
        .collect();
    eventually("too many to wait", async || {
        (host.client.anonymous().post("/global/tokens", &log_in).await.status == 429).then_some(())
    })
    .await;
    for _ in 0..5 {
        let reply = host.client.anonymous().from(OTHER.into()).post("/global/tokens", &log_in).await;
        assert_eq!(reply.status, 201, "{reply}");
    }
    flood.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn bodies_of_one_address_go_for_those_of_another() {
    let host = Setup::default().flag("--http-body-seconds", 300).start().await;
    let body = 1024 * 1024;
    let head = format!(
        "POST /app HTTP/1.1\r\nHost: elita\r\nAuth-Token: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {body}\r\n\r\n",
        host.database.token
    );
    let new = |name: &str| json!({ "app_name": name, "attributes": { "text": "x".repeat(60_000) } });
    let mut attack = Vec::new();
    // Of bodies that come at the same moment, some are refused that there is room for: so more come, until it is full.
    eventually("all room to be taken", async || {
        for _ in 0..8 {
            let mut stream = connect(&host.client, GREEDY).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            // The last byte never comes. Where there is no room the server does not wait for all the others.
            let _ = timeout(PATIENCE, stream.write_all(&vec![b' '; body - 1])).await.unwrap();
            attack.push(stream);
        }
        let name = format!("greedy-{}", rand_name());
        (host.client.post("/app", &new(&name)).await.status == 503).then_some(())
    })
    .await;
    let reply = host.client.from(OTHER.into()).post("/app", &new("other")).await;
    assert_eq!(reply.status, 201, "{reply}");
}

fn rand_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// A connection from this address of this machine.
async fn connect(client: &Client, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(from), 0)).unwrap();
    socket.connect(client.base().strip_prefix("http://").unwrap().parse().unwrap()).await.unwrap()
}

/// The same, with a request that was answered.
async fn served(client: &Client, from: Ipv4Addr) -> TcpStream {
    let mut stream = connect(client, from).await;
    stream.write_all(GET).await.unwrap();
    let mut reply = Vec::new();
    while !reply.ends_with(b"}\n") {
        let read = timeout(PATIENCE, stream.read_buf(&mut reply)).await.expect("it is not served").unwrap();
        assert!(read > 0, "{}", reply.escape_ascii());
    }
    stream
}

/// A connection of HTTP/2 with these settings and a hundred requests.
async fn streams(client: &Client, settings: &[u8], kind: &[u8; 2], head: &[u8]) -> TcpStream {
    let mut flood = [PREFACE, &frame(SETTINGS, 0, 0, settings)].concat();
    for request in 0..100 {
        flood.extend(frame(kind[0], kind[1], 2 * request + 1, head));
    }
    let mut stream = connect(client, GREEDY).await;
    stream.write_all(&flood).await.unwrap();
    stream
}
