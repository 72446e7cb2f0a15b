//! A server in this process: the library's, on a free port, with a database and a data directory of its own.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use elita::boot::Server;
use elita::config::{Cli, Commands, Settings};
use serde_json::Value;
use sqlx::Connection as _;
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard};
use uuid::Uuid;

use super::client::{Client, Reply};
use super::components::{place, plugin_file};
use super::moto::keys_below;
use super::postgres::{Database, PASSWORD};
use super::program::{Program, elita, secret_key_file};
use super::{PATIENCE, eventually, project_root};
use crate::uploads::files_in;

/// How a test's server is to be.
#[derive(Default)]
pub(crate) struct Setup {
    /// Each plugin's name and its file.
    plugins: Vec<(String, PathBuf)>,
    own_cache: bool,
    flags: Vec<String>,
    file: String,
}

impl Setup {
    /// With these plugins in its directory, by their file's name without `.wasm`.
    pub(crate) fn plugins(self, names: &[&str]) -> Self {
        names.iter().fold(self, |setup, name| setup.plugin(name, plugin_file(name)))
    }

    /// With this file as a plugin of this name.
    pub(crate) fn plugin(mut self, name: &str, file: PathBuf) -> Self {
        self.plugins.push((name.to_owned(), file));
        self
    }

    /// With a cache of compiled components of its own, in which there is nothing yet.
    pub(crate) fn own_cache(self) -> Self {
        Self { own_cache: true, ..self }
    }

    /// With a flag of `elita serve`.
    pub(crate) fn flag(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.flags.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// With a switch of `elita serve`.
    pub(crate) fn switch(mut self, name: &str) -> Self {
        self.flags.push(name.to_owned());
        self
    }

    /// With these grants of a plugin: the lines of its table in the settings' file.
    pub(crate) fn granting(mut self, plugin: &str, lines: &str) -> Self {
        self.file += &format!("[plugins.{plugin}]\n{lines}\n");
        self
    }

    /// With a storage that other hosts have, too.
    pub(crate) fn sharing(self, storage: &TempDir) -> Self {
        self.flag("--storage-url", format!("file://{}", storage.path().display())).switch("--storage-shared")
    }

    /// Starts it, and waits until its plugins are active or refused.
    pub(crate) async fn start(self) -> TestHost {
        self.start_on(Database::new().await).await
    }

    /// The same on a database that others use, too.
    pub(crate) async fn start_on(mut self, database: Database) -> TestHost {
        let data_dir = tempfile::tempdir().unwrap();
        if !self.file.is_empty() {
            let file = data_dir.path().join("elita.toml");
            std::fs::write(&file, &self.file).unwrap();
            self.flags.extend(["--config".into(), file.display().to_string()]);
        }
        let plugin_dir = data_dir.path().join("plugins");
        std::fs::create_dir_all(&plugin_dir).unwrap();
        if !self.own_cache {
            share_cache(&data_dir);
        }
        for (name, file) in &self.plugins {
            place(file, &plugin_dir.join(format!("{name}.wasm")));
        }
        if let Some(url) = bucket_of_its_own().filter(|_| !self.flags.iter().any(|flag| flag == "--storage-url")) {
            self = self.flag("--storage-url", url);
        }
        let turns = if self.own_cache { Vec::new() } else { turns_to_compile(&self.plugins).await };
        let host = TestHost::start_in(data_dir, database, self.flags).await;
        for (name, _) in &self.plugins {
            host.settled_plugin(name).await;
        }
        for mut is_compiled in turns {
            *is_compiled = true;
        }
        host
    }
}

/// A place in the bucket that `just test-s3` has the tests run on. `None`: files are in a directory.
fn bucket_of_its_own() -> Option<String> {
    std::env::var("ELITA_TEST_BUCKET").ok().map(|bucket| format!("s3://{bucket}/{}", Uuid::new_v4()))
}

/// Each file is compiled by the first host that has it, and found in the cache by the others. The turns are those at
/// which that has not been done before, for as long as they are kept.
async fn turns_to_compile(plugins: &[(String, PathBuf)]) -> Vec<OwnedMutexGuard<bool>> {
    static FILES: LazyLock<std::sync::Mutex<HashMap<PathBuf, Arc<Mutex<bool>>>>> = LazyLock::new(Default::default);
    // In the same order everywhere, so that nobody waits for each other.
    let files: BTreeSet<_> = plugins.iter().map(|(_, file)| file).collect();
    let mut turns = Vec::new();
    for file in files {
        let turn = FILES.lock().unwrap().entry(file.clone()).or_default().clone();
        let turn = turn.lock_owned().await;
        if !*turn {
            turns.push(turn);
        }
    }
    turns
}

/// A server of one test, with its database and its files.
pub(crate) struct TestHost {
    pub(crate) database: Database,
    pub(crate) client: Client,
    data_dir: TempDir,
    flags: Vec<String>,
    server: Server,
}

/// What stays of a server that was stopped.
pub(crate) struct StoppedHost {
    pub(crate) database: Database,
    data_dir: TempDir,
    flags: Vec<String>,
}

impl StoppedHost {
    /// Starts a server on it in this process.
    pub(crate) async fn start(self) -> TestHost {
        TestHost::start_in(self.data_dir, self.database, self.flags).await
    }

    /// The same with a flag, which holds instead of one that it had before.
    pub(crate) fn with_flag(mut self, name: &str, value: &str) -> Self {
        if let Some(at) = self.flags.iter().position(|flag| flag == name) {
            self.flags.drain(at..at + 2);
        }
        self.flags.extend([name.into(), value.into()]);
        self
    }

    /// Starts the real program on it, in a process of its own.
    pub(crate) fn start_program(&self) -> Program {
        let flags = self.all_flags();
        Program::serve(&flags.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Its flags, with those that say where it works.
    pub(crate) fn all_flags(&self) -> Vec<String> {
        let fixed = ["--data-dir", self.data_dir.path().to_str().unwrap(), "--database-url", &self.database.url];
        fixed.into_iter().map(String::from).chain(self.flags.iter().cloned()).collect()
    }

    /// Where its files are stored.
    pub(crate) fn storage_dir(&self) -> PathBuf {
        self.data_dir.path().join("storage")
    }

    /// Starts a server on it in this process, without waiting until its plugins are there.
    pub(crate) async fn start_unready(self) -> TestHost {
        TestHost::start_unready(self.data_dir, self.database, self.flags).await
    }

    /// The directory that plugins are loaded from.
    pub(crate) fn plugin_dir(&self) -> PathBuf {
        self.data_dir.path().join("plugins")
    }

    /// The id of its data directory.
    pub(crate) fn host_id(&self) -> Uuid {
        std::fs::read_to_string(self.data_dir.path().join("host-id")).unwrap().trim().parse().unwrap()
    }
}

impl TestHost {
    /// One without plugins.
    pub(crate) async fn start() -> Self {
        Setup::default().start().await
    }

    /// One with these plugins, by their file's name without `.wasm`.
    pub(crate) async fn with_plugins(names: &[&str]) -> Self {
        Setup::default().plugins(names).start().await
    }

    async fn start_in(data_dir: TempDir, database: Database, flags: Vec<String>) -> Self {
        let host = Self::start_unready(data_dir, database, flags).await;
        host.server.ready().await;
        host
    }

    async fn start_unready(data_dir: TempDir, database: Database, flags: Vec<String>) -> Self {
        let server = Server::start(settings(&data_dir, &database, &flags)).await.unwrap();
        let client = Client::new(server.address(), &database.token);
        Self { database, client, data_dir, flags, server }
    }

    /// Stops the server and starts another one on the same database and files.
    pub(crate) async fn restart(self) -> Self {
        self.stop().await.start().await
    }

    /// Stops the server as SIGTERM does, and returns what stays.
    pub(crate) async fn stop(self) -> StoppedHost {
        self.server.stop().await;
        StoppedHost { database: self.database, data_dir: self.data_dir, flags: self.flags }
    }

    /// Its data directory.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// The directory that plugins are loaded from.
    pub(crate) fn plugin_dir(&self) -> PathBuf {
        self.data_dir.path().join("plugins")
    }

    /// Where its files are stored.
    pub(crate) fn storage_dir(&self) -> PathBuf {
        self.data_dir.path().join("storage")
    }

    /// The files of builds that are stored, without where that is: a folder for each upload, and in it others.
    pub(crate) async fn stored_files(&self) -> Vec<PathBuf> {
        let flag = self.flags.iter().position(|flag| flag == "--storage-url").map(|at| &*self.flags[at + 1]);
        let builds = match flag.and_then(|url| url.strip_prefix("s3://")) {
            Some(place) => {
                return keys_below(&format!("{place}/builds/")).await.into_iter().map(PathBuf::from).collect();
            }
            None => self.storage_dir().join("builds"),
        };
        files_in(&builds).iter().map(|file| file.strip_prefix(&builds).unwrap().to_owned()).collect()
    }

    /// Makes an application.
    pub(crate) async fn create_application(&self, name: &str) {
        let reply = self.client.post("/app", &serde_json::json!({ "app_name": name })).await;
        assert_eq!(reply.status, 201, "{reply}");
    }

    /// A client of somebody else, with these permissions.
    pub(crate) async fn guest(&self, permissions: &Value) -> Client {
        let mut connection = self.database.connect().await;
        let same_password = "insert into users (name, password_hash, permissions)
            select 'guest', password_hash, $1 from users where name = 'admin'";
        sqlx::query(same_password).bind(permissions).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let log_in = serde_json::json!({ "username": "guest", "password": PASSWORD });
        let logged_in = self.client.anonymous().post("/global/tokens", &log_in).await;
        assert_eq!(logged_in.status, 201, "{logged_in}");
        self.client.with_token(logged_in.body["token"].as_str().unwrap())
    }

    /// A plugin's document, once it is active or refused.
    pub(crate) async fn settled_plugin(&self, name: &str) -> Value {
        settled_plugin(&self.client, name).await
    }

    /// A plugin's document, once it is as wanted.
    pub(crate) async fn plugin(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        plugin_as(&self.client, name, wanted).await
    }

    /// Asks for an action; `query` is what comes after the `?`. Returns the job's id.
    pub(crate) async fn post_action(&self, application: &str, action: &str, query: &str) -> String {
        let reply = self.client.post_empty(&format!("/app/{application}/actions/{action}?{query}")).await;
        assert_eq!(reply.status, 202, "{reply}");
        reply.body["job_id"].as_str().unwrap().to_owned()
    }

    /// A job's document with its entries, once it has ended.
    pub(crate) async fn ended_job(&self, id: &str) -> Value {
        eventually(&format!("job {id} to end"), async || {
            let reply = self.client.get(&format!("/job/{id}?results=true")).await;
            assert_eq!(reply.status, 200, "{reply}");
            let status = reply.body["status"].as_str().unwrap().to_owned();
            (status != "queued" && status != "running").then_some(reply.body)
        })
        .await
    }

    /// A job's document, once it runs.
    pub(crate) async fn running_job(&self, id: &str) -> Reply {
        eventually(&format!("job {id} to run"), async || {
            let reply = self.client.get(&format!("/job/{id}?results=true")).await;
            (reply.body["status"] == "running").then_some(reply)
        })
        .await
    }

    /// Runs an action to its end and returns its job.
    pub(crate) async fn run_action(&self, application: &str, action: &str, query: &str) -> Value {
        let id = self.post_action(application, action, query).await;
        self.ended_job(&id).await
    }
}

/// A plugin's document, once it is active or refused.
pub(crate) async fn settled_plugin(client: &Client, name: &str) -> Value {
    plugin_as(client, name, |plugin| plugin["state"] != "compiling").await
}

/// A plugin's document, once it is as wanted. As long as it is being compiled that is waited for: how long that may take
/// is for the server to say, and not for a test.
async fn plugin_as(client: &Client, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut since = Instant::now();
    loop {
        let reply = client.get(&format!("/global/plugins/{name}")).await;
        if reply.status == 200 && wanted(&reply.body) {
            return reply.body;
        }
        if reply.body["state"] == "compiling" {
            since = Instant::now();
        }
        assert!(since.elapsed() < PATIENCE, "waited in vain for plugin {name} to be as wanted: {reply}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// As the command line would give them, so that flags are tested too.
fn settings(data_dir: &TempDir, database: &Database, flags: &[String]) -> Settings {
    let data_dir = data_dir.path().display().to_string();
    let fixed = ["elita", "serve", "--data-dir", &data_dir, "--database-url", &database.url];
    let listen = if flags.iter().any(|flag| flag == "--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
    // Each run's share of the address space is large, and on many cores many tests run at once.
    let few_runs = if flags.iter().any(|flag| flag == "--plugin-runs") { &[][..] } else { &["--plugin-runs", "8"] };
    let key = if flags.iter().any(|flag| flag == "--secret-key-file") {
        Vec::new()
    } else {
        vec!["--secret-key-file".to_owned(), secret_key_file().display().to_string()]
    };
    let compiler = if flags.iter().any(|flag| flag == "--plugin-compiler") {
        Vec::new()
    } else {
        vec!["--plugin-compiler".to_owned(), elita().display().to_string()]
    };
    let given = key.into_iter().chain(compiler).chain(flags.iter().cloned());
    let arguments = fixed.iter().chain(listen).chain(few_runs).copied().map(String::from).chain(given);
    let Cli { command: Commands::Serve(settings) } = Cli::read(arguments.map(Into::into)).unwrap();
    *settings
}

/// Components are compiled once for all tests.
fn share_cache(data_dir: &TempDir) {
    let cache = shared_cache();
    std::fs::create_dir_all(&cache).unwrap();
    std::os::unix::fs::symlink(cache, data_dir.path().join("cache")).unwrap();
}

/// Where all tests' servers keep what they have compiled.
pub(super) fn shared_cache() -> PathBuf {
    project_root().join("target/tests/cache")
}
