//! Elita as it is run: the program, in a process of its own, on a database of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::client::{Connection, Request};
use crate::site::{ACTION, APPLICATION, Database, PLUGIN, Site, component};

/// How long a server may take until it runs the plugin.
const START: Duration = Duration::from_secs(60);
/// How often the database is asked whether all jobs are done.
const GLANCE: Duration = Duration::from_millis(2);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) database: Database,
    /// To read what the REST API does not show.
    pub(crate) connection: PgConnection,
    /// It is killed when this is dropped.
    process: Child,
}

impl Server {
    /// Starts one with these flags, and waits until it accepts the action.
    pub(crate) async fn start(site: &Site, name: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let database = site.database(name).await?;
        let directory = site.directory.path().join(name);
        std::fs::create_dir_all(directory.join("plugins"))?;
        std::fs::copy(component()?, directory.join(format!("plugins/{PLUGIN}.wasm")))?;
        let mut command = Command::new(program()?);
        command.args(["serve", "--database-url", &database.url]).args(flags);
        if !flags.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.arg("--data-dir").arg(&directory);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdout(Stdio::piped()).stderr(File::create(directory.join("log"))?).kill_on_drop(true);
        let mut process = command.spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("no stdout")?).lines();
        let address = loop {
            let line = lines.next_line().await?.with_context(|| log(&directory))?;
            if let Some((_, address)) = line.split_once(" is ready at http://") {
                break address.parse()?;
            }
        };
        let connection = PgConnection::connect(&database.url).await?;
        let mut server = Self { address, database, connection, process };
        server.accepting().await.with_context(|| log(&directory))?;
        Ok(server)
    }

    /// The request for the action.
    pub(crate) fn post(&self) -> Request {
        Request::post(&format!("/app/{APPLICATION}/actions/{ACTION}"), &self.database.token)
    }

    /// Waits until no job is queued or running, and returns when that was.
    pub(crate) async fn settled(&mut self) -> anyhow::Result<Instant> {
        let open = "select exists (select from jobs where status in ('queued', 'running'))";
        while sqlx::query_scalar(open).fetch_one(&mut self.connection).await? {
            sleep(GLANCE).await;
        }
        Ok(Instant::now())
    }

    /// Removes all jobs, so that each round begins alike.
    pub(crate) async fn empty(&mut self) -> anyhow::Result<()> {
        self.connection.execute("truncate jobs, job_entries").await?;
        Ok(())
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.connection.close().await?;
        self.process.kill().await?;
        Ok(())
    }

    async fn accepting(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let answer = Connection::to(self.address).await?.exchange(&self.post()).await.map(drop);
            match answer {
                Ok(()) => return Ok(()),
                Err(problem) if began.elapsed() > START => return Err(problem),
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// The program beside this one, in the same profile.
fn program() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("elita");
    if !program.is_file() {
        bail!("there is no {}; `cargo build --workspace --bins` makes it", program.display());
    }
    Ok(program)
}

fn log(directory: &std::path::Path) -> String {
    let log = std::fs::read_to_string(directory.join("log")).unwrap_or_default();
    format!("the server does not work:\n{log}")
}
