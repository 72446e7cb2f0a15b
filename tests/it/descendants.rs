//! Jobs that start jobs: how many there may be, and how they are stopped together.

use serde_json::{Value, json};

use crate::doors::to_exercise;
use crate::harness::{Reply, Setup, TestHost, eventually, plugin_file};
use crate::hooks;
use crate::uploads::zip;

#[tokio::test]
async fn jobs_that_come_of_one_job_are_bounded_together() {
    let host = start(Setup::default().flag("--plugin-descendants", 25)).await;
    let root = host.post_action("hostile", "Breed", "children=4").await;
    eventually("all of them to end", async || {
        let active = host.client.get("/job?active=true").await;
        active.items("job_id").is_empty().then_some(())
    })
    .await;
    let jobs = host.client.get("/job?name=Breed&limit=1000&details=true").await;
    assert_eq!(jobs.items("job_id").len(), 26, "{jobs}");
    let told = jobs.body["items"].as_array().unwrap().iter().filter_map(|job| job["result"]["told"].as_str());
    let told: Vec<_> = told.collect();
    assert!(!told.is_empty(), "{jobs}");
    assert!(told.iter().all(|told| *told == "at most 25 jobs started by one job in total are allowed"), "{told:?}");

    // Another one begins anew.
    let other = host.run_action("hostile", "Breed", "children=0").await;
    assert_ne!(other["job_id"], root.as_str());
    let started = host.run_action("hostile", "Breed", "children=1").await;
    assert_eq!(started["result"], json!({ "started": 1 }), "{started:#}");
}

#[tokio::test]
async fn jobs_of_gitdeploys_and_deployments_count_among_those_that_come_of_one_job() {
    let setup = Setup::default().flag("--plugin-descendants", 0);
    let host = to_exercise(setup, plugin_file("exercise-all")).await;
    hooks::ended(&host, "exercise", "uploaded", zip("a", b"b")).await;
    let job = host.run_action("exercise", "Everything", "").await;
    for call in ["gitdeploys.initialize", "gitdeploys.deinitialize", "deployments.start"] {
        let error = &job["result"][call]["error"];
        assert_eq!(error["code"], "limit-exceeded", "{call}: {job:#}");
        assert_eq!(error["message"], "at most 0 jobs started by one job in total are allowed", "{call}: {job:#}");
    }
}

#[tokio::test]
async fn all_jobs_that_come_of_one_are_stopped_together() {
    let host = start(Setup::default().flag("--plugin-runs", 1).flag("--plugin-descendants", 200)).await;
    let bystander = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&bystander).await;
    let root = host.post_action("hostile", "Breed", "children=3").await;
    let queued = host.post_action("hostile", "Noop", "").await;
    // The bystander leaves its place to the first of them, which leaves children behind.
    assert_eq!(host.client.post_empty(&format!("/job/{bystander}?cancel=true")).await.status, 202);
    host.ended_job(&root).await;

    let reply = cancel(&host, &format!("root={root}")).await;
    assert_eq!(reply.status, 202, "{reply}");
    eventually("the family to end", async || {
        let jobs = host.client.get("/job?active=true&name=Breed").await;
        if jobs.items("job_id").is_empty() {
            return Some(());
        }
        // One that ran meanwhile may have started others.
        cancel(&host, &format!("root={root}")).await;
        None
    })
    .await;
    let jobs = host.client.get("/job?name=Breed&status=cancelled&limit=1000").await;
    let cancelled = jobs.body["items"].as_array().unwrap();
    assert!((1..200).contains(&cancelled.len()), "{} of at most 200 were stopped", cancelled.len());
    let other = host.ended_job(&queued).await;
    assert_eq!(other["status"], "succeeded", "{other:#}");
}

#[tokio::test]
async fn queued_jobs_are_stopped_by_their_application_name_and_state() {
    let host = start(Setup::default().flag("--plugin-runs", 1)).await;
    let running = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&running).await;
    for action in ["Noop", "Noop", "Noop", "Echo", "UntilCancelled"] {
        host.post_action("hostile", action, "").await;
    }
    let reply = cancel(&host, "app=hostile&name=Noop&status=queued").await;
    assert_eq!((reply.status, reply.body), (202, json!({ "cancelled": 3, "stopping": 0, "more": false })));
    let cancelled = host.client.get("/job?status=cancelled").await;
    assert_eq!(cancelled.items("name"), ["Noop"; 3], "{cancelled}");
    let error = &cancelled.body["items"][0]["error"];
    assert_eq!(*error, json!({ "code": "cancelled", "message": "user `admin` asked for it to stop" }));
    let entries = host.ended_job(cancelled.items("job_id")[0]).await;
    assert_eq!(entries["job_data"][0]["data"], json!({ "status": "cancelled", "error": error }), "{entries:#}");

    let audit = host.client.get("/global/audit?operation=jobs.cancel-matching").await;
    let asked = json!({ "status": "queued", "application": "hostile", "name": "Noop" });
    let [entry] = &audit.body["items"].as_array().unwrap()[..] else { panic!("{audit}") };
    assert_eq!((&entry["before"], &entry["after"]["cancelled"]), (&asked, &json!(3)), "{entry:#}");

    // Those that run are told; nobody is told twice.
    let reply = cancel(&host, "name=UntilCancelled").await;
    assert_eq!((reply.status, reply.body), (202, json!({ "cancelled": 1, "stopping": 1, "more": false })));
    assert_eq!(host.ended_job(&running).await["error"]["message"], "stopped between two widgets");
    let reply = cancel(&host, "name=UntilCancelled").await;
    assert_eq!((reply.status, reply.body), (202, json!({ "cancelled": 0, "stopping": 0, "more": false })));
    eventually("what was not asked for to run", async || {
        let jobs = host.client.get("/job?name=Echo").await;
        (jobs.items("status") == ["succeeded"]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn jobs_are_stopped_by_the_job_that_started_them_and_by_when_they_were_created() {
    let host = start(Setup::default().flag("--plugin-runs", 1)).await;
    let parent = host.run_action("hostile", "Breed", "children=0").await;
    let running = host.post_action("hostile", "UntilCancelled", "").await;
    host.running_job(&running).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(host.post_action("hostile", "Noop", "").await);
    }
    // Two are as if the first job had started them; one of these has started another one itself.
    let mut database = host.database.connect().await;
    let root = parent["job_id"].as_str().unwrap();
    for (id, parent, root) in [(&ids[0], root, root), (&ids[1], root, root), (&ids[2], &*ids[1], root)] {
        let family = "update jobs set parent = $2::uuid, root = $3::uuid, depth = 1 where id = $1::uuid";
        sqlx::query(family).bind(id).bind(parent).bind(root).execute(&mut database).await.unwrap();
    }
    let reply = cancel(&host, &format!("parent={root}")).await;
    assert_eq!((reply.status, reply.body), (202, json!({ "cancelled": 2, "stopping": 0, "more": false })));
    let cancelled = host.client.get("/job?status=cancelled").await;
    let mut found = cancelled.items("job_id");
    found.sort_unstable();
    assert_eq!(found, [&*ids[0], &*ids[1]], "{cancelled}");

    let last = host.client.get(&format!("/job/{}", ids[3])).await;
    let since = last.body["created_at"].as_str().unwrap();
    let reply = cancel(&host, &format!("since={since}")).await;
    assert_eq!((reply.status, reply.body), (202, json!({ "cancelled": 1, "stopping": 0, "more": false })));
    assert_eq!(host.ended_job(&ids[3]).await["status"], "cancelled");
    let left = host.client.get("/job?active=true").await;
    let mut left = left.items("job_id");
    left.sort_unstable();
    assert_eq!(left, [&*running, &*ids[2]]);
    let audit = host.client.get("/global/audit?operation=jobs.cancel-matching").await;
    let asked: Vec<_> = audit.body["items"].as_array().unwrap().iter().map(|entry| &entry["before"]).collect();
    assert_eq!((asked.len(), &asked[1]["parent"]), (2, &json!(root)), "{audit}");
    assert!(asked[0]["since"].is_string(), "{audit}");
    host.client.post_empty(&format!("/job/{running}?cancel=true")).await;
}

#[tokio::test]
async fn what_would_stop_everything_or_nothing_is_refused() {
    let host = start(Setup::default()).await;
    let refused = |reply: Reply| (reply.status, reply.body["detail"].as_str().unwrap().to_owned());
    insta::assert_debug_snapshot!(refused(host.client.post_empty("/job?cancel=true").await), @r#"
    (
        422,
        "say which jobs are to stop, by `application`, `name`, `status`, `root`, `parent`, `since` or `until`",
    )
    "#);
    insta::assert_debug_snapshot!(refused(cancel(&host, "status=failed").await), @r#"
    (
        422,
        "status: jobs that are `queued` or `running` can be stopped, and not `failed` ones",
    )
    "#);
    assert_eq!(host.client.post_empty("/job?cancel=false&name=Noop").await.status, 400);
}

#[tokio::test]
async fn jobs_to_stop_are_named_as_those_to_list() {
    let host = start(Setup::default().flag("--role", "api")).await;
    host.create_application("my_application").await;
    for action in ["Noop", "Echo", "Fail", "Exit", "Panic"] {
        host.post_action("hostile", action, "").await;
    }
    let jobs = host.client.get("/job?name=Fail").await;
    let until = jobs.body["items"][0]["created_at"].as_str().unwrap();
    for (filter, stopped) in [
        ("name=x*".to_owned(), 0),
        ("application=my_application,hostile&name=?oop".into(), 1),
        (format!("status=queued,running&until={until}"), 1),
        ("name=*ai*&status=queued".into(), 1),
    ] {
        let reply = cancel(&host, &filter).await;
        assert_eq!((reply.status, &reply.body["cancelled"]), (202, &json!(stopped)), "{filter}: {reply}");
    }
    assert_eq!(host.client.get("/job?active=true").await.items("name"), ["Panic", "Exit"]);
}

#[tokio::test]
async fn nobody_stops_jobs_together_that_they_may_not_stop_one_by_one() {
    let host = start(Setup::default().flag("--role", "api")).await;
    host.create_application("my_application").await;
    for action in ["Noop", "Noop", "Echo"] {
        host.post_action("hostile", action, "").await;
    }
    let permissions = json!({ "apps": { "hostile": "read" }, "actions": { "hostile": { "Echo": "execute" } } });
    let guest = host.guest(&permissions).await;
    let reply = guest.post_empty("/job?cancel=true&name=Noop").await;
    assert_eq!(reply.status, 403, "{reply}");
    let reply = guest.post_empty("/job?cancel=true&app=hostile").await;
    assert_eq!((reply.status, &reply.body["cancelled"]), (202, &json!(1)), "{reply}");
    let left = host.client.get("/job?active=true").await;
    assert_eq!(left.items("name"), ["Noop", "Noop"], "{left}");
}

#[tokio::test]
async fn a_job_that_was_asked_to_stop_starts_no_others() {
    let host = start(Setup::default().flag("--cancel-grace-seconds", 60)).await;
    let id = host.post_action("hostile", "BreedLate", "").await;
    host.running_job(&id).await;
    assert_eq!(host.client.post_empty(&format!("/job/{id}?cancel=true")).await.status, 202);
    let job = host.ended_job(&id).await;
    let told: &Value = &job["error"]["message"];
    assert_eq!(*told, "the job was asked to stop, so it may not start other jobs", "{job:#}");
    assert_eq!(host.client.get("/job?name=Noop").await.items("job_id").len(), 0);
}

async fn start(setup: Setup) -> TestHost {
    let host = setup.plugins(&["misbehave"]).start().await;
    host.create_application("hostile").await;
    host
}

async fn cancel(host: &TestHost, filter: &str) -> Reply {
    host.client.post_empty(&format!("/job?cancel=true&{filter}")).await
}
