use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::account::{self, Account};
use super::binaries::{Binaries, parse_version};
use super::pid_file::PidFile;
use super::{Embedded, Error, runtime_dir};
use crate::data_dir::DataDir;

#[test]
fn versions_of_packages_and_betas_are_understood() {
    let major = |version| parse_version(&format!("postgres (PostgreSQL) {version}\n"));
    assert_eq!(major("15.18 (Debian 15.18-0+deb12u1)"), Some(15));
    assert_eq!(major("19beta1"), Some(19));
    assert_eq!(parse_version("postgres: not found"), None);
}

#[test]
fn a_cluster_is_run_by_the_version_that_made_it() {
    let installed = || [17, 15, 13].map(|major| Binaries { dir: format!("/pg/{major}").into(), major }).into();
    let choose = |made_by| Binaries::choose(installed(), Path::new("/data"), made_by).map(|chosen| chosen.major);
    assert_eq!(choose(None).unwrap(), 17);
    assert_eq!(choose(Some(15)).unwrap(), 15);
    let message = choose(Some(16)).unwrap_err().to_string();
    assert!(message.contains("made by Postgres 16"), "{message}");
    assert!(message.contains("17 in /pg/17, 15 in /pg/15"), "{message}");
}

#[test]
fn a_missing_or_old_postgres_is_an_error_that_says_what_to_install() {
    let choose = |installed| Binaries::choose(installed, Path::new("/data"), None).unwrap_err().to_string();
    assert!(choose(vec![]).contains("apt-get install postgresql"));
    assert!(choose(vec![Binaries { dir: "/pg/9".into(), major: 9 }]).contains("only has 9 in /pg/9"));
}

#[test]
fn a_user_is_read_from_its_line() {
    let account =
        crate::account::parse_passwd("postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash");
    assert_eq!(account, Some(Account { name: "postgres".into(), uid: 101, gid: 104 }));
    assert_eq!(crate::account::parse_passwd("+::::::"), None);
}

#[test]
fn the_pid_file_tells_a_server_that_is_ready() {
    let text = |state| format!("42\n/data\n1769940000\n5432\n/run/pg\n\n  1234  5\n{state}\n");
    let said = |is_ready| Some(PidFile { pid: Pid::from_raw(42).unwrap(), is_ready });
    assert_eq!(PidFile::parse(&text("starting")), said(false));
    assert_eq!(PidFile::parse(&text("ready   ")), said(true));
    assert_eq!(PidFile::parse("42\n/da"), said(false));
    assert_eq!(PidFile::parse(""), None);
}

#[test]
fn a_socket_is_only_put_where_its_path_is_short() {
    assert_eq!(runtime_dir::place(Path::new("/run"), "pg").as_deref(), Some("/run/pg"));
    assert_eq!(runtime_dir::place(Path::new("run"), "pg"), None);
    assert_eq!(runtime_dir::place(&Path::new("/run").join("x".repeat(90)), "pg"), None);
}

#[test]
fn a_socket_directory_that_others_may_have_made_is_refused() {
    let tmp = TempDir::new();
    let account = account::choose().unwrap();
    let refused = |path: &Path| matches!(runtime_dir::take(path, &account), Err(Error::UnsafeRuntimeDir { .. }));

    let open = tmp.path.join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
    assert!(refused(&open));

    fs::set_permissions(&open, Permissions::from_mode(0o700)).unwrap();
    assert!(!refused(&open));

    let link = tmp.path.join("link");
    symlink(&open, &link).unwrap();
    assert!(refused(&link));
}

#[tokio::test]
async fn a_server_that_is_killed_comes_back_at_the_same_url() {
    let tmp = TempDir::new();
    let data_dir = DataDir::open(&tmp.path).unwrap();
    let postgres = Embedded::start(&data_dir).await.unwrap();
    answers(&postgres).await;

    kill_process(server(&tmp).pid, Signal::KILL).unwrap();
    timeout(Duration::from_secs(20), answers(&postgres)).await.unwrap();
    postgres.stop().await;
}

#[tokio::test]
async fn a_stopped_server_is_gone_and_starts_again_with_its_files() {
    let tmp = TempDir::new();
    let data_dir = DataDir::open(&tmp.path).unwrap();
    let postgres = Embedded::start(&data_dir).await.unwrap();
    let first = server(&tmp);
    assert!(first.is_true(&cluster(&tmp)));
    postgres.stop().await;
    assert!(!first.is_true(&cluster(&tmp)));

    // As after a crash of the machine, when another process has got the server's id.
    let mut other = account::choose().unwrap().command("sleep").arg("60").spawn().unwrap();
    fs::write(cluster(&tmp).join("postmaster.pid"), format!("{}\n", other.id())).unwrap();
    let postgres = Embedded::start(&data_dir).await.unwrap();
    answers(&postgres).await;
    assert_eq!(other.try_wait().unwrap(), None);
    other.kill().unwrap();
    other.wait().unwrap();
    postgres.stop().await;
}

#[tokio::test]
async fn data_directories_with_odd_names_have_servers_side_by_side() {
    let tmp = TempDir::new();
    let mut running = Vec::new();
    for name in ["plain", r#"it's a "data" dir, $HOME; ü"#] {
        let data_dir = DataDir::open(&tmp.path.join(name)).unwrap();
        running.push((Embedded::start(&data_dir).await.unwrap(), data_dir));
    }
    assert_ne!(running[0].0.url(), running[1].0.url());
    for (postgres, _) in &running {
        answers(postgres).await;
    }
    for (postgres, _data_dir) in running {
        postgres.stop().await;
    }
}

/// Returns once the server answers a new connection.
async fn answers(postgres: &Embedded) {
    loop {
        let answer = async { PgConnection::connect(postgres.url()).await?.ping().await };
        if answer.await.is_ok() {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

fn cluster(data_dir: &TempDir) -> PathBuf {
    data_dir.path.canonicalize().unwrap().join("postgres/cluster")
}

fn server(data_dir: &TempDir) -> PidFile {
    PidFile::read(&cluster(data_dir)).unwrap().unwrap()
}

struct TempDir {
    path: PathBuf,
}

impl TempDir {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("elita-test-{}", Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Self { path }
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
