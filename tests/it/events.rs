//! What happens, as a stream or as what a request waited for: jobs, documents and plugins that one may read.

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::header::ACCEPT;
use serde_json::{Value, json};

use crate::harness::{Client, SOON, TestHost};

/// A stream of events.
struct Events {
    reply: reqwest::Response,
    read: String,
}

/// An event of a stream.
#[derive(Debug)]
struct Event {
    name: String,
    id: Option<String>,
    data: Value,
}

impl Events {
    async fn of(client: &Client, query: &str, last: Option<&str>) -> Self {
        let mut request = client.request(Method::GET, &format!("/events{query}")).header(ACCEPT, "text/event-stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.headers()["x-accel-buffering"], "no");
        Self { reply, read: String::new() }
    }

    /// The next event, if one comes soon. What only says where to continue is an event without a name.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let line = |name: &str| event.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
                let data = line("data:").map_or(Value::Null, |data| serde_json::from_str(&data).unwrap());
                let event = Event { name: line("event:").unwrap_or_default(), id: line("id:"), data };
                self.read = rest.to_owned();
                return Some(event);
            }
            let piece = tokio::time::timeout(SOON, self.reply.chunk()).await.ok()?.unwrap()?;
            self.read.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }

    /// The next event that is as it should be, and the id that is known then.
    async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> (Event, String) {
        let mut id = None;
        loop {
            let event = self.next().await.expect("an event");
            id = event.id.clone().or(id);
            if wanted(&event) {
                return (event, id.unwrap_or_default());
            }
        }
    }
}

fn ended(id: &str) -> impl Fn(&Event) -> bool {
    move |event| event.name == "job" && event.data["job_id"] == id && event.data["status"] == "succeeded"
}

#[tokio::test]
async fn a_stream_tells_of_jobs_and_documents_as_they_change() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let mut events = Events::of(&host.client, "", None).await;
    let first = events.next().await.unwrap();
    assert!(first.id.is_some() && first.data == Value::Null, "{first:?}");

    let job = host.run_action("hostile", "Noop", "").await;
    let id = job["job_id"].as_str().unwrap();
    let (event, _) = events.until(ended(id)).await;
    let listed = host.client.get(&format!("/job?id={id}")).await;
    assert_eq!(event.data, listed.body["items"][0], "as in lists");

    let made = host.client.post("/app/hostile/builds", &json!({ "build_name": "1" })).await;
    assert_eq!(made.status, 201, "{made}");
    let (event, _) = events.until(|event| event.name == "document").await;
    let at = event.data["at"].clone();
    let told = json!({ "operation": "builds.create", "application": "hostile", "name": "1", "at": at });
    assert_eq!(event.data, told);
}

#[tokio::test]
async fn a_stream_continues_where_its_client_was() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let mut events = Events::of(&host.client, "", None).await;
    let job = host.run_action("hostile", "Noop", "").await;
    let (_, last) = events.until(ended(job["job_id"].as_str().unwrap())).await;
    drop(events);
    let missed = host.run_action("hostile", "Noop", "").await;
    let mut again = Events::of(&host.client, "", Some(&last)).await;
    again.until(ended(missed["job_id"].as_str().unwrap())).await;

    // What is long ago is not told, and the client knows.
    let mut reset = Events::of(&host.client, "", Some("1700000000000000")).await;
    let (event, _) = reset.until(|event| !event.name.is_empty()).await;
    assert_eq!(event.name, "reset");
    let wrong = host.client.request(Method::GET, "/events").header(ACCEPT, "text/event-stream");
    let wrong = host.client.send(wrong.header("Last-Event-ID", "x")).await;
    assert_eq!(wrong.status, 400, "{wrong}");
}

#[tokio::test]
async fn a_stream_tells_only_of_what_its_caller_may_read() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    host.create_application("shop").await;
    let guest = host.guest(&json!({ "apps": { "shop": "read" } })).await;
    let mut events = Events::of(&guest, "", None).await;
    let mut of_hostile = Events::of(&host.client, "?application=hostile", None).await;
    host.run_action("hostile", "Noop", "").await;
    host.client.post("/global/users", &json!({ "username": "ada", "password": "a long password" })).await;
    host.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    let (event, _) = events.until(|event| !event.name.is_empty()).await;
    assert_eq!((&*event.name, &event.data["application"]), ("document", &json!("shop")), "{event:?}");
    let job = host.run_action("hostile", "Echo", "").await;
    let id = job["job_id"].as_str().unwrap().to_owned();
    loop {
        let event = of_hostile.next().await.expect("an event");
        assert!(event.name.is_empty() || event.data["application"] == "hostile", "{event:?}");
        if ended(&id)(&event) {
            break;
        }
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let host = TestHost::start().await;
    let token = host.client.post("/global/tokens", &json!({ "name": "ci" })).await;
    let client = host.client.with_token(token.body["token"].as_str().unwrap());
    let mut events = Events::of(&client, "", None).await;
    events.next().await.unwrap();
    assert_eq!(client.delete("/global/tokens/current").await.status, 204);
    let end = tokio::time::timeout(SOON, async { while events.next().await.is_some() {} }).await;
    assert!(end.is_ok(), "it ends");
}

#[tokio::test]
async fn a_request_waits_for_what_happens() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let first = host.client.get("/events").await;
    assert_eq!(first.body["items"], json!([]), "{first}");
    let next = first.body["next"].as_str().unwrap().to_owned();
    let path = format!("/events?application=hostile&after={next}&wait=30");
    let begun = Instant::now();
    let (told, job) = tokio::join!(host.client.get(&path), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        host.run_action("hostile", "Noop", "").await
    });
    assert!(begun.elapsed() < Duration::from_secs(20), "it answers when something happens");
    let mut told = told.body;
    let mut items = told["items"].as_array().unwrap().clone();
    let is_end = |item: &Value| item["data"]["job_id"] == job["job_id"] && item["data"]["status"] == "succeeded";
    while !items.iter().any(is_end) {
        let next = told["next"].as_str().unwrap();
        told = host.client.get(&format!("/events?application=hostile&after={next}&wait=30")).await.body;
        items.extend(told["items"].as_array().unwrap().clone());
    }
    assert_eq!(items.iter().filter(|item| is_end(item)).count(), 1, "{items:#?}");
    // What was told is not told again, and nothing is made of what came before.
    assert!(items.iter().all(|item| item["event"] == "job"), "{items:#?}");
    let next = told["next"].as_str().unwrap();
    let quiet = host.client.get(&format!("/events?application=hostile&after={next}&wait=2")).await;
    assert_eq!(quiet.body["items"], json!([]), "{quiet}");
    let soon = host.client.get("/events?wait=1").await;
    assert_eq!(soon.status, 200, "{soon}");
    let wrong = host.client.get("/events?after=x").await;
    assert_eq!(wrong.fault(), (422, "after"), "{wrong}");
}
