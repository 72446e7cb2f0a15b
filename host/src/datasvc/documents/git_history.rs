//! What was committed to a git repository, as users see it.

use serde::Serialize;
use time::OffsetDateTime;

/// A commit of a git repository.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Commit {
    /// Its id, 40 hexadecimal digits.
    #[schema(example = "0c1d6b3a7b1e5c3d8a543f2f1f0e9d8c00112233")]
    pub commit: String,
    /// The commits that it comes after: none of the first one, several of a merge.
    pub parents: Vec<String>,
    /// The author.
    pub author: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The commit message.
    pub message: String,
    /// The build whose package it is; null for a commit that Elita did not make.
    pub build_name: Option<String>,
    /// That package.
    pub package: Option<String>,
    /// The job that made it.
    pub job_id: Option<String>,
    /// The user who asked for it.
    pub username: Option<String>,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeStatus {
    /// It is new.
    Added,
    /// Its content or its mode is another one.
    Modified,
    /// It is gone.
    Deleted,
    /// Changed between file and link.
    TypeChanged,
}

impl ChangeStatus {
    /// As in the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
            Self::TypeChanged => "type-changed",
        }
    }
}

/// A file that differs between two commits.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FileChange {
    /// Where it is in the repository.
    pub path: String,
    /// What became of it.
    pub status: ChangeStatus,
    /// Whether it is binary, or longer than 1 MiB; then its lines are not counted.
    pub binary: bool,
    /// How many lines came.
    pub insertions: Option<u64>,
    /// How many lines went.
    pub deletions: Option<u64>,
}
