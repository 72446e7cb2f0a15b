//! Copies of an installation, and servers whose place was taken: they are refused with a sentence, and harm nothing.

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Client, Program, Setup, StoppedHost, TestHost, eventually, plugin_file};
use crate::uploads::{FILE, put, zip};

const PASSWORD: &str = "only for this test";

#[tokio::test]
async fn a_copied_data_directory_is_refused_until_it_is_adopted() {
    let all = tempfile::tempdir().unwrap();
    let [original, copy] = ["original", "copy"].map(|name| all.path().join(name));
    let (mut elita, client) = serve(&original, &[]).await;
    assert_eq!(client.post("/app", &json!({ "app_name": "kept" })).await.status, 201);
    elita.signal(Signal::TERM);
    elita.ended().await;
    assert!(Command::new("cp").arg("-a").args([&original, &copy]).status().unwrap().success());

    let refused = Program::serve(&["--data-dir", copy.to_str().unwrap()]).ended().await;
    assert_eq!(refused.0, Some(1), "{}", refused.1);
    let host = host_id(&original);
    let sentence = format!(
        "{} was copied or moved here, and still has the id of the host that it comes from ({host}): use the original, \
         which may be running, or start once with --adopt to make this one a new host",
        copy.canonicalize().unwrap().display()
    );
    assert!(refused.1.contains(&sentence), "{}", refused.1);

    // Both work side by side then, each with its own.
    let (_elita, client) = serve(&original, &[]).await;
    let (mut adopted, copied) = serve(&copy, &["--adopt"]).await;
    assert_eq!((host_id(&original), host_id(&copy) == host), (host.clone(), false));
    for client in [&client, &copied] {
        assert_eq!(client.get("/app/kept").await.status, 200);
    }
    assert_eq!(copied.post("/app", &json!({ "app_name": "only-there" })).await.status, 201);
    assert_eq!(client.get("/app/only-there").await.status, 404);
    // Once is enough.
    let new = host_id(&copy);
    adopted.signal(Signal::TERM);
    adopted.ended().await;
    let (_adopted, copied) = serve(&copy, &[]).await;
    assert_eq!((host_id(&copy), copied.get("/app/only-there").await.status), (new, 200));
}

#[tokio::test]
async fn a_copy_on_the_same_database_takes_nothing_from_the_original() {
    let storage = tempfile::tempdir().unwrap();
    let host = Setup::default().plugins(&["misbehave"]).sharing(&storage).start().await;
    host.create_application("hostile").await;
    let running = host.post_action("hostile", "Ticks", "").await;
    host.running_job(&running).await;
    let copy = tempfile::tempdir().unwrap();
    // As of a version that did not record where it is.
    std::fs::copy(host.data_dir().join("host-id"), copy.path().join("host-id")).unwrap();
    let shared = format!("file://{}", storage.path().display());
    let flags = ["--data-dir", copy.path().to_str().unwrap(), "--database-url", &host.database.url];
    let flags = [&flags[..], &["--storage-url", &shared, "--storage-shared"]].concat();
    let (code, stderr) = Program::serve(&flags).ended().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("another server with the id of this host works on this database"), "{stderr}");
    let job = host.running_job(&running).await;
    assert_eq!(job.body["attempt"], 1, "{job}");
}

#[tokio::test]
async fn a_frozen_server_whose_storage_was_replaced_ends_with_a_sentence() {
    let (stopped, mut frozen, client) = program(Setup::default().plugins(&["misbehave"])).await;
    frozen.signal(Signal::STOP);
    let _other = Setup::default().start_on(stopped.database.clone()).await;
    frozen.signal(Signal::CONT);
    let (code, stderr) = frozen.ended().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("another one has made its own storage that of the database"), "{stderr}");
    drop(client);
}

#[tokio::test]
async fn a_storage_with_builds_is_not_replaced_by_another_one() {
    let (stopped, mut frozen, client) = program(Setup::default().flag("--role", "api")).await;
    assert_eq!(client.post("/app", &json!({ "app_name": "shop" })).await.status, 201);
    assert_eq!(client.post("/app/shop/builds", &json!({ "build_name": "1" })).await.status, 201);
    let accepted = put(&client, FILE, zip("a", b"b")).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    frozen.signal(Signal::STOP);

    let data_dir = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &stopped.database.url];
    let (code, stderr) = Program::serve(&flags).ended().await;
    assert_eq!(code, Some(1), "{stderr}");
    let sentence = format!("the builds of this database are in the storage directory of host {}", stopped.host_id());
    assert!(stderr.contains(&sentence) && stderr.contains("`storage-id`"), "{stderr}");

    frozen.signal(Signal::KILL);
    frozen.ended().await;
    let host = stopped.with_flag("--role", "all").start().await;
    assert_eq!(host.ended_job(accepted.body["job_id"].as_str().unwrap()).await["status"], "succeeded");
}

#[tokio::test]
async fn a_plugin_stays_while_one_of_two_hosts_has_its_file() {
    let storage = tempfile::tempdir().unwrap();
    let one = Setup::default().plugins(&["misbehave"]).sharing(&storage).start().await;
    one.create_application("hostile").await;
    let setup = Setup::default().plugins(&["misbehave"]).sharing(&storage);
    let other = setup.start_on(one.database.clone()).await;
    for (loser, keeper) in [(&one, &other), (&other, &one)] {
        let file = loser.plugin_dir().join("misbehave.wasm");
        let offer = async || {
            // By another name, because the file may be a link to the one that is copied.
            let new = file.with_extension("new");
            std::fs::copy(plugin_file("misbehave"), &new).unwrap();
            std::fs::rename(new, &file).unwrap();
            eventually("the file to be offered", async || (owner_of_plugin(&one).await == id_of(loser)).then_some(()))
                .await;
        };
        offer().await;
        std::fs::remove_file(&file).unwrap();
        eventually("the other host to offer its own", async || {
            (owner_of_plugin(&one).await == id_of(keeper)).then_some(())
        })
        .await;
        for host in [loser, keeper] {
            let job = eventually("the action to be there", async || {
                let reply = host.client.post_empty("/app/hostile/actions/Noop").await;
                (reply.status == 202).then(|| reply.body["job_id"].as_str().unwrap().to_owned())
            })
            .await;
            assert_eq!(host.ended_job(&job).await["status"], "succeeded");
        }
        offer().await;
    }
}

/// The host whose file it is.
async fn owner_of_plugin(host: &TestHost) -> String {
    let owner = "select coalesce(max(host_id::text), '') from plugins where name = 'misbehave'";
    sqlx::query_scalar(owner).fetch_one(&mut host.database.connect().await).await.unwrap()
}

/// The real program on what a server of this process has left, which is done with it.
async fn program(setup: Setup) -> (StoppedHost, Program, Client) {
    let stopped = setup.start().await.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    (stopped, program, client)
}

/// The real program on a Postgres of its own, and its administrator.
async fn serve(data_dir: &Path, more: &[&str]) -> (Program, Client) {
    let flags = ["--data-dir", data_dir.to_str().unwrap(), "--admin-password", PASSWORD];
    let mut elita = Program::serve(&[&flags[..], more].concat());
    let (_, client) = elita.ready("").await;
    let log_in = json!({ "username": "admin", "password": PASSWORD });
    let reply = client.anonymous().post("/global/tokens", &log_in).await;
    assert_eq!(reply.status, 201, "{reply}");
    let token: &Value = &reply.body["token"];
    (elita, client.with_token(token.as_str().unwrap()))
}

fn id_of(host: &TestHost) -> String {
    host_id(host.data_dir())
}

fn host_id(data_dir: &Path) -> String {
    std::fs::read_to_string(data_dir.join("host-id")).unwrap().trim().to_owned()
}
