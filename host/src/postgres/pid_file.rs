//! `postmaster.pid`, by which a Postgres server says who runs on a cluster and how far it has come.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, RawPid};

/// The content of the file. The file stays if the server is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PidFile {
    pub(super) pid: Pid,
    /// Whether the server accepts connections.
    pub(super) is_ready: bool,
}

impl PidFile {
    /// Reads a cluster's file. `None` while no server runs, or while the file is being written.
    pub(super) fn read(cluster: &Path) -> io::Result<Option<Self>> {
        match fs::read(cluster.join("postmaster.pid")) {
            Ok(text) => Ok(Self::parse(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The process id is on the first line (negative for a server without connections), the state on the eighth.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid: RawPid = lines.next()?.trim().parse().ok()?;
        let is_ready = lines.nth(6).is_some_and(|state| state.trim() == "ready");
        Some(Self { pid: Pid::from_raw(pid.checked_abs()?)?, is_ready })
    }

    /// Whether the process is there and is a Postgres on this cluster, not another process that got its id later.
    pub(super) fn is_true(self, cluster: &Path) -> bool {
        let Some(command_line) = command_line(self.pid) else { return false };
        let ours = [b"postgres -D ", cluster.as_os_str().as_encoded_bytes(), b" "].concat();
        // The guardian's command line contains that of the server.
        !command_line.starts_with(b"/bin/sh ") && command_line.windows(ours.len()).any(|part| part == ours)
    }
}

/// A process's command line with spaces between the arguments; nothing for one that has ended. Unlike other facts
/// about a process of another user, it can be read in a container without further rights.
fn command_line(pid: Pid) -> Option<Vec<u8>> {
    if Path::new("/proc/self/cmdline").exists() {
        let mut arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        arguments.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
        return Some(arguments);
    }
    let pid = pid.to_string();
    let answer = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid]).stdin(Stdio::null()).output().ok()?;
    Some(answer.stdout)
}
