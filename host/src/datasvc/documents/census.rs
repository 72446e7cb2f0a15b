//! The census of an application: what runs where, and what its repositories hold.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use serde::Serialize;

use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::{AppName, BuildName, EnvironmentName, GitdeployName, GroupName, ServerName};

/// What runs where: environments, in them groups, in them servers, on them gitdeploys.
pub type Census =
    BTreeMap<EnvironmentName, BTreeMap<GroupName, BTreeMap<ServerName, BTreeMap<GitdeployName, CensusEntry>>>>;

/// The builds of one gitdeploy on one server.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CensusEntry {
    /// The build that the gitdeploy's repository holds; null if there was none yet.
    pub committed: Option<BuildName>,
    /// The build that was last deployed to the server; null if there was none yet.
    pub deployed: Option<BuildName>,
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
                   r.last_build as "committed: BuildName", s.deployed_build as "deployed: BuildName"
               from group_servers m
                   join group_gitdeploys d on d.application = m.application and d."group" = m."group"
                   join gitdeploy_servers s
                       on s.application = m.application and s.gitdeploy = d.gitdeploy and s.server = m.server
                   join gitdeploys g on g.application = m.application and g.name = d.gitdeploy
                   join git_repos r on r.application = m.application and r.name = g.git_repo
               where m.application = $1"#,
            application.as_str()
        )
        .fetch(&self.pool);
        let mut census = Census::new();
        while let Some(row) = rows.try_next().await? {
            let of_group = census.entry(row.environment).or_default().entry(row.group).or_default();
            let entry = CensusEntry { committed: row.committed, deployed: row.deployed };
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
