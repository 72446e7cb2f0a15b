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
        let what = format!("{} belongs to another user, and is not used", path.display());
        return Err(Failure::usage(what).hint("elita login writes one of your own"));
    }
    if metadata.mode() & 0o077 != 0 {
        let what = format!("{} holds secrets, and others can read it", path.display());
        return Err(Failure::usage(what).hint(format!("chmod 600 {}", path.display())));
    }
    Ok(())
}

/// Refuses settings that others than this user and root can change: they name programs that are run. A file that is not
/// there is fine.
///
/// # Errors
/// If others can.
pub(super) fn refuse_writable(path: &Path) -> Result<()> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(()) };
    if metadata.uid() != own_id() && metadata.uid() != 0 {
        let what = format!("{} belongs to another user, and is not used", path.display());
        return Err(Failure::usage(what).hint("elita login writes one of your own, in the folder of ELITA_CONFIG_DIR"));
    }
    if metadata.mode() & 0o022 != 0 {
        let what = format!("{} names programs that are run, and others can change it", path.display());
        return Err(Failure::usage(what).hint(format!("chmod go-w {}", path.display())));
    }
    Ok(())
}

/// Whether a folder belongs to this user, and no other user can write to it.
pub(crate) fn is_private_folder(folder: &Path) -> bool {
    let is_own = |metadata: Metadata| metadata.is_dir() && metadata.uid() == own_id() && metadata.mode() & 0o022 == 0;
    std::fs::metadata(folder).is_ok_and(is_own)
}

fn own_id() -> u32 {
    rustix::process::geteuid().as_raw()
}
