//! Jobs over HTTP: their documents, their logs, their list.

use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Client, Reply, Setup, TestHost};

#[tokio::test]
async fn a_succeeded_job_says_what_was_asked_and_what_came_of_it() {
    let host = hostile_host().await;
    let job = host.run_action("hostile", "Echo", "a=1&b=2").await;
    assert_json_snapshot!(job, {
        ".job_id" => "[id]",
        ".result.job" => "[id]",
        ".plugin.digest" => "[digest]",
        ".created_at" => "[time]",
        ".updated_at" => "[time]",
        ".started_at" => "[time]",
        ".completed_at" => "[time]",
        ".duration_in_seconds" => "[seconds]",
    }, @r#"
    {
      "job_id": "[id]",
      "name": "Echo",
      "job_type": "action",
      "status": "succeeded",
      "application": "hostile",
      "username": "admin",
      "data": {
        "parameters": [
          [
            "a",
            "1"
          ],
          [
            "b",
            "2"
          ]
        ]
      },
      "attempt": 1,
      "plugin": {
        "name": "misbehave",
        "digest": "[digest]"
      },
      "result": {
        "action": "Echo",
        "application": "hostile",
        "attempt": 1,
        "job": "[id]",
        "parameters": [
          [
            "a",
            "1"
          ],
          [
            "b",
            "2"
          ]
        ],
        "user": "admin"
      },
      "error": null,
      "created_at": "[time]",
      "updated_at": "[time]",
      "started_at": "[time]",
      "completed_at": "[time]",
      "cancel_requested_at": null,
      "duration_in_seconds": "[seconds]",
      "job_data": [],
      "job_data_next": null
    }
    "#);
    let times = ["created_at", "started_at", "completed_at"].map(|name| job[name].as_str().unwrap());
    assert!(times.is_sorted() && times.iter().all(|time| time.ends_with('Z')), "{times:?}");
    assert!(job["duration_in_seconds"].as_f64().is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{job:#}");
    let plugin = host.settled_plugin("misbehave").await;
    assert_eq!(job["plugin"]["digest"], plugin["digest"]);
}

#[tokio::test]
async fn a_failed_job_says_why_and_its_log_ends_with_it() {
    let host = hostile_host().await;
    let job = host.run_action("hostile", "Fail", "").await;
    assert_eq!((&job["status"], &job["result"]), (&json!("failed"), &Value::Null), "{job:#}");
    assert_json_snapshot!(job["error"], @r#"
    {
      "code": "action-failed",
      "message": "the widget press is jammed",
      "details": {
        "press": 42,
        "widgets": [
          "left",
          "right"
        ]
      }
    }
    "#);
    assert_json_snapshot!(job["job_data"], { "[].at" => "[time]" }, @r#"
    [
      {
        "seq": 1,
        "at": "[time]",
        "source": "host",
        "data": {
          "status": "failed",
          "error": {
            "code": "action-failed",
            "message": "the widget press is jammed",
            "details": {
              "press": 42,
              "widgets": [
                "left",
                "right"
              ]
            }
          }
        }
      }
    ]
    "#);
}

#[tokio::test]
async fn a_running_job_has_begun_and_not_ended() {
    let host = hostile_host().await;
    let id = host.post_action("hostile", "Sleep", "").await;
    let job = host.running_job(&id).await.body;
    assert_eq!(job["status"], "running");
    assert!(job["started_at"].is_string() && job["duration_in_seconds"].is_number(), "{job:#}");
    for unknown in ["completed_at", "result", "error"] {
        assert_eq!(job[unknown], Value::Null, "{unknown}: {job:#}");
    }
}

#[tokio::test]
async fn the_log_comes_with_the_job_only_if_it_is_asked_for() {
    let host = TestHost::with_plugins(&["widgets"]).await;
    host.create_application("my_application").await;
    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=3").await;
    assert_json_snapshot!(job["job_data"], { "[].at" => "[time]" }, @r#"
    [
      {
        "seq": 1,
        "at": "[time]",
        "source": "widgets",
        "data": {
          "status": "starting",
          "progress": 0
        }
      },
      {
        "seq": 2,
        "at": "[time]",
        "source": "widgets",
        "data": {
          "status": "frobnicating the foobar",
          "progress": 45
        }
      },
      {
        "seq": 3,
        "at": "[time]",
        "source": "widgets",
        "data": {
          "status": "finished",
          "progress": 100
        }
      }
    ]
    "#);
    let id = job["job_id"].as_str().unwrap();
    let mut without = job.clone();
    without.as_object_mut().unwrap().retain(|name, _| name != "job_data" && name != "job_data_next");
    assert_eq!(host.client.get(&format!("/job/{id}")).await.body, without);
    assert_eq!(host.client.get(&format!("/job/{id}?results=false")).await.body, without);
    let log = host.client.get(&format!("/job/{id}/data")).await;
    assert_eq!(log.body, json!({ "items": job["job_data"], "next": null, "status": "succeeded" }));
    let rest = host.client.get(&format!("/job/{id}/data?after=2")).await;
    assert_eq!(rest.body, json!({ "items": [job["job_data"][2]], "next": null, "status": "succeeded" }));
    let nothing = host.client.get(&format!("/job/{id}/data?after=3")).await;
    assert_eq!(nothing.body, json!({ "items": [], "next": null, "status": "succeeded" }));
}

#[tokio::test]
async fn a_long_log_is_read_page_by_page_without_a_gap() {
    let setup = Setup::default().plugins(&["misbehave"]).flag("--plugin-entries", 2500);
    let host = setup.start().await;
    host.create_application("hostile").await;
    let job = host.run_action("hostile", "EntryFlood", "").await;
    assert_eq!(job["status"], "succeeded", "{}", job["error"]);
    assert_eq!((job["job_data"].as_array().unwrap().len(), &job["job_data_next"]), (1000, &json!(1000)));

    let mut entries = Vec::new();
    let mut path = format!("/job/{}/data?limit=1000", job["job_id"].as_str().unwrap());
    loop {
        let page = host.client.get(&path).await;
        assert_eq!(page.status, 200, "{page}");
        entries.extend(page.body["items"].as_array().unwrap().iter().cloned());
        if page.body["next"].is_null() {
            assert_eq!(page.header("link"), "");
            break;
        }
        assert_eq!(page.body["next"], entries.last().unwrap()["seq"]);
        path = page.header("link").strip_prefix('<').unwrap().split('>').next().unwrap().to_owned();
    }
    let numbers: Vec<_> = entries.iter().map(|entry| entry["seq"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=2501).collect::<Vec<_>>());
    let sources: Vec<_> = entries.iter().map(|entry| entry["source"].as_str().unwrap()).collect();
    assert!(sources[..2500].iter().all(|source| *source == "misbehave"));
    assert_eq!(sources[2500], "host");
    assert_eq!(entries[..1000], job["job_data"].as_array().unwrap()[..]);
}

#[tokio::test]
async fn a_page_of_long_entries_has_fewer_of_them() {
    let host = hostile_host().await;
    let job = host.run_action("hostile", "Noop", "").await;
    let id = job["job_id"].as_str().unwrap();
    // 100 entries of almost the longest size, which no plugin of the tests has the patience to write.
    let entries = sqlx::query(
        "insert into job_entries (job_id, seq, source, data)
         select $1, number, 'misbehave', to_json(repeat('x', 65000)) from generate_series(1, 100) as number",
    );
    entries.bind(id.parse::<Uuid>().unwrap()).execute(&mut host.database.connect().await).await.unwrap();

    let first = host.client.get(&format!("/job/{id}/data?limit=1000")).await;
    let begun = first.body["items"].as_array().unwrap().len();
    assert!((50..100).contains(&begun), "a page has {begun} entries of 65 KB");
    assert_eq!(first.body["next"], begun);
    let rest = host.client.get(&format!("/job/{id}/data?limit=1000&after={begun}")).await;
    assert_eq!((rest.body["items"].as_array().unwrap().len(), &rest.body["next"]), (100 - begun, &Value::Null));
    let shown = host.client.get(&format!("/job/{id}?results=true")).await;
    assert_eq!((&shown.body["job_data"], &shown.body["job_data_next"]), (&first.body["items"], &first.body["next"]));
}

#[tokio::test]
async fn jobs_run_beside_each_other() {
    let host = hostile_host().await;
    let one = host.post_action("hostile", "Sleep", "").await;
    let other = host.post_action("hostile", "Sleep", "").await;
    host.running_job(&one).await;
    host.running_job(&other).await;
    assert_eq!(host.run_action("hostile", "Noop", "").await["status"], "succeeded");
    let active = host.client.get("/job?active=true").await;
    assert_eq!(ids(&active), [other, one]);
}

#[tokio::test]
async fn jobs_are_listed_newest_first_page_by_page() {
    let host = hostile_host().await;
    let mut expected = Vec::new();
    for _ in 0..5 {
        expected.insert(0, host.post_action("hostile", "Noop", "").await);
    }
    let mut listed = Vec::new();
    let mut path = "/job?limit=2&app=hostile".to_owned();
    loop {
        let page = host.client.get(&path).await;
        assert_eq!(page.status, 200, "{page}");
        listed.extend(ids(&page).into_iter().map(String::from));
        let Some(next) = page.body["next"].as_str() else { break };
        assert_eq!(Some(next), listed.last().map(String::as_str));
        path = format!("/job?limit=2&app=hostile&after={next}");
        assert_eq!(page.header("link"), format!("<{path}>; rel=\"next\""));
    }
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn a_listed_job_is_the_same_document() {
    let host = hostile_host().await;
    let id = host.run_action("hostile", "Fail", "a=1").await["job_id"].as_str().unwrap().to_owned();
    let shown = host.client.get(&format!("/job/{id}")).await.body;
    assert_eq!(host.client.get("/job").await.body, json!({ "items": [shown], "next": null }));
}

#[tokio::test]
async fn jobs_are_filtered() {
    let host = TestHost::with_plugins(&["misbehave", "widgets"]).await;
    for name in ["hostile", "my_application", "empty"] {
        host.create_application(name).await;
    }
    let echo = host.run_action("hostile", "Echo", "").await;
    let fail = host.run_action("hostile", "Fail", "").await;
    let widgets = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    let sleep = host.post_action("hostile", "Sleep", "").await;
    host.running_job(&sleep).await;
    let [echo_id, fail_id, widgets_id] = [&echo, &fail, &widgets].map(|job| job["job_id"].as_str().unwrap());
    let sleep_id = sleep.as_str();

    let since_fail = format!("since={}", fail["created_at"].as_str().unwrap());
    for (filter, expected) in [
        ("", &[sleep_id, widgets_id, fail_id, echo_id][..]),
        ("active=true", &[sleep_id]),
        ("active=false", &[widgets_id, fail_id, echo_id]),
        ("status=running", &[sleep_id]),
        ("status=succeeded", &[widgets_id, echo_id]),
        ("status=failed", &[fail_id]),
        ("status=queued", &[]),
        ("status=running&active=false", &[]),
        ("app=hostile", &[sleep_id, fail_id, echo_id]),
        ("app=empty", &[]),
        ("app=nowhere", &[]),
        ("name=Fail", &[fail_id]),
        ("name=fail", &[]),
        (&since_fail, &[sleep_id, widgets_id, fail_id]),
        ("since=2100-01-01T00:00:00Z", &[]),
        ("since=2000-01-01T00:00:00%2B01:00&app=hostile&active=false&name=Echo", &[echo_id]),
    ] {
        let reply = host.client.get(&format!("/job?{filter}")).await;
        assert_eq!(reply.status, 200, "{filter}: {reply}");
        assert_eq!(ids(&reply), expected, "{filter}");
    }
}

#[tokio::test]
async fn a_filter_that_cannot_be_right_is_refused() {
    let host = TestHost::start().await;
    for (query, name, status) in [
        ("active=perhaps", "active", 422),
        ("status=sleeping", "status", 422),
        ("app=_global", "app", 422),
        ("since=yesterday", "since", 422),
        ("after=nothing", "after", 422),
        ("limit=0", "limit", 422),
        ("limit=1001", "limit", 422),
        ("status=failed&status=lost", "status", 400),
        ("colour=red", "colour", 400),
    ] {
        let reply = host.client.get(&format!("/job?{query}")).await;
        assert_eq!((reply.status, &reply.body["errors"][0]["parameter"]), (status, &json!(name)), "{query}: {reply}");
    }
}

#[tokio::test]
async fn a_part_of_a_log_that_cannot_be_is_refused() {
    let host = hostile_host().await;
    let id = host.run_action("hostile", "Noop", "").await["job_id"].as_str().unwrap().to_owned();
    for (query, name) in [("after=x", "after"), ("after=1.5", "after"), ("limit=0", "limit"), ("limit=1001", "limit")] {
        let reply = host.client.get(&format!("/job/{id}/data?{query}")).await;
        assert_eq!((reply.status, &reply.body["errors"][0]["parameter"]), (422, &json!(name)), "{query}: {reply}");
    }
}

#[tokio::test]
async fn what_names_no_job_is_not_found() {
    let host = TestHost::start().await;
    for id in ["00000000-0000-0000-0000-000000000000", "nothing", "1", "%F0%9F%98%80"] {
        for path in [format!("/job/{id}"), format!("/job/{id}?results=true"), format!("/job/{id}/data")] {
            let reply = host.client.get(&path).await;
            assert_eq!((reply.status, &reply.body["code"]), (404, &json!("not-found")), "{path}: {reply}");
        }
    }
}

#[tokio::test]
async fn the_job_of_an_application_that_one_may_not_read_is_not_there() {
    let host = hostile_host().await;
    host.create_application("shop").await;
    let id = host.run_action("hostile", "Noop", "").await["job_id"].as_str().unwrap().to_owned();
    let outsider = json!({ "apps": { "shop": "read/write" }, "actions": { "hostile": { "*": "execute" } } });
    let outsider = user(&host, "outsider", &outsider).await;
    let of_nobody = "01990000-0000-7000-8000-000000000000";
    for path in ["", "?results=true", "/data", "/data?wait=1"] {
        let [hidden, none] =
            [outsider.get(&format!("/job/{id}{path}")).await, outsider.get(&format!("/job/{of_nobody}{path}")).await];
        assert_eq!((hidden.status, &hidden.body["code"]), (404, &json!("not-found")), "{path}: {hidden}");
        assert_eq!(hidden.body["detail"].as_str().unwrap().replace(&id, of_nobody), none.body["detail"], "{path}");
    }
    let events = outsider.request(Method::GET, &format!("/job/{id}/data")).header("Accept", "text/event-stream");
    assert_eq!(outsider.send(events).await.status, 404);
    assert_eq!(outsider.post_empty(&format!("/job/{id}?cancel=true")).await.status, 404);
    assert_eq!(outsider.get("/job").await.body["items"], json!([]));
    assert_eq!(outsider.get("/job?app=hostile").await.body["items"], json!([]));

    let reader = user(&host, "reader", &json!({ "apps": { "hostile": "read" } })).await;
    let overseer = user(&host, "overseer", &json!({ "apps": { "_global": "read" } })).await;
    for client in [reader, overseer] {
        assert_eq!(client.get(&format!("/job/{id}")).await.status, 200);
        assert_eq!(client.get("/job").await.items("job_id"), [&*id]);
    }
}

/// The client of a new user.
async fn user(host: &TestHost, name: &str, permissions: &Value) -> Client {
    let new = json!({ "username": name, "password": "long enough", "permissions": permissions });
    assert_eq!(host.client.post("/global/users", &new).await.status, 201);
    let log_in = json!({ "username": name, "password": "long enough" });
    let reply = host.client.anonymous().post("/global/tokens", &log_in).await;
    host.client.with_token(reply.body["token"].as_str().unwrap())
}

async fn hostile_host() -> TestHost {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    host
}

/// The jobs of a list.
fn ids(list: &Reply) -> Vec<&str> {
    list.body["items"].as_array().unwrap().iter().map(|job| job["job_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_result_is_kept_as_its_plugin_wrote_it() {
    let host = hostile_host().await;
    let job = host.run_action("hostile", "Echo", "").await;
    let request = host.client.request(reqwest::Method::GET, &format!("/job/{}", job["job_id"].as_str().unwrap()));
    let document = request.send().await.unwrap().text().await.unwrap();
    let result = document.split_once(r#""result":"#).unwrap().1;
    let members = ["action", "application", "attempt", "job", "parameters", "user"];
    let places = members.map(|member| result.find(&format!(r#""{member}":"#)).unwrap());
    assert!(places.is_sorted(), "{result}");
}

#[tokio::test]
async fn a_list_of_long_jobs_is_cut_and_goes_on() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let mut made = Vec::new();
    for _ in 0..9 {
        made.push(host.run_action("hostile", "Noop", "").await["job_id"].clone());
    }
    let long = "update jobs set result = to_json(repeat('x', 1024 * 1024))";
    sqlx::query(long).execute(&mut host.database.connect().await).await.unwrap();

    for path in ["/job?limit=1000", "/job?app=hostile"] {
        let (mut found, mut pages, mut next) = (Vec::new(), 0, path.to_owned());
        loop {
            let page = host.client.get(&next).await.body;
            assert!(page.to_string().len() < 6 * 1024 * 1024, "a page has {} bytes", page.to_string().len());
            found.extend(page["items"].as_array().unwrap().iter().map(|job| job["job_id"].clone()));
            pages += 1;
            match page["next"].as_str() {
                Some(cursor) => next = format!("{path}&after={cursor}"),
                None => break,
            }
        }
        assert_eq!(found, made.iter().rev().cloned().collect::<Vec<_>>(), "newest first, each once");
        assert!(pages > 1, "{pages} pages");
    }
}
