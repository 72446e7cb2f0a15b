//! Receipts: what each server has got, from the upload on, signed.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{deployed, prepull, to_groups, two_batches_on, with_two_batches};
use crate::commits::upload;
use crate::harness::{Elita, Setup, TestHost, project_root, secret_key_file};
use crate::working_copies::sh;

const RECEIPTS: &str = "/app/shop/receipts";

#[tokio::test]
async fn each_server_has_a_receipt_from_the_upload_to_its_disk() {
    let host = with_two_batches().await;
    upload(&host, "1", &[("a", "1")]).await;
    let job = deployed(&host, &to_groups("1", &["front"])).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let receipts = receipts(&host, "").await;
    let of: Vec<_> = receipts.iter().map(|item| item["receipt"]["server"].as_str().unwrap()).collect();
    assert_eq!(of, ["web2", "web1"]);
    let build = host.client.get("/app/shop/builds/1").await.body;
    let token = host.client.get("/global/tokens/current").await.body["token_id"].clone();
    let receipt = &receipts[0]["receipt"];
    assert!(token.is_string() && receipt["at"].is_string() && receipt["id"].is_string(), "{receipt:#}");
    let sha256 = &build["packages"]["master"]["sha256"];
    assert_eq!(receipt["package"], json!({ "name": "master", "sha256": sha256 }), "{receipt:#}");
    let uploaded = &receipt["upload"];
    assert_eq!((&uploaded["username"], &uploaded["token_id"]), (&json!("admin"), &token), "{receipt:#}");
    assert_eq!(&uploaded["sha256"], sha256, "{receipt:#}");
    let deployed_by = &receipt["deployed"];
    assert_eq!((&deployed_by["username"], &deployed_by["token_id"]), (&json!("admin"), &token), "{receipt:#}");
    assert_eq!(deployed_by["deployment"], job["job_id"], "{receipt:#}");
    let commit = sh(&host, "web2", "git -C shop rev-parse HEAD").await;
    assert_eq!(receipt["commit"], json!({ "asked": commit, "reported_by_server": commit }), "{receipt:#}");
    assert_eq!([&receipt["build"], &receipt["gitdeploy"], &receipt["application"]], ["1", "web", "shop"]);
}

#[tokio::test]
async fn receipts_are_verified_by_the_program_in_the_documentation() {
    let host = with_two_batches().await;
    upload(&host, "1", &[("a", "1")]).await;
    deployed(&host, &to_groups("1", &["front"])).await;
    let (about, receipts) = (host.client.get("/about").await.body, host.client.get(RECEIPTS).await.body);
    let said = verified(&about, &receipts);
    assert_eq!(said, Ok("2 verified\n".to_owned()));
    // Whatever is changed in one.
    for pointer in ["/receipt/server", "/receipt/upload/token_id", "/receipt/commit/reported_by_server", "/key_id"] {
        let mut forged = receipts.clone();
        *forged["items"][0].pointer_mut(pointer).unwrap() = json!("another");
        let said = verified(&about, &forged).unwrap_err();
        assert!(said.contains("not signed by this installation"), "{pointer}: {said}");
    }
    // Another installation has another key.
    let other = TestHost::start().await;
    assert!(verified(&other.client.get("/about").await.body, &receipts).is_err());
}

#[tokio::test]
async fn receipts_outlive_a_restart_and_their_build_and_are_found_by_server_and_build() {
    let host = with_two_batches().await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build)]).await;
        deployed(&host, &to_groups(build, &["front"])).await;
    }
    // Nothing was pulled on web1.
    prepull(&host, "test ! -e ../broken").await;
    sh(&host, "web1", "touch broken").await;
    upload(&host, "3", &[("a", "3")]).await;
    assert_eq!(deployed(&host, &to_groups("3", &["front"])).await["status"], "failed");
    for (query, count) in [
        ("", 4),
        ("?server=web1", 2),
        ("?build=2", 2),
        ("?build=2&server=web2", 1),
        ("?gitdeploy=web", 4),
        ("?build=3", 0),
        ("?server=none", 0),
    ] {
        assert_eq!(receipts(&host, query).await.len(), count, "{query}");
    }
    let first = host.client.get(&format!("{RECEIPTS}?limit=3")).await.body;
    let rest = host.client.get(&format!("{RECEIPTS}?limit=3&after={}", first["next"].as_str().unwrap())).await.body;
    assert_eq!((first["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (3, 1));
    assert_eq!(rest["next"], Value::Null);
    let elita = Elita::of(&host);
    let said = elita.run(&["deployment", "receipts", "shop", "--on", "web1", "--build", "1"]).await;
    assert!(said.code == 0 && said.stdout.contains("web1") && !said.stdout.contains("web2"), "{said}");

    let before = (host.client.get("/about").await.body, host.client.get(RECEIPTS).await.body);
    let host = host.stop().await.start().await;
    let after = (host.client.get("/about").await.body, host.client.get(RECEIPTS).await.body);
    assert_eq!(before, after);
    // Who may not read the application does not read them.
    let guest = host.guest(&json!({ "apps": { "other": "read" } })).await;
    assert_eq!(guest.get(RECEIPTS).await.status, 403);
}

#[tokio::test]
async fn a_new_key_signs_receipts_from_then_on_and_older_ones_stay_good() {
    let host = with_two_batches().await;
    upload(&host, "1", &[("a", "1")]).await;
    deployed(&host, &to_groups("1", &["front"])).await;
    let first = host.client.get("/about").await.body["receipt_keys"].clone();
    // The server works on.
    let key = secret_key_file().display().to_string();
    let replace = ["admin", "replace-receipt-key", "--database-url", &host.database.url, "--secret-key-file", &key];
    let said = Elita::new().run(&replace).await;
    assert_eq!(said.code, 0, "{said}");
    deployed(&host, &to_groups("1", &["front"])).await;
    let about = host.client.get("/about").await.body;
    let keys = about["receipt_keys"].as_array().unwrap();
    assert_eq!((keys.len(), &keys[0]["key_id"], &keys[1]), (2, &json!(said.stdout.trim()), &first[0]), "{about:#}");
    let receipts = host.client.get(RECEIPTS).await.body;
    let signed_with: Vec<_> = receipts["items"].as_array().unwrap().iter().map(|item| &item["key_id"]).collect();
    let (old, new) = (&keys[1]["key_id"], &keys[0]["key_id"]);
    assert_eq!(signed_with, [new, new, old, old]);
    assert_eq!(verified(&about, &receipts), Ok("4 verified\n".to_owned()));
    let audited = host.client.get("/global/audit?operation=receipt-keys.replace").await;
    assert_eq!(audited.items("name"), [said.stdout.trim()]);
    // Only who has the secret key can do that.
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("secret.key").display().to_string();
    let replace = ["admin", "replace-receipt-key", "--database-url", &host.database.url, "--secret-key-file", &other];
    let said = Elita::new().run(&replace).await;
    assert!(said.code != 0 && said.stderr.contains("under another secret key"), "{said}");
}

#[tokio::test]
async fn receipts_stay_good_where_the_secret_key_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret.key");
    // Working copies pull from the address that they were made with.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let setup = Setup::default().flag("--listen", format!("127.0.0.1:{port}"));
    let host = two_batches_on(setup.flag("--secret-key-file", key.display())).await;
    upload(&host, "1", &[("a", "1")]).await;
    deployed(&host, &to_groups("1", &["front"])).await;
    assert_eq!(host.client.post("/global/keypairs", &json!({ "name": "deploy", "generate": true })).await.status, 201);
    let hub = json!({ "name": "hub", "type": "github", "auth": { "token": "t" } });
    assert_eq!(host.client.post("/global/gitproviders", &hub).await.status, 201);
    let (url, file) = (host.database.url.clone(), key.display().to_string());
    let forget = ["admin", "forget-secrets", "--database-url", &url, "--secret-key-file", &file];
    let said = Elita::new().run(&forget).await;
    assert!(said.code == 0 && said.stderr.contains("nothing is lost"), "{said}");

    std::fs::remove_file(&key).unwrap();
    let yes = [&forget[..], &["--yes"]].concat();
    let said = Elita::new().run(&yes).await;
    assert!(said.code != 0 && said.stderr.contains("a server works with this database"), "{said}");
    let stopped = host.stop().await;
    let mut program = stopped.start_program();
    let (code, stderr) = program.ended().await;
    assert!(code != Some(0) && stderr.contains("elita admin forget-secrets"), "{stderr}");
    // First it says what is lost.
    let said = Elita::new().run(&forget).await;
    assert!(said.code != 0 && said.stderr.contains("--yes"), "{said}");
    assert_eq!(said.stdout, "keypair deploy\ngit provider hub\nkey of receipts\n", "{said}");
    let said = Elita::new().run(&yes).await;
    assert_eq!(said.code, 0, "{said}");

    let host = stopped.start().await;
    deployed(&host, &to_groups("1", &["front"])).await;
    let (about, receipts) = (host.client.get("/about").await.body, host.client.get(RECEIPTS).await.body);
    assert_eq!(about["receipt_keys"].as_array().unwrap().len(), 2, "{about:#}");
    assert_eq!(verified(&about, &receipts), Ok("4 verified\n".to_owned()));
    let hub = host.client.get("/global/gitproviders/hub").await.body;
    assert_eq!(hub["has_auth"], false, "{hub:#}");
    assert_eq!(host.client.patch("/global/gitproviders/hub", &json!({ "auth": { "token": "t" } })).await.status, 200);
    // What uses the keypair says why it cannot.
    let connection = json!({ "host": "127.0.0.1", "port": 9, "user": "a", "keypair": "deploy" });
    let new = json!({ "name": "web9", "environment": "test", "driver": "ssh", "connection": connection });
    assert_eq!(host.client.post("/server", &new).await.status, 201);
    let sent = host.client.post("/server/web9/command", &json!({ "command": ["true"] })).await;
    let job = host.ended_job(sent.body["job_id"].as_str().unwrap()).await;
    assert!(job.to_string().contains("was lost with the secret key; use another keypair"), "{job:#}");
    assert_eq!(host.client.delete("/server/web9").await.status, 204);
    assert_eq!(host.client.delete("/global/keypairs/deploy").await.status, 204);
}

async fn receipts(host: &TestHost, query: &str) -> Vec<Value> {
    let listed = host.client.get(&format!("{RECEIPTS}{query}")).await;
    assert_eq!(listed.status, 200, "{listed}");
    listed.body["items"].as_array().unwrap().clone()
}

/// What the program in the documentation says, on its standard output or its standard error.
fn verified(about: &Value, receipts: &Value) -> Result<String, String> {
    let docs = std::fs::read_to_string(project_root().join("docs/deployments.md")).unwrap();
    let program = docs.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let program = file("verify-receipts", program);
    let (about, receipts) = (file("about", &about.to_string()), file("receipts", &receipts.to_string()));
    let ran = Command::new("python3").args([&*program, Path::new(&about), Path::new(&receipts)]).output().unwrap();
    match ran.status.success() {
        true => Ok(String::from_utf8(ran.stdout).unwrap()),
        false => Err(String::from_utf8(ran.stderr).unwrap()),
    }
}
