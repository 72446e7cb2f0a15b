//! Applications: what builds, actions and jobs belong to.

use serde::Serialize;
use time::OffsetDateTime;

use super::DataSvc;
use super::caller::{Caller, Permission};
use super::error::{Error, Kind, Result};
use super::ids::AppName;
use super::page::{Listed, Page};
use super::sql::OnConstraint;

/// An application.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Application {
    /// Unique in this installation.
    pub app_name: AppName,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl DataSvc {
    /// Makes a new application.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Denied`] without write permission on that name.
    pub async fn create_application(&self, caller: &Caller, name: &AppName) -> Result<Application> {
        caller.require(Permission::Write, name)?;
        sqlx::query_as!(
            Application,
            r#"insert into applications (name) values ($1)
               returning name as "app_name: AppName", created_at, updated_at"#,
            name.as_str()
        )
        .fetch_one(&self.pool)
        .await
        .on_constraint("applications_pkey", || Error::already_exists(Kind::Application, name))
    }

    /// One application.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without read permission on that name.
    pub async fn application(&self, caller: &Caller, name: &AppName) -> Result<Application> {
        caller.require(Permission::Read, name)?;
        sqlx::query_as!(
            Application,
            r#"select name as "app_name: AppName", created_at, updated_at from applications where name = $1"#,
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
        let mut readable = Vec::new();
        let mut after = page.after().map(String::from);
        loop {
            let batch = sqlx::query_as!(
                Application,
                r#"select name as "app_name: AppName", created_at, updated_at from applications
                   where $1::text is null or name > $1 order by name limit $2"#,
                after,
                page.fetch()
            )
            .fetch_all(&self.pool)
            .await?;
            let last_batch = (batch.len() as i64) < page.fetch();
            after = batch.last().map(|application| application.app_name.to_string());
            readable.extend(batch.into_iter().filter(|found| caller.may(Permission::Read, &found.app_name)));
            if last_batch || readable.len() as i64 >= page.fetch() {
                return Ok(page.cut(readable, |application| application.app_name.to_string()));
            }
        }
    }

    /// Removes an application. Its finished jobs stay on record.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] while jobs of it are queued or running; [`Error::Denied`] without
    /// write permission on that name.
    pub async fn delete_application(&self, caller: &Caller, name: &AppName) -> Result<()> {
        caller.require(Permission::Write, name)?;
        let mut transaction = self.pool.begin().await?;
        // The lock keeps new jobs out (they lock the row to be enqueued), so that the count below holds.
        sqlx::query_scalar!("select 1 from applications where name = $1 for update", name.as_str())
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| Error::not_found(Kind::Application, name))?;
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
        sqlx::query!("delete from applications where name = $1", name.as_str()).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
    }
}
