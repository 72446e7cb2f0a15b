//! Help for clients that ask at the wrong path or by the wrong method.

use reqwest::Method;
use serde_json::Value;

use crate::harness::TestHost;
use crate::http::assert_problem;

#[tokio::test]
async fn a_slash_at_the_end_is_forgiven() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    for path in ["/app/", "/app/shop/", "/app/shop//", "/app/shop/builds/?limit=1", "/job/"] {
        let reply = host.client.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {reply}");
    }
    let built = host.client.put("/app/shop/builds/?build_name=1.0").await;
    assert_eq!((built.status, built.header("location")), (201, "/app/shop/builds/1.0"), "{built}");
    // Where a script's variable is empty or climbs, nothing else is removed instead.
    for path in ["/app/shop/builds/1.0/", "/app/shop/builds/", "/app/shop/builds/.."] {
        assert_problem(&host.client.delete(path).await, 404, "not-found");
    }
    let refused = host.client.delete("/app/shop/").await;
    assert!(refused.body["detail"].as_str().unwrap().ends_with("did you mean `/app/shop`?"), "{refused}");
    assert_eq!(host.client.get("/app/shop/builds/1.0").await.status, 200);
}

#[tokio::test]
async fn a_path_that_is_spelled_otherwise_is_answered_with_the_right_one() {
    let host = TestHost::start().await;
    for (asked, meant) in [
        ("/jobs", "/job"),
        ("/jobs/0197c9a0-7b1e-7c3d-8a54-3f2f1f0e9d8c", "/job/0197c9a0-7b1e-7c3d-8a54-3f2f1f0e9d8c"),
        ("/job/1/logs", "/job/1/data"),
        ("/apps", "/app"),
        ("/api/v1/applications", "/app"),
        ("/application/shop/build/1.0", "/app/shop/builds/1.0"),
        ("/app/shop/package-maps", "/app/shop/packagemaps"),
        ("/app/shop/biulds", "/app/shop/builds"),
        ("/app/shop/builds/1.0/cancel", "/app/shop/builds/1.0"),
        ("/Server/web-1", "/server/web-1"),
        ("/users", "/global/users"),
        ("/users/ada/permissions", "/global/users/ada/permissions"),
        ("/global/git-providers", "/global/gitproviders"),
        ("/login", "/global/tokens"),
        ("/healthz", "/health/ready"),
        ("/swagger.json", "/openapi.json"),
    ] {
        let reply = host.client.get(asked).await;
        assert_problem(&reply, 404, "not-found");
        let detail = reply.body["detail"].as_str().unwrap();
        assert!(detail.ends_with(&format!("did you mean `{meant}`?")), "{asked}: {detail}");
    }
    for strange in ["/wp-login.php", "/x/y/z", &format!("/{}", "a/".repeat(500))] {
        let reply = host.client.get(strange).await;
        assert_problem(&reply, 404, "not-found");
        assert!(reply.body["detail"].as_str().unwrap().contains("`/` shows what there is"), "{reply}");
    }
}

#[tokio::test]
async fn what_cannot_be_an_id_or_a_name_is_told_what_one_is() {
    let host = TestHost::start().await;
    for (path, help) in [
        ("/job/42", "a job's id is a UUID, such as `0197"),
        ("/job/e668b057/data", "`/job?id_suffix=e668b057` finds those that end like this"),
        ("/app/my%20shop/builds", "a name is 1 to 128 of"),
    ] {
        let reply = host.client.get(path).await;
        assert_problem(&reply, 404, "not-found");
        assert!(reply.body["detail"].as_str().unwrap().contains(help), "{path}: {reply}");
    }
}

#[tokio::test]
async fn a_method_that_is_not_there_is_answered_with_those_that_are() {
    let host = TestHost::start().await;
    let reply = host.client.delete("/app").await;
    assert_problem(&reply, 405, "method-not-allowed");
    assert_eq!(reply.header("allow"), "GET, PUT, POST, HEAD, OPTIONS");
    assert!(
        reply.body["detail"].as_str().unwrap().contains("GET, PUT, POST, HEAD, OPTIONS, and not DELETE"),
        "{reply}"
    );

    let options = host.client.anonymous().request(Method::OPTIONS, "/app/anything");
    let reply = host.client.send(options).await;
    assert_eq!((reply.status, &reply.body), (204, &Value::Null), "{reply}");
    assert_eq!(reply.header("allow"), "GET, DELETE, PATCH, HEAD, OPTIONS");
    let nowhere = host.client.send(host.client.request(Method::OPTIONS, "/nowhere")).await;
    assert_problem(&nowhere, 404, "not-found");
}
