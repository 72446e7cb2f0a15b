//! Logging in and out, and what a token opens.

use std::time::Duration;

use elita::datasvc::DataSvc;
use reqwest::Method;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::harness::{Database, PASSWORD, Program, Reply, TestHost, eventually};

#[tokio::test]
async fn a_user_logs_in_and_gets_a_token_that_works() {
    let host = TestHost::start().await;
    let reply = log_in(&host, json!({ "username": "admin", "password": PASSWORD })).await;
    assert_eq!(reply.status, 201, "{reply}");
    assert_eq!(reply.body["username"], "admin");
    assert_eq!(reply.header("location"), format!("/global/tokens/{}", token_id(&reply)));
    assert_eq!(reply.header("cache-control"), "no-store");
    assert!(token(&reply).starts_with("elita_"), "{reply}");

    let client = host.client.with_token(token(&reply));
    assert_eq!(client.get("/app").await.status, 200);
    let mut shown = client.get(reply.header("location")).await.body;
    let mut stored = reply.body.clone();
    stored.as_object_mut().unwrap().remove("token");
    // By then it may have been used.
    for document in [&mut shown, &mut stored] {
        document.as_object_mut().unwrap().remove("last_used_at");
    }
    assert_eq!(shown, stored);
}

#[tokio::test]
async fn tokens_are_told_apart_by_their_names_clients_and_last_use() {
    let host = TestHost::start().await;
    let login = json!({ "username": "admin", "password": PASSWORD, "name": "ci of the shop" });
    let stranger = host.client.anonymous();
    let request = stranger.request(Method::POST, "/global/tokens").header("User-Agent", "shop-ci/1.0");
    let made = stranger.send(request.json(&login)).await;
    let told = |token: &Value| (token["name"].clone(), token["client"].clone(), token["last_used_at"].is_string());
    assert_eq!(told(&made.body), (json!("ci of the shop"), json!("shop-ci/1.0"), false), "{made}");
    let path = format!("/global/tokens/{}", token_id(&made));
    assert!(host.client.get(&path).await.body["last_used_at"].is_null());
    host.client.with_token(token(&made)).get("/app").await;
    let used = eventually("the use to be written down", async || {
        let shown = host.client.get(&path).await.body;
        shown["last_used_at"].is_string().then_some(shown)
    })
    .await;
    // It costs no write for each request: within a minute it stays what it is.
    for _ in 0..3 {
        host.client.with_token(token(&made)).get("/app").await;
    }
    assert_eq!(host.client.get(&path).await.body["last_used_at"], used["last_used_at"]);
    for name in [json!(""), json!("x".repeat(129)), json!(7)] {
        let refused = log_in(&host, json!({ "username": "admin", "password": PASSWORD, "name": name })).await;
        assert_eq!(refused.fault(), (422, "/name"), "{refused}");
    }
}

#[tokio::test]
async fn a_token_makes_one_that_may_do_less_and_ends_with_it() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    host.create_application("blog").await;
    let scope = json!({ "apps": { "*": "read" } });
    let parent =
        log_in(&host, json!({ "username": "admin", "password": PASSWORD, "expires_in": 3600, "scope": scope })).await;
    let parent_client = host.client.with_token(token(&parent));

    let narrower = json!({ "name": "less", "scope": { "apps": { "shop": "read" } }, "expires_in": 60 });
    let child = parent_client.post("/global/tokens", &narrower).await;
    assert_eq!((child.status, &child.body["made_by"]), (201, &parent.body["token_id"]), "{child}");
    let child_client = host.client.with_token(token(&child));
    assert_eq!(child_client.get("/app").await.items("app_name"), ["shop"]);

    // Without a word about it, it may do the same and lasts as long.
    let same = parent_client.post("/global/tokens", &json!({})).await;
    assert_eq!(same.body["scope"], parent.body["scope"], "{same}");
    let (end, latest) = (same.body["expires_at"].as_str().unwrap(), parent.body["expires_at"].as_str().unwrap());
    assert!(end[..19] <= latest[..19], "{end} is after {latest}");

    for (client, asked, status) in [
        (&parent_client, json!({ "scope": { "apps": { "*": "read/write" } } }), 403),
        (&child_client, json!({ "scope": { "apps": { "*": "read" } } }), 403),
        (&parent_client, json!({ "expires_in": 7200 }), 422),
        (&parent_client, json!({ "username": "admin" }), 400),
        (&host.client.anonymous(), json!({}), 400),
        (&host.client.with_token("elita_wrong"), json!({}), 401),
    ] {
        let refused = client.post("/global/tokens", &asked).await;
        assert_eq!(refused.status, status, "{asked}: {refused}");
    }
    assert_eq!(parent_client.delete("/global/tokens/current").await.status, 204);
    for ended in [&child_client, &host.client.with_token(token(&same))] {
        assert_eq!(ended.get("/app").await.status, 401);
    }
}

#[tokio::test]
async fn a_token_is_put_in_the_place_of_another_one_without_a_password() {
    let host = TestHost::start().await;
    let scope = json!({ "apps": { "*": "read" } });
    let asked = json!({ "name": "ci", "scope": scope, "expires_in": 7200 });
    let old = log_in(&host, merged(&json!({ "username": "admin", "password": PASSWORD }), &asked)).await;
    let old_client = host.client.with_token(token(&old));
    let child = old_client.post("/global/tokens", &json!({ "expires_in": 600 })).await;
    let child_client = host.client.with_token(token(&child));

    let new = old_client.post_empty("/global/tokens/current?rotate=true&overlap=1h").await;
    assert_eq!((new.status, new.header("cache-control")), (201, "no-store"), "{new}");
    assert_ne!((token(&new), token_id(&new)), (token(&old), token_id(&old)));
    for member in ["name", "scope", "username", "made_by"] {
        assert_eq!(new.body[member], old.body[member], "{member}");
    }
    let new_client = host.client.with_token(token(&new));
    // Both are valid for a while, and what was made with the old one goes with the new one.
    for client in [&old_client, &new_client, &child_client] {
        assert_eq!(client.get("/app").await.status, 200);
    }
    let left = |token: &Value| {
        let end = |name: &str| time::OffsetDateTime::parse(token[name].as_str().unwrap(), &Rfc3339).unwrap();
        end("expires_at") - end("created_at")
    };
    assert_eq!(left(&new.body).whole_seconds(), 7200);
    let before = host.client.get(&format!("/global/tokens/{}", token_id(&old))).await.body;
    assert!(left(&before).whole_seconds() <= 3660, "{before}");
    assert_eq!(host.client.delete(&format!("/global/tokens/{}", token_id(&old))).await.status, 204);
    assert_eq!(old_client.get("/app").await.status, 401);
    assert_eq!(child_client.get("/app").await.status, 200);

    // Without any overlap the one in use ends with its answer.
    let last = new_client.post_empty("/global/tokens/current?rotate=True&overlap=0&expires_in=1d").await;
    assert_eq!((last.status, left(&last.body).whole_seconds()), (201, 86_400), "{last}");
    assert_eq!(new_client.get("/app").await.status, 401);
    let last_client = host.client.with_token(token(&last));
    assert_eq!(last_client.get("/app").await.status, 200);

    let audited = host.client.get("/global/audit?operation=tokens.rotate").await;
    assert_eq!(audited.body["items"].as_array().unwrap().len(), 2, "{audited}");
    assert!(!audited.body.to_string().contains("elita_"), "{audited}");

    let child = last_client.post("/global/tokens", &json!({ "expires_in": 600 })).await;
    let child_client = host.client.with_token(token(&child));
    for (client, path, status) in [
        (&last_client, "/global/tokens/current", 400),
        (&last_client, "/global/tokens/current?rotate=false", 400),
        (&last_client, "/global/tokens/current?rotate=true&overlap=8d", 422),
        (&last_client, "/global/tokens/current?rotate=true&expires_in=400d", 422),
        // A token that ends with another one does not outlive it by this.
        (&child_client, "/global/tokens/current?rotate=true&expires_in=2d", 422),
        (&child_client, &format!("/global/tokens/{}?rotate=true", token_id(&last)), 403),
        (&last_client, "/global/tokens/00000000-0000-7000-8000-000000000000?rotate=true", 404),
        (&host.client.anonymous(), "/global/tokens/current?rotate=true", 401),
    ] {
        let refused = client.post_empty(path).await;
        assert_eq!(refused.status, status, "{path}: {refused}");
    }
}

#[tokio::test]
async fn a_token_may_stand_in_either_header() {
    let host = TestHost::start().await;
    let (stranger, token) = (host.client.anonymous(), &host.database.token);
    for (header, value) in [
        ("Authorization", format!("Bearer {token}")),
        ("Authorization", format!("bearer  {token}")),
        ("Auth-Token", token.clone()),
    ] {
        let reply = stranger.send(stranger.request(Method::GET, "/app").header(header, &value)).await;
        assert_eq!(reply.status, 200, "{header}: {reply}");
    }
    let both = stranger.request(Method::GET, "/app").header("Auth-Token", token).bearer_auth(token);
    assert_eq!(stranger.send(both).await.status, 200);
    let two = stranger.request(Method::GET, "/app").header("Auth-Token", "elita_other").bearer_auth(token);
    assert_eq!(stranger.send(two).await.status, 400);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let host = TestHost::start().await;
    let wrong = log_in(&host, json!({ "username": "admin", "password": "guess" })).await;
    assert_eq!((wrong.status, wrong.header("www-authenticate")), (401, "Bearer"), "{wrong}");
    for username in ["nobody", "_global", "", "no name", "\u{fc}"] {
        let unknown = log_in(&host, json!({ "username": username, "password": "guess" })).await;
        assert_eq!(without_ids(&unknown), without_ids(&wrong), "{username:?}");
    }
}

#[tokio::test]
async fn who_has_no_token_is_told_how_to_get_one() {
    let host = TestHost::start().await;
    let reply = host.client.anonymous().get("/app").await;
    assert_eq!((reply.status, &reply.body["code"]), (401, &json!("no-token")), "{reply}");
    assert_eq!(reply.header("www-authenticate"), "Bearer");
    assert!(reply.body["detail"].as_str().unwrap().contains("POST /global/tokens"), "{reply}");
}

#[tokio::test]
async fn what_is_no_valid_token_opens_nothing() {
    let host = TestHost::start().await;
    let truncated = &host.database.token[..host.database.token.len() - 1];
    let token_id = host.client.get("/global/tokens/current").await.body["token_id"].as_str().unwrap().to_owned();
    for token in ["elita_", "elita_AAAA", truncated, &token_id, "' or true --"] {
        let reply = host.client.with_token(token).get("/app").await;
        assert_eq!((reply.status, &reply.body["code"]), (401, &json!("invalid-token")), "{token}: {reply}");
        assert_eq!(reply.header("www-authenticate"), "Bearer");
    }
    let stranger = host.client.anonymous();
    let basic = stranger.request(Method::GET, "/app").basic_auth("admin", Some(PASSWORD));
    assert_eq!(stranger.send(basic).await.status, 401);
}

#[tokio::test]
async fn an_expired_token_opens_nothing() {
    let host = TestHost::start().await;
    let reply = log_in(&host, json!({ "username": "admin", "password": PASSWORD, "expires_in": 3600 })).await;
    let client = host.client.with_token(token(&reply));
    assert_eq!(client.get("/app").await.status, 200);

    let id: Uuid = token_id(&reply).parse().unwrap();
    let expire = sqlx::query("update tokens set expires_at = now() where id = $1").bind(id);
    expire.execute(&mut host.database.connect().await).await.unwrap();
    let refused = eventually("the token to expire", async || {
        let reply = client.get("/app").await;
        (reply.status != 200).then_some(reply)
    })
    .await;
    assert_eq!((refused.status, &refused.body["code"]), (401, &json!("invalid-token")), "{refused}");
}

#[tokio::test]
async fn a_token_lasts_as_long_as_its_user_says() {
    let host = TestHost::start().await;
    let reply = log_in(&host, json!({ "username": "admin", "password": PASSWORD, "expires_in": 3600 })).await;
    assert_eq!(reply.status, 201, "{reply}");
    let id: Uuid = token_id(&reply).parse().unwrap();
    let lifetime =
        sqlx::query_scalar("select extract(epoch from expires_at - created_at)::bigint from tokens where id = $1");
    let lifetime: i64 = lifetime.bind(id).fetch_one(&mut host.database.connect().await).await.unwrap();
    assert_eq!(lifetime, 3600);
    for expires_in in [json!(0), json!(367 * 24 * 3600), json!(u64::MAX), json!(-1), json!("soon"), json!(1.5)] {
        let body = json!({ "username": "admin", "password": PASSWORD, "expires_in": expires_in });
        let reply = log_in(&host, body).await;
        assert_eq!((reply.status, &reply.body["errors"][0]["pointer"]), (422, &json!("/expires_in")), "{reply}");
    }
}

#[tokio::test]
async fn a_revoked_token_opens_nothing_from_then_on() {
    let host = TestHost::start().await;
    let reply = log_in(&host, json!({ "username": "admin", "password": PASSWORD })).await;
    let client = host.client.with_token(token(&reply));
    assert_eq!(client.get("/app").await.status, 200);

    let path = format!("/global/tokens/{}", token_id(&reply));
    assert_eq!(host.client.delete(&path).await.status, 204);
    assert_eq!(client.get("/app").await.status, 401);
    assert_eq!(host.client.get(&path).await.status, 404);
    assert_eq!(host.client.delete(&path).await.status, 404);
    assert_eq!(host.client.get("/app").await.status, 200, "the other token stays");
}

#[tokio::test]
async fn current_is_the_token_in_use() {
    let host = TestHost::start().await;
    let reply = log_in(&host, json!({ "username": "admin", "password": PASSWORD })).await;
    let client = host.client.with_token(token(&reply));
    assert_eq!(client.get("/global/tokens/current").await.body["token_id"], token_id(&reply));
    assert_eq!(client.delete("/global/tokens/current").await.status, 204);
    assert_eq!(client.get("/global/tokens/current").await.status, 401);
}

#[tokio::test]
async fn a_token_is_shown_once_and_kept_nowhere() {
    let host = TestHost::start().await;
    let reply = log_in(&host, json!({ "username": "admin", "password": PASSWORD })).await;
    let secret = token(&reply).strip_prefix("elita_").unwrap();
    let list = host.client.get("/global/tokens").await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 2, "{list}");
    let shown = host.client.get(reply.header("location")).await;
    let rows = sqlx::query_scalar("select json_agg(row_to_json(tokens))::text from tokens");
    let rows: String = rows.fetch_one(&mut host.database.connect().await).await.unwrap();
    for text in [list.to_string(), shown.to_string(), rows] {
        assert!(!text.contains(secret) && !text.contains(PASSWORD), "{text}");
    }
}

#[tokio::test]
async fn what_names_no_token_is_not_found() {
    let host = TestHost::start().await;
    for id in ["00000000-0000-0000-0000-000000000000", "nothing", "*"] {
        let path = format!("/global/tokens/{id}");
        for reply in [host.client.get(&path).await, host.client.delete(&path).await] {
            assert_eq!((reply.status, &reply.body["code"]), (404, &json!("not-found")), "{id}: {reply}");
        }
    }
}

#[tokio::test]
async fn a_token_in_a_url_is_refused_even_if_it_is_valid() {
    let host = TestHost::start().await;
    let token = &host.database.token;
    for name in ["token", "Token", "auth_token", "access_token", "%74oken", "Auth-Token"] {
        for client in [host.client.clone(), host.client.anonymous()] {
            let reply = client.get(&format!("/app?{name}={token}")).await;
            assert_eq!((reply.status, &reply.body["code"]), (400, &json!("token-in-url")), "{name}: {reply}");
            assert!(!reply.to_string().contains(token), "{reply}");
        }
    }
}

#[tokio::test]
async fn a_token_in_a_url_is_neither_logged_nor_shown_wherever_it_stands() {
    let (database, data_dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &database.url, "--log", "debug"];
    let mut elita = Program::serve(&flags);
    let (_, client) = elita.ready(&database.token).await;
    let token = &database.token;
    let encoded: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let most = &token[..token.len() - 4];
    for path in [
        format!("/app?token={token}"),
        format!("/app?after={token}"),
        format!("/app?{token}"),
        format!("/app?{encoded}=%zz"),
        format!("/app?x={encoded}&%zz"),
        format!("/app/{token}"),
        format!("/app/{most}/builds"),
        format!("/global/tokens/{token}"),
        format!("/{encoded}/nowhere"),
        format!("/app/shop/actions/Do?text=the+token+is+{token}"),
    ] {
        for (client, method) in [(&client, Method::GET), (&client.anonymous(), Method::POST), (&client, Method::DELETE)]
        {
            let reply = client.send(client.request(method, &path)).await;
            assert_eq!((reply.status, &reply.body["code"]), (400, &json!("token-in-url")), "{path}: {reply}");
            assert!(![most, &*encoded].iter().any(|secret| reply.to_string().contains(secret)), "{path}: {reply}");
        }
    }
    let named = client.request(Method::GET, "/nowhere").header("X-Request-Id", token);
    assert!(!client.send(named).await.to_string().contains(most));
    // What only begins like one is a name like any other.
    assert_eq!(client.get("/app/elita_frontend").await.status, 404);
    let log = stop(elita).await;
    assert!(log.contains("[withheld]") && log.contains("/app/elita_frontend"), "{log}");
    assert!(![most, &*encoded].iter().any(|secret| log.contains(secret)), "a token is in the log: {log}");
}

#[tokio::test]
async fn a_password_in_a_url_is_refused_even_if_it_is_right() {
    let host = TestHost::start().await;
    let stranger = host.client.anonymous();
    let in_url = format!("/global/tokens?password={}", PASSWORD.replace(' ', "+"));
    let reply = stranger.post(&in_url, &json!({ "username": "admin" })).await;
    assert_eq!((reply.status, &reply.body["errors"][0]["parameter"]), (400, &json!("password")), "{reply}");
    assert!(!reply.to_string().contains(PASSWORD), "{reply}");
}

#[tokio::test]
async fn a_form_logs_in_as_json_does_and_its_password_is_in_no_log() {
    let (database, data_dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &database.url, "--log", "debug"];
    let mut elita = Program::serve(&flags);
    let (_, client) = elita.ready(&database.token).await;
    let stranger = client.anonymous();
    let log_in = |fields: &[(&str, &str)]| stranger.request(Method::POST, "/global/tokens").form(fields);
    let scope = r#"{"apps": {"*": "read"}}"#;
    let fields = [("username", "admin"), ("password", PASSWORD), ("expires_in", "1h"), ("scope", scope)];
    let made = stranger.send(log_in(&fields)).await;
    assert_eq!((made.status, &made.body["scope"]["apps"]), (201, &json!({ "*": "read" })), "{made}");
    let with_it = client.with_token(made.body["token"].as_str().unwrap());
    assert_eq!(with_it.get("/app").await.status, 200);
    let parts = reqwest::multipart::Form::new().text("username", "admin").text("password", PASSWORD);
    let of_parts = stranger.send(stranger.request(Method::POST, "/global/tokens").multipart(parts)).await;
    assert_eq!(of_parts.status, 201, "{of_parts}");
    // With a token in a header a form makes a narrower one, too.
    let narrower = client.request(Method::POST, "/global/tokens").form(&[("name", "ci"), ("scope", scope)]);
    let narrower = client.send(narrower).await;
    assert_eq!((narrower.status, &narrower.body["name"]), (201, &json!("ci")), "{narrower}");

    let of_type = |of: &str| stranger.request(Method::POST, "/global/tokens").header("Content-Type", of);
    let guess = "pass%20phrase of Mallory";
    let broken = format!("username=admin&password={}%zz", guess.replace(' ', "+"));
    for (refused, status) in [
        (log_in(&[("username", "admin"), ("password", guess)]), 401),
        (log_in(&[("username", "admin"), ("password", guess), ("password", guess)]), 400),
        (log_in(&[("password", guess)]), 400),
        (log_in(&[("username", "admin"), ("password", guess), ("expires_in", "soon")]), 422),
        (of_type("application/x-www-form-urlencoded").body(broken), 400),
        (of_type("text/plain").body(guess), 415),
    ] {
        let reply = stranger.send(refused).await;
        assert_eq!(reply.status, status, "{reply}");
        assert!(!reply.to_string().contains("Mallory"), "{reply}");
    }
    let log = stop(elita).await;
    assert!(log.contains("/global/tokens"), "{log}");
    for secret in [PASSWORD, &PASSWORD.replace(' ', "+"), "Mallory"] {
        assert!(!log.contains(secret), "a password is in the log: {log}");
    }
}

#[tokio::test]
async fn the_first_start_makes_an_administrator_and_says_the_password_once() {
    let data_dir = tempfile::tempdir().unwrap();
    let database = Database::empty().await;
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &database.url];
    let mut first = Program::serve(&flags);
    let (said, client) = first.ready("").await;
    let announced: Vec<_> = said.iter().filter_map(|line| line.split_once("with the password ")).collect();
    let [(_, rest)] = announced[..] else { panic!("not said once: {said:?}") };
    let password = rest.split(';').next().unwrap().to_owned();
    let reply = client.post("/global/tokens", &json!({ "username": "admin", "password": password })).await;
    assert_eq!(reply.status, 201, "{reply}");
    assert!(!stop(first).await.contains(&password), "the password is in the log");

    let mut second = Program::serve(&flags);
    let (said, client) = second.ready("").await;
    assert!(!said.concat().contains("password"), "{said:?}");
    let reply = client.post("/global/tokens", &json!({ "username": "admin", "password": password })).await;
    assert_eq!(reply.status, 201, "{reply}");
    assert!(!stop(second).await.contains(&password), "the password is in the log");
}

#[tokio::test]
async fn an_administrators_password_that_is_given_is_said_nowhere() {
    let data_dir = tempfile::tempdir().unwrap();
    let database = Database::empty().await;
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &database.url];
    let mut elita = Program::serve_with(&[("ELITA_ADMIN_PASSWORD", PASSWORD)], &flags);
    let (said, client) = elita.ready("").await;
    assert!(!said.concat().contains("password"), "{said:?}");
    let reply = client.post("/global/tokens", &json!({ "username": "admin", "password": PASSWORD })).await;
    assert_eq!(reply.status, 201, "{reply}");
    assert!(!stop(elita).await.contains(PASSWORD), "the password is in the log");

    // It is for the first start only.
    let mut elita = Program::serve_with(&[("ELITA_ADMIN_PASSWORD", "another one")], &flags);
    let (_, client) = elita.ready("").await;
    let reply = client.post("/global/tokens", &json!({ "username": "admin", "password": "another one" })).await;
    assert_eq!(reply.status, 401, "{reply}");
}

#[tokio::test]
async fn a_token_that_has_expired_goes_when_its_user_logs_in_again() {
    let host = TestHost::start().await;
    let short = log_in(&host, json!({ "username": "admin", "password": PASSWORD, "expires_in": 1 })).await;
    let path = format!("/global/tokens/{}", token_id(&short));
    assert_eq!(host.client.get(&path).await.status, 200);
    eventually("the token to be gone", async || {
        log_in(&host, json!({ "username": "admin", "password": PASSWORD })).await;
        (host.client.get(&path).await.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn tokens_that_have_expired_long_ago_go_though_nobody_logs_in() {
    let host = TestHost::start().await;
    let mut ids = Vec::new();
    for hours in [2.0, 0.5] {
        let id = token_id(&log_in(&host, json!({ "username": "admin", "password": PASSWORD })).await).to_owned();
        ids.push((id, hours));
    }
    let mut database = host.database.connect().await;
    for (id, hours) in &ids {
        let expired = "update tokens set expires_at = now() - make_interval(secs => $2 * 3600) where id = $1::uuid";
        sqlx::query(expired).bind(id).bind(*hours).execute(&mut database).await.unwrap();
    }
    // As each server does twice a minute.
    let svc = DataSvc::connect(&host.database.url, 1).await.unwrap();
    svc.remove_old_tokens(Duration::from_secs(3600)).await.unwrap();
    let left = "select id::text from tokens where id = any($1::text[]::uuid[])";
    let both: Vec<_> = ids.iter().map(|(id, _)| id.clone()).collect();
    let left: Vec<String> = sqlx::query_scalar(left).bind(&both).fetch_all(&mut database).await.unwrap();
    assert_eq!(left, both[1..], "the other one expired less than an hour ago");
}

#[tokio::test]
async fn an_administrators_password_that_is_too_short_is_refused() {
    let data_dir = tempfile::tempdir().unwrap();
    let database = Database::empty().await;
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &database.url];
    let (code, stderr) = Program::serve_with(&[("ELITA_ADMIN_PASSWORD", "short")], &flags).ended().await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("8 to 1024 characters"), "{stderr}");
}

#[tokio::test]
async fn what_others_have_access_to_is_not_used_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let data_dir = tempfile::tempdir().unwrap();
    set(data_dir.path(), 0o755);
    let (database, key) = (Database::new().await, data_dir.path().join("secret.key"));
    let flags = [
        ["--data-dir", data_dir.path().to_str().unwrap()],
        ["--database-url", &database.url],
        ["--secret-key-file", key.to_str().unwrap()],
    ]
    .concat();
    let mut first = Program::serve(&flags);
    first.ready("").await;
    assert_eq!(mode(data_dir.path()), 0o700);
    let log = stop(first).await;
    assert!(log.contains("others had access to the data directory"), "{log}");
    set(&key, 0o644);
    let (code, stderr) = Program::serve(&flags).ended().await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("chmod go=") && stderr.contains("secret.key"), "{stderr}");
    set(&key, 0o600);
    Program::serve(&flags).ready("").await;
}

#[tokio::test]
async fn an_empty_administrators_password_is_refused_and_nobody_is_made() {
    let data_dir = tempfile::tempdir().unwrap();
    let database = Database::empty().await;
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &database.url];
    let (code, stderr) = Program::serve_with(&[("ELITA_ADMIN_PASSWORD", "")], &flags).ended().await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("the administrator's password is empty"), "{stderr}");

    let mut elita = Program::serve(&flags);
    let (said, _) = elita.ready("").await;
    assert!(said.concat().contains("The user `admin` was made"), "{said:?}");
}

async fn log_in(host: &TestHost, body: Value) -> Reply {
    host.client.anonymous().post("/global/tokens", &body).await
}

fn token(reply: &Reply) -> &str {
    reply.body["token"].as_str().unwrap()
}

fn token_id(reply: &Reply) -> &str {
    reply.body["token_id"].as_str().unwrap()
}

/// Status, headers and body, without what differs from request to request.
fn without_ids(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
    let mut body = reply.body.clone();
    body["request_id"] = json!("[id]");
    let kept = reply.headers.iter().filter(|(name, _)| *name != "x-request-id" && *name != "date");
    let headers = kept.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    (reply.status, headers, body)
}

/// Stops the program and returns its log.
async fn stop(mut elita: Program) -> String {
    elita.signal(rustix::process::Signal::TERM);
    let (code, stderr) = elita.ended().await;
    assert_eq!(code, Some(0), "{stderr}");
    stderr
}

/// The members of both.
fn merged(one: &Value, other: &Value) -> Value {
    let members = [one, other].into_iter().flat_map(|object| object.as_object().unwrap().clone());
    Value::Object(members.collect())
}
