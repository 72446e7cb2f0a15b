//! Who changed what. It is written in the transaction of the change, so that each change has an audit entry.

use std::fmt::Display;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;

use super::caller::{Caller, Permission};
use super::permissions::Permissions;
use super::quotas::{Quotas, Whose};
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{AppName, JobId, PluginName, TokenId, UserName};
use crate::datasvc::ground::page::{Listed, NamePattern, Page, TimeOrder};
use crate::datasvc::ground::sql::json_column;

/// How many entries are removed by one statement.
const REMOVED_AT_ONCE: i64 = 1_000;

/// A change that was made through REST, by a plugin, or by a rule.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AuditEntry {
    /// Ascends with every change; some numbers are never given.
    pub audit_id: i64,
    /// When the change was made.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What was done: the name of the operation in REST and in WIT.
    #[schema(example = "builds.update")]
    pub operation: String,
    /// The application that it was done to, or in; null for what belongs to none.
    pub application: Option<String>,
    /// What it was done to, by its name or id.
    pub name: String,
    /// The user who did it; null for a plugin, and for a rule that the server applies.
    pub username: Option<UserName>,
    /// The token that the user had.
    pub token_id: Option<TokenId>,
    /// The address that the user's request came from.
    pub address: Option<String>,
    /// The plugin that did it; null if there was none.
    pub plugin: Option<PluginName>,
    /// The job in which it was done; null for what a user did at once.
    pub job_id: Option<JobId>,
    /// The document before the change; null for what was made. Secrets are in neither.
    pub before: Option<AuditedDocument>,
    /// The document after the change; null for what was removed.
    pub after: Option<AuditedDocument>,
}

/// A document as it was shown at the time.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct AuditedDocument(Box<RawValue>);

json_column!(AuditedDocument);

/// Which changes to list.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Those of this operation.
    pub operation: Option<String>,
    /// Those in this application.
    pub application: Option<AppName>,
    /// Those of documents with a name or id that matches.
    pub name: Option<NamePattern>,
    /// Those by this user.
    pub username: Option<UserName>,
    /// Those by this plugin.
    pub plugin: Option<PluginName>,
    /// Those made at this time or later.
    pub since: Option<OffsetDateTime>,
    /// Those made before this time.
    pub until: Option<OffsetDateTime>,
    /// Which come first.
    pub order: TimeOrder,
}

/// A transaction in which a caller changes something. There is no way to commit it without an entry that says what.
pub(in crate::datasvc) struct AuditedTransaction<'c> {
    transaction: Transaction<'static, Postgres>,
    operation: &'static str,
    by: Author<'c>,
    /// Whether it is sure already that who makes the change still may.
    is_checked: bool,
    quotas: Arc<Quotas>,
}

/// Who makes a change.
#[derive(Clone, Copy)]
pub(in crate::datasvc) enum Author<'c> {
    User {
        name: &'c UserName,
        token: TokenId,
        address: Option<IpAddr>,
        /// What the user was found to be allowed to do. `None`: that does not matter.
        permissions: Option<&'c Permissions>,
    },
    Plugin {
        name: &'c PluginName,
        job: JobId,
    },
}

impl<'c> From<&'c Caller> for Author<'c> {
    fn from(caller: &'c Caller) -> Self {
        match caller {
            Caller::User { name, token, address, permissions } => {
                Self::User { name, token: *token, address: *address, permissions: Some(&**permissions) }
            }
            Caller::Plugin { name, job, applications: _, grants: _ } => Self::Plugin { name, job: *job },
        }
    }
}

impl Author<'_> {
    /// Whose change it is.
    fn whose(&self) -> Whose {
        match self {
            Self::User { name, .. } => Whose::User(name.to_string()),
            Self::Plugin { name, .. } => Whose::Plugin(name.to_string()),
        }
    }

    /// Compares what may be done with the user's token now, if it is valid, with what was found when the change was
    /// asked for.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] if it is not valid; [`Error::Conflict`] if the user's permissions are others.
    fn check(&self, now: Option<Permissions>) -> Result<()> {
        let Self::User { permissions: Some(permissions), .. } = self else { return Ok(()) };
        match now {
            Some(now) if now == **permissions => Ok(()),
            Some(_) => Err(Error::conflict("what you may do has changed at this moment; try again")),
            None => Err(Error::InvalidToken),
        }
    }
}

impl Deref for AuditedTransaction<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for AuditedTransaction<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

impl AuditedTransaction<'_> {
    /// Commits that this was made. `application` is the one that it is in.
    pub(in crate::datasvc) async fn created(
        self,
        application: Option<&AppName>,
        name: &impl Display,
        after: &impl Serialize,
    ) -> Result<()> {
        self.commit(application, name, None::<&()>, Some(after)).await
    }

    /// Commits that this is no longer as it was.
    pub(in crate::datasvc) async fn updated(
        self,
        application: Option<&AppName>,
        name: &impl Display,
        before: &impl Serialize,
        after: &impl Serialize,
    ) -> Result<()> {
        self.commit(application, name, Some(before), Some(after)).await
    }

    /// Commits that this was removed.
    pub(in crate::datasvc) async fn deleted(
        self,
        application: Option<&AppName>,
        name: &impl Display,
        before: &impl Serialize,
    ) -> Result<()> {
        self.commit(application, name, Some(before), None::<&()>).await
    }

    /// Makes sure that who makes the change still may what was found when it was asked for. Until the end of the
    /// transaction the token stays as it is.
    ///
    /// # Errors
    /// Those of [`Author::check`].
    async fn check_now(&mut self) -> Result<()> {
        let Author::User { token, .. } = self.by else { return Ok(()) };
        let found = sqlx::query!(
            r#"select users.permissions as "permissions: Permissions", tokens.scope as "scope: Permissions"
               from tokens join users on users.name = tokens.username
               where tokens.id = $1 and tokens.expires_at > now() for share of tokens"#,
            token as _
        )
        .fetch_optional(&mut *self.transaction)
        .await?;
        self.by.check(found.map(|row| row.permissions.narrowed_by(row.scope)))?;
        self.is_checked = true;
        Ok(())
    }

    /// Gives the change up.
    pub(in crate::datasvc) async fn rollback(self) -> Result<()> {
        Ok(self.transaction.rollback().await?)
    }

    async fn commit(
        mut self,
        application: Option<&AppName>,
        name: &impl Display,
        before: Option<&impl Serialize>,
        after: Option<&impl Serialize>,
    ) -> Result<()> {
        let (before, after) = (before.map(document).transpose()?, after.map(document).transpose()?);
        let bytes = [&before, &after].into_iter().flatten().map(|document| document.0.get().len()).sum();
        if let Some(application) = application.map(|name| Whose::Application(name.to_string())) {
            self.quotas.check(&application)?;
            self.quotas.count(application, bytes);
        }
        self.quotas.count(self.by.whose(), bytes);
        let (user, plugin) = match self.by {
            Author::User { name, token, address, permissions: _ } => (Some((name, token, address)), None),
            Author::Plugin { name, job } => (None, Some((name, job))),
        };
        // Whoever made the change may have lost the right to it since it was asked for.
        let written = sqlx::query!(
            r#"insert into audit (operation, application, name, username, token_id, address, plugin, job_id, before, after)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
               returning (select users.permissions from tokens join users on users.name = tokens.username
                          where tokens.id = token_id and tokens.expires_at > now()) as "permissions: Permissions",
                   (select tokens.scope from tokens where tokens.id = token_id) as "scope: Permissions""#,
            self.operation,
            application.map(AppName::as_str),
            name.to_string(),
            user.map(|(name, _, _)| name.as_str()),
            user.map(|(_, token, _)| token) as _,
            user.and_then(|(_, _, address)| address).map(|address| address.to_string()),
            plugin.map(|(name, _)| name.as_str()),
            plugin.map(|(_, job)| job) as _,
            before as _,
            after as _
        )
        .fetch_one(&mut *self.transaction)
        .await?;
        if !self.is_checked {
            let (permissions, scope) = (written.permissions, written.scope);
            self.by.check(permissions.map(|permissions| permissions.narrowed_by(scope)))?;
        }
        Ok(self.transaction.commit().await?)
    }
}

fn document(document: &impl Serialize) -> Result<AuditedDocument> {
    to_raw_value(document).map(AuditedDocument).map_err(Error::internal)
}

impl DataSvc {
    /// Counts what a caller asks of an application by a job, which is kept with the job.
    ///
    /// # Errors
    /// [`Error::Throttled`] if the caller or the application has changed or asked for too much.
    pub(in crate::datasvc) fn count_asked(&self, caller: &Caller, application: &AppName, bytes: usize) -> Result<()> {
        self.quotas.take([Author::from(caller).whose(), Whose::Application(application.to_string())], bytes)
    }

    /// Begins a change by this caller; `operation` is its name in REST and in WIT. It is not committed if the caller's
    /// token has ended or the permissions have changed meanwhile.
    ///
    /// # Errors
    /// [`Error::Throttled`] if the caller has changed too much.
    pub(in crate::datasvc) async fn change<'c>(
        &self,
        by: impl Into<Author<'c>>,
        operation: &'static str,
    ) -> Result<AuditedTransaction<'c>> {
        let by = by.into();
        self.quotas.check(&by.whose())?;
        let (transaction, quotas) = (self.pool.begin().await?, Arc::clone(&self.quotas));
        Ok(AuditedTransaction { transaction, operation, by, is_checked: false, quotas })
    }

    /// The same of tokens: the caller may remove the own one, and is looked at before.
    ///
    /// # Errors
    /// Those of [`DataSvc::change`]; [`Error::InvalidToken`] and [`Error::Conflict`] if the caller is no longer who it was.
    pub(in crate::datasvc) async fn change_of_tokens<'c>(
        &self,
        by: &'c Caller,
        operation: &'static str,
    ) -> Result<AuditedTransaction<'c>> {
        let mut change = self.change(by, operation).await?;
        change.check_now().await?;
        Ok(change)
    }

    /// The same of a user's rights. All such changes wait for each other, so that nobody gives away what somebody else
    /// has just taken from them, and that of two administrators who remove each other at the same time one stays.
    ///
    /// # Errors
    /// Those of [`DataSvc::change_of_tokens`].
    pub(in crate::datasvc) async fn change_of_rights<'c>(
        &self,
        by: &'c Caller,
        operation: &'static str,
    ) -> Result<AuditedTransaction<'c>> {
        let mut change = self.change(by, operation).await?;
        sqlx::query!("lock table users in share row exclusive mode").execute(&mut *change.transaction).await?;
        change.check_now().await?;
        Ok(change)
    }

    /// The changes that the filter lets through, in its order.
    ///
    /// # Errors
    /// [`Error::Denied`] without read permission on `_global`; [`Error::Invalid`] if the page begins after something
    /// that is not a number of a change.
    pub async fn audit(&self, caller: &Caller, filter: &AuditFilter, page: &Page) -> Result<Listed<AuditEntry>> {
        caller.require_global(Permission::Read)?;
        let AuditFilter { operation, application, name, username, plugin, since, until, order } = filter;
        let after = page.after_as(|cursor| cursor.parse::<i64>().map_err(|_| Error::invalid("after", "no number")))?;
        let rows = sqlx::query_as!(
            AuditEntry,
            r#"select id as audit_id, at, operation, application, name, username as "username: UserName",
                   token_id as "token_id: TokenId", address, plugin as "plugin: PluginName", job_id as "job_id: JobId",
                   before as "before: AuditedDocument", after as "after: AuditedDocument"
               from audit
               where ($1::bigint is null or case when $11 then id < $1 else id > $1 end)
                   and ($2::text is null or operation = $2)
                   and ($3::text is null or application = $3)
                   and ($4::text is null or name = $4)
                   and ($10::text is null or name like $10)
                   and ($5::text is null or username = $5)
                   and ($6::text is null or plugin = $6)
                   and ($7::timestamptz is null or at >= $7)
                   and ($8::timestamptz is null or at < $8)
               order by case when $11 then id end desc, id limit $9"#,
            after,
            operation.as_deref(),
            application.as_ref().map(AppName::as_str),
            // By the index where it is one name.
            name.as_ref().and_then(NamePattern::exact),
            username.as_ref().map(UserName::as_str),
            plugin.as_ref().map(PluginName::as_str),
            *since,
            *until,
            page.fetch(),
            name.as_ref().map(NamePattern::like),
            order.is_newest_first()
        );
        self.lists
            .run(async |connection| page.gather(rows.fetch(connection), |entry| entry.audit_id.to_string()).await)
            .await
    }

    /// Removes changes that were made longer than `age` ago from the record, at most some hundred. Returns how many:
    /// with 0 no more are left for now.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn remove_old_audit(&self, age: Duration) -> Result<u64> {
        let removed = sqlx::query!(
            // Nothing goes that came after what stays: its time may be one to which the database's clock was put back.
            "with oldest as (select id, at from audit order by id limit $2)
             delete from audit where id in (select id from oldest)
                 and id < all (select id from oldest where at >= $1)",
            self.settled_time() - age,
            REMOVED_AT_ONCE
        );
        Ok(removed.execute(&self.pool).await?.rows_affected())
    }
}
