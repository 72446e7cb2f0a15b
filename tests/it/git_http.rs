//! Repositories served over HTTP, to real git clients.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::commits::{committed, git, noise, repository, upload, with_gitdeploy};
use crate::harness::{Client, Program, Setup, TestHost, eventually};
use crate::ssh_copies::ended;
use crate::uploads::put;

#[tokio::test]
async fn clones_and_fetches_of_all_versions_of_the_protocol_work() {
    let host = with_commits(2).await;
    let tip = git(&repository(&host).await, &["rev-parse", "master"]);
    for (name, options) in [
        ("v2", &["-c", "protocol.version=2"][..]),
        ("v1", &["-c", "protocol.version=1"]),
        ("v0", &["-c", "protocol.version=0"]),
        ("chunked", &["-c", "protocol.version=0", "-c", "http.postBuffer=65536"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let clone = folder.path().join(name);
        let cloned = run(options, &["clone", "-q", &url(&host), clone.to_str().unwrap()], &token(&host)).await;
        assert!(cloned.status.success(), "{name}: {cloned:?}");
        assert_eq!(git(&clone, &["rev-parse", "HEAD"]), tip, "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let clone = folder.path().join("shallow");
    let path = clone.to_str().unwrap();
    let cloned = run(&[], &["clone", "-q", "--depth", "1", &url(&host), path], &token(&host)).await;
    assert!(cloned.status.success(), "{cloned:?}");
    assert_eq!(git(&clone, &["rev-list", "--count", "HEAD"]), "1");
    let deepened = run(&["-C", path], &["fetch", "-q", "--unshallow"], &token(&host)).await;
    assert!(deepened.status.success(), "{deepened:?}");
    assert_eq!(git(&clone, &["rev-list", "--count", "HEAD"]), "2");
    upload(&host, "later", &[("later", "1")]).await;
    committed(&host, "later").await;
    let fetched = run(&["-C", path], &["pull", "-q"], &token(&host)).await;
    assert!(fetched.status.success() && clone.join("later").exists(), "{fetched:?}");
}

#[tokio::test]
async fn a_repository_of_4000_branches_is_cloned_by_long_requests_compressed_and_in_pieces() {
    let host = with_commits(1).await;
    let repo = repository(&host).await;
    let tip = git(&repo, &["rev-parse", "master"]);
    // Each is a commit of its own, so that each is asked for.
    let branch = |n| format!("commit refs/heads/b{n}\ncommitter a <a@b> {n} +0000\ndata 1\nx\nfrom {tip}\n\n");
    let branches: String = (0..4000).map(branch).collect();
    let mut import = Command::new("git");
    let import = import.arg("-C").arg(&repo).args(["-c", "safe.directory=*", "fast-import", "--quiet"]);
    let mut import = import.stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(branches.as_bytes()).unwrap();
    assert!(import.wait().unwrap().success());
    for (version, buffer, expected) in [
        ("0", "1m", "content-encoding: gzip"),
        ("2", "1m", "content-encoding: gzip"),
        // A request that is longer comes in pieces, after a probe.
        ("0", "65536", "transfer-encoding: chunked"),
        ("2", "65536", "transfer-encoding: chunked"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let clone = folder.path().join("c");
        let options = [format!("protocol.version={version}"), format!("http.postBuffer={buffer}")];
        let options = ["-c", &options[0], "-c", &options[1]];
        let arguments = ["clone", "-q", &url(&host), clone.to_str().unwrap()];
        let traced = [("GIT_TRACE_CURL", "1"), ("GIT_TRACE_CURL_NO_DATA", "1")];
        let cloned = run_with(&traced, &options, &arguments, &token(&host)).await;
        let said = String::from_utf8_lossy(&cloned.stderr).to_lowercase();
        assert!(cloned.status.success(), "{version} {buffer}: {}", &said[said.len().saturating_sub(2000)..]);
        assert!(said.contains(expected), "{version} {buffer}: no {expected}");
        assert_eq!(git(&clone, &["branch", "-r"]).lines().count(), 4002, "{version} {buffer}");
    }
}

#[tokio::test]
async fn a_git_that_fails_in_the_middle_breaks_the_reply_off() {
    let (host, body) = with_noise(Setup::default()).await;
    let largest = largest_file(&repository(&host).await.join("objects"));
    let mut content = std::fs::read(&largest).unwrap();
    let (end, length) = (content.len() - 1000, content.len());
    content[length / 4 * 3..end].fill(0);
    std::fs::set_permissions(&largest, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&largest, content).unwrap();
    let mut reply = ask(&host, &body).await;
    assert_eq!(reply.status(), 200);
    let rest = async {
        while reply.chunk().await?.is_some() {}
        Ok::<_, reqwest::Error>(())
    };
    assert!(rest.await.is_err(), "the reply ended as if it were whole");
}

#[tokio::test]
async fn only_who_may_read_the_application_reads_its_repositories() {
    let host = with_commits(1).await;
    let refs = "/git/shop/site.git/info/refs?service=git-upload-pack";
    let nobody = host.client.anonymous().get(refs).await;
    assert_eq!(nobody.status, 401, "{nobody}");
    assert!(nobody.header("www-authenticate").starts_with("Basic "), "{nobody}");
    for (who, token, status) in
        [("a token that is none", "elita_none", 401), ("the administrator", &*host.database.token, 200)]
    {
        assert_eq!(asked(&host.client, refs, token).await.status, status, "{who}");
    }
    let other = host.guest(&json!({ "apps": { "blog": "read/write" } })).await;
    assert_eq!(other.get(refs).await.status, 403);
    let cloned = run(&[], &["clone", "-q", &url(&host), "/nonexistent/x"], "wrong").await;
    assert!(!cloned.status.success(), "{cloned:?}");
}

#[tokio::test]
async fn nothing_is_written_and_nothing_else_is_read() {
    let host = with_commits(1).await;
    for (method, path, status) in [
        (Method::GET, "/git/shop/site.git/info/refs?service=git-receive-pack", 403),
        (Method::GET, "/git/shop/site.git/info/refs", 403),
        (Method::POST, "/git/shop/site.git/git-receive-pack", 403),
        (Method::GET, "/git/shop/site.git/HEAD", 404),
        (Method::GET, "/git/shop/site.git/config", 404),
        (Method::GET, "/git/shop/site.git/objects/info/packs", 404),
        (Method::GET, "/git/shop/site.git/hooks/post-update", 404),
        (Method::GET, "/git/shop/site/info/refs?service=git-upload-pack", 404),
        (Method::GET, "/git/shop/other.git/info/refs?service=git-upload-pack", 404),
        (Method::GET, "/git/shop/..%2fsite.git/info/refs?service=git-upload-pack", 404),
        (Method::GET, "/git/shop/site.git/git-upload-pack", 405),
    ] {
        let reply = host.client.send(host.client.request(method.clone(), path)).await;
        assert_eq!(reply.status, status, "{method} {path}: {reply}");
    }
    let folder = tempfile::tempdir().unwrap();
    let clone = folder.path().join("c");
    let path = clone.to_str().unwrap();
    run(&[], &["clone", "-q", &url(&host), path], &token(&host)).await;
    let commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"];
    git(&clone, &commit);
    let pushed = run(&["-C", path], &["push", "-q", "origin", "master"], &token(&host)).await;
    let said = String::from_utf8_lossy(&pushed.stderr).into_owned();
    assert!(!pushed.status.success() && said.contains("403"), "{said}");
}

#[tokio::test]
async fn a_request_that_is_no_request_is_refused_within_bounds() {
    let host = with_commits(1).await;
    let path = "/git/shop/site.git/git-upload-pack";
    let post = |body: Vec<u8>, encoding: &'static str| {
        host.client.request(Method::POST, path).header("content-encoding", encoding).body(body)
    };
    // The probe of a client before a long request.
    assert_eq!(host.client.send(post(b"0000".to_vec(), "identity")).await.status, 200);
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(32 << 20).unwrap();
    let bomb = Command::new("gzip").args(["-9", "-c"]).arg(file.path()).output().unwrap().stdout;
    assert!(bomb.len() < 100_000);
    for (body, encoding, status) in [
        (bomb, "gzip", 413),
        (b"none".to_vec(), "gzip", 400),
        (b"0000".to_vec(), "br", 415),
        (vec![0; 2 << 20], "identity", 413),
    ] {
        assert_eq!(host.client.send(post(body, encoding)).await.status, status, "{encoding}");
    }
}

#[tokio::test]
async fn clients_wait_for_a_place_and_all_are_served() {
    let host = with_commits(1).await;
    let clones = (0..64).map(|n| {
        let (url, token) = (url(&host), token(&host));
        async move {
            let folder = tempfile::tempdir().unwrap();
            let clone = folder.path().join(n.to_string());
            run(&[], &["clone", "-q", &url, clone.to_str().unwrap()], &token).await.status.success()
        }
    });
    let cloned = futures_util::future::join_all(clones).await;
    assert_eq!(cloned.iter().filter(|success| **success).count(), 64);
    // As many as there are places, who do not read on; the next one is served when one of them goes.
    let body = add_noise(&host, 24_000_000).await;
    let mut places = Vec::new();
    for _ in 0..32 {
        places.push(ask(&host, &body).await);
    }
    let mut waiting = Box::pin(ask(&host, &body));
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut waiting).await.is_err(), "it was served at once");
    places.pop();
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_reply_ends_with_the_token_that_it_began_with() {
    let (host, body) = with_noise(Setup::default()).await;
    let guest = host.guest(&json!({ "apps": { "shop": "read" } })).await;
    let request = guest.request(Method::POST, "/git/shop/site.git/git-upload-pack").body(body);
    let mut reply = request.send().await.unwrap();
    assert_eq!(reply.status(), 200);
    reply.chunk().await.unwrap().unwrap();
    assert_eq!(guest.delete("/global/tokens/current").await.status, 204);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let rest = async {
        while reply.chunk().await?.is_some() {}
        Ok::<_, reqwest::Error>(())
    };
    assert!(rest.await.is_err(), "the whole reply came");
}

#[tokio::test]
async fn a_slow_reader_gets_all_of_it_and_one_that_stops_reading_does_not_stay() {
    let (host, body) = with_noise(Setup::default().flag("--http-idle-seconds", 2)).await;
    let whole = ask(&host, &body).await.bytes().await.unwrap();
    let (mut reply, mut slowly, began) = (ask(&host, &body).await, 0, std::time::Instant::now());
    while let Some(chunk) = reply.chunk().await.unwrap() {
        slowly += chunk.len();
        // Twice as long as a connection may be idle, and more.
        tokio::time::sleep(Duration::from_secs_f64(chunk.len() as f64 / whole.len() as f64 * 6.0)).await;
    }
    assert_eq!(slowly, whole.len());
    assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
    // Its place is free again although it neither reads on nor goes away.
    let idle = ask(&host, &body).await;
    let gone = async || {
        let path = host.data_dir().canonicalize().unwrap();
        let serving = Command::new("pgrep").args(["-f", &format!("upload-pack.*{}", path.display())]).output().unwrap();
        (!serving.status.success()).then_some(())
    };
    eventually("git to end", gone).await;
    drop(idle);
}

/// What a file of 300 MiB may take of memory, in MiB: Elita beside what it has already, and each git.
const MOST_MIB: u64 = 64;

#[tokio::test]
async fn a_file_of_300_mib_is_committed_and_cloned_with_little_memory() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    let stopped = host.stop().await;
    let flags = stopped.all_flags();
    let mut program = Program::serve(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let (_, client) = program.ready(&stopped.database.token).await;
    let folder = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(folder.path().join("large")).unwrap();
    file.set_len(300 << 20).unwrap();
    let tar = Command::new("tar").arg("-C").arg(folder.path()).args(["-c", "large"]).output().unwrap().stdout;
    let before = program.peak_memory_kib();
    let gits = Gits::of(program.id());
    let accepted = put(&client, "/app/shop/builds/large/file?create=true&file_type=tar", tar).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    assert_eq!(ended(&client, &accepted.body).await["status"], "succeeded");
    let commit = json!({ "commit": true, "build_name": "large" });
    let job = ended(&client, &client.post("/app/shop/gitdeploys/web", &commit).await.body).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let url = format!("{}/git/shop/site.git", client.base());
    let clone = folder.path().join("clone");
    let cloned = run(&[], &["clone", "-q", &url, clone.to_str().unwrap()], &stopped.database.token).await;
    assert!(cloned.status.success(), "{cloned:?}");
    assert_eq!(std::fs::metadata(clone.join("large")).unwrap().len(), 300 << 20);
    let (own, git) = ((program.peak_memory_kib() - before) >> 10, gits.peak_kib() >> 10);
    println!("Elita took {own} MiB more, and a git {git} MiB");
    assert!(own < MOST_MIB, "Elita took {own} MiB");
    assert!((1..MOST_MIB).contains(&git), "a git took {git} MiB");
}

/// Watches the gits that a process has started.
struct Gits {
    stop: Arc<AtomicBool>,
    watching: std::thread::JoinHandle<u64>,
}

impl Gits {
    fn of(parent: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let watching = std::thread::spawn(move || {
            let mut peak = 0;
            while !stopped.load(Ordering::Relaxed) {
                let processes = std::fs::read_dir("/proc").unwrap().flatten();
                for status in processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("status")).ok()) {
                    let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                    if value("PPid:") == Some(&parent.to_string()) && value("Name:") == Some("git") {
                        let peak_now = value("VmHWM:").and_then(|text| text.strip_suffix(" kB")?.parse().ok());
                        peak = peak.max(peak_now.unwrap_or(0));
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            peak
        });
        Self { stop, watching }
    }

    fn peak_kib(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.watching.join().unwrap()
    }
}

/// The gitdeploy `web` with so many builds that are committed.
async fn with_commits(count: u32) -> TestHost {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    for n in 1..=count {
        let build = n.to_string();
        upload(&host, &build, &[("a", &build), ("b/c", "x")]).await;
        committed(&host, &build).await;
    }
    host
}

/// The same with a commit of 6 MB that cannot be compressed much, and the request for all of it.
async fn with_noise(setup: Setup) -> (TestHost, String) {
    let host = with_gitdeploy(setup, &json!({})).await;
    let body = add_noise(&host, 6_000_000).await;
    (host, body)
}

async fn add_noise(host: &TestHost, bytes: usize) -> String {
    let noise = noise(bytes);
    upload(host, "large", &[("noise", &noise)]).await;
    committed(host, "large").await;
    let tip = git(&repository(host).await, &["rev-parse", "master"]);
    let want = format!("want {tip} no-progress\n");
    format!("{:04x}{want}0000{:04x}done\n", want.len() + 4, 9)
}

/// Asks for a pack. What comes of it is read by the caller.
async fn ask(host: &TestHost, body: &str) -> reqwest::Response {
    let request = host.client.request(Method::POST, "/git/shop/site.git/git-upload-pack");
    request.body(body.to_owned()).send().await.unwrap()
}

fn largest_file(folder: &Path) -> PathBuf {
    let files = crate::commits::all_files(folder).into_iter().map(PathBuf::from);
    files.max_by_key(|file| file.metadata().unwrap().len()).unwrap()
}

fn url(host: &TestHost) -> String {
    format!("{}/git/shop/site.git", host.client.base())
}

fn token(host: &TestHost) -> String {
    host.database.token.clone()
}

async fn asked(client: &Client, path: &str, token: &str) -> crate::harness::Reply {
    let anonymous = client.anonymous();
    anonymous.send(anonymous.request(Method::GET, path).basic_auth("git", Some(token))).await
}

/// Runs git with a token as its password, which stands in no argument.
async fn run(options: &[&str], arguments: &[&str], token: &str) -> Output {
    run_with(&[], options, arguments, token).await
}

/// The same with these variables.
async fn run_with(
    variables: &[(&'static str, &'static str)],
    options: &[&str],
    arguments: &[&str],
    token: &str,
) -> Output {
    let helper = "credential.helper=!f() { echo username=git; echo \"password=$ELITA_TEST_TOKEN\"; }; f";
    let words: Vec<String> =
        ["-c", helper].iter().chain(options).chain(arguments).map(|word| (*word).to_owned()).collect();
    let (token, variables) = (token.to_owned(), variables.to_vec());
    let work = move || {
        let mut command = Command::new("git");
        command.args(words).envs(variables).env("ELITA_TEST_TOKEN", token).env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env("GIT_TERMINAL_PROMPT", "0").output().unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}
