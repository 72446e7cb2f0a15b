//! A Postgres of one test's own: for what happens to a whole server, which other tests must not feel.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::postgres::Database;
use super::project_root;

/// A server of scripts/dev-postgres. It stops when it is dropped.
pub(crate) struct OwnPostgres {
    directory: TempDir,
    url: String,
}

impl OwnPostgres {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| Vec::new())
    }

    /// One whose clock is set by [`OwnPostgres::set_clock`].
    pub(crate) fn with_a_clock() -> Self {
        Self::start_with(|directory| {
            let clock = directory.join("clock");
            write_for_all(&clock, "+0");
            faked(&clock)
        })
    }

    fn start_with(variables: impl FnOnce(&Path) -> Vec<(&'static str, PathBuf)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Postgres runs as another user than root.
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).unwrap();
        let variables = variables(directory.path());
        let started = script(directory.path()).envs(variables).output().unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let url = String::from_utf8(started.stdout).unwrap().trim().to_owned();
        Self { directory, url }
    }

    /// A database with the administrator and a token.
    pub(crate) async fn database(&self) -> Database {
        Database::on(&self.url).await
    }

    /// One in which nothing has been yet.
    pub(crate) async fn empty_database(&self) -> Database {
        Database::empty_on(&self.url).await
    }

    /// Puts its clock ahead of the real one, or back: `+2d`, `-10s`.
    pub(crate) fn set_clock(&self, offset: &str) {
        // In one step, because it is read all the time.
        let new = self.directory.path().join("clock.new");
        write_for_all(&new, offset);
        std::fs::rename(new, self.directory.path().join("clock")).unwrap();
    }

    /// Stops all its processes where they stand.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Has them go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid_file = self.directory.path().join("server/cluster/postmaster.pid");
        let text = std::fs::read_to_string(pid_file).unwrap();
        let postmaster: i32 = text.lines().next().unwrap().parse().unwrap();
        // First the one that starts the others.
        let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid: i32 = entry.unwrap().file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent: i32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            (parent == postmaster).then_some(pid)
        });
        kill_process(Pid::from_raw(postmaster).unwrap(), signal).unwrap();
        for child in children {
            // It may just have ended.
            let _ = kill_process(Pid::from_raw(child).unwrap(), signal);
        }
    }
}

impl Drop for OwnPostgres {
    fn drop(&mut self) {
        self.thaw();
        // A panic here would hide that of the test.
        let _ = script(self.directory.path()).arg("stop").output();
    }
}

fn script(directory: &Path) -> Command {
    let mut command = Command::new(project_root().join("scripts/dev-postgres"));
    command.env("ELITA_DEV_POSTGRES", directory.join("server"));
    command
}

/// What makes a process read its wall clock in a file: how far it is off.
pub(crate) fn faked(clock: &Path) -> Vec<(&'static str, PathBuf)> {
    let libraries = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let library = libraries.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.exists());
    vec![
        ("LD_PRELOAD", library.expect("scripts/test-tools installs libfaketime")),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_owned()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DISABLE_SHM", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("DONT_FAKE_MONOTONIC", "1".into()),
    ]
}

fn write_for_all(file: &Path, text: &str) {
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
}
