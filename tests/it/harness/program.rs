//! The real program, as a process of its own: for what only a process shows.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;

use super::PATIENCE;
use super::client::Client;
use super::own_postgres::faked;

/// The checkout.
pub(crate) fn project_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A running `elita serve`. Killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    /// Read all the time, so that a full pipe stops nobody.
    stderr: JoinHandle<String>,
}

impl Program {
    /// Starts `elita serve` with these flags and nothing of this process' environment but PATH and HOME.
    pub(crate) fn serve(flags: &[&str]) -> Self {
        Self::spawn(command(flags))
    }

    /// The same with these variables.
    pub(crate) fn serve_with(variables: &[(&str, &str)], flags: &[&str]) -> Self {
        let mut command = command(flags);
        command.envs(variables.iter().copied());
        Self::spawn(command)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// The same with a wall clock that is off by this, such as `+2d`.
    pub(crate) fn serve_off_by(offset: &str, flags: &[&str]) -> Self {
        let mut command = command(flags);
        command.env("FAKETIME", offset);
        let faked = faked(Path::new("")).into_iter().filter(|(name, _)| *name != "FAKETIME_TIMESTAMP_FILE");
        command.envs(faked);
        Self::spawn(command)
    }

    /// The same as another user, which only root can do.
    pub(crate) fn serve_as(uid: u32, flags: &[&str]) -> Self {
        let mut command = command(flags);
        command.uid(uid);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut pipe = child.stderr.take().unwrap();
        let stderr = tokio::spawn(async move {
            let mut text = String::new();
            pipe.read_to_string(&mut text).await.unwrap();
            text
        });
        Self { child, stdout, stderr }
    }

    /// What it says until it is ready, and a client with this token. Fails with its stderr if it ends before.
    pub(crate) async fn ready(&mut self, token: &str) -> (Vec<String>, Client) {
        let mut said = Vec::new();
        while let Some(line) = self.stdout.next_line().await.unwrap() {
            said.push(line.clone());
            if let Some((_, url)) = line.split_once(" is ready at ") {
                let (_, address) = url.split_once("://").unwrap();
                return (said, Client::new(address.parse().unwrap(), token));
            }
        }
        let (code, stderr) = self.ended().await;
        panic!("elita ended with {code:?} before it was ready:\n{stderr}");
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The most memory that it has had so far.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// Waits for its end: its exit code, if it had one, and what it wrote to stderr.
    pub(crate) async fn ended(&mut self) -> (Option<i32>, String) {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let code = ended.expect("the program ends within a minute").unwrap().code();
        (code, (&mut self.stderr).await.unwrap())
    }
}

/// The key of all servers that share a database with others.
pub(crate) fn secret_key_file() -> PathBuf {
    let directory = project_root().join("target/tests");
    std::fs::create_dir_all(&directory).unwrap();
    directory.join("secret.key")
}

fn command(flags: &[&str]) -> Command {
    let mut command = Command::new(elita());
    command.arg("serve").args(flags);
    if !flags.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.env_clear().envs(["PATH", "HOME"].iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    if flags.contains(&"--database-url") && !flags.contains(&"--secret-key-file") {
        command.env("ELITA_SECRET_KEY_FILE", secret_key_file());
    }
    command
}

/// The program beside this test's, in the same profile.
pub(crate) fn elita() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let elita = test.ancestors().nth(2).unwrap().join("elita");
    assert!(elita.exists(), "there is no {}; `cargo build -p elita` makes it", elita.display());
    elita
}
