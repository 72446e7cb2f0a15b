//! One run of the server, from its start to its end, and the end of one that an earlier Elita has left running.
//! What happens after an end that nobody asked for is the business of [`super::supervisor`].

use std::io::SeekFrom;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::cluster::{Cluster, open_log};
use super::error::Error;
use super::pid_file::PidFile;

/// Runs the server such that it stops when Elita is gone.
const GUARDIAN: &str = include_str!("guardian.sh");

/// How long a server may take until it accepts connections. After a crash it first catches up on its log.
const START_LIMIT: Duration = Duration::from_secs(300);

/// How often a server is looked at that starts or stops without being able to tell us.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a server is stopped, with the patience we have for each: end all sessions, end all processes, kill.
const STOP: [(Signal, Duration); 3] = [
    (Signal::INT, Duration::from_secs(20)),
    (Signal::QUIT, Duration::from_secs(6)),
    (Signal::KILL, Duration::from_secs(5)),
];

/// How much of the log goes into an error.
const TAIL_LINES: usize = 15;

/// A running server. If it is dropped it stops in its own time.
#[derive(Debug)]
pub(super) struct Postmaster {
    child: Child,
    lifeline: Option<ChildStdin>,
    /// Where in the log this run begins.
    log_start_bytes: u64,
}

impl Postmaster {
    /// Starts the server, once an earlier one on the same cluster is gone.
    ///
    /// # Errors
    /// [`Error::WillNotStop`] if the earlier one stays, [`Error::Io`] if the server cannot be run.
    pub(super) async fn spawn(cluster: &Cluster) -> Result<Self, Error> {
        let earlier = stop_earlier(&cluster.dir()).await?;
        let path = cluster.runtime_dir.path();
        cluster.runtime_dir.clear().map_err(Error::io("clear", path))?;
        let log = cluster.log();
        let (output, errors, log_start_bytes) = open_log(&log)
            .and_then(|file| Ok((file.try_clone()?, file.metadata()?.len(), file)))
            .map(|(output, size_bytes, errors)| (output, errors, size_bytes))
            .map_err(Error::io("write to", &log))?;

        let mut command = guarded(cluster, earlier);
        command.stdin(Stdio::piped()).stdout(output).stderr(errors);
        let mut child =
            tokio::process::Command::from(command).spawn().map_err(Error::io("run the server on", &cluster.dir()))?;
        let lifeline = child.stdin.take();
        Ok(Self { child, lifeline, log_start_bytes })
    }

    /// Waits until the server accepts connections.
    ///
    /// # Errors
    /// [`Error::StillBusy`] if processes of a server that was killed are in its way, [`Error::Start`] if it ends
    /// for another reason or is not ready in time.
    pub(super) async fn ready(&mut self, cluster: &Cluster) -> Result<(), Error> {
        let (dir, deadline) = (cluster.dir(), Instant::now() + START_LIMIT);
        loop {
            if let Some(status) = self.child.try_wait().map_err(Error::io("wait for the server on", &dir))? {
                self.dismiss_guard().await;
                return Err(self.failure(cluster, format!("it ended ({status})")).await);
            }
            let said = PidFile::read(&dir).map_err(Error::io("look at", &dir))?;
            if said.is_some_and(|said| said.is_ready && Some(said.pid) == self.pid()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let reason = format!("it is not ready after {} s", START_LIMIT.as_secs());
                return Err(self.failure(cluster, reason).await);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until the server is gone. Can be dropped and called again.
    pub(super) async fn ended(&mut self) -> String {
        let ended = self.child.wait().await;
        self.dismiss_guard().await;
        ended.as_ref().map_or_else(ToString::to_string, ExitStatus::to_string)
    }

    /// Stops the server and waits until it is gone: in bounded time, and almost always in good order.
    pub(super) async fn stop(mut self) {
        for (signal, patience) in STOP {
            let Some(pid) = self.pid() else { break };
            // It cannot be another process's id: ours is not reaped yet.
            if let Err(error) = kill_process(pid, signal) {
                warn!("Postgres (process {pid}) cannot be stopped: {error}");
            }
            match timeout(patience, self.ended()).await {
                Ok(_) => return,
                Err(_) => warn!("Postgres (process {pid}) did not stop within {} s", patience.as_secs()),
            }
        }
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.id()?.try_into().ok()?)
    }

    /// Tells the guard that there is nothing to stop any more, before the process id is another's.
    async fn dismiss_guard(&mut self) {
        if let Some(mut lifeline) = self.lifeline.take() {
            // A guard that is gone needs no dismissal.
            let _ = lifeline.write_all(b"\n").await;
        }
    }

    async fn failure(&self, cluster: &Cluster, reason: String) -> Error {
        let log = cluster.log();
        let tail = tail(&log, self.log_start_bytes).await.unwrap_or_else(|error| format!("(unreadable: {error})"));
        if tail.contains("pre-existing shared memory block") {
            return Error::StillBusy { cluster: cluster.dir() };
        }
        Error::Start { reason, log, tail }
    }
}

/// The server's command, run by the guardian.
fn guarded(cluster: &Cluster, earlier: Option<Pid>) -> Command {
    let server = cluster.server();
    let mut command = cluster.account().command("/bin/sh");
    // In a process group of its own, an interrupt from the terminal reaches Elita alone, which stops it in its turn.
    command.args(["-c", GUARDIAN, "elita-postgres"]).arg(server.get_program()).args(server.get_args()).process_group(0);
    if let Some(pid) = earlier {
        // Postgres takes any process with that id for its predecessor, except for its own ancestors. We know better,
        // and removing the file instead would also remove its check for processes that the predecessor left behind.
        command.env("PG_GRANDPARENT_PID", pid.to_string());
    }
    command
}

/// Stops the server that an earlier Elita has left running on a cluster, and waits until it is gone. Returns the
/// process id that the cluster's file still names.
async fn stop_earlier(cluster: &Path) -> Result<Option<Pid>, Error> {
    let read = || PidFile::read(cluster).map_err(Error::io("read `postmaster.pid` in", cluster));
    let Some(earlier) = read()? else { return Ok(None) };
    let pid = earlier.pid;
    if earlier.is_true(cluster) {
        info!("stopping the Postgres (process {pid}) that an earlier Elita has left running");
    }
    for (signal, patience) in STOP {
        if !earlier.is_true(cluster) {
            return Ok(read()?.map(|left| left.pid));
        }
        if let Err(error) = kill_process(pid, signal) {
            warn!("the earlier Postgres (process {pid}) cannot be stopped: {error}");
        }
        let gone = async {
            while earlier.is_true(cluster) {
                sleep(LOOK_EVERY).await;
            }
        };
        let _ = timeout(patience, gone).await;
    }
    match earlier.is_true(cluster) {
        true => Err(Error::WillNotStop { pid: pid.as_raw_pid(), cluster: cluster.into() }),
        false => Ok(read()?.map(|left| left.pid)),
    }
}

/// The last lines of a log, of those after a position.
async fn tail(log: &Path, start_bytes: u64) -> std::io::Result<String> {
    let mut file = tokio::fs::File::open(log).await?;
    file.seek(SeekFrom::Start(start_bytes)).await?;
    let mut text = Vec::new();
    file.take(1 << 20).read_to_end(&mut text).await?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
}
