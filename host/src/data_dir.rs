//! The data directory: one per host, used by one Elita process at a time.
//!
//! Here it is made, locked and given the id of its host. The modules that make its subdirectories are responsible for
//! what is in them.

mod announcement;
mod identity;
#[cfg(test)]
mod tests;

pub use self::announcement::Announcement;

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tracing::warn;
use uuid::Uuid;

use self::identity::DirectoryIdentity;

const LOCK_FILE: &str = "elita.lock";
const HOST_ID_FILE: &str = "host-id";
const HOST_PLACE_FILE: &str = "host-place";
const FORMER_HOST_ID_FILE: &str = "host-id.former";
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// A data directory that belongs to this process for as long as the value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    host_id: Uuid,
    former_host_id: Option<Uuid>,
    place: String,
    _lock: DirLock,
}

impl DataDir {
    /// Makes the directory if need be, with access for its owner only, and locks it. Blocks for some file accesses.
    ///
    /// # Errors
    /// [`Error::Exposed`] if others can get at it, and that cannot be changed; [`Error::InUse`] while another process
    /// holds it; [`Error::Copied`] if it is not where it was; [`Error::BadHostId`] if the file with the host's id holds
    /// something else; [`Error::Io`] if the directory cannot be made, read or written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_or_adopt(path, false)
    }

    /// The same; but a directory that is not where it was becomes that of a new host.
    ///
    /// # Errors
    /// Those of [`DataDir::open`] without [`Error::Copied`].
    pub fn adopt(path: &Path) -> Result<Self, Error> {
        Self::open_or_adopt(path, true)
    }

    fn open_or_adopt(path: &Path, adopt: bool) -> Result<Self, Error> {
        make_private(path).map_err(Error::io("make the data directory", path))?;
        let path = path.canonicalize().map_err(Error::io("find the data directory", path))?;
        keep_private(&path)?;
        let lock = DirLock::take(&path)?;
        let here = DirectoryIdentity::of(&path).map_err(Error::io("look at", &path))?;
        let host_id = settle(&path, &here, adopt)?;
        let former_host_id = read_uuid(&path.join(FORMER_HOST_ID_FILE))?;
        Ok(Self { path, host_id, former_host_id, place: here.while_up(), _lock: lock })
    }

    /// Its canonical path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names this host among all that share a database. Random, and kept in the directory.
    pub fn host_id(&self) -> Uuid {
        self.host_id
    }

    /// The host that the directory was copied from, if it was.
    pub(crate) fn former_host_id(&self) -> Option<Uuid> {
        self.former_host_id
    }

    /// Where it is, while this machine is up; empty if that cannot be told.
    pub fn place(&self) -> &str {
        &self.place
    }
}

/// The text of the file with the secret key. One that is not there is made, for its owner only; of several servers that
/// make it at the same time all read what the first has written.
///
/// # Errors
/// [`Error::Exposed`] if others can read or change it; [`Error::Io`] if it cannot be read or made.
pub fn secret_key(path: &Path, generate: impl FnOnce() -> String) -> Result<String, Error> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => {
            refuse_exposed(path)?;
            return read.map_err(Error::io("read the secret key", path));
        }
    }
    let fresh = path.with_extension(format!("new-{}", Uuid::new_v4()));
    let made = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(generate().as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&fresh, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    })();
    // Whether it was made or not, it is not needed under this name.
    let _ = fs::remove_file(&fresh);
    made.map_err(Error::io("make the secret key", path))?;
    fs::read_to_string(path).map_err(Error::io("read the secret key", path))
}

/// A directory's exclusive lock. The kernel gives it up with the process, however that ends.
#[derive(Debug)]
pub(crate) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Locks a directory through a file in it, which also tells the holder's process id to a second process.
    pub(crate) fn take(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("open the lock file", &path))?;
        match lock_patiently(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { dir: dir.into(), holder: holder(&mut file) }),
            Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(Error::io("write the lock file", &path))?;
        Ok(Self { _file: file })
    }
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "another Elita ({holder}) already uses {}: stop it first, or give this one a data directory of its own \
         with --data-dir",
        dir.display()
    )]
    InUse { dir: PathBuf, holder: String },
    #[error(
        "{} should hold the id of this host, a UUID, but does not: restore it from a backup, or delete it if \
         nothing in the database is bound to this host",
        path.display()
    )]
    BadHostId { path: PathBuf },
    #[error(
        "others have access to {} (mode {mode:o}): take it from them with `chmod go= {}`; if somebody may have read a secret \
         key, add a new version to it afterwards",
        path.display(),
        path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error(
        "{} was copied or moved here, and still has the id of the host that it comes from ({host}): use the original, \
         which may be running, or start once with --adopt to make this one a new host",
        dir.display()
    )]
    Copied { dir: PathBuf, host: Uuid },
    #[error("cannot {doing} {}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
}

impl Error {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.into(), source }
    }
}

/// Makes the directory for its owner alone; parents that are missing get the usual permissions.
fn make_private(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Removes the access of other users to a directory that existed before. The user that runs Postgres may pass through.
fn keep_private(path: &Path) -> Result<(), Error> {
    let mode = mode(path)?;
    if mode & 0o067 == 0 {
        return Ok(());
    }
    match fs::set_permissions(path, Permissions::from_mode(0o700)) {
        Ok(()) => {
            warn!(
                "others had access to the data directory {} (mode {mode:o}); it is for its owner only now",
                path.display()
            );
            Ok(())
        }
        Err(_) => Err(Error::Exposed { path: path.into(), mode }),
    }
}

/// A group may read a secret, if it was given to one on purpose.
fn refuse_exposed(path: &Path) -> Result<(), Error> {
    let mode = mode(path)?;
    if mode & 0o037 == 0 { Ok(()) } else { Err(Error::Exposed { path: path.into(), mode }) }
}

fn mode(path: &Path) -> Result<u32, Error> {
    let found = fs::metadata(path).map_err(Error::io("look at", path))?;
    Ok(found.permissions().mode() & 0o7777)
}

/// Locks a file, with a little patience for a holder that was just killed: its lock lasts until the kernel has
/// cleaned up after it.
fn lock_patiently(file: &File) -> Result<(), TryLockError> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => sleep(Duration::from_millis(20)),
            tried => return tried,
        }
    }
}

fn holder(lock_file: &mut File) -> String {
    let mut pid = String::new();
    match lock_file.read_to_string(&mut pid) {
        Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
        _ => "an unknown process".to_owned(),
    }
}

/// The host's id, which is made if it does not exist. Under the lock, so that nobody makes another at the same time.
fn settle(data_dir: &Path, here: &DirectoryIdentity, adopt: bool) -> Result<Uuid, Error> {
    let host = match read_uuid(&data_dir.join(HOST_ID_FILE))? {
        Some(host) => host,
        None => write_uuid(data_dir.join(HOST_ID_FILE), Uuid::new_v4())?,
    };
    let place = data_dir.join(HOST_PLACE_FILE);
    let recorded = match fs::read_to_string(&place) {
        Ok(text) => DirectoryIdentity::parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(Error::io("read", &place)(source)),
    };
    let host = match recorded {
        Some(recorded) if !recorded.differs_from(here) => return Ok(host),
        Some(_) if !adopt => return Err(Error::Copied { dir: data_dir.into(), host }),
        // It broke off here the last time.
        Some(_)
            if read_uuid(&data_dir.join(FORMER_HOST_ID_FILE))?.is_some_and(|former| here.host_id(former) == host) =>
        {
            host
        }
        Some(_) => {
            let new = here.host_id(host);
            write_uuid(data_dir.join(FORMER_HOST_ID_FILE), host)?;
            write_uuid(data_dir.join(HOST_ID_FILE), new)?
        }
        None => host,
    };
    write_whole(&place, &here.text()).map_err(Error::io("write", &place))?;
    Ok(host)
}

fn read_uuid(path: &Path) -> Result<Option<Uuid>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Uuid::try_parse(text.trim()).map(Some).map_err(|_| Error::BadHostId { path: path.into() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::io("read", path)(source)),
    }
}

fn write_uuid(path: PathBuf, id: Uuid) -> Result<Uuid, Error> {
    write_whole(&path, &format!("{id}\n")).map_err(Error::io("write", &path))?;
    Ok(id)
}

/// Writes a new file so that it is seen, even after a crash, with all of its text or not at all.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut file = File::create(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}
