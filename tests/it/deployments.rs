//! Deployments, by real git on servers of the driver `local`: in order, in batches, with plugins at every named point.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use insta::assert_snapshot;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::commits::{upload, with_gitdeploy};
use crate::harness::{Answer, Client, Elita, Outside, Program, Setup, TestHost, eventually, plugin_file};
use crate::working_copies::sh;

mod again;
mod census;
mod drift;
mod held;
mod killed;
mod languages;
mod plans;
mod receipts;
mod salt;
mod taken_over;
mod unreached;

const DEPLOYMENTS: &str = "/app/shop/deployments";
const WEB: &str = "/app/shop/gitdeploys/web";
/// A pause that no test waits for.
const LONG: u32 = 3600;

#[tokio::test]
async fn a_build_goes_to_groups_in_batches_and_plugins_hear_of_all_of_it() {
    let host = with_shop(&["web1", "web2", "web3", "db1", "db2"], &["web9"]).await;
    make_gitdeploy(&host, "schema", "site", "other", "/schema").await;
    make_gitdeploy(&host, "worker", "tools", "master", "/worker").await;
    on(&host, "web", "initialize", &["web1", "web2", "web3", "web9"]).await;
    on(&host, "schema", "initialize", &["db1", "db2"]).await;
    on(&host, "worker", "initialize", &["db1", "db2", "web3"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    make_group(&host, "back", &json!([["schema"], ["worker"]]), true).await;
    make_group(&host, "once", &json!(["worker"]), false).await;
    upload(&host, "1", &[("a", "1")]).await;
    let job = deployed(&host, &to_groups("1", &["front", "back", "once"])).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_snapshot!("the_order_of_a_rolling_deployment", order(&job));
    for (server, path) in [("web1", "shop"), ("web3", "worker"), ("db1", "schema"), ("db2", "worker")] {
        assert_eq!(sh(&host, server, &format!("cat {path}/a")).await, "1");
    }
    // In another environment.
    assert_eq!(sh(&host, "web9", "ls shop").await, "");
    let shown = deployment(&host, &job).await;
    assert_eq!((&shown["status"], &shown["summary"]["succeeded"]), (&json!("complete"), &json!(8)), "{shown:#}");
    assert_eq!(shown["id"], job["job_id"]);
    let census = host.client.get("/app/shop/census").await.body;
    let entry = &census["production"]["front"]["web1"]["web"];
    for side in ["committed", "deployed"] {
        let build = &entry[side];
        assert_eq!((&build["build"], &build["username"]), (&json!("1"), &json!("admin")), "{census:#}");
        assert_eq!(build["job_id"], job["job_id"], "{census:#}");
        assert!(build["at"].is_string(), "{census:#}");
    }
    assert_eq!(census["staging"]["front"]["web9"]["web"]["deployed"], Value::Null, "{census:#}");
    // What is there already is not committed again, and nobody is told of a commit.
    let job = deployed(&host, &to_groups("1", &["front"])).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert!(!order(&job).contains("GITDEPLOY_COMMIT_DIFF"), "{}", order(&job));
}

#[tokio::test]
async fn a_manual_deployment_is_one_batch_and_fires_the_hook_of_commits_alone() {
    let host = with_shop(&["web1", "web2"], &[]).await;
    on(&host, "web", "initialize", &["web1", "web2"]).await;
    upload(&host, "1", &[("a", "1")]).await;
    let job = deployed(&host, &json!({ "build_name": "1", "servers": ["web2", "web1"], "gitdeploys": ["web"] })).await;
    assert_eq!((&job["status"], &job["job_type"]), (&json!("succeeded"), &json!("deployment")), "{job:#}");
    assert_snapshot!(order(&job), @"
    GITDEPLOY_COMMIT_DIFF {\"changes\":[\"added a\"],\"gitdeploy\":\"web\",\"package\":\"master\"}
    batch 1 of 1
    web1 web succeeded, web2 web succeeded
    ");
    let listed = host.client.get(DEPLOYMENTS).await.body;
    let listed = &listed["items"][0];
    assert_eq!((&listed["servers"], &listed["groups"]), (&json!(["web2", "web1"]), &Value::Null), "{listed:#}");
    assert!(listed.get("plan").is_none(), "{listed:#}");
    let detailed = host.client.get(&format!("{DEPLOYMENTS}?details=true")).await.body;
    assert_eq!(detailed["items"][0]["progress"]["phase2"]["batches"][0]["web1"]["web"]["state"], "succeeded");
}

#[tokio::test]
async fn hooks_that_come_first_can_stop_a_deployment() {
    let host = with_two_batches().await;
    for (build, told, touched) in [
        ("fail-AUTO_DEPLOYMENT_START", "nothing was done", [false, false]),
        ("fail-AUTO_DEPLOYMENT_BATCH_BEGIN-0", "batch 1 of 2 has not begun", [false, false]),
        ("fail-AUTO_DEPLOYMENT_BATCH_BEGIN-1", "batch 2 of 2 has not begun", [true, false]),
    ] {
        upload(&host, build, &[("a", build)]).await;
        let job = deployed(&host, &to_groups(build, &["front"])).await;
        assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("hook-failed")), "{job:#}");
        assert!(job["error"]["message"].as_str().unwrap().contains(told), "{job:#}");
        let order = order(&job);
        assert!(order.ends_with("AUTO_DEPLOYMENT_FAILED {\"error\":\"hook-failed\",\"status\":\"error\"}"), "{order}");
        assert!(!order.contains("COMPLETE"), "{order}");
        for (server, touched) in ["web1", "web2"].into_iter().zip(touched) {
            let has = sh(&host, server, "cat shop/a || true").await;
            assert_eq!(has == build, touched, "{build} on {server}: {has}");
        }
        assert_eq!(deployment(&host, &job).await["status"], "error");
    }
    // Too late to stop anything.
    upload(&host, "fail-AUTO_DEPLOYMENT_BATCH_DONE-0", &[("a", "late")]).await;
    let job = deployed(&host, &to_groups("fail-AUTO_DEPLOYMENT_BATCH_DONE-0", &["front"])).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(sh(&host, "web2", "cat shop/a").await, "late");
}

#[tokio::test]
async fn a_failing_batch_is_finished_and_nothing_later_begins() {
    let host = with_shop(&["web1", "web2", "web3", "web4"], &[]).await;
    on(&host, "web", "initialize", &["web1", "web2", "web3", "web4"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    // Quick to fail, and slow to succeed.
    prepull(&host, "test ! -e ../broken && sleep 1").await;
    sh(&host, "web1", "touch broken").await;
    upload(&host, "1", &[("a", "1")]).await;
    let job = deployed(&host, &to_groups("1", &["front"])).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("servers-failed")), "{job:#}");
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("`web1` failed in batch 1 of 2; later batches were not begun"), "{message}");
    let shown = deployment(&host, &job).await;
    assert_snapshot!(states(&shown), @"
    web1 failed: prepull
    web2 succeeded
    web3 pending
    web4 pending
    ");
    assert_snapshot!(hooks(&job), @"
    AUTO_DEPLOYMENT_START
    GITDEPLOY_COMMIT_DIFF
    AUTO_DEPLOYMENT_BATCH_BEGIN
    AUTO_DEPLOYMENT_FAILED
    ");
    assert_eq!(sh(&host, "web2", "cat shop/a").await, "1");

    // With as many failures as are allowed it goes on, and is not complete.
    let asked = to_groups("1", &["front"]);
    let job = deployed(&host, &with(&asked, &json!({ "max_failures": 1, "rolling_divisor": 4 }))).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("servers-failed")), "{job:#}");
    let shown = deployment(&host, &job).await;
    assert_eq!(states(&shown), "web1 failed: prepull\nweb2 succeeded\nweb3 succeeded\nweb4 succeeded");
    assert_eq!(shown["status"], "error");
    sh(&host, "web3", "touch broken").await;
    let job = deployed(&host, &with(&asked, &json!({ "max_failures": 1, "rolling_divisor": 4 }))).await;
    let shown = deployment(&host, &job).await;
    assert_eq!(states(&shown), "web1 failed: prepull\nweb2 succeeded\nweb3 failed: prepull\nweb4 pending");
}

#[tokio::test]
async fn a_cancel_ends_a_pause_at_once_and_lets_a_running_batch_end() {
    let host = with_two_batches().await;
    upload(&host, "1", &[("a", "1")]).await;
    let asked = with(&to_groups("1", &["front"]), &json!({ "rolling_pause": LONG }));
    let id = start(&host, &asked).await;
    currently_on(&host.client, &id, "pause of").await;
    cancel(&host, &id).await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "cancelled", "{job:#}");
    let shown = deployment(&host, &job).await;
    assert_eq!(states(&shown), "web1 succeeded\nweb2 pending");
    assert_eq!(shown["status"], "cancelled");
    assert!(order(&job).ends_with("AUTO_DEPLOYMENT_FAILED {\"error\":\"cancelled\",\"status\":\"cancelled\"}"));
    // One request is one entry of the audit.
    let audited = host.client.get(&format!("/global/audit?name={id}")).await;
    assert_eq!(audited.items("operation"), ["deployments.cancel", "deployments.create"], "{audited}");
    // It has ended.
    assert_eq!(host.client.post(&format!("{DEPLOYMENTS}/{id}"), &json!({ "cancel": true })).await.status, 409);

    prepull(&host, "touch ../here; while test ! -e ../go; do sleep 0.05; done").await;
    let id = start(&host, &to_groups("1", &["front"])).await;
    eventually("the batch to begin", async || {
        std::path::Path::new(&home(&host, "web1").await).join("here").exists().then_some(())
    })
    .await;
    cancel(&host, &id).await;
    cancel(&host, &id).await;
    assert_eq!(host.client.get(&format!("/job/{id}")).await.body["status"], "running");
    sh(&host, "web1", "touch go").await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "cancelled", "{job:#}");
    assert_eq!(states(&deployment(&host, &job).await), "web1 succeeded\nweb2 pending");
}

#[tokio::test]
async fn a_cancel_while_a_build_is_committed_keeps_all_servers_from_being_touched() {
    let mut reviews =
        Outside::new(Answer::SaysAfter(Duration::from_secs(2), "HTTP/1.1 204 No Content\r\n\r\n".into())).await;
    let url = format!("http://127.0.0.1:{}/commits", reviews.port());
    let host = with_example("commit-diff", reviews.port(), &json!({ "commit_diff": { "url": url } })).await;
    upload(&host, "1", &[("a", "1\n")]).await;
    let id = start(&host, &to_groups("1", &["front"])).await;
    // A hook is told of the commit.
    eventually("the hook to ask", async || (!reviews.asked().is_empty()).then_some(())).await;
    cancel(&host, &id).await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "cancelled", "{job:#}");
    assert_eq!(states(&deployment(&host, &job).await), "web1 pending\nweb2 pending");
    for server in ["web1", "web2"] {
        assert_eq!(sh(&host, server, "ls shop").await, "", "{server}");
    }
}

#[tokio::test]
async fn a_deployment_that_is_to_stop_ends_itself_also_where_its_server_dies_meanwhile() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let host = two_batches_on(Setup::default().flag("--listen", format!("127.0.0.1:{port}"))).await;
    upload(&host, "1", &[("a", "1")]).await;
    prepull(&host, "touch ../here; while test ! -e ../go; do sleep 0.05; done").await;
    let web1 = std::path::PathBuf::from(home(&host, "web1").await);
    let stopped = host.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let id = client.post(DEPLOYMENTS, &to_groups("1", &["front"])).await.body["job_id"].as_str().unwrap().to_owned();
    eventually("the batch to begin", async || web1.join("here").exists().then_some(())).await;
    let cancelled = client.post(&format!("{DEPLOYMENTS}/{id}"), &json!({ "cancel": true })).await;
    assert_eq!(cancelled.status, 202, "{cancelled}");
    program.signal(Signal::KILL);
    program.ended().await;
    std::fs::write(web1.join("go"), "").unwrap();
    let host = stopped.start().await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "cancelled", "{job:#}");
    let shown = deployment(&host, &job).await;
    assert_eq!(
        (&shown["status"], &*states(&shown)),
        (&json!("cancelled"), "web1 succeeded\nweb2 pending"),
        "{shown:#}"
    );
    assert!(hooks(&job).ends_with("AUTO_DEPLOYMENT_FAILED"), "{job:#}");
}

#[tokio::test]
async fn a_pause_ends_when_the_database_says_so() {
    // Working copies pull from the address that they were made with.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let host = two_batches_on(Setup::default().flag("--listen", format!("127.0.0.1:{port}"))).await;
    upload(&host, "1", &[("a", "1")]).await;
    let stopped = host.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let asked = with(&to_groups("1", &["front"]), &json!({ "rolling_pause": 5 }));
    let id = client.post(DEPLOYMENTS, &asked).await.body["job_id"].as_str().unwrap().to_owned();
    currently_on(&client, &id, "pause of").await;
    program.signal(Signal::KILL);
    program.ended().await;
    // The clock of the host that goes on was put back.
    let flags = stopped.all_flags();
    let mut program = Program::serve_off_by("-1h", &flags.iter().map(String::as_str).collect::<Vec<_>>());
    let (_, client) = program.ready(&stopped.database.token).await;
    eventually("the pause to end", async || {
        let job = client.get(&format!("/job/{id}?steps=true")).await.body;
        let steps = job["steps"].as_array().unwrap();
        steps.iter().any(|step| step["kind"] == "pause" && step["state"] == "succeeded").then_some(())
    })
    .await;
    let mut database = stopped.database.connect().await;
    let late: f64 = sqlx::query_scalar(
        "select extract(epoch from ended_at - until)::float8 from job_steps where job_id = $1::uuid and kind = 'pause'",
    )
    .bind(&id)
    .fetch_one(&mut database)
    .await
    .unwrap();
    assert!(late >= 0.0, "it has ended {late} seconds too late");
    program.signal(Signal::TERM);
    program.ended().await;
}

#[tokio::test]
async fn two_deployments_to_one_repository_come_one_after_the_other() {
    let host = with_two_batches().await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build)]).await;
    }
    let first = start(&host, &with(&to_groups("1", &["front"]), &json!({ "rolling_pause": LONG }))).await;
    currently_on(&host.client, &first, "pause of").await;
    let second = start(&host, &to_groups("2", &["front"])).await;
    let waits = eventually("the second one to wait", async || {
        let shown = host.client.get(&format!("{DEPLOYMENTS}/{second}")).await.body;
        shown["waits_for"].is_object().then_some(shown["waits_for"].clone())
    })
    .await;
    assert_eq!(waits, json!({ "reason": "gitrepo", "gitrepo": "site", "job_id": first, "name": "1" }));
    eventually("its log to say so", async || {
        let waiting = host.client.get(&format!("/job/{second}?results=true")).await.body.to_string();
        waiting.contains(&format!("waits for job {first}")).then_some(())
    })
    .await;
    cancel(&host, &first).await;
    let job = host.ended_job(&second).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    for server in ["web1", "web2"] {
        assert_eq!(sh(&host, server, "cat shop/a").await, "2");
    }
    // One that waits can be cancelled, too, and its hooks hear of it.
    let first = start(&host, &with(&to_groups("1", &["front"]), &json!({ "rolling_pause": LONG }))).await;
    currently_on(&host.client, &first, "pause of").await;
    let second = start(&host, &to_groups("2", &["front"])).await;
    host.running_job(&second).await;
    cancel(&host, &second).await;
    let job = host.ended_job(&second).await;
    assert_eq!(job["status"], "cancelled", "{job:#}");
    assert_eq!(hooks(&job), "AUTO_DEPLOYMENT_FAILED");
    cancel(&host, &first).await;
}

#[tokio::test]
async fn a_deployment_goes_on_where_its_server_died() {
    // Working copies pull from the address that they were made with.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let stopped = two_batches_on(Setup::default().flag("--listen", format!("127.0.0.1:{port}"))).await;
    upload(&stopped, "1", &[("a", "1")]).await;
    prepull(&stopped, "echo x >>../prepulls; touch ../here; while test ! -e ../go; do sleep 0.05; done").await;
    let homes = [home(&stopped, "web1").await, home(&stopped, "web2").await];
    let stopped = stopped.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let asked = with(&to_groups("1", &["front"]), &json!({ "rolling_pause": 3 }));
    let started = client.post(DEPLOYMENTS, &asked).await;
    assert_eq!(started.status, 202, "{started}");
    let id = started.body["job_id"].as_str().unwrap().to_owned();
    // In the middle of a command on a server.
    let here = |server: usize| std::path::Path::new(&homes[server]).join("here");
    eventually("the first server to be at work", async || here(0).exists().then_some(())).await;
    program.signal(Signal::KILL);
    program.ended().await;
    std::fs::write(std::path::Path::new(&homes[0]).join("go"), "").unwrap();
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    // In the pause.
    currently_on(&client, &id, "pause of").await;
    program.signal(Signal::KILL);
    program.ended().await;
    std::fs::write(std::path::Path::new(&homes[1]).join("go"), "").unwrap();
    let host = stopped.start().await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(
        hooks(&job),
        "AUTO_DEPLOYMENT_START\nGITDEPLOY_COMMIT_DIFF\nAUTO_DEPLOYMENT_BATCH_BEGIN\nAUTO_DEPLOYMENT_BATCH_DONE\n\
         AUTO_DEPLOYMENT_BATCH_BEGIN\nAUTO_DEPLOYMENT_BATCH_DONE\nAUTO_DEPLOYMENT_COMPLETE"
    );
    for server in ["web1", "web2"] {
        assert_eq!(sh(&host, server, "cat shop/a; cat prepulls").await, "1x", "{server}");
    }
}

#[tokio::test]
async fn rights_that_are_lost_end_a_deployment_before_its_next_batch() {
    let host = with_two_batches().await;
    upload(&host, "1", &[("a", "1")]).await;
    let permissions = json!({ "apps": { "shop": "read/write" }, "servers": ["web*"] });
    let guest = host.guest(&permissions).await;
    let asked = with(&to_groups("1", &["front"]), &json!({ "rolling_pause": 1 }));
    let started = guest.post(DEPLOYMENTS, &asked).await;
    assert_eq!(started.status, 202, "{started}");
    let id = started.body["job_id"].as_str().unwrap().to_owned();
    currently_on(&host.client, &id, "pause of").await;
    let narrower = json!({ "permissions": { "apps": { "shop": "read/write" }, "servers": ["web1"] } });
    let changed = host.client.patch("/global/users/guest", &narrower).await;
    assert_eq!(changed.status, 200, "{changed}");
    let job = host.ended_job(&id).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("not-allowed")), "{job:#}");
    assert_eq!(states(&deployment(&host, &job).await), "web1 succeeded\nweb2 pending");
    // And from the start.
    let refused = guest.post(DEPLOYMENTS, &asked).await;
    assert_eq!(refused.status, 403, "{refused}");
}

#[tokio::test]
async fn commands_around_a_pull_are_changed_by_those_who_may_use_all_servers() {
    let host = with_two_batches().await;
    let guest = host.guest(&json!({ "apps": { "shop": "read/write" }, "servers": ["web1"] })).await;
    let actions = json!({ "actions": { "postpull": [["true"]] } });
    let refused = guest.patch(WEB, &actions).await;
    assert_eq!(refused.status, 403, "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("server `web2`"), "{refused}");
    assert_eq!(guest.patch(WEB, &json!({ "attributes": { "team": "red" } })).await.status, 200);
    on(&host, "web", "deinitialize", &["web2"]).await;
    assert_eq!(guest.patch(WEB, &actions).await.status, 200);
}

#[tokio::test]
async fn the_client_deploys_and_says_what_to_do_next() {
    let host = with_two_batches().await;
    upload(&host, "1", &[("a", "1")]).await;
    let elita = Elita::of(&host);
    let said = elita.run(&["deploy", "shop", "1", "--env", "production", "--plan"]).await;
    assert_eq!(said.code, 0, "{said}");
    assert!(said.stderr.contains("plan: 1 to 2 servers, 2 batches, 1 gitdeploy"), "{said}");
    assert!(said.stderr.contains("now web is at no build on 2 servers"), "{said}");
    let asks = elita.run(&["deploy", "shop", "1", "--env", "production", "--group", "front"]).await;
    assert_eq!(asks.code, 2, "{asks}");
    let said = elita.run(&["deploy", "shop", "1", "--env", "production", "--yes"]).await;
    assert_eq!(said.code, 0, "{said}");
    assert!(said.stderr.contains("2 of 2 have 1"), "{said}");
    prepull(&host, "test ! -e ../broken").await;
    sh(&host, "web2", "touch broken").await;
    upload(&host, "2", &[("a", "2")]).await;
    let said = elita.run(&["deploy", "shop", "2", "--on", "web1", "--on", "web2", "--gitdeploy", "web", "-y"]).await;
    assert_eq!(said.code, 1, "{said}");
    assert!(said.stderr.contains("1 of 2 have 2, 1 failed"), "{said}");
    let next = said.stderr.lines().find_map(|line| line.trim().strip_prefix("resume: elita ")).unwrap().to_owned();
    sh(&host, "web2", "rm broken").await;
    let words: Vec<_> = next.split(' ').chain(["--yes"]).collect();
    let said = elita.run(&words).await;
    assert_eq!(said.code, 0, "{said}");
    assert_eq!(sh(&host, "web2", "cat shop/a").await, "2");
    let listed = elita.run(&["deployment", "list", "shop"]).await;
    assert!(listed.code == 0 && listed.stdout.contains("complete"), "{listed}");
    let shown = elita.run(&["deployment", "show", "shop", "-"]).await;
    assert!(shown.code == 0 && shown.stdout.contains("web2"), "{shown}");
}

#[tokio::test]
async fn a_plugin_takes_the_servers_of_each_batch_out_of_a_load_balancer() {
    let mut balancer = Outside::new(Answer::Keeps).await;
    let grants = format!("http = ['127.0.0.1:{}']", balancer.port());
    let setup = Setup::default().switch("--local-servers").plugins(&["load-balancer"]);
    let host = shop_on(setup.granting("load-balancer", &grants), &["web1", "web2"], &[]).await;
    host.settled_plugin("load-balancer").await;
    on(&host, "web", "initialize", &["web1", "web2"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    let url = format!("http://127.0.0.1:{}/pool", balancer.port());
    let change = json!({ "attributes": { "load_balancer": { "url": url } } });
    assert_eq!(host.client.patch("/app/shop", &change).await.status, 200);
    upload(&host, "1", &[("a", "1")]).await;
    let job = deployed(&host, &to_groups("1", &["front"])).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let mut asked = || {
        let lines = balancer.asked().into_iter();
        lines.map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(asked(), ["/pool/web1/drain", "/pool/web1/fill", "/pool/web2/drain", "/pool/web2/fill"]);
    // One that fails stays out.
    prepull(&host, "test ! -e ../broken").await;
    sh(&host, "web1", "touch broken").await;
    let job = deployed(&host, &to_groups("1", &["front"])).await;
    assert_eq!(job["status"], "failed", "{job:#}");
    assert_eq!(asked(), ["/pool/web1/drain", "/pool/web2/fill"]);
}

#[tokio::test]
async fn a_plugin_posts_what_a_commit_changes() {
    let mut reviews = Outside::new(Answer::Keeps).await;
    let url = format!("http://127.0.0.1:{}/commits", reviews.port());
    let host = with_example("commit-diff", reviews.port(), &json!({ "commit_diff": { "url": url } })).await;
    upload(&host, "1", &[("a", "1\n"), ("b", "1\n")]).await;
    assert_eq!(deployed(&host, &to_groups("1", &["front"])).await["status"], "succeeded");
    upload(&host, "2", &[("a", "1\n"), ("b", "1\n2\n")]).await;
    let job = deployed(&host, &to_groups("2", &["front"])).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let posted = reviews.asked();
    let bodies: Vec<Value> =
        posted.iter().map(|text| serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()).collect();
    assert_eq!(bodies.len(), 2, "{posted:#?}");
    assert_eq!(bodies[1]["text"], "modified b +1 -0", "{posted:#?}");
    assert_eq!(bodies[1]["commit"], deployment(&host, &job).await["commits"]["site"], "{posted:#?}");
}

#[tokio::test]
async fn a_plugin_checks_health_after_each_batch_and_stops_the_deployment() {
    let mut well = Outside::new(Answer::hello()).await;
    let of = |port: u16| json!({ "health_check": { "url": format!("http://127.0.0.1:{port}/{{server}}") } });
    let host = with_example("health-check", well.port(), &of(well.port())).await;
    upload(&host, "1", &[("a", "1")]).await;
    let job = deployed(&host, &to_groups("1", &["front"])).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let asked: Vec<_> = well.asked().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(asked, ["/web1", "/web2"]);
    drop(well);

    let ill = Outside::new(Answer::Says("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".into())).await;
    let host = with_example("health-check", ill.port(), &of(ill.port())).await;
    upload(&host, "1", &[("a", "1")]).await;
    let job = deployed(&host, &with(&to_groups("1", &["front"]), &json!({ "rolling_pause": LONG }))).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("cancelled"), &json!("cancelled")), "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains("plugin `health-check`"), "{job:#}");
    assert_eq!(states(&deployment(&host, &job).await), "web1 succeeded\nweb2 pending");
    let fired = job["error"]["details"]["hooks"].as_array().unwrap_or_else(|| panic!("{job:#}"));
    let hook = fired.iter().find(|hook| hook["hook"] == "AUTO_DEPLOYMENT_BATCH_DONE").unwrap();
    assert!(hook["error"]["message"].as_str().unwrap().contains("server web1 is not well"), "{hook:#}");
}

/// A server with an example plugin that may send requests to this port, and these attributes of the application.
async fn with_example(plugin: &str, port: u16, attributes: &Value) -> TestHost {
    let grants = format!("http = ['127.0.0.1:{port}']");
    let setup = Setup::default().switch("--local-servers").plugins(&[plugin]).granting(plugin, &grants);
    let host = shop_on(setup, &["web1", "web2"], &[]).await;
    host.settled_plugin(plugin).await;
    on(&host, "web", "initialize", &["web1", "web2"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    assert_eq!(host.client.patch("/app/shop", &json!({ "attributes": attributes })).await.status, 200);
    host
}

/// The application `shop` with the gitdeploy `web` in the repository `site`, another repository `tools`, and these
/// servers in `production` and `staging`. A plugin takes part in everything.
async fn with_shop(production: &[&str], staging: &[&str]) -> TestHost {
    watched_shop_on(Setup::default(), production, staging).await
}

async fn watched_shop_on(setup: Setup, production: &[&str], staging: &[&str]) -> TestHost {
    let watches = plugin_file("watch-deployments");
    let setup = setup.switch("--local-servers").plugin("watch-deployments", watches);
    let host = shop_on(setup, production, staging).await;
    host.settled_plugin("watch-deployments").await;
    host
}

async fn shop_on(setup: Setup, production: &[&str], staging: &[&str]) -> TestHost {
    let host = with_gitdeploy(setup, &json!({})).await;
    assert_eq!(host.client.patch(WEB, &json!({ "location": { "path": "/shop" } })).await.status, 200);
    for (environment, servers) in [("production", production), ("staging", staging)] {
        for name in servers {
            let new = json!({ "name": name, "environment": environment, "driver": "local" });
            assert_eq!(host.client.post("/server", &new).await.status, 201);
        }
    }
    host
}

/// The same with two servers, and a group `front` that rolls over them one by one.
async fn with_two_batches() -> TestHost {
    two_batches_on(Setup::default()).await
}

async fn two_batches_on(setup: Setup) -> TestHost {
    let host = watched_shop_on(setup, &["web1", "web2"], &[]).await;
    on(&host, "web", "initialize", &["web1", "web2"]).await;
    make_group(&host, "front", &json!(["web"]), true).await;
    host
}

async fn make_gitdeploy(host: &TestHost, name: &str, repo: &str, branch: &str, path: &str) {
    let repository = format!("/app/shop/gitrepos/{repo}");
    if host.client.get(&repository).await.status == 404 {
        let made = host.client.post("/app/shop/gitrepos", &json!({ "name": repo, "gitprovider": "own" })).await;
        assert_eq!(made.status, 201, "{made}");
        eventually("the repository to be ready", async || {
            (host.client.get(&repository).await.body["state"] == "ready").then_some(())
        })
        .await;
    }
    let location = json!({ "path": path, "gitrepo": repo, "default_branch": branch });
    let new = json!({ "name": name, "package": "master", "location": location });
    let made = host.client.post("/app/shop/gitdeploys", &new).await;
    assert_eq!(made.status, 201, "{made}");
}

async fn make_group(host: &TestHost, name: &str, gitdeploys: &Value, rolls: bool) {
    let new = json!({ "name": name, "gitdeploys": gitdeploys, "rolling_deploy": rolls });
    let made = host.client.post("/app/shop/groups", &new).await;
    assert_eq!(made.status, 201, "{made}");
}

/// Has this done with a gitdeploy on servers.
async fn on(host: &TestHost, gitdeploy: &str, task: &str, servers: &[&str]) {
    let path = format!("/app/shop/gitdeploys/{gitdeploy}");
    let accepted = host.client.post(&path, &json!({ task: true, "servers": servers })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    let job = host.ended_job(accepted.body["job_id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
}

/// Has a script run before each pull of `web`, in its working copy.
async fn prepull(host: &TestHost, script: &str) {
    let actions = json!({ "actions": { "prepull": [["sh", "-c", script]] } });
    assert_eq!(host.client.patch(WEB, &actions).await.status, 200);
}

fn to_groups(build: &str, groups: &[&str]) -> Value {
    json!({ "build_name": build, "environments": ["production"], "groups": groups })
}

/// The same with more members.
fn with(asked: &Value, more: &Value) -> Value {
    let mut asked = asked.clone();
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    asked
}

/// Starts a deployment, and returns its id.
async fn start(host: &TestHost, asked: &Value) -> String {
    let accepted = host.client.post(DEPLOYMENTS, asked).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    accepted.body["job_id"].as_str().unwrap().to_owned()
}

/// A deployment's job, once it has ended.
async fn deployed(host: &TestHost, asked: &Value) -> Value {
    host.ended_job(&start(host, asked).await).await
}

async fn deployment(host: &TestHost, job: &Value) -> Value {
    let shown = host.client.get(&format!("{DEPLOYMENTS}/{}", job["job_id"].as_str().unwrap())).await;
    assert_eq!(shown.status, 200, "{shown}");
    shown.body
}

async fn cancel(host: &TestHost, id: &str) {
    let cancelled = host.client.post(&format!("{DEPLOYMENTS}/{id}"), &json!({ "cancel": true })).await;
    assert_eq!(cancelled.status, 202, "{cancelled}");
}

/// Waits until a deployment is at this.
async fn currently_on(client: &Client, id: &str, what: &str) {
    eventually(what, async || {
        let shown = client.get(&format!("{DEPLOYMENTS}/{id}")).await.body;
        let on = shown["progress"]["currently_on"].as_str().unwrap_or_default().to_owned();
        assert!(!matches!(shown["status"].as_str(), Some("error" | "complete")), "{shown:#}");
        on.starts_with(what).then_some(())
    })
    .await;
}

/// The home of a server of the driver `local`.
async fn home(host: &TestHost, server: &str) -> String {
    sh(host, server, "pwd").await
}

/// Each target of a deployment with its state, by server.
fn states(deployment: &Value) -> String {
    let mut lines = Vec::new();
    for batch in deployment["progress"]["phase2"]["batches"].as_array().unwrap() {
        for (server, on) in batch.as_object().unwrap() {
            for target in on.as_object().unwrap().values() {
                let code = target["code"].as_str().map(|code| format!(": {code}")).unwrap_or_default();
                lines.push(format!("{server} {}{code}", target["state"].as_str().unwrap()));
            }
        }
    }
    lines.sort();
    lines.join("\n")
}

/// The hooks that have fired, in their order.
fn hooks(job: &Value) -> String {
    let entries = job["job_data"].as_array().unwrap().iter();
    let hooks: Vec<_> = entries.filter_map(|entry| entry["data"]["hook"].as_str()).collect();
    hooks.join("\n")
}

/// What has happened, in its order: hooks with what they were told, batches, and in a line what came of each. What happens
/// at the same time is sorted.
fn order(job: &Value) -> String {
    let (mut lines, mut pulls) = (Vec::new(), Vec::new());
    for entry in job["job_data"].as_array().unwrap() {
        let data = &entry["data"];
        let line = match (data["hook"].as_str(), data["status"].as_str()) {
            (Some(hook), _) => format!("{hook} {}", data["told"]),
            (None, Some("batch")) => format!("batch {} of {}", data["batch"], data["batches"]),
            (None, Some(status)) if data["gitdeploy"].is_string() => {
                let [server, gitdeploy] = ["server", "gitdeploy"].map(|member| data[member].as_str().unwrap());
                pulls.push(format!("{server} {gitdeploy} {status}"));
                continue;
            }
            _ => continue,
        };
        if !pulls.is_empty() {
            pulls.sort();
            lines.push(std::mem::take(&mut pulls).join(", "));
        }
        lines.push(line);
    }
    pulls.sort();
    if !pulls.is_empty() {
        lines.push(pulls.join(", "));
    }
    lines.join("\n")
}
