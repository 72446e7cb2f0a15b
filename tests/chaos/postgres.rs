//! A Postgres to be killed, whose disk can be filled.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use tokio::process::{Child, Command};

/// The size of its disk, if that can be limited.
const DISK: &str = "size=200m";
/// How long it may take until it accepts connections.
const START: Duration = Duration::from_secs(30);

/// A server with one database, which is reached through a socket.
pub(crate) struct Postgres {
    binaries: PathBuf,
    /// Who runs it, if that is not us.
    account: Option<u32>,
    cluster: PathBuf,
    socket_dir: PathBuf,
    log: PathBuf,
    disk: Option<SmallDisk>,
    /// Why its disk cannot be filled, if it cannot.
    pub(crate) why_not_full: Option<String>,
    server: Option<Child>,
}

/// A file system in memory; unmounted when this is dropped.
struct SmallDisk(PathBuf);

impl Postgres {
    /// Makes one in this directory, on a small disk if that is asked for and possible, and starts it.
    pub(crate) async fn start(directory: &Path, on_small_disk: bool) -> Result<Self> {
        let (disk_dir, socket_dir) = (directory.join("disk"), directory.join("socket"));
        fs::create_dir(&disk_dir)?;
        fs::create_dir(&socket_dir)?;
        let (disk, why_not_full) = match on_small_disk.then(|| SmallDisk::mount(&disk_dir)) {
            None => (None, None),
            Some(Ok(disk)) => (Some(disk), None),
            Some(Err(problem)) => (None, Some(format!("{problem:#}"))),
        };
        let account = if geteuid().is_root() { Some(unprivileged().await?) } else { None };
        for path in [&disk_dir, &socket_dir] {
            chown(path, account, None)?;
        }
        let mut postgres = Self {
            binaries: binaries()?,
            account,
            cluster: disk_dir.join("cluster"),
            socket_dir,
            log: directory.join("postgres.log"),
            disk,
            why_not_full,
            server: None,
        };
        postgres.make().await?;
        postgres.run().await?;
        let mut connection = PgConnection::connect(&postgres.url("postgres")).await?;
        connection.execute("create database elita").await?;
        Ok(postgres)
    }

    async fn make(&self) -> Result<()> {
        let mut initdb = self.command("initdb");
        initdb.args(["--auth=trust", "--username=elita", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let made = initdb.args(["--wal-segsize=4", "--pgdata"]).arg(&self.cluster).output().await?;
        ensure!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.env_clear().env("LC_ALL", "C").current_dir("/").stdin(Stdio::null()).kill_on_drop(true);
        if let Some(uid) = self.account {
            command.uid(uid);
        }
        command
    }

    /// Starts it, unless it runs, and waits until it answers.
    pub(crate) async fn run(&mut self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < START {
            if self.has_ended()? {
                self.server = Some(self.spawn()?);
            }
            // A server that was killed may have left processes behind, which end in their own time.
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Ok(mut connection) = PgConnection::connect(&self.url("postgres")).await
                && connection.execute("select 1").await.is_ok()
            {
                return Ok(());
            }
        }
        bail!("Postgres does not start, see {}", self.log.display())
    }

    fn spawn(&self) -> Result<Child> {
        let log = OpenOptions::new().append(true).create(true).open(&self.log)?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(&self.cluster).stdout(log.try_clone()?).stderr(log);
        let sockets = format!("unix_socket_directories={}", self.socket_dir.display());
        // What is killed are processes, not the machine: so nothing is lost without fsync.
        let settings = ["listen_addresses=", "port=5432", "fsync=off", "max_connections=150", "shared_buffers=32MB"];
        for setting in settings.into_iter().chain(["max_wal_size=48MB", "min_wal_size=16MB", &sockets]) {
            command.args(["-c", setting]);
        }
        Ok(command.spawn()?)
    }

    /// Whether it has ended, by itself or otherwise.
    fn has_ended(&mut self) -> Result<bool> {
        match &mut self.server {
            None => Ok(true),
            Some(server) => Ok(server.try_wait()?.is_some()),
        }
    }

    /// Kills all its processes.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else { return Ok(()) };
        let Some(pid) = server.id() else { return Ok(()) };
        let backends = children(pid)?;
        server.start_kill()?;
        for backend in backends {
            // It may have ended meanwhile.
            let _ = kill_process(backend, Signal::KILL);
        }
        server.wait().await?;
        Ok(())
    }

    pub(crate) async fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            if let Some(pid) = server.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
                let _ = kill_process(pid, Signal::INT);
            }
            let _ = tokio::time::timeout(Duration::from_secs(5), server.wait()).await;
        }
    }

    /// Ends the sessions of all servers.
    pub(crate) async fn sever(&self) -> Result<()> {
        let all = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'elita'";
        self.connect().await?.execute(all).await?;
        Ok(())
    }

    /// Leaves no room on its disk, if it has a small one. Says whether it has.
    pub(crate) fn fill_disk(&self) -> Result<bool> {
        let Some(SmallDisk(path)) = &self.disk else { return Ok(false) };
        let mut file = File::create(path.join("filler"))?;
        for length in [1 << 20, 1 << 12, 1] {
            // Until it is refused.
            while file.write_all(&vec![0; length]).is_ok() {}
        }
        Ok(true)
    }

    /// Makes room again.
    pub(crate) fn free_disk(&self) -> Result<()> {
        match &self.disk {
            Some(SmallDisk(path)) => Ok(fs::remove_file(path.join("filler"))?),
            None => Ok(()),
        }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket_dir.join(".s.PGSQL.5432")
    }

    /// A connection that no fault but those of Postgres itself touches.
    pub(crate) async fn connect(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(&self.url("elita")).await?)
    }

    pub(crate) fn url(&self, database: &str) -> String {
        let host = self.socket_dir.display();
        format!("postgres://elita@localhost/{database}?host={host}&sslmode=disable&application_name=chaos")
    }

    /// How many jobs are queued or running.
    pub(crate) async fn unfinished_jobs(&self) -> Result<i64> {
        let count = "select count(*) from jobs where status in ('queued', 'running')";
        Ok(sqlx::query_scalar(count).fetch_one(&mut self.connect().await?).await?)
    }
}

impl SmallDisk {
    fn mount(path: &Path) -> Result<Self> {
        ensure!(geteuid().is_root(), "only root can mount a small disk");
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", DISK, "elita-chaos"]).arg(path).output()?;
        ensure!(
            mounted.status.success(),
            "a small disk cannot be mounted: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Ok(Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// The newest Postgres of this machine.
fn binaries() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut usual: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    usual.sort();
    let mut all = usual.into_iter().rev().map(|(_, dir)| dir).chain(std::env::split_paths(&path));
    all.find(|dir| dir.join("initdb").is_file()).context("there is no Postgres; `scripts/postgres` installs it")
}

/// Postgres refuses to run as root.
async fn unprivileged() -> Result<u32> {
    for name in ["postgres", "nobody"] {
        let answer = Command::new("id").args(["-u", name]).output().await?;
        if answer.status.success() {
            return Ok(String::from_utf8_lossy(&answer.stdout).trim().parse()?);
        }
    }
    bail!("there is no user who could run Postgres in place of root")
}

/// The processes that a process has started, where the system says so.
fn children(parent: u32) -> Result<Vec<Pid>> {
    let Ok(processes) = fs::read_dir("/proc") else { return Ok(Vec::new()) };
    let stats =
        processes.filter_map(Result::ok).filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    let children = stats.filter_map(|stat| {
        let (pid, rest) = stat.split_once(" (")?;
        // The name may hold anything; after it come the state and the parent.
        let mut fields = rest.rsplit_once(") ")?.1.split(' ').skip(1);
        (fields.next()?.parse() == Ok(parent)).then(|| Pid::from_raw(pid.parse().ok()?)).flatten()
    });
    Ok(children.collect())
}
