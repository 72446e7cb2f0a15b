//! Celery, with Redis as its broker and result backend. What is Celery's own (the app, its settings, the producers) is
//! in `celery/tasks.py`; this starts the processes and stops them again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::load::{Load, Measured};

/// How long Redis and the workers may take to stop before they are killed.
const STOPPING: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Port for the Redis server that is started.
    #[arg(long, default_value_t = 6390)]
    redis_port: u16,
    /// Leaves Redis at its defaults, by which it loses the last minutes in a crash; otherwise each write is synced
    /// before it is answered, as a commit of Postgres is.
    #[arg(long)]
    redis_defaults: bool,
    #[command(flatten)]
    load: Load,
}

/// What `tasks.py` prints.
#[derive(Deserialize)]
struct Report {
    version: String,
    #[serde(flatten)]
    measured: Measured,
}

pub(crate) async fn measure(options: &Options) -> anyhow::Result<(String, Measured)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("celery");
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/celery");
    std::fs::create_dir_all(&home)?;
    let home = home.canonicalize()?;
    let venv = Venv::new(&home, &source).await?;
    let mut redis = start_redis(options, &home)?;
    let mut workers = venv.start_workers(options)?;
    let report = tokio::select! {
        report = venv.produce(options) => report,
        ended = redis.wait() => bail!("redis-server ended: {ended:?}"),
        ended = workers.wait() => bail!("the workers ended: {ended:?}"),
    };
    stop(workers).await?;
    stop(redis).await?;
    let Report { version, measured } = report?;
    Ok((version, measured))
}

/// Starts a Redis server of its own, with an empty directory beside the venv: on the disk, so that syncing is real.
fn start_redis(options: &Options, home: &Path) -> anyhow::Result<Child> {
    let data = home.join("redis");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    std::fs::create_dir(&data)?;
    let mut command = Command::new("redis-server");
    command.arg("--port").arg(options.redis_port.to_string()).arg("--bind").arg("127.0.0.1").arg("--dir").arg(&data);
    if !options.redis_defaults {
        // The append-only file alone makes writes durable, so the snapshots are left out.
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
    }
    command.stdout(Stdio::null()).kill_on_drop(true);
    command.spawn().context("redis-server cannot be started: is Debian's redis-server installed?")
}

/// Asks a process to stop, as its own documentation wants it, and waits until it has.
async fn stop(mut child: Child) -> anyhow::Result<()> {
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id as i32)) {
        kill_process(pid, Signal::TERM)?;
    }
    if timeout(STOPPING, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}

/// The virtual environment that Celery is installed in.
struct Venv {
    bin: PathBuf,
    source: PathBuf,
}

impl Venv {
    /// Creates the environment unless it is there already.
    async fn new(home: &Path, source: &Path) -> anyhow::Result<Self> {
        let bin = home.join("venv/bin");
        if !bin.join("celery").exists() {
            let requirements = source.join("requirements.txt");
            eprintln!("installing {} into {}", requirements.display(), home.join("venv").display());
            succeed(Command::new("python3").args(["-m", "venv"]).arg(home.join("venv"))).await?;
            succeed(Command::new(bin.join("pip")).args(["install", "--quiet", "--requirement"]).arg(&requirements))
                .await?;
        }
        Ok(Self { bin, source: source.to_owned() })
    }

    /// A command of the environment that finds the app and its Redis.
    fn command(&self, program: &str, options: &Options) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .current_dir(&self.source)
            .env("PEERS_REDIS", format!("redis://127.0.0.1:{}/0", options.redis_port))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .kill_on_drop(true);
        command
    }

    fn start_workers(&self, options: &Options) -> anyhow::Result<Child> {
        // "Concurrency" in the workers guide: the number of pool processes defaults to the number of CPUs, and more of
        // them affect performance in negative ways. Gossip, mingle and heartbeat only serve clusters of workers.
        let mut command = self.command("celery", options);
        command.args(["--app", "tasks", "--quiet", "worker", "--pool", "prefork"]);
        command.args(["--loglevel", "WARNING", "--without-gossip", "--without-mingle", "--without-heartbeat"]);
        if let Some(workers) = options.load.workers {
            command.arg("--concurrency").arg(workers.to_string());
        }
        command.stdout(Stdio::null()).spawn().context("Celery's workers cannot be started")
    }

    /// Runs the producers, as many processes as there are CPUs: one could not use more than one of them.
    async fn produce(&self, options: &Options) -> anyhow::Result<Report> {
        let mut command = self.command("python", options);
        command.arg("tasks.py");
        for (name, value) in [
            ("--clients", options.load.clients.to_string()),
            ("--seconds", options.load.seconds.to_string()),
            ("--processes", std::thread::available_parallelism()?.to_string()),
        ] {
            command.arg(name).arg(value);
        }
        let output = command.stderr(Stdio::inherit()).output().await?;
        ensure!(output.status.success(), "tasks.py ended with {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

async fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdout(Stdio::null()).status().await?;
    ensure!(status.success(), "{:?} ended with {status}", command.as_std());
    Ok(())
}
