//! The place on disk where a data directory's database lives, and whose it is. What is in it: [`super::cluster`].

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tracing::info;
use uuid::Uuid;

use super::account::{self, Account};
use super::error::Error;
use crate::data_dir::DirLock;

/// Where the databases live whose data directory is out of reach of the user who runs Postgres.
const OUTSIDE: &str = "/var/lib/elita";

/// Postgres keeps paths in 1,024 bytes and needs some for the files in the cluster.
const LONGEST_PATH_BYTES: usize = 900;

/// A directory with the cluster, its log and nothing else. It is ours, the cluster in it the account's, so that
/// the account cannot lead us astray with links.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) dir: PathBuf,
    pub(super) account: Account,
    _lock: DirLock,
}

impl Home {
    /// Finds the home of a data directory's database, or makes one: `postgres` in the data directory, and only
    /// where Postgres cannot get there, a directory elsewhere, named after the host. A database that exists stays
    /// where it is.
    ///
    /// # Errors
    /// [`Error::NotOurs`] and [`Error::OutOfReach`] for an existing database, [`Error::NoAccount`] for a new one,
    /// [`Error::OfFormerHost`] if there is only that of the host which the data directory was copied from,
    /// [`Error::PathTooLong`] for either, [`Error::InUse`] if a copy of this data directory is in use and shares its home outside.
    pub(super) fn find(data_dir: &Path, host_id: Uuid, former_host_id: Option<Uuid>) -> Result<Self, Error> {
        let inside = data_dir.join("postgres");
        let outside = outside_of(host_id);
        let (dir, account) = match existing(data_dir, [&inside, &outside])? {
            Some(home) => home,
            None => match former_host_id.map(outside_of).filter(|former| cluster_in(former).exists()) {
                Some(former) => return Err(Error::OfFormerHost { former, own: outside }),
                None => new(data_dir, inside, outside)?,
            },
        };
        if cluster_in(&dir).as_os_str().len() > LONGEST_PATH_BYTES {
            return Err(Error::PathTooLong { path: cluster_in(&dir), longest_bytes: LONGEST_PATH_BYTES });
        }
        let lock = DirLock::take(&dir)?;
        Ok(Self { dir, account, _lock: lock })
    }

    pub(super) fn cluster(&self) -> PathBuf {
        cluster_in(&self.dir)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }
}

fn outside_of(host_id: Uuid) -> PathBuf {
    Path::new(OUTSIDE).join(format!("postgres-{host_id}"))
}

fn cluster_in(home: &Path) -> PathBuf {
    home.join("cluster")
}

fn existing(data_dir: &Path, candidates: [&PathBuf; 2]) -> Result<Option<(PathBuf, Account)>, Error> {
    for dir in candidates {
        let cluster = cluster_in(dir);
        let owner = match fs::metadata(&cluster) {
            Ok(owner) => owner,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::io("look at", &cluster)(source)),
        };
        let account = account::of_owner(&cluster, &owner)?;
        if dir.starts_with(data_dir) {
            account.let_through(data_dir).map_err(Error::io("open up", data_dir))?;
        }
        if !account.reaches(&cluster).map_err(Error::io("enter", &cluster))? {
            return Err(Error::OutOfReach { path: cluster, user: account.name.clone() });
        }
        return Ok(Some((dir.clone(), account)));
    }
    Ok(None)
}

fn new(data_dir: &Path, inside: PathBuf, outside: PathBuf) -> Result<(PathBuf, Account), Error> {
    let account = account::choose()?;
    let dir = if account.let_through(data_dir).map_err(Error::io("open up", data_dir))? {
        inside
    } else {
        info!(
            "the user `{}`, who runs Postgres, cannot reach {}: the database lives in {}",
            account.name,
            data_dir.display(),
            outside.display(),
        );
        make_passage(Path::new(OUTSIDE)).map_err(Error::io("make", Path::new(OUTSIDE)))?;
        outside
    };
    make_passage(&dir).map_err(Error::io("make", &dir))?;
    Ok((dir, account))
}

/// Makes a directory of ours that others can pass through but not list.
fn make_passage(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o711).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // Whatever the umask says.
        _ => fs::set_permissions(dir, Permissions::from_mode(0o711)),
    }
}
