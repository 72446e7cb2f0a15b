//! Git repositories: what packages are committed to, and what servers pull from.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::git_repo_work::{GitRepoWork, new_repo_job};
use super::git_uri::GitUri;
use super::referrers::{NAMED, Referrer, named};
use super::servers::check_host_key;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, GitProviderName, GitRepoName, HostId, JobId, KeypairName};
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::patch::Patch;
use crate::datasvc::ground::revision::{Expected, Revision};
use crate::datasvc::ground::sql::OnConstraint as _;
use crate::datasvc::ground::words::stored_words;

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
    /// The only key that the SSH host of its URI may show, such as `ssh-ed25519 AAAA…`. The one that it shows at the
    /// first contact is kept here.
    pub host_key: Option<String>,
    /// The build that was last committed to it.
    pub last_build: Option<BuildName>,
    /// The commit of that build.
    pub last_commit: Option<String>,
    /// Whether it can be used.
    pub state: GitRepoState,
    /// The job that makes it or removes it at its git provider, or did so last. It says what went wrong.
    pub job_id: Option<JobId>,
    /// The host on whose disk it is.
    #[serde(skip)]
    pub host: Option<HostId>,
    /// Whether a job of ours has made it at its git provider.
    #[serde(skip)]
    pub is_made: bool,
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

/// Whether a git repository can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, serde::Deserialize, sqlx::Encode, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum GitRepoState {
    /// A job makes it at its git provider.
    Creating,
    /// It can be used.
    Ready,
    /// It could not be made; its job says why.
    Failed,
    /// A job removes it at its git provider.
    Removing,
    /// What only a newer server knows.
    #[serde(skip_deserializing)]
    Unknown,
}

stored_words!(GitRepoState);

impl GitRepoState {
    /// As in the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Removing => "removing",
            Self::Unknown => "unknown",
        }
    }
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
    /// The only key that the SSH host of its URI may show. `None`: the one that it shows at the first contact.
    pub host_key: Option<String>,
    /// Whether it is at its provider already. Otherwise a job makes it there.
    pub existing: bool,
    /// Where git clones it from. One that is made on this machine has its place chosen.
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
    /// Null: the one that the SSH host shows at the next contact is kept.
    #[serde(default)]
    #[schema(format = "ssh-public-key")]
    host_key: Option<String>,
    #[serde(default)]
    attributes: Attributes,
}

impl DataSvc {
    /// Registers a git repository: one that exists already, or one that the job makes whose id is in its document.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it has no URI, or for a git provider that does not exist or makes none;
    /// [`Error::AlreadyExists`]; [`Error::NotFound`] without the application; [`Error::Denied`] without write
    /// permission on it, or without the right to use its keypair or the credentials of its git provider.
    pub async fn create_git_repo(&self, caller: &Caller, application: &AppName, new: &NewGitRepo) -> Result<GitRepo> {
        caller.require(Permission::Write, application)?;
        let NewGitRepo { name, gitprovider, keypair, host_key, existing, uri, attributes } = new;
        may_use_keypair(caller, keypair.as_ref())?;
        let mut transaction = self.change(caller, "git-repos.create").await?;
        let (uri, job) = if *existing {
            let uri = uri.clone().ok_or_else(|| Error::invalid("uri", "a repository that exists needs its URI"))?;
            self.check_place(&mut transaction, caller, &uri, gitprovider.as_ref()).await?;
            (uri, None)
        } else {
            let job = self.new_job_id();
            let uri = self.place_of_new(&mut transaction, caller, job, gitprovider.as_ref(), uri.as_ref()).await?;
            (uri, Some(job))
        };
        let host_key = host_key_of(&uri, host_key.clone())?;
        let host = self.disk_of(&uri)?;
        let created = sqlx::query_as!(
            GitRepo,
            r#"insert into git_repos (application, name, git_provider, uri, attributes, keypair, state, job, made,
                                      host_id, host_key)
               values ($1, $2, $3, $4, $5, $6, case when $7::uuid is null then 'ready' else 'creating' end, $7,
                       $7 is not null, $8, $9)
               returning name as "name: GitRepoName", application as "application: AppName", uri as "uri: GitUri",
                   git_provider as "gitprovider: GitProviderName", keypair as "keypair: KeypairName", host_key,
                   last_build as "last_build: BuildName", last_commit,
                   state as "state: GitRepoState", job as "job_id: JobId", host_id as "host: HostId", made as is_made,
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision""#,
            application.as_str(),
            name.as_str(),
            gitprovider.as_ref().map(GitProviderName::as_str),
            uri.as_str(),
            attributes as _,
            keypair.as_ref().map(KeypairName::as_str),
            job as _,
            host as _,
            host_key
        )
        .fetch_one(&mut *transaction)
        .await;
        let repo = created.on_constraints(&[
            ("git_repos_pkey", &|| Error::already_exists(Kind::GitRepo, name)),
            ("git_repos_application_fkey", &|| Error::not_found(Kind::Application, application)),
            ("git_repos_git_provider_fkey", &|| no_provider(gitprovider.as_ref())),
            ("git_repos_keypair_fkey", &|| no_keypair(keypair.as_ref())),
        ])?;
        if let Some(job) = job {
            let provider = gitprovider.clone().filter(|_| host.is_none());
            let asked = GitRepoWork::Create { uri, provider };
            new_repo_job(&mut transaction, caller, &repo, job, &asked).await?;
        }
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
                   git_provider as "gitprovider: GitProviderName", keypair as "keypair: KeypairName", host_key,
                   last_build as "last_build: BuildName", last_commit,
                   state as "state: GitRepoState", job as "job_id: JobId", host_id as "host: HostId", made as is_made,
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
        let start = page.start()?;
        let rows = sqlx::query_as!(
            GitRepo,
            r#"select name as "name: GitRepoName", application as "application: AppName", uri as "uri: GitUri",
                   git_provider as "gitprovider: GitProviderName", keypair as "keypair: KeypairName", host_key,
                   last_build as "last_build: BuildName", last_commit,
                   state as "state: GitRepoState", job as "job_id: JobId", host_id as "host: HostId", made as is_made,
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision"
               from git_repos
               where application = $1 and ($2::text is null or case when $5 then (created_at, name) < ($6, $2)
                           when $7 then (created_at, name) > ($6, $2) else name > $2 end) and ($4::text is null or name like $4)
               order by case when $5 then created_at end desc, case when $5 then name end desc,
                   case when $7 then created_at end, name limit $3"#,
            application.as_str(),
            start.name,
            page.fetch(),
            page.like(),
            start.is_newest_first,
            start.created_at,
            start.is_oldest_first
        );
        let listed = self
            .reads
            .run(async |connection| {
                page.gather(rows.fetch(connection), |repo| page.cursor(repo.created_at, repo.name.as_str())).await
            })
            .await?;
        self.exists_if_empty(application, &listed).await?;
        Ok(listed)
    }

    /// Changes the URI, the git provider and the attributes of a git repository.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on the application, or for another URI or git
    /// provider without the right to use its keypair or the credentials of its git provider; [`Error::Changed`] if it
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
            host_key: repo.host_key.clone(),
            attributes: repo.attributes.clone(),
        };
        let Change { uri, gitprovider, keypair, host_key, attributes } = patch.apply(&repo, &changeable).await?;
        // Another host has another key.
        let is_of_old = host_key == repo.host_key && uri.server() != repo.uri.server();
        let host_key = host_key_of(&uri, host_key.filter(|_| !is_of_old))?;
        // The keypair goes to wherever the URI says, and to whoever shows the host's key.
        if keypair != repo.keypair || uri != repo.uri || host_key != repo.host_key {
            may_use_keypair(caller, keypair.as_ref())?;
        }
        if uri != repo.uri || gitprovider != repo.gitprovider {
            repo.must_be_settled()?;
            self.check_place(&mut transaction, caller, &uri, gitprovider.as_ref()).await?;
        }
        let host = if uri == repo.uri { repo.host } else { self.disk_of(&uri)? };
        let updated = sqlx::query_as!(
            GitRepo,
            r#"update git_repos
               set git_provider = $3, uri = $4, attributes = $5, keypair = $6, host_id = $7, made = made and uri = $4,
                   host_key = $8, revision = nextval('revisions'), updated_at = now()
               where application = $1 and name = $2
               returning name as "name: GitRepoName", application as "application: AppName", uri as "uri: GitUri",
                   git_provider as "gitprovider: GitProviderName", keypair as "keypair: KeypairName", host_key,
                   last_build as "last_build: BuildName", last_commit,
                   state as "state: GitRepoState", job as "job_id: JobId", host_id as "host: HostId", made as is_made,
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision""#,
            application.as_str(),
            name.as_str(),
            gitprovider.as_ref().map(GitProviderName::as_str),
            uri.as_str(),
            attributes as _,
            keypair.as_ref().map(KeypairName::as_str),
            host as _,
            host_key
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

    /// Removes a git repository that no gitdeploy uses; `at_provider` also at its git provider, by the job that is
    /// returned.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is to be removed at a provider that removes none; [`Error::NotFound`];
    /// [`Error::Conflict`] naming gitdeploys that use it, or while a job makes it or removes it; [`Error::Denied`]
    /// without write permission on the application; [`Error::Changed`] if it is another version than expected.
    pub async fn delete_git_repo(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GitRepoName,
        at_provider: bool,
        expected: &Expected,
    ) -> Result<Option<JobId>> {
        caller.require(Permission::Write, application)?;
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
        repo.must_be_settled()?;
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
        if at_provider {
            let job = self.new_job_id();
            repo.must_be_made()?;
            sqlx::query!(
                "update git_repos set state = 'removing', job = $3, revision = nextval('revisions'), updated_at = now()
                 where application = $1 and name = $2",
                application.as_str(),
                name.as_str(),
                job as _
            )
            .execute(&mut *transaction)
            .await?;
            let provider = repo.gitprovider.clone().filter(|_| repo.host.is_none());
            let asked = GitRepoWork::Remove { uri: repo.uri.clone(), provider };
            new_repo_job(&mut transaction, caller, &repo, job, &asked).await?;
            transaction.deleted(Some(application), name, &repo).await?;
            return Ok(Some(job));
        }
        sqlx::query!("delete from git_repos where application = $1 and name = $2", application.as_str(), name.as_str())
            .execute(&mut *transaction)
            .await
            .on_constraint("gitdeploys_git_repo_fkey", || in_use(name, "a gitdeploy"))?;
        transaction.deleted(Some(application), name, &repo).await?;
        Ok(None)
    }
}

/// One git repository, locked against changes. Gitdeploys may be given it meanwhile.
async fn locked(connection: &mut PgConnection, application: &AppName, name: &GitRepoName) -> Result<GitRepo> {
    sqlx::query_as!(
        GitRepo,
        r#"select name as "name: GitRepoName", application as "application: AppName", uri as "uri: GitUri",
               git_provider as "gitprovider: GitProviderName", keypair as "keypair: KeypairName", host_key,
               last_build as "last_build: BuildName", last_commit,
                   state as "state: GitRepoState", job as "job_id: JobId", host_id as "host: HostId", made as is_made,
               attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision"
           from git_repos where application = $1 and name = $2 for no key update"#,
        application.as_str(),
        name.as_str()
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::not_found(Kind::GitRepo, name))
}

/// What the SSH host of a URI may show: what was given, or what is known of the host.
///
/// # Errors
/// [`Error::Invalid`] for what is no key.
fn host_key_of(uri: &GitUri, given: Option<String>) -> Result<Option<String>> {
    match given {
        Some(key) => check_host_key("host_key", &key).map(|()| Some(key)),
        None => Ok(uri.known_host_key().map(str::to_owned)),
    }
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
