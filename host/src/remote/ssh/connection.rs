//! A connection to a server, which sessions share.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, ChildStdin, Command};

use super::agent::Agent;
use super::{Inner, SshHost, SshReach};
use crate::remote::quote::quoted;
use crate::remote::sh::OpenError;

/// How long a connection may take to be there, with the log-in.
const OPEN_WITHIN: Duration = Duration::from_secs(20);
/// How much of what the client says is kept, in bytes.
const SAID_BYTES: u64 = 16 * 1024;

/// What the client says where trying again may help: nothing has begun by then.
const PASSING: [&str; 6] = [
    "kex_exchange_identification",
    "Connection reset",
    "Connection closed",
    "Broken pipe",
    "banner exchange",
    "Connection to UNKNOWN",
];

/// A connection to a server; it ends with this.
pub(super) struct Connection {
    reach: SshReach,
    socket: PathBuf,
    process: Child,
    /// Held open: the connection ends where this process does.
    _stdin: Option<ChildStdin>,
}

/// How a host shows who it is, and how we do, while one connection is opened.
struct Credentials {
    known_hosts: PathBuf,
    /// Whether the host was known before.
    is_known: bool,
    agent: Option<Agent>,
}

impl Connection {
    /// Opens one, and keeps the host key if it is the first contact.
    pub(super) async fn open(ssh: &Inner, reach: &SshReach) -> Result<Self, OpenError> {
        let directory = ssh.directory.path();
        let own = Credentials::of(ssh, &reach.host).await?;
        let mut client = program("ssh");
        client.args(options(&reach.host, &own));
        let jump = match &reach.jump {
            Some(jump) => Some((jump, Credentials::of(ssh, jump).await?)),
            None => None,
        };
        if let Some((jump, credentials)) = &jump {
            client.arg("-o").arg(format!("ProxyCommand={}", through(jump, credentials)));
        }
        let socket = directory.join(name_of(&reach.host));
        let _ = std::fs::remove_file(&socket);
        client.args(["-M", "-S"]).arg(&socket).args(["-o", "ServerAliveInterval=2", "-o", "ServerAliveCountMax=2"]);
        // It reads until we have closed the pipe, so that the connection ends with us.
        client.arg("--").arg(&reach.host.host).arg("exec cat");
        client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = client.spawn();
        let mut process =
            started.map_err(|error| OpenError::lasting(format!("the program `ssh` cannot be started: {error}")))?;
        let stderr = process.stderr.take();
        let deadline = Instant::now() + OPEN_WITHIN;
        while !socket.exists() {
            let ended = process.try_wait().is_ok_and(|ended| ended.is_some());
            if ended || Instant::now() > deadline {
                let _ = process.start_kill();
                return Err(refusal(said(stderr).await, ended));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // What it says from here on is read and thrown away.
        if let Some(mut stderr) = stderr {
            tokio::spawn(async move { tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await });
        }
        own.keep(ssh, &reach.host).await?;
        if let Some((jump, credentials)) = &jump {
            credentials.keep(ssh, jump).await?;
        }
        let stdin = process.stdin.take();
        Ok(Self { reach: reach.clone(), socket, process, _stdin: stdin })
    }

    /// Whether it is there, and leads to where this says.
    pub(super) fn is_good_for(&mut self, reach: &SshReach) -> bool {
        self.reach == *reach && self.socket.exists() && self.process.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// A session in which this line runs.
    pub(super) fn session(&self, line: &str) -> Command {
        let mut client = program("ssh");
        // Without the shared connection there is none.
        client.args(["-F", "none", "-T", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "ControlMaster=no"]);
        client.args(["-o", "ProxyCommand=false", "-S"]).arg(&self.socket);
        client.args(["-l", &self.reach.host.user, "--", &self.reach.host.host, line]);
        client
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.known_hosts);
    }
}

impl Credentials {
    async fn of(ssh: &Inner, host: &SshHost) -> Result<Self, OpenError> {
        // Connections to one host can be opened at the same time, where others lead through it.
        let name = ssh.opened.fetch_add(1, Ordering::Relaxed).to_string();
        let known_hosts = ssh.directory.path().join(format!("{name}.known"));
        let key = ssh.keys.host_key(&host.server).await.map_err(OpenError::passing)?;
        let line = key.as_ref().map(|key| format!("{} {key}\n", host.server)).unwrap_or_default();
        let written = std::fs::write(&known_hosts, line);
        written.map_err(|error| OpenError::passing(format!("a file of known hosts cannot be written: {error}")))?;
        let agent = match &host.keypair {
            Some(keypair) => {
                let keys = ssh.keys.keypair(keypair).await.map_err(OpenError::passing)?;
                Some(Agent::start(ssh.directory.path(), &name, &keys).await?)
            }
            None => None,
        };
        Ok(Self { known_hosts, is_known: key.is_some(), agent })
    }

    /// Keeps the key that the host has shown, if it is the first contact. Where somebody else was faster with another
    /// one, the connection is not used.
    async fn keep(&self, ssh: &Inner, host: &SshHost) -> Result<(), OpenError> {
        if self.is_known {
            return Ok(());
        }
        let shown = std::fs::read_to_string(&self.known_hosts).unwrap_or_default();
        let key = shown.lines().find_map(|line| line.split_once(' ')).map(|(_, key)| key.trim().to_owned());
        let key = key.ok_or_else(|| OpenError::passing("the host has shown no key"))?;
        let kept = ssh.keys.pin(&host.server, key.clone()).await.map_err(OpenError::passing)?;
        match kept == key {
            true => Ok(()),
            false => Err(OpenError::passing("the host has shown two keys at its first contact")),
        }
    }
}

/// The options of the client for a host.
fn options(host: &SshHost, credentials: &Credentials) -> Vec<String> {
    let Credentials { known_hosts, is_known, agent } = credentials;
    let checking = if *is_known { "yes" } else { "accept-new" };
    let mut options: Vec<String> = ["-F", "none", "-T"].map(String::from).into();
    let mut set = |option: String| options.extend(["-o".to_owned(), option]);
    for option in ["BatchMode=yes", "ConnectTimeout=5", "LogLevel=ERROR", "ForwardAgent=no", "ClearAllForwardings=yes"]
    {
        set(option.into());
    }
    set(format!("StrictHostKeyChecking={checking}"));
    set(format!("HostKeyAlias={}", host.server));
    set(format!("UserKnownHostsFile={}", known_hosts.display()));
    set("GlobalKnownHostsFile=/dev/null".into());
    set("UpdateHostKeys=no".into());
    // Also at its first contact the file has the name as it is.
    set("HashKnownHosts=no".into());
    match agent {
        Some(agent) => {
            set("IdentitiesOnly=yes".into());
            set(format!("IdentityAgent={}", agent.socket.display()));
            options.extend(["-i".to_owned(), agent.public.display().to_string()]);
        }
        None => set("IdentityAgent=none".into()),
    }
    options.extend(["-p".to_owned(), host.port.to_string(), "-l".to_owned(), host.user.clone()]);
    options
}

/// A command that leads through a host to where the client wants to get.
fn through(jump: &SshHost, credentials: &Credentials) -> String {
    let words = options(jump, credentials).into_iter().map(|word| quoted(&word).replace('%', "%%"));
    let words: Vec<_> = words.collect();
    format!("ssh {} -W '[%h]:%p' -- {}", words.join(" "), quoted(&jump.host).replace('%', "%%"))
}

/// One of OpenSSH's programs, with nothing of our environment but where programs and the home are.
pub(super) fn program(name: &str) -> Command {
    let mut program = Command::new(name);
    program.env_clear().kill_on_drop(true);
    for kept in ["PATH", "HOME"] {
        if let Some(value) = std::env::var_os(kept) {
            program.env(kept, value);
        }
    }
    program
}

/// A short name for the socket of a host.
fn name_of(host: &SshHost) -> String {
    let digest = Sha256::digest(host.server.as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

async fn said(stderr: Option<ChildStderr>) -> String {
    let mut said = Vec::new();
    if let Some(stderr) = stderr {
        let reading = stderr.take(SAID_BYTES);
        tokio::pin!(reading);
        let _ = tokio::time::timeout(Duration::from_secs(1), reading.read_to_end(&mut said)).await;
    }
    String::from_utf8_lossy(&said).trim().to_owned()
}

/// Why there is no connection.
fn refusal(said: String, ended: bool) -> OpenError {
    if said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") || said.contains("Host key verification failed") {
        return OpenError::lasting(
            "the host shows another key than the one that is kept of it. If that is right, set the server's \
             `connection.host_key` to the new one; nothing was run",
        );
    }
    let last = said.lines().rev().take(3).collect::<Vec<_>>();
    let said = last.into_iter().rev().collect::<Vec<_>>().join("; ");
    match (said.is_empty(), ended) {
        (true, true) => OpenError::passing("the connection was closed before the log-in"),
        (true, false) => OpenError::passing("the host does not answer"),
        (false, _) if PASSING.iter().any(|passing| said.contains(passing)) => OpenError::passing(said),
        (false, _) => OpenError::lasting(said),
    }
}
