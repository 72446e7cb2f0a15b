//! What a commit brings: the contents of a package that the branch does not have.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::datasvc::FileType;
use crate::git::{BlobId, Contents, Ignored};
use crate::storage::archive::{self, ArchiveError, ArchiveLimits, ShownKind};
use crate::work::archives::kind;

/// Reads what is new from a package's file.
pub(super) struct Bringing {
    pub(super) file: File,
    pub(super) file_type: FileType,
    pub(super) limits: ArchiveLimits,
    /// The paths whose contents the branch does not have.
    pub(super) wanted: BTreeMap<Vec<u8>, BlobId>,
    pub(super) ignored: Option<Ignored>,
}

impl Bringing {
    pub(super) fn bring(self, contents: &mut Contents, stop: &AtomicBool) -> Result<(), ArchiveError> {
        let Self { file, file_type, limits, wanted, ignored } = self;
        if let Some(Ignored { content }) = ignored {
            contents.bring(&BlobId::of(&content), content.len() as u64, &mut &*content)?;
        }
        if !contents.wants_more() {
            return Ok(());
        }
        let is_wanted = |path: &str| wanted.contains_key(path.as_bytes());
        let ended = archive::read(file, kind(file_type), &limits, stop, &is_wanted, &mut |shown, content| {
            let blob = wanted.get(shown.path.as_bytes()).filter(|blob| contents.wants(blob));
            match (blob, shown.kind) {
                (Some(blob), ShownKind::File { .. }) => contents.bring(blob, shown.size_bytes, content)?,
                (Some(blob), ShownKind::Symlink(target)) => {
                    contents.bring(blob, target.len() as u64, &mut target.as_bytes())?;
                }
                (_, ShownKind::Directory | ShownKind::HardLink(_)) | (None, _) => {}
            }
            if contents.wants_more() { Ok(()) } else { Err(ArchiveError::Stopped) }
        });
        match ended {
            // The rest has nothing new in it.
            Err(ArchiveError::Stopped) if !contents.wants_more() && !stop.load(Ordering::Relaxed) => Ok(()),
            ended => ended,
        }
    }
}
