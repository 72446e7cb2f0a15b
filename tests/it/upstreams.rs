//! Git repositories that others keep: committed to and pulled from, over SSH by a real sshd, and over HTTP by git's own
//! server.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commits::{commit, committed, git, make_gitdeploy, upload};
use crate::harness::{GitBackend, Setup, Sshd, TestHost};

const SITE: &str = "/app/shop/gitrepos/site";
const WEB: &str = "/app/shop/gitdeploys/web";
const PRIVATE: &str = include_str!("keypairs/canary");
const PUBLIC: &str = include_str!("keypairs/canary.pub");

#[tokio::test]
async fn a_package_is_committed_over_ssh_and_the_host_key_is_kept() {
    let (host, sshd) = over_ssh(Setup::default()).await;
    let repo = sshd.home.join("site.git");
    upload(&host, "1", &[("a", "1"), ("b/c", "2")]).await;
    let first = committed(&host, "1").await;
    assert_eq!(git(&repo, &["rev-parse", "master"]), first["commit"]);
    let shown = host.client.get(SITE).await.body;
    let key = std::fs::read_to_string(sshd.host_key_file()).unwrap();
    assert!(key.starts_with(shown["host_key"].as_str().unwrap()), "{shown}");
    assert_eq!((&shown["last_build"], &shown["last_commit"]), (&json!("1"), &first["commit"]), "{shown}");

    // Somebody else has changed it meanwhile: what they did is replaced, and stays in the history.
    let theirs = somebody_elses_commit(&repo);
    upload(&host, "2", &[("a", "2")]).await;
    let second = committed(&host, "2").await;
    assert_eq!(git(&repo, &["rev-parse", "master", "master^"]), format!("{}\n{theirs}", text(&second["commit"])));
    assert_eq!(git(&repo, &["ls-tree", "-r", "--name-only", "master"]), "a");
    let again = committed(&host, "2").await;
    assert_eq!((&again["is_new"], &again["commit"]), (&json!(false), &second["commit"]));
    let log = host.client.get(&format!("{SITE}/log")).await;
    assert_eq!(log.items("commit")[0], text(&second["commit"]), "{log}");
}

#[tokio::test]
async fn a_host_that_shows_another_key_is_not_contacted() {
    let (host, mut sshd) = over_ssh(Setup::default()).await;
    upload(&host, "1", &[("a", "1")]).await;
    committed(&host, "1").await;
    sshd.change_host_key().await;
    upload(&host, "2", &[("a", "2")]).await;
    let job = commit(&host, "2").await;
    assert_eq!(job["error"]["code"], "git-unreachable", "{job:#}");
    assert!(text(&job["error"]["message"]).contains("another key"), "{job:#}");
    let key = std::fs::read_to_string(sshd.host_key_file()).unwrap();
    let (key, _) = key.trim().rsplit_once(' ').unwrap();
    assert_eq!(host.client.patch(SITE, &json!({ "host_key": "none" })).await.fault(), (422, "/host_key"));
    assert_eq!(host.client.patch(SITE, &json!({ "host_key": key })).await.status, 200);
    committed(&host, "2").await;
}

#[tokio::test]
async fn what_a_provider_says_to_a_push_is_told() {
    let (host, sshd) = over_ssh(Setup::default()).await;
    let repo = sshd.home.join("site.git");
    hook(&repo, "pre-receive", "echo no pushes on Fridays >&2; exit 1");
    upload(&host, "1", &[("a", "1")]).await;
    let job = commit(&host, "1").await;
    assert_eq!(job["error"]["code"], "push-refused", "{job:#}");
    let message = text(&job["error"]["message"]);
    assert!(message.contains("no pushes on Fridays") && message.contains("pre-receive hook declined"), "{message}");
    assert_eq!(host.client.get(SITE).await.body["last_commit"], Value::Null);
    std::fs::remove_file(repo.join("hooks/pre-receive")).unwrap();
    committed(&host, "1").await;
    assert_eq!(git(&repo, &["rev-list", "--count", "master"]), "1");
}

#[tokio::test]
async fn a_branch_that_is_changed_between_the_fetch_and_the_push_stays() {
    let (host, sshd) = over_ssh(Setup::default()).await;
    let repo = sshd.home.join("site.git");
    upload(&host, "1", &[("a", "1")]).await;
    committed(&host, "1").await;
    // As if somebody's push came first.
    let script = "[ -e .pushed ] && exit 0; : >.pushed; \
        new=$(git -c user.name=x -c user.email=x@y commit-tree -p master -m theirs 'master^{tree}'); \
        env -u GIT_QUARANTINE_PATH git update-ref refs/heads/master $new; exit 0";
    hook(&repo, "pre-receive", script);
    upload(&host, "2", &[("a", "2")]).await;
    let job = commit(&host, "2").await;
    assert_eq!(job["error"]["code"], "branch-moved", "{job:#}");
    assert_eq!(git(&repo, &["log", "-1", "--format=%s", "master"]), "theirs");
    committed(&host, "2").await;
    assert_eq!(git(&repo, &["log", "-1", "--format=%s", "master^"]), "theirs");
}

#[tokio::test]
async fn what_cannot_be_reached_says_why() {
    let (host, mut sshd) = over_ssh(Setup::default()).await;
    upload(&host, "1", &[("a", "1")]).await;
    let other = host.client.post("/global/keypairs", &json!({ "name": "other", "generate": true })).await;
    assert_eq!(other.status, 201, "{other}");
    assert_eq!(host.client.patch(SITE, &json!({ "keypair": "other" })).await.status, 200);
    let job = commit(&host, "1").await;
    assert_eq!(job["error"]["code"], "git-unreachable", "{job:#}");
    assert!(text(&job["error"]["message"]).contains("does not take the repository's keypair"), "{job:#}");
    assert_eq!(host.client.patch(SITE, &json!({ "keypair": "repo" })).await.status, 200);
    std::fs::rename(sshd.home.join("site.git"), sshd.home.join("gone.git")).unwrap();
    let job = commit(&host, "1").await;
    assert_eq!(job["error"]["code"], "git-unreachable", "{job:#}");
    assert!(text(&job["error"]["message"]).contains("does not appear to be a git repository"), "{job:#}");
    sshd.stop();
    let job = commit(&host, "1").await;
    assert_eq!(job["error"]["code"], "git-unreachable", "{job:#}");
}

#[tokio::test]
async fn a_package_is_committed_over_http_with_the_providers_credentials_and_pulled() {
    let (host, folder) = over_http("s3cr3t-canary").await;
    let repo = folder.path().join("site.git");
    upload(&host, "1", &[("a", "1")]).await;
    let first = committed(&host, "1").await;
    assert_eq!(git(&repo, &["rev-parse", "master"]), first["commit"]);
    let asked = json!({ "initialize": true, "servers": ["web1"] });
    // Who may run something on a server could take the credentials from there.
    let writer = host.guest(&json!({ "apps": { "shop": "read/write" }, "servers": ["*"] })).await;
    let refused = writer.post(WEB, &asked).await;
    assert_eq!(refused.status, 403, "{refused}");
    assert!(text(&refused.body["detail"]).contains("git provider `hub`"), "{refused}");
    let job = ended(&host, &asked).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    upload(&host, "2", &[("a", "2")]).await;
    let second = committed(&host, "2").await;
    let pulled = ended(&host, &json!({ "pull": true, "servers": ["web1"] })).await;
    assert_eq!(pulled["result"]["servers"]["web1"]["head"], second["commit"], "{pulled:#}");
    let audit = host.client.get("/global/audit").await.body;
    for told in [&job, &pulled, &audit] {
        assert!(!told.to_string().contains("s3cr3t-canary"), "{told}");
    }
    // Others than those that it takes.
    let provider = json!({ "auth": { "username": "elita", "password": "wrong" } });
    let changed = host.client.patch("/global/gitproviders/hub", &provider).await;
    assert_eq!(changed.status, 200, "{changed}");
    upload(&host, "3", &[("a", "3")]).await;
    let refused = commit(&host, "3").await;
    assert_eq!(refused["error"]["code"], "git-unreachable", "{refused:#}");
    assert!(text(&refused["error"]["message"]).contains("credentials"), "{refused:#}");
}

#[tokio::test]
async fn a_host_inside_is_not_reached_where_the_operator_does_not_name_it() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    for uri in ["ssh://git@127.0.0.1/a.git", "http://localhost:1/a.git", "https://10.0.0.1/a.git"] {
        let new = json!({ "name": "site", "existing": true, "uri": uri });
        let refused = host.client.post("/app/shop/gitrepos", &new).await;
        assert_eq!(refused.fault(), (422, "/uri"), "{refused}");
    }
}

/// A host whose repository `site` is kept by this sshd, which it reaches with the keypair `repo`.
pub(crate) async fn over_ssh(setup: Setup) -> (TestHost, Sshd) {
    let sshd = Sshd::start(PUBLIC.trim(), "").await;
    bare(&sshd.home.join("site.git"));
    sshd.give_home();
    let host = setup.flag("--git-hosts", format!("127.0.0.1:{}", sshd.port)).start().await;
    host.create_application("shop").await;
    let keys = json!({ "name": "repo", "private_key": PRIVATE });
    assert_eq!(host.client.post("/global/keypairs", &keys).await.status, 201);
    let uri = format!("ssh://{}@127.0.0.1:{}{}/site.git", sshd.user, sshd.port, sshd.home.display());
    let new = json!({ "name": "site", "existing": true, "uri": uri, "keypair": "repo" });
    let created = host.client.post("/app/shop/gitrepos", &new).await;
    assert_eq!(created.status, 201, "{created}");
    make_gitdeploy(&host, "master", &json!({})).await;
    (host, sshd)
}

/// A host whose repository `site` is kept by git's own server, and a server `web1` of the driver `local`.
async fn over_http(password: &str) -> (TestHost, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    bare(&folder.path().join("site.git"));
    git(&folder.path().join("site.git"), &["config", "http.receivepack", "true"]);
    let backend = GitBackend::start(folder.path().to_owned(), "elita", password).await;
    let setup = Setup::default().switch("--local-servers").flag("--git-hosts", backend.address());
    let host = setup.start().await;
    host.create_application("shop").await;
    let auth = json!({ "username": "elita", "password": password });
    let provider = json!({ "name": "hub", "type": "other", "base_url": backend.url(), "auth": auth });
    let created = host.client.post("/global/gitproviders", &provider).await;
    assert_eq!(created.status, 201, "{created}");
    let uri = format!("{}/site.git", backend.url());
    let new = json!({ "name": "site", "existing": true, "uri": uri, "gitprovider": "hub" });
    let created = host.client.post("/app/shop/gitrepos", &new).await;
    assert_eq!(created.status, 201, "{created}");
    make_gitdeploy(&host, "master", &json!({})).await;
    assert_eq!(host.client.patch(WEB, &json!({ "location": { "path": "/shop" } })).await.status, 200);
    let new = json!({ "name": "web1", "environment": "test", "driver": "local" });
    assert_eq!(host.client.post("/server", &new).await.status, 201);
    (host, folder)
}

async fn ended(host: &TestHost, asked: &Value) -> Value {
    let accepted = host.client.post(WEB, asked).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    host.ended_job(text(&accepted.body["job_id"])).await
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn bare(path: &Path) {
    let made = Command::new("git").args(["init", "-q", "--bare", "--initial-branch=master"]).arg(path).status();
    assert!(made.unwrap().success());
}

fn hook(repo: &Path, name: &str, script: &str) {
    let file = repo.join("hooks").join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn somebody_elses_commit(repo: &Path) -> String {
    let identity = ["-c", "user.name=x", "-c", "user.email=x@y"];
    let tree = git(repo, &["rev-parse", "master^{tree}"]);
    let made = git(repo, &[&identity[..], &["commit-tree", "-p", "master", "-m", "theirs", &tree]].concat());
    git(repo, &["update-ref", "refs/heads/master", &made]);
    let owner = std::fs::metadata(repo).unwrap();
    let give = Command::new("chown").arg("-R").arg(format!("{}:{}", owner.uid(), owner.gid())).arg(repo).status();
    assert!(give.unwrap().success());
    made
}
