//! Why there is no embedded Postgres, in sentences that tell an operator what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use super::binaries::{Major, OLDEST};
use crate::data_dir;

/// Why the embedded Postgres cannot be found, initialised or started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "there is no Postgres server on this machine (`initdb` and `postgres`, {OLDEST} or newer): install it with \
         `apt-get install postgresql` (Debian, Ubuntu), `dnf install postgresql-server` (Fedora, RHEL) or \
         `brew install postgresql` (macOS), or give the URL of another database with --database-url"
    )]
    NoBinaries,
    #[error(
        "Postgres {OLDEST} or newer is needed, but this machine only has {found}: install a newer one, or give the \
         URL of another database with --database-url"
    )]
    TooOld { found: String },
    #[error(
        "the database in {} was made by Postgres {made_by}, which must also run it, but this machine only has \
         {found}: install Postgres {made_by} as well (on Debian: `apt-get install postgresql-{made_by}`), or \
         convert the database with `pg_upgrade`",
        cluster.display()
    )]
    OtherVersion { cluster: PathBuf, made_by: Major, found: String },
    #[error(
        "Postgres does not run as root, and there is neither a user `postgres` nor a user `nobody` to run it as: \
         make one (`useradd --system postgres`), or run Elita as an ordinary user"
    )]
    NoAccount,
    #[error(
        "the database in {} belongs to the user with id {owner}, so it cannot be run from here: run Elita as that \
         user, or give the directory to an ordinary user with `chown -R`",
        cluster.display()
    )]
    NotOurs { cluster: PathBuf, owner: u32 },
    #[error(
        "the user `{user}`, who runs Postgres, cannot reach {}: let others pass through the directories above it \
         (`chmod o+x`)",
        path.display()
    )]
    OutOfReach { path: PathBuf, user: String },
    #[error(
        "the path {} is too long for Postgres, which takes {longest_bytes} bytes: choose a shorter --data-dir",
        path.display()
    )]
    PathTooLong { path: PathBuf, longest_bytes: usize },
    #[error(
        "the database of this data directory is in {}, under the id of the host that the directory was copied from: \
         copy it to {}, or move it there if the other one is no longer used (as root, preserving owners and \
         permissions)",
        former.display(), own.display()
    )]
    OfFormerHost { former: PathBuf, own: PathBuf },
    #[error(
        "{} should be a directory of Elita's own for Postgres' socket, but {reason}: remove it if you know where it \
         comes from",
        path.display()
    )]
    UnsafeRuntimeDir { path: PathBuf, reason: &'static str },
    #[error(
        "no directory could be made for Postgres' socket in any of {tried}: set XDG_RUNTIME_DIR to one that is \
             short, writable and private"
    )]
    NoRuntimeDir { tried: String },
    #[error("{tool} failed while the database was first made in {}: {output}", cluster.display())]
    Initialise { tool: &'static str, cluster: PathBuf, output: String },
    #[error("Postgres did not start: {reason}; the end of its log, {}:\n{tail}", log.display())]
    Start { reason: String, log: PathBuf, tail: String },
    #[error(
        "processes of an earlier Postgres are still busy with the database in {}: wait for them to end, or end them",
        cluster.display()
    )]
    StillBusy { cluster: PathBuf },
    #[error("an earlier Postgres (process {pid}) still runs on {} and does not stop: end it", cluster.display())]
    WillNotStop { pid: i32, cluster: PathBuf },
    #[error(transparent)]
    InUse(#[from] data_dir::Error),
    #[error("cannot {doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

impl Error {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.into(), source }
    }
}
