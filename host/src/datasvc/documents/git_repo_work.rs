//! Git repositories as jobs work on them: made and removed, locked, committed to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use sqlx::PgConnection;

use super::git_providers::GitProviderType;
use super::git_repos::{GitRepo, GitRepoState};
use super::git_uri::GitUri;
use super::uploads::hold;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, GitProviderName, GitRepoName, HostId, JobId, KeypairName};
use crate::datasvc::jobs::claim::Claim;
use crate::datasvc::jobs::own::NewOwnJob;

/// The kind of work of jobs that make git repositories at their providers, or remove them there.
pub const GIT_REPO: &str = "gitrepo";

/// How long such a job may take.
const WITHIN: Duration = Duration::from_secs(600);

/// Where this server keeps git repositories of its own.
#[derive(Clone, Debug)]
pub struct GitHome {
    /// The host that they are on.
    pub host: HostId,
    /// The directory that each has its own in.
    pub directory: PathBuf,
}

/// What is to be done with a git repository at its provider, as it is kept with the job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "lowercase")]
pub enum GitRepoWork {
    /// It is to be made.
    Create {
        /// Where.
        uri: GitUri,
        /// At which git provider; null: on this host's disk.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider: Option<GitProviderName>,
    },
    /// It is to be removed, and forgotten then.
    Remove {
        /// Where it is.
        uri: GitUri,
        /// At which git provider; null: on this host's disk.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider: Option<GitProviderName>,
    },
}

/// Whether a job has a git repository for itself.
#[derive(Clone, Debug)]
pub enum GitRepoLock {
    /// It has.
    Taken,
    /// Another job has it.
    HeldBy {
        /// That one.
        job: JobId,
        /// What it is called.
        name: String,
    },
}

impl DataSvc {
    /// Has git repositories of the provider `local` made there.
    #[must_use]
    pub fn keep_git_at(self, home: GitHome) -> Self {
        Self { git_home: Some(Arc::new(home)), ..self }
    }

    /// Where a repository comes to be that is to be made.
    pub(super) async fn place_of_new(
        &self,
        connection: &mut PgConnection,
        caller: &Caller,
        job: JobId,
        provider: Option<&GitProviderName>,
        uri: Option<&GitUri>,
    ) -> Result<GitUri> {
        let Some(provider) = provider else {
            let rule = "a repository that is to be made needs the git provider that it is made at; one that exists \
                        already is registered with `existing` as true, and its `uri`";
            return Err(Error::invalid("gitprovider", rule));
        };
        let found = sqlx::query!(
            r#"select type as "kind: GitProviderType", auth is not null as "has_auth!" from git_providers
               where name = $1 for share"#,
            provider.as_str()
        )
        .fetch_optional(&mut *connection)
        .await?;
        let (kind, has_auth) = found.map_or((None, false), |found| (Some(found.kind), found.has_auth));
        match kind {
            None => {
                let rule = format!("git provider `{provider}` does not exist; create it first");
                Err(Error::invalid("gitprovider", rule))
            }
            Some(GitProviderType::Local) if uri.is_some() => {
                let rule = "a repository that is made on this server has its place chosen; leave the URI out";
                Err(Error::invalid("uri", rule))
            }
            Some(GitProviderType::Local) => {
                let home = self.git_home.as_ref().ok_or_else(|| Error::internal("there is no directory for git"))?;
                let path = home.directory.join(format!("{job}.git"));
                GitUri::parse(path.display().to_string()).map_err(Error::internal)
            }
            Some(GitProviderType::Other | GitProviderType::Unknown) => {
                let rule = "repositories are not made at git providers of the type `other`; create it there, and give \
                            its `uri` with `existing` as true";
                Err(Error::invalid("existing", rule))
            }
            Some(_) if !has_auth => {
                let rule = format!("git provider `{provider}` needs credentials (`auth`) to create repositories");
                Err(Error::invalid("gitprovider", rule))
            }
            Some(kind) => {
                let rule = "it says where the repository is to be made, such as `git@github.com:acme/site.git`";
                let uri = uri.ok_or_else(|| Error::invalid("uri", rule))?;
                self.check_place(connection, caller, uri, Some(provider)).await?;
                let nested = matches!(kind, GitProviderType::GitLab | GitProviderType::Bitbucket);
                match uri.owner_and_name() {
                    Some((owner, _)) if nested || !owner.contains('/') => Ok(uri.clone()),
                    _ => Err(Error::invalid("uri", "its path is the owner and the name of the repository there")),
                }
            }
        }
    }

    /// The host on whose disk a repository is.
    pub(super) fn disk_of(&self, uri: &GitUri) -> Result<Option<HostId>> {
        if uri.server().is_some() {
            return Ok(None);
        }
        let home = self.git_home.as_ref().ok_or_else(|| Error::internal("there is no directory for git"))?;
        Ok(Some(home.host))
    }

    /// A git repository for a job that works on it, whoever asked for that.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn git_repo_for_work(&self, application: &AppName, name: &GitRepoName) -> Result<GitRepoPlace> {
        sqlx::query_as!(
            GitRepoPlace,
            r#"select uri as "uri: GitUri", state as "state: GitRepoState", host_id as "host: HostId", last_commit,
                   keypair as "keypair: KeypairName", host_key, git_provider as "gitprovider: GitProviderName"
               from git_repos where application = $1 and name = $2"#,
            application.as_str(),
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Noun::GitRepo, name))
    }

    /// Records what has become of a repository that the job makes or removes. To do it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn settle_git_repo(&self, claim: &Claim, state: GitRepoState) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        sqlx::query!(
            "update git_repos set state = $3, revision = nextval('revisions'), updated_at = now()
             where application = $1 and name = $2 and job = $4 and state <> $3",
            claim.application()?.as_str(),
            claim.name,
            state.as_str(),
            claim.job_id as _
        )
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Forgets a repository that the job has removed at its provider.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn forget_git_repo(&self, claim: &Claim) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        sqlx::query!(
            "delete from git_repos where application = $1 and name = $2 and job = $3 and state = 'removing'",
            claim.application()?.as_str(),
            claim.name,
            claim.job_id as _
        )
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Says of the repository of a job that was stopped before it began that it was not made, or is still there.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn unsettle_git_repo(&self, job: JobId) -> Result<()> {
        sqlx::query!(
            "update git_repos set state = case state when 'creating' then 'failed' else 'ready' end,
                 revision = nextval('revisions'), updated_at = now()
             where job = $1 and state in ('creating', 'removing')",
            job as _
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Takes a repository for a job, unless another job has it, which gives it back or ends. Where the host of that one
    /// has died, it has the repository until it has gone on elsewhere.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if the claim is no longer held.
    pub async fn lock_git_repo(&self, claim: &Claim, name: &GitRepoName) -> Result<GitRepoLock> {
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        let found = sqlx::query!(
            r#"select lock_job as "job: JobId" from git_repos
               where application = $1 and name = $2 for no key update"#,
            claim.application()?.as_str(),
            name.as_str()
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::not_found(Noun::GitRepo, name))?;
        if let Some(job) = found.job.filter(|job| *job != claim.job_id) {
            let holder = sqlx::query_scalar!(
                // What its host has left when it died is for the job itself, which goes on elsewhere, before it is for others.
                "select name from jobs where id = $1 and (status = 'running' or status = 'queued' and
                     (bound_to is null or exists (select from workers where workers.host_id = jobs.bound_to)))",
                job as _
            );
            if let Some(name) = holder.fetch_optional(&mut *transaction).await? {
                transaction.rollback().await?;
                return Ok(GitRepoLock::HeldBy { job, name });
            }
        }
        sqlx::query!(
            "update git_repos set lock_job = $3, lock_fence = $4 where application = $1 and name = $2",
            claim.application()?.as_str(),
            name.as_str(),
            claim.job_id as _,
            claim.fence
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(GitRepoLock::Taken)
    }

    /// Gives a repository back. What another claim has stays.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn unlock_git_repo(&self, claim: &Claim, name: &GitRepoName) -> Result<()> {
        sqlx::query!(
            "update git_repos set lock_job = null, lock_fence = null
             where application = $1 and name = $2 and lock_job = $3 and lock_fence = $4",
            claim.application()?.as_str(),
            name.as_str(),
            claim.job_id as _,
            claim.fence
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Records which build a branch of a repository has now, and since when. To do it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn record_commit(
        &self,
        claim: &Claim,
        (name, branch): (&GitRepoName, &str),
        build: &BuildName,
        commit: &str,
    ) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        sqlx::query!(
            "update git_repos set last_build = $3, last_commit = $4, revision = nextval('revisions'), updated_at = now()
             where application = $1 and name = $2
                 and (last_build is distinct from $3 or last_commit is distinct from $4)",
            claim.application()?.as_str(),
            name.as_str(),
            build.as_str(),
            commit
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "insert into git_branches as b (application, git_repo, branch, build, commit, job_id, username)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict (application, git_repo, branch) do update
                 set build = $4, commit = $5, committed_at = now(), job_id = $6, username = $7
                 where (b.build, b.commit) <> ($4, $5)",
            claim.application()?.as_str(),
            name.as_str(),
            branch,
            build.as_str(),
            commit,
            claim.job_id as _,
            claim.username.as_deref()
        )
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// A git repository whose history the caller may read.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without read permission on the application; [`Error::Conflict`] if it is
    /// not ready.
    pub async fn readable_git_repo(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GitRepoName,
    ) -> Result<GitRepoPlace> {
        caller.require(Permission::Read, application)?;
        let place = self.git_repo_for_work(application, name).await?;
        place.must_be_ready(name)?;
        Ok(place)
    }
}

/// Where a git repository is, and whether it can be used.
#[derive(Clone, Debug)]
pub struct GitRepoPlace {
    /// Where git clones it from.
    pub uri: GitUri,
    /// Whether it can be used.
    pub state: GitRepoState,
    /// The host on whose disk it is.
    pub host: Option<HostId>,
    /// The commit that was made last.
    pub last_commit: Option<String>,
    /// The keypair that it is reached with.
    pub keypair: Option<KeypairName>,
    /// The only key that its SSH host may show. `None`: it was not contacted yet.
    pub host_key: Option<String>,
    /// The git provider whose credentials it is reached with.
    pub gitprovider: Option<GitProviderName>,
}

impl GitRepoPlace {
    /// # Errors
    /// [`Error::Conflict`] unless it can be used.
    pub fn must_be_ready(&self, name: &GitRepoName) -> Result<()> {
        let why = match self.state {
            GitRepoState::Ready => return Ok(()),
            GitRepoState::Creating => "is still being made; wait until its `state` is `ready`",
            GitRepoState::Failed => "could not be made; its job says why. Remove it, and create it again",
            GitRepoState::Removing => "is being removed",
            GitRepoState::Unknown => "is in a state that only a newer server knows",
        };
        Err(Error::conflict(format!("git repository `{name}` {why}")))
    }
}

impl GitRepo {
    /// Only what was made by us is removed by us.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub(super) fn must_be_made(&self) -> Result<()> {
        if self.is_made {
            return Ok(());
        }
        let rule = "only repositories that Elita has made are removed with what is in them; remove it at its provider, \
                    and here without `delete`";
        Err(Error::invalid("delete", rule))
    }

    /// # Errors
    /// [`Error::Conflict`] while a job makes it or removes it.
    pub(super) fn must_be_settled(&self) -> Result<()> {
        let (name, does) = match self.state {
            GitRepoState::Ready | GitRepoState::Failed => return Ok(()),
            GitRepoState::Creating => (&self.name, "makes"),
            GitRepoState::Removing => (&self.name, "removes"),
            GitRepoState::Unknown => (&self.name, "works on"),
        };
        let job = self.job_id.map(|job| format!(" {job}")).unwrap_or_default();
        Err(Error::conflict(format!("the job{job} {does} git repository `{name}`; wait until it has ended")))
    }
}

/// Makes the job that works on a repository at its provider.
pub(super) async fn new_repo_job(
    connection: &mut PgConnection,
    caller: &Caller,
    repo: &GitRepo,
    job_id: JobId,
    asked: &GitRepoWork,
) -> Result<()> {
    let job = NewOwnJob {
        job_id,
        kind: GIT_REPO,
        name: repo.name.to_string(),
        application: repo.application.clone(),
        data: to_raw_value(asked).map_err(Error::internal)?,
        timeout: WITHIN,
        bound_to: repo.host,
        parent: None,
        idempotency: None,
    };
    job.insert(connection, caller).await.map(drop)
}
