//! Repositories served over HTTP, to real git clients.

use std::process::{Command, Output};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::commits::{committed, git, repository, upload, with_gitdeploy};
use crate::harness::{Client, Setup, TestHost};

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
async fn a_repository_of_many_branches_is_cloned_by_a_compressed_request() {
    let host = with_commits(1).await;
    let repo = repository(&host).await;
    let tip = git(&repo, &["rev-parse", "master"]);
    let mut refs = String::new();
    for n in 0..400 {
        // Each is a commit of its own, so that each is asked for.
        let tree = git(&repo, &["rev-parse", "master^{tree}"]);
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-p", &tip, "-m"];
        let made = git(&repo, &[&identity[..], &[&n.to_string(), &tree]].concat());
        refs += &format!("{made} refs/heads/b{n}\n");
    }
    std::fs::write(
        repo.join("packed-refs"),
        format!("# pack-refs with: peeled fully-peeled sorted \n{}", sorted(&refs)),
    )
    .unwrap();
    for version in ["0", "2"] {
        let folder = tempfile::tempdir().unwrap();
        let clone = folder.path().join("c");
        let option = format!("protocol.version={version}");
        let cloned = run(&["-c", &option], &["clone", "-q", &url(&host), clone.to_str().unwrap()], &token(&host)).await;
        assert!(cloned.status.success(), "{version}: {cloned:?}");
        assert_eq!(git(&clone, &["branch", "-r"]).lines().count(), 402, "{version}");
    }
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
}

#[tokio::test]
async fn a_reply_ends_with_the_token_that_it_began_with() {
    let host = with_commits(0).await;
    let noise: String =
        (0..6_000_000_u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8)).collect();
    upload(&host, "large", &[("noise", &noise)]).await;
    committed(&host, "large").await;
    let guest = host.guest(&json!({ "apps": { "shop": "read" } })).await;
    let tip = git(&repository(&host).await, &["rev-parse", "master"]);
    let want = format!("want {tip} no-progress\n");
    let body = format!("{:04x}{want}0000{:04x}done\n", want.len() + 4, 9);
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

fn url(host: &TestHost) -> String {
    format!("{}/git/shop/site.git", host.client.base())
}

fn token(host: &TestHost) -> String {
    host.database.token.clone()
}

fn sorted(lines: &str) -> String {
    let mut lines: Vec<_> = lines.lines().collect();
    lines.sort_by_key(|line| line.split(' ').nth(1));
    lines.join("\n") + "\n"
}

async fn asked(client: &Client, path: &str, token: &str) -> crate::harness::Reply {
    let anonymous = client.anonymous();
    anonymous.send(anonymous.request(Method::GET, path).basic_auth("git", Some(token))).await
}

/// Runs git with a token as its password, which stands in no argument.
async fn run(options: &[&str], arguments: &[&str], token: &str) -> Output {
    let helper = "credential.helper=!f() { echo username=git; echo \"password=$ELITA_TEST_TOKEN\"; }; f";
    let words: Vec<String> =
        ["-c", helper].iter().chain(options).chain(arguments).map(|word| (*word).to_owned()).collect();
    let token = token.to_owned();
    let work = move || {
        let mut command = Command::new("git");
        command.args(words).env("ELITA_TEST_TOKEN", token).env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.env("GIT_TERMINAL_PROMPT", "0").output().unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}
