//! What a tree consists of: paths with their modes and the ids of their contents, as git names contents.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use sha1::{Digest as _, Sha1};

use super::GitError;

/// The id of a content: SHA-1 of `blob <length>`, a NUL and the bytes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BlobId(pub [u8; 20]);

impl BlobId {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = BlobHasher::new(bytes.len() as u64);
        hasher.update(bytes);
        hasher.finish()
    }

    pub(super) fn parse(hex: &[u8]) -> Option<Self> {
        if hex.len() != 40 {
            return None;
        }
        let mut id = [0; 20];
        for (byte, pair) in id.iter_mut().zip(hex.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Names a content while it is read.
pub struct BlobHasher(Sha1);

impl BlobHasher {
    /// For a content of so many bytes.
    pub fn new(size_bytes: u64) -> Self {
        let mut hasher = Sha1::new();
        hasher.update(format!("blob {size_bytes}\0"));
        Self(hasher)
    }

    /// Takes what comes next.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The id of what has come.
    pub fn finish(self) -> BlobId {
        BlobId(self.0.finalize().into())
    }
}

impl io::Write for BlobHasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a path stands for in a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// A file.
    File,
    /// A file that can be executed.
    Executable,
    /// A symbolic link, whose content is its target.
    Link,
    /// Something that Elita does not commit, such as another repository.
    Other,
}

impl Mode {
    pub(super) fn parse(text: &[u8]) -> Self {
        match text {
            b"100644" => Self::File,
            b"100755" => Self::Executable,
            b"120000" => Self::Link,
            _ => Self::Other,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            // It is never written: what is committed has one of the others.
            Self::File | Self::Other => "100644",
            Self::Executable => "100755",
            Self::Link => "120000",
        }
    }
}

/// A file or link of a tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Entry {
    /// What it is.
    pub mode: Mode,
    /// Its content.
    pub blob: BlobId,
}

/// The files and links of a tree, by their paths, in git's order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tree(pub BTreeMap<Vec<u8>, Entry>);

impl Tree {
    /// From what `ls-tree -r -z` prints: `<mode> <type> <id>`, a tab, the path and a NUL.
    pub(super) fn parse_record(&mut self, record: &[u8]) -> Result<(), GitError> {
        let unexpected = || GitError::unexpected("ls-tree", record);
        let tab = record.iter().position(|byte| *byte == b'\t').ok_or_else(unexpected)?;
        let (about, path) = (&record[..tab], &record[tab + 1..]);
        let mut words = about.split(|byte| *byte == b' ');
        let mode = Mode::parse(words.next().ok_or_else(unexpected)?);
        let blob = words.nth(1).and_then(BlobId::parse).ok_or_else(unexpected)?;
        self.0.insert(path.to_vec(), Entry { mode, blob });
        Ok(())
    }
}
