//! A key that a client can use, and cannot read: in an agent of its own, which ends with this, and with this process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::process::ChildStdin;

use super::SshKeys;
use super::connection::program;
use crate::remote::sh::OpenError;

/// How long an agent may take to begin.
const BEGIN_WITHIN: Duration = Duration::from_secs(5);
/// How long it keeps the key if nobody ends it, in seconds.
const KEPT_SECONDS: &str = "60";
/// What the agent runs: it reads until the host has closed the pipe, and ends the agent. Should it be killed itself,
/// the agent sees that within ten seconds.
const ENDS_IT: &str = "read -r end; kill \"$SSH_AGENT_PID\"";

/// An agent with one key.
pub(super) struct Agent {
    pub(super) socket: PathBuf,
    /// The public half, by which the client chooses the key.
    pub(super) public: PathBuf,
    /// Held open: the agent ends where this does, whatever becomes of us.
    _stdin: Option<ChildStdin>,
}

impl Agent {
    /// Starts one with this key; the private half reaches no file and no command line.
    pub(super) async fn start(directory: &Path, name: &str, keys: &SshKeys) -> Result<Self, OpenError> {
        let (socket, public) = (directory.join(format!("{name}.agent")), directory.join(format!("{name}.pub")));
        let failed = |what: &str, why: &dyn std::fmt::Display| OpenError::passing(format!("{what}: {why}"));
        let _ = std::fs::remove_file(&socket);
        std::fs::write(&public, format!("{}\n", keys.public))
            .map_err(|error| failed("a public key cannot be written", &error))?;
        let mut agent = program("ssh-agent");
        agent.arg("-a").arg(&socket).args(["/bin/sh", "-c", ENDS_IT]).kill_on_drop(false);
        agent.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = agent.spawn().map_err(|error| failed("ssh-agent cannot be started", &error))?;
        let stdin = process.stdin.take();
        let began = tokio::time::timeout(BEGIN_WITHIN, async {
            // The file of the socket is there before anybody listens.
            while UnixStream::connect(&socket).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        began.await.map_err(|_| failed("ssh-agent", &"it does not begin"))?;
        let mut add = program("ssh-add");
        add.args(["-q", "-t", KEPT_SECONDS, "-"]).env("SSH_AUTH_SOCK", &socket);
        add.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut adding = add.spawn().map_err(|error| failed("ssh-add cannot be started", &error))?;
        if let Some(mut stdin) = adding.stdin.take() {
            let _ = stdin.write_all(keys.private.as_bytes()).await;
            let _ = stdin.shutdown().await;
        }
        let added = adding.wait_with_output().await.map_err(|error| failed("ssh-add", &error))?;
        if !added.status.success() {
            let said = String::from_utf8_lossy(&added.stderr);
            return Err(OpenError::lasting(format!("the key of the keypair cannot be used: {}", said.trim())));
        }
        Ok(Self { socket, public, _stdin: stdin })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        let _ = std::fs::remove_file(&self.public);
    }
}
