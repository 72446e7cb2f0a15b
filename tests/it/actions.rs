//! Actions over HTTP, from POST to the job's end.

use serde_json::json;

use crate::harness::TestHost;

#[tokio::test]
async fn the_references_example_runs_from_post_to_finished_job() {
    let host = TestHost::with_plugins(&["widgets"]).await;
    host.create_application("my_application").await;

    let reply = host.client.post_empty("/app/my_application/actions/DeleteWidgets?testing=true&count=10").await;
    assert_eq!(reply.status, 202, "{reply}");
    assert_eq!(reply.body["status"], "queued");
    let id = reply.body["job_id"].as_str().unwrap();
    assert_eq!(reply.header("location"), format!("/job/{id}"));
    assert_eq!(reply.body["location"], reply.header("location"));

    let job = host.ended_job(id).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(job["result"], json!({ "deleted": 0, "testing": true }));
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
