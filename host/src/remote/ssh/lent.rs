//! What another program, such as git, reaches a host by SSH with.

use std::net::IpAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use super::agent::Agent;
use super::{SshKeys, directory};
use crate::remote::quote::quoted;
use crate::remote::sh::OpenError;

/// The name under which the host's key stands, whatever the host is called.
const ALIAS: &str = "elita";

/// A command of the OpenSSH client, and what it needs for as long as this lives: the keys in an agent, and a file of
/// known hosts.
pub struct LentSsh {
    command: String,
    known_hosts: PathBuf,
    /// Whether the host was known before.
    is_known: bool,
    _agent: Option<Agent>,
    _directory: TempDir,
}

impl LentSsh {
    /// Lends SSH to a host at this address, which may show this key only; without one, any key at this first contact.
    /// Without keys whoever uses it logs in with none: those of the user that Elita runs as are not for others.
    ///
    /// # Errors
    /// Why it cannot.
    pub async fn new(address: IpAddr, host_key: Option<&str>, keys: Option<&SshKeys>) -> Result<Self, String> {
        Self::lent(address, host_key, keys).await.map_err(OpenError::into_reason)
    }

    async fn lent(address: IpAddr, host_key: Option<&str>, keys: Option<&SshKeys>) -> Result<Self, OpenError> {
        let unwritable = |error| OpenError::passing(format!("a file of known hosts cannot be written: {error}"));
        let directory = directory().map_err(unwritable)?;
        let known_hosts = directory.path().join("known");
        let line = host_key.map(|key| format!("{ALIAS} {key}\n")).unwrap_or_default();
        std::fs::write(&known_hosts, line).map_err(unwritable)?;
        let agent = match keys {
            Some(keys) => Some(Agent::start(directory.path(), "git", keys).await?),
            None => None,
        };
        let checking = if host_key.is_some() { "yes" } else { "accept-new" };
        let mut options = vec![
            "BatchMode=yes".to_owned(),
            "ConnectTimeout=10".into(),
            "ServerAliveInterval=10".into(),
            "ServerAliveCountMax=3".into(),
            "LogLevel=ERROR".into(),
            "ForwardAgent=no".into(),
            "ClearAllForwardings=yes".into(),
            "UpdateHostKeys=no".into(),
            "HashKnownHosts=no".into(),
            "IdentitiesOnly=yes".into(),
            format!("StrictHostKeyChecking={checking}"),
            format!("HostKeyAlias={ALIAS}"),
            format!("HostName={address}"),
            format!("UserKnownHostsFile={}", known_hosts.display()),
            "GlobalKnownHostsFile=/dev/null".into(),
        ];
        match &agent {
            Some(agent) => options.extend([
                format!("IdentityAgent={}", agent.socket.display()),
                format!("IdentityFile={}", agent.public.display()),
            ]),
            None => options.extend(["IdentityAgent=none".into(), "IdentityFile=none".into()]),
        }
        let words: Vec<_> = options.iter().map(|option| format!("-o {}", quoted(option))).collect();
        let command = format!("ssh -F none -T {}", words.join(" "));
        Ok(Self { command, known_hosts, is_known: host_key.is_some(), _agent: agent, _directory: directory })
    }

    /// The command, for a shell. Who logs in where, and what runs there, comes behind it.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The key that the host has shown, if this was the first contact.
    pub fn shown_key(&self) -> Option<String> {
        if self.is_known {
            return None;
        }
        let shown = std::fs::read_to_string(&self.known_hosts).ok()?;
        shown.lines().find_map(|line| line.split_once(' ')).map(|(_, key)| key.trim().to_owned())
    }
}
