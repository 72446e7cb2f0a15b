//! What jobs and requests cost, counted and not timed: transactions that write, bytes of the write-ahead log,
//! statements. The Postgres is one of its own, in which nothing else happens; what a server does from time to time by
//! itself, such as its heartbeat, is allowed for.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use elita::data_dir::DataDir;
use elita::datasvc::{DataSvc, TokenTerms};
use elita::postgres::Embedded;
use reqwest::Method;
use serde_json::json;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use crate::commits::{make_shop, upload};
use crate::harness::{Database, FakeSalt, PASSWORD, Setup, TestHost, eventually, salt_settings};
use crate::salt_lies::many_minions;

/// Jobs that are counted.
const JOBS: u64 = 40;
/// Clients that ask for many at once, and how many each asks for.
const CLIENTS: u64 = 32;
const OF_EACH: u64 = 10;

/// The most bytes of the write-ahead log that a job may take, alone and among many.
const WAL_BYTES_ALONE: u64 = 1_500;
const WAL_BYTES_AT_ONCE: u64 = 2_100;
/// What a list of jobs takes: which there are, and their documents.
const LIST_STATEMENTS: u64 = 2;

/// Servers of a deployment, in so many batches.
const DEPLOYED: i64 = 500;
const BATCHES: u64 = 5;
/// How many statements each server may take, and each batch beside those of its servers.
const STATEMENTS: u64 = 4;
const OF_A_BATCH: u64 = 30;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_takes_two_commits_and_many_share_theirs() {
    let mut metered = Metered::start(Setup::default().plugins(&["misbehave"]).flag("--plugin-runs", CLIENTS)).await;
    for _ in 0..5 {
        metered.host.run_action("hostile", "Noop", "").await;
    }

    let (before, began) = (metered.used().await, Instant::now());
    for _ in 0..JOBS {
        metered.host.run_action("hostile", "Noop", "").await;
    }
    let used = metered.used().await - before;
    let least = 2 * JOBS;
    let most = least + by_itself(began);
    assert!((least..=most).contains(&used.commits), "{JOBS} jobs took {} commits", used.commits);
    let wal_bytes = used.wal_bytes / JOBS;
    assert!(wal_bytes < WAL_BYTES_ALONE, "a job took {wal_bytes} bytes of the write-ahead log");

    let (before, began) = (metered.used().await, Instant::now());
    metered.many_at_once().await;
    let jobs = CLIENTS * OF_EACH;
    let used = metered.used().await - before;
    let most = jobs / 2 + by_itself(began);
    assert!(used.commits < most, "{jobs} jobs at once took {} commits", used.commits);
    let wal_bytes = used.wal_bytes / jobs;
    assert!(wal_bytes < WAL_BYTES_AT_ONCE, "each of many jobs took {wal_bytes} bytes of the write-ahead log");
    metered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_takes_as_few_statements_as_can_be() {
    let metered = Metered::start(Setup::default().plugins(&["misbehave"]).flag("--role", "api")).await;
    let id = metered.host.post_action("hostile", "Noop", "").await;
    let job = format!("/job/{id}");
    let data = format!("/job/{id}/data");
    let results = format!("/job/{id}?results=true");
    for (method, path, statements) in [
        (Method::POST, "/app/hostile/actions/Noop", 1),
        // It is queued: what it waits for is one more.
        (Method::GET, &*job, 2),
        (Method::GET, &data, 1),
        (Method::GET, &results, 3),
        (Method::GET, "/job", LIST_STATEMENTS),
        (Method::GET, "/job?app=hostile&active=true", LIST_STATEMENTS),
        (Method::GET, "/app/hostile", 1),
        (Method::GET, "/app", 1),
    ] {
        metered.assert_takes(statements, &method, path).await;
    }
    metered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_documents_is_one_statement_however_long_it_is() {
    let mut metered = Metered::start(Setup::default()).await;
    for n in 0..5 {
        metered.fill(n).await;
    }
    let everywhere = "insert into gitdeploy_servers (application, gitdeploy, server)
        select application, gitdeploys.name, servers.name from gitdeploys, servers";
    metered.connection.execute(everywhere).await.unwrap();
    for (method, path, statements) in [
        (Method::GET, "/app/hostile/builds", 1),
        (Method::GET, "/app/hostile/builds/1", 1),
        (Method::GET, "/app/hostile/packagemaps", 1),
        (Method::GET, "/app/hostile/packagemaps/1", 1),
        (Method::GET, "/app/hostile/gitrepos", 1),
        (Method::GET, "/app/hostile/gitrepos/1", 1),
        (Method::GET, "/app/hostile/gitdeploys", 1),
        (Method::GET, "/app/hostile/gitdeploys/1", 1),
        (Method::GET, "/app/hostile/groups", 1),
        (Method::GET, "/app/hostile/groups/1", 1),
        (Method::GET, "/app/hostile/groups?environments=test", 1),
        (Method::GET, "/app/hostile/census", 1),
        (Method::GET, "/server", 1),
        (Method::GET, "/server/1", 1),
        (Method::GET, "/server/environments", 1),
        (Method::GET, "/global/gitproviders", 1),
        (Method::GET, "/global/gitproviders/1", 1),
        (Method::GET, "/global/keypairs", 1),
        (Method::GET, "/global/users", 1),
        // Reading under a lock, writing, putting it on record, and the transaction around them.
        (Method::PATCH, "/app/hostile/builds/1", 5),
        (Method::PATCH, "/app/hostile/gitdeploys/1", 5),
        (Method::PATCH, "/server/1", 5),
        (Method::PATCH, "/global/gitproviders/1", 5),
    ] {
        metered.assert_takes(statements, &method, path).await;
    }
    metered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_brings_no_more_rows_than_its_page_has() {
    let mut metered = Metered::start(Setup::default()).await;
    let documents = "insert into applications (name, attributes)
        select 'app-' || lpad(n::text, 4, '0'), json_build_object('text', repeat('x', 1000)) from generate_series(1, 3000) n";
    metered.connection.execute(documents).await.unwrap();
    let servers = "insert into servers (name, environment, driver, connection, attributes)
        select 'web-' || n, 'test', 'local', '{}', json_build_object('text', repeat('x', 1000)) from generate_series(1, 3000) n";
    metered.connection.execute(servers).await.unwrap();
    for path in ["/app?limit=10", "/server?limit=10", "/app?limit=10&order=-created"] {
        metered.request(&Method::GET, path).await;
        let before = metered.received.load(Ordering::Relaxed);
        metered.request(&Method::GET, path).await;
        let received = metered.received.load(Ordering::Relaxed) - before;
        assert!((10_000..100_000).contains(&received), "{path} brought {received} bytes");
    }
    // Who may see few of them finds all of these.
    let guest = metered.host.guest(&json!({ "apps": { "app-*7": "read", "app-10*7": "" } })).await;
    let mut found = Vec::new();
    let mut next = Some("/app?limit=100".to_owned());
    while let Some(path) = next {
        let page = guest.get(&path).await;
        found.extend(page.items("application").into_iter().map(str::to_owned));
        next = page.body["next"].as_str().map(|after| format!("/app?limit=100&after={after}"));
    }
    let visible = (1..=3000).map(|number| format!("app-{number:04}"));
    let visible: Vec<_> = visible.filter(|name| name.ends_with('7') && !name.starts_with("app-10")).collect();
    assert_eq!(found, visible);
    metered.stop().await;
}

/// How often a server may have done something by itself since then, each with a few statements.
fn by_itself(since: Instant) -> u64 {
    2 + since.elapsed().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_many_minions_takes_at_most_two_statements_for_each() {
    let fake = FakeSalt::start().await;
    let metered = Metered::start(salt_settings(Setup::default().flag("--server-check-seconds", 0), &fake.url())).await;
    let servers = many_minions(&metered.host.database).await;
    let (before, began) = (metered.statements(), Instant::now());
    let body = json!({ "servers": servers, "command": ["true"] });
    let reply = metered.host.client.post("/server/command", &body).await;
    assert_eq!(reply.status, 202, "{reply}");
    let id = reply.body["job_id"].as_str().unwrap();
    // Looking at it takes some, too.
    let mut looks = 0;
    let ended = loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        looks += 1;
        let job = metered.host.client.get(&format!("/job/{id}")).await;
        if job.body["status"] == "succeeded" {
            break job;
        }
    };
    let used = metered.statements() - before;
    let most = 2 * servers.len() as u64 + looks + 4 * by_itself(began);
    println!("{} minions took {used} statements", servers.len());
    assert_eq!(ended.body["result"].as_object().unwrap().len(), servers.len());
    assert!(used <= most, "{} minions took {used} statements", servers.len());
    metered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_a_deployment_share_statements() {
    let fake = FakeSalt::start().await;
    let setup = Setup::default().flag("--server-check-seconds", 0).flag("--public-url", "http://127.0.0.1:9");
    let mut metered = Metered::start(salt_settings(setup, &fake.url())).await;
    make_shop(&metered.host, &json!({})).await;
    many_minions(&metered.host.database).await;
    let initialized = "insert into gitdeploy_servers (application, gitdeploy, server)
        select 'shop', 'web', name from servers order by name limit $1";
    sqlx::query(initialized).bind(DEPLOYED).execute(&mut metered.connection).await.unwrap();
    let group = json!({ "name": "front", "gitdeploys": ["web"], "rolling_deploy": true });
    assert_eq!(metered.host.client.post("/app/shop/groups", &group).await.status, 201);
    upload(&metered.host, "1", &[("a", "1")]).await;
    let (before, began) = (metered.statements(), Instant::now());
    let asked = json!({ "build_name": "1", "environments": ["test"], "groups": ["front"], "rolling_divisor": BATCHES });
    let reply = metered.host.client.post("/app/shop/deployments", &asked).await;
    assert_eq!(reply.status, 202, "{reply}");
    eventually("the deployment to end", async || {
        let status = "select status from deployments";
        let status: String = sqlx::query_scalar(status).fetch_one(&mut metered.connection).await.unwrap();
        assert_ne!(status, "error");
        (status == "complete").then_some(())
    })
    .await;
    let used = metered.statements() - before;
    println!("{DEPLOYED} servers took {used} statements");
    let most = STATEMENTS * DEPLOYED.unsigned_abs() + OF_A_BATCH * BATCHES + 4 * by_itself(began);
    assert!(used <= most, "{DEPLOYED} servers took {used} statements");
    metered.stop().await;
}

/// A server on a Postgres of its own, with what it sends there in sight.
struct Metered {
    host: TestHost,
    /// To look at the meters, past the wire.
    connection: PgConnection,
    statements: Arc<AtomicU64>,
    /// How many bytes have come from Postgres.
    received: Arc<AtomicU64>,
    postgres: Embedded,
    _directory: TempDir,
}

/// What has been used up.
struct Used {
    /// Transactions that wrote.
    commits: u64,
    wal_bytes: u64,
}

impl std::ops::Sub for Used {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { commits: self.commits - before.commits, wal_bytes: self.wal_bytes - before.wal_bytes }
    }
}

impl Metered {
    async fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let postgres = Embedded::start(&DataDir::open(directory.path()).unwrap()).await.unwrap();
        let svc = DataSvc::connect(postgres.url(), 1).await.unwrap();
        svc.ensure_administrator(PASSWORD).await.unwrap();
        let token = svc
            .log_in(Ipv4Addr::LOCALHOST.into(), "admin", PASSWORD.into(), TokenTerms::default())
            .await
            .unwrap()
            .token;
        svc.close().await;
        let mut connection = PgConnection::connect(postgres.url()).await.unwrap();
        // Nothing is to be counted that depends on the time.
        for setting in ["autovacuum = off", "full_page_writes = off", "checkpoint_timeout = '1h'"] {
            connection.execute(sqlx::AssertSqlSafe(format!("alter system set {setting}"))).await.unwrap();
        }
        connection.execute("select pg_reload_conf()").await.unwrap();
        let (statements, received) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let url = wire(postgres.url(), statements.clone(), received.clone()).await;
        let host = setup.start_on(Database { url, token }).await;
        host.create_application("hostile").await;
        Self { host, connection, statements, received, postgres, _directory: directory }
    }

    async fn used(&mut self) -> Used {
        let used = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
                           (pg_current_wal_insert_lsn() - '0/0')::bigint";
        let (commits, wal_bytes): (i64, i64) = sqlx::query_as(used).fetch_one(&mut self.connection).await.unwrap();
        Used { commits: commits.unsigned_abs(), wal_bytes: wal_bytes.unsigned_abs() }
    }

    /// What went over the wire until now.
    fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    async fn request(&self, method: &Method, path: &str) {
        let request = self.host.client.request(method.clone(), path);
        let request = if method == Method::PATCH { request.json(&json!({})) } else { request };
        let reply = self.host.client.send(request).await;
        assert!((200..300).contains(&reply.status), "{reply}");
    }

    /// Fails unless each such request takes so many statements.
    async fn assert_takes(&self, statements: u64, method: &Method, path: &str) {
        self.request(method, path).await;
        let (before, began) = (self.statements(), Instant::now());
        for _ in 0..JOBS {
            self.request(method, path).await;
        }
        let used = self.statements() - before;
        let least = statements * JOBS;
        let most = least + 4 * by_itself(began);
        assert!((least..=most).contains(&used), "{JOBS} times {method} {path} took {used} statements");
    }

    /// Makes one more document of each kind.
    async fn fill(&self, n: u32) {
        let name = n.to_string();
        let location = json!({ "path": format!("/srv/{n}"), "gitrepo": name, "default_branch": "master" });
        for (path, new) in [
            ("/app/hostile/builds", json!({ "build_name": name })),
            ("/app/hostile/packagemaps", json!({ "name": name, "packages": { "web": { "patterns": ["web/**"] } } })),
            ("/app/hostile/gitrepos", json!({ "name": name, "existing": true, "uri": "https://git.example/shop.git" })),
            ("/app/hostile/gitdeploys", json!({ "name": name, "package": "master", "location": location })),
            ("/app/hostile/groups", json!({ "name": name, "gitdeploys": [name] })),
            ("/server", json!({ "name": name, "environment": "test", "driver": "local" })),
            ("/global/gitproviders", json!({ "name": name, "type": "github" })),
        ] {
            let reply = self.host.client.post(path, &new).await;
            assert_eq!(reply.status, 201, "{path}: {reply}");
        }
    }

    /// Asks for many jobs and waits until all have ended.
    async fn many_at_once(&mut self) {
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..CLIENTS {
            let client = self.host.client.clone();
            clients.spawn(async move {
                for _ in 0..OF_EACH {
                    assert_eq!(client.post_empty("/app/hostile/actions/Noop").await.status, 202);
                }
            });
        }
        clients.join_all().await;
        eventually("all jobs to end", async || {
            let open = "select exists (select from jobs where status in ('queued', 'running'))";
            let open: bool = sqlx::query_scalar(open).fetch_one(&mut self.connection).await.unwrap();
            (!open).then_some(())
        })
        .await;
    }

    async fn stop(self) {
        self.host.stop().await;
        self.postgres.stop().await;
    }
}

/// A way to this Postgres over a port of this machine, on which statements and bytes are counted. Returns its URL.
async fn wire(url: &str, statements: Arc<AtomicU64>, received: Arc<AtomicU64>) -> String {
    let options: PgConnectOptions = url.parse().unwrap();
    let socket = options.get_socket().unwrap().join(format!(".s.PGSQL.{}", options.get_port()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = UnixStream::connect(&socket).await.unwrap();
            tokio::spawn(pass_on(client, server, statements.clone(), received.clone()));
        }
    });
    let (user, database) = (options.get_username(), options.get_database().unwrap());
    format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable")
}

/// However it ends, both sides notice, because both connections are closed.
async fn pass_on(client: TcpStream, server: UnixStream, statements: Arc<AtomicU64>, received: Arc<AtomicU64>) {
    client.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let count = async {
        let (mut messages, mut buffer) = (Messages::default(), vec![0; 16 * 1024]);
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            statements.fetch_add(messages.statements(&buffer[..length]), Ordering::Relaxed);
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    let answer = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
            received.fetch_add(length as u64, Ordering::Relaxed);
            if to_client.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = count => {}
        () = answer => {}
    }
}

/// The messages of a client, each a letter, a length and what is in it; of the first one there is no letter.
#[derive(Default)]
struct Messages {
    head: Vec<u8>,
    /// How much of the present message is still to come.
    rest: usize,
    has_begun: bool,
}

impl Messages {
    /// How many statements are executed by what comes next.
    fn statements(&mut self, mut bytes: &[u8]) -> u64 {
        let mut statements = 0;
        loop {
            let skipped = self.rest.min(bytes.len());
            (self.rest, bytes) = (self.rest - skipped, &bytes[skipped..]);
            let Some((first, others)) = bytes.split_first() else { return statements };
            self.head.push(*first);
            bytes = others;
            let letters = usize::from(self.has_begun);
            if self.head.len() == letters + 4 {
                let length: [u8; 4] = self.head[letters..].try_into().unwrap();
                self.rest = u32::from_be_bytes(length) as usize - 4;
                // Execute, of a prepared one, and Query.
                statements += u64::from(self.has_begun && matches!(self.head[0], b'E' | b'Q'));
                self.has_begun = true;
                self.head.clear();
            }
        }
    }
}
