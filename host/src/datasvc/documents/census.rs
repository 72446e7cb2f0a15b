//! The census of an application: what runs where, and what its repositories hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::drift::Drift;
use super::groups::filter;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, EnvironmentName, GitdeployName, GroupName, JobId, ServerName};

/// How many entries a census has at most: some 5 MB.
const MAX_ENTRIES: u32 = 10_000;

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
    /// Whether the server differs from the last pull; null: not checked since.
    pub drift: Option<Drift>,
}

/// A build, and how it came there.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CensusBuild {
    /// The build.
    pub build: BuildName,
    /// Time of the change; null if it was not recorded.
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
    /// What runs on the servers of an application's groups, in these environments; in all, if none is named.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the application; [`Error::Denied`] without read permission on it; [`Error::TooMany`]
    /// entries or environments.
    pub async fn census(
        &self,
        caller: &Caller,
        application: &AppName,
        environments: &[EnvironmentName],
    ) -> Result<Census> {
        caller.require(Permission::Read, application)?;
        let environments = filter(environments)?;
        let rows = sqlx::query!(
            r#"select m.environment as "environment!: EnvironmentName", m."group" as "group!: GroupName",
                   m.server as "server!: ServerName", d.gitdeploy as "gitdeploy: GitdeployName",
                   coalesce(b.build, r.last_build) as "committed: BuildName",
                   b.committed_at as "committed_at?", b.job_id as "committed_by?: JobId",
                   b.username as "committed_by_user?", s.deployed_build as "deployed: BuildName", s.deployed_at,
                   s.deployed_by as "deployed_by: JobId", s.deployed_by_user, s.drift as "drift: Drift"
               from group_servers m
                   join group_gitdeploys d on d.application = m.application and d."group" = m."group"
                   join gitdeploy_servers s
                       on s.application = m.application and s.gitdeploy = d.gitdeploy and s.server = m.server
                   join gitdeploys g on g.application = m.application and g.name = d.gitdeploy
                   join git_repos r on r.application = m.application and r.name = g.git_repo
                   left join git_branches b
                       on b.application = m.application and b.git_repo = g.git_repo and b.branch = g.default_branch
               where m.application = $1 and ($2::text[] is null or m.environment = any($2)) limit $3"#,
            application.as_str(),
            environments.as_deref() as _,
            i64::from(MAX_ENTRIES) + 1
        );
        let rows = self.reads.run(async |connection| Ok(rows.fetch_all(connection).await?)).await?;
        if rows.len() > MAX_ENTRIES as usize {
            let what = "entries of a census (ask for some `environments` of it)";
            return Err(Error::TooMany { what, limit: MAX_ENTRIES });
        }
        let mut census = Census::new();
        for row in rows {
            let of_group = census.entry(row.environment).or_default().entry(row.group).or_default();
            let committed_by = (row.committed_by, row.committed_by_user);
            let deployed_by = (row.deployed_by, row.deployed_by_user);
            let entry = CensusEntry {
                committed: CensusBuild::of(row.committed, row.committed_at, committed_by),
                deployed: CensusBuild::of(row.deployed, row.deployed_at, deployed_by),
                drift: row.drift,
            };
            of_group.entry(row.server).or_default().insert(row.gitdeploy, entry);
        }
        if census.is_empty() {
            // Is there such an application at all?
            self.application(caller, application).await?;
        }
        Ok(census)
    }
}
