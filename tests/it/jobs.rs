//! Jobs over HTTP: their documents, their logs, their list.

use std::io::Read as _;

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
        ".host" => "[id]",
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
      "parent": null,
      "rerun_of": null,
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
      "idempotent": true,
      "timeout_seconds": 300,
      "plugin": {
        "name": "misbehave",
        "digest": "[digest]"
      },
      "host": "[id]",
      "progress": null,
      "last_seq": 0,
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
    // Zeros at the end of a fraction are left out: without its Z a time is before those that it is the beginning of.
    let times = ["created_at", "started_at", "completed_at"].map(|name| job[name].as_str().unwrap().strip_suffix('Z'));
    assert!(times.is_sorted() && times.iter().all(Option::is_some), "{times:?}");
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
    let mut shown = host.client.get(&format!("/job/{id}")).await.body;
    let listed = host.client.get("/job?details=true").await;
    assert_eq!(listed.body, json!({ "items": [shown], "next": null }));
    // What may be long is in a list only if it is asked for.
    for member in ["data", "result"] {
        assert!(shown.as_object_mut().unwrap().remove(member).is_some(), "{member}: {shown:#}");
    }
    for path in ["/job", "/job?details=false"] {
        assert_eq!(host.client.get(path).await.body, json!({ "items": [shown], "next": null }), "{path}");
    }
}

#[tokio::test]
async fn a_list_leaves_out_where_jobs_have_failed() {
    let host = hostile_host().await;
    let job = host.run_action("hostile", "Panic", "").await;
    assert!(job["error"]["trace"].is_array(), "{job:#}");
    let listed = host.client.get("/job").await.body["items"][0]["error"].clone();
    assert_eq!((&listed["message"], &listed["trace"]), (&job["error"]["message"], &Value::Null), "{listed:#}");
    assert_eq!(host.client.get("/job?details=true").await.body["items"][0]["error"], job["error"]);
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
    let newer_kind = "update jobs set job_type = 'deployment' where name = 'DeleteWidgets'";
    sqlx::query(newer_kind).execute(&mut host.database.connect().await).await.unwrap();
    let [echo_id, fail_id, widgets_id] = [&echo, &fail, &widgets].map(|job| job["job_id"].as_str().unwrap());
    let sleep_id = sleep.as_str();

    let since_fail = format!("since={}", fail["created_at"].as_str().unwrap());
    let until_fail = format!("until={}", fail["created_at"].as_str().unwrap());
    let suffix = format!("id_suffix={}", &fail_id[28..]);
    let upper = format!("id_suffix={}", fail_id[24..].to_uppercase());
    let parent = format!("parent={fail_id}");
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
        ("status=failed,running", &[sleep_id, fail_id]),
        ("status=failed,lost", &[fail_id]),
        ("status=succeeded,failed", &[widgets_id, fail_id, echo_id]),
        ("status=failed,running&active=true", &[sleep_id]),
        ("status=failed&name=Echo", &[]),
        ("status=failed,running&app=hostile", &[sleep_id, fail_id]),
        ("status=failed&app=my_application", &[]),
        ("app=hostile,my_application", &[sleep_id, widgets_id, fail_id, echo_id]),
        ("app=hostile,my_application&status=succeeded", &[widgets_id, echo_id]),
        ("type=action", &[sleep_id, fail_id, echo_id]),
        ("type=deployment", &[widgets_id]),
        ("type=upload,deployment", &[widgets_id]),
        ("type=action,deployment&app=my_application", &[widgets_id]),
        ("plugin=widgets", &[widgets_id]),
        ("plugin=misbehave&status=failed", &[fail_id]),
        ("username=admin", &[sleep_id, widgets_id, fail_id, echo_id]),
        ("username=admin&app=my_application", &[widgets_id]),
        ("username=nobody", &[]),
        (&until_fail, &[echo_id]),
        (&suffix, &[fail_id]),
        (&upper, &[fail_id]),
        ("id_suffix=00000000", &[]),
        (&parent, &[]),
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
        ("app=hostile,,other", "app", 422),
        ("status=failed,", "status", 422),
        ("id_suffix=x", "id_suffix", 422),
        ("id_suffix=12345%25", "id_suffix", 422),
        ("parent=1", "parent", 422),
        ("until=tomorrow", "until", 422),
        ("details=perhaps", "details", 422),
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
    for (query, name) in [
        ("after=x", "after"),
        ("after=1.5", "after"),
        ("after=-1", "after"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("before=0", "before"),
        ("before=1&wait=1", "wait"),
        ("tail=1001", "tail"),
        ("tail=-1", "tail"),
        // It is the number of an entry in another log.
        ("after=1", "after"),
        ("after=1&wait=1", "after"),
    ] {
        let reply = host.client.get(&format!("/job/{id}/data?{query}")).await;
        assert_eq!((reply.status, &reply.body["errors"][0]["parameter"]), (422, &json!(name)), "{query}: {reply}");
    }
}

#[tokio::test]
async fn a_log_is_read_from_its_end_on_and_backwards() {
    let host = TestHost::with_plugins(&["widgets"]).await;
    host.create_application("my_application").await;
    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=3").await;
    assert_eq!(job["last_seq"], 3, "{job:#}");
    let path = format!("/job/{}/data", job["job_id"].as_str().unwrap());
    for (query, expected, next) in [
        ("tail=1", &[3][..], json!(null)),
        ("tail=2", &[2, 3], json!(null)),
        ("tail=1000", &[1, 2, 3], json!(null)),
        ("tail=0", &[], json!(null)),
        ("tail=2&limit=1", &[2], json!(2)),
        ("before=3", &[1, 2], json!(2)),
        ("before=3&limit=1", &[2], json!(2)),
        ("before=1", &[], json!(null)),
        ("before=99&limit=2", &[2, 3], json!(null)),
    ] {
        let reply = host.client.get(&format!("{path}?{query}")).await;
        let numbers: Vec<_> =
            reply.body["items"].as_array().unwrap().iter().map(|it| it["seq"].as_i64().unwrap()).collect();
        assert_eq!((numbers.as_slice(), &reply.body["next"]), (expected, &next), "{query}: {reply}");
    }
    let both = host.client.get(&format!("{path}?tail=1&after=1")).await;
    assert_eq!((both.status, &both.body["code"]), (400, &json!("malformed")), "{both}");
}

#[tokio::test]
async fn entries_before_one_that_are_long_are_the_last_ones() {
    let host = hostile_host().await;
    let job = host.run_action("hostile", "Noop", "").await;
    let id = job["job_id"].as_str().unwrap();
    let entries = sqlx::query(
        "insert into job_entries (job_id, seq, source, data)
         select $1, number, 'misbehave', to_json(repeat('x', 65000)) from generate_series(1, 100) as number",
    );
    entries.bind(id.parse::<Uuid>().unwrap()).execute(&mut host.database.connect().await).await.unwrap();
    let (mut read, mut before) = (0, 101);
    while before > 1 {
        let page = host.client.get(&format!("/job/{id}/data?limit=1000&before={before}")).await;
        let items = page.body["items"].as_array().unwrap();
        assert_eq!(items.last().unwrap()["seq"], before - 1, "{} entries", items.len());
        assert!(page.body.to_string().len() < 6 * 1024 * 1024);
        read += items.len();
        before = items[0]["seq"].as_i64().unwrap();
    }
    assert_eq!(read, 100);
}

#[tokio::test]
async fn the_progress_of_jobs_is_in_their_documents_and_in_lists() {
    let host = TestHost::with_plugins(&["widgets", "misbehave"]).await;
    host.create_application("my_application").await;
    host.create_application("hostile").await;
    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=3").await;
    let at = &job["job_data"][2]["at"];
    let progress = json!({ "percent": 100, "status": "finished", "seq": 3, "at": at });
    assert_eq!(job["progress"], progress, "{job:#}");
    let other = host.run_action("hostile", "Fail", "").await;
    assert_eq!((&other["progress"], &other["last_seq"]), (&Value::Null, &json!(1)), "{other:#}");
    let listed = host.client.get("/job").await.body;
    assert_eq!((&listed["items"][0]["progress"], &listed["items"][1]["progress"]), (&Value::Null, &progress));
    assert_eq!((&listed["items"][0]["last_seq"], &listed["items"][1]["last_seq"]), (&json!(1), &json!(3)));
}

#[tokio::test]
async fn a_job_says_which_one_it_runs_again() {
    let host = hostile_host().await;
    let first = host.run_action("hostile", "Fail", "").await;
    let first = first["job_id"].as_str().unwrap();
    let again = |action: &str, of: &str| {
        host.client.request(Method::POST, &format!("/app/hostile/actions/{action}")).header("Rerun-Of", of)
    };
    let reply = host.client.send(again("Fail", first)).await;
    assert_eq!(reply.status, 202, "{reply}");
    let job = host.ended_job(reply.body["job_id"].as_str().unwrap()).await;
    assert_eq!(job["rerun_of"], first, "{job:#}");
    let missing = "01990000-0000-7000-8000-000000000000";
    for (request, status) in [(again("Noop", first), 422), (again("Fail", missing), 404), (again("Fail", "x"), 400)] {
        let reply = host.client.send(request).await;
        assert_eq!(reply.status, status, "{reply}");
    }
}

#[tokio::test]
async fn jobs_are_counted_by_their_state_under_the_other_filters() {
    let host = hostile_host().await;
    host.create_application("quiet").await;
    host.run_action("hostile", "Noop", "").await;
    host.run_action("hostile", "Fail", "").await;
    host.run_action("hostile", "Fail", "").await;
    let none = json!({ "queued": 0, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0, "lost": 0 });
    let mut all = none.clone();
    (all["succeeded"], all["failed"]) = (json!(1), json!(2));
    for (query, expected) in [
        ("counts=true", &all),
        ("counts=true&limit=1&status=failed", &all),
        ("counts=true&app=hostile", &all),
        ("counts=true&app=quiet", &none),
    ] {
        let reply = host.client.get(&format!("/job?{query}")).await;
        assert_eq!(&reply.body["counts"], expected, "{query}: {reply}");
    }
    let failed = host.client.get("/job?counts=true&name=Fail").await;
    assert_eq!((&failed.body["counts"]["failed"], &failed.body["counts"]["succeeded"]), (&json!(2), &json!(0)));
    assert_eq!(host.client.get("/job").await.body.get("counts"), None);
}

#[tokio::test]
async fn rare_jobs_among_many_are_found_page_by_page_and_none_is_left_out() {
    let host = hostile_host().await;
    let mut database = host.database.connect().await;
    // Twenty thousand of sixty applications; the plugin of every thousandth is another one.
    let many = "insert into applications (name) select 'app' || n from generate_series(1, 60) n";
    sqlx::query(many).execute(&mut database).await.unwrap();
    let many = "insert into jobs (id, job_type, name, application, username, status, data, plugin, timeout_ms)
        select (lpad(to_hex(1700000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
            'action', 'Do', 'app' || 1 + n % 60, 'ada', 'succeeded', '{}',
            case when n % 1000 = 7 then 'rare' else 'often' end, 1000
        from generate_series(1, 20000) n";
    sqlx::query(many).execute(&mut database).await.unwrap();
    let reader = user(&host, "reader", &json!({ "apps": { "app*": "read" } })).await;
    for (client, filter, expected) in [
        (&host.client, "plugin=rare", 20),
        (&reader, "plugin=rare", 20),
        (&reader, "username=ada&plugin=rare", 20),
        (&reader, "plugin=often&app=app8", 327),
        (&reader, "", 20000),
        (&host.client, "app=app8,app9", 668),
    ] {
        let (mut found, mut next) = (Vec::new(), format!("/job?limit=1000&{filter}"));
        loop {
            let page = client.get(&next).await;
            assert_eq!(page.status, 200, "{page}");
            found.extend(ids(&page).into_iter().map(str::to_owned));
            let Some(cursor) = page.body["next"].as_str() else { break };
            next = format!("/job?limit=1000&{filter}&after={cursor}");
        }
        assert_eq!(found.len(), expected, "{filter}");
        assert!(found.windows(2).all(|two| two[0] > two[1]), "{filter}: newest first, each once");
    }
}

#[tokio::test]
async fn a_job_of_a_kind_that_a_newer_server_knows_is_left_to_it_and_shown() {
    let host = hostile_host().await;
    let newer = "insert into jobs (id, job_type, name, application, data, timeout_ms)
        values ('01990000-0000-7000-8000-000000000001', 'rollout', '7', 'hostile', '{}', 1000),
               ('01990000-0000-7000-8000-000000000002', 'upload', '7', 'hostile', '{\"build_name\": 1}', 1000)";
    sqlx::query(newer).execute(&mut host.database.connect().await).await.unwrap();
    // What this server knows is not held up by it, also behind it.
    assert_eq!(host.run_action("hostile", "Noop", "").await["status"], "succeeded");
    assert_eq!(host.ended_job("01990000-0000-7000-8000-000000000002").await["status"], "failed");
    let id = "01990000-0000-7000-8000-000000000001";
    let shown = host.client.get(&format!("/job/{id}")).await;
    let kind = |job: &Value| (job["job_type"].clone(), job["status"].clone());
    assert_eq!(kind(&shown.body), (json!("rollout"), json!("queued")), "{shown}");
    let listed = host.client.get("/job?status=queued").await;
    assert_eq!((ids(&listed), kind(&listed.body["items"][0])), (vec![id], kind(&shown.body)), "{listed}");
    assert_eq!(host.client.post_empty(&format!("/job/{id}?cancel=true")).await.status, 202);
    assert_eq!(host.client.get(&format!("/job/{id}")).await.body["status"], "cancelled");
}

#[tokio::test]
async fn a_job_whose_row_is_damaged_fails_alone_and_is_shown() {
    let host = hostile_host().await;
    let sound = host.run_action("hostile", "Noop", "").await;
    let id = |n: usize| format!("01990000-0000-7000-8000-00000000000{n}");
    let damaged = "insert into jobs (id, job_type, name, application, data, plugin, component_digest, timeout_ms)
        values ('01990000-0000-7000-8000-000000000001', 'action', 'Noop', 'hostile', '{\"parameters\": []}', 'misbehave', '\\x0badc0de', 1000),
               ('01990000-0000-7000-8000-000000000002', 'action', 'Noop', 'hostile', '{\"parameters\": []}', 'misbehave', sha256(''), -1),
               ('01990000-0000-7000-8000-000000000003', 'action', 'Noop', 'hostile', '{\"parameters\": []}', '', null, 1000),
               ('01990000-0000-7000-8000-000000000004', 'upload', '7', 'hostile', '[7]', '', null, 1000)";
    sqlx::query(damaged).execute(&mut host.database.connect().await).await.unwrap();
    let unread = "insert into jobs (id, job_type, name, application, data, plugin, component_digest, timeout_ms, status)
        select ('01990000-0000-7000-8000-000000000005')::uuid, job_type, name, application, '{\"parameters\": 1}', plugin, component_digest, timeout_ms, 'queued'
        from jobs where id = $1::uuid";
    let sound_id = sound["job_id"].as_str().unwrap();
    sqlx::query(unread).bind(sound_id).execute(&mut host.database.connect().await).await.unwrap();

    // What is sound is not held up by them, also behind them.
    assert_eq!(host.run_action("hostile", "Noop", "").await["status"], "succeeded");
    for (n, what) in [
        (1, "the digest of its component is not a SHA-256"),
        (2, "its time limit is negative"),
        (3, "it names no plugin, and is to run an action"),
        (4, "its data is not that of a job of the kind `upload`"),
        (5, "its data is not that of a job of the kind `action`"),
    ] {
        let job = host.ended_job(&id(n)).await;
        assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("unreadable")), "{job:#}");
        let message = job["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("the job cannot be run, because its row is damaged: {what}")),
            "{message}"
        );
        // A position in what is stored tells nobody anything.
        assert!(!message.contains(" at line "), "{message}");
    }
    let ended = "update jobs set error = '[\"gone\"]' where id = '01990000-0000-7000-8000-000000000002'";
    sqlx::query(ended).execute(&mut host.database.connect().await).await.unwrap();
    let listed = host.client.get("/job?status=failed").await;
    assert_eq!(ids(&listed), [5, 4, 3, 2, 1].map(id), "{listed}");
    assert_eq!(listed.body["items"][4]["plugin"], json!({ "name": "misbehave", "digest": "sha256:0badc0de" }));
    let error = &listed.body["items"][3]["error"];
    assert_eq!((&error["code"], &error["details"]), (&json!("unreadable"), &json!(["gone"])), "{error:#}");
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

    for path in ["/job?details=true&limit=1000", "/job?details=true&app=hostile"] {
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

#[tokio::test]
async fn a_log_is_searched() {
    let host = TestHost::with_plugins(&["widgets"]).await;
    host.create_application("my_application").await;
    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    let path = format!("/job/{}/data", job["job_id"].as_str().unwrap());
    let all = host.client.get(&path).await;
    for (query, seqs, hits, next) in [
        ("q=starting", &[1][..], 1, json!(null)),
        ("q=STATUS", &[1, 2, 3], 3, json!(null)),
        ("q=status&limit=2", &[1, 2], 3, json!(2)),
        ("q=status&after=2", &[3], 3, json!(null)),
        ("q=status&before=3&limit=1", &[2], 3, json!(2)),
        ("q=status&tail=2", &[2, 3], 3, json!(null)),
        ("q=%22status%22", &[], 0, json!(null)),
        ("q=%25", &[], 0, json!(null)),
    ] {
        let reply = host.client.get(&format!("{path}?{query}")).await;
        let found: Vec<_> =
            reply.body["items"].as_array().unwrap().iter().map(|entry| entry["seq"].as_i64().unwrap()).collect();
        assert_eq!(
            (&*found, &reply.body["hits"], &reply.body["next"]),
            (seqs, &json!(hits), &next),
            "{query}: {reply}"
        );
    }
    let first = host.client.get(&format!("{path}?q=starting")).await;
    assert_eq!(first.body["items"][0], all.body["items"][0], "the entry as it is");
    assert_eq!(all.body.get("hits"), None, "{all}");
    for query in ["q=", "q=a&wait=1", &format!("q={}", "a".repeat(201))] {
        assert_eq!(host.client.get(&format!("{path}?{query}")).await.fault(), (422, "q"), "{query}");
    }
    let guest = host.guest(&json!({ "apps": { "other": "read" } })).await;
    assert_eq!(guest.get(&format!("{path}?q=status")).await.status, 404);
}

#[tokio::test]
async fn a_log_is_read_as_a_text() {
    let host = TestHost::with_plugins(&["widgets", "misbehave"]).await;
    host.create_application("my_application").await;
    host.create_application("hostile").await;
    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    let id = job["job_id"].as_str().unwrap();
    let reply = host.client.request(Method::GET, &format!("/job/{id}/log")).send().await.unwrap();
    assert_eq!(reply.headers()["content-type"], "text/plain; charset=utf-8");
    let text = reply.text().await.unwrap();
    let lines: Vec<_> = text.lines().map(|line| line.split_once("  ").unwrap().1).collect();
    assert_eq!(lines[0], "widgets  starting  0 %", "{text}");
    assert_eq!(lines.len(), 3, "{text}");

    let reply = host.client.request(Method::GET, &format!("/job/{id}/log")).header("accept", "application/jsonl");
    let reply = reply.send().await.unwrap();
    assert_eq!(reply.headers()["content-type"], "application/jsonl");
    let entries: Vec<Value> =
        reply.text().await.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json!(entries), host.client.get(&format!("/job/{id}/data")).await.body["items"]);

    // More than is read at a time.
    let long = host.run_action("hostile", "Entries", "count=1700").await;
    let reply = host.client.request(Method::GET, &format!("/job/{}/log", long["job_id"].as_str().unwrap()));
    let plain = reply.send().await.unwrap().text().await.unwrap();
    assert_eq!(plain.lines().count(), 1700);
    let reply = host.client.request(Method::GET, &format!("/job/{}/log", long["job_id"].as_str().unwrap()));
    let packed = reply.header("accept-encoding", "gzip").send().await.unwrap();
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = packed.bytes().await.unwrap();
    assert!(packed.len() * 4 < plain.len(), "{} of {}", packed.len(), plain.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*packed).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain);
    let guest = host.guest(&json!({ "apps": { "other": "read" } })).await;
    assert_eq!(guest.get(&format!("/job/{id}/log")).await.status, 404);
}

#[tokio::test]
async fn a_queued_job_says_what_it_waits_for() {
    let host = Setup::default().plugins(&["misbehave"]).flag("--plugin-runs-per-action", 1).start().await;
    host.create_application("hostile").await;
    let running = host.post_action("hostile", "UntilCancelled", "").await;
    assert_eq!(host.running_job(&running).await.body["waits_for"], json!(null));
    let next = host.post_action("hostile", "UntilCancelled", "").await;
    let last = host.post_action("hostile", "UntilCancelled", "").await;
    for (job, ahead) in [(&next, 0), (&last, 1)] {
        let job = host.client.get(&format!("/job/{job}")).await;
        assert_eq!(job.body["waits_for"], json!({ "reason": "action", "ahead": ahead }), "{job}");
    }
    let host = Setup::default().plugins(&["misbehave"]).flag("--role", "api").start().await;
    host.create_application("hostile").await;
    let alone = host.post_action("hostile", "Noop", "").await;
    let alone = host.client.get(&format!("/job/{alone}")).await;
    assert_eq!(alone.body["waits_for"], json!({ "reason": "worker", "ahead": 0 }), "{alone}");
}
