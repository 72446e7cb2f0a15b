//! What was committed to a repository, and which files differ.

use std::time::Duration;

use time::OffsetDateTime;

use crate::datasvc::{
    AppName, Caller, ChangeStatus, Commit, Error, FileChange, GitRepoName, GitRepoPlace, Listed, Page, Result,
};
use crate::git::{ChangedFile, CommitId, FileStatus, GitError, LogEntry, Repository};
use crate::work::Work;

/// How long a comparison may take that somebody waits for.
const DIFF_WITHIN: Duration = Duration::from_secs(10);

/// Which commits a caller asks for.
#[derive(Clone, Debug, Default)]
pub struct CommitsAsked {
    /// The branch, or the commit to begin with. `None`: that of the last build.
    pub branch: Option<String>,
}

/// Which commits a caller compares.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// The older one: a branch or a commit. `None`: the one before the newer.
    pub from: Option<String>,
    /// The newer one. `None`: that of the last build.
    pub to: Option<String>,
}

impl Work {
    /// The commits of a branch, newest first. A page begins after a commit.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the repository, the branch or the commit; [`Error::Denied`] without read permission
    /// on the application; [`Error::Conflict`] if it is not ready or not on this server.
    pub async fn commits(
        &self,
        caller: &Caller,
        application: &AppName,
        repo: &GitRepoName,
        asked: CommitsAsked,
        page: &Page,
    ) -> Result<Listed<Commit>> {
        let (place, repository) = self.readable(caller, application, repo).await?;
        let beginning = match page.after() {
            Some(after) => Some((existing(&repository, "after", after).await?, true)),
            None => match asked.branch.or(place.last_commit) {
                Some(name) => Some((existing(&repository, "branch", &name).await?, false)),
                None => None,
            },
        };
        let Some((commit, beyond)) = beginning else { return Ok(Listed { items: Vec::new(), next: None }) };
        let found = repository.log(&commit, beyond, page.limit()).await.map_err(|error| fault(repo, error))?;
        let items: Vec<_> = found.items.into_iter().map(document).collect();
        let next = items.last().filter(|_| found.has_more).map(|commit| commit.commit.clone());
        Ok(Listed { items, next })
    }

    /// The files that differ between two commits, by path. A page begins after a path.
    ///
    /// # Errors
    /// Those of [`Work::commits`].
    pub async fn changed_files(
        &self,
        caller: &Caller,
        application: &AppName,
        repo: &GitRepoName,
        asked: Compared,
        page: &Page,
    ) -> Result<Listed<FileChange>> {
        let (place, repository) = self.readable(caller, application, repo).await?;
        let Some(to) = asked.to.or(place.last_commit) else { return Ok(Listed { items: Vec::new(), next: None }) };
        let to = existing(&repository, "to", &to).await?;
        let from = match asked.from {
            Some(from) => Some(existing(&repository, "from", &from).await?),
            None => None,
        };
        let found = repository.diff(from.as_ref(), &to, page.after(), page.limit(), DIFF_WITHIN).await;
        let found = found.map_err(|error| fault(repo, error))?;
        let items: Vec<_> = found.items.into_iter().map(file_change).collect();
        let next = items.last().filter(|_| found.has_more).map(|file| file.path.clone());
        Ok(Listed { items, next })
    }

    async fn readable(
        &self,
        caller: &Caller,
        application: &AppName,
        repo: &GitRepoName,
    ) -> Result<(GitRepoPlace, Repository)> {
        let place = self.0.svc.readable_git_repo(caller, application, repo).await?;
        if let Some(repository) = self.0.local(&place) {
            return Ok((place, repository));
        }
        if let Some(host) = place.host {
            let reason = format!("git repository `{repo}` is on the disk of host {host}; ask that one");
            return Err(Error::conflict(reason));
        }
        // Nobody fetches because somebody reads: what is here is what was committed, or pulled last.
        let repository = self.0.mirror(application, repo, place.clone()).repository;
        if !repository.exists().await {
            let reason = format!(
                "git repository `{repo}` is at its git provider, and this host has not fetched it yet; a commit or a pull \
                 does, or ask there"
            );
            return Err(Error::conflict(reason));
        }
        Ok((place, repository))
    }
}

async fn existing(repository: &Repository, field: &'static str, name: &str) -> Result<CommitId> {
    let known = |byte: u8| byte.is_ascii_graphic() && !b"~^:?*[\\".contains(&byte);
    if name.is_empty() || name.len() > 250 || name.starts_with('-') || !name.bytes().all(known) {
        return Err(Error::invalid(field, "it is the name of a branch, or a commit's id of 40 hexadecimal digits"));
    }
    let found = repository.resolve(name).await.map_err(Error::internal)?;
    found.ok_or_else(|| Error::invalid(field, format!("the repository has no branch or commit `{name}`")))
}

/// A commit as users see it. What its trailers say is taken from where Elita puts them.
pub(super) fn document(entry: LogEntry) -> Commit {
    let LogEntry { id, parents, author, at, message } = entry;
    let trailer = |name: &str| {
        let line = message.lines().rev().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(str::to_owned)
    };
    Commit {
        commit: id.to_string(),
        parents: parents.iter().map(CommitId::to_string).collect(),
        author,
        at: OffsetDateTime::from_unix_timestamp(at).unwrap_or(OffsetDateTime::UNIX_EPOCH),
        build_name: trailer("Elita-Build"),
        package: trailer("Elita-Package"),
        job_id: trailer("Elita-Job"),
        username: trailer("Elita-User"),
        message,
    }
}

pub(super) fn file_change(file: ChangedFile) -> FileChange {
    let ChangedFile { path, status, insertions, deletions } = file;
    let status = match status {
        FileStatus::Added => ChangeStatus::Added,
        FileStatus::Modified => ChangeStatus::Modified,
        FileStatus::Deleted => ChangeStatus::Deleted,
        FileStatus::TypeChanged => ChangeStatus::TypeChanged,
    };
    FileChange { path, status, binary: insertions.is_none(), insertions, deletions }
}

fn fault(repo: &GitRepoName, error: GitError) -> Error {
    match error {
        GitError::TimedOut { .. } => {
            Error::conflict(format!("git repository `{repo}` could not be read in time; ask for less, or later"))
        }
        GitError::Gone => Error::conflict(format!("git repository `{repo}` is not where it was on this server")),
        fault => Error::internal(fault),
    }
}
