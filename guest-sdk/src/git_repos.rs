//! Git repositories: what packages are committed to, and what servers pull from.
//!
//! ```no_run
//! use elita_plugin::git_repos::NewGitRepo;
//! use elita_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! let site = NewGitRepo::existing("git@github.com:shop/site.git").gitprovider("github");
//! git_repos::create("my_application", "site", &site, &json!({ "team": "red" }))?;
//! git_repos::update("my_application", "site", &json!({ "uri": "https://github.com/shop/site.git" }))?;
//! for name in git_repos::list("my_application")? {
//!     log::info!("{:?}", git_repos::get("my_application", &name?)?.last_build);
//! }
//! git_repos::delete("my_application", "site")?;
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::bindings::elita::plugin::types::Page;
use crate::host::git_repos as wit;
use crate::{Names, Result};

/// A git repository.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GitRepo {
    /// Its application.
    pub application: String,
    /// Unique within the application.
    pub name: String,
    /// Where git clones it from.
    pub uri: String,
    /// The git provider that it is at. None: it is at no git provider that Elita knows.
    pub gitprovider: Option<String>,
    /// The keypair that it is reached with, by its name. Plugins cannot give it one.
    pub keypair: Option<String>,
    /// The build that was last committed to it.
    pub last_build: Option<String>,
    /// The commit of that build.
    pub last_commit: Option<String>,
    /// What users keep with it, an object.
    pub attributes: Value,
    /// When it was made. Times are RFC 3339, UTC.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

/// What a new git repository needs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewGitRepo {
    /// The git provider that it is at.
    pub gitprovider: Option<String>,
    /// Whether it exists already. Otherwise a job makes it at its git provider, which has to be of the type `local` for
    /// now.
    pub existing: bool,
    /// Where git clones it from.
    pub uri: Option<String>,
}

impl NewGitRepo {
    /// One that exists, which git clones from there: an `https`, `http`, `ssh`, `git` or `file` URL, `user@host:path`,
    /// or an absolute path; without a password, and at most 2048 bytes long.
    pub fn existing(uri: impl Into<String>) -> Self {
        Self { gitprovider: None, existing: true, uri: Some(uri.into()) }
    }

    /// One that a job makes at this git provider.
    pub fn at(gitprovider: impl Into<String>) -> Self {
        Self { gitprovider: Some(gitprovider.into()), existing: false, uri: None }
    }

    /// The same at this git provider.
    #[must_use]
    pub fn gitprovider(self, name: impl Into<String>) -> Self {
        Self { gitprovider: Some(name.into()), ..self }
    }
}

/// A git repository.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound); [`Denied`](crate::Code::Denied) where the plugin may not read the application.
pub fn get(application: &str, git_repo: &str) -> Result<GitRepo> {
    from_wit(wit::get(application, git_repo)?)
}

/// The names of an application's git repositories, in order, read page by page.
///
/// # Errors
/// Those of [`get`].
pub fn list(application: &str) -> Result<Names> {
    let application = application.to_owned();
    Names::read(move |page| wit::list(&application, page))
}

/// Registers a git repository: one that exists already, or one that a job makes. `attributes` serializes to an object of at most 64 KiB.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for a URI that is not valid or a git provider that does not exist;
/// [`AlreadyExists`](crate::Code::AlreadyExists); and those of [`get`].
pub fn create(application: &str, git_repo: &str, new: &NewGitRepo, attributes: &impl Serialize) -> Result<GitRepo> {
    let NewGitRepo { gitprovider, existing, uri } = new.clone();
    let new = wit::NewGitRepo { gitprovider, existing, uri };
    from_wit(wit::create(application, git_repo, &new, &serde_json::to_string(attributes)?)?)
}

/// Changes a git repository by a JSON merge patch: `{"gitprovider": null}` takes it off its provider.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for anything but `uri`, `gitprovider` and `attributes`, and those of [`get`].
pub fn update(application: &str, git_repo: &str, change: &impl Serialize) -> Result<GitRepo> {
    from_wit(wit::update(application, git_repo, &serde_json::to_string(change)?)?)
}

/// Removes a git repository from Elita. It is not removed at its provider.
///
/// # Errors
/// [`Conflict`](crate::Code::Conflict) while gitdeploys use it, and those of [`get`].
pub fn delete(application: &str, git_repo: &str) -> Result<()> {
    Ok(wit::delete(application, git_repo)?)
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Commit {
    /// 40 hexadecimal digits.
    pub id: String,
    /// The commits that it comes after: none of the first one, several of a merge.
    pub parents: Vec<String>,
    /// The author.
    pub author: String,
    /// When it was made: RFC 3339, UTC.
    pub at: String,
    /// The commit message.
    pub message: String,
    /// The build whose package it is. None: Elita did not make the commit.
    pub build_name: Option<String>,
    /// That package.
    pub package: Option<String>,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileStatus {
    /// It is new.
    Added,
    /// Its content or its mode is another one.
    Modified,
    /// It is gone.
    Deleted,
    /// Changed between file and link.
    TypeChanged,
}

/// A file that differs between two commits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FileChange {
    /// Where it is in the repository.
    pub path: String,
    /// What became of it.
    pub status: FileStatus,
    /// How many lines came. None: it is binary, or longer than 1 MiB.
    pub insertions: Option<u64>,
    /// How many lines went. None: as above.
    pub deletions: Option<u64>,
}

/// The newest commits of a branch, at most `limit` of up to 1000. Without a branch, those up to the commit of the last
/// build.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) without such a branch or commit; [`Conflict`](crate::Code::Conflict) if the
/// repository is not ready, or not on the disk of this server; and those of [`get`].
pub fn log(application: &str, git_repo: &str, branch: Option<&str>, limit: u32) -> Result<Vec<Commit>> {
    let page = Page { after: None, limit: Some(limit) };
    let found = wit::log(application, git_repo, branch, &page)?;
    Ok(found.items.into_iter().map(commit).collect())
}

/// The files that differ between two commits, each the name of a branch or an id; all of them, read page by page.
/// Without `older`, the commit that the newer comes after; without `newer`, the commit of the last build.
///
/// # Errors
/// Those of [`log`].
pub fn diff(application: &str, git_repo: &str, older: Option<&str>, newer: Option<&str>) -> Result<Vec<FileChange>> {
    let (mut files, mut page) = (Vec::new(), Page { after: None, limit: Some(1000) });
    loop {
        let found = wit::diff(application, git_repo, older, newer, &page)?;
        files.extend(found.items.into_iter().map(file_change));
        match found.next {
            Some(next) => page.after = Some(next),
            None => return Ok(files),
        }
    }
}

fn commit(found: wit::Commit) -> Commit {
    let wit::Commit { id, parents, author, at, message, build_name, package } = found;
    Commit { id, parents, author, at, message, build_name, package }
}

fn file_change(found: wit::FileChange) -> FileChange {
    let wit::FileChange { path, status, insertions, deletions } = found;
    let status = match status {
        wit::FileStatus::Added => FileStatus::Added,
        wit::FileStatus::Modified => FileStatus::Modified,
        wit::FileStatus::Deleted => FileStatus::Deleted,
        wit::FileStatus::TypeChanged => FileStatus::TypeChanged,
    };
    FileChange { path, status, insertions, deletions }
}

fn from_wit(repo: wit::GitRepo) -> Result<GitRepo> {
    let wit::GitRepo {
        application,
        name,
        uri,
        gitprovider,
        keypair,
        last_build,
        last_commit,
        attributes,
        created_at,
        updated_at,
    } = repo;
    Ok(GitRepo {
        application,
        name,
        uri,
        gitprovider,
        keypair,
        last_build,
        last_commit,
        attributes: serde_json::from_str(&attributes)?,
        created_at,
        updated_at,
    })
}
