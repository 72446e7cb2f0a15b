//! The driver `local`: each server is a directory of this machine, in which commands run. It is for trying things out,
//! and for tests. Nothing confines a command to its directory.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tracing::info;

use super::Target;
use super::sh::{OpenError, SESSION, Session, Sessions};
use crate::account::Account;

/// Where the directories of servers are if the user whom commands run as cannot reach the data directory.
const OUTSIDE: &str = "/var/lib/elita";
/// The user whom commands run as if Elita runs as root.
const UNPRIVILEGED: &str = "nobody";
/// Where commands look for programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The servers of the driver `local` on this machine.
#[derive(Debug)]
pub struct LocalServers {
    directory: PathBuf,
    account: Account,
}

/// Why there can be no servers of the driver `local`.
#[derive(Debug, thiserror::Error)]
pub enum LocalServersError {
    /// There is nobody to run commands as.
    #[error(
        "commands on servers of the driver `local` do not run as root, and there is no user `{UNPRIVILEGED}` to run them as"
    )]
    NoAccount,
    /// The directory cannot be made.
    #[error("{0} cannot be made a directory for servers of the driver `local`")]
    Directory(PathBuf, #[source] io::Error),
}

impl LocalServers {
    /// Those below the data directory of this host, or, where the user whom commands run as cannot get there, in a
    /// place that the log names.
    ///
    /// # Errors
    /// [`LocalServersError`].
    pub fn below(data_dir: &Path, host_id: uuid::Uuid) -> Result<Self, LocalServersError> {
        let account = match rustix::process::geteuid().is_root() {
            true => Account::look_up(UNPRIVILEGED).ok_or(LocalServersError::NoAccount)?,
            false => Account::us(),
        };
        let reaches =
            account.let_through(data_dir).map_err(|error| LocalServersError::Directory(data_dir.into(), error))?;
        let directory = if reaches {
            data_dir.join("servers")
        } else {
            let outside = Path::new(OUTSIDE).join(format!("servers-{host_id}"));
            info!(
                "the user `{}`, who runs commands on servers of the driver `local`, cannot reach {}: they are in {}",
                account.name,
                data_dir.display(),
                outside.display(),
            );
            make(Path::new(OUTSIDE)).map_err(|error| LocalServersError::Directory(OUTSIDE.into(), error))?;
            outside
        };
        make(&directory).map_err(|error| LocalServersError::Directory(directory.clone(), error))?;
        Ok(Self { directory, account })
    }

    /// Where a path of a server is.
    pub(super) fn path(&self, server: &str, path: &str) -> String {
        let below = path.trim_start_matches('~').trim_start_matches('/');
        let root = self.directory.join(server);
        let mapped = if below.is_empty() { root } else { root.join(below) };
        mapped.to_string_lossy().into_owned()
    }

    /// The directory of a server, which is made when it is needed first.
    fn root(&self, server: &str) -> io::Result<PathBuf> {
        let root = self.directory.join(server);
        match DirBuilder::new().mode(0o700).create(&root) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => {
                made?;
                self.account.give(&root)?;
            }
        }
        Ok(root)
    }
}

impl Sessions for LocalServers {
    async fn open(&self, target: &Target, _is_command: bool) -> Result<Session, OpenError> {
        let root = self.root(&target.name);
        let root =
            root.map_err(|error| OpenError::lasting(format!("the directory of the server cannot be made: {error}")))?;
        let mut session = self.account.command("/bin/sh");
        session.env_clear().env("PATH", PATH).env("LANG", "C.UTF-8").env("HOME", &root).current_dir(&root);
        session.env("USER", &self.account.name).args(["-c", SESSION]);
        Ok(Session { command: session.into(), _place: None })
    }

    fn path_of(&self, target: &Target, path: &str) -> String {
        self.path(&target.name, path)
    }
}

/// Makes a directory of ours that others can pass through but not list.
fn make(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o711).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // Whatever the umask says.
        _ => fs::set_permissions(directory, fs::Permissions::from_mode(0o711)),
    }
}
