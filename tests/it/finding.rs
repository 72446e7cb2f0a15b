//! Finding things in lists, and arguments in the forms in which people and programs write them.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::access::everything;
use crate::harness::{Client, Setup, TestHost};

#[tokio::test]
async fn every_list_can_be_narrowed_by_a_pattern_of_names() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    host.create_application("hostess").await;
    for name in ["base", "web-1", "web-2", "db_1", "dbx1"] {
        for (path, document) in everything(name) {
            let reply = host.client.post(path, &document).await;
            assert_eq!(reply.status, 201, "{path}: {reply}");
        }
    }
    for list in [
        "/app/hostile/builds",
        "/app/hostile/builds?order=-created",
        "/app/hostile/packagemaps",
        "/app/hostile/gitrepos",
        "/app/hostile/gitdeploys",
        "/app/hostile/groups",
        "/server",
        "/global/gitproviders",
        "/global/keypairs",
        "/global/users",
    ] {
        let and = if list.contains('?') { '&' } else { '?' };
        for (pattern, names) in [
            ("web-?", vec!["web-1", "web-2"]),
            ("*2", vec!["web-2"]),
            ("web-1", vec!["web-1"]),
            // What means something to the database is a letter like others.
            ("db_1", vec!["db_1"]),
            ("%25", vec![]),
            ("WEB-1", vec![]),
        ] {
            assert_eq!(names_in(&host.client, &format!("{list}{and}name={pattern}")).await, names, "{list} {pattern}");
        }
        let first = host.client.get(&format!("{list}{and}name=web-*&limit=1")).await;
        let next = first.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
        assert!(next.contains("name=web-*"), "{next}");
        assert_eq!(host.client.get(&next).await.body["items"].as_array().unwrap().len(), 1, "{list}");
    }
    assert_eq!(host.client.get("/app?name=host?s?").await.items("app_name"), ["hostess"]);
    assert_eq!(host.client.get("/global/plugins?name=mis*").await.items("name"), ["misbehave"]);
    assert_eq!(host.client.get("/app/hostile/actions?name=No*").await.items("name"), ["Noop"]);
    assert_eq!(
        host.client.get("/global/audit?name=host?le&operation=applications.create").await.items("name"),
        ["hostile"]
    );
    host.client.post("/global/tokens", &json!({ "name": "ci-shop" })).await;
    assert_eq!(host.client.get("/global/tokens?name=ci-*").await.items("name"), ["ci-shop"]);
    let long = host.client.get(&format!("/app?name={}", "x".repeat(600))).await;
    assert_eq!(long.fault(), (422, "name"), "{long}");
}

#[tokio::test]
async fn jobs_are_found_by_patterns_of_their_names() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    for action in ["Noop", "Echo", "Fail"] {
        host.run_action("hostile", action, "").await;
    }
    for (filter, names) in [
        ("name=Noop", vec!["Noop"]),
        ("name=*o*", vec!["Echo", "Noop"]),
        ("name=*&status=failed,lost", vec!["Fail"]),
        ("name=?o?p&application=hostile", vec!["Noop"]),
        ("name=N%25", vec![]),
    ] {
        assert_eq!(host.client.get(&format!("/job?{filter}")).await.items("name"), names, "{filter}");
    }
}

#[tokio::test]
async fn several_jobs_are_asked_for_at_once() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let mut ids = Vec::new();
    for action in ["Noop", "Echo", "Fail"] {
        ids.push(host.run_action("hostile", action, "").await["job_id"].as_str().unwrap().to_owned());
    }
    let unknown = "0197c9a0-7b1e-7c3d-8a54-3f2f1f0e9d8c";
    let (first, last) = (&ids[0], &ids[2]);
    for (filter, names) in [
        (format!("id={first}"), vec!["Noop"]),
        (format!("id={first},{last},{unknown}"), vec!["Fail", "Noop"]),
        (format!("id={first},{last}&status=failed"), vec!["Fail"]),
        (format!("id={first},{last}&active=true"), vec![]),
        (format!("id={unknown}"), vec![]),
    ] {
        assert_eq!(host.client.get(&format!("/job?{filter}")).await.items("name"), names, "{filter}");
    }
    let page = host.client.get(&format!("/job?id={first},{last}&limit=1")).await;
    assert_eq!(page.items("name"), ["Fail"]);
    let next = page.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    assert_eq!(host.client.get(&next).await.items("name"), ["Noop"]);
    let guest = host.guest(&json!({ "apps": { "other": "read" } })).await;
    assert_eq!(guest.get(&format!("/job?id={first}")).await.body["items"], json!([]));
    assert_eq!(host.client.get("/job?id=1").await.fault(), (422, "id"));
}

#[tokio::test]
async fn every_list_of_documents_can_be_read_by_age() {
    let host = TestHost::start().await;
    host.create_application("hostile").await;
    let names = ["base", "c", "a"];
    for name in names {
        for (path, document) in everything(name) {
            let reply = host.client.post(path, &document).await;
            assert_eq!(reply.status, 201, "{path}: {reply}");
        }
    }
    for list in [
        "/app/hostile/builds",
        "/app/hostile/packagemaps",
        "/app/hostile/gitrepos",
        "/app/hostile/gitdeploys",
        "/app/hostile/groups",
        "/server",
        "/global/gitproviders",
        "/global/keypairs",
        "/global/users",
    ] {
        for (order, expected) in [("-created", ["a", "c", "base"]), ("created", ["base", "c", "a"])] {
            let path = format!("{list}?order={order}");
            let mut found = read_on(&host.client, &format!("{path}&limit=1"), "name").await;
            found.retain(|name| names.contains(&name.as_str().unwrap()));
            assert_eq!(found, expected, "{path}");
            assert_eq!(host.client.get(&format!("{path}&after=x")).await.fault(), (422, "after"), "{path}");
        }
        assert_eq!(host.client.get(&format!("{list}?order=size")).await.fault(), (422, "order"), "{list}");
    }
    host.create_application("a").await;
    assert_eq!(host.client.get("/app?order=-created").await.items("application"), ["a", "hostile"]);
    assert_eq!(host.client.get("/app?order=created").await.items("application"), ["hostile", "a"]);
}

#[tokio::test]
async fn what_comes_one_after_the_other_is_read_from_either_end() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    for action in ["Noop", "Echo", "Fail"] {
        host.run_action("hostile", action, "").await;
        host.client.post("/global/tokens", &json!({})).await;
    }
    host.database.connect().await.execute(DEPLOYED).await.unwrap();
    for (list, member) in [
        ("/job", "job_id"),
        ("/global/audit", "audit_id"),
        ("/global/tokens", "token_id"),
        ("/app/hostile/deployments", "id"),
        ("/app/hostile/deployments?status=complete,error", "id"),
        ("/app/hostile/receipts", "id"),
        ("/app/hostile/receipts?server=web1", "id"),
    ] {
        let path = |order| format!("{list}{}limit=2&order={order}", if list.contains('?') { '&' } else { '?' });
        let newest_first = read_on(&host.client, &path("-created"), member).await;
        let mut oldest_first = read_on(&host.client, &path("created"), member).await;
        assert!(newest_first.len() > 2, "{list}: {newest_first:?}");
        oldest_first.reverse();
        assert_eq!(oldest_first, newest_first, "{list}");
        assert_eq!(host.client.get(&path("name")).await.fault(), (422, "order"), "{list}");
    }
    let jobs = host.client.get("/job?type=action&order=created").await;
    assert_eq!(jobs.items("name"), ["Noop", "Echo", "Fail"], "{jobs}");
}

#[tokio::test]
async fn deployments_and_receipts_are_found_by_when_and_by_where_they_stand() {
    let host = TestHost::start().await;
    host.create_application("hostile").await;
    host.database.connect().await.execute(DEPLOYED).await.unwrap();
    for (list, filter, expected) in [
        ("deployments", "status=error", &[2][..]),
        ("deployments", "status=error&order=created", &[2]),
        ("deployments", "status=error,cancelled", &[4999, 2]),
        ("deployments", "status=cancelled,error&order=created", &[2, 4999]),
        ("deployments", "status=created", &[]),
        ("deployments", "since=2026-01-01T01:23:18Z", &[5000, 4999, 4998]),
        ("deployments", "since=2026-01-01T01:23:18Z&until=2026-01-01T01:23:20Z&order=created", &[4998, 4999]),
        ("deployments", "until=2026-01-01T00:00:03Z&order=created", &[1, 2]),
        ("deployments", "until=2026-01-01T00:00:03Z", &[2, 1]),
        ("receipts", "since=2026-01-01T00:00:02Z", &[3, 2]),
        ("receipts", "since=2026-01-01T00:00:02Z&until=2026-01-01T00:00:03Z", &[2]),
        ("receipts", "until=2026-01-01T00:00:03Z&order=created", &[1, 2]),
    ] {
        let found = read_on(&host.client, &format!("/app/hostile/{list}?{filter}"), "id").await;
        // The numbers are in their ids.
        let number = |id: &Value| i64::from_str_radix(&id.as_str().unwrap()[24..], 16).unwrap();
        assert_eq!(found.iter().map(number).collect::<Vec<_>>(), expected, "{list}?{filter}");
    }
    let refused = host.client.get("/app/hostile/deployments?status=failed").await;
    assert_eq!(refused.fault(), (422, "status"), "{refused}");
}

/// Five thousand deployments, most of them complete, one a second; their jobs are gone. Of three there are receipts.
const DEPLOYED: &str = "
    insert into deployments (id, application, build, options, plan, git_repos, status, created_at)
    select (lpad(to_hex(1767225600000 + 1000 * n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid, 'hostile', '1',
        '{\"rolling_divisor\": 2, \"rolling_pause\": 0, \"ordered_pause\": 0, \"max_failures\": 0,
          \"skip_unreachable\": false}',
        '{\"hash\": \"\", \"build_name\": \"1\", \"commits\": [], \"gitdeploys\": [], \"batches\": [], \"before\": [],
          \"warnings\": []}', '{}',
        case n when 2 then 'error' when 4999 then 'cancelled' else 'complete' end,
        '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 second'
    from generate_series(1, 5000::bigint) n;
    insert into receipts (id, application, server, gitdeploy, build, job_id, content, key_id, signature)
    select id, 'hostile', 'web1', 'web', '1', id, json_build_object('at', created_at)::text,
        (select id from receipt_keys limit 1), ''
    from deployments where created_at <= '2026-01-01T00:00:03Z'";

/// A member of all items of a list, page by page.
async fn read_on(client: &Client, path: &str, member: &str) -> Vec<Value> {
    let (mut found, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = client.get(&path).await;
        let items = page.body["items"].as_array().unwrap_or_else(|| panic!("{path}: {page}"));
        found.extend(items.iter().map(|item| match member {
            "name" => json!(name_of(item)),
            member => item[member].clone(),
        }));
        next = page.headers.get("link").map(|link| link.to_str().unwrap().split(['<', '>']).nth(1).unwrap().to_owned());
    }
    found
}

#[tokio::test]
async fn an_application_is_called_the_same_everywhere() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    host.run_action("hostile", "Noop", "").await;
    for filter in ["application=hostile", "app=hostile"] {
        assert_eq!(host.client.get(&format!("/job?{filter}")).await.items("application"), ["hostile"]);
        assert!(
            !host.client.get(&format!("/global/audit?{filter}")).await.body["items"].as_array().unwrap().is_empty()
        );
        let cancel = host.client.post_empty(&format!("/job?cancel=true&{filter}")).await;
        assert_eq!(cancel.status, 202, "{cancel}");
    }
    for (path, document) in everything("base") {
        host.client.post(path, &document).await;
    }
    for list in ["builds", "packagemaps", "gitrepos", "gitdeploys", "groups"] {
        let path = format!("/app/hostile/{list}");
        let listed = host.client.get(&path).await;
        assert_eq!(BTreeSet::from_iter(listed.items("application")), BTreeSet::from(["hostile"]), "{path}");
        let document = host.client.get(&format!("{path}/base")).await;
        assert_eq!(document.body["application"], "hostile", "{document}");
        let moved = host.client.patch(&format!("{path}/base"), &json!({ "application": "other" })).await;
        assert_eq!(moved.fault(), (422, "/application"), "{moved}");
    }
    let shop = host.client.post("/app", &json!({ "application": "shop" })).await;
    assert_eq!((&shop.body["application"], &shop.body["app_name"]), (&json!("shop"), &json!("shop")), "{shop}");
    // In filters, too, it may be called as it was at first.
    for list in ["/job", "/global/audit", "/events"] {
        for word in ["application", "app", "app_name"] {
            let listed = host.client.get(&format!("{list}?{word}=hostile")).await;
            assert_eq!(listed.status, 200, "{list} {word}: {listed}");
        }
    }
    let twice = host.client.get("/job?app=hostile&application=hostile").await;
    assert_eq!(twice.status, 422, "{twice}");
}

#[tokio::test]
async fn times_are_understood_as_people_write_them() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    host.run_action("hostile", "Noop", "").await;
    for since in
        ["2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T02:00:00+02:00", "2026-01-01T00:00", "2026-01-01%2000:00:00"]
    {
        assert_eq!(host.client.get(&format!("/job?since={since}")).await.items("name"), ["Noop"], "{since}");
        assert!(
            !host.client.get(&format!("/global/audit?since={since}")).await.body["items"]
                .as_array()
                .unwrap()
                .is_empty()
        );
        let until = host.client.get(&format!("/job?until={since}")).await;
        assert_eq!(until.body["items"], json!([]), "{until}");
    }
    for since in ["yesterday", "2026-13-01", ""] {
        let reply = host.client.get(&format!("/job?since={since}")).await;
        assert_eq!(reply.fault(), (422, "since"), "{reply}");
        assert!(reply.body["detail"].as_str().unwrap().contains("a date such as `2026-11-22`"), "{reply}");
    }
    let hour = host.client.post("/global/tokens", &json!({ "expires_in": "1h" })).await;
    assert_eq!(hour.status, 201, "{hour}");
    let (made, ends) = (hour.body["created_at"].as_str().unwrap(), hour.body["expires_at"].as_str().unwrap());
    assert_ne!(made[..13], ends[..13], "{hour}");
    assert_eq!(made[14..19], ends[14..19], "{hour}");
}

#[tokio::test]
async fn a_time_is_understood_with_its_unit_wherever_seconds_are_asked_for() {
    let host = Setup::default().switch("--local-servers").start().await;
    let kept = json!({ "app_name": "shop", "retention": { "keep_seconds": "90d" } });
    let made = host.client.post("/app", &kept).await;
    assert_eq!(made.body["retention"], json!({ "keep_seconds": 90 * 86_400 }), "{made}");
    let pruned = host.client.delete("/app/shop/builds?keep_seconds=90d&dry_run=true").await;
    assert_eq!(pruned.status, 202, "{pruned}");
    host.client.post("/server", &json!({ "name": "here", "environment": "test", "driver": "local" })).await;
    let command = json!({ "command": ["true"], "timeout": "5m" });
    let asked = host.client.post("/server/here/command", &command).await;
    assert_eq!(asked.status, 202, "{asked}");
    let job = host.client.get(asked.header("location")).await;
    assert_eq!(job.body["data"]["timeout"], 300, "{job}");
    let long = host.client.post("/server/here/command", &json!({ "command": ["true"], "timeout": "2d" })).await;
    assert_eq!(long.fault().0, 422, "{long}");
}

#[tokio::test]
async fn flags_are_understood_as_people_write_them() {
    let host = TestHost::start().await;
    for flag in ["pretty", "pretty=", "pretty=True", "pretty=true"] {
        let reply = host.client.request(reqwest::Method::GET, &format!("/app?{flag}")).send().await.unwrap();
        assert!(reply.text().await.unwrap().contains("\n  \""), "{flag}");
    }
    for flag in ["active=True", "active=FALSE", "active=true"] {
        assert_eq!(host.client.get(&format!("/job?{flag}")).await.status, 200, "{flag}");
    }
    // What a script left empty decides nothing.
    for flag in ["active=", "active", "active=yes"] {
        assert_eq!(host.client.get(&format!("/job?{flag}")).await.fault(), (422, "active"), "{flag}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_without_the_words_of_a_programming_language() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let server = |driver: Value| json!({ "name": "web", "environment": "test", "driver": driver });
    for (path, body, said) in [
        ("/server", server(json!("pigeon")), "driver: `pigeon` is not known here; known are `salt`, `ssh`, `local`"),
        ("/app", json!({ "app_name": 5 }), "app_name: expected a text, not the number `5`"),
        ("/app", json!({ "app_name": "x", "attributes": [] }), "attributes: expected an object, not a list"),
        (
            "/app/shop/groups",
            json!({ "name": "g", "gitdeploys": [], "rolling_deploy": "yes" }),
            "rolling_deploy: expected `true` or `false`, not the text \"yes\"",
        ),
        (
            "/app/shop/packagemaps",
            json!({ "name": "m", "packages": { "p": { "glob": 1 } } }),
            "packages/p/glob: `glob` is not known here; known are `patterns`, `remove_prefix`, `prefix`",
        ),
    ] {
        let reply = host.client.post(path, &body).await;
        assert_eq!((reply.status, reply.body["detail"].as_str().unwrap()), (422, said), "{reply}");
    }
    let status = host.client.get("/job?status=runing").await;
    let known = "known are `queued`, `running`, `succeeded`, `failed`, `cancelled`, `lost`";
    assert_eq!(status.body["detail"], format!("status: `runing` is not known here; {known}"), "{status}");
    let patch = host.client.patch("/app/shop", &json!({ "attributes": 7 })).await;
    assert_eq!(patch.body["detail"], "attributes: expected an object, not the number `7`", "{patch}");
}

#[tokio::test]
async fn a_number_is_kept_as_it_came_or_refused() {
    let host = TestHost::start().await;
    let create = async |number: &str| {
        let name = number.replace(['-', '.'], "x");
        let body = format!(r#"{{"app_name": "n{name}", "attributes": {{"n": [{number}]}}}}"#);
        let request = host.client.request(reqwest::Method::POST, "/app").header("Content-Type", "application/json");
        host.client.send(request.body(body)).await
    };
    let refused = create("123456789012345678901").await;
    assert_eq!(refused.fault(), (422, "/attributes"), "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("does not fit into 64 bits"), "{refused}");
    for number in ["18446744073709551615", "-9223372036854775808", "0.1"] {
        let created = create(number).await;
        assert_eq!(created.status, 201, "{created}");
        let path = created.header("location").to_owned();
        host.client.patch(&path, &json!({ "attributes": { "m": 1 } })).await;
        let text = host.client.request(reqwest::Method::GET, &path).send().await.unwrap().text().await.unwrap();
        assert!(text.contains(&format!(r#""n":[{number}]"#)), "{text}");
    }
    let request = host.client.request(reqwest::Method::PATCH, "/app/n0x1").header("Content-Type", "application/json");
    let refused = host.client.send(request.body(r#"{"attributes": {"n": 99999999999999999999}}"#)).await;
    assert_eq!(refused.status, 422, "{refused}");
}

async fn names_in(client: &Client, path: &str) -> Vec<String> {
    let mut names = ordered_names_in(client, path).await;
    names.sort();
    names
}

async fn ordered_names_in(client: &Client, path: &str) -> Vec<String> {
    let reply = client.get(path).await;
    let items = reply.body["items"].as_array().unwrap_or_else(|| panic!("{path}: {reply}"));
    items.iter().map(name_of).collect()
}

fn name_of(item: &Value) -> String {
    let names = ["name", "build_name", "username"].into_iter().find_map(|member| item[member].as_str());
    names.unwrap().to_owned()
}

#[tokio::test]
async fn what_only_a_newer_server_knows_is_shown_beside_the_rest() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let job = host.run_action("hostile", "Noop", "").await;
    host.run_action("hostile", "Echo", "").await;
    for (path, document) in everything("base") {
        host.client.post(path, &document).await;
    }
    let mut database = host.database.connect().await;
    for change in [
        "alter table jobs drop constraint jobs_status_known",
        "alter table git_providers drop constraint git_providers_type_known",
        "alter table git_repos drop constraint git_repos_state_known",
        "update jobs set status = 'paused' where name = 'Noop'",
        "update git_providers set type = 'sourcehut'",
        "update git_repos set state = 'archived'",
    ] {
        sqlx::query(change).execute(&mut database).await.unwrap();
    }
    let id = job["job_id"].as_str().unwrap();
    assert_eq!(host.client.get("/job?type=action").await.items("status"), ["succeeded", "unknown"]);
    assert_eq!(host.client.get(&format!("/job/{id}")).await.body["status"], "unknown");
    assert_eq!(host.client.get(&format!("/job/{id}/data")).await.body["status"], "unknown");
    assert_eq!(host.client.get("/global/gitproviders").await.items("type"), ["unknown"]);
    assert_eq!(host.client.get("/app/hostile/gitrepos").await.items("state"), ["unknown"]);
    // No client can ask for it.
    assert_eq!(host.client.get("/job?status=unknown").await.fault(), (422, "status"));
    let made = host.client.post("/global/gitproviders", &json!({ "name": "new", "type": "unknown" })).await;
    assert_eq!(made.fault(), (422, "/type"), "{made}");
}
