//! Applications over HTTP: made, listed, shown, removed.

use insta::assert_json_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Reply, Setup, TestHost};

#[tokio::test]
async fn an_application_is_created_by_a_post() {
    let host = TestHost::start().await;
    let reply = host.client.post("/app", &json!({ "app_name": "shop" })).await;
    assert_eq!(reply.status, 201, "{reply}");
    assert_eq!(reply.header("location"), "/app/shop");
    assert_json_snapshot!(reply.body, { ".created_at" => "[time]", ".updated_at" => "[time]" }, @r#"
    {
      "application": "shop",
      "app_name": "shop",
      "attributes": {},
      "retention": null,
      "created_at": "[time]",
      "updated_at": "[time]",
      "containers": {
        "actions": "/app/shop/actions",
        "builds": "/app/shop/builds",
        "deployments": "/app/shop/deployments",
        "gitdeploys": "/app/shop/gitdeploys",
        "gitrepos": "/app/shop/gitrepos",
        "groups": "/app/shop/groups",
        "packagemaps": "/app/shop/packagemaps"
      }
    }
    "#);
    assert_eq!(host.client.get("/app/shop").await.body, reply.body);
}

#[tokio::test]
async fn an_application_is_created_by_a_put_as_in_the_reference() {
    let host = TestHost::start().await;
    let reply = host.client.put("/app?app_name=shop").await;
    assert_eq!(reply.status, 201, "{reply}");
    assert_eq!(reply.header("location"), "/app/shop");
    assert_eq!(host.client.get("/app/shop").await.body, reply.body);
}

#[tokio::test]
async fn either_form_takes_its_argument_from_either_place() {
    let host = TestHost::start().await;
    assert_eq!(host.client.post_empty("/app?app_name=from-query").await.status, 201);
    let form = host.client.request(Method::PUT, "/app").form(&[("app_name", "from-form")]);
    assert_eq!(host.client.send(form).await.status, 201);
    let agreed = host.client.post("/app?app_name=from-both", &json!({ "app_name": "from-both" })).await;
    assert_eq!(agreed.status, 201, "{agreed}");
    assert_eq!(names(&host.client.get("/app").await), ["from-both", "from-form", "from-query"]);
}

#[tokio::test]
async fn two_places_that_differ_make_no_application() {
    let host = TestHost::start().await;
    let reply = host.client.post("/app?app_name=shop", &json!({ "app_name": "blog" })).await;
    assert_eq!(reply.status, 400, "{reply}");
    assert_eq!(reply.body["errors"][0]["pointer"], "/app_name");
    assert_eq!(names(&host.client.get("/app").await), [""; 0]);
}

#[tokio::test]
async fn a_name_that_is_taken_stays_with_the_first() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let first = host.client.get("/app/shop").await.body;
    for second in
        [host.client.post("/app", &json!({ "app_name": "shop" })).await, host.client.put("/app?app_name=shop").await]
    {
        assert_eq!((second.status, &second.body["code"]), (409, &json!("already-exists")), "{second}");
    }
    assert_eq!(host.client.get("/app/shop").await.body, first);
}

#[tokio::test]
async fn what_is_no_name_is_refused() {
    let host = TestHost::start().await;
    let too_long = "a".repeat(129);
    for name in ["", ".", "..", "_global", "-x", "a/b", "a b", "ä", "*", &too_long] {
        let reply = host.client.post("/app", &json!({ "app_name": name })).await;
        assert_eq!((reply.status, &reply.body["code"]), (422, &json!("invalid")), "{name:?}: {reply}");
        assert_eq!(reply.body["errors"][0]["pointer"], "/app_name");
    }
    let reply = host.client.put("/app?app_name=a%2Fb").await;
    assert_eq!((reply.status, &reply.body["errors"][0]["parameter"]), (422, &json!("app_name")), "{reply}");
    host.create_application(&"a".repeat(128)).await;
}

#[tokio::test]
async fn an_argument_that_is_missing_unknown_or_no_text_is_pointed_at() {
    let host = TestHost::start().await;
    for (body, status, pointer) in [
        (json!({}), 400, "/app_name"),
        (json!({ "app_name": "shop", "colour": "red" }), 400, "/colour"),
        (json!({ "app_name": 7 }), 422, "/app_name"),
    ] {
        let reply = host.client.post("/app", &body).await;
        assert_eq!((reply.status, &reply.body["errors"][0]["pointer"]), (status, &json!(pointer)), "{reply}");
    }
    assert_eq!(names(&host.client.get("/app").await), [""; 0]);
}

#[tokio::test]
async fn applications_are_listed_by_name_page_by_page() {
    let host = TestHost::start().await;
    for name in ["delta", "alpha", "Bravo", "charlie", "0"] {
        host.create_application(name).await;
    }
    let first = host.client.get("/app?limit=2").await;
    assert_eq!((names(&first), &first.body["next"]), (vec!["0", "Bravo"], &json!("Bravo")));
    assert_eq!(first.header("link"), r#"</app?limit=2&after=Bravo>; rel="next""#);
    let second = host.client.get("/app?limit=2&after=Bravo").await;
    assert_eq!((names(&second), &second.body["next"]), (vec!["alpha", "charlie"], &json!("charlie")));
    let last = host.client.get("/app?limit=2&after=charlie").await;
    assert_eq!((names(&last), &last.body["next"], last.header("link")), (vec!["delta"], &Value::Null, ""));
}

#[tokio::test]
async fn a_page_has_one_to_a_thousand_items() {
    let host = TestHost::start().await;
    for limit in ["0", "1001", "-1", "many"] {
        let reply = host.client.get(&format!("/app?limit={limit}")).await;
        assert_eq!((reply.status, &reply.body["errors"][0]["parameter"]), (422, &json!("limit")), "{limit}: {reply}");
    }
    assert_eq!(host.client.get("/app?limit=1000").await.status, 200);
}

#[tokio::test]
async fn an_application_that_was_removed_is_gone_and_its_name_is_free() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let removed = host.client.delete("/app/shop").await;
    assert_eq!((removed.status, &removed.body), (204, &Value::Null), "{removed}");
    assert_eq!(host.client.get("/app/shop").await.status, 404);
    assert_eq!(host.client.get("/app/shop/actions").await.status, 404);
    assert_eq!(host.client.delete("/app/shop").await.status, 404);
    host.create_application("shop").await;
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_whatever_its_name() {
    let host = TestHost::start().await;
    for path in ["/app/shop", "/app/_global", "/app/a%2Fb", "/app/a%20b", "/app/%C3%A4"] {
        let reply = host.client.get(path).await;
        assert_eq!((reply.status, &reply.body["code"]), (404, &json!("not-found")), "{path}: {reply}");
    }
}

#[tokio::test]
async fn an_application_stays_while_jobs_of_it_are_unfinished() {
    let host = Setup::default().plugins(&["misbehave"]).flag("--plugin-timeout-seconds", 1).start().await;
    host.create_application("hostile").await;
    let job = host.post_action("hostile", "Sleep", "").await;
    let refused = host.client.delete("/app/hostile").await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    assert_eq!(host.client.get("/app/hostile").await.status, 200);

    host.ended_job(&job).await;
    assert_eq!(host.client.delete("/app/hostile").await.status, 204);
}

#[tokio::test]
async fn jobs_stay_on_record_when_their_application_goes() {
    let host = TestHost::with_plugins(&["misbehave"]).await;
    host.create_application("hostile").await;
    let job = host.run_action("hostile", "Echo", "a=1").await;
    assert_eq!(host.client.delete("/app/hostile").await.status, 204);

    let id = job["job_id"].as_str().unwrap();
    assert_eq!(host.ended_job(id).await, job);
    let listed = host.client.get("/job?app=hostile").await;
    assert_eq!(listed.body["items"][0]["job_id"], id, "{listed}");
}

fn names(list: &Reply) -> Vec<&str> {
    let items = list.body["items"].as_array().unwrap();
    items.iter().map(|item| item["app_name"].as_str().unwrap()).collect()
}
