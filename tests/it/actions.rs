//! Actions over HTTP, from POST to the job's end.

use insta::assert_json_snapshot;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::harness::{Reply, TestHost};

const DELETE_WIDGETS: &str = "/app/my_application/actions/DeleteWidgets";
const ECHO: &str = "/app/hostile/actions/Echo";

#[tokio::test]
async fn the_references_example_runs_from_post_to_finished_job() {
    let host = widgets_host().await;
    let reply = host.client.post_empty(&format!("{DELETE_WIDGETS}?testing=true&count=10")).await;
    assert_eq!(reply.status, 202, "{reply}");
    assert_eq!(reply.body["status"], "queued");
    assert_eq!(reply.body["name"], "DeleteWidgets");
    let id = reply.body["job_id"].as_str().unwrap();
    assert_eq!(reply.header("location"), format!("/job/{id}"));
    assert_eq!(reply.body["location"], reply.header("location"));

    let job = host.ended_job(id).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(job["result"], json!({ "application": "my_application", "deleted": 0, "testing": true }));
    let entries = job["job_data"].as_array().unwrap();
    let data: Vec<_> = entries.iter().map(|entry| entry["data"].clone()).collect();
    assert_eq!(
        data,
        [
            json!({ "status": "starting", "progress": 0 }),
            json!({ "status": "frobnicating the foobar", "progress": 45 }),
            json!({ "status": "finished", "progress": 100 }),
        ]
    );
}

#[tokio::test]
async fn without_all_declared_parameters_nothing_runs() {
    let host = widgets_host().await;
    for (query, missing) in
        [("", &["testing", "count"][..]), ("?count=1", &["testing"]), ("?testing=true&Count=1&others=2", &["count"])]
    {
        let reply = host.client.post_empty(&format!("{DELETE_WIDGETS}{query}")).await;
        assert_eq!((reply.status, &reply.body["code"]), (400, &json!("missing-parameters")), "{query}: {reply}");
        let errors = reply.body["errors"].as_array().unwrap();
        let named: Vec<_> = errors.iter().map(|error| error["parameter"].as_str().unwrap()).collect();
        assert_eq!(named, missing, "{query}: {reply}");
        assert!(missing.iter().all(|name| reply.body["detail"].as_str().unwrap().contains(name)), "{reply}");
    }
    assert_no_jobs(&host).await;
}

#[tokio::test]
async fn a_declared_parameter_is_there_wherever_it_stands_and_whatever_it_says() {
    let host = widgets_host().await;
    let in_both = host.client.post(&format!("{DELETE_WIDGETS}?testing=true"), &json!({ "count": 2 })).await;
    assert_eq!(in_both.status, 202, "{in_both}");
    assert_eq!(
        host.ended_job(job_id(&in_both)).await["result"],
        json!({ "application": "my_application", "deleted": 0, "testing": true })
    );

    // Types describe, they are not enforced: what is empty is there.
    let empty = host.client.post_empty(&format!("{DELETE_WIDGETS}?testing&count=")).await;
    assert_eq!(empty.status, 202, "{empty}");
    assert_eq!(host.ended_job(job_id(&empty)).await["status"], "failed");
}

#[tokio::test]
async fn an_action_gets_all_parameters_in_order_with_their_repeats() {
    let host = hostile_host().await;
    let path = format!("{ECHO}?b=1&a=2&b=3&flag");
    let form = host.client.request(Method::POST, &path).form(&[("c", "4"), ("b", "5"), ("c", "6")]);
    assert_eq!(
        echoed(&host, form).await,
        json!([["b", "1"], ["a", "2"], ["b", "3"], ["flag", ""], ["c", "4"], ["b", "5"], ["c", "6"]])
    );
    let object = with_body(&host, &path, "application/json; charset=utf-8", r#"{"c": "4", "b": "5", "c": "6"}"#);
    assert_eq!(
        echoed(&host, object).await,
        json!([["b", "1"], ["a", "2"], ["b", "3"], ["flag", ""], ["c", "4"], ["b", "5"], ["c", "6"]])
    );
}

#[tokio::test]
async fn a_value_that_is_no_string_is_passed_as_it_was_written() {
    let host = hostile_host().await;
    let body = r#"{"n": 1.50, "big": 123456789012345678901, "list": [1,  {"b": null, "a": "é"}], "t": true, "none": null,
        "text": "1.50", "quoted": "\"\u00e9\n"}"#;
    assert_eq!(
        echoed(&host, with_body(&host, ECHO, "application/json", body)).await,
        json!([
            ["n", "1.50"],
            ["big", "123456789012345678901"],
            ["list", r#"[1,  {"b": null, "a": "é"}]"#],
            ["t", "true"],
            ["none", "null"],
            ["text", "1.50"],
            ["quoted", "\"é\n"],
        ])
    );
}

#[tokio::test]
async fn names_and_values_may_be_any_text() {
    let host = hostile_host().await;
    let encoded = "caf%C3%A9=a+b%2Bc&%F0%9F%98%80=%25%26%3D%0A&=no+name&raw=ü";
    let expected = json!([["café", "a b+c"], ["😀", "%&=\n"], ["", "no name"], ["raw", "ü"]]);
    assert_eq!(echoed(&host, host.client.request(Method::POST, &format!("{ECHO}?{encoded}"))).await, expected);
    let form = with_body(&host, ECHO, "application/x-www-form-urlencoded", encoded);
    assert_eq!(echoed(&host, form).await, expected);
}

#[tokio::test]
async fn what_is_no_text_is_refused_and_nothing_runs() {
    let host = hostile_host().await;
    let form = "application/x-www-form-urlencoded";
    let json = "application/json";
    let bodies: [(_, &[u8]); 9] = [
        (form, b"a=%FF"),
        (form, b"%00=1"),
        (form, b"a=%0"),
        (form, b"a=\xFF"),
        (json, br#"{"a": "\u0000"}"#),
        (json, br#"{"a": {"deep": ["\u0000"]}}"#),
        (json, br#"{"a": "\ud800"}"#),
        (json, b"{\"a\": \"\xFF\"}"),
        (json, b"{\"a\": \"\0\"}"),
    ];
    for (content_type, body) in bodies {
        let reply = host.client.send(with_body(&host, ECHO, content_type, body)).await;
        let body = body.escape_ascii();
        assert_eq!((reply.status, &reply.body["code"]), (400, &json!("malformed")), "{body}: {reply}");
    }
    for query in ["a=%FF", "a=%00", "%00=1", "a=%0", "a=%zz"] {
        let reply = host.client.post_empty(&format!("{ECHO}?{query}")).await;
        assert_eq!((reply.status, &reply.body["code"]), (400, &json!("malformed")), "{query}: {reply}");
    }
    assert_no_jobs(&host).await;
}

#[tokio::test]
async fn the_run_knows_what_it_is_for_and_who_asked() {
    let host = hostile_host().await;
    let job = host.run_action("hostile", "Echo", "a=1").await;
    assert_eq!(
        job["result"],
        json!({
            "application": "hostile",
            "action": "Echo",
            "parameters": [["a", "1"]],
            "job": job["job_id"],
            "attempt": 1,
            "user": "admin",
        })
    );
}

#[tokio::test]
async fn an_action_describes_itself() {
    let host = widgets_host().await;
    let described = host.client.get(DELETE_WIDGETS).await;
    assert_eq!(described.status, 200, "{described}");
    assert_json_snapshot!(described.body, @r#"
    {
      "name": "DeleteWidgets",
      "description": "Deletes widgets",
      "plugin": "widgets",
      "parameters": [
        {
          "name": "testing",
          "type": "boolean (string)",
          "description": "do not delete widgets for real (true or false)"
        },
        {
          "name": "count",
          "type": "integer",
          "description": "number of widgets to delete"
        }
      ],
      "idempotent": false,
      "timeout_seconds": null,
      "schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
          "testing": {
            "title": "boolean (string)",
            "description": "do not delete widgets for real (true or false)",
            "type": "boolean"
          },
          "count": {
            "title": "integer",
            "description": "number of widgets to delete",
            "type": "integer"
          }
        },
        "required": [
          "testing",
          "count"
        ],
        "additionalProperties": true
      },
      "effective_timeout_seconds": 300,
      "last_run": null
    }
    "#);
    let listed = host.client.get("/app/my_application/actions").await;
    let mut without_run = described.body.clone();
    without_run.as_object_mut().unwrap().remove("last_run");
    assert_eq!(listed.body, json!({ "items": [without_run], "next": null }));
    assert_no_jobs(&host).await;

    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    let run = host.client.get(DELETE_WIDGETS).await.body["last_run"].take();
    for member in ["job_id", "status", "username", "created_at", "completed_at"] {
        assert_eq!(run[member], job[member], "{member}: {run}");
    }
    assert_eq!(run["status"], "succeeded", "{run}");
}

#[tokio::test]
async fn actions_are_listed_by_name_page_by_page() {
    let host = hostile_host().await;
    let mut names = Vec::new();
    let mut path = "/app/hostile/actions?limit=7".to_owned();
    loop {
        let page = host.client.get(&path).await;
        let items = page.body["items"].as_array().unwrap();
        names.extend(items.iter().map(|action| action["name"].as_str().unwrap().to_owned()));
        let Some(next) = page.body["next"].as_str() else { break };
        assert_eq!(items.len(), 7, "{page}");
        path = format!("/app/hostile/actions?limit=7&after={next}");
        assert_eq!(page.header("link"), format!("<{path}>; rel=\"next\""));
    }
    assert!(names.is_sorted() && names.iter().any(|name| name == "Echo"), "{names:?}");
    let all = host.client.get("/app/hostile/actions").await;
    assert_eq!(all.body["items"].as_array().unwrap().len(), names.len());
}

#[tokio::test]
async fn an_action_takes_no_other_methods() {
    let host = hostile_host().await;
    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let reply = host.client.send(host.client.request(method.clone(), ECHO)).await;
        assert_eq!((reply.status, &reply.body["code"]), (405, &json!("method-not-allowed")), "{method}: {reply}");
        assert_eq!(reply.header("allow"), "GET, POST, HEAD, OPTIONS");
    }
    assert_no_jobs(&host).await;
}

#[tokio::test]
async fn what_nobody_offers_is_not_found() {
    let host = hostile_host().await;
    host.create_application("shop").await;
    for path in ["/app/nowhere/actions/Echo", "/app/hostile/actions/echo", "/app/shop/actions/Echo"] {
        for reply in [host.client.get(path).await, host.client.post_empty(path).await] {
            assert_eq!((reply.status, &reply.body["code"]), (404, &json!("not-found")), "{path}: {reply}");
        }
    }
    assert_eq!(host.client.get("/app/nowhere/actions").await.status, 404);
    assert_no_jobs(&host).await;
}

#[tokio::test]
async fn an_action_can_be_reached_once_its_application_exists() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    assert_eq!(host.client.post_empty(ECHO).await.status, 404);
    host.create_application("hostile").await;
    assert_eq!(host.client.post_empty(ECHO).await.status, 202);
}

#[tokio::test]
async fn a_202_is_a_committed_row() {
    let host = hostile_host().await;
    let mut database = host.database.connect().await;
    for _ in 0..10 {
        let id: Uuid = host.post_action("hostile", "Noop", "").await.parse().unwrap();
        let found = sqlx::query_scalar("select count(*) from jobs where id = $1").bind(id);
        assert_eq!(found.fetch_one(&mut database).await.ok(), Some(1_i64));
    }
}

#[tokio::test]
async fn the_same_request_with_the_same_key_is_the_same_job() {
    let host = hostile_host().await;
    let path = format!("{ECHO}?a=1");
    let first = host.client.send(with_key(&host, &path, "key-1").json(&json!({ "b": 2 }))).await;
    assert_eq!(first.status, 202, "{first}");
    host.ended_job(job_id(&first)).await;

    let again = host.client.send(with_key(&host, &path, "key-1").json(&json!({ "b": 2 }))).await;
    assert_eq!((again.status, &again.body["status"]), (202, &json!("succeeded")), "{again}");
    assert_eq!((job_id(&again), again.header("location")), (job_id(&first), first.header("location")));
    let other = host.client.send(with_key(&host, &path, "key-2").json(&json!({ "b": 2 }))).await;
    assert_ne!(job_id(&other), job_id(&first));
}

#[tokio::test]
async fn requests_at_the_same_time_with_the_same_key_are_one_job() {
    let host = hostile_host().await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let client = host.client.clone();
            let request = with_key(&host, ECHO, "the-same");
            tokio::spawn(async move { client.send(request).await })
        })
        .collect();
    let mut ids = Vec::new();
    for task in tasks {
        let reply = task.await.unwrap();
        assert_eq!(reply.status, 202, "{reply}");
        ids.push(job_id(&reply).to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(host.client.get("/job").await.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_client_that_hangs_up_before_its_202_asks_again_with_its_key() {
    let host = hostile_host().await;
    let token = &host.database.token;
    let request = format!(
        "POST {ECHO} HTTP/1.1\r\nHost: elita\r\nAuth-Token: {token}\r\nIdempotency-Key: key\r\nContent-Length: 0\r\n\r\n"
    );
    for _ in 0..10 {
        let mut stream = TcpStream::connect(host.client.base().strip_prefix("http://").unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    let reply = host.client.send(with_key(&host, ECHO, "key")).await;
    assert_eq!(reply.status, 202, "{reply}");
    let job = host.ended_job(job_id(&reply)).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job:#}");
    assert_eq!(host.client.get("/job").await.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_stands_for_one_request_only() {
    let host = hostile_host().await;
    let first = host.client.send(with_key(&host, ECHO, "key").json(&json!({ "a": 1 }))).await;
    assert_eq!(first.status, 202, "{first}");
    for other in [
        with_key(&host, ECHO, "key").json(&json!({ "a": 2 })),
        with_key(&host, ECHO, "key"),
        with_key(&host, &format!("{ECHO}?a=1"), "key").json(&json!({ "a": 1 })),
        with_key(&host, "/app/hostile/actions/Noop", "key").json(&json!({ "a": 1 })),
    ] {
        let reply = host.client.send(other).await;
        assert_eq!((reply.status, &reply.body["code"]), (422, &json!("idempotency-key-reused")), "{reply}");
    }
    assert_eq!(host.client.get("/job").await.body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_key_is_one_header_of_visible_ascii() {
    let host = hostile_host().await;
    let longest = "k".repeat(255);
    assert_eq!(host.client.send(with_key(&host, ECHO, &longest)).await.status, 202);
    let too_long = "k".repeat(256);
    for request in [
        with_key(&host, ECHO, ""),
        with_key(&host, ECHO, &too_long),
        with_key(&host, ECHO, "two words"),
        with_key(&host, ECHO, "schlüssel"),
        with_key(&host, ECHO, "one").header("Idempotency-Key", "two"),
    ] {
        let reply = host.client.send(request).await;
        assert_eq!((reply.status, &reply.body["code"]), (400, &json!("malformed")), "{reply}");
    }
    assert_eq!(host.client.get("/job").await.body["items"].as_array().unwrap().len(), 1);
}

async fn widgets_host() -> TestHost {
    let host = TestHost::with_plugins(&["widgets"]).await;
    host.create_application("my_application").await;
    host
}

async fn hostile_host() -> TestHost {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    host
}

fn with_body(host: &TestHost, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> RequestBuilder {
    host.client.request(Method::POST, path).header(CONTENT_TYPE, content_type).body(body.as_ref().to_vec())
}

fn with_key(host: &TestHost, path: &str, key: &str) -> RequestBuilder {
    host.client.request(Method::POST, path).header("Idempotency-Key", key)
}

fn job_id(reply: &Reply) -> &str {
    reply.body["job_id"].as_str().unwrap()
}

/// The parameters that the plugin got with this request.
async fn echoed(host: &TestHost, request: RequestBuilder) -> Value {
    let reply = host.client.send(request).await;
    assert_eq!(reply.status, 202, "{reply}");
    let job = host.ended_job(job_id(&reply)).await;
    job["result"]["parameters"].clone()
}

async fn assert_no_jobs(host: &TestHost) {
    assert_eq!(host.client.get("/job").await.body, json!({ "items": [], "next": null }));
}
