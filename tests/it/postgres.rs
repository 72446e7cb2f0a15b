//! The embedded Postgres, and what becomes of it with the server: through the real program.

use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Client, Database, Program, eventually, project_root};

const PASSWORD: &str = "only for this test";

#[tokio::test]
async fn a_server_without_a_database_url_brings_its_own_postgres_and_takes_it_along() {
    let data_dir = tempfile::tempdir().unwrap();
    let (mut elita, client) = serve(data_dir.path()).await;
    assert_eq!(client.get("/health/ready").await.status, 200);
    let postmaster = postmaster(data_dir.path());
    assert!(is_alive(postmaster));

    elita.signal(Signal::TERM);
    assert_eq!(elita.ended().await.0, Some(0));
    assert!(!is_alive(postmaster), "Postgres outlived the server");
}

#[tokio::test]
async fn after_a_kill_the_next_start_finds_all_that_was_there() {
    let data_dir = tempfile::tempdir().unwrap();
    let (mut elita, client) = serve(data_dir.path()).await;
    create_application(&client, "kept").await;
    let first = postmaster(data_dir.path());

    elita.signal(Signal::KILL);
    elita.ended().await;
    let (_elita, client) = serve(data_dir.path()).await;
    assert_eq!(client.get("/app/kept").await.status, 200);
    assert!(!is_alive(first), "two Postgres servers on the same files");
}

#[tokio::test]
async fn a_postgres_that_dies_is_started_again_under_the_running_server() {
    let data_dir = tempfile::tempdir().unwrap();
    let (_elita, client) = serve(data_dir.path()).await;
    create_application(&client, "kept").await;

    let pid = rustix::process::Pid::from_raw(postmaster(data_dir.path())).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    eventually("the application to be there again", async || {
        (client.get("/app/kept").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_servers_side_by_side_have_a_postgres_each() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_one_elita, one_client) = serve(one.path()).await;
    let (_other_elita, other_client) = serve(other.path()).await;
    create_application(&one_client, "only-here").await;
    assert_eq!(one_client.get("/app/only-here").await.status, 200);
    assert_eq!(other_client.get("/app/only-here").await.status, 404);
}

#[tokio::test]
async fn a_second_server_on_the_same_data_directory_is_refused() {
    let data_dir = tempfile::tempdir().unwrap();
    let (_elita, _client) = serve(data_dir.path()).await;
    let mut second = Program::serve(&["--data-dir", data_dir.path().to_str().unwrap()]);
    let (code, stderr) = second.ended().await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("another Elita") && stderr.contains("--data-dir"), "{stderr}");
}

#[tokio::test]
async fn an_ordinary_user_can_run_it() {
    let data_dir = tempfile::tempdir().unwrap();
    let own = rustix::process::getuid();
    let uid = if own.is_root() { NOBODY } else { own.as_raw() };
    std::os::unix::fs::chown(data_dir.path(), Some(uid), None).unwrap();
    let mut elita = Program::serve_as(uid, &["--data-dir", data_dir.path().to_str().unwrap()]);
    let (_, client) = elita.ready("").await;
    assert_eq!(client.get("/health/ready").await.status, 200);
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_versions() {
    let database = Database::new().await;
    let sql = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
               values (29991231235959, 'of a later elita', true, '', 0)";
    sqlx::query(sql).execute(&mut database.connect().await).await.unwrap();

    let data_dir = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &database.url];
    let (code, stderr) = Program::serve(&flags).ended().await;
    assert_eq!(code, Some(1));
    let migrations = std::fs::read_dir(project_root().join("host/migrations")).unwrap();
    let names = migrations.map(|file| file.unwrap().file_name().into_string().unwrap());
    let newest = names.map(|name| name.split('_').next().unwrap().to_owned()).max().unwrap();
    let both = ["schema version 29991231235959", &format!("up to {newest};")];
    assert!(both.iter().all(|version| stderr.contains(version)), "{stderr}");
}

#[tokio::test]
async fn servers_that_start_at_once_on_a_new_database_migrate_it_once() {
    let database = Database::empty().await;
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let files = tempfile::tempdir().unwrap();
    let storage = format!("file://{}", files.path().display());
    let mut servers: Vec<_> = directories
        .iter()
        .map(|directory| {
            let fixed = ["--data-dir", directory.path().to_str().unwrap(), "--database-url", &database.url];
            Program::serve(&[&fixed[..], &["--storage-url", &storage, "--storage-shared"]].concat())
        })
        .collect();
    for server in &mut servers {
        let (_, client) = server.ready("").await;
        assert_eq!(client.get("/health/ready").await.status, 200);
    }
}

/// As root Elita has Postgres run by another user, which others may run things as, too.
#[tokio::test]
async fn other_processes_of_the_user_that_runs_the_database_do_not_get_in() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let data_dir = tempfile::tempdir().unwrap();
    let (_elita, client) = serve(data_dir.path()).await;
    create_application(&client, "shop").await;
    let pid_file = std::fs::read_to_string(data_dir.path().join("postgres/cluster/postmaster.pid")).unwrap();
    let socket = pid_file.lines().nth(4).unwrap();
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(socket).unwrap());
    let ask = |uid| {
        let mut psql = std::process::Command::new("psql");
        psql.args(["-XAt", "-h", socket, "-U", "elita", "elita", "-c", "select name from applications"]);
        std::os::unix::process::CommandExt::uid(&mut psql, uid).current_dir("/").output().unwrap()
    };
    let ours = ask(0);
    assert_eq!(String::from_utf8_lossy(&ours.stdout), "shop\n", "{ours:?}");
    let theirs = ask(owner);
    assert!(!theirs.status.success() && theirs.stdout.is_empty(), "{theirs:?}");
}

/// The user whom Debian has for what should own nothing.
const NOBODY: u32 = 65534;

/// Starts the program on its own Postgres and logs in.
async fn serve(data_dir: &Path) -> (Program, Client) {
    let mut elita = Program::serve(&["--data-dir", data_dir.to_str().unwrap(), "--admin-password", PASSWORD]);
    let (_, client) = elita.ready("").await;
    let login = json!({ "username": "admin", "password": PASSWORD });
    let reply = client.anonymous().post("/global/tokens", &login).await;
    assert_eq!(reply.status, 201, "{reply}");
    let client = client.with_token(reply.body["token"].as_str().unwrap());
    (elita, client)
}

async fn create_application(client: &Client, name: &str) {
    let reply = client.post("/app", &json!({ "app_name": name })).await;
    assert_eq!(reply.status, 201, "{reply}");
}

/// The process id of the data directory's Postgres.
fn postmaster(data_dir: &Path) -> i32 {
    let text = std::fs::read_to_string(data_dir.join("postgres/cluster/postmaster.pid")).unwrap();
    text.lines().next().unwrap().parse().unwrap()
}

/// Whether there is such a process, and not only its remains.
fn is_alive(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}
