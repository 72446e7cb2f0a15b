//! Clients that watch a job: by a stream of events, and by waiting for the next entries.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::JoinHandle;

use crate::harness::{Client, Reply, SOON, Setup, TestHost};

/// An event of a stream.
#[derive(Debug)]
struct Event {
    kind: String,
    id: Option<i64>,
    data: Value,
}

/// A stream of a job's events, on a connection of its own.
struct Events {
    lines: Lines<BufReader<OwnedReadHalf>>,
    _keeps_it_open: tokio::net::tcp::OwnedWriteHalf,
}

impl Events {
    async fn of(host: &TestHost, job: &str, last_id: Option<i64>) -> Self {
        Self::with_token(host, &host.database.token, job, last_id).await
    }

    async fn with_token(host: &TestHost, token: &str, job: &str, last_id: Option<i64>) -> Self {
        let address = host.client.base().strip_prefix("http://").unwrap();
        let (read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
        let last_id = last_id.map_or_else(String::new, |id| format!("last-event-id: {id}\r\n"));
        // A job's id, or what comes behind `/job/`.
        let job = if job.contains('/') { job.to_owned() } else { format!("{job}/data") };
        let request = format!(
            "GET /job/{job} HTTP/1.1\r\nhost: elita\r\nauthorization: Bearer {token}\r\n\
             accept: text/event-stream\r\n{last_id}\r\n"
        );
        write.write_all(request.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(read).lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "HTTP/1.1 200 OK");
        while !lines.next_line().await.unwrap().unwrap().is_empty() {}
        Self { lines, _keeps_it_open: write }
    }

    /// The next event; none at the end of the stream. Comments and the lengths of HTTP's chunks are passed over.
    async fn next(&mut self) -> Option<Event> {
        let mut event = Event { kind: "message".into(), id: None, data: Value::Null };
        loop {
            let line = self.lines.next_line().await.unwrap()?;
            match line.split_once(": ") {
                Some(("event", kind)) => event.kind = kind.into(),
                // The last one has no number.
                Some(("id", id)) => event.id = id.parse().ok(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                _ if line.is_empty() && event.data != Value::Null => return Some(event),
                _ if line == "0" => return None,
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_stream_shows_each_entry_and_ends_with_the_final_job() {
    let host = TestHost::with_plugins(&["widgets"]).await;
    host.create_application("my_application").await;
    let id = host.post_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    let mut events = Events::of(&host, &id, None).await;
    let mut seen = Vec::new();
    let end = loop {
        let event = events.next().await.unwrap();
        if event.kind == "end" {
            break event;
        }
        assert_eq!((&*event.kind, event.id), ("message", event.data["seq"].as_i64()), "{event:?}");
        seen.push(event.data);
    };
    let mut job = host.ended_job(&id).await;
    assert_eq!(Value::from(seen), job["job_data"]);
    job.as_object_mut().unwrap().retain(|name, _| name != "job_data" && name != "job_data_next");
    assert_eq!(end.data, job);
    assert!(events.next().await.is_none(), "it is over");
}

#[tokio::test]
async fn a_stream_goes_on_where_another_one_ended_on_any_host() {
    let storage = tempfile::tempdir().unwrap();
    let host = start(Setup::default().sharing(&storage)).await;
    let other = Setup::default().sharing(&storage).flag("--role", "api").start_on(host.database.clone()).await;
    let id = host.post_action("hostile", "Ticks", "").await;
    let mut last = 0;
    for round in 0..6 {
        let at = if round % 2 == 0 { &other } else { &host };
        let mut events = Events::of(at, &id, Some(last)).await;
        for _ in 0..5 {
            let event = events.next().await.unwrap();
            assert_eq!(event.id, Some(last + 1), "{event:?}");
            last += 1;
        }
    }
    host.client.post_empty(&format!("/job/{id}?cancel=true")).await;
    let mut events = Events::of(&other, &id, Some(last)).await;
    loop {
        let event = events.next().await.unwrap();
        if event.kind == "end" {
            assert_eq!(event.data["status"], "cancelled", "{event:?}");
            break;
        }
        assert_eq!(event.id, Some(last + 1), "{event:?}");
        last += 1;
    }
    assert_eq!(host.ended_job(&id).await["job_data"].as_array().unwrap().len() as i64, last);
}

#[tokio::test]
async fn a_stream_that_is_to_go_on_beyond_the_log_is_told_so() {
    let host = start(Setup::default()).await;
    let id = host.run_action("hostile", "Fail", "").await["job_id"].as_str().unwrap().to_owned();
    let request = |last: &str| {
        let request = host.client.request(reqwest::Method::GET, &format!("/job/{id}/data"));
        request.header("Accept", "text/event-stream").header("Last-Event-ID", last)
    };
    let beyond = host.client.send(request("2")).await;
    assert_eq!((beyond.status, &beyond.body["code"]), (422, &json!("invalid")), "{beyond}");
    assert!(beyond.body["detail"].as_str().unwrap().contains("no entry 2; its last one so far is 1"), "{beyond}");
    assert_eq!(request("1").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_browser_that_comes_back_after_the_end_is_told_to_stop() {
    let host = start(Setup::default()).await;
    let id = host.run_action("hostile", "Fail", "").await["job_id"].as_str().unwrap().to_owned();
    let request = |id: &str, last: &str| {
        let request = host.client.request(reqwest::Method::GET, &format!("/job/{id}/data"));
        request.header("Accept", "text/event-stream").header("Last-Event-ID", last.to_owned())
    };
    let stream = request(&id, "0").send().await.unwrap();
    assert_eq!(stream.headers()["x-accel-buffering"], "no");
    let events = stream.text().await.unwrap();
    assert!(events.starts_with("retry: 2000\n\n"), "{events}");
    let end = events.split("\n\n").find(|event| event.contains("event: end")).unwrap();
    assert!(end.lines().any(|line| line == "id: end"), "{end}");

    let again = host.client.send(request(&id, "end")).await;
    assert_eq!((again.status, &again.body), (204, &Value::Null), "{again}");
    let running = host.post_action("hostile", "UntilCancelled", "").await;
    assert_eq!(host.client.send(request(&running, "end")).await.status, 422);
    assert_eq!(host.client.send(request("00000000-0000-7000-8000-000000000000", "end")).await.status, 404);
    host.client.post_empty(&format!("/job/{running}?cancel=true")).await;
}

#[tokio::test]
async fn a_job_can_be_waited_for() {
    let host = start(Setup::default()).await;
    let id = host.post_action("hostile", "UntilCancelled", "").await;
    let began = Instant::now();
    let running = host.client.get(&format!("/job/{id}?wait=1")).await;
    assert_eq!((running.status, &running.body["status"]), (200, &json!("running")), "{running}");
    assert!(began.elapsed() >= Duration::from_secs(1), "it did not wait");

    let preferring = |prefer: &str| {
        let request = host.client.request(reqwest::Method::GET, &format!("/job/{id}?results=true"));
        request.header("Prefer", prefer.to_owned())
    };
    let (client, request) = (host.client.clone(), preferring("respond-async, wait=30"));
    let waiting = tokio::spawn(async move { client.send(request).await });
    host.running_job(&id).await;
    let began = Instant::now();
    host.client.post_empty(&format!("/job/{id}?cancel=true")).await;
    let ended = waiting.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "it waited for {:?}", began.elapsed());
    assert_eq!(
        (ended.header("preference-applied"), &ended.body["status"]),
        ("wait=30", &json!("cancelled")),
        "{ended}"
    );
    assert_eq!(ended.body["job_data"][0]["data"], "waiting", "{ended}");

    // One that has ended is not waited for, and what cannot be read as a preference is ignored.
    let began = Instant::now();
    for wait in ["30s", "1m", "60"] {
        assert_eq!(host.client.get(&format!("/job/{id}?wait={wait}")).await.body["status"], "cancelled");
    }
    assert_eq!(host.client.send(preferring("wait=soon")).await.header("preference-applied"), "");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let long = host.client.get(&format!("/job/{id}?wait=61")).await;
    assert_eq!(long.fault(), (422, "wait"), "{long}");
    let strange = host.client.get(&format!("/job/{id}?wait=soon")).await;
    assert_eq!(strange.fault(), (422, "wait"), "{strange}");
    assert!(strange.body["detail"].as_str().unwrap().contains("such as `90s`"), "{strange}");
}

#[tokio::test]
async fn waiting_for_a_job_ends_with_the_token() {
    let host = start(Setup::default()).await;
    let id = host.post_action("hostile", "UntilCancelled", "").await;
    let token = host.client.post("/global/tokens", &json!({ "name": "short" })).await;
    let client = host.client.with_token(token.body["token"].as_str().unwrap());
    let path = format!("/job/{id}?wait=60");
    let waiting = tokio::spawn(async move { client.get(&path).await });
    host.running_job(&id).await;
    let began = Instant::now();
    host.client.delete(&format!("/global/tokens/{}", token.body["token_id"].as_str().unwrap())).await;
    let reply = waiting.await.unwrap();
    assert_eq!((reply.status, &reply.body["code"]), (401, &json!("invalid-token")), "{reply}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    host.client.post_empty(&format!("/job/{id}?cancel=true")).await;
}

#[tokio::test]
async fn a_stream_begins_near_the_end_if_that_is_asked_for() {
    let host = TestHost::with_plugins(&["widgets"]).await;
    host.create_application("my_application").await;
    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    let mut events = Events::of(&host, &format!("{}/data?tail=1", job["job_id"].as_str().unwrap()), None).await;
    assert_eq!(events.next().await.unwrap().id, Some(3));
    assert_eq!(events.next().await.unwrap().kind, "end");
    let mut events = Events::of(&host, &format!("{}/data?tail=0", job["job_id"].as_str().unwrap()), None).await;
    assert_eq!(events.next().await.unwrap().kind, "end");
}

#[tokio::test]
async fn a_thousand_streams_cost_a_host_little() {
    let host = start(Setup::default()).await;
    let id = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&id).await;
    let mut streams = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let mut events = Events::of(&host, &id, None).await;
        assert_eq!(events.next().await.unwrap().data["data"], "waiting");
        streams.spawn(async move {
            let mut kinds = Vec::new();
            while let Some(event) = events.next().await {
                kinds.push(event.kind);
            }
            kinds
        });
    }
    let began = Instant::now();
    assert_eq!(host.run_action("hostile", "Noop", "").await["status"], "succeeded");
    assert!(began.elapsed() < SOON, "another job took {:?}", began.elapsed());
    host.client.post_empty(&format!("/job/{id}?cancel=true")).await;
    while let Some(kinds) = streams.join_next().await {
        assert_eq!(kinds.unwrap(), ["message", "message", "end"]);
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_slows_no_job() {
    let setup = Setup::default().flag("--plugin-entries", 5000);
    let host = start(setup).await;
    let id = host.post_action("hostile", "EntryFlood", "").await;
    let mut slow = Events::of(&host, &id, None).await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "succeeded", "{}", job["error"]);
    for seq in 1..=5000 {
        assert_eq!(slow.next().await.unwrap().id, Some(seq));
    }
    assert_eq!(slow.next().await.unwrap().kind, "end");
}

#[tokio::test]
async fn waiting_for_entries_ends_with_the_next_one_or_with_the_job_or_with_the_time() {
    let host = start(Setup::default().flag("--plugin-runs", 1)).await;
    let first = host.post_action("hostile", "UntilCancelled", "").await;
    let waiting = host.client.get(&format!("/job/{first}/data?wait=30")).await;
    assert_eq!(waiting.body["items"][0]["data"], "waiting", "{waiting}");
    assert_eq!((&waiting.body["next"], &waiting.body["status"]), (&Value::Null, &json!("running")));

    let began = Instant::now();
    let nothing = host.client.get(&format!("/job/{first}/data?after=1&wait=1")).await;
    assert_eq!(nothing.body, json!({ "items": [], "next": null, "status": "running" }));
    assert!(began.elapsed() >= Duration::from_secs(1));

    let queued = host.post_action("hostile", "Noop", "").await;
    let (client, path) = (host.client.clone(), format!("/job/{queued}/data?wait=60"));
    let end = tokio::spawn(async move { client.get(&path).await });
    host.client.post_empty(&format!("/job/{first}?cancel=true")).await;
    assert_eq!(end.await.unwrap().body, json!({ "items": [], "next": null, "status": "succeeded" }));

    let reply = host.client.get(&format!("/job/{first}/data?wait=61")).await;
    assert_eq!((reply.status, &reply.body["code"]), (422, &json!("invalid")), "{reply}");
}

#[tokio::test]
async fn a_stream_that_cannot_be_is_refused() {
    let host = start(Setup::default()).await;
    let path = "/job/01990000-0000-7000-8000-000000000000/data";
    let request = |path: &str| host.client.request(reqwest::Method::GET, path).header("accept", "text/event-stream");
    assert_eq!(host.client.send(request(path)).await.status, 404);
    let reply = host.client.send(request(path).header("last-event-id", "soon")).await;
    assert_eq!((reply.status, &reply.body["code"]), (400, &json!("malformed")), "{reply}");
    let anonymous = host.client.anonymous();
    let reply = anonymous.request(reqwest::Method::GET, path).header("accept", "text/event-stream");
    assert_eq!(anonymous.send(reply).await.status, 401);
}

#[tokio::test]
async fn streams_end_when_the_server_stops_so_that_clients_go_elsewhere() {
    let host = start(Setup::default().flag("--drain-seconds", 0)).await;
    let id = host.post_action("hostile", "UntilCancelled", "").await;
    let mut events = Events::of(&host, &id, None).await;
    assert_eq!(events.next().await.unwrap().id, Some(1));
    let (client, path) = (host.client.clone(), format!("/job/{id}/data?after=1&wait=60"));
    let waiting = tokio::spawn(async move { client.get(&path).await });
    // The request is under way once its connection is.
    host.client.get("/about").await;
    let began = Instant::now();
    let stopped = host.stop().await;
    assert!(began.elapsed() < SOON, "stopping took {:?}", began.elapsed());
    let waited = waiting.await.unwrap();
    // It may still see how its job ends.
    let is_the_end = |entry: &Value| entry["data"]["status"] == "lost";
    let items = waited.body["items"].as_array();
    assert!(waited.status == 200 && items.is_some_and(|items| items.iter().all(is_the_end)), "{waited}");
    assert!(events.next().await.is_none(), "there is no end that was not");

    let host = stopped.start().await;
    let mut events = Events::of(&host, &id, Some(1)).await;
    assert_eq!(events.next().await.unwrap().data["data"]["status"], "lost");
    assert_eq!(events.next().await.unwrap().kind, "end");
}

#[tokio::test]
async fn who_follows_is_let_go_when_the_token_is_no_longer_valid_on_any_host() {
    let storage = tempfile::tempdir().unwrap();
    let host = start(Setup::default().sharing(&storage)).await;
    let other = Setup::default().sharing(&storage).flag("--role", "api").start_on(host.database.clone()).await;
    let id = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&id).await;
    for end in [End::Revoked, End::Expired, End::Removed, End::LoggedOut] {
        let reader = json!({ "apps": { "hostile": "read" } });
        let new = json!({ "username": "ada", "password": "her own secret", "permissions": reader });
        assert_eq!(host.client.post("/global/users", &new).await.status, 201);
        let mut watching = Vec::new();
        for at in [&host, &other] {
            watching.push(Watching::begin(at, &host, &id).await);
        }
        let began = Instant::now();
        for watching in &watching {
            watching.end(&host, end).await;
        }
        for watching in watching {
            watching.ended(end).await;
        }
        assert!(began.elapsed() < SOON, "{end:?}: it took {:?}", began.elapsed());
        if end != End::Removed {
            assert_eq!(host.client.delete("/global/users/ada").await.status, 204);
        }
    }
    // Others go on.
    let mut events = Events::of(&other, &id, None).await;
    assert_eq!(events.next().await.unwrap().id, Some(1));
}

#[tokio::test]
async fn who_follows_is_let_go_when_the_job_may_no_longer_be_seen() {
    let host = start(Setup::default()).await;
    let id = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&id).await;
    let reader = json!({ "apps": { "hostile": "read" } });
    let new = json!({ "username": "ada", "password": "her own secret", "permissions": reader });
    assert_eq!(host.client.post("/global/users", &new).await.status, 201);
    let Watching { mut events, waiting, token, .. } = Watching::begin(&host, &host, &id).await;
    let change = json!({ "permissions": { "apps": { "hostile": null } } });
    assert_eq!(host.client.patch("/global/users/ada", &change).await.status, 200);
    assert!(events.next().await.is_none(), "it goes on");
    assert_eq!(waiting.await.unwrap().status, 404);
    assert_eq!(host.client.with_token(&token).get("/global/tokens/current").await.status, 200);
}

/// What ends a token.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Revoked,
    Expired,
    Removed,
    LoggedOut,
}

/// A stream and a request that waits, both with a token of their own of the user `ada`.
struct Watching {
    client: Client,
    token: String,
    token_id: String,
    events: Events,
    waiting: JoinHandle<Reply>,
}

impl Watching {
    /// At a host, of a job that has one entry and goes on.
    async fn begin(at: &TestHost, host: &TestHost, job: &str) -> Self {
        let log_in = json!({ "username": "ada", "password": "her own secret" });
        let made = host.client.anonymous().post("/global/tokens", &log_in).await;
        let text = |member: &str| made.body[member].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        let (token, token_id) = (text("token"), text("token_id"));
        let mut events = Events::with_token(at, &token, job, None).await;
        assert_eq!(events.next().await.unwrap().id, Some(1));
        let client = at.client.with_token(&token);
        let (waiter, path) = (client.clone(), format!("/job/{job}/data?after=1&wait=60"));
        let waiting = tokio::spawn(async move { waiter.get(&path).await });
        Self { client, token, token_id, events, waiting }
    }

    async fn end(&self, host: &TestHost, end: End) {
        let Self { client, token_id, .. } = self;
        match end {
            End::Revoked => assert_eq!(host.client.delete(&format!("/global/tokens/{token_id}")).await.status, 204),
            End::LoggedOut => assert_eq!(client.delete("/global/tokens/current").await.status, 204),
            // Those of both hosts are gone with the first.
            End::Removed => drop(host.client.delete("/global/users/ada").await),
            End::Expired => {
                let expire = sqlx::query("update tokens set expires_at = now() where id = $1::uuid").bind(token_id);
                expire.execute(&mut host.database.connect().await).await.unwrap();
            }
        }
    }

    async fn ended(mut self, end: End) {
        assert!(self.events.next().await.is_none(), "{end:?}: the stream goes on");
        let waited = self.waiting.await.unwrap();
        assert_eq!((waited.status, &waited.body["code"]), (401, &json!("invalid-token")), "{end:?}: {waited}");
    }
}

/// A host with actions that wait.
async fn start(setup: Setup) -> TestHost {
    let host = setup.plugins(&["misbehave"]).start().await;
    host.create_application("hostile").await;
    host
}
