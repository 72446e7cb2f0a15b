//! Working copies of gitdeploys on servers that are reached by SSH, on a real sshd.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::commits::{committed, upload, with_gitdeploy};
use crate::harness::{Client, Program, Setup, Sshd, TestHost, eventually};
use crate::upstreams::over_ssh;

const WEB: &str = "/app/shop/gitdeploys/web";
/// Part of the private key that repositories are reached with here.
const CANARY: &str = "AAAECAaPFixSRhZhTjRLYp7";

#[tokio::test]
async fn a_build_reaches_a_server_by_ssh_over_http() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let here = format!("127.0.0.1:{port}");
    let setup = Setup::default().flag("--listen", &here).flag("--public-url", format!("http://{here}"));
    let host = with_gitdeploy(setup, &json!({})).await;
    let sshd = with_server(&host).await;
    let path = sshd.home.join("shop");
    assert_eq!(host.client.patch(WEB, &json!({ "location": { "path": path } })).await.status, 200);
    let job = on(&host, "initialize").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    upload(&host, "1", &[("a", "one"), ("b/c", "x")]).await;
    let commit = committed(&host, "1").await["commit"].clone();
    let job = on(&host, "pull").await;
    assert_eq!(job["result"]["servers"]["web1"]["head"], commit, "{job:#}");
    assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "one");
    let job = on(&host, "deinitialize").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert!(!path.exists());
}

#[tokio::test]
async fn each_gitdeploy_has_a_key_and_settings_of_its_own_on_a_server_which_go_with_it() {
    let (host, repos) = over_ssh(Setup::default()).await;
    let sshd = with_server(&host).await;
    let path = sshd.home.join("shop");
    assert_eq!(host.client.patch(WEB, &json!({ "location": { "path": path } })).await.status, 200);
    let other = sshd.home.join("100% other");
    let location = json!({ "path": other, "gitrepo": "site" });
    let new = json!({ "name": "other", "package": "master", "location": location });
    assert_eq!(host.client.post("/app/shop/gitdeploys", &new).await.status, 201);
    upload(&host, "1", &[("a", "one")]).await;
    committed(&host, "1").await;

    for (gitdeploy, copy) in [("web", &path), ("other", &other)] {
        let job = on_of(&host, gitdeploy, "initialize").await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        assert_eq!(std::fs::read_to_string(copy.join("a")).unwrap(), "one");
        let files = copy.join(".git/elita");
        assert_eq!(std::fs::metadata(&files).unwrap().permissions().mode() & 0o777, 0o700);
        for file in ["key", "known_hosts", "ssh_config"] {
            let mode = std::fs::metadata(files.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{file}: {mode:o}");
        }
        let known = std::fs::read_to_string(files.join("known_hosts")).unwrap();
        assert_eq!(known.lines().count(), 1, "{known}");
    }
    assert!(!std::fs::read_to_string(path.join(".git/config")).unwrap().contains("PRIVATE KEY"));
    // Nothing else of the user's is touched, and nothing of it decides.
    assert!(!sshd.home.join(".ssh").exists());
    upload(&host, "2", &[("a", "two")]).await;
    committed(&host, "2").await;
    for gitdeploy in ["web", "other"] {
        let job = on_of(&host, gitdeploy, "pull").await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
    }
    let job = on_of(&host, "web", "deinitialize").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert!(!path.exists() && other.join(".git/elita/key").exists());
    on_of(&host, "other", "deinitialize").await;
    let left = files_with(&sshd.home, CANARY);
    assert!(left.is_empty(), "{left:?}");
    drop(repos);
}

#[tokio::test]
async fn another_key_of_the_repositorys_host_is_refused_on_servers() {
    let (host, mut repos) = over_ssh(Setup::default()).await;
    let sshd = with_server(&host).await;
    let path = sshd.home.join("shop");
    assert_eq!(host.client.patch(WEB, &json!({ "location": { "path": path } })).await.status, 200);
    upload(&host, "1", &[("a", "one")]).await;
    committed(&host, "1").await;
    let job = on(&host, "initialize").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    repos.change_host_key().await;
    // The repository is asked before servers are.
    let job = on(&host, "initialize").await;
    assert_eq!(job["error"]["code"], "git-unreachable", "{job:#}");
    // A server's own git does not take it either.
    let files = path.join(".git/elita");
    let command = json!({ "script": format!(
        "GIT_SSH_COMMAND='ssh -F {}/ssh_config' git -C {} fetch origin", files.display(), path.display()
    ) });
    let job = ended(&host.client, &host.client.post("/server/web1/command", &command).await.body).await;
    let said = job["result"]["web1"]["stderr"].as_str().unwrap();
    assert!(said.contains("HOST IDENTIFICATION HAS CHANGED"), "{job:#}");
}

#[tokio::test]
async fn a_repositorys_key_is_in_no_command_line_log_event_or_audit_entry() {
    let (host, repos) = over_ssh(Setup::default()).await;
    let sshd = with_server(&host).await;
    let path = sshd.home.join("shop");
    assert_eq!(host.client.patch(WEB, &json!({ "location": { "path": path } })).await.status, 200);
    upload(&host, "1", &[("a", "one")]).await;
    committed(&host, "1").await;
    let stopped = host.stop().await;
    let flags = stopped.all_flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).chain(["--log", "trace,h2=info"]).collect();
    let mut program = Program::serve(&flags);
    let (_, client) = program.ready(&stopped.database.token).await;
    let watch = CommandLines::watch();
    let mut told = Vec::new();
    for task in ["initialize", "pull", "deinitialize"] {
        let accepted = client.post(WEB, &json!({ task: true, "servers": ["web1"] })).await;
        let job = ended(&client, &accepted.body).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        let id = job["job_id"].as_str().unwrap();
        for query in ["results=true", "steps=true", "trace=true"] {
            told.push(client.get(&format!("/job/{id}?{query}")).await.body.to_string());
        }
    }
    told.push(client.get("/global/audit").await.body.to_string());
    told.push(client.get(WEB).await.body.to_string());
    let lines = watch.end();
    assert!(lines.iter().any(|line| line.contains("ssh")), "no command was seen: {lines:?}");
    told.extend(lines);
    program.signal(Signal::TERM);
    let (_, log) = program.ended().await;
    assert!(log.contains("TRACE"), "the log has no details");
    told.push(log);
    let key = include_str!("keypairs/canary");
    let secret: Vec<_> = key.lines().filter(|line| !line.starts_with("-----")).collect();
    for text in told {
        for line in &secret {
            assert!(!text.contains(line), "{text}");
        }
    }
    drop(repos);
}

/// Looks again and again which command lines there are on this machine.
pub(crate) struct CommandLines {
    stop: Arc<AtomicBool>,
    watching: std::thread::JoinHandle<Vec<String>>,
}

impl CommandLines {
    pub(crate) fn watch() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let watching = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                for process in std::fs::read_dir("/proc").unwrap().flatten() {
                    if process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
                        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
                        seen.insert(String::from_utf8_lossy(&line).into_owned());
                    }
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            seen.into_iter().collect()
        });
        Self { stop, watching }
    }

    pub(crate) fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.watching.join().unwrap()
    }
}

/// The server `web1`, which is this sshd, reached with the keypair `deploy`.
pub(crate) async fn with_server(host: &TestHost) -> Sshd {
    let made = host.client.post("/global/keypairs", &json!({ "name": "deploy", "generate": true })).await;
    let sshd = Sshd::start(made.body["public_key"].as_str().unwrap(), "").await;
    let connection = json!({ "host": "127.0.0.1", "port": sshd.port, "user": sshd.user, "keypair": "deploy" });
    let new = json!({ "name": "web1", "environment": "test", "driver": "ssh", "connection": connection });
    let created = host.client.post("/server", &new).await;
    assert_eq!(created.status, 201, "{created}");
    sshd
}

async fn on(host: &TestHost, task: &str) -> Value {
    on_of(host, "web", task).await
}

async fn on_of(host: &TestHost, gitdeploy: &str, task: &str) -> Value {
    let path = format!("/app/shop/gitdeploys/{gitdeploy}");
    let accepted = host.client.post(&path, &json!({ task: true, "servers": ["web1"] })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    ended(&host.client, &accepted.body).await
}

/// The job of this answer, once it has ended.
pub(crate) async fn ended(client: &Client, accepted: &Value) -> Value {
    let id = accepted["job_id"].as_str().unwrap_or_else(|| panic!("{accepted:#}"));
    eventually("the job to end", async || {
        let job = client.get(&format!("/job/{id}?results=true")).await.body;
        (job["status"] != "queued" && job["status"] != "running").then_some(job)
    })
    .await
}

/// The files below a folder that have this text in them.
pub(crate) fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text)) {
            found.push(path);
        }
    }
    found
}
