//! Tokens of servers: each reads one git repository over HTTP, and does nothing else.
//!
//! There is one for each gitdeploy on each server. Like those of users it is 256 random bits with a prefix, of which
//! only the SHA-256 is stored.

use super::tokens::new_secret;
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::{AppName, Digest, GitRepoName, GitdeployName, ServerName};

impl DataSvc {
    /// Makes the token of a server for a gitdeploy. The one that it had before is good for nothing then.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn make_git_token(
        &self,
        application: &AppName,
        gitdeploy: &GitdeployName,
        server: &ServerName,
    ) -> Result<String> {
        let (token, digest) = new_secret();
        sqlx::query!(
            "insert into git_tokens (application, gitdeploy, server, secret_sha256) values ($1, $2, $3, $4)
             on conflict (application, gitdeploy, server)
                 do update set secret_sha256 = excluded.secret_sha256, created_at = now()",
            application.as_str(),
            gitdeploy.as_str(),
            server.as_str(),
            digest.as_bytes()
        )
        .execute(&self.pool)
        .await?;
        Ok(token)
    }

    /// Makes the token of a server for a gitdeploy good for nothing.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn revoke_git_token(
        &self,
        application: &AppName,
        gitdeploy: &GitdeployName,
        server: &ServerName,
    ) -> Result<()> {
        sqlx::query!(
            "delete from git_tokens where application = $1 and gitdeploy = $2 and server = $3",
            application.as_str(),
            gitdeploy.as_str(),
            server.as_str()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The repository that a server's token reads. `None`: it is no such token, or the gitdeploy is neither initialized on
    /// its server nor about to be.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn repo_of_git_token(&self, token: &str) -> Result<Option<(AppName, GitRepoName)>> {
        let digest = Digest::of(token.as_bytes());
        let looking = sqlx::query!(
            r#"select gitdeploys.application as "application: AppName", git_repo as "git_repo: GitRepoName"
               from git_tokens join gitdeploys
                   on gitdeploys.application = git_tokens.application and gitdeploys.name = git_tokens.gitdeploy
               where secret_sha256 = $1
                   and exists (select from gitdeploy_places p
                               where (p.application, p.gitdeploy, p.server)
                                   = (git_tokens.application, git_tokens.gitdeploy, git_tokens.server))"#,
            digest.as_bytes()
        );
        let found = self.reads.run(async |connection| Ok(looking.fetch_optional(connection).await?)).await?;
        Ok(found.map(|row| (row.application, row.git_repo)))
    }
}
