//! Gitdeploys as jobs work on them.

use std::collections::HashSet;

use globset::GlobBuilder;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::commands::CommandTarget;
use super::deployments::work::end_needs_of_rollbacks;
use super::gitdeploys::Gitdeploy;
use super::servers::Driver;
use super::uploads::hold;
use crate::datasvc::DataSvc;
use crate::datasvc::access::aside::aside;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::access::sight::visible;
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, GitdeployName, HostId, JobId, ServerName};
use crate::datasvc::jobs::claim::Claim;
use crate::datasvc::jobs::job::{Enqueued, JobStatus};
use crate::datasvc::jobs::own::NewOwnJob;

/// The kind of work of jobs that work on a gitdeploy.
pub const GITDEPLOY: &str = "gitdeploy";

/// How many servers one job is for.
const MAX_SERVERS: usize = 1000;
/// The longest glob, in bytes.
const MAX_GLOB_BYTES: usize = 512;

/// What is to be done with a gitdeploy, as it is kept with the job.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "lowercase")]
pub enum GitdeployWork {
    /// The package of a build is to be committed to its repository.
    Commit {
        /// The gitdeploy.
        gitdeploy: GitdeployName,
        /// The build.
        build_name: BuildName,
    },
    /// A working copy of its repository is to be made on servers.
    Initialize {
        /// The gitdeploy.
        gitdeploy: GitdeployName,
        /// The servers.
        servers: Vec<ServerName>,
    },
    /// Its working copies are to be removed from servers.
    Deinitialize {
        /// The gitdeploy.
        gitdeploy: GitdeployName,
        /// The servers.
        servers: Vec<ServerName>,
    },
    /// What was committed last is to be pulled on servers.
    Pull {
        /// The gitdeploy.
        gitdeploy: GitdeployName,
        /// The servers.
        servers: Vec<ServerName>,
    },
}

/// Which servers are meant.
#[derive(Clone, Debug)]
pub enum ServersAsked {
    /// Those of these names.
    Named(Vec<ServerName>),
    /// Those whose names match: `*` is any run of characters.
    Matching(String),
}

/// Servers to work on, and the host that can do it, if only one can.
#[derive(Clone, Debug)]
pub struct ServersFound {
    /// By name.
    pub servers: Vec<ServerName>,
    /// The host of servers of the driver `local`.
    pub host: Option<HostId>,
}

impl DataSvc {
    /// A gitdeploy of which the caller may have a build committed.
    ///
    /// # Errors
    /// [`Error::NotFound`], also without the build or its package; [`Error::Conflict`] if its repository is not ready;
    /// [`Error::Denied`] without write permission on the application.
    pub async fn gitdeploy_to_commit(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GitdeployName,
        build: &BuildName,
    ) -> Result<Gitdeploy> {
        caller.require(Permission::Write, application)?;
        let gitdeploy = self.gitdeploy_for_work(application, name).await?;
        self.package_for_work(application, build, &gitdeploy.package).await?;
        let repo = &gitdeploy.location.gitrepo;
        self.git_repo_for_work(application, repo).await?.must_be_ready(repo)?;
        Ok(gitdeploy)
    }

    /// A gitdeploy, and the servers that are asked for, if the caller may have it worked on there.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] for no server, too many of them, or servers of the driver `local` on
    /// several hosts; [`Error::Conflict`] if its repository is not ready; [`Error::Denied`] without write permission on
    /// the application or without the permission for a server.
    pub async fn gitdeploy_on_servers(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GitdeployName,
        asked: &ServersAsked,
    ) -> Result<(Gitdeploy, ServersFound)> {
        caller.require(Permission::Write, application)?;
        let gitdeploy = self.gitdeploy_for_work(application, name).await?;
        let repo = &gitdeploy.location.gitrepo;
        self.git_repo_for_work(application, repo).await?.must_be_ready(repo)?;
        let rows = sqlx::query!(
            r#"select name as "name: ServerName", driver as "driver: Driver", host_id as "host: HostId"
               from servers where $1::text[] is null or name = any($1) order by name"#,
            asked.names() as _
        )
        .fetch_all(&self.pool)
        .await?;
        let mut found = Vec::new();
        match asked {
            // Before each is looked for.
            ServersAsked::Named(names) if names.len() > MAX_SERVERS => return Err(not_so_many()),
            ServersAsked::Named(names) => {
                for name in names {
                    caller.require_use(name)?;
                    let row = rows.iter().find(|row| row.name == *name);
                    found.push(row.ok_or_else(|| Error::not_found(Noun::Server, name))?);
                }
            }
            ServersAsked::Matching(glob) => {
                let names = rows.iter().map(|row| row.name.clone()).collect();
                let may = |caller: &Caller, name: &ServerName| caller.require_use(name).is_ok();
                let mine = visible(caller, names, may).await?;
                let wanted = glob.clone();
                let matching = aside(caller, move |_| matching(&wanted, mine)).await??;
                found.extend(rows.iter().filter(|row| matching.contains(row.name.as_str())));
                if found.is_empty() {
                    return Err(Error::invalid("glob", format!("no server that you may use matches `{glob}`")));
                }
            }
        }
        if found.is_empty() || found.len() > MAX_SERVERS {
            return Err(not_so_many());
        }
        let local = found.iter().filter(|row| row.driver == Driver::Local);
        let mut hosts: Vec<_> = local.filter_map(|row| row.host).collect();
        hosts.sort();
        hosts.dedup();
        if hosts.len() > 1 {
            let rule =
                "these servers of the driver `local` are on several hosts; ask for those of each host by themselves";
            return Err(Error::invalid("servers", rule));
        }
        let mut servers: Vec<_> = found.iter().map(|row| row.name.clone()).collect();
        servers.sort();
        servers.dedup();
        Ok((gitdeploy, ServersFound { servers, host: hosts.pop() }))
    }

    /// Makes a job that initializes a gitdeploy on servers durable, and has it keep its place there until the job has
    /// ended. Who calls this has made sure that the caller may ask for it.
    ///
    /// # Errors
    /// Those of [`DataSvc::enqueue_own`]; [`Error::Conflict`] if another gitdeploy is at that place, or above or below it,
    /// or this one has changed meanwhile.
    pub async fn enqueue_initializing(
        &self,
        caller: &Caller,
        job: &NewOwnJob,
        gitdeploy: &Gitdeploy,
        servers: &[ServerName],
    ) -> Result<Enqueued> {
        self.check_own(caller, job).await?;
        let mut transaction = self.pool.begin().await?;
        if !job.insert(&mut transaction, caller).await? {
            transaction.rollback().await?;
            return self.own_before(caller, job).await;
        }
        reserve(&mut transaction, job.job_id, gitdeploy, servers).await?;
        transaction.commit().await?;
        Ok(Enqueued { job_id: job.job_id, status: JobStatus::Queued, claim: None })
    }

    /// The same of a job that runs. To do it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] likewise, and if the claim is no longer held; [`Error::NotFound`] without the gitdeploy.
    pub async fn reserve_places(&self, claim: &Claim, gitdeploy: &Gitdeploy, servers: &[ServerName]) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        reserve(&mut transaction, claim.job_id, gitdeploy, servers).await?;
        Ok(transaction.commit().await?)
    }

    /// Servers for a job that works on them, whoever asked for that. One that was removed meanwhile is left out.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn targets_for_work(&self, servers: &[ServerName]) -> Result<Vec<CommandTarget>> {
        let located = self.locate(servers).await?;
        let mut targets: Vec<_> = located.into_iter().map(|(target, _)| target).collect();
        targets.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(targets)
    }

    /// Records that a gitdeploy is initialized on a server. To do it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn record_initialized(
        &self,
        claim: &Claim,
        gitdeploy: &GitdeployName,
        server: &ServerName,
        pulled: Option<&str>,
    ) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        sqlx::query!(
            "insert into gitdeploy_servers (application, gitdeploy, server, pulled_commit)
             select $1, $2, $3, $4 where exists (select from servers where name = $3)
             on conflict (application, gitdeploy, server) do nothing",
            claim.application()?.as_str(),
            gitdeploy.as_str(),
            server.as_str(),
            pulled
        )
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Records that a gitdeploy is no longer initialized on a server, and makes the server's token good for nothing.
    /// Builds that could be put back there may go. To do it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn record_deinitialized(
        &self,
        claim: &Claim,
        gitdeploy: &GitdeployName,
        server: &ServerName,
    ) -> Result<()> {
        let application = claim.application()?;
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        sqlx::query!(
            "delete from gitdeploy_servers where application = $1 and gitdeploy = $2 and server = $3",
            application.as_str(),
            gitdeploy.as_str(),
            server.as_str()
        )
        .execute(&mut *transaction)
        .await?;
        end_needs_of_rollbacks(&mut transaction, application, None).await?;
        transaction.commit().await?;
        self.revoke_git_token(application, gitdeploy, server).await
    }

    /// Records in the audit that what a server reads a repository with may be in other hands.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn audit_exposed_key(
        &self,
        claim: &Claim,
        gitdeploy: &GitdeployName,
        server: &ServerName,
        advice: &str,
    ) -> Result<()> {
        let application = claim.application()?;
        let after =
            serde_json::json!({ "gitdeploy": gitdeploy, "server": server, "code": "key-exposed", "advice": advice });
        sqlx::query!(
            "insert into audit (operation, application, name, username, job_id, after)
             values ('gitdeploys.key-exposed', $1, $2, $3, $4, $5::text::json)",
            application.as_str(),
            gitdeploy.as_str(),
            claim.username,
            claim.job_id as _,
            after.to_string()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// Reserves the place of a gitdeploy on servers for a job.
async fn reserve(
    connection: &mut PgConnection,
    job: JobId,
    gitdeploy: &Gitdeploy,
    servers: &[ServerName],
) -> Result<()> {
    let Gitdeploy { application, name, location, .. } = gitdeploy;
    let servers: Vec<_> = servers.iter().map(|server| server.as_str().to_owned()).collect();
    // The lock keeps its location as it is.
    let is_same = sqlx::query_scalar!(
        r#"select path = $3 and git_repo = $4 and default_branch = $5 as "is_same!" from gitdeploys
           where application = $1 and name = $2 for share"#,
        application.as_str(),
        name.as_str(),
        location.path,
        location.gitrepo.as_str(),
        location.default_branch
    );
    match is_same.fetch_optional(&mut *connection).await? {
        Some(true) => {}
        Some(false) => {
            return Err(Error::conflict(format!("gitdeploy `{name}` has changed meanwhile; ask for it again")));
        }
        None => return Err(Error::not_found(Noun::Gitdeploy, name)),
    }
    // Who reserves a place on one of them waits.
    sqlx::query!("select from servers where name = any($1) order by name for no key update", &servers)
        .execute(&mut *connection)
        .await?;
    check_paths(connection, gitdeploy, &servers).await?;
    sqlx::query!(
        "delete from gitdeploy_reservations where (job_id, server) in (
             select job_id, server from gitdeploy_reservations r
             where not exists (select from jobs where id = r.job_id and status in ('queued', 'running'))
             for update skip locked)"
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into gitdeploy_reservations (job_id, application, gitdeploy, server)
         select $1, $2, $3, name from servers where name = any($4) on conflict do nothing",
        job as _,
        application.as_str(),
        name.as_str(),
        &servers
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes sure that no other gitdeploy is on one of these servers at the same place, or above or below it.
async fn check_paths(connection: &mut PgConnection, gitdeploy: &Gitdeploy, servers: &[String]) -> Result<()> {
    let taken = sqlx::query!(
        r#"select p.server as "server!", g.application, g.name, g.path from gitdeploy_places p
               join gitdeploys g on g.application = p.application and g.name = p.gitdeploy,
               lateral (select rtrim(replace(g.path, '\', '/'), '/') as there, rtrim(replace($4, '\', '/'), '/') as here) at
           where p.server = any($1) and (g.application, g.name) <> ($2, $3)
               and (there = here or starts_with(there, here || '/') or starts_with(here, there || '/'))
           limit 1"#,
        servers,
        gitdeploy.application.as_str(),
        gitdeploy.name.as_str(),
        gitdeploy.location.path
    )
    .fetch_optional(connection)
    .await?;
    match taken {
        None => Ok(()),
        Some(row) => Err(Error::conflict(format!(
            "gitdeploy `{}` of application `{}` is at `{}` on server `{}`, which is the same place, or one is in the \
             other; choose another path",
            row.name, row.application, row.path, row.server
        ))),
    }
}

impl ServersAsked {
    fn names(&self) -> Option<Vec<String>> {
        match self {
            Self::Named(names) => Some(names.iter().map(|name| name.as_str().to_owned()).collect()),
            Self::Matching(_) => None,
        }
    }
}

fn not_so_many() -> Error {
    Error::invalid("servers", format!("name 1 to {MAX_SERVERS} servers"))
}

/// The names that a glob matches. To read it may take long, and so may every match.
fn matching(glob: &str, names: Vec<ServerName>) -> Result<HashSet<String>> {
    let glob = (glob.len() <= MAX_GLOB_BYTES).then(|| GlobBuilder::new(glob).build().ok()).flatten();
    let glob = glob.ok_or_else(|| Error::invalid("glob", "it is not a glob of at most 512 bytes"))?;
    let glob = glob.compile_matcher();
    Ok(names.into_iter().map(|name| name.to_string()).filter(|name| glob.is_match(name)).collect())
}
