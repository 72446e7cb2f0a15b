//! The census of an application: what runs where, and what its repositories hold.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::{AppName, BuildName, EnvironmentName, GitdeployName, GroupName, JobId, ServerName};

/// What runs where: environments, in them groups, in them servers, on them gitdeploys.
pub type Census =
    BTreeMap<EnvironmentName, BTreeMap<GroupName, BTreeMap<ServerName, BTreeMap<GitdeployName, CensusEntry>>>>;

/// The builds of one gitdeploy on one server.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CensusEntry {
    /// The build that the gitdeploy's branch holds; null if there was none yet.
    pub committed: Option<CensusBuild>,
    /// The build that was last deployed to the server; null if there was none yet.
    pub deployed: Option<CensusBuild>,
}

/// A build, and how it came there.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CensusBuild {
    /// The build.
    pub build: BuildName,
    /// Since when; null: since before that was recorded.
    #[serde(with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
    /// The job that has put it there.
    pub job_id: Option<JobId>,
    /// Who asked for that.
    pub username: Option<String>,
}

impl CensusBuild {
    fn of(build: Option<BuildName>, at: Option<OffsetDateTime>, by: (Option<JobId>, Option<String>)) -> Option<Self> {
        let (job_id, username) = by;
        Some(Self { build: build?, at, job_id, username })
    }
}

impl DataSvc {
    /// What runs on the servers of an application's groups.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::datasvc::Error::NotFound) without the application; [`Error::Denied`](crate::datasvc::Error::Denied)
    /// without read permission on it.
    pub async fn census(&self, caller: &Caller, application: &AppName) -> Result<Census> {
        caller.require(Permission::Read, application)?;
        let mut rows = sqlx::query!(
            r#"select m.environment as "environment!: EnvironmentName", m."group" as "group!: GroupName",
                   m.server as "server!: ServerName", d.gitdeploy as "gitdeploy: GitdeployName",
                   coalesce(b.build, r.last_build) as "committed: BuildName",
                   b.committed_at as "committed_at?", b.job_id as "committed_by?: JobId",
                   b.username as "committed_by_user?", s.deployed_build as "deployed: BuildName", s.deployed_at,
                   s.deployed_by as "deployed_by: JobId", s.deployed_by_user
               from group_servers m
                   join group_gitdeploys d on d.application = m.application and d."group" = m."group"
                   join gitdeploy_servers s
                       on s.application = m.application and s.gitdeploy = d.gitdeploy and s.server = m.server
                   join gitdeploys g on g.application = m.application and g.name = d.gitdeploy
                   join git_repos r on r.application = m.application and r.name = g.git_repo
                   left join git_branches b
                       on b.application = m.application and b.git_repo = g.git_repo and b.branch = g.default_branch
               where m.application = $1"#,
            application.as_str()
        )
        .fetch(&self.pool);
        let mut census = Census::new();
        while let Some(row) = rows.try_next().await? {
            let of_group = census.entry(row.environment).or_default().entry(row.group).or_default();
            let committed_by = (row.committed_by, row.committed_by_user);
            let deployed_by = (row.deployed_by, row.deployed_by_user);
            let entry = CensusEntry {
                committed: CensusBuild::of(row.committed, row.committed_at, committed_by),
                deployed: CensusBuild::of(row.deployed, row.deployed_at, deployed_by),
            };
            of_group.entry(row.server).or_default().insert(row.gitdeploy, entry);
        }
        drop(rows);
        if census.is_empty() {
            // Is there such an application at all?
            self.application(caller, application).await?;
        }
        Ok(census)
    }
}
