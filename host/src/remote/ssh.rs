//! The driver `ssh`: the OpenSSH client, as a child process.
//!
//! All sessions on a server share one connection, which `connection` opens and `Ssh` keeps for a while. A session does
//! not open one of its own: where the shared one is lost, so is the session, and what became of its command is looked
//! up by another.

mod agent;
mod connection;
mod lent;

use std::collections::HashMap;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use self::connection::Connection;
use super::quote::quoted;
use super::sh::{OpenError, SESSION, Session, Sessions};
use super::{Reach, Target};

pub use self::lent::LentSsh;

/// Commands that share a connection. A server lets through ten sessions, unless it says otherwise: one keeps the
/// connection, and one is left for what looks after commands.
const SESSIONS: usize = 8;
/// How long a connection stays that nothing uses.
const IDLE: Duration = Duration::from_secs(60);
/// How often it is looked whether connections are idle.
const LOOK: Duration = Duration::from_secs(10);
/// The longest path of a socket, in bytes: the client makes a longer one of it at first.
const MAX_SOCKET_BYTES: usize = 90;

/// A host that takes SSH.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SshHost {
    /// The name of its server, by which its host key is kept.
    pub server: String,
    /// Its host name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// The keypair to log in with. `None`: the keys of the user that Elita runs as.
    pub keypair: Option<String>,
}

/// How a server is reached by SSH.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct SshReach {
    /// The server itself.
    pub host: SshHost,
    /// The host that it is reached through.
    pub jump: Option<SshHost>,
    /// Whether commands run as root, by `sudo`.
    pub sudo: bool,
}

/// A keypair in OpenSSH's formats.
pub struct SshKeys {
    /// The private key.
    pub private: String,
    /// The public key, as a line of `authorized_keys`.
    pub public: String,
}

/// Where keys are kept.
pub trait Keyring: Send + Sync + 'static {
    /// A keypair by its name.
    fn keypair<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<SshKeys, String>>;

    /// The only key that the host of a server may show. `None`: it was not contacted yet.
    fn host_key<'a>(&'a self, server: &'a str) -> BoxFuture<'a, Result<Option<String>, String>>;

    /// Keeps the key that the host of a server has shown on first contact, unless one is kept already, and returns the one that is
    /// kept.
    fn pin<'a>(&'a self, server: &'a str, key: String) -> BoxFuture<'a, Result<String, String>>;
}

/// Servers that take SSH.
pub struct Ssh(Arc<Inner>);

struct Inner {
    keys: Arc<dyn Keyring>,
    /// Sockets and files of known hosts. Only this user can reach it.
    directory: TempDir,
    /// How many hosts were logged in to; it names the files that this takes.
    opened: AtomicU64,
    servers: Mutex<HashMap<String, Arc<Server>>>,
}

/// A server, and the connection to it.
struct Server {
    connection: tokio::sync::Mutex<Option<Connection>>,
    commands: Arc<Semaphore>,
    others: Arc<Semaphore>,
    used: Mutex<Instant>,
}

impl Ssh {
    /// Over these keys.
    ///
    /// # Errors
    /// If there is no place for sockets.
    pub fn new(keys: Arc<dyn Keyring>) -> io::Result<Self> {
        let directory = directory()?;
        let inner = Arc::new(Inner { keys, directory, opened: AtomicU64::default(), servers: Mutex::default() });
        let weak = Arc::downgrade(&inner);
        tokio::spawn(close_idle(weak));
        Ok(Self(inner))
    }

    fn server(&self, name: &str) -> Arc<Server> {
        let mut servers = self.0.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let server = servers.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Server {
                connection: tokio::sync::Mutex::new(None),
                commands: Arc::new(Semaphore::new(SESSIONS)),
                others: Arc::new(Semaphore::new(1)),
                used: Mutex::new(Instant::now()),
            })
        });
        server.use_now();
        server.clone()
    }
}

impl Server {
    fn use_now(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_idle(&self) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.elapsed() > IDLE && self.commands.available_permits() == SESSIONS && self.others.available_permits() == 1
    }
}

impl Sessions for Ssh {
    async fn open(&self, target: &Target, is_command: bool) -> Result<Session, OpenError> {
        let Reach::Ssh(reach) = &target.reach else {
            return Err(OpenError::lasting("the server is not one of the driver `ssh`"));
        };
        let server = self.server(&target.name);
        let places = if is_command { &server.commands } else { &server.others };
        let place = places.clone().acquire_owned().await.map_err(|_| OpenError::lasting("the server stops"))?;
        let mut kept = server.connection.lock().await;
        if kept.as_mut().is_none_or(|connection| !connection.is_good_for(reach)) {
            *kept = None;
            *kept = Some(Connection::open(&self.0, reach).await?);
        }
        let Some(connection) = kept.as_ref() else { return Err(OpenError::lasting("there is no connection")) };
        let line = match reach.sudo {
            true => format!("exec sudo -n -H -- /bin/sh -c {}", quoted(SESSION)),
            false => format!("exec /bin/sh -c {}", quoted(SESSION)),
        };
        server.use_now();
        Ok(Session { command: connection.session(&line), _place: Some(place) })
    }

    fn path_of(&self, _target: &Target, path: &str) -> String {
        path.to_owned()
    }
}

/// Closes connections that nothing uses, until there are no more.
async fn close_idle(ssh: Weak<Inner>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(ssh) = ssh.upgrade() else { return };
        let mut servers = ssh.servers.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody can take one meanwhile that is not among them any more.
        servers.retain(|_, server| !(server.is_idle() && Arc::strong_count(server) == 1));
    }
}

/// A directory whose path is short enough for sockets, and which nobody else can reach.
fn directory() -> io::Result<TempDir> {
    let ours = || Permissions::from_mode(0o700);
    let made = |place: &Path| tempfile::Builder::new().prefix("elita-ssh-").permissions(ours()).tempdir_in(place);
    let places: [PathBuf; 3] = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    let short = places.iter().filter(|place| place.as_os_str().len() + 40 < MAX_SOCKET_BYTES);
    let mut last = io::Error::other("no directory has a path that is short enough for sockets");
    for place in short {
        match made(place) {
            Ok(directory) => return Ok(directory),
            Err(error) => last = error,
        }
    }
    Err(last)
}
