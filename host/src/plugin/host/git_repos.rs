//! The imported interface `git-repos`.

use super::{HostError, attributes, change, names, page};
use crate::datasvc::{
    AppName, ChangeStatus, Commit, Error, Expected, FileChange, GitProviderName, GitRepo, GitRepoName, GitUri,
    NewGitRepo,
};
use crate::plugin::bindings::elita::plugin::git_repos;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::convert::{json, timestamp};
use crate::plugin::sandbox::instance::GuestState;

impl git_repos::Host for GuestState {
    async fn get(&mut self, application: String, repo: String) -> Result<git_repos::GitRepo, HostError> {
        let call = self.call("git-repos.get", &[&application, &repo])?;
        let (application, repo) = (AppName::parse(application)?, GitRepoName::parse(repo)?);
        let repo = call.timed(call.svc.git_repo(&call.caller, &application, &repo)).await?;
        Ok(repo.try_into()?)
    }

    async fn list(&mut self, application: String, part: Page) -> Result<Names, HostError> {
        let call = self.call("git-repos.list", &[&application])?;
        let (application, part) = (AppName::parse(application)?, page(part)?);
        let listed = call.timed(call.svc.git_repos(&call.caller, &application, &part)).await?;
        Ok(names(listed, |repo| repo.name.to_string()))
    }

    async fn create(
        &mut self,
        application: String,
        repo: String,
        new: git_repos::NewGitRepo,
        kept: String,
    ) -> Result<git_repos::GitRepo, HostError> {
        let call = self.call("git-repos.create", &[&application, &repo])?;
        let application = AppName::parse(application)?;
        let git_repos::NewGitRepo { gitprovider, existing, uri } = new;
        let new = NewGitRepo {
            name: GitRepoName::parse(repo)?,
            gitprovider: gitprovider.map(GitProviderName::parse).transpose()?,
            // Keypairs are not for plugins.
            keypair: None,
            host_key: None,
            existing,
            uri: uri.map(GitUri::parse).transpose().map_err(|reason| Error::invalid("uri", reason))?,
            attributes: attributes(kept)?,
        };
        let created = call.effects.create_git_repo(&call.caller, application, new);
        Ok(call.timed(created).await?.try_into()?)
    }

    async fn update(
        &mut self,
        application: String,
        repo: String,
        patch: String,
    ) -> Result<git_repos::GitRepo, HostError> {
        let call = self.call("git-repos.update", &[&application, &repo])?;
        let (application, repo) = (AppName::parse(application)?, GitRepoName::parse(repo)?);
        let patch = change(patch)?;
        let updated = call.svc.update_git_repo(&call.caller, &application, &repo, &patch, &Expected::Any);
        Ok(call.timed(updated).await?.try_into()?)
    }

    async fn delete(&mut self, application: String, repo: String) -> Result<(), HostError> {
        let call = self.call("git-repos.delete", &[&application, &repo])?;
        let (application, repo) = (AppName::parse(application)?, GitRepoName::parse(repo)?);
        let deleted = call.svc.delete_git_repo(&call.caller, &application, &repo, false, &Expected::Any);
        call.timed(deleted).await.map(drop)
    }

    async fn log(
        &mut self,
        application: String,
        repo: String,
        branch: Option<String>,
        part: Page,
    ) -> Result<git_repos::Commits, HostError> {
        let call = self.call("git-repos.log", &[&application, &repo])?;
        let (application, repo, part) = (AppName::parse(application)?, GitRepoName::parse(repo)?, page(part)?);
        let listed = call.timed(call.effects.commits(&call.caller, application, repo, branch, part)).await?;
        let items = listed.items.into_iter().map(git_repos::Commit::try_from).collect::<Result<_, _>>()?;
        Ok(git_repos::Commits { items, next: listed.next })
    }

    async fn diff(
        &mut self,
        application: String,
        repo: String,
        older: Option<String>,
        newer: Option<String>,
        part: Page,
    ) -> Result<git_repos::FileChanges, HostError> {
        let call = self.call("git-repos.diff", &[&application, &repo])?;
        let (application, repo, part) = (AppName::parse(application)?, GitRepoName::parse(repo)?, page(part)?);
        let files = call.effects.changed_files(&call.caller, application, repo, [older, newer], part);
        let listed = call.timed(files).await?;
        Ok(git_repos::FileChanges { items: listed.items.into_iter().map(Into::into).collect(), next: listed.next })
    }
}

impl TryFrom<Commit> for git_repos::Commit {
    type Error = Error;

    fn try_from(commit: Commit) -> Result<Self, Error> {
        // Which job and which user it was is for people.
        let Commit { commit: id, parents, author, at, message, build_name, package, job_id: _, username: _ } = commit;
        Ok(Self { id, parents, author, at: timestamp(at)?, message, build_name, package })
    }
}

impl From<FileChange> for git_repos::FileChange {
    fn from(file: FileChange) -> Self {
        let FileChange { path, status, binary: _, insertions, deletions } = file;
        let status = match status {
            ChangeStatus::Added => git_repos::FileStatus::Added,
            ChangeStatus::Modified => git_repos::FileStatus::Modified,
            ChangeStatus::Deleted => git_repos::FileStatus::Deleted,
            ChangeStatus::TypeChanged => git_repos::FileStatus::TypeChanged,
        };
        Self { path, status, insertions, deletions }
    }
}

impl TryFrom<GitRepo> for git_repos::GitRepo {
    type Error = Error;

    fn try_from(repo: GitRepo) -> Result<Self, Error> {
        let GitRepo {
            name,
            application,
            uri,
            gitprovider,
            keypair,
            // Plugins do not connect by themselves.
            host_key: _,
            last_build,
            last_commit,
            state: _,
            job_id: _,
            host: _,
            is_made: _,
            attributes,
            created_at,
            updated_at,
            revision: _,
        } = repo;
        Ok(Self {
            application: application.to_string(),
            name: name.to_string(),
            uri: uri.to_string(),
            gitprovider: gitprovider.map(|provider| provider.to_string()),
            keypair: keypair.map(|keypair| keypair.to_string()),
            last_build: last_build.map(|build| build.to_string()),
            last_commit,
            attributes: json(&attributes)?,
            created_at: timestamp(created_at)?,
            updated_at: timestamp(updated_at)?,
        })
    }
}
