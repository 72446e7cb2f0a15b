//! Two hosts on one database, and servers that both reach: where the one that does a deployment dies, the other one goes on.

use rustix::process::Signal;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{
    DEPLOYMENTS, LONG, WEB, cancel, currently_on, deployment, hooks, make_group, on, start, states, to_groups,
    two_batches_on, with,
};
use crate::commits::{git, upload};
use crate::harness::{Setup, eventually, plugin_file};
use crate::ssh_copies::with_server;
use crate::upstreams::over_ssh;

/// From the last sign of life of a host until another one goes on.
const TAKEN_OVER: time::Duration = time::Duration::seconds(15);

#[tokio::test]
async fn another_host_goes_on_after_the_last_step_within_15_seconds() {
    let storage = tempfile::tempdir().unwrap();
    let watches = plugin_file("watch-deployments");
    let setup = Setup::default().sharing(&storage).plugin("watch-deployments", watches);
    let (host, repos) = over_ssh(setup).await;
    host.settled_plugin("watch-deployments").await;
    let sshd = with_server(&host).await;
    let path = sshd.home.join("shop");
    let before = json!([["sh", "-c", "echo x >>../begun; while test ! -e ../go; do sleep 0.05; done"]]);
    let after = json!([["sh", "-c", "echo x >>../ended"]]);
    let settings = json!({ "location": { "path": path }, "actions": { "prepull": before, "postpull": after } });
    assert_eq!(host.client.patch(WEB, &settings).await.status, 200);
    assert_eq!(host.client.patch("/server/web1", &json!({ "environment": "production" })).await.status, 200);
    on(&host, "web", "initialize", &["web1"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build)]).await;
    }
    let stopped = host.stop().await;
    let mut doomed = stopped.start_program();
    let (_, client) = doomed.ready(&stopped.database.token).await;
    let id = client.post(DEPLOYMENTS, &to_groups("1", &["front"])).await.body["job_id"].as_str().unwrap().to_owned();
    let begun = sshd.home.join("begun");
    eventually("the server to be at work", async || begun.exists().then_some(())).await;
    let setup = Setup::default().sharing(&storage).flag("--git-hosts", format!("127.0.0.1:{}", repos.port));
    let survivor = setup.start_on(stopped.database.clone()).await;
    // Another deployment waits for the first one, and not for the host that does it.
    let next = survivor.client.post(DEPLOYMENTS, &to_groups("2", &["front"])).await;
    let next = next.body["job_id"].as_str().unwrap().to_owned();
    eventually("the next one to say for whom it waits", async || {
        let job = survivor.client.get(&format!("/job/{next}?results=true")).await.body.to_string();
        job.contains(&format!("waits for job {id}")).then_some(())
    })
    .await;

    doomed.signal(Signal::KILL);
    doomed.ended().await;
    std::fs::write(sshd.home.join("go"), "").unwrap();
    let mut database = stopped.database.connect().await;
    let last_seen: OffsetDateTime = sqlx::query_scalar("select max(seen_at) from workers where host_id = $1")
        .bind(stopped.host_id())
        .fetch_one(&mut database)
        .await
        .unwrap();
    let job = survivor.ended_job(&id).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(2)), "{job:#}");
    let gone_on = gone_on(&job);
    assert!(gone_on - last_seen < TAKEN_OVER, "last seen at {last_seen}, gone on with at {gone_on}: {job:#}");
    assert_eq!(
        hooks(&job),
        "AUTO_DEPLOYMENT_START\nGITDEPLOY_COMMIT_DIFF\nAUTO_DEPLOYMENT_BATCH_BEGIN\nAUTO_DEPLOYMENT_BATCH_DONE\n\
         AUTO_DEPLOYMENT_COMPLETE"
    );
    assert_eq!(states(&deployment(&survivor, &job).await), "web1 succeeded");

    let job = survivor.ended_job(&next).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "2");
    for once_each in ["begun", "ended"] {
        assert_eq!(std::fs::read_to_string(sshd.home.join(once_each)).unwrap(), "x\nx\n", "{once_each}");
    }
    assert_eq!(git(&repos.home.join("site.git"), &["log", "--format=%s", "master"]).lines().count(), 2);
}

#[tokio::test]
async fn a_deployment_is_stopped_in_a_pause_by_another_host() {
    let storage = tempfile::tempdir().unwrap();
    let host = two_batches_on(Setup::default().sharing(&storage)).await;
    upload(&host, "1", &[("a", "1")]).await;
    let other = Setup::default().sharing(&storage).start_on(host.database.clone()).await;
    let id = start(&host, &with(&to_groups("1", &["front"]), &json!({ "rolling_pause": LONG }))).await;
    currently_on(&other.client, &id, "pause of").await;
    cancel(&other, &id).await;
    let job = host.ended_job(&id).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("cancelled"), &json!(1)), "{job:#}");
    assert_eq!(states(&deployment(&other, &job).await), "web1 succeeded\nweb2 pending");
}

/// When the first thing was done after the host had died: its entry is behind the one that says so.
fn gone_on(job: &Value) -> OffsetDateTime {
    let entries = job["job_data"].as_array().unwrap();
    let seam =
        entries.iter().position(|entry| entry["data"]["message"] == "the server that ran the job gave no sign of life");
    let first = &entries[seam.unwrap_or_else(|| panic!("{job:#}")) + 1];
    OffsetDateTime::parse(first["at"].as_str().unwrap(), &Rfc3339).unwrap()
}
