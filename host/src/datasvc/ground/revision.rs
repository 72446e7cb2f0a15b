//! Versions of documents, so that a client cannot overwrite a version that it has not seen.

use std::fmt;

use super::error::{Error, Noun, Result};

/// The version of a document. No two ever have the same, whatever they are of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, sqlx::Type)]
#[sqlx(transparent)]
pub struct Revision(i64);

impl Revision {
    /// Takes a version as [`fmt::Display`] wrote it. `None`: it never did.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The versions that a change or a removal is meant for.
#[derive(Clone, Debug, Default)]
pub enum Expected {
    /// Whatever is there.
    #[default]
    Any,
    /// One of these.
    OneOf(Vec<Revision>),
}

impl Expected {
    /// # Errors
    /// [`Error::Changed`] if another version was found.
    pub(in crate::datasvc) fn check(&self, found: Revision, kind: Noun, name: &dyn fmt::Display) -> Result<()> {
        match self {
            Self::OneOf(versions) if !versions.contains(&found) => Err(Error::Changed { kind, name: name.to_string() }),
            Self::Any | Self::OneOf(_) => Ok(()),
        }
    }
}
