//! Who runs other programs: the user that Elita runs as, or, where that is root, somebody with fewer rights.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A user of this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// The user that Elita runs as.
    pub(crate) fn us() -> Self {
        Self::with_id(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    pub(crate) fn with_id(uid: u32, gid: u32) -> Self {
        look_up_key(&uid.to_string()).unwrap_or_else(|| Self { name: format!("#{uid}"), uid, gid })
    }

    /// The user of this name, or of this id.
    pub(crate) fn look_up(key: &str) -> Option<Self> {
        look_up_key(key)
    }

    /// Whether this is the user that Elita runs as.
    pub(crate) fn is_us(&self) -> bool {
        self.uid == rustix::process::geteuid().as_raw()
    }

    /// A command to be run by this user, without our environment: it may hold secrets, and settings
    /// of other programs.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
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
    pub(crate) fn give(&self, path: &Path) -> io::Result<()> {
        if self.is_us() {
            return Ok(());
        }
        lchown(path, Some(self.uid), Some(self.gid))
    }

    /// Whether this user can reach what is in a directory, as far as the directory and those above it go.
    pub(crate) fn reaches(&self, dir: &Path) -> io::Result<bool> {
        let tried = self.command("/bin/sh").args(["-c", r#"cd "$1""#, "sh"]).arg(dir).stderr(Stdio::null()).status()?;
        Ok(tried.success())
    }

    /// Lets this user pass through, but not list, a directory that only its owner could use. Permissions that
    /// somebody has set on purpose stay as they are. Says whether the user can reach it in the end.
    pub(crate) fn let_through(&self, dir: &Path) -> io::Result<bool> {
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
fn look_up_key(key: &str) -> Option<Account> {
    let lines = match Command::new("getent").args(["passwd", key]).stdin(Stdio::null()).output() {
        Ok(answer) => String::from_utf8_lossy(&answer.stdout).into_owned(),
        Err(_) => fs::read_to_string("/etc/passwd").ok()?,
    };
    lines.lines().filter_map(parse_passwd).find(|account| account.name == key || account.uid.to_string() == key)
}

/// Reads a line such as `postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash`.
pub(crate) fn parse_passwd(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Account { name: name.to_owned(), uid, gid })
}
