//! What stays of git repositories: of removed applications, and in data directories that were copied.

use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;
use sqlx::Connection as _;

use crate::commits::{committed, git, repository, upload, with_gitdeploy};
use crate::harness::{Program, Setup, eventually};
use crate::ssh_copies::ended;
use crate::upstreams::over_ssh;

const SITE: &str = "/app/shop/gitrepos/site";
const WEB: &str = "/app/shop/gitdeploys/web";

#[tokio::test]
async fn repositories_of_a_removed_application_go_a_day_later_and_those_that_were_forgotten_stay() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    upload(&host, "1", &[("a", "1")]).await;
    committed(&host, "1").await;
    let removed = repository(&host).await;
    host.create_application("blog").await;
    let made = host.client.post("/app/blog/gitrepos", &json!({ "name": "site", "gitprovider": "own" })).await;
    ended(&host.client, &made.body).await;
    let forgotten = PathBuf::from(made.body["uri"].as_str().unwrap());
    assert_eq!(host.client.delete("/app/blog/gitrepos/site").await.status, 204);
    assert_eq!(host.client.delete("/app/shop").await.status, 204);
    let host = host.restart().await;
    assert!(removed.exists() && forgotten.exists());
    let mut connection = host.database.connect().await;
    sqlx::query("update git_remains set since = since - interval '2 days'").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let host = host.restart().await;
    eventually("the repository to go", async || (!removed.exists()).then_some(())).await;
    assert!(forgotten.exists());
    drop(host);
}

#[tokio::test]
async fn the_copy_of_a_repository_goes_with_it_and_is_made_again() {
    let (host, sshd) = over_ssh(Setup::default()).await;
    upload(&host, "1", &[("a", "1")]).await;
    committed(&host, "1").await;
    let mirrors = host.data_dir().join("git/mirrors");
    let copies = || std::fs::read_dir(&mirrors).unwrap().count();
    assert_eq!(copies(), 1);
    std::fs::remove_dir_all(&mirrors).unwrap();
    upload(&host, "2", &[("a", "2")]).await;
    let commit = committed(&host, "2").await["commit"].clone();
    assert_eq!(git(&sshd.home.join("site.git"), &["rev-parse", "master"]), commit);
    for path in [WEB, SITE] {
        assert_eq!(host.client.delete(path).await.status, 204);
    }
    let host = host.restart().await;
    eventually("the copy to go", async || (copies() == 0).then_some(())).await;
    drop(host);
}

#[tokio::test]
async fn repositories_of_an_adopted_data_directory_become_the_new_hosts() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build)]).await;
    }
    let first = committed(&host, "1").await;
    let stopped = host.stop().await;
    let copy = tempfile::tempdir().unwrap();
    let flags = stopped.all_flags();
    let original = &flags[flags.iter().position(|flag| flag == "--data-dir").unwrap() + 1];
    let there = copy.path().join("data");
    assert!(Command::new("cp").arg("-a").arg(original).arg(&there).status().unwrap().success());
    let mut flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let at = flags.iter().position(|flag| *flag == "--data-dir").unwrap() + 1;
    flags[at] = there.to_str().unwrap();
    flags.push("--adopt");
    let mut adopted = Program::serve(&flags);
    let (_, client) = adopted.ready(&stopped.database.token).await;
    let canonical = there.canonicalize().unwrap();
    eventually("the repository to be taken over", async || {
        let uri = client.get(SITE).await.body["uri"].as_str().unwrap().to_owned();
        PathBuf::from(uri).starts_with(&canonical).then_some(())
    })
    .await;
    let refs = client.get("/git/shop/site.git/info/refs?service=git-upload-pack").await;
    assert_eq!(refs.status, 200, "{refs}");
    let commit = json!({ "commit": true, "build_name": "2" });
    let job = ended(&client, &client.post(WEB, &commit).await.body).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let repo = PathBuf::from(client.get(SITE).await.body["uri"].as_str().unwrap());
    assert_eq!(git(&repo, &["rev-parse", "master^"]), first["commit"]);
    adopted.signal(Signal::TERM);
    adopted.ended().await;
}
