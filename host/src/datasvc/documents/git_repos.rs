//! Git repositories: what packages are committed to, and what servers pull from.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::git_uri::GitUri;
use super::referrers::{NAMED, Referrer, named};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, GitProviderName, GitRepoName, KeypairName};
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::patch::Patch;
use crate::datasvc::ground::revision::{Expected, Revision};
use crate::datasvc::ground::sql::OnConstraint as _;

/// A git repository.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct GitRepo {
    /// Unique within the application.
    pub name: GitRepoName,
    /// The application it is of.
    pub application: AppName,
    /// Where git clones it from.
    pub uri: GitUri,
    /// The git provider that it is at; null where its URI says all.
    pub gitprovider: Option<GitProviderName>,
    /// The keypair that it is reached with.
    pub keypair: Option<KeypairName>,
    /// The build that was last committed to it.
    pub last_build: Option<BuildName>,
    /// The commit of that build.
    pub last_commit: Option<String>,
    /// What users keep with it.
    pub attributes: Attributes,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// This version of it.
    #[serde(skip)]
    pub revision: Revision,
}

/// What a new git repository needs.
#[derive(Clone, Debug)]
pub struct NewGitRepo {
    /// Its name, unique within the application.
    pub name: GitRepoName,
    /// The git provider that it is at.
    pub gitprovider: Option<GitProviderName>,
    /// The keypair that it is reached with.
    pub keypair: Option<KeypairName>,
    /// Whether it is at its provider already. Nothing is made there yet.
    pub existing: bool,
    /// Where git clones it from.
    pub uri: Option<GitUri>,
    /// What to keep with it.
    pub attributes: Attributes,
}

/// What can be changed of a git repository.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GitRepoChange)]
pub struct Change {
    uri: GitUri,
    gitprovider: Option<GitProviderName>,
    #[serde(default)]
    keypair: Option<KeypairName>,
    #[serde(default)]
    attributes: Attributes,
}

impl DataSvc {
    /// Registers a git repository that exists already.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it does not exist yet, if it has no URI, or for a git provider that does not exist;
    /// [`Error::AlreadyExists`]; [`Error::NotFound`] without the application; [`Error::Denied`] without write
    /// permission on it.
    pub async fn create_git_repo(&self, caller: &Caller, application: &AppName, new: &NewGitRepo) -> Result<GitRepo> {
        caller.require(Permission::Write, application)?;
        let NewGitRepo { name, gitprovider, keypair, existing, uri, attributes } = new;
        may_use_keypair(caller, keypair.as_ref())?;
        if !existing {
            let todo = "repositories are not made at their provider yet; create it there, and give its `uri` with \
                        `existing` as true";
            return Err(Error::invalid("existing", todo));
        }
        let uri = uri.as_ref().ok_or_else(|| Error::invalid("uri", "a repository that exists needs its URI"))?;
        let mut transaction = self.change(caller, "git-repos.create").await?;
        self.check_place(&mut transaction, caller, uri, gitprovider.as_ref()).await?;
        let created = sqlx::query_as!(
            GitRepo,
            r#"insert into git_repos (application, name, git_provider, uri, attributes, keypair)
               values ($1, $2, $3, $4, $5, $6)
               returning name as "name: GitRepoName", application as "application: AppName", uri as "uri: GitUri",
                   git_provider as "gitprovider: GitProviderName", keypair as "keypair: KeypairName",
                   last_build as "last_build: BuildName", last_commit,
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision""#,
            application.as_str(),
            name.as_str(),
            gitprovider.as_ref().map(GitProviderName::as_str),
            uri.as_str(),
            attributes as _,
            keypair.as_ref().map(KeypairName::as_str)
        )
        .fetch_one(&mut *transaction)
        .await;
        let repo = created.on_constraints(&[
            ("git_repos_pkey", &|| Error::already_exists(Kind::GitRepo, name)),
            ("git_repos_application_fkey", &|| Error::not_found(Kind::Application, application)),
            ("git_repos_git_provider_fkey", &|| no_provider(gitprovider.as_ref())),
            ("git_repos_keypair_fkey", &|| no_keypair(keypair.as_ref())),
        ])?;
        transaction.created(Some(application), name, &repo).await?;
        Ok(repo)
    }

    /// One git repository.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without read permission on the application.
    pub async fn git_repo(&self, caller: &Caller, application: &AppName, name: &GitRepoName) -> Result<GitRepo> {
        caller.require(Permission::Read, application)?;
        sqlx::query_as!(
            GitRepo,
            r#"select name as "name: GitRepoName", application as "application: AppName", uri as "uri: GitUri",
                   git_provider as "gitprovider: GitProviderName", keypair as "keypair: KeypairName",
                   last_build as "last_build: BuildName", last_commit,
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision"
               from git_repos where application = $1 and name = $2"#,
            application.as_str(),
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Kind::GitRepo, name))
    }

    /// The git repositories of an application, by name.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the application; [`Error::Denied`] without read permission on it.
    pub async fn git_repos(&self, caller: &Caller, application: &AppName, page: &Page) -> Result<Listed<GitRepo>> {
        caller.require(Permission::Read, application)?;
        let rows = sqlx::query_as!(
            GitRepo,
            r#"select name as "name: GitRepoName", application as "application: AppName", uri as "uri: GitUri",
                   git_provider as "gitprovider: GitProviderName", keypair as "keypair: KeypairName",
                   last_build as "last_build: BuildName", last_commit,
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision"
               from git_repos
               where application = $1 and ($2::text is null or name > $2) and ($4::text is null or name like $4)
               order by name limit $3"#,
            application.as_str(),
            page.after(),
            page.fetch(),
            page.like()
        )
        .fetch(&self.pool);
        let listed = page.gather(rows, |repo| repo.name.to_string()).await?;
        self.exists_if_empty(application, &listed).await?;
        Ok(listed)
    }

    /// Changes the URI, the git provider and the attributes of a git repository.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on the application, or for another URI without the
    /// right to use its keypair; [`Error::Changed`] if it
    /// is another version than expected; [`Error::Invalid`] and [`Error::Conflict`] for what the patch cannot do,
    /// such as naming a git provider that does not exist.
    pub async fn update_git_repo(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GitRepoName,
        patch: &Patch,
        expected: &Expected,
    ) -> Result<GitRepo> {
        caller.require(Permission::Write, application)?;
        let mut transaction = self.change(caller, "git-repos.update").await?;
        let repo = locked(&mut transaction, application, name).await?;
        expected.check(repo.revision, Kind::GitRepo, name)?;
        let changeable = Change {
            uri: repo.uri.clone(),
            gitprovider: repo.gitprovider.clone(),
            keypair: repo.keypair.clone(),
            attributes: repo.attributes.clone(),
        };
        let Change { uri, gitprovider, keypair, attributes } = patch.apply(&repo, &changeable).await?;
        // The keypair goes to wherever the URI says.
        if keypair != repo.keypair || uri != repo.uri {
            may_use_keypair(caller, keypair.as_ref())?;
        }
        if uri != repo.uri || gitprovider != repo.gitprovider {
            self.check_place(&mut transaction, caller, &uri, gitprovider.as_ref()).await?;
        }
        let updated = sqlx::query_as!(
            GitRepo,
            r#"update git_repos
               set git_provider = $3, uri = $4, attributes = $5, keypair = $6, revision = nextval('revisions'), updated_at = now()
               where application = $1 and name = $2
               returning name as "name: GitRepoName", application as "application: AppName", uri as "uri: GitUri",
                   git_provider as "gitprovider: GitProviderName", keypair as "keypair: KeypairName",
                   last_build as "last_build: BuildName", last_commit,
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision""#,
            application.as_str(),
            name.as_str(),
            gitprovider.as_ref().map(GitProviderName::as_str),
            uri.as_str(),
            attributes as _,
            keypair.as_ref().map(KeypairName::as_str)
        )
        .fetch_one(&mut *transaction)
        .await
        .on_constraints(&[
            ("git_repos_git_provider_fkey", &|| no_provider(gitprovider.as_ref())),
            ("git_repos_keypair_fkey", &|| no_keypair(keypair.as_ref())),
        ])?;
        transaction.updated(Some(application), name, &repo, &updated).await?;
        Ok(updated)
    }

    /// Removes a git repository that no gitdeploy uses. It is not removed at its provider.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is to be removed at its provider, too; [`Error::NotFound`]; [`Error::Conflict`] naming
    /// gitdeploys that use it; [`Error::Denied`] without write permission on the application; [`Error::Changed`] if it
    /// is another version than expected.
    pub async fn delete_git_repo(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GitRepoName,
        at_provider: bool,
        expected: &Expected,
    ) -> Result<()> {
        caller.require(Permission::Write, application)?;
        if at_provider {
            let todo = "repositories are not removed at their provider yet; remove it there, and here without `delete`";
            return Err(Error::invalid("delete", todo));
        }
        let mut transaction = self.change(caller, "git-repos.delete").await?;
        // The lock keeps gitdeploys from being given this repository, so that what is found below holds.
        sqlx::query!(
            "select from git_repos where application = $1 and name = $2 for update",
            application.as_str(),
            name.as_str()
        )
        .execute(&mut *transaction)
        .await?;
        let repo = locked(&mut transaction, application, name).await?;
        expected.check(repo.revision, Kind::GitRepo, name)?;
        let gitdeploys = sqlx::query_as!(
            Referrer,
            r#"select name, count(*) over () as "count!"
               from gitdeploys where application = $1 and git_repo = $2 order by name limit $3"#,
            application.as_str(),
            name.as_str(),
            NAMED
        )
        .fetch_all(&mut *transaction)
        .await?;
        if let Some(users) = named("gitdeploy", &gitdeploys) {
            return Err(in_use(name, &users));
        }
        sqlx::query!("delete from git_repos where application = $1 and name = $2", application.as_str(), name.as_str())
            .execute(&mut *transaction)
            .await
            .on_constraint("gitdeploys_git_repo_fkey", || in_use(name, "a gitdeploy"))?;
        transaction.deleted(Some(application), name, &repo).await
    }
}

/// One git repository, locked against changes. Gitdeploys may be given it meanwhile.
async fn locked(connection: &mut PgConnection, application: &AppName, name: &GitRepoName) -> Result<GitRepo> {
    sqlx::query_as!(
        GitRepo,
        r#"select name as "name: GitRepoName", application as "application: AppName", uri as "uri: GitUri",
               git_provider as "gitprovider: GitProviderName", keypair as "keypair: KeypairName",
               last_build as "last_build: BuildName", last_commit,
               attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision"
           from git_repos where application = $1 and name = $2 for no key update"#,
        application.as_str(),
        name.as_str()
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::not_found(Kind::GitRepo, name))
}

fn no_provider(name: Option<&GitProviderName>) -> Error {
    let name = name.map_or("", GitProviderName::as_str);
    Error::invalid("gitprovider", format!("git provider `{name}` does not exist; create it first"))
}

fn no_keypair(name: Option<&KeypairName>) -> Error {
    let name = name.map_or("", KeypairName::as_str);
    Error::invalid("keypair", format!("keypair `{name}` does not exist; create it first"))
}

/// A caller who may not read keypairs may not use one either.
///
/// # Errors
/// [`Error::Denied`].
fn may_use_keypair(caller: &Caller, keypair: Option<&KeypairName>) -> Result<()> {
    if keypair.is_some() { caller.require_global(Permission::Read) } else { Ok(()) }
}

fn in_use(name: &GitRepoName, users: &str) -> Error {
    Error::conflict(format!("git repository `{name}` is used by {users}; change or remove what uses it first"))
}
