//! Whoever asks has to be somebody to the end: what was a user when the head of a request came may be nobody, or somebody
//! else, when its body has come.

use reqwest::Method;
use serde_json::json;
use sqlx::Executor as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::access::{arguments, everything, gitdeploy, repo};
use crate::harness::{Api, Operation, PATIENCE, Setup, TestHost};
use crate::http::connect;
use crate::uploads::zip;

/// What happens to who sends a request while its body is on its way.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Deleted,
    Demoted,
    Revoked,
}

#[tokio::test]
async fn nothing_is_done_for_who_lost_the_right_to_it_while_the_body_came() {
    let host = Setup::default().plugins(&["misbehave"]).flag("--role", "api").start().await;
    host.create_application("hostile").await;
    let made = [("/app/hostile/gitrepos", repo("base")), ("/app/hostile/gitdeploys", gitdeploy("base"))];
    for (path, document) in made.into_iter().chain(everything("late")) {
        let reply = host.client.post(path, &document).await;
        assert_eq!(reply.status, 201, "{path}: {reply}");
    }
    let job = host.post_action("hostile", "Noop", "").await;
    let api = Api::of(&host.client).await;
    let takes_body = |it: &Operation<'_>| [Method::POST, Method::PUT, Method::PATCH].contains(&it.method);
    let operations: Vec<_> = api.operations().filter(takes_body).collect();
    assert!(operations.len() > 30, "{} operations", operations.len());
    let mut wrong = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        for loss in [Loss::Deleted, Loss::Demoted, Loss::Revoked] {
            // A token that may do no more than the one it is made with is for everybody who has one.
            if matches!(loss, Loss::Demoted) && operation.id() == "tokens.create" {
                continue;
            }
            let username = format!("late-{number}-{loss:?}");
            let status = ask_and_lose(&host, operation, &username, loss, &job).await;
            let expected = match (loss, operation.id()) {
                (Loss::Demoted, "jobs.cancel" | "tokens.rotate") => 404,
                // It cancels what its sender may cancel: here, nothing.
                (Loss::Demoted, "jobs.cancel-matching") => 202,
                (Loss::Demoted, _) => 403,
                (Loss::Deleted | Loss::Revoked, _) => 401,
            };
            if status != expected {
                wrong.push(format!("{} by a user who was {loss:?}: {status}, not {expected}", operation.id()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let audit = host.client.get("/global/audit?limit=1000").await;
    let by = audit.body["items"].as_array().unwrap().iter().map(|entry| entry["username"].as_str().unwrap());
    assert!(by.clone().all(|name| name == "admin"), "{:?}", by.collect::<Vec<_>>());
    let jobs = host.client.get("/job").await;
    assert!(jobs.items("username").iter().all(|user| *user == "admin"), "{jobs}");
}

#[tokio::test]
async fn what_another_server_has_taken_away_is_missed_in_the_same_moment() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let build = |name: &str| json!({ "build_name": name });
    for (number, taken) in [
        "update users set permissions = '{}' where name = 'guest'",
        "delete from tokens where username = 'guest'",
        "delete from users where name = 'guest'",
    ]
    .into_iter()
    .enumerate()
    {
        let mut database = host.database.connect().await;
        database.execute("delete from users where name = 'guest'").await.unwrap();
        let guest = host.guest(&json!({ "apps": { "shop": "read/write" } })).await;
        // This server remembers who that is for a while.
        let before = guest.post("/app/shop/builds", &build(&format!("before-{number}"))).await;
        assert_eq!(before.status, 201, "{before}");
        database.execute(taken).await.unwrap();
        let after = guest.post("/app/shop/builds", &build(&format!("after-{number}"))).await;
        assert!([401, 403, 409].contains(&after.status), "{taken}: {after}");
    }
    let names = host.client.get("/app/shop/builds").await;
    assert_eq!(names.items("build_name"), ["before-0", "before-1", "before-2"]);
}

/// What makes or stops jobs, or changes nothing. Who is no longer allowed to is kept from it within a second.
const OF_JOBS: [&str; 12] = [
    "actions.run",
    "builds.prune",
    "builds.upload",
    "builds.upload-file",
    "deployments.create",
    "deployments.run",
    "gitdeploys.run",
    "jobs.cancel",
    "jobs.cancel-matching",
    "servers.check",
    "servers.command",
    "servers.command-several",
];

#[tokio::test]
async fn no_change_is_written_for_who_lost_the_right_to_it_on_another_server_in_the_same_moment() {
    let host = Setup::default().plugins(&["misbehave"]).flag("--role", "api").start().await;
    host.create_application("hostile").await;
    let made = [("/app/hostile/gitrepos", repo("base")), ("/app/hostile/gitdeploys", gitdeploy("base"))];
    for (path, document) in made.into_iter().chain(everything("late")) {
        let reply = host.client.post(path, &document).await;
        assert_eq!(reply.status, 201, "{path}: {reply}");
    }
    let api = Api::of(&host.client).await;
    let changes = |it: &Operation<'_>| it.method != Method::GET && !OF_JOBS.contains(&it.id());
    let operations: Vec<_> = api.operations().filter(changes).collect();
    assert!(operations.iter().filter(|it| it.method == Method::DELETE).count() > 8);
    let mut database = host.database.connect().await;
    let mut wrong = Vec::new();
    for (number, operation) in operations.iter().enumerate() {
        for (loss, taken) in [
            (Loss::Demoted, "update users set permissions = '{}' where name = $1"),
            (Loss::Revoked, "delete from tokens where username = $1"),
            (Loss::Deleted, "delete from users where name = $1"),
        ] {
            // What may be done with one's own tokens takes no permissions.
            if matches!(loss, Loss::Demoted) && operation.id().starts_with("tokens.") {
                continue;
            }
            let username = format!("gone-{number}-{loss:?}");
            let user = host.client.with_token(&admit(&host, &username).await);
            // This server remembers who that is for a while.
            let known = user.get("/global/tokens/current").await;
            assert_eq!(known.status, 200, "{known}");
            sqlx::query(taken).bind(&username).execute(&mut database).await.unwrap();
            let (query, body) = match operation.id() {
                "tokens.create" => (String::new(), Some(json!({ "name": "narrower" }))),
                id => arguments(id, &username),
            };
            let id = known.body["token_id"].as_str().unwrap();
            let request = user.request(operation.method.clone(), &(path_of(operation, id) + &query));
            let reply = user.send(if let Some(body) = body { request.json(&body) } else { request }).await;
            if ![401, 403, 409].contains(&reply.status) {
                wrong.push(format!("{} by a user who was {loss:?}: {reply}", operation.id()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let audit = host.client.get("/global/audit?limit=1000").await;
    let by = audit.body["items"].as_array().unwrap().iter().map(|entry| entry["username"].as_str().unwrap());
    assert!(by.clone().all(|name| name == "admin"), "{:?}", by.collect::<Vec<_>>());
}

/// Where an operation is done to what the test has made.
fn path_of(operation: &Operation<'_>, id: &str) -> String {
    let segments = operation.path.split('/').map(|segment| match segment {
        "{app}" => "hostile",
        "{id}" => id,
        "{action}" => "Noop",
        segment if segment.starts_with('{') => "late",
        segment => segment,
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Sends the head of a request that only a missing permission keeps from being done; once the server waits for the body
/// it happens to the sender, and then the body follows. Returns the status.
async fn ask_and_lose(host: &TestHost, operation: &Operation<'_>, username: &str, loss: Loss, job: &str) -> u16 {
    let token = admit(host, username).await;
    let (query, body) = arguments(operation.id(), username);
    let body = match operation.id() {
        "builds.upload-file" => zip("a.txt", b"a"),
        // With a token; a login has no sender before its body has come.
        "tokens.create" => br#"{"name": "narrower"}"#.to_vec(),
        _ => body.unwrap_or_else(|| json!({})).to_string().into_bytes(),
    };
    let content_type =
        if operation.method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let head = format!(
        "{} {}{query} HTTP/1.1\r\nHost: elita\r\nAuth-Token: {token}\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        operation.method,
        path_of(operation, job),
        body.len()
    );
    let mut stream = connect(&host.client).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut goes_on = [0; 25];
    timeout(PATIENCE, stream.read_exact(&mut goes_on)).await.expect("no word of the server").unwrap();
    let said = String::from_utf8_lossy(&goes_on);
    assert_eq!(said, "HTTP/1.1 100 Continue\r\n\r\n", "{}", operation.id());
    lose(host, username, &token, loss).await;
    stream.write_all(&body).await.unwrap();
    let mut reply = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut reply)).await.expect("no reply").unwrap();
    let reply = String::from_utf8(reply).unwrap();
    reply.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_else(|_| panic!("{reply}"))
}

/// Makes another administrator, and returns a token of theirs.
async fn admit(host: &TestHost, username: &str) -> String {
    let token = format!("elita_{username:_<43}");
    let mut database = host.database.connect().await;
    let user = "insert into users (name, password_hash, permissions)
                select $1, password_hash, permissions from users where name = 'admin'";
    sqlx::query(user).bind(username).execute(&mut database).await.unwrap();
    let made = "insert into tokens (id, username, secret_sha256, expires_at)
                values (gen_random_uuid(), $1, sha256($2), now() + interval '1 hour')";
    sqlx::query(made).bind(username).bind(token.as_bytes()).execute(&mut database).await.unwrap();
    token
}

async fn lose(host: &TestHost, username: &str, token: &str, loss: Loss) {
    let user = format!("/global/users/{username}");
    let reply = match loss {
        Loss::Deleted => host.client.delete(&user).await,
        Loss::Demoted => host.client.patch(&user, &json!({ "permissions": null })).await,
        Loss::Revoked => {
            let shown = host.client.with_token(token).get("/global/tokens/current").await;
            host.client.delete(&format!("/global/tokens/{}", shown.body["token_id"].as_str().unwrap())).await
        }
    };
    assert!([200, 204].contains(&reply.status), "{loss:?}: {reply}");
}
