//! Files for their owner only.

use std::fs::{DirBuilder, Metadata};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use crate::failure::{Failure, Result};

/// Writes a file that only its owner can read, all of it or nothing, in a folder of the same kind.
///
/// # Errors
/// If that does not work.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = (|| {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // Made with 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    })();
    written.map_err(|error: std::io::Error| Failure::file("write", path, &error))
}

/// Refuses a file with secrets that others than its owner can read or change. One that is not there is fine.
///
/// # Errors
/// If others can.
pub(crate) fn refuse_readable(path: &Path) -> Result<()> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    if metadata.uid() != own_id() {
        return Err(of_another(path).hint("elita login writes one of your own"));
    }
    match metadata.mode() & 0o077 {
        0 => Ok(()),
        _ => Err(open_to_others(path, "holds secrets, and others can read it", "600")),
    }
}

/// Refuses settings that others than this user and root can change: they name programs that are run. A file that is not
/// there is fine.
///
/// # Errors
/// If others can.
pub(super) fn refuse_writable(path: &Path) -> Result<()> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    if metadata.uid() != own_id() && metadata.uid() != 0 {
        return Err(of_another(path).hint("elita login writes one of your own, in the folder of ELITA_CONFIG_DIR"));
    }
    match metadata.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(open_to_others(path, "names programs that are run, and others can change it", "go-w")),
    }
}

fn of_another(path: &Path) -> Failure {
    Failure::usage(format!("{} belongs to another user, and is not used", path.display()))
}

/// `mode` is what to give to `chmod`.
fn open_to_others(path: &Path, what: &str, mode: &str) -> Failure {
    Failure::usage(format!("{} {what}", path.display())).hint(format!("chmod {mode} {}", path.display()))
}

/// Whether a folder belongs to this user, and no other user can write to it.
pub(crate) fn is_private_folder(folder: &Path) -> bool {
    let is_own = |metadata: Metadata| metadata.is_dir() && metadata.uid() == own_id() && metadata.mode() & 0o022 == 0;
    std::fs::metadata(folder).is_ok_and(is_own)
}

fn own_id() -> u32 {
    rustix::process::geteuid().as_raw()
}
