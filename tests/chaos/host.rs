//! One server: the real program on a data directory of its own.

use std::fs::{self, OpenOptions};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::types::Uuid;
use tokio::process::{Child, Command};

use super::cable::Cable;
use super::project_root;
use super::random::Random;

/// The administrator's password.
pub(crate) const PASSWORD: &str = "only for chaos";
/// How long a server may take until it answers, or until it has stopped.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server, running or not. It is killed when this is dropped.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) role: &'static str,
    pub(crate) cable: Cable,
    /// Whether it is started with `--no-notify`.
    pub(crate) no_notify: bool,
    pub(crate) log: PathBuf,
    program: PathBuf,
    data_dir: PathBuf,
    storage: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Host {
    /// One that has not been started. `directory` is that of all servers.
    pub(crate) fn new(directory: &Path, name: &str, role: &'static str, cable: Cable) -> Result<Self> {
        let data_dir = directory.join(name);
        fs::create_dir_all(data_dir.join("plugins"))?;
        let plugin = project_root().join("target/plugins/tests/chaos.wasm");
        fs::copy(&plugin, data_dir.join("plugins/chaos.wasm"))
            .with_context(|| format!("there is no {}; `just plugins` builds it", plugin.display()))?;
        Ok(Self {
            name: name.to_owned(),
            role,
            cable,
            no_notify: false,
            log: directory.join(format!("{name}.log")),
            program: super::beside("elita")?,
            data_dir,
            storage: directory.join("storage"),
            port: free_port()?,
            process: None,
        })
    }

    /// Where it answers.
    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Whether it answers more than questions for its health.
    pub(crate) fn is_door(&self) -> bool {
        self.role != "worker"
    }

    /// The id of its data directory.
    pub(crate) fn id(&self) -> Result<Uuid> {
        Ok(fs::read_to_string(self.data_dir.join("host-id"))?.trim().parse()?)
    }

    /// Starts it, unless it runs, and waits until it answers. One that ends by itself is started again.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let began = Instant::now();
        let health = format!("{}/health/live", self.base());
        let http = reqwest::Client::builder().timeout(Duration::from_secs(1)).build()?;
        while began.elapsed() < PATIENCE {
            let ended = self.process.as_mut().map(Child::try_wait).transpose()?.flatten();
            if let Some(status) = ended {
                println!("         {} ended by itself while it started: {status}", self.name);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            if ended.is_some() || self.process.is_none() {
                self.process = Some(self.spawn()?);
            }
            if http.get(&health).send().await.is_ok_and(|reply| reply.status() == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{} does not start, see {}", self.name, self.log.display())
    }

    fn spawn(&self) -> Result<Child> {
        let log = OpenOptions::new().append(true).create(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--data-dir").arg(&self.data_dir).args(["--role", self.role]);
        command.args(["--listen", &format!("127.0.0.1:{}", self.port), "--admin-password", PASSWORD]);
        let port = self.cable.port;
        command.args(["--database-url", &format!("postgres://elita@127.0.0.1:{port}/elita?sslmode=disable")]);
        command.arg("--secret-key-file").arg(self.storage.with_extension("key"));
        command.args(["--storage-url", &format!("file://{}", self.storage.display()), "--storage-shared"]);
        // Little room, so that jobs wait in the queue, too.
        command.args(["--plugin-runs", "6", "--database-connections", "8"]);
        command.args(["--drain-seconds", "2", "--cancel-grace-seconds", "2"]);
        if self.no_notify {
            command.arg("--no-notify");
        }
        command.env_clear().envs(["PATH", "HOME"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        Ok(command.spawn()?)
    }

    /// Sends a signal, if it runs.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.process.as_ref().and_then(Child::id).and_then(|pid| Pid::from_raw(pid.cast_signed()));
        match pid {
            Some(pid) => Ok(kill_process(pid, signal)?),
            None => Ok(()),
        }
    }

    /// Kills it, if it runs.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.ended().await
    }

    /// Tells it to stop, if it runs, and waits until it has.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        self.ended().await
    }

    async fn ended(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
        ended.with_context(|| format!("{} does not end, see {}", self.name, self.log.display()))??;
        Ok(())
    }
}

/// A port that nobody listens on, and that is given to no outgoing connection while its server is away.
fn free_port() -> Result<u16> {
    let mut random = Random::new(Random::new_seed() ^ u64::from(std::process::id()));
    for _ in 0..100 {
        let port = u16::try_from(10_000 + random.below(20_000))?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("there is no free port")
}
