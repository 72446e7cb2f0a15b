//! Why git did not do what it was asked to.

use std::io;
use std::time::Duration;

/// Why git did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no program, or it cannot be run.
    #[error("git cannot be run ({0}); install git 2.36 or newer on this machine")]
    Missing(#[source] io::Error),
    /// It lacks what commits need to be durable.
    #[error("git is {0} here, and 2.36 or newer is needed")]
    TooOld(String),
    /// It ended otherwise than with success.
    #[error("git {what} failed: {message}")]
    Failed {
        /// The subcommand.
        what: &'static str,
        /// What it has said, at most some kilobytes.
        message: String,
    },
    /// The disk is full, or what this user may have of it.
    #[error("git {what} has no room for its files: {message}")]
    Full {
        /// The subcommand.
        what: &'static str,
        /// What it has said.
        message: String,
    },
    /// It did not end in time, and was killed.
    #[error("git {what} was stopped, because it was not done within {within:?}")]
    TimedOut {
        /// The subcommand.
        what: &'static str,
        /// How long it had.
        within: Duration,
    },
    /// It had more to say than is taken.
    #[error("git {what} answered with more than {limit} bytes")]
    TooMuch {
        /// The subcommand.
        what: &'static str,
        /// How much is taken, in bytes.
        limit: usize,
    },
    /// It said something else than what is known of it.
    #[error("git {what} answered something unexpected: {answer}")]
    Unexpected {
        /// The subcommand.
        what: &'static str,
        /// The beginning of it.
        answer: String,
    },
    /// A tree cannot be committed. The sentence names what is in the way.
    #[error("{0}")]
    Refused(String),
    /// Somebody else has changed the branch meanwhile.
    #[error("the branch `{branch}` was changed by somebody else meanwhile")]
    Moved {
        /// The branch.
        branch: String,
    },
    /// A repository that others keep cannot be reached, or says no. The sentence says why.
    #[error("{0}")]
    Upstream(String),
    /// It does not take a commit.
    #[error("the repository refused the commit on `{branch}`: {why}")]
    PushRefused {
        /// The branch.
        branch: String,
        /// What it has said.
        why: String,
    },
    /// There is no such branch or commit.
    #[error("the repository has no branch or commit `{0}`")]
    NoCommit(String),
    /// The repository is not where it was.
    #[error("the repository's directory is missing")]
    Gone,
    /// A file or a pipe.
    #[error("a file of a repository cannot be used: {0}")]
    Io(#[from] io::Error),
}

impl GitError {
    /// That of a program which has ended with this complaint.
    pub(super) fn of_end(what: &'static str, message: String) -> Self {
        if is_full(&message) { Self::Full { what, message } } else { Self::Failed { what, message } }
    }

    pub(super) fn unexpected(what: &'static str, answer: &[u8]) -> Self {
        let beginning = &answer[..answer.len().min(200)];
        Self::Unexpected { what, answer: String::from_utf8_lossy(beginning).into_owned() }
    }
}

/// Whether git complains of a disk of this machine that is full. What another side says is its own business.
pub(super) fn is_full(complaint: &str) -> bool {
    const FULL: [&str; 3] = ["No space left on device", "Disk quota exceeded", "File too large"];
    let mut ours = complaint.split("; ").filter(|line| !line.starts_with("remote:"));
    ours.any(|line| FULL.iter().any(|full| line.contains(full)))
}
