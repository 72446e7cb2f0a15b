//! Disks that are full, for git: a program in its place writes no large files, since not everybody may make a small disk.

use std::process::Command;

use serde_json::{Value, json};

use crate::commits::{committed, git, noise, repository, upload, with_gitdeploy};
use crate::harness::{Client, Setup};
use crate::killed::{Running, StandIn};
use crate::ssh_copies::{ended, with_server};
use crate::upstreams::over_ssh;

const WEB: &str = "/app/shop/gitdeploys/web";
/// How large files may get, in KiB. There is more in a large build.
const ROOM: u32 = 64;

async fn work(client: &Client, asked: &Value) -> Value {
    ended(client, &client.post(WEB, asked).await.body).await
}

#[tokio::test]
async fn a_commit_fails_on_a_full_disk_and_is_made_once_there_is_room() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    upload(&host, "1", &[("a", "1")]).await;
    upload(&host, "2", &[("a", "2"), ("large", &noise(400_000))]).await;
    committed(&host, "1").await;
    let repo = repository(&host).await;
    let stopped = host.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::new(folder.path());
    let running = Running::start(&stopped, Some(folder.path())).await;
    let commit = json!({ "commit": true, "build_name": "2" });
    stand_in.limit(Some(ROOM));
    for _ in 0..2 {
        let job = work(&running.client, &commit).await;
        assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("storage-full")), "{job:#}");
        assert_eq!(git(&repo, &["rev-list", "--count", "--all"]), "1");
    }
    stand_in.limit(None);
    let job = work(&running.client, &commit).await;
    assert_eq!((&job["status"], &job["result"]["is_new"]), (&json!("succeeded"), &json!(true)), "{job:#}");
    assert_eq!(git(&repo, &["rev-list", "--count", "--all"]), "2");
    git(&repo, &["fsck", "--strict"]);
    let packs = std::fs::read_dir(repo.join("objects/pack")).unwrap().flatten();
    let left: Vec<_> = packs.filter(|file| file.file_name().to_string_lossy().starts_with("tmp_")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn working_copies_are_made_and_pulled_once_their_servers_full_disk_has_room() {
    let (host, _repos) = over_ssh(Setup::default()).await;
    let sshd = with_server(&host).await;
    let path = sshd.home.join("shop");
    assert_eq!(host.client.patch(WEB, &json!({ "location": { "path": path } })).await.status, 200);
    let stand_in = StandIn::new(&sshd.programs);
    for (build, task) in [("1", "initialize"), ("2", "pull")] {
        let large = format!("{build}{}", noise(400_000));
        upload(&host, build, &[("a", build), ("large", &large)]).await;
        committed(&host, build).await;
        let asked = json!({ task: true, "servers": ["web1"] });
        stand_in.limit(Some(ROOM));
        for _ in 0..2 {
            let job = work(&host.client, &asked).await;
            let web1 = &job["error"]["details"]["servers"]["web1"];
            assert_eq!((&web1["outcome"], &web1["code"]), (&json!("failed"), &json!("fetch")), "{job:#}");
            assert!(web1["message"].as_str().unwrap().contains("File too large"), "{job:#}");
        }
        match task {
            "initialize" => assert!(!path.exists()),
            _ => assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "1"),
        }
        stand_in.limit(None);
        let job = work(&host.client, &asked).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        assert_eq!(std::fs::read_to_string(path.join("large")).unwrap(), large, "{task}");
        assert!(!sshd.home.join("shop.elita-new").exists());
    }
}

#[tokio::test]
async fn a_pull_that_ends_in_the_middle_is_undone_and_the_next_one_succeeds() {
    let (host, _repos) = over_ssh(Setup::default()).await;
    let sshd = with_server(&host).await;
    let path = sshd.home.join("shop");
    assert_eq!(host.client.patch(WEB, &json!({ "location": { "path": path } })).await.status, 200);
    let stand_in = StandIn::new(&sshd.programs);
    let status = || {
        let out = Command::new("git")
            .args(["--no-optional-locks", "-c", "safe.directory=*", "-C"])
            .arg(&path)
            .args(["status", "--short"])
            .output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    };
    let asked = |task: &str| json!({ task: true, "servers": ["web1"] });
    upload(&host, "1", &[("a", "1"), ("z", "1")]).await;
    committed(&host, "1").await;
    assert_eq!(work(&host.client, &asked("initialize")).await["status"], "succeeded");
    // It is fetched, since it is small as long as it is packed, and cannot be written.
    let large = "x".repeat(400_000);
    for (build, own) in [("2", false), ("3", true)] {
        if own {
            let commit = "echo own >own && git add own && git -c user.name=x -c user.email=x@y commit -qm own";
            let body = json!({ "script": commit, "cwd": path });
            let job = ended(&host.client, &host.client.post("/server/web1/command", &body).await.body).await;
            assert_eq!(job["result"]["web1"]["outcome"], "ok", "{job:#}");
        }
        let name = format!("large{build}");
        let files = [("a", build), (&*name, &*large), ("z", build), ("large2", &*large)];
        upload(&host, build, &files[..if own { 4 } else { 3 }]).await;
        committed(&host, build).await;
        stand_in.limit(Some(ROOM));
        let before = std::fs::read_to_string(path.join("a")).unwrap();
        for _ in 0..2 {
            let job = work(&host.client, &asked("pull")).await;
            assert_eq!(job["error"]["details"]["servers"]["web1"]["code"], "checkout", "{job:#}");
            assert_eq!((std::fs::read_to_string(path.join("a")).unwrap(), status()), (before.clone(), String::new()));
            assert!(!path.join(&name).exists(), "{build}");
        }
        stand_in.limit(None);
        let job = work(&host.client, &asked("pull")).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        assert_eq!(std::fs::read_to_string(path.join(&name)).unwrap(), large);
        assert_eq!(std::fs::read_to_string(path.join("z")).unwrap(), build);
    }

    // Killed while it writes its files: nobody undoes that but the next one.
    let files: Vec<_> = (0..3000).map(|number| (format!("many/{number:04}"), "x".to_owned())).collect();
    let files: Vec<_> = files.iter().map(|(name, content)| (&**name, &**content)).collect();
    upload(&host, "4", &files).await;
    committed(&host, "4").await;
    let job = host.client.post(WEB, &asked("pull")).await.body;
    while !path.join("many/0010").exists() {
        tokio::task::yield_now().await;
    }
    stand_in.kill_last();
    let job = ended(&host.client, &job).await;
    assert_eq!(job["status"], "failed", "{job:#}");
    let precious = path.join("precious");
    std::fs::write(&precious, "untracked").unwrap();
    let job = work(&host.client, &asked("pull")).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!((std::fs::read_dir(path.join("many")).unwrap().count(), &*status()), (3000, "?? precious\n"));
    assert!(!path.join("a").exists());
}
