//! Files of builds, uploaded over HTTP.

use std::path::{Path, PathBuf};

use elita::datasvc::Digest;
use insta::assert_json_snapshot;
use reqwest::{Body, Method};
use serde_json::json;

use crate::harness::{Client, Reply, Setup, TestHost};

/// Where the file of the build that the tests make is uploaded to.
const FILE: &str = "/app/shop/builds/1/file?file_type=tar.gz";

#[tokio::test]
async fn a_file_is_stored_bit_for_bit() {
    let host = with_build(Setup::default()).await;
    // More than is written at a time, and no multiple of it.
    let file: Vec<u8> = (0..9_000_001_u32).flat_map(|n| [n.wrapping_mul(2_654_435_761).to_be_bytes()[0]]).collect();
    let accepted = put(&host.client, FILE, file.clone()).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    assert_eq!(accepted.header("location"), accepted.body["location"], "{accepted}");
    let job = host.ended_job(accepted.body["job_id"].as_str().unwrap()).await;
    assert_eq!((&job["status"], &job["job_type"], &job["name"]), (&json!("succeeded"), &json!("upload"), &json!("1")));
    let build = host.client.get("/app/shop/builds/1").await.body;
    let sha256 = Digest::of(&file).hex();
    let master = json!({ "filename": "1.tar.gz", "file_type": "tar.gz", "size_bytes": file.len(), "sha256": sha256 });
    assert_eq!((&build["stored"], &build["master_file"]), (&json!(true), &json!("1.tar.gz")), "{build}");
    assert_eq!(build["packages"], json!({ "master": master }));
    let stored = files_in(&host.storage_dir().join("builds"));
    assert_eq!(stored.len(), 1, "{stored:?}");
    assert!(std::fs::read(&stored[0]).unwrap() == file, "the stored file is another one");
}

#[tokio::test]
async fn a_build_that_is_stored_takes_no_other_file() {
    let host = with_build(Setup::default()).await;
    let first = put(&host.client, FILE, "one").await;
    host.ended_job(first.body["job_id"].as_str().unwrap()).await;
    let before = host.client.get("/app/shop/builds/1").await.body;
    let second = put(&host.client, FILE, "two").await;
    assert_eq!(second.status, 409, "{second}");
    assert_json_snapshot!(second.body["detail"], @r#""build `1` is stored, and what is stored is never replaced""#);
    assert_eq!(host.client.get("/app/shop/builds/1").await.body, before);
}

async fn with_build(setup: Setup) -> TestHost {
    let host = setup.start().await;
    host.create_application("shop").await;
    let reply = host.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    assert_eq!(reply.status, 201, "{reply}");
    host
}

async fn put(client: &Client, path: &str, body: impl Into<Body>) -> Reply {
    client.send(client.request(Method::PUT, path).body(body)).await
}

/// All files below a directory.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_in(&path)) } else { files.push(path) }
    }
    files
}
