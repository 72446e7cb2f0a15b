//! Postgres' programs on this machine: where they are and which version they have.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::Error;

/// A major version, such as 15.
pub(crate) type Major = u32;

/// The oldest major version that Elita works with.
pub(super) const OLDEST: Major = 14;

/// Where packages put Postgres, one directory a version: the folder, how the names in it begin, what follows them.
const USUAL_PLACES: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/usr/local", "pgsql", "bin"),
];

/// One installation of Postgres: a directory with `initdb` and `postgres`.
#[derive(Debug)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: Major,
}

impl Binaries {
    /// Finds the installation to run a cluster with: the one on PATH, or else the newest in the usual places.
    /// A cluster that exists takes none but its own version.
    ///
    /// # Errors
    /// [`Error::NoBinaries`], [`Error::TooOld`] or [`Error::OtherVersion`] if no usable Postgres is found.
    pub(super) fn find(cluster: &Path, made_by: Option<Major>) -> Result<Self, Error> {
        Self::choose(installed(), cluster, made_by)
    }

    pub(super) fn choose(installed: Vec<Self>, cluster: &Path, made_by: Option<Major>) -> Result<Self, Error> {
        let found = list(&installed);
        let fits = |candidate: &Self| made_by.map_or(candidate.major >= OLDEST, |made_by| candidate.major == made_by);
        installed.into_iter().find(fits).ok_or_else(|| match made_by {
            _ if found.is_empty() => Error::NoBinaries,
            Some(made_by) => Error::OtherVersion { cluster: cluster.into(), made_by, found },
            None => Error::TooOld { found },
        })
    }

    /// The installation in a directory, if there is one that runs.
    pub(super) fn in_dir(dir: PathBuf) -> Option<Self> {
        if !dir.join("initdb").is_file() {
            return None;
        }
        let answer = Command::new(dir.join("postgres")).arg("--version").stdin(Stdio::null()).output().ok()?;
        let major = parse_version(&String::from_utf8_lossy(&answer.stdout))?;
        Some(Self { dir, major })
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.dir.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.dir.join("postgres")
    }
}

/// All installations, the preferred one first.
fn installed() -> Vec<Binaries> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter(|dir| dir.is_absolute());
    let mut found: Vec<_> = on_path.filter_map(Binaries::in_dir).collect();
    let mut usual: Vec<_> = USUAL_PLACES.iter().flat_map(dirs_in).filter_map(Binaries::in_dir).collect();
    usual.sort_by_key(|candidate| std::cmp::Reverse(candidate.major));
    found.append(&mut usual);
    found
}

fn dirs_in((folder, prefix, rest): &(&str, &str, &str)) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()))
        .map(|entry| entry.path().join(rest))
        .collect()
}

fn list(installed: &[Binaries]) -> String {
    let mut found: Vec<_> = installed.iter().map(|one| format!("{} in {}", one.major, one.dir.display())).collect();
    found.dedup();
    found.join(", ")
}

/// Reads the major version from a line such as `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
pub(super) fn parse_version(line: &str) -> Option<Major> {
    let (_, version) = line.split_once("(PostgreSQL) ")?;
    let digits = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().ok()
}
