//! Why an archive is not accepted.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use zip::result::ZipError;

use super::metered::Interrupt;
use crate::errors::causes;

/// How much of a name is shown.
const MAX_SHOWN_CHARS: usize = 200;

/// Why an archive is not taken. Messages are for whoever made it.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Something in it is not sound, or is not supported.
    #[error("the archive cannot be taken: {0}")]
    Refused(String),
    /// It is damaged or cut off.
    #[error("the archive is damaged or cut off: {0}")]
    Damaged(String),
    /// It passes a limit.
    #[error("the archive exceeds a limit: {0}")]
    TooMuch(String),
    /// The work was stopped.
    #[error("the work on the archive was stopped")]
    Stopped,
    /// The machine failed, not the archive.
    #[error("the archive cannot be read or a package cannot be written: {0}")]
    Io(#[source] io::Error),
}

impl ArchiveError {
    /// About one member of it.
    pub(super) fn in_member(path: &str, why: impl std::fmt::Display) -> Self {
        Self::Refused(format!("`{}` {why}", shown(path)))
    }

    /// Says which member it is about, unless it does already.
    pub(super) fn in_named(self, path: &str) -> Self {
        self.with(|why| format!("`{}`: {why}", shown(path)))
    }

    /// Says after which member it is, unless it names one: what is wrong there may have no name that could be told.
    pub(super) fn after(self, last: Option<&str>) -> Self {
        self.with(|why| match last {
            Some(last) => format!("{why}, after `{}`", shown(last)),
            None => format!("{why}, where its first member should be"),
        })
    }

    fn with(self, more: impl FnOnce(&str) -> String) -> Self {
        let more = |why: String| if names_a_member(&why) { why } else { more(&why) };
        match self {
            Self::Refused(why) => Self::Refused(more(why)),
            Self::Damaged(why) => Self::Damaged(more(why)),
            Self::TooMuch(why) => Self::TooMuch(more(why)),
            other @ (Self::Stopped | Self::Io(_)) => other,
        }
    }

    /// The archive's root is something else than a directory.
    pub(super) fn root(path: &str) -> Self {
        Self::in_member(path, "is the root of the archive, and no directory")
    }
}

/// What is told of members begins with their names.
fn names_a_member(why: &str) -> bool {
    why.starts_with('`')
}

/// A name without what could be mistaken for something else.
pub(super) fn shown(path: &str) -> String {
    let escaped: String = path.chars().flat_map(char::escape_debug).take(MAX_SHOWN_CHARS).collect();
    if escaped.len() < path.len() && escaped.chars().count() == MAX_SHOWN_CHARS { escaped + "…" } else { escaped }
}

impl From<io::Error> for ArchiveError {
    fn from(error: io::Error) -> Self {
        match interrupt(&error) {
            Some(Interrupt::Stopped) => return Self::Stopped,
            Some(Interrupt::TooLarge(limit)) => {
                return Self::TooMuch(format!("it unpacks to more than {limit} bytes"));
            }
            Some(Interrupt::PackagesTooLarge(limit)) => {
                let why = format!("the packages that its package map makes of it are more than {limit} bytes together");
                return Self::TooMuch(why);
            }
            None => {}
        }
        if os_error(&error) {
            return Self::Io(error);
        }
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::Damaged("it ends too early".into()),
            ErrorKind::OutOfMemory => {
                Self::TooMuch("it takes very much memory to decompress; use `xz -9` or less".into())
            }
            _ => Self::Damaged(error.to_string()),
        }
    }
}

impl From<ZipError> for ArchiveError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) => error.into(),
            ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => {
                Self::Refused("it is encrypted; send it without a password".into())
            }
            ZipError::CompressionMethodNotSupported(method) => Self::Refused(format!(
                "it is compressed by method {method}; of zip archives `stored`, `deflate` and `bzip2` are taken"
            )),
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Why we have ended the reading ourselves, if we have, however the libraries have wrapped it.
fn interrupt(error: &io::Error) -> Option<Interrupt> {
    let mut next = error.get_ref().map(|inner| inner as &(dyn StdError + 'static));
    while let Some(error) = next {
        if let Some(interrupt) = error.downcast_ref::<Interrupt>() {
            return Some(*interrupt);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// Whether the machine has failed.
fn os_error(error: &io::Error) -> bool {
    causes(error).filter_map(|error| error.downcast_ref::<io::Error>()).any(|error| error.raw_os_error().is_some())
}
