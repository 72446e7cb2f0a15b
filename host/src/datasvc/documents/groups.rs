//! Groups: which gitdeploys are deployed together, and to which servers: those on which all of them are initialized.

mod gitdeploys;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::referrers::{NAMED, Referrer, named};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{AppName, EnvironmentName, GroupName, ServerName};
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::patch::Patch;
use crate::datasvc::ground::revision::{Expected, Revision};
use crate::datasvc::ground::sql::OnConstraint as _;

pub use gitdeploys::GroupGitdeploys;

/// The longest description, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 4096;
/// How many environments a request may name.
const MAX_ENVIRONMENTS: usize = 1000;

/// A group.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Group {
    /// Unique within the application.
    pub name: GroupName,
    /// The application it is of.
    pub application: AppName,
    /// The same, by the name that it had first.
    pub app_name: AppName,
    /// Its gitdeploys: a list of names, or a list of stages in their order, which are lists of names.
    pub gitdeploys: GroupGitdeploys,
    /// Whether a deployment goes through its servers part by part.
    pub rolling_deploy: bool,
    /// What it is for.
    pub description: String,
    /// What users keep with it.
    pub attributes: Attributes,
    /// The servers on which all of its gitdeploys are initialized, of all environments or those that were asked for,
    /// by name.
    pub servers: Vec<ServerName>,
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

/// A group to be made.
#[derive(Clone, Debug)]
pub struct NewGroup {
    /// Unique within the application.
    pub name: GroupName,
    /// Its gitdeploys.
    pub gitdeploys: GroupGitdeploys,
    /// Whether a deployment goes through its servers part by part.
    pub rolling_deploy: bool,
    /// What it is for, at most 4 KiB.
    pub description: String,
    /// What to keep with it.
    pub attributes: Attributes,
}

/// What can be changed of a group.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GroupChange)]
pub struct Change {
    gitdeploys: GroupGitdeploys,
    #[serde(default)]
    rolling_deploy: bool,
    #[serde(default)]
    description: String,
    #[serde(default)]
    attributes: Attributes,
}

impl DataSvc {
    /// Makes a group.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Invalid`] for gitdeploys that do not exist or cannot be a group's, and for
    /// a description that is too long; [`Error::NotFound`] without the application; [`Error::Denied`] without write
    /// permission on it.
    pub async fn create_group(&self, caller: &Caller, application: &AppName, new: &NewGroup) -> Result<Group> {
        let NewGroup { name, gitdeploys, rolling_deploy, description, attributes } = new;
        caller.require(Permission::Write, application)?;
        gitdeploys.check()?;
        check_description(description)?;
        let mut transaction = self.change(caller, "groups.create").await?;
        let created = sqlx::query!(
            "insert into groups (application, name, ordered, rolling_deploy, description, attributes)
             values ($1, $2, $3, $4, $5, $6)",
            application.as_str(),
            name.as_str(),
            gitdeploys.is_ordered(),
            rolling_deploy,
            description,
            attributes as _
        );
        created.execute(&mut *transaction).await.on_constraints(&[
            ("groups_pkey", &|| Error::already_exists(Kind::Group, name)),
            ("groups_application_fkey", &|| Error::not_found(Kind::Application, application)),
        ])?;
        if !insert_gitdeploys(&mut transaction, application, name, gitdeploys).await? {
            transaction.rollback().await?;
            return Err(self.unknown_gitdeploys(application, gitdeploys).await?);
        }
        let group = read(&mut transaction, application, name, None).await?;
        transaction.created(Some(application), name, &group).await?;
        Ok(group)
    }

    /// One group, with its servers in these environments; in all, if none is named.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::TooMany`] environments; [`Error::Denied`] without read permission on the
    /// application.
    pub async fn group(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GroupName,
        environments: &[EnvironmentName],
    ) -> Result<Group> {
        caller.require(Permission::Read, application)?;
        let environments = filter(environments)?;
        read(&mut *self.pool.acquire().await?, application, name, environments.as_deref()).await
    }

    /// The groups of an application, by name, with their servers in these environments; in all, if none is named.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the application; [`Error::TooMany`] environments; [`Error::Denied`] without read
    /// permission on the application.
    pub async fn groups(
        &self,
        caller: &Caller,
        application: &AppName,
        environments: &[EnvironmentName],
        page: &Page,
    ) -> Result<Listed<Group>> {
        caller.require(Permission::Read, application)?;
        let environments = filter(environments)?;
        let start = page.start()?;
        let rows = sqlx::query_as!(
            Group,
            r#"select g.name as "name: GroupName", g.application as "application: AppName", g.application as "app_name: AppName",
                   (select case when g.ordered then json_agg(stage.names order by stage.number)
                                else (json_agg(stage.names) -> 0) end
                    from (select stage as number, json_agg(gitdeploy order by place) as names
                          from group_gitdeploys d where d.application = g.application and d."group" = g.name
                          group by stage) stage) as "gitdeploys!: GroupGitdeploys",
                   g.rolling_deploy, g.description, g.attributes as "attributes: Attributes",
                   array(select m.server from group_servers m
                         where m.application = g.application and m."group" = g.name
                             and ($2::text[] is null or m.environment = any($2))
                         order by m.server) as "servers!: Vec<ServerName>",
                   g.created_at, g.updated_at, g.revision as "revision: Revision"
               from groups g where g.application = $1 and ($3::text is null or case when $6 then (g.created_at, g.name) < ($7, $3)
                           when $8 then (g.created_at, g.name) > ($7, $3) else g.name > $3 end)
                   and ($5::text is null or g.name like $5)
               order by case when $6 then g.created_at end desc, case when $6 then g.name end desc,
                   case when $8 then g.created_at end, g.name limit $4"#,
            application.as_str(),
            environments.as_deref() as _,
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
                page.gather(rows.fetch(connection), |group| page.cursor(group.created_at, group.name.as_str())).await
            })
            .await?;
        self.exists_if_empty(application, &listed).await?;
        Ok(listed)
    }

    /// Changes the gitdeploys of a group, how and for what they are deployed, and its attributes.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on the application; [`Error::Changed`] if it
    /// is another version than expected; [`Error::Invalid`] and [`Error::Conflict`] for what the patch cannot do.
    pub async fn update_group(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GroupName,
        patch: &Patch,
        expected: &Expected,
    ) -> Result<Group> {
        caller.require(Permission::Write, application)?;
        let mut transaction = self.change(caller, "groups.update").await?;
        let group = locked(&mut transaction, application, name).await?;
        expected.check(group.revision, Kind::Group, name)?;
        let changeable = Change {
            gitdeploys: group.gitdeploys.clone(),
            rolling_deploy: group.rolling_deploy,
            description: group.description.clone(),
            attributes: group.attributes.clone(),
        };
        let patch = patch.passing_over(&["servers"]);
        let Change { gitdeploys, rolling_deploy, description, attributes } = patch.apply(&group, &changeable).await?;
        gitdeploys.check()?;
        check_description(&description)?;
        sqlx::query!(
            "update groups set ordered = $3, rolling_deploy = $4, description = $5, attributes = $6,
                 revision = nextval('revisions'), updated_at = now()
             where application = $1 and name = $2",
            application.as_str(),
            name.as_str(),
            gitdeploys.is_ordered(),
            rolling_deploy,
            description,
            attributes as _
        )
        .execute(&mut *transaction)
        .await?;
        if gitdeploys != group.gitdeploys {
            delete_gitdeploys(&mut transaction, application, name).await?;
            if !insert_gitdeploys(&mut transaction, application, name, &gitdeploys).await? {
                transaction.rollback().await?;
                return Err(self.unknown_gitdeploys(application, &gitdeploys).await?);
            }
        }
        let updated = read(&mut transaction, application, name, None).await?;
        transaction.updated(Some(application), name, &group, &updated).await?;
        Ok(updated)
    }

    /// Removes a group. Its gitdeploys and its servers stay.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on the application; [`Error::Changed`] if it
    /// is another version than expected.
    pub async fn delete_group(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GroupName,
        expected: &Expected,
    ) -> Result<()> {
        caller.require(Permission::Write, application)?;
        let mut transaction = self.change(caller, "groups.delete").await?;
        let group = locked(&mut transaction, application, name).await?;
        expected.check(group.revision, Kind::Group, name)?;
        sqlx::query!("delete from groups where application = $1 and name = $2", application.as_str(), name.as_str())
            .execute(&mut *transaction)
            .await?;
        transaction.deleted(Some(application), name, &group).await
    }

    /// Says which of these gitdeploys do not exist, now that the database has found one.
    async fn unknown_gitdeploys(&self, application: &AppName, gitdeploys: &GroupGitdeploys) -> Result<Error> {
        let (names, _) = gitdeploys.columns();
        let unknown = sqlx::query_as!(
            Referrer,
            r#"select wanted.name as "name!", count(*) over () as "count!"
               from unnest($2::text[]) with ordinality as wanted (name, place)
               where not exists (select from gitdeploys g where g.application = $1 and g.name = wanted.name)
               order by wanted.place limit $3"#,
            application.as_str(),
            &names,
            NAMED
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(match named("gitdeploy", &unknown) {
            Some(unknown) => {
                Error::invalid("gitdeploys", format!("{unknown} cannot be found; create what is missing first"))
            }
            None => Error::conflict("gitdeploys of the group were made or removed meanwhile; try again"),
        })
    }
}

/// One group as it is in this transaction, with its servers in these environments; in all environments, if `None`.
pub(super) async fn read(
    connection: &mut PgConnection,
    application: &AppName,
    name: &GroupName,
    environments: Option<&[String]>,
) -> Result<Group> {
    sqlx::query_as!(
        Group,
        r#"select g.name as "name: GroupName", g.application as "application: AppName", g.application as "app_name: AppName",
               (select case when g.ordered then json_agg(stage.names order by stage.number)
                            else (json_agg(stage.names) -> 0) end
                from (select stage as number, json_agg(gitdeploy order by place) as names
                      from group_gitdeploys d where d.application = g.application and d."group" = g.name
                      group by stage) stage) as "gitdeploys!: GroupGitdeploys",
               g.rolling_deploy, g.description, g.attributes as "attributes: Attributes",
               array(select m.server from group_servers m
                     where m.application = g.application and m."group" = g.name
                         and ($3::text[] is null or m.environment = any($3))
                     order by m.server) as "servers!: Vec<ServerName>",
               g.created_at, g.updated_at, g.revision as "revision: Revision"
           from groups g where g.application = $1 and g.name = $2"#,
        application.as_str(),
        name.as_str(),
        environments as _
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::not_found(Kind::Group, name))
}

/// One group, locked before it is read: what a waiting statement reads of other tables is older than the lock.
async fn locked(connection: &mut PgConnection, application: &AppName, name: &GroupName) -> Result<Group> {
    sqlx::query!(
        "select from groups where application = $1 and name = $2 for update",
        application.as_str(),
        name.as_str()
    )
    .execute(&mut *connection)
    .await?;
    read(connection, application, name, None).await
}

/// Writes the gitdeploys of a group that has no gitdeploys yet. False: one of them does not exist.
async fn insert_gitdeploys(
    connection: &mut PgConnection,
    application: &AppName,
    name: &GroupName,
    gitdeploys: &GroupGitdeploys,
) -> Result<bool> {
    let (names, stages) = gitdeploys.columns();
    let inserted = sqlx::query!(
        r#"insert into group_gitdeploys (application, "group", gitdeploy, stage, place)
           select $1, $2, gitdeploy, stage, place
           from unnest($3::text[], $4::int[]) with ordinality as wanted (gitdeploy, stage, place)"#,
        application.as_str(),
        name.as_str(),
        &names,
        &stages
    )
    .execute(connection)
    .await;
    match inserted {
        Ok(_) => Ok(true),
        Err(error) => {
            let violated = error.as_database_error().and_then(|error| error.constraint());
            if violated == Some("group_gitdeploys_gitdeploy_fkey") { Ok(false) } else { Err(error.into()) }
        }
    }
}

async fn delete_gitdeploys(connection: &mut PgConnection, application: &AppName, name: &GroupName) -> Result<()> {
    sqlx::query!(
        r#"delete from group_gitdeploys where application = $1 and "group" = $2"#,
        application.as_str(),
        name.as_str()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The environments that servers are to be of; none if that is all the same.
pub(super) fn filter(environments: &[EnvironmentName]) -> Result<Option<Vec<String>>> {
    if environments.len() > MAX_ENVIRONMENTS {
        return Err(Error::TooMany { what: "environments", limit: MAX_ENVIRONMENTS as u32 });
    }
    let names: Vec<_> = environments.iter().map(EnvironmentName::to_string).collect();
    Ok(Some(names).filter(|names| !names.is_empty()))
}

fn check_description(description: &str) -> Result<()> {
    if description.len() > MAX_DESCRIPTION_BYTES {
        let length = description.len();
        let problem = format!("it is {length} bytes long, and at most {MAX_DESCRIPTION_BYTES} are taken");
        return Err(Error::invalid("description", problem));
    }
    if description.contains('\0') {
        return Err(Error::invalid("description", "it contains a NUL"));
    }
    Ok(())
}
