//! Drift: what a server has beside the commit that it should have.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{AppName, GitdeployName, JobId, ServerName};
use crate::datasvc::ground::sql::json_column;

/// What the last check found in a working copy.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Drift {
    /// When it was looked at.
    #[serde(with = "time::serde::rfc3339")]
    pub checked_at: OffsetDateTime,
    /// By which job.
    pub job_id: JobId,
    /// Whether it is something else than what was pulled last. Null: that is not known, and `message` says why.
    pub drifted: Option<bool>,
    /// The commit that should be there.
    pub expected: String,
    /// The commit that is there.
    pub head: Option<String>,
    /// Commits of the server's own: each with its id and its subject.
    pub local_commits: Vec<String>,
    /// Tracked files with uncommitted changes.
    pub uncommitted: Vec<String>,
    /// Whether there are more than are named.
    pub has_more: bool,
    /// What else there is to say.
    pub message: Option<String>,
}

json_column!(Drift);

/// A gitdeploy on a server, as a check looks at it.
#[derive(Clone, Debug)]
pub struct WorkingCopy {
    /// The application.
    pub application: AppName,
    /// The gitdeploy.
    pub gitdeploy: GitdeployName,
    /// Where it is.
    pub path: String,
    /// The commit that was pulled last.
    pub commit: String,
    made: OffsetDateTime,
}

impl Drift {
    /// One of which nothing is known yet.
    pub fn unknown(checked_at: OffsetDateTime, job_id: JobId, expected: &str) -> Self {
        Self {
            checked_at,
            job_id,
            drifted: None,
            expected: expected.to_owned(),
            head: None,
            local_commits: Vec::new(),
            uncommitted: Vec::new(),
            has_more: false,
            message: None,
        }
    }
}

impl WorkingCopy {
    /// What was written there when it was made.
    pub fn owner(&self) -> String {
        owner(&self.application, &self.gitdeploy, self.made)
    }
}

/// What is written into a working copy when it is made. A gitdeploy that is made again under its old name is another one.
pub fn owner(application: &AppName, gitdeploy: &GitdeployName, made: OffsetDateTime) -> String {
    format!("{application}/{gitdeploy} {}", made.unix_timestamp_nanos() / 1000)
}

impl DataSvc {
    /// The working copies on a server on which something was pulled.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn working_copies(&self, server: &ServerName) -> Result<Vec<WorkingCopy>> {
        let found = sqlx::query_as!(
            WorkingCopy,
            r#"select s.application as "application: AppName", s.gitdeploy as "gitdeploy: GitdeployName", g.path,
                   s.pulled_commit as "commit!", g.created_at as made
               from gitdeploy_servers s join gitdeploys g on g.application = s.application and g.name = s.gitdeploy
               where s.server = $1 and s.pulled_commit is not null order by s.application, s.gitdeploy"#,
            server.as_str()
        );
        Ok(found.fetch_all(&self.pool).await?)
    }

    /// Records what was found in a working copy, unless something else was pulled meanwhile.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn record_drift(&self, server: &ServerName, copy: &WorkingCopy, drift: &Drift) -> Result<()> {
        sqlx::query!(
            "update gitdeploy_servers set drift = $5
             where application = $1 and gitdeploy = $2 and server = $3 and pulled_commit = $4",
            copy.application.as_str(),
            copy.gitdeploy.as_str(),
            server.as_str(),
            copy.commit,
            drift as _
        )
        .execute(&self.pool)
        .await
        .map_err(Error::from)?;
        Ok(())
    }
}
