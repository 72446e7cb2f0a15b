//! Git: bare repositories in the data directory, what is committed to them, and what is read of them.
//!
//! Knows git and files, and nothing else of the server. All of it is done by the `git` program, which runs in a process
//! group of its own, with a cleared environment and configuration. `command` runs it; `repository` makes, reads and
//! removes repositories; `commit` writes a tree as one commit, of which only what is new is read; `upstream` fetches from
//! repositories that others keep, and pushes to them.

mod change;
mod command;
mod commit;
mod error;
mod history;
mod names;
mod repository;
mod serve;
mod tree;
mod upstream;

pub use self::change::{Ignored, NewBlobs, TreeChange};
pub use self::command::Git;
pub use self::commit::{CommitText, Contents};
pub use self::error::GitError;
pub use self::history::{ChangedFile, FileStatus, LogEntry, Part};
pub use self::repository::{CommitId, Repository};
pub use self::serve::Served;
pub use self::tree::{BlobHasher, BlobId, Entry, Mode, Tree};
pub use self::upstream::Upstream;

#[cfg(test)]
mod tests;
