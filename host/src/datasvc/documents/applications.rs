//! Applications: what builds, actions and jobs belong to.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::retention::BuildRetention;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::access::sight::{Part, VisiblePage};
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::AppName;
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::patch::Patch;
use crate::datasvc::ground::revision::{Expected, Revision};
use crate::datasvc::ground::sql::OnConstraint;

/// An application.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Application {
    /// Its name, unique in this installation.
    pub application: AppName,
    /// The same, by the name that it had first.
    pub app_name: AppName,
    /// What users keep with it.
    pub attributes: Attributes,
    /// Which of its builds the server keeps; null: all.
    pub retention: Option<BuildRetention>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// This version of it.
    #[serde(skip)]
    pub revision: Revision,
}

/// What can be changed of an application.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApplicationChange)]
pub struct Change {
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    retention: Option<BuildRetention>,
}

impl DataSvc {
    /// Makes a new application.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Denied`] without write permission on that name.
    pub async fn create_application(
        &self,
        caller: &Caller,
        name: &AppName,
        attributes: &Attributes,
        retention: Option<BuildRetention>,
    ) -> Result<Application> {
        caller.require(Permission::Write, name)?;
        let mut transaction = self.change(caller, "applications.create").await?;
        let application = sqlx::query_as!(
            Application,
            r#"insert into applications (name, attributes, retention) values ($1, $2, $3)
               returning name as "application: AppName", name as "app_name: AppName", attributes as "attributes: Attributes",
                   retention as "retention: BuildRetention", created_at, updated_at,
                   revision as "revision: Revision""#,
            name.as_str(),
            attributes as _,
            retention as _
        )
        .fetch_one(&mut *transaction)
        .await
        .on_constraint("applications_pkey", || Error::already_exists(Kind::Application, name))?;
        transaction.created(Some(name), name, &application).await?;
        Ok(application)
    }

    /// One application.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without read permission on that name.
    pub async fn application(&self, caller: &Caller, name: &AppName) -> Result<Application> {
        caller.require(Permission::Read, name)?;
        sqlx::query_as!(
            Application,
            r#"select name as "application: AppName", name as "app_name: AppName", attributes as "attributes: Attributes",
                   retention as "retention: BuildRetention", created_at, updated_at,
                   revision as "revision: Revision"
               from applications where name = $1"#,
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Kind::Application, name))
    }

    /// The applications that the caller may read, by name.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn applications(&self, caller: &Caller, page: &Page) -> Result<Listed<Application>> {
        let may = |caller: &Caller, found: &Application| caller.may(Permission::Read, &found.application);
        let mut visible = VisiblePage::of(caller, page);
        loop {
            let (start, limit) = (visible.start()?, visible.limit());
            let rows = sqlx::query_as!(
                Application,
                r#"select name as "application: AppName", name as "app_name: AppName", attributes as "attributes: Attributes",
                       retention as "retention: BuildRetention", created_at, updated_at,
                       revision as "revision: Revision"
                   from applications where ($1::text is null or case when $3 then (created_at, name) < ($4, $1)
                               when $6 then (created_at, name) > ($4, $1) else name > $1 end) and ($2::text is null or name like $2)
                   order by case when $3 then created_at end desc, case when $3 then name end desc,
                       case when $6 then created_at end, name limit $5"#,
                start.name,
                page.like(),
                start.is_newest_first,
                start.created_at,
                limit,
                start.is_oldest_first
            );
            let part = self.reads.run(async |connection| Part::of(rows.fetch(connection), limit).await).await?;
            if let Some(listed) =
                visible.take(part, may, |found| page.cursor(found.created_at, found.application.as_str())).await?
            {
                return Ok(listed);
            }
        }
    }

    /// Changes the attributes of an application, and which of its builds are kept.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on that name; [`Error::Changed`] if it is
    /// another version than expected; [`Error::Invalid`] and [`Error::Conflict`] for what the patch cannot do.
    pub async fn update_application(
        &self,
        caller: &Caller,
        name: &AppName,
        patch: &Patch,
        expected: &Expected,
    ) -> Result<Application> {
        caller.require(Permission::Write, name)?;
        let mut transaction = self.change(caller, "applications.update").await?;
        let application = locked(&mut transaction, name).await?;
        expected.check(application.revision, Kind::Application, name)?;
        let before = Change { attributes: application.attributes.clone(), retention: application.retention };
        let Change { attributes, retention } = patch.apply(&application, &before).await?;
        let updated = sqlx::query_as!(
            Application,
            r#"update applications set attributes = $2, retention = $3, revision = nextval('revisions'), updated_at = now()
               where name = $1
               returning name as "application: AppName", name as "app_name: AppName", attributes as "attributes: Attributes",
                   retention as "retention: BuildRetention", created_at, updated_at,
                   revision as "revision: Revision""#,
            name.as_str(),
            attributes as _,
            retention as _
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.updated(Some(name), name, &application, &updated).await?;
        Ok(updated)
    }

    /// Tells an empty list from that of an application that does not exist.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(super) async fn exists_if_empty<T>(&self, name: &AppName, listed: &Listed<T>) -> Result<()> {
        if !listed.items.is_empty() {
            return Ok(());
        }
        sqlx::query_scalar!("select 1 from applications where name = $1", name.as_str())
            .fetch_optional(&self.pool)
            .await?
            .ok_or_else(|| Error::not_found(Kind::Application, name))?;
        Ok(())
    }

    /// Removes an application with all that belongs to it. Its finished jobs stay on record.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] while jobs of it are queued or running; [`Error::Denied`] without
    /// write permission on that name; [`Error::Changed`] if it is another version than expected.
    pub async fn delete_application(&self, caller: &Caller, name: &AppName, expected: &Expected) -> Result<()> {
        caller.require(Permission::Write, name)?;
        let mut transaction = self.change(caller, "applications.delete").await?;
        // The lock keeps new jobs out (they lock the row to be enqueued), so that the count below holds.
        sqlx::query!("select from applications where name = $1 for update", name.as_str())
            .execute(&mut *transaction)
            .await?;
        let application = locked(&mut transaction, name).await?;
        expected.check(application.revision, Kind::Application, name)?;
        let unfinished = sqlx::query_scalar!(
            r#"select count(*) as "count!" from jobs where application = $1 and status in ('queued', 'running')"#,
            name.as_str()
        )
        .fetch_one(&mut *transaction)
        .await?;
        if unfinished > 0 {
            return Err(Error::conflict(format!(
                "application `{name}` has {unfinished} unfinished jobs; wait until they are done"
            )));
        }
        // What refers to another thing of the application goes before it.
        sqlx::query!(
            "insert into git_remains (host_id, uri) select host_id, uri from git_repos
             where application = $1 and made and host_id is not null
             on conflict (host_id, uri) do update set since = excluded.since",
            name.as_str()
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!("delete from build_needs where application = $1", name.as_str())
            .execute(&mut *transaction)
            .await?;
        sqlx::query!("delete from groups where application = $1", name.as_str()).execute(&mut *transaction).await?;
        sqlx::query!("delete from gitdeploys where application = $1", name.as_str()).execute(&mut *transaction).await?;
        sqlx::query!("delete from applications where name = $1", name.as_str()).execute(&mut *transaction).await?;
        transaction.deleted(Some(name), name, &application).await
    }
}

/// One application, locked against changes, and not against what is made in it.
async fn locked(connection: &mut PgConnection, name: &AppName) -> Result<Application> {
    sqlx::query_as!(
        Application,
        r#"select name as "application: AppName", name as "app_name: AppName", attributes as "attributes: Attributes",
                   retention as "retention: BuildRetention", created_at, updated_at,
               revision as "revision: Revision"
           from applications where name = $1 for no key update"#,
        name.as_str()
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::not_found(Kind::Application, name))
}
