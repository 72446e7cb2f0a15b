//! Users, what they may do, and what nobody may do to them.

use serde_json::{Value, json};

use crate::harness::{Client, PASSWORD, TestHost, eventually};

#[tokio::test]
async fn a_user_is_created_logs_in_and_does_what_was_granted() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    host.create_application("blog").await;
    let created = host.client.post("/global/users", &ada(&json!({ "apps": { "shop": "read" } }))).await;
    assert_eq!((created.status, created.header("location")), (201, "/global/users/ada"), "{created}");
    assert_eq!(created.body["permissions"]["apps"], json!({ "shop": "read" }));
    assert!(!created.body.to_string().contains("password"), "{created}");

    let ada = log_in(&host, "ada", "her own secret").await;
    assert_eq!(ada.get("/app/shop").await.status, 200);
    assert_eq!(ada.get("/app").await.items("app_name"), ["shop"]);
    for refused in [
        ada.get("/app/blog").await,
        ada.post("/app/shop/builds", &json!({ "build_name": "1" })).await,
        ada.get("/global/users").await,
        ada.get("/global/users/admin").await,
        ada.get("/global/keypairs").await,
        ada.post("/server", &json!({ "name": "web1", "environment": "test", "driver": "ssh" })).await,
    ] {
        assert_eq!((refused.status, &refused.body["code"]), (403, &json!("denied")), "{refused}");
    }
    assert_eq!(ada.get("/global/users/ada").await.body, created.body);
}

#[tokio::test]
async fn effective_permissions_are_computed_for_what_there_is() {
    let host = TestHost::with_plugins(&["widgets"]).await;
    for application in ["my_application", "shop", "shop-secret"] {
        host.create_application(application).await;
    }
    let permissions = json!({
        "apps": { "*": "read", "shop*": "read/write", "shop-secret": "" },
        "actions": { "*": { "Delete*": "execute" } },
        "servers": ["web*"],
    });
    host.client.post("/global/users", &ada(&permissions)).await;
    let shown = host.client.get("/global/users/ada/permissions").await;
    assert_eq!(shown.body["apps"], json!({ "my_application": "read", "shop": "read/write" }), "{shown}");
    assert_eq!(shown.body["actions"], json!({ "my_application": { "DeleteWidgets": "execute" } }), "{shown}");
    let own = host.client.get("/global/users/admin/permissions").await;
    assert_eq!(own.body["apps"]["_global"], "read/write", "{own}");
}

#[tokio::test]
async fn whoever_asks_is_current_and_sees_what_the_token_in_use_may_do() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    host.create_application("blog").await;
    host.client.post("/global/users", &ada(&json!({ "apps": { "*": "read/write" } }))).await;
    let whole = log_in(&host, "ada", "her own secret").await;
    let scope = json!({ "apps": { "shop": "read" } });
    let login = json!({ "username": "ada", "password": "her own secret", "scope": scope });
    let token = host.client.anonymous().post("/global/tokens", &login).await;
    let narrowed = host.client.with_token(token.body["token"].as_str().unwrap());

    let named = host.client.get("/global/users/ada").await;
    for client in [&whole, &narrowed] {
        let current = client.get("/global/users/current").await;
        assert_eq!((&current.body, current.header("etag")), (&named.body, named.header("etag")), "{current}");
    }
    let shown = whole.get("/global/users/current/permissions").await;
    assert_eq!(shown.body["apps"], json!({ "blog": "read/write", "shop": "read/write" }), "{shown}");
    let shown = narrowed.get("/global/users/current/permissions").await;
    assert_eq!(shown.body["apps"], json!({ "shop": "read" }), "{shown}");
    assert_eq!(
        whole.patch("/global/users/current", &json!({ "attributes": { "a": 1 } })).await.body["username"],
        "ada"
    );
    assert_eq!(host.client.anonymous().get("/global/users/current").await.status, 401);
    let taken = json!({ "username": "current", "password": "long enough" });
    assert_eq!(host.client.post("/global/users", &taken).await.fault(), (422, "/username"));
}

#[tokio::test]
async fn users_change_their_own_password_and_attributes_and_nothing_else() {
    let host = TestHost::start().await;
    host.client.post("/global/users", &ada(&json!({ "apps": { "shop": "read" } }))).await;
    let (first, second) = (log_in(&host, "ada", "her own secret").await, log_in(&host, "ada", "her own secret").await);
    let changed =
        first.patch("/global/users/ada", &json!({ "password": "a new secret", "attributes": { "a": 1 } })).await;
    assert_eq!((changed.status, &changed.body["attributes"]), (200, &json!({ "a": 1 })), "{changed}");
    // The other token was made with the old password.
    assert_eq!(second.get("/global/users/ada").await.status, 401);
    assert_eq!(first.get("/global/users/ada").await.status, 200);
    assert_eq!(try_log_in(&host, "ada", "her own secret").await, None);
    assert!(try_log_in(&host, "ada", "a new secret").await.is_some());

    let more = first.patch("/global/users/ada", &json!({ "permissions": { "apps": { "shop": "read/write" } } })).await;
    assert_eq!(more.status, 403, "{more}");
    assert_eq!(first.patch("/global/users/admin", &json!({ "password": "mine from now" })).await.status, 403);
    assert_eq!(first.delete("/global/users/ada").await.status, 403);
}

#[tokio::test]
async fn nobody_grants_more_than_they_hold() {
    let host = TestHost::start().await;
    let manager = json!({ "apps": { "_global": "read/write", "shop*": "read/write", "shop-secret": "" } });
    host.client.post("/global/users", &ada(&manager)).await;
    let manager = log_in(&host, "ada", "her own secret").await;
    let new =
        |permissions: Value| json!({ "username": "bob", "password": "his own secret", "permissions": permissions });
    for more in [
        json!({ "apps": { "*": "read" } }),
        json!({ "apps": { "shop*": "read" } }),
        json!({ "apps": { "shop-secret": "read" } }),
        json!({ "actions": { "shop": { "*": "execute" } } }),
        json!({ "servers": ["web1"] }),
    ] {
        let refused = manager.post("/global/users", &new(more.clone())).await;
        assert_eq!(refused.status, 403, "{more}: {refused}");
    }
    for held in [
        json!({ "apps": { "shop": "read/write" } }),
        json!({ "apps": { "shop?": "read" } }),
        json!({ "apps": { "shop*": "read", "shop-secret": "" } }),
        json!({ "apps": { "_global": "read" } }),
    ] {
        let created = manager.post("/global/users", &new(held.clone())).await;
        assert_eq!(created.status, 201, "{held}: {created}");
        assert_eq!(manager.delete("/global/users/bob").await.status, 204);
    }
    // Nor does anyone take the place of somebody who holds more.
    assert_eq!(manager.patch("/global/users/admin", &json!({ "password": "mine from now" })).await.status, 403);
    assert_eq!(manager.delete("/global/users/admin").await.status, 403);
}

#[tokio::test]
async fn the_last_administrator_is_neither_removed_nor_demoted() {
    let host = TestHost::start().await;
    let demoted = host.client.patch("/global/users/admin", &json!({ "permissions": { "apps": null } })).await;
    let removed = host.client.delete("/global/users/admin").await;
    for refused in [demoted, removed] {
        assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    }
    let admin = host.client.get("/global/users/admin").await.body["permissions"].clone();
    host.client.post("/global/users", &ada(&admin)).await;
    assert_eq!(host.client.delete("/global/users/admin").await.status, 204);
    assert_eq!(host.client.get("/app").await.status, 401);
    assert!(try_log_in(&host, "ada", "her own secret").await.is_some());
}

#[tokio::test]
async fn the_narrower_denial_beats_a_star_for_everything_below() {
    let host = TestHost::start().await;
    for application in ["shop", "shop-secret"] {
        host.create_application(application).await;
    }
    let permissions = json!({
        "apps": { "*": "read/write", "shop-secret": "" },
        "actions": { "*": { "*": "execute" }, "shop-secret": { "*": "" } },
    });
    host.client.post("/global/users", &ada(&permissions)).await;
    let ada = log_in(&host, "ada", "her own secret").await;
    assert_eq!(ada.get("/app").await.items("app_name"), ["shop"]);
    for (path, beside) in [("", 200), ("/builds", 200), ("/packagemaps", 200), ("/groups", 200), ("/census", 200)] {
        assert_eq!(ada.get(&format!("/app/shop{path}")).await.status, beside, "{path}");
        assert_eq!(ada.get(&format!("/app/shop-secret{path}")).await.status, 403, "{path}");
    }
    let build = json!({ "build_name": "1" });
    assert_eq!(ada.post("/app/shop/builds", &build).await.status, 201);
    assert_eq!(ada.post("/app/shop-secret/builds", &build).await.status, 403);
    assert_eq!(ada.delete("/app/shop-secret").await.status, 403);
    assert_eq!(ada.get("/global/users").await.status, 403, "a star is not `_global`");
}

#[tokio::test]
async fn a_token_does_no_more_than_its_scope() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let scope = json!({ "apps": { "shop": "read" } });
    let log_in = json!({ "username": "admin", "password": PASSWORD, "scope": scope });
    let reply = host.client.anonymous().post("/global/tokens", &log_in).await;
    assert_eq!((reply.status, &reply.body["scope"]["apps"]), (201, &json!({ "shop": "read" })), "{reply}");
    let narrow = host.client.with_token(reply.body["token"].as_str().unwrap());
    assert_eq!(narrow.get("/app/shop").await.status, 200);
    assert_eq!(narrow.delete("/app/shop").await.status, 403);
    assert_eq!(narrow.get("/global/users").await.status, 403);
    assert_eq!(narrow.post("/app", &json!({ "app_name": "blog" })).await.status, 403);
    // Nor does it become more than that, by way of a new password, or end the others.
    let new_password = narrow.patch("/global/users/admin", &json!({ "password": "a new password" })).await;
    assert_eq!(new_password.status, 403, "{new_password}");
    let other = host.client.get("/global/tokens/current").await.body;
    assert_eq!(narrow.delete(&format!("/global/tokens/{}", other["token_id"].as_str().unwrap())).await.status, 404);
    assert_eq!(narrow.delete("/global/tokens/current").await.status, 204);
    assert_eq!(narrow.get("/app/shop").await.status, 401);
}

#[tokio::test]
async fn a_token_with_a_scope_changes_nothing_of_its_user() {
    let host = TestHost::start().await;
    host.client.post("/global/users", &ada(&json!({}))).await;
    let log_in = json!({ "username": "ada", "password": "her own secret", "scope": {} });
    let reply = host.client.anonymous().post("/global/tokens", &log_in).await;
    let narrow = host.client.with_token(reply.body["token"].as_str().unwrap());
    for change in [json!({ "attributes": { "a": 1 } }), json!({ "password": "another secret" })] {
        let refused = narrow.patch("/global/users/ada", &change).await;
        assert_eq!((refused.status, &refused.body["code"]), (403, &json!("denied")), "{refused}");
    }
    assert_eq!(narrow.get("/global/users/ada").await.body["attributes"], json!({}));
}

#[tokio::test]
async fn who_gets_the_name_of_a_user_does_not_get_their_jobs() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let permissions = json!({ "actions": { "hostile": { "*": "execute" } } });
    let mut jobs = Vec::new();
    for _ in 0..2 {
        assert_eq!(host.client.post("/global/users", &ada(&permissions)).await.status, 201);
        let ada = log_in(&host, "ada", "her own secret").await;
        let request = ada.request(reqwest::Method::POST, "/app/hostile/actions/Noop").header("Idempotency-Key", "once");
        let accepted = ada.send(request).await;
        assert_eq!(accepted.status, 202, "{accepted}");
        jobs.push(accepted.body["job_id"].clone());
        assert_eq!(host.client.delete("/global/users/ada").await.status, 204);
    }
    assert_ne!(jobs[0], jobs[1]);
}

#[tokio::test]
async fn what_is_no_user_is_refused_where_it_is_wrong() {
    let host = TestHost::start().await;
    for (new, fault) in [
        (json!({ "username": "ada" }), (400, "/password")),
        (json!({ "username": "a/b", "password": "long enough" }), (422, "/username")),
        (json!({ "username": "ada", "password": "short" }), (422, "/password")),
        (json!({ "username": "ada", "password": "\u{1f511}\u{1f511}" }), (422, "/password")),
        (ada(&json!({ "apps": { "*": "reed" } })), (422, "/permissions/apps")),
        (ada(&json!({ "actions": { "*": { "*": "read" } } })), (422, "/permissions/actions")),
        (ada(&json!({ "app": {} })), (422, "/permissions/app")),
    ] {
        let refused = host.client.post("/global/users", &new).await;
        assert_eq!(refused.fault(), fault, "{refused}");
    }
    let in_url = host.client.put("/global/users?username=ada&password=in-the-url").await;
    assert_eq!(in_url.fault(), (400, "password"), "{in_url}");
    assert_eq!(host.client.get("/global/users").await.items("username"), ["admin"]);
}

fn ada(permissions: &Value) -> Value {
    json!({ "username": "ada", "password": "her own secret", "permissions": permissions })
}

async fn log_in(host: &TestHost, user: &str, password: &str) -> Client {
    host.client.with_token(&try_log_in(host, user, password).await.unwrap())
}

async fn try_log_in(host: &TestHost, user: &str, password: &str) -> Option<String> {
    let log_in = json!({ "username": user, "password": password });
    let reply = host.client.anonymous().post("/global/tokens", &log_in).await;
    (reply.status == 201).then(|| reply.body["token"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_the_hashes_of_others_passwords() {
    let host = TestHost::start().await;
    for name in ["ada", "bob"] {
        let new = json!({ "username": name, "password": "her own secret" });
        assert_eq!(host.client.post("/global/users", &new).await.status, 201);
    }
    let changes: Vec<_> = (0..40)
        .map(|n| {
            let (client, change) = (host.client.clone(), json!({ "password": format!("her secret number {n}") }));
            tokio::spawn(async move { client.patch("/global/users/ada", &change).await.status })
        })
        .collect();
    let finished = || changes.iter().filter(|change| change.is_finished()).count();
    eventually("the first password to be changed", async || (finished() > 0).then_some(())).await;
    let other = host.client.patch("/global/users/bob", &json!({ "attributes": { "a": 1 } })).await;
    assert_eq!(other.status, 200, "{other}");
    assert!(finished() < 30, "the change of another user was made after {} changes of passwords", finished());
    for change in changes {
        assert_eq!(change.await.unwrap(), 200);
    }
}
