//! What one client may cost the others: each of these takes a small request, and took minutes, or gigabytes.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::harness::{Client, Database, PASSWORD, PATIENCE, Program, Reply, Setup, TestHost, eventually};

/// How long an answer may take at most, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn patterns_that_cannot_be_compared_are_refused_and_keep_nobody_waiting() {
    let host = TestHost::start().await;
    let long = (3..23).map(|length| format!("*a{}", "?".repeat(length)));
    let stars = (0..230).map(|number| format!("{}{number}*", "*".repeat(120)));
    // All that `web*` does is there, which only a look at every name tells.
    let servers: Vec<String> = long.chain(stars).chain(["w*".into()]).collect();

    // As the scope of a token, by a user who may do next to nothing.
    make_user(&host, "ada", &json!({ "servers": ["web*"] })).await;
    let scope = json!({ "username": "ada", "password": PASSWORD, "scope": { "servers": servers } });
    let token = host.client.anonymous().post("/global/tokens", &scope).await;
    assert_eq!(token.status, 201, "{token}");
    let narrow = host.client.with_token(token.body["token"].as_str().unwrap());
    let change = json!({ "password": "another password" });
    let refused = beside_others(&host, async || narrow.patch("/global/users/ada", &change).await).await;
    assert_eq!(refused.status, 403, "{refused}");

    // As the permissions of somebody who manages users.
    let permissions = json!({ "apps": { "_global": "read/write" }, "servers": servers });
    make_user(&host, "bob", &permissions).await;
    let bob = log_in(&host, "bob").await;
    let carol = json!({ "username": "carol", "password": PASSWORD, "permissions": { "servers": ["web*"] } });
    let refused = beside_others(&host, async || bob.post("/global/users", &carol).await).await;
    assert_eq!(refused.fault(), (422, "/permissions"), "{refused}");
    // Nobody is in the way of the administrator.
    assert_eq!(host.client.delete("/global/users/bob").await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_patch_that_copies_a_document_into_itself_is_stopped_before_it_grows() {
    let host = TestHost::start().await;
    make_user(&host, "ada", &json!({})).await;
    let ada = log_in(&host, "ada").await;
    let text = "x".repeat(1000);
    let began = Instant::now();
    for (what, first, from, to) in [
        ("longer", json!({ "a": [text] }), "/attributes/a", "/attributes/a/-"),
        ("deeper", json!({ "a": { "b": 1 } }), "/attributes/a", "/attributes/a/b"),
    ] {
        let mut operations = vec![json!({ "op": "add", "path": "/attributes", "value": first })];
        operations.extend((0..255).map(|_| json!({ "op": "copy", "from": from, "path": to })));
        // The place at the bottom is another one each time.
        if what == "deeper" {
            operations = vec![operations.remove(0)];
            let mut place = String::from("/attributes/a/b");
            for _ in 0..16 {
                operations.push(json!({ "op": "copy", "from": "/attributes/a", "path": place }));
                place = format!("{place}{}", &place["/attributes/a".len()..]);
            }
        }
        let refused = beside_others(&host, async || ada.patch_by("/global/users/ada", &json!(operations)).await).await;
        assert_eq!(refused.status, 422, "{what}: {refused}");
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // What stays small is copied.
    let copied = json!([
        { "op": "add", "path": "/attributes/a", "value": [1] },
        { "op": "copy", "from": "/attributes/a", "path": "/attributes/b" },
    ]);
    let changed = ada.patch_by("/global/users/ada", &copied).await;
    assert_eq!((changed.status, &changed.body["attributes"]), (200, &json!({ "a": [1], "b": [1] })), "{changed}");
}

#[tokio::test]
async fn a_patch_that_copies_and_removes_again_and_again_is_stopped_although_nothing_grows() {
    let host = TestHost::start().await;
    make_user(&host, "ada", &json!({})).await;
    let ada = log_in(&host, "ada").await;
    let mut operations = vec![json!({ "op": "add", "path": "/attributes/a", "value": "x".repeat(30_000) })];
    while operations.len() < 255 {
        operations.push(json!({ "op": "copy", "from": "/attributes/a", "path": "/attributes/b" }));
        operations.push(json!({ "op": "remove", "path": "/attributes/b" }));
    }
    let refused = ada.patch_by("/global/users/ada", &json!(operations)).await;
    // Twice fits into the 64 KiB that a patch may copy.
    assert_eq!(refused.fault(), (422, "/5"), "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("copies is longer than"), "{refused}");
    // Nor by way of what it puts in itself.
    let add = json!({ "op": "add", "path": "/attributes/a", "value": "x".repeat(3_900) });
    let refused = ada.patch_by("/global/users/ada", &json!(vec![add; 256])).await;
    assert_eq!(refused.fault(), (422, "/67"), "{refused}");
}

#[tokio::test]
async fn attributes_are_not_rewritten_without_end() {
    let host = TestHost::start().await;
    for name in ["ada", "bob"] {
        make_user(&host, name, &json!({})).await;
    }
    let (ada, bob) = (log_in(&host, "ada").await, log_in(&host, "bob").await);
    let mut written = 0;
    let refused = loop {
        let attributes = json!({ "text": "x".repeat(60_000), "number": written });
        let reply = ada.patch("/global/users/ada", &json!({ "attributes": attributes })).await;
        if reply.status != 200 {
            break reply;
        }
        written += 120_000;
        assert!(written < 100_000_000, "{written} bytes of changes are on record");
    };
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!("too-many-requests")), "{refused}");
    assert!(refused.header("retry-after").parse::<u32>().is_ok(), "{refused}");
    let other = bob.patch("/global/users/bob", &json!({ "attributes": { "a": 1 } })).await;
    assert_eq!(other.status, 200, "{other}");
    eventually("changes to be taken again", async || {
        let reply = ada.patch("/global/users/ada", &json!({ "attributes": {} })).await;
        (reply.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_plugin_does_not_rewrite_attributes_without_end() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let job = host.run_action("hostile", "ChangeFlood", "").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let told = job["result"]["told"].as_str().unwrap_or_else(|| panic!("it may go on and on: {job:#}"));
    assert!(told.contains("plugin `misbehave` has changed or asked for too much"), "{told}");
    // Others may still change the application.
    let other = host.client.patch("/app/hostile", &json!({ "attributes": { "a": 1 } })).await;
    assert_eq!(other.status, 200, "{other}");
}

#[tokio::test]
async fn jobs_do_not_fill_the_disk_with_what_they_are_asked() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    for name in ["ada", "bob"] {
        make_user(&host, name, &json!({ "actions": { "hostile": { "*": "execute" } } })).await;
    }
    let (ada, bob) = (log_in(&host, "ada").await, log_in(&host, "bob").await);
    let text = "x".repeat(1_000_000);
    let mut taken = 0;
    let refused = loop {
        let reply = ada.post("/app/hostile/actions/Noop", &json!({ "text": text })).await;
        if reply.status != 202 {
            break reply;
        }
        taken += 1;
        assert!(taken < 100, "{taken} MB are kept with jobs");
    };
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!("too-many-requests")), "{refused}");
    assert!(refused.header("retry-after").parse::<u32>().is_ok(), "{refused}");
    assert_eq!(bob.post("/app/hostile/actions/Noop", &json!({ "text": "x" })).await.status, 202);
    eventually("jobs to be taken again", async || {
        let reply = ada.post("/app/hostile/actions/Noop", &json!({ "text": "x" })).await;
        (reply.status == 202).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_indented_page_takes_no_more_memory_than_the_page() {
    let (database, data_dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &database.url];
    let mut elita = Program::serve(&flags);
    let (_, client) = elita.ready(&database.token).await;
    make_large_page(&client).await;
    let plain = client.get("/app?limit=1000").await;
    assert_eq!(plain.body["items"].as_array().unwrap().len(), 64, "{}", plain.status);

    let before = elita.peak_memory_kib();
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(reader(&client, &database.token, "/app?limit=1000&pretty=true").await);
    }
    let grown = elita.peak_memory_kib() - before;
    assert!(grown < 100 * 1024, "three pages of 4 MB took {grown} KiB");
    drop(readers);
    let pretty = client.get("/app?limit=1000&pretty=true").await;
    assert!(pretty.body == plain.body, "it is another document");
}

#[tokio::test]
async fn replies_that_are_not_taken_go_for_those_of_other_addresses() {
    let host = Setup::default().flag("--http-reply-mib", 8).start().await;
    make_large_page(&host.client).await;
    let path = "/app?limit=1000";
    let mut slow = Vec::new();
    for _ in 0..2 {
        slow.push(reader(&host.client, &host.database.token, path).await);
    }
    let refused = host.client.get(path).await;
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("busy")), "{}", refused.status);
    assert_eq!(host.client.get("/app?limit=1").await.status, 200, "a short one is nothing");
    let other = host.client.from([127, 0, 0, 2].into()).get(path).await;
    assert_eq!(other.status, 200);
    assert_eq!(other.body["items"].as_array().unwrap().len(), 64);
    // One of the two had to go for it.
    let mut whole = 0;
    for stream in &mut slow {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it goes on for ever");
        whole += usize::from(read.is_ok() && rest.ends_with(b"\"next\":null}\n"));
    }
    assert_eq!(whole, 1);
}

/// Asks, while somebody else has to be answered all the time.
async fn beside_others(host: &TestHost, ask: impl AsyncFnOnce() -> Reply) -> Reply {
    let client = host.client.clone();
    let others = async {
        loop {
            let live = timeout(SOON, client.get("/health/live")).await.expect("nobody else is answered");
            assert_eq!(live.status, 200, "{live}");
        }
    };
    tokio::select! {
        reply = timeout(SOON, ask()) => reply.expect("it goes on and on"),
        () = others => unreachable!(),
    }
}

async fn make_user(host: &TestHost, name: &str, permissions: &Value) {
    let new = json!({ "username": name, "password": PASSWORD, "permissions": permissions });
    let reply = host.client.post("/global/users", &new).await;
    assert_eq!(reply.status, 201, "{reply}");
}

async fn log_in(host: &TestHost, name: &str) -> Client {
    let reply =
        host.client.anonymous().post("/global/tokens", &json!({ "username": name, "password": PASSWORD })).await;
    host.client.with_token(reply.body["token"].as_str().unwrap_or_else(|| panic!("{reply}")))
}

/// Applications that fill a page of 4 MB, each of which becomes 30 times as long when it is indented.
async fn make_large_page(client: &Client) {
    let zeros = (0..60).fold(json!(vec![0; 31_000]), |inner, _| json!([inner]));
    for number in 0..64 {
        let new = json!({ "app_name": format!("app-{number:02}"), "attributes": { "zeros": zeros } });
        let reply = client.post("/app", &new).await;
        assert_eq!(reply.status, 201, "{}", reply.status);
    }
}

/// A client that has the beginning of a reply, and takes no more for now.
async fn reader(client: &Client, token: &str, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = client.base().strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let head =
        format!("{} {path} HTTP/1.1\r\nHost: elita\r\nAuth-Token: {token}\r\nConnection: close\r\n\r\n", Method::GET);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 15];
    timeout(PATIENCE, stream.read_exact(&mut status)).await.expect("there is no reply").unwrap();
    assert_eq!(&status, b"HTTP/1.1 200 OK", "{}", status.escape_ascii());
    stream
}
