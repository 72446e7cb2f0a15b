//! Jobs that are asked to stop.

use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Reply, SOON, Setup, TestHost};

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once_and_never_runs() {
    let host = start(Setup::default().flag("--plugin-runs", 1)).await;
    let first = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&first).await;
    let queued = host.post_action("hostile", "Noop", "").await;

    let reply = cancel(&host, &queued).await;
    assert_eq!((reply.status, &reply.body["status"]), (202, &json!("cancelled")), "{reply}");
    assert_eq!(reply.header("location"), format!("/job/{queued}"));
    cancel(&host, &first).await;
    assert_eq!(host.ended_job(&first).await["status"], "cancelled");
    let last = host.run_action("hostile", "Noop", "").await;
    assert_eq!(last["status"], "succeeded", "{last:#}");

    let job = host.ended_job(&queued).await;
    assert_eq!((&job["status"], &job["attempt"], &job["started_at"]), (&json!("cancelled"), &json!(0), &Value::Null));
    assert_eq!(job["error"], json!({ "code": "cancelled", "message": "user `admin` asked for it to stop" }));
    assert_eq!(job["job_data"][0]["data"], json!({ "status": "cancelled", "error": job["error"] }), "{job:#}");
}

#[tokio::test]
async fn a_running_job_sees_that_it_is_to_stop_and_ends_by_itself() {
    let host = start(Setup::default()).await;
    let id = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&id).await;
    let reply = cancel(&host, &id).await;
    assert_eq!((reply.status, &reply.body["status"]), (202, &json!("running")), "{reply}");

    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "cancelled", "{job:#}");
    assert_eq!(job["error"], json!({ "code": "cancelled", "message": "stopped between two widgets" }));
    assert!(job["cancel_requested_at"].is_string(), "{job:#}");
    let statuses: Vec<_> = job["job_data"].as_array().unwrap().iter().map(|entry| &entry["data"]["status"]).collect();
    assert_eq!(statuses, [&Value::Null, &json!("cancelling"), &json!("cancelled")], "{job:#}");
    assert_eq!(
        job["job_data"][1]["data"]["message"],
        "user `admin` asked for it to stop; it is stopped in 10s if it does not end by itself"
    );
}

#[tokio::test]
async fn a_job_that_does_not_listen_is_stopped_after_the_grace_time() {
    let host = start(Setup::default().flag("--cancel-grace-seconds", 1)).await;
    for action in ["Sleep", "Loop"] {
        let id = host.post_action("hostile", action, "").await;
        host.running_job(&id).await;
        cancel(&host, &id).await;
        let job = host.ended_job(&id).await;
        assert_eq!((&job["status"], &job["error"]["code"]), (&json!("cancelled"), &json!("cancelled")), "{job:#}");
        assert_eq!(
            job["error"]["message"],
            "user `admin` asked for it to stop; it was stopped, because it did not end within 1s"
        );
    }
    assert_eq!(host.run_action("hostile", "Noop", "").await["status"], "succeeded", "the server works on");
}

#[tokio::test]
async fn a_job_is_cancelled_through_any_host() {
    let storage = tempfile::tempdir().unwrap();
    let worker = start(Setup::default().sharing(&storage)).await;
    let api = Setup::default().sharing(&storage).flag("--role", "api").start_on(worker.database.clone()).await;
    let id = worker.post_action("hostile", "UntilCancelled", "").await;
    worker.running_job(&id).await;
    // Until both know of each other the request waits for the next heartbeat.
    cancel(&api, &id).await;
    let asked = Instant::now();
    assert_eq!(api.ended_job(&id).await["status"], "cancelled");
    assert!(asked.elapsed() < SOON, "it took {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_job_that_has_ended_cannot_be_cancelled() {
    let host = start(Setup::default()).await;
    let job = host.run_action("hostile", "Noop", "").await;
    let id = job["job_id"].as_str().unwrap();
    let reply = cancel(&host, id).await;
    assert_eq!((reply.status, &reply.body["code"]), (409, &json!("conflict")), "{reply}");
    assert_eq!(reply.body["detail"], format!("job `{id}` has ended already: it is `succeeded`"));
    assert_eq!(host.ended_job(id).await, job, "nothing has changed");

    let reply = host.client.post_empty(&format!("/job/{id}")).await;
    assert_eq!(reply.status, 400, "{reply}");
    let reply = host.client.post_empty(&format!("/job/{id}?cancel=false")).await;
    assert_eq!(reply.status, 400, "{reply}");
    let reply = host.client.post_empty("/job/01990000-0000-7000-8000-000000000000?cancel=true").await;
    assert_eq!(reply.status, 404, "{reply}");
}

#[tokio::test]
async fn to_cancel_twice_is_to_cancel_once() {
    let host = start(Setup::default()).await;
    let id = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&id).await;
    assert_eq!(cancel(&host, &id).await.status, 202);
    assert_eq!(host.ended_job(&id).await["status"], "cancelled");
    let job = host.ended_job(&id).await;
    let again = cancel(&host, &id).await;
    assert_eq!((again.status, &again.body["status"]), (202, &json!("cancelled")), "{again}");
    assert_eq!(host.ended_job(&id).await, job);
}

/// A host with actions that wait.
async fn start(setup: Setup) -> TestHost {
    let host = setup.plugins(&["misbehave"]).start().await;
    host.create_application("hostile").await;
    host
}

async fn cancel(host: &TestHost, id: &str) -> Reply {
    host.client.post_empty(&format!("/job/{id}?cancel=true")).await
}
