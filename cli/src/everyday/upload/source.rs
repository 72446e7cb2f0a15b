//! What is uploaded: a file, which is hashed before, or standard input.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::failure::{Failure, Result};

/// What is read at a time.
const PIECE: usize = 256 * 1024;

/// A file, or standard input.
#[derive(Debug)]
pub(crate) enum Source {
    File {
        path: PathBuf,
        length: u64,
        sha256: [u8; 32],
        file_type: String,
    },
    /// It comes once: there is no second try, and no digest before it is sent.
    Input {
        file_type: String,
    },
}

impl Source {
    /// Reads the whole file once, for its digest.
    ///
    /// # Errors
    /// If it cannot be read, or it is not said what it is.
    pub(crate) fn open(file: &str, file_type: Option<&str>) -> Result<Self> {
        if file == "-" {
            let file_type = file_type.ok_or_else(|| {
                Failure::usage("what comes from standard input?").hint("--type zip, tar or tar.gz, say")
            })?;
            return Ok(Self::Input { file_type: file_type.to_owned() });
        }
        let path = Path::new(file);
        let file_type = match file_type {
            Some(file_type) => file_type.to_owned(),
            // That it is a folder is said below.
            None if path.is_dir() => String::new(),
            None => type_of(file)?.to_owned(),
        };
        let (length, sha256) = digest(path).map_err(|error| {
            let failure = Failure::file("read", path, &error);
            match error.kind() {
                std::io::ErrorKind::IsADirectory => {
                    failure.hint(format!("pack it: tar -cz -C {file} . | elita upload APP BUILD - --type tar.gz"))
                }
                _ => failure,
            }
        })?;
        Ok(Self::File { path: path.to_owned(), length, sha256, file_type })
    }

    pub(crate) fn file_type(&self) -> &str {
        match self {
            Self::File { file_type, .. } | Self::Input { file_type } => file_type,
        }
    }

    /// As documents show digests, if it is known before.
    pub(crate) fn hex_digest(&self) -> Option<String> {
        match self {
            Self::File { sha256, .. } => Some(sha256.iter().map(|byte| format!("{byte:02x}")).collect()),
            Self::Input { .. } => None,
        }
    }

    /// As `Content-Digest` has it, if it is known before.
    pub(crate) fn content_digest(&self) -> Option<String> {
        match self {
            Self::File { sha256, .. } => Some(format!("sha-256=:{}:", STANDARD.encode(sha256))),
            Self::Input { .. } => None,
        }
    }
}

/// What a file may be.
pub(crate) const TYPES: [&str; 9] = ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst", "jar", "war", "ear"];
/// How names of files end, and what those are.
const ENDINGS: [(&str, &str); 19] = [
    (".zip", "zip"),
    (".jar", "zip"),
    (".war", "zip"),
    (".ear", "zip"),
    (".tar", "tar"),
    (".gem", "tar"),
    (".tar.gz", "tar.gz"),
    (".tgz", "tar.gz"),
    (".taz", "tar.gz"),
    (".crate", "tar.gz"),
    (".tar.bz2", "tar.bz2"),
    (".tbz2", "tar.bz2"),
    (".tbz", "tar.bz2"),
    (".tb2", "tar.bz2"),
    (".tar.xz", "tar.xz"),
    (".txz", "tar.xz"),
    (".tar.zst", "tar.zst"),
    (".tar.zstd", "tar.zst"),
    (".tzst", "tar.zst"),
];

/// What a name says that a file is.
pub(crate) fn type_of(name: &str) -> Result<&'static str> {
    let name = name.to_ascii_lowercase();
    ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, file_type)| *file_type).ok_or_else(|| {
        Failure::usage(format!("the file type cannot be seen from the name {name}"))
            .hint("--type zip, tar or tar.gz, say")
    })
}

fn digest(path: &Path) -> std::io::Result<(u64, [u8; 32])> {
    let mut file = File::open(path)?;
    let (mut hash, mut length, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((length, hash.finalize().into())),
            read => {
                hash.update(&piece[..read]);
                length += read as u64;
            }
        }
    }
}
