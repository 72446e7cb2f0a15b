//! One Postgres for all tests: the embedded one, or that of `DATABASE_URL`. Each test has a database of its own, a
//! copy of one that is migrated and has the administrator and a token.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use elita::data_dir::DataDir;
use elita::datasvc::{DataSvc, TokenTerms};
use elita::postgres::Embedded;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::OnceCell;

/// The administrator's password in every test database.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

struct Shared {
    url: String,
    template: String,
    token: String,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();

/// A database of one test.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) url: String,
    /// The administrator's, valid for long.
    pub(crate) token: String,
}

impl Database {
    /// A copy of the template.
    pub(crate) async fn new() -> Self {
        let shared = SHARED.get_or_init(Shared::start).await;
        let url = shared.create(&format!("template {}", shared.template)).await;
        Self { url, token: shared.token.clone() }
    }

    /// One in which nothing has been yet.
    pub(crate) async fn empty() -> Self {
        let shared = SHARED.get_or_init(Shared::start).await;
        Self { url: shared.create("").await, token: String::new() }
    }

    /// A copy of a template on another server.
    pub(crate) async fn on(url: &str) -> Self {
        let shared = Shared::on(url.to_owned()).await;
        Self { url: shared.create(&format!("template {}", shared.template)).await, token: shared.token }
    }

    /// One on another server in which nothing has been yet.
    pub(crate) async fn empty_on(url: &str) -> Self {
        let server = Shared { url: url.to_owned(), template: String::new(), token: String::new() };
        Self { url: server.create("").await, token: String::new() }
    }

    /// A connection of the test's own, to look at what no door shows.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }
}

impl Shared {
    async fn start() -> Self {
        let url = match std::env::var("DATABASE_URL") {
            Ok(url) => url,
            Err(_) => {
                let url = start_embedded();
                forget_when_the_machine_stops(&url).await;
                url
            }
        };
        Self::on(url).await
    }

    async fn on(url: String) -> Self {
        let mut shared = Self { url, template: String::new(), token: String::new() };
        let template = shared.create("").await;
        let svc = DataSvc::connect(&template, 2).await.unwrap();
        svc.ensure_administrator(PASSWORD).await.unwrap();
        let terms = TokenTerms { expires_in: Some(Duration::from_secs(30 * 24 * 3600)), ..TokenTerms::default() };
        shared.token = svc.log_in(Ipv4Addr::LOCALHOST.into(), "admin", PASSWORD.into(), terms).await.unwrap().token;
        svc.close().await;
        shared.template = PgConnectOptions::from_str(&template).unwrap().get_database().unwrap().to_owned();
        shared
    }

    /// Makes a new database and returns its URL.
    async fn create(&self, template: &str) -> String {
        let options = PgConnectOptions::from_str(&self.url).unwrap();
        let name = format!("test_{}", uuid::Uuid::new_v4().simple());
        let mut connection = options.connect().await.unwrap();
        connection.execute(AssertSqlSafe(format!("create database {name} {template}"))).await.unwrap();
        connection.close().await.unwrap();
        let (server, query) = self
            .url
            .split_once('?')
            .map_or((&*self.url, String::new()), |(server, query)| (server, format!("?{query}")));
        let (server, _) = server.rsplit_once('/').unwrap();
        format!("{server}/{name}{query}")
    }
}

/// Spares the tests a wait for the disk at each commit. What a test sees of the database is the same.
async fn forget_when_the_machine_stops(url: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    for statement in ["alter system set synchronous_commit = off", "select pg_reload_conf()"] {
        connection.execute(statement).await.unwrap();
    }
    connection.close().await.unwrap();
}

/// Where this process' server keeps its files. Nothing runs when a process ends, so that the next one removes them.
fn own_directory() -> PathBuf {
    let all = std::env::temp_dir();
    for entry in std::fs::read_dir(&all).unwrap().flatten() {
        let of = entry.file_name().to_str().and_then(|name| name.strip_prefix("elita-tests-")?.parse().ok());
        if of.and_then(Pid::from_raw).is_some_and(|of| test_kill_process(of) == Err(Errno::SRCH)) {
            // Another one may be at it, too.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    all.join(format!("elita-tests-{}", std::process::id()))
}

/// Starts the server on a thread of its own, because each test's runtime ends with the test.
fn start_embedded() -> String {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let data_dir = DataDir::open(&own_directory()).unwrap();
            let server = Embedded::start(&data_dir).await.unwrap();
            send.send(server.url().to_owned()).unwrap();
            // It stops when this process ends.
            std::future::pending::<()>().await;
        });
    });
    receive.recv().unwrap()
}
