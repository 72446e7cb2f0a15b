//! The directory of Postgres' socket. Only the user who runs Postgres can enter it (and root). It is not in the data directory because a socket's path must be short.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::account::Account;
use super::error::Error;

/// A socket's path has at most 107 bytes on Linux, and 103 on macOS and the BSDs.
const LONGEST_PATH_BYTES: usize = 103;

const SOCKET: &str = ".s.PGSQL.5432";

/// A private directory with a short path, the same one every time for the same data directory.
#[derive(Debug)]
pub(super) struct RuntimeDir {
    path: String,
}

impl RuntimeDir {
    /// Makes the directory where such directories belong, or takes the one that is there.
    ///
    /// # Errors
    /// [`Error::UnsafeRuntimeDir`] if something else has its name, [`Error::NoRuntimeDir`] if it can't be made
    /// anywhere.
    pub(super) fn make(data_dir: &Path, account: &Account) -> Result<Self, Error> {
        let name = name(data_dir);
        let parents = parents(account);
        for path in parents.iter().filter_map(|parent| place(parent, &name)) {
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => continue,
                _ => take(Path::new(&path), account)?,
            }
            return Ok(Self { path });
        }
        let tried: Vec<_> = parents.iter().map(|parent| parent.display().to_string()).collect();
        Err(Error::NoRuntimeDir { tried: tried.join(", ") })
    }

    /// The server's setting that makes it listen here.
    pub(super) fn setting(&self) -> String {
        format!(r#"unix_socket_directories="{}""#, self.path.replace('"', r#""""#))
    }

    /// The URL of a database on the server that listens here.
    pub(super) fn url(&self, user: &str, database: &str) -> String {
        let mut host = String::new();
        for byte in self.path.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => host.push(byte.into()),
                _ => write!(host, "%{byte:02X}").expect("a string takes everything"),
            }
        }
        // TLS is of no use on a socket, whatever PGSSLMODE says.
        format!("postgres://{user}@localhost:5432/{database}?host={host}&sslmode=disable")
    }

    /// Removes what a server that was killed has left here. The process id in its lock file may be another
    /// process's by now, and Postgres would wait for that one.
    pub(super) fn clear(&self) -> io::Result<()> {
        for name in [SOCKET.to_owned(), format!("{SOCKET}.lock")] {
            match fs::remove_file(Path::new(&self.path).join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the directory, once the server has cleaned up after itself.
    pub(super) fn remove(&self) {
        // If it stays, it is taken again next time.
        let _ = fs::remove_dir(&self.path);
    }

    pub(super) fn path(&self) -> &Path {
        Path::new(&self.path)
    }
}

/// Where such a directory may be, the best place first.
fn parents(account: &Account) -> Vec<PathBuf> {
    // Another user could not reach ours.
    let own = std::env::var_os("XDG_RUNTIME_DIR").filter(|_| account.is_us());
    own.map(PathBuf::from).into_iter().chain(["/run".into(), "/tmp".into()]).collect()
}

fn name(data_dir: &Path) -> String {
    let digest = Sha256::digest(data_dir.as_os_str().as_bytes());
    digest[..8].iter().fold("elita-pg-".to_owned(), |name, byte| name + &format!("{byte:02x}"))
}

/// The directory's path, unless that would be too long or fit no URL.
pub(super) fn place(parent: &Path, name: &str) -> Option<String> {
    let path = parent.join(name).into_os_string().into_string().ok()?;
    let fits = path.len() + "/".len() + SOCKET.len() <= LONGEST_PATH_BYTES;
    (fits && parent.is_absolute()).then_some(path)
}

/// Makes sure that the directory is one that only we can have made, and the account's.
pub(super) fn take(path: &Path, account: &Account) -> Result<(), Error> {
    let unsafe_because = |reason| Err(Error::UnsafeRuntimeDir { path: path.into(), reason });
    let found = fs::symlink_metadata(path).map_err(Error::io("look at", path))?;
    let us = rustix::process::geteuid().as_raw();
    if !found.is_dir() {
        return unsafe_because("it is not a directory");
    }
    if found.uid() != account.uid && found.uid() != us {
        return unsafe_because("it belongs to somebody else");
    }
    if found.mode() & 0o077 != 0 {
        return unsafe_because("others have access to it");
    }
    account.give(path).map_err(Error::io("hand over", path))
}
