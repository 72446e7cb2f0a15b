//! How git repositories are reached that others keep, and what stays of repositories on disks.

use std::sync::Arc;

use time::OffsetDateTime;

use super::git_providers::{BaseUrl, GitProviderAuth, GitProviderType};
use super::git_repo_work::{GIT_REPO, GitRepoPlace};
use super::git_uri::GitUri;
use super::gitdeploy_work::GITDEPLOY;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::access::secrets::{GIT_PROVIDER, SealedSecret};
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{AppName, GitProviderName, GitRepoName, HostId};
use crate::outbound::Destination;

/// A git provider with its credentials, for a request that is made now.
pub struct ProviderAccess {
    /// What kind of service it is.
    pub kind: GitProviderType,
    /// Where it is, unless the kind says so.
    pub base_url: Option<BaseUrl>,
    /// The credentials, if there are any.
    pub auth: Option<GitProviderAuth>,
}

impl ProviderAccess {
    /// What git logs in with over HTTPS: a username and a password.
    pub fn login(&self) -> Option<(&str, &str)> {
        self.auth.as_ref().map(|auth| auth.login(self.kind))
    }
}

impl DataSvc {
    /// The hosts without a public address that git may be sent to.
    pub fn git_hosts(&self) -> Arc<[Destination]> {
        self.git_hosts.clone()
    }

    /// Whether the caller may have servers given what they read a repository with. The credentials of a git provider can
    /// do more than read it, and whoever may run something on a server can take them from there.
    ///
    /// # Errors
    /// [`Error::Denied`] for such credentials without read permission on `_global`.
    pub async fn may_hand_over(&self, caller: &Caller, place: &GitRepoPlace) -> Result<()> {
        let Some(provider) = place.gitprovider.as_ref().filter(|_| place.host.is_none() && !place.uri.is_ssh()) else {
            return Ok(());
        };
        if caller.may_globally(Permission::Read) || self.provider_access(provider).await?.auth.is_none() {
            return Ok(());
        }
        let reason = format!(
            "servers would get the credentials of git provider `{provider}`, which takes read permission on `_global`; \
             with an SSH URI and a keypair that may only read the repository it takes none"
        );
        Err(Error::Denied { reason })
    }

    /// A git provider with its credentials.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Internal`] if they cannot be unsealed.
    pub async fn provider_access(&self, name: &GitProviderName) -> Result<ProviderAccess> {
        let found = sqlx::query!(
            r#"select type as "kind: GitProviderType", base_url as "base_url: BaseUrl", auth, secret_version
               from git_providers where name = $1"#,
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Noun::GitProvider, name))?;
        let auth = match found.auth.zip(found.secret_version) {
            Some((bytes, version)) => {
                let text = self.secrets()?.open(GIT_PROVIDER, name, &SealedSecret { bytes, version })?;
                let given = serde_json::from_slice(&text).map_err(Error::internal)?;
                Some(GitProviderAuth::read(&given, found.kind)?)
            }
            None => None,
        };
        Ok(ProviderAccess { kind: found.kind, base_url: found.base_url, auth })
    }

    /// Keeps the key that the SSH host of a repository has shown at the first contact, unless one is kept already or its
    /// URI is another one by now. Returns the one that is kept.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn pin_git_host_key(
        &self,
        application: &AppName,
        name: &GitRepoName,
        uri: &GitUri,
        key: &str,
    ) -> Result<String> {
        sqlx::query!(
            "update git_repos set host_key = $4, revision = nextval('revisions'), updated_at = now()
             where application = $1 and name = $2 and uri = $3 and host_key is null",
            application.as_str(),
            name.as_str(),
            uri.as_str(),
            key
        )
        .execute(&self.pool)
        .await?;
        let kept = sqlx::query_scalar!(
            r#"select host_key as "host_key!" from git_repos
               where application = $1 and name = $2 and uri = $3 and host_key is not null"#,
            application.as_str(),
            name.as_str(),
            uri.as_str()
        );
        kept.fetch_optional(&self.pool).await?.ok_or_else(|| Error::not_found(Noun::GitRepo, name))
    }

    /// The repositories that others keep, with the applications that they are of, for whoever tidies up after those that
    /// are gone.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn mirrored_git_repos(&self) -> Result<Vec<(AppName, GitRepoName, GitUri)>> {
        let found = sqlx::query!(
            r#"select application as "application: AppName", name as "name: GitRepoName", uri as "uri: GitUri"
               from git_repos where host_id is null"#
        );
        let found = found.fetch_all(&self.pool).await?;
        Ok(found.into_iter().map(|row| (row.application, row.name, row.uri)).collect())
    }

    /// Where repositories are on this host's disk whose application was removed as long ago, and which nobody has taken
    /// in again.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn git_remains(&self, host: HostId, before: OffsetDateTime) -> Result<Vec<GitUri>> {
        let found = sqlx::query_scalar!(
            r#"select uri as "uri: GitUri" from git_remains
               where host_id = $1 and since < $2
                   and not exists (select from git_repos where git_repos.uri = git_remains.uri)"#,
            host as _,
            before
        );
        Ok(found.fetch_all(&self.pool).await?)
    }

    /// Forgets a repository of a removed application, whose directory is gone.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn forget_git_remains(&self, host: HostId, uri: &GitUri) -> Result<()> {
        let forgetting =
            sqlx::query!("delete from git_remains where host_id = $1 and uri = $2", host as _, uri.as_str());
        forgetting.execute(&self.pool).await?;
        Ok(())
    }

    /// When the servers of a host gave a sign of life last.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn beats_of(&self, host: HostId) -> Result<Vec<OffsetDateTime>> {
        let beats = sqlx::query_scalar!("select seen_at from workers where host_id = $1 order by seen_at", host as _);
        Ok(beats.fetch_all(&self.pool).await?)
    }

    /// Where a host has git repositories on its disk.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn git_repos_on(&self, host: HostId) -> Result<Vec<GitUri>> {
        let found = sqlx::query_scalar!(
            r#"select distinct uri as "uri!: GitUri" from git_repos where host_id = $1
               union select uri from git_remains where host_id = $1"#,
            host as _
        );
        Ok(found.fetch_all(&self.pool).await?)
    }

    /// Makes the repositories at a place on a host's disk those of another host, where they are at that other place, with
    /// the jobs that wait for it. To do it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn move_git_repos(&self, (from, old): (HostId, &GitUri), (to, new): (HostId, &GitUri)) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query!(
            "update git_repos set host_id = $3, uri = $4, revision = nextval('revisions'), updated_at = now()
             where host_id = $1 and uri = $2",
            from as _,
            old.as_str(),
            to as _,
            new.as_str()
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "update git_remains set host_id = $3, uri = $4 where host_id = $1 and uri = $2",
            from as _,
            old.as_str(),
            to as _,
            new.as_str()
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "update jobs set bound_to = $2 where bound_to = $1 and status = 'queued' and job_type in ($3, $4)
                 and not exists (select from git_repos where host_id = $1)",
            from as _,
            to as _,
            GIT_REPO,
            GITDEPLOY
        )
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}
