//! Gitdeploys: which package goes where on servers, through which git repository.

mod settings;

use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::referrers::{NAMED, Referrer, named};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, GitRepoName, GitdeployName, PackageName, ServerName};
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::patch::Patch;
use crate::datasvc::ground::revision::{Expected, Revision};
use crate::datasvc::ground::sql::{OnConstraint as _, json_column};

pub use self::settings::{
    Favor, GitdeployActions, GitdeployLocation, GitdeployOptions, PullCommand, PullScript, PullShell, PullStates,
};

/// A gitdeploy.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Gitdeploy {
    /// Unique within the application.
    pub name: GitdeployName,
    /// The application it is of.
    pub application: AppName,
    /// The same, by the name that it had first.
    pub app_name: AppName,
    /// The package of a build that is deployed.
    pub package: PackageName,
    /// Where it goes.
    pub location: GitdeployLocation,
    /// How it is committed and pulled.
    pub options: GitdeployOptions,
    /// What runs on each server around a pull.
    pub actions: GitdeployActions,
    /// What users keep with it.
    pub attributes: Attributes,
    /// The servers on which it is initialized, by name.
    #[schema(value_type = Vec<InitializedServer>)]
    pub servers: InitializedServers,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed. A change of its servers does not count.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// This version of it.
    #[serde(skip)]
    pub revision: Revision,
}

/// The servers on which a gitdeploy is initialized, by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct InitializedServers(pub Vec<InitializedServer>);

/// A server on which a gitdeploy is initialized.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InitializedServer {
    /// The server.
    pub server: ServerName,
    /// The build that was last deployed there.
    pub deployed_build: Option<BuildName>,
    /// Since when it is initialized.
    #[serde(with = "time::serde::rfc3339")]
    pub initialized_at: OffsetDateTime,
}

json_column!(InitializedServers);

/// What a new gitdeploy needs.
#[derive(Clone, Debug)]
pub struct NewGitdeploy {
    /// Its name, unique within the application.
    pub name: GitdeployName,
    /// The package of a build that is deployed.
    pub package: PackageName,
    /// Where it goes.
    pub location: GitdeployLocation,
    /// How it is committed and pulled.
    pub options: GitdeployOptions,
    /// What runs on each server around a pull.
    pub actions: GitdeployActions,
    /// What to keep with it.
    pub attributes: Attributes,
}

/// What can be changed of a gitdeploy.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GitdeployChange)]
pub struct Change {
    package: PackageName,
    location: GitdeployLocation,
    #[serde(default)]
    options: GitdeployOptions,
    #[serde(default)]
    actions: GitdeployActions,
    #[serde(default)]
    attributes: Attributes,
}

/// A gitdeploy as it is kept, with what is nested in its document side by side.
struct Row {
    name: GitdeployName,
    application: AppName,
    app_name: AppName,
    package: PackageName,
    path: String,
    gitrepo: GitRepoName,
    default_branch: String,
    options: GitdeployOptions,
    actions: GitdeployActions,
    attributes: Attributes,
    servers: InitializedServers,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    revision: Revision,
}

impl From<Row> for Gitdeploy {
    fn from(row: Row) -> Self {
        let Row {
            name,
            application,
            app_name,
            package,
            path,
            gitrepo,
            default_branch,
            options,
            actions,
            attributes,
            servers,
            created_at,
            updated_at,
            revision,
        } = row;
        let location = GitdeployLocation { path, gitrepo, default_branch };
        Self {
            name,
            application,
            app_name,
            package,
            location,
            options,
            actions,
            attributes,
            servers,
            created_at,
            updated_at,
            revision,
        }
    }
}

impl DataSvc {
    /// Makes a gitdeploy, which is initialized on no server yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the path of what cannot be, such as a git repository that does not exist;
    /// [`Error::AlreadyExists`]; [`Error::NotFound`] without the application; [`Error::Denied`] without write
    /// permission on it.
    pub async fn create_gitdeploy(
        &self,
        caller: &Caller,
        application: &AppName,
        new: &NewGitdeploy,
    ) -> Result<Gitdeploy> {
        caller.require(Permission::Write, application)?;
        let NewGitdeploy { name, package, location, options, actions, attributes } = new;
        location.check()?;
        options.check()?;
        actions.check()?;
        let mut transaction = self.change(caller, "gitdeploys.create").await?;
        let created = sqlx::query_as!(
            Row,
            r#"insert into gitdeploys
                   (application, name, package, path, git_repo, default_branch, options, actions, attributes)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
               returning name as "name: GitdeployName", application as "application: AppName", application as "app_name: AppName",
                   package as "package: PackageName", path, git_repo as "gitrepo: GitRepoName", default_branch,
                   options as "options: GitdeployOptions", actions as "actions: GitdeployActions",
                   attributes as "attributes: Attributes", '[]'::json as "servers!: InitializedServers", created_at,
                   updated_at, revision as "revision: Revision""#,
            application.as_str(),
            name.as_str(),
            package.as_str(),
            location.path,
            location.gitrepo.as_str(),
            location.default_branch,
            options as _,
            actions as _,
            attributes as _
        )
        .fetch_one(&mut *transaction)
        .await;
        let created = created.on_constraints(&[
            ("gitdeploys_pkey", &|| Error::already_exists(Kind::Gitdeploy, name)),
            ("gitdeploys_application_fkey", &|| Error::not_found(Kind::Application, application)),
            ("gitdeploys_git_repo_fkey", &|| no_repo(&location.gitrepo)),
        ])?;
        let gitdeploy = Gitdeploy::from(created);
        check_repo_stays(&mut transaction, application, &gitdeploy.location.gitrepo).await?;
        transaction.created(Some(application), name, &gitdeploy).await?;
        Ok(gitdeploy)
    }

    /// One gitdeploy.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without read permission on the application.
    pub async fn gitdeploy(&self, caller: &Caller, application: &AppName, name: &GitdeployName) -> Result<Gitdeploy> {
        caller.require(Permission::Read, application)?;
        self.gitdeploy_for_work(application, name).await
    }

    /// One gitdeploy, for a job that works on it, whoever asked for that.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn gitdeploy_for_work(&self, application: &AppName, name: &GitdeployName) -> Result<Gitdeploy> {
        let found = sqlx::query_as!(
            Row,
            r#"select name as "name: GitdeployName", application as "application: AppName", application as "app_name: AppName",
                   package as "package: PackageName", path, git_repo as "gitrepo: GitRepoName", default_branch,
                   options as "options: GitdeployOptions", actions as "actions: GitdeployActions",
                   attributes as "attributes: Attributes",
                   coalesce((select servers from initialized_servers s
                             where s.application = g.application and s.gitdeploy = g.name), '[]')
                       as "servers!: InitializedServers",
                   created_at, updated_at, revision as "revision: Revision"
               from gitdeploys g where application = $1 and name = $2"#,
            application.as_str(),
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?;
        found.map(Gitdeploy::from).ok_or_else(|| Error::not_found(Kind::Gitdeploy, name))
    }

    /// Those of these gitdeploys that exist, by name, for work on them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn gitdeploys_named(
        &self,
        application: &AppName,
        names: &std::collections::BTreeSet<GitdeployName>,
    ) -> Result<Vec<Gitdeploy>> {
        let found = sqlx::query_as!(
            Row,
            r#"select name as "name: GitdeployName", application as "application: AppName", application as "app_name: AppName",
                   package as "package: PackageName", path, git_repo as "gitrepo: GitRepoName", default_branch,
                   options as "options: GitdeployOptions", actions as "actions: GitdeployActions",
                   attributes as "attributes: Attributes", '[]'::json as "servers!: InitializedServers",
                   created_at, updated_at, revision as "revision: Revision"
               from gitdeploys where application = $1 and name = any($2) order by name"#,
            application.as_str(),
            &names.iter().map(|name| name.as_str().to_owned()).collect::<Vec<_>>()
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(found.into_iter().map(Gitdeploy::from).collect())
    }

    /// The gitdeploys of an application, by name.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the application; [`Error::Denied`] without read permission on it.
    pub async fn gitdeploys(&self, caller: &Caller, application: &AppName, page: &Page) -> Result<Listed<Gitdeploy>> {
        caller.require(Permission::Read, application)?;
        let start = page.start()?;
        let rows = sqlx::query_as!(
            Row,
            r#"select name as "name: GitdeployName", application as "application: AppName", application as "app_name: AppName",
                   package as "package: PackageName", path, git_repo as "gitrepo: GitRepoName", default_branch,
                   options as "options: GitdeployOptions", actions as "actions: GitdeployActions",
                   attributes as "attributes: Attributes",
                   coalesce((select servers from initialized_servers s
                             where s.application = g.application and s.gitdeploy = g.name), '[]')
                       as "servers!: InitializedServers",
                   created_at, updated_at, revision as "revision: Revision"
               from gitdeploys g
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
        let cursor = |gitdeploy: &Gitdeploy| page.cursor(gitdeploy.created_at, gitdeploy.name.as_str());
        let listed = self
            .reads
            .run(async |connection| page.gather(rows.fetch(connection).map_ok(Gitdeploy::from), cursor).await)
            .await?;
        self.exists_if_empty(application, &listed).await?;
        Ok(listed)
    }

    /// Changes what a gitdeploy deploys, where and how, and its attributes.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on the application, or without the permission for
    /// a server on which it is initialized if the commands around a pull are to change; [`Error::Changed`] if it
    /// is another version than expected; [`Error::Invalid`] for what the patch cannot do, such as naming a git
    /// repository that does not exist; [`Error::Conflict`] if a test of the patch fails, or naming servers on which it
    /// is initialized if its location or its option `autocrlf` are to change.
    pub async fn update_gitdeploy(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GitdeployName,
        patch: &Patch,
        expected: &Expected,
    ) -> Result<Gitdeploy> {
        caller.require(Permission::Write, application)?;
        let mut transaction = self.change(caller, "gitdeploys.update").await?;
        let gitdeploy = locked(&mut transaction, application, name).await?;
        expected.check(gitdeploy.revision, Kind::Gitdeploy, name)?;
        let changeable = Change {
            package: gitdeploy.package.clone(),
            location: gitdeploy.location.clone(),
            options: gitdeploy.options.clone(),
            actions: gitdeploy.actions.clone(),
            attributes: gitdeploy.attributes.clone(),
        };
        let patch = patch.passing_over(&["servers"]);
        let Change { package, location, options, actions, attributes } = patch.apply(&gitdeploy, &changeable).await?;
        location.check()?;
        options.check()?;
        actions.check()?;
        if gitdeploy.location != location || gitdeploy.options.autocrlf != options.autocrlf {
            let servers = initialized_on(&mut transaction, application, name).await?;
            if let Some(servers) = named("server", &servers) {
                return Err(Error::conflict(format!(
                    "gitdeploy `{name}` is initialized on {servers}, so that its path, its git repository, its branch \
                     and its option `autocrlf` cannot change; deinitialize it there first"
                )));
            }
        }
        if gitdeploy.actions != actions {
            may_command(&mut transaction, caller, application, name).await?;
        }
        let updated = sqlx::query_as!(
            Row,
            r#"update gitdeploys g
               set package = $3, path = $4, git_repo = $5, default_branch = $6, options = $7, actions = $8,
                   attributes = $9, revision = nextval('revisions'), updated_at = now()
               where application = $1 and name = $2
               returning name as "name: GitdeployName", application as "application: AppName", application as "app_name: AppName",
                   package as "package: PackageName", path, git_repo as "gitrepo: GitRepoName", default_branch,
                   options as "options: GitdeployOptions", actions as "actions: GitdeployActions",
                   attributes as "attributes: Attributes",
                   coalesce((select servers from initialized_servers s
                             where s.application = g.application and s.gitdeploy = g.name), '[]')
                       as "servers!: InitializedServers",
                   created_at, updated_at, revision as "revision: Revision""#,
            application.as_str(),
            name.as_str(),
            package.as_str(),
            location.path,
            location.gitrepo.as_str(),
            location.default_branch,
            options as _,
            actions as _,
            attributes as _
        )
        .fetch_one(&mut *transaction)
        .await
        .on_constraint("gitdeploys_git_repo_fkey", || no_repo(&location.gitrepo))?;
        let updated = Gitdeploy::from(updated);
        if gitdeploy.location.gitrepo != updated.location.gitrepo {
            check_repo_stays(&mut transaction, application, &updated.location.gitrepo).await?;
        }
        transaction.updated(Some(application), name, &gitdeploy, &updated).await?;
        Ok(updated)
    }

    /// Removes a gitdeploy that is in no group and initialized on no server.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] naming groups that use it or servers on which it is initialized;
    /// [`Error::Denied`] without write permission on the application; [`Error::Changed`] if it is another version than
    /// expected.
    pub async fn delete_gitdeploy(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GitdeployName,
        expected: &Expected,
    ) -> Result<()> {
        caller.require(Permission::Write, application)?;
        let mut transaction = self.change(caller, "gitdeploys.delete").await?;
        let gitdeploy = locked(&mut transaction, application, name).await?;
        expected.check(gitdeploy.revision, Kind::Gitdeploy, name)?;
        let groups = sqlx::query_as!(
            Referrer,
            r#"select "group" as name, count(*) over () as "count!"
               from group_gitdeploys where application = $1 and gitdeploy = $2 order by "group" limit $3"#,
            application.as_str(),
            name.as_str(),
            NAMED
        )
        .fetch_all(&mut *transaction)
        .await?;
        if let Some(groups) = named("group", &groups) {
            return Err(in_groups(name, &groups));
        }
        let servers = initialized_on(&mut transaction, application, name).await?;
        if let Some(servers) = named("server", &servers) {
            return Err(Error::conflict(format!(
                "gitdeploy `{name}` is initialized on {servers}; deinitialize it there first"
            )));
        }
        sqlx::query!(
            "delete from gitdeploys where application = $1 and name = $2",
            application.as_str(),
            name.as_str()
        )
        .execute(&mut *transaction)
        .await
        .on_constraint("group_gitdeploys_gitdeploy_fkey", || in_groups(name, "a group"))?;
        transaction.deleted(Some(application), name, &gitdeploy).await
    }
}

/// One gitdeploy. The lock keeps it out of groups and from being initialized on servers, so that what is found of
/// both afterwards holds.
async fn locked(connection: &mut PgConnection, application: &AppName, name: &GitdeployName) -> Result<Gitdeploy> {
    let found = sqlx::query_as!(
        Row,
        r#"select name as "name: GitdeployName", application as "application: AppName", application as "app_name: AppName",
               package as "package: PackageName", path, git_repo as "gitrepo: GitRepoName", default_branch,
               options as "options: GitdeployOptions", actions as "actions: GitdeployActions",
               attributes as "attributes: Attributes",
               coalesce((select servers from initialized_servers s
                         where s.application = g.application and s.gitdeploy = g.name), '[]')
                   as "servers!: InitializedServers",
               created_at, updated_at, revision as "revision: Revision"
           from gitdeploys g where application = $1 and name = $2 for update"#,
        application.as_str(),
        name.as_str()
    )
    .fetch_optional(connection)
    .await?;
    found.map(Gitdeploy::from).ok_or_else(|| Error::not_found(Kind::Gitdeploy, name))
}

/// Some of the servers on which a gitdeploy is initialized, or a job is about to do that.
async fn initialized_on(
    connection: &mut PgConnection,
    application: &AppName,
    name: &GitdeployName,
) -> Result<Vec<Referrer>> {
    let servers = sqlx::query_as!(
        Referrer,
        r#"select server as "name!", count(*) over () as "count!"
           from gitdeploy_places where application = $1 and gitdeploy = $2 order by server limit $3"#,
        application.as_str(),
        name.as_str(),
        NAMED
    )
    .fetch_all(connection)
    .await?;
    Ok(servers)
}

/// What runs around a pull runs on all servers on which the gitdeploy is initialized: who changes it may deploy to each.
///
/// # Errors
/// [`Error::Denied`] that names the first server to which the caller may not.
async fn may_command(
    connection: &mut PgConnection,
    caller: &Caller,
    application: &AppName,
    name: &GitdeployName,
) -> Result<()> {
    let servers = sqlx::query_scalar!(
        r#"select server as "server!: ServerName" from gitdeploy_places
           where application = $1 and gitdeploy = $2 order by server"#,
        application.as_str(),
        name.as_str()
    );
    for server in servers.fetch_all(connection).await? {
        caller.require_use(&server).map_err(|error| match error {
            Error::Denied { reason } => {
                Error::Denied { reason: format!("the commands around a pull run on server `{server}`, and {reason}") }
            }
            other => other,
        })?;
    }
    Ok(())
}

/// A repository that is being removed takes no gitdeploys. The reference to it that is there by now keeps others from
/// beginning to remove it.
async fn check_repo_stays(connection: &mut PgConnection, application: &AppName, name: &GitRepoName) -> Result<()> {
    let is_removed = sqlx::query_scalar!(
        r#"select state = 'removing' as "is_removed!" from git_repos where application = $1 and name = $2"#,
        application.as_str(),
        name.as_str()
    );
    match is_removed.fetch_optional(connection).await? {
        Some(true) => Err(Error::invalid("location/gitrepo", format!("git repository `{name}` is being removed"))),
        Some(false) | None => Ok(()),
    }
}

fn no_repo(name: &GitRepoName) -> Error {
    Error::invalid("location/gitrepo", format!("git repository `{name}` does not exist; create it first"))
}

fn in_groups(name: &GitdeployName, groups: &str) -> Error {
    Error::conflict(format!("gitdeploy `{name}` is used by {groups}; take it out of what uses it first"))
}
