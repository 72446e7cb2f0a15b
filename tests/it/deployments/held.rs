//! Builds that deployments hold, and how long.

use serde_json::json;

use super::*;

#[tokio::test]
async fn what_a_rollback_would_put_back_is_held_until_its_server_has_gone() {
    let host = with_shop(&["web1", "web2"], &[]).await;
    on(&host, "web", "initialize", &["web1"]).await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build)]).await;
        let job = deployed(&host, &json!({ "build_name": build, "servers": ["web1"], "gitdeploys": ["web"] })).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
    }
    let refused = host.client.delete("/app/shop/builds/1").await;
    assert_eq!(refused.status, 409, "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("rollback"), "{refused}");
    on(&host, "web", "deinitialize", &["web1"]).await;
    assert_eq!(host.client.delete("/server/web1").await.status, 204);
    // Neither that deployment nor another one can put it back now.
    let gone = host.client.delete("/app/shop/builds/1").await;
    assert_eq!(gone.status, 204, "{gone}");
}

#[tokio::test]
async fn the_build_of_each_branch_is_held() {
    let host = with_shop(&["web1"], &[]).await;
    make_gitdeploy(&host, "api", "site", "api", "/api").await;
    for (build, gitdeploy) in [("1", "api"), ("2", "web"), ("3", "")] {
        upload(&host, build, &[("a", build)]).await;
        if !gitdeploy.is_empty() {
            let path = format!("/app/shop/gitdeploys/{gitdeploy}");
            let accepted = host.client.post(&path, &json!({ "commit": true, "build_name": build })).await;
            let job = host.ended_job(accepted.body["job_id"].as_str().unwrap()).await;
            assert_eq!(job["status"], "succeeded", "{job:#}");
        }
    }
    let accepted = host.client.delete("/app/shop/builds?keep_last=1&dry_run=true").await;
    let job = host.ended_job(accepted.body["job_id"].as_str().unwrap()).await;
    assert_eq!(job["result"]["removed"], json!([]), "{job:#}");
    let kept = job["result"]["kept"].as_array().unwrap().iter();
    let kept: Vec<_> = kept.map(|kept| (kept["build"].as_str().unwrap(), &kept["held_by"])).collect();
    assert!(kept.contains(&("1", &json!(["site at api"]))), "{job:#}");
    assert!(kept.contains(&("2", &json!(["site at master"]))), "{job:#}");
}
