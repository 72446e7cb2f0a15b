//! Keypairs over HTTP, and what becomes of their private halves.

use reqwest::Method;
use reqwest::multipart::Form;
use serde_json::{Value, json};
use sqlx::Row as _;

use crate::harness::{Database, Setup, TestHost};

/// Made by `ssh-keygen -t ed25519 -N '' -C canary` for these tests, and used for nothing else.
const PRIVATE: &str = include_str!("keypairs/canary");
const PUBLIC: &str = include_str!("keypairs/canary.pub");
const FINGERPRINT: &str = include_str!("keypairs/canary.fingerprint");

#[tokio::test]
async fn a_private_key_is_taken_in_and_only_its_public_half_shown() {
    let host = TestHost::start().await;
    let new = json!({ "name": "deploy", "key_type": "ed25519", "private_key": PRIVATE, "public_key": PUBLIC });
    let created = host.client.post("/global/keypairs", &new).await;
    assert_eq!((created.status, created.header("location")), (201, "/global/keypairs/deploy"), "{created}");
    assert_eq!(created.body["public_key"], PUBLIC.trim());
    assert_eq!(created.body["fingerprint"], FINGERPRINT.trim());
    assert_eq!(created.body["key_type"], "ssh-ed25519");
    assert_eq!(host.client.get("/global/keypairs/deploy").await.body, created.body);
    assert_eq!(host.client.get("/global/keypairs").await.items("name"), ["deploy"]);
}

#[tokio::test]
async fn keys_come_as_a_multipart_form_too() {
    let host = TestHost::start().await;
    let form = Form::new().text("name", "deploy").text("private_key", PRIVATE).text("attributes", r#"{"a": 1}"#);
    let created = host.client.send(host.client.request(Method::POST, "/global/keypairs").multipart(form)).await;
    assert_eq!(created.status, 201, "{created}");
    assert_eq!(created.body["fingerprint"], FINGERPRINT.trim());
    assert_eq!(created.body["attributes"], json!({ "a": 1 }));
}

#[tokio::test]
async fn a_generated_keypair_is_another_one_each_time() {
    let host = TestHost::start().await;
    let first = host.client.put("/global/keypairs?name=first&generate=true").await;
    let second = host.client.post("/global/keypairs", &json!({ "name": "second", "generate": true })).await;
    for created in [&first, &second] {
        assert_eq!(created.status, 201, "{created}");
        assert!(created.body["public_key"].as_str().unwrap().starts_with("ssh-ed25519 AAAA"), "{created}");
    }
    assert_ne!(first.body["fingerprint"], second.body["fingerprint"]);
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_refused_and_not_repeated() {
    let host = TestHost::start().await;
    let other = host.client.put("/global/keypairs?name=other&generate=true").await.body["public_key"].clone();
    for (new, pointer) in [
        (json!({ "name": "deploy" }), "/private_key"),
        (json!({ "name": "deploy", "private_key": PRIVATE, "generate": true }), "/private_key"),
        (json!({ "name": "deploy", "private_key": PRIVATE.replace("AAAA", "BBBB") }), "/private_key"),
        (json!({ "name": "deploy", "private_key": PRIVATE, "public_key": other }), "/public_key"),
        (json!({ "name": "deploy", "private_key": PRIVATE, "key_type": "rsa" }), "/key_type"),
        (json!({ "name": "a/b", "generate": true }), "/name"),
    ] {
        let refused = host.client.post("/global/keypairs", &new).await;
        assert_eq!(refused.fault(), (422, pointer), "{refused}");
        assert!(!refused.to_string().contains(secret_line()), "{refused}");
    }
    let in_url = host.client.put("/global/keypairs?name=deploy&private_key=x").await;
    assert_eq!(in_url.fault(), (400, "private_key"), "{in_url}");
    assert_eq!(host.client.get("/global/keypairs").await.items("name"), ["other"]);
}

#[tokio::test]
async fn only_the_attributes_of_a_keypair_change() {
    let host = with_keypair().await;
    let changed = host.client.patch("/global/keypairs/deploy", &json!({ "attributes": { "for": "shop" } })).await;
    assert_eq!((changed.status, &changed.body["attributes"]), (200, &json!({ "for": "shop" })), "{changed}");
    for member in ["name", "public_key", "fingerprint", "private_key"] {
        let refused = host.client.patch("/global/keypairs/deploy", &json!({ member: "other" })).await;
        assert_eq!(refused.fault(), (422, format!("/{member}").as_str()), "{refused}");
    }
    let taken = host.client.put("/global/keypairs?name=deploy&generate=true").await;
    assert_eq!(taken.status, 409, "{taken}");
    assert_eq!(host.client.delete("/global/keypairs/deploy").await.status, 204);
    assert_eq!(host.client.get("/global/keypairs/deploy").await.status, 404);
}

#[tokio::test]
async fn a_keypair_stays_while_git_repositories_use_it() {
    let host = with_keypair().await;
    host.create_application("shop").await;
    let new = json!({ "name": "site", "existing": true, "uri": "git@git.example.com:shop.git", "keypair": "deploy" });
    let created = host.client.post("/app/shop/gitrepos", &new).await;
    assert_eq!((created.status, &created.body["keypair"]), (201, &json!("deploy")), "{created}");
    let refused = host.client.delete("/global/keypairs/deploy").await;
    assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("`shop/site`"), "{refused}");
    let operator = host.guest(&json!({ "apps": { "_global": "read/write" } })).await;
    let refused = operator.delete("/global/keypairs/deploy").await;
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(refused.status == 409 && detail.contains("1 git repo that you may not see"), "{refused}");
    let unknown = host.client.patch("/app/shop/gitrepos/site", &json!({ "keypair": "nowhere" })).await;
    assert_eq!(unknown.fault(), (422, "/keypair"), "{unknown}");
    let freed = host.client.patch("/app/shop/gitrepos/site", &json!({ "keypair": null })).await;
    assert_eq!((freed.status, &freed.body["keypair"]), (200, &json!(null)), "{freed}");
    assert_eq!(host.client.delete("/global/keypairs/deploy").await.status, 204);
}

#[tokio::test]
async fn a_private_key_is_in_the_database_sealed_only() {
    let host = with_keypair().await;
    let mut connection = host.database.connect().await;
    let row = sqlx::query("select keypairs::text as text, private_key from keypairs").fetch_one(&mut connection).await;
    let row = row.unwrap();
    let (text, sealed): (String, Vec<u8>) = (row.get("text"), row.get("private_key"));
    assert!(!text.contains(secret_line()));
    assert!(!sealed.windows(8).any(|bytes| PRIVATE.as_bytes().windows(8).any(|part| part == bytes)));
}

#[tokio::test]
async fn a_server_with_another_secret_key_is_refused() {
    let host = with_keypair().await;
    let database = host.database.clone();
    let other = tempfile::tempdir().unwrap();
    let key = other.path().join("other.key").display().to_string();
    let data_dir = other.path().join("data").display().to_string();
    let flags = ["--data-dir", &data_dir, "--database-url", &database.url, "--secret-key-file", &key];
    let mut program = crate::harness::Program::serve(&flags);
    let (code, stderr) = program.ended().await;
    assert_ne!(code, Some(0));
    assert!(stderr.contains("under another secret key") && stderr.contains("copy the file"), "{stderr}");
}

#[tokio::test]
async fn the_secret_key_is_made_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("secret.key");
    let setup = Setup::default().flag("--secret-key-file", key.display());
    let host = setup.start_on(Database::new().await).await;
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&key).unwrap();
    assert!(text.starts_with("1 ") && text.trim().len() == 66, "{} bytes", text.len());
    host.stop().await;
}

#[tokio::test]
async fn secrets_are_sealed_anew_under_a_newer_key() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("secret.key");
    let host = Setup::default().flag("--secret-key-file", key.display()).start().await;
    let created = host.client.put("/global/keypairs?name=deploy&generate=true").await;
    assert_eq!(created.status, 201, "{created}");
    let sealed = versions(&host).await;
    let stopped = host.stop().await;

    let old = std::fs::read_to_string(&key).unwrap();
    let newer = "2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
    std::fs::write(&key, format!("{newer}{old}")).unwrap();
    let host = stopped.start().await;
    assert_eq!((sealed, versions(&host).await), (vec![1], vec![2]));
    let stopped = host.stop().await;

    std::fs::write(&key, newer).unwrap();
    let host = stopped.start().await;
    assert_eq!(host.client.get("/global/keypairs/deploy").await.body["fingerprint"], created.body["fingerprint"]);
}

#[tokio::test]
async fn a_server_with_a_key_that_was_replaced_keeps_no_secrets_and_says_why() {
    let host = TestHost::start().await;
    let mut connection = host.database.connect().await;
    // As another server does that has started with a newer key.
    sqlx::query("delete from receipt_keys").execute(&mut connection).await.unwrap();
    sqlx::query("delete from secret_keys").execute(&mut connection).await.unwrap();
    let auth = json!({ "token": "a-token" });
    let keypair = host.client.put("/global/keypairs?name=deploy&generate=true").await;
    let provider = json!({ "name": "hub", "type": "github", "auth": auth });
    let created = host.client.post("/global/gitproviders", &provider).await;
    host.client.put("/global/gitproviders?name=other&type=github").await;
    let changed = host.client.patch("/global/gitproviders/other", &json!({ "auth": auth })).await;
    for refused in [keypair, created, changed] {
        assert_eq!((refused.status, &refused.body["code"]), (409, &json!("conflict")), "{refused}");
        assert!(refused.body["detail"].as_str().unwrap().contains("has been replaced"), "{refused}");
    }
}

async fn versions(host: &TestHost) -> Vec<i32> {
    let mut connection = host.database.connect().await;
    sqlx::query_scalar("select secret_version from keypairs").fetch_all(&mut connection).await.unwrap()
}

async fn with_keypair() -> TestHost {
    let host = TestHost::start().await;
    let new = json!({ "name": "deploy", "private_key": PRIVATE });
    let created = host.client.post("/global/keypairs", &new).await;
    assert_eq!(created.status, 201, "{created}");
    assert_eq!(created.body.get("private_key"), None::<&Value>);
    host
}

/// A line that only the private key has.
fn secret_line() -> &'static str {
    PRIVATE.lines().nth(3).unwrap()
}
