//! Who runs Postgres. It refuses to run as root, so when we are root it runs as somebody with fewer rights.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::Error;

/// Users that may run Postgres in place of root, the better one first.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// The user whom Postgres' processes and files belong to: the one that Elita runs as, or another if that is root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// Who is to run a new cluster.
    ///
    /// # Errors
    /// [`Error::NoAccount`] if we are root and there is no other account.
    pub(super) fn choose() -> Result<Self, Error> {
        let us = rustix::process::geteuid();
        if !us.is_root() {
            return Ok(Self::us());
        }
        UNPRIVILEGED.iter().find_map(|name| look_up(name)).ok_or(Error::NoAccount)
    }

    /// Who has to run the cluster in an existing directory: its owner.
    ///
    /// # Errors
    /// [`Error::NotOurs`] if that is root, or if we are not root and it is somebody else.
    pub(super) fn of_owner(cluster: &Path, owner: &fs::Metadata) -> Result<Self, Error> {
        let us = rustix::process::geteuid();
        let may_run = if us.is_root() { owner.uid() != 0 } else { owner.uid() == us.as_raw() };
        match may_run {
            true => Ok(Self::with_id(owner.uid(), owner.gid())),
            false => Err(Error::NotOurs { cluster: cluster.into(), owner: owner.uid() }),
        }
    }

    /// The user that Elita runs as.
    pub(super) fn us() -> Self {
        Self::with_id(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    fn with_id(uid: u32, gid: u32) -> Self {
        look_up(&uid.to_string()).unwrap_or_else(|| Self { name: format!("#{uid}"), uid, gid })
    }

    /// Whether this is the user that Elita runs as.
    pub(super) fn is_us(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw()
    }

    /// A command to be run by this user, without our environment: it may hold secrets, and `PG…` settings of
    /// another server.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").stdin(Stdio::null()).current_dir("/");
        for kept in ["PATH", "LD_LIBRARY_PATH", "TZ"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        if !self.is_us() {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    /// Makes a file or directory of ours this user's.
    pub(super) fn give(&self, path: &Path) -> io::Result<()> {
        if self.is_us() {
            return Ok(());
        }
        lchown(path, Some(self.uid), Some(self.gid))
    }

    /// Whether this user can reach what is in a directory, as far as the directory and those above it go.
    pub(super) fn reaches(&self, dir: &Path) -> io::Result<bool> {
        let tried = self.command("/bin/sh").args(["-c", r#"cd "$1""#, "sh"]).arg(dir).stderr(Stdio::null()).status()?;
        Ok(tried.success())
    }

    /// Lets this user pass through, but not list, a directory that only its owner could use. Permissions that
    /// somebody has set on purpose stay as they are. Says whether the user can reach it in the end.
    pub(super) fn let_through(&self, dir: &Path) -> io::Result<bool> {
        if self.reaches(dir)? {
            return Ok(true);
        }
        let is_private = fs::metadata(dir)?.mode() & 0o077 == 0;
        let is_way_clear = dir.parent().map_or(Ok(true), |parent| self.reaches(parent))?;
        if self.is_us() || !is_private || !is_way_clear {
            return Ok(false);
        }
        chown(dir, None, Some(self.gid))?;
        fs::set_permissions(dir, Permissions::from_mode(0o710))?;
        self.reaches(dir)
    }
}

/// Looks a user up, by name or id, in whatever holds this machine's users; where that can't be asked, in
/// `/etc/passwd`.
fn look_up(key: &str) -> Option<Account> {
    let lines = match Command::new("getent").args(["passwd", key]).stdin(Stdio::null()).output() {
        Ok(answer) => String::from_utf8_lossy(&answer.stdout).into_owned(),
        Err(_) => fs::read_to_string("/etc/passwd").ok()?,
    };
    lines.lines().filter_map(parse_passwd).find(|account| account.name == key || account.uid.to_string() == key)
}

/// Reads a line such as `postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash`.
pub(super) fn parse_passwd(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Account { name: name.to_owned(), uid, gid })
}
