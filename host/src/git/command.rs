//! Running git: nothing of the machine's, the account's or the repository's settings decides what it does.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::GitError;

/// The oldest that has `core.fsync`.
const OLDEST: (u32, u32) = (2, 36);
/// How much of what it says goes wrong is kept, in bytes.
const MAX_STDERR_BYTES: u64 = 8 * 1024;
/// How long what only reads a repository may take.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// How many programs that read run at a time. Others wait.
const READERS: usize = 8;
/// What holds for every call. A repository's own hooks, filters and helpers are never run, and nothing is cleaned up
/// behind our back.
const SETTINGS: [&str; 13] = [
    "core.hooksPath=/dev/null",
    // What a package's own attributes say of its files does not matter here: the empty tree has none.
    "attr.tree=4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.fsync=all",
    "core.fsyncMethod=batch",
    "core.bigFileThreshold=1m",
    "core.quotePath=false",
    "credential.helper=",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
];

/// The git program of this machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Git(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    readers: Arc<Semaphore>,
}

impl Default for Git {
    fn default() -> Self {
        Self(Arc::new(Inner { readers: Arc::new(Semaphore::new(READERS)) }))
    }
}

/// A call of git before it runs.
pub(super) struct Call {
    command: Command,
    what: &'static str,
    within: Duration,
    /// How many settings are handed over in the environment.
    settings: usize,
}

/// A call that runs. Its whole process group is killed when this is dropped.
pub(super) struct Running {
    pub(super) child: Child,
    what: &'static str,
    group: Option<Pid>,
}

impl Git {
    /// The version of the program, if it is new enough.
    ///
    /// # Errors
    /// [`GitError::Missing`]; [`GitError::TooOld`].
    pub async fn version(&self) -> Result<String, GitError> {
        let said = self.call("version", &[]).output(1024).await?;
        let said = String::from_utf8_lossy(&said);
        let version = said.trim().strip_prefix("git version ").unwrap_or(&said).trim().to_owned();
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
        let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found < OLDEST { Err(GitError::TooOld(version)) } else { Ok(version) }
    }

    /// A call, which works in no repository until [`Call::in_repository`] says so.
    pub(super) fn call(&self, what: &'static str, arguments: &[&OsStr]) -> Call {
        let mut command = Command::new("git");
        command.env_clear();
        // Where the program and its helpers are is up to the machine.
        command.envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
        command.envs([
            ("HOME", "/nonexistent"),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "/bin/false"),
            ("SSH_ASKPASS", "/bin/false"),
            ("GIT_ALLOW_PROTOCOL", ""),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_OPTIONAL_LOCKS", "0"),
        ]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        command.arg("--no-pager").arg(what).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true).current_dir("/");
        Call { command, what, within: READ_WITHIN, settings: 0 }
    }

    /// Waits until another program may read a repository.
    pub(super) async fn place(&self) -> Result<OwnedSemaphorePermit, GitError> {
        Arc::clone(&self.0.readers).acquire_owned().await.map_err(|_| GitError::Io(io::ErrorKind::BrokenPipe.into()))
    }
}

impl Call {
    /// In this bare repository, and in no other, whoever owns its directory.
    pub(super) fn in_repository(mut self, directory: &Path) -> Self {
        self.command.env("GIT_DIR", directory);
        // A variable also reaches what git starts by itself; in a file `safe.directory` would be ours to write.
        self.setting("safe.directory", directory.as_os_str())
    }

    /// With a setting that stands on no command line, and also holds for what git starts by itself.
    pub(super) fn setting(mut self, key: &str, value: &OsStr) -> Self {
        let number = self.settings;
        self.settings += 1;
        self.command.env("GIT_CONFIG_COUNT", self.settings.to_string());
        self.command.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
        self
    }

    pub(super) fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// How long it may take.
    pub(super) fn time(&self) -> Duration {
        self.within
    }

    pub(super) fn variable(mut self, name: &str, value: &OsStr) -> Self {
        self.command.env(name, value);
        self
    }

    /// With its input from us.
    pub(super) fn with_input(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Starts it.
    pub(super) fn start(mut self) -> Result<Running, GitError> {
        let child = self.command.spawn().map_err(GitError::Missing)?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Running { child, what: self.what, group })
    }

    /// Runs it to its end, and returns what it has printed.
    pub(super) async fn output(self, limit: usize) -> Result<Vec<u8>, GitError> {
        let (what, within) = (self.what, self.within);
        let mut running = self.start()?;
        let work = async {
            let (stdout, stderr) = (running.child.stdout.take(), running.child.stderr.take());
            let (said, complaint) = tokio::join!(limited(stdout, limit as u64 + 1), tail(stderr));
            let said = said?;
            if said.len() > limit {
                return Err(GitError::TooMuch { what, limit });
            }
            running.ended(complaint).await?;
            Ok(said)
        };
        tokio::time::timeout(within, work).await.unwrap_or(Err(GitError::TimedOut { what, within }))
    }
}

impl Running {
    /// Waits for its end, which has to be a success.
    pub(super) async fn ended(&mut self, complaint: String) -> Result<(), GitError> {
        let status = self.wait().await?;
        if status.success() {
            return Ok(());
        }
        let message = if complaint.is_empty() { status.to_string() } else { complaint };
        Err(GitError::of_end(self.what, message))
    }

    /// Waits for its end.
    pub(super) async fn wait(&mut self) -> Result<ExitStatus, GitError> {
        let status = self.child.wait().await?;
        self.group = None;
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group.take() {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// What a stream says, at most so much of it.
async fn limited(stream: Option<impl AsyncRead + Unpin>, limit: u64) -> io::Result<Vec<u8>> {
    let mut said = Vec::new();
    if let Some(stream) = stream {
        stream.take(limit).read_to_end(&mut said).await?;
    }
    Ok(said)
}

/// The beginning of what a program complains of. The rest is read, too, so that the program does not have to wait.
pub(super) async fn tail(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut said = Vec::new();
    // What cannot be read is not worth a failure of its own.
    let _ = (&mut stream).take(MAX_STDERR_BYTES).read_to_end(&mut said).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    let text = String::from_utf8_lossy(&said);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").chars().filter(|c| !c.is_control()).collect()
}
