//! The trace of a job: which calls its plugin made, and what it wrote for operators.

use serde_json::{Value, json};

use crate::doors;
use crate::harness::{Client, PASSWORD, Setup, TestHost};

#[tokio::test]
async fn every_call_of_the_data_services_is_a_line() {
    let (host, job) = doors::exercised().await;
    let shown = trace(&host.client, &job).await;
    let of_hook = trace(&host.client, &json!({ "job_id": job["uploaded_by"] })).await;
    let lines = [&shown, &of_hook].into_iter().flat_map(|shown| shown["trace"].as_array().unwrap());
    let calls: Vec<_> = lines.filter(|line| !line["call"].is_null()).collect();
    for called in job["result"].as_object().unwrap().keys() {
        if called == "log.write" {
            // Which is not a data service, and leaves the line that it writes.
            let lines = shown["trace"].as_array().unwrap();
            assert!(lines.iter().any(|line| line["stream"] == "log" && line["text"] == "exercising"), "{shown:#}");
            continue;
        }
        let line = calls.iter().find(|line| line["call"] == called.as_str());
        let line = line.unwrap_or_else(|| panic!("{called} is not in {shown:#}"));
        assert_eq!((&line["outcome"], &line["plugin"]), (&json!("ok"), &json!("exercise-all")), "{line:#}");
        assert!(line["duration_ms"].as_f64().unwrap() >= 0.0 && line["at"].is_string(), "{line:#}");
    }
    let get = calls.iter().find(|line| line["call"] == "builds.get").unwrap();
    assert_eq!(get["target"], "exercise/exercised");
}

#[tokio::test]
async fn a_call_that_fails_says_how() {
    // Nothing is granted: servers and git providers are not for it.
    let host = TestHost::with_plugins(&["exercise-all"]).await;
    host.create_application("exercise").await;
    let job = host.run_action("exercise", "Everything", "").await;
    let shown = trace(&host.client, &job).await;
    let lines = shown["trace"].as_array().unwrap();
    let denied: Vec<_> = lines.iter().filter(|line| line["outcome"] == "denied").map(|line| &line["call"]).collect();
    assert!(denied.contains(&&json!("git-providers.list")), "{shown:#}");
}

#[tokio::test]
async fn an_entry_that_is_refused_is_a_line_that_says_how() {
    let setup = Setup::default().plugins(&["misbehave", "raw"]).flag("--plugin-host-call-kib", 2048);
    let host = setup.flag("--plugin-entries", 5).start().await;
    host.create_application("hostile").await;
    for (action, outcome) in [("HugeEntry", "limit-exceeded"), ("InvalidEntry", "invalid")] {
        let job = host.run_action("hostile", action, "").await;
        let shown = trace(&host.client, &job).await;
        assert_eq!(shown["trace"][0]["call"], "jobs.append", "{shown:#}");
        assert_eq!(shown["trace"][0]["outcome"], outcome, "{shown:#}");
    }
}

#[tokio::test]
async fn very_many_entries_leave_room_for_other_lines() {
    let host = Setup::default().plugins(&["misbehave"]).flag("--plugin-entries", 5).start().await;
    host.create_application("hostile").await;
    let job = host.run_action("hostile", "EntryFlood", "").await;
    let shown = trace(&host.client, &job).await;
    let lines = shown["trace"].as_array().unwrap();
    let outcomes: Vec<_> = lines.iter().map_while(|line| line["outcome"].as_str()).collect();
    assert_eq!((&outcomes[..5], &outcomes[5..]), (&["ok"; 5][..], &["limit-exceeded"; 994][..]));
    assert_eq!((&lines[999]["text"], lines.len()), (&json!("that was all"), 1000));
    assert_eq!(shown["trace_dropped"], 4001);
}

#[tokio::test]
async fn a_thousand_lines_about_one_call_leave_room_for_the_others() {
    let host = Setup::default().plugins(&["misbehave"]).start().await;
    host.create_application("hostile").await;
    let job = host.run_action("hostile", "CallFlood", "").await;
    let shown = trace(&host.client, &job).await;
    let lines = shown["trace"].as_array().unwrap();
    let about = |call: &str| lines.iter().filter(|line| line["call"] == call).count();
    assert_eq!((lines.len(), about("applications.get"), about("builds.get")), (1000, 499, 499), "{shown:#}");
    assert_eq!((about("builds.create"), &lines[999]["text"]), (1, &json!("that was all")), "{shown:#}");
    assert_eq!(shown["trace_dropped"], 2002);
    assert!(lines[..499].iter().all(|line| line["call"] == "applications.get"), "of each the first are kept, in order");
}

#[tokio::test]
async fn what_a_plugin_wrote_before_it_crashed_is_for_those_only_who_may_see_the_trace() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let job = host.run_action("hostile", "TrapAfterSomeWords", "").await;
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.ends_with("; the last it wrote to stderr: the press is jammed"), "{job:#}");
    assert!(!job.to_string().contains("4711"), "{job:#}");
    let shown = trace(&host.client, &job).await;
    assert!(shown["trace"].to_string().contains("the press opens with 4711"), "{shown:#}");
}

#[tokio::test]
async fn what_a_plugin_writes_for_operators_is_in_the_trace_and_bounded() {
    let host = Setup::default().plugins(&["misbehave"]).start().await;
    host.create_application("hostile").await;
    let job = host.run_action("hostile", "LogFlood", "").await;
    let shown = trace(&host.client, &job).await;
    let lines = shown["trace"].as_array().unwrap();
    assert_eq!((&lines[0]["stream"], &lines[0]["level"]), (&json!("log"), &json!("info")), "{:#}", lines[0]);
    assert!(lines.len() <= 1000 && shown["trace_dropped"].as_i64().unwrap() > 0, "{}", lines.len());
}

#[tokio::test]
async fn a_trace_is_shown_to_those_who_may_change_the_application() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let job = host.run_action("hostile", "Noop", "").await;
    let path = format!("/job/{}?results=true&trace=true", job["job_id"].as_str().unwrap());
    for (user, permission, status) in [("reader", "read", 403), ("writer", "read/write", 200)] {
        let permissions = json!({ "apps": { "hostile": permission } });
        let document = json!({ "username": user, "password": PASSWORD, "permissions": permissions });
        assert_eq!(host.client.post("/global/users", &document).await.status, 201);
        let token = host.client.post("/global/tokens", &json!({ "username": user, "password": PASSWORD })).await;
        let client = host.client.with_token(token.body["token"].as_str().unwrap());
        let reply = client.get(&path).await;
        assert_eq!(reply.status, status, "{reply}");
        assert_eq!(client.get(path.trim_end_matches("&trace=true")).await.status, 200);
    }
    assert!(job["trace"].is_null(), "{job:#}");
}

/// The job with its trace.
async fn trace(client: &Client, job: &Value) -> Value {
    let reply = client.get(&format!("/job/{}?results=true&trace=true", job["job_id"].as_str().unwrap())).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.body
}
