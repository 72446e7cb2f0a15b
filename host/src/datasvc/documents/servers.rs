//! Servers: what is deployed to, how each is reached, and the environments they make up.

mod connection;
mod health;
mod ssh;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::referrers::{AppReferrer, named_to};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::access::sight::{Part, VisiblePage, visible};
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{AppName, EnvironmentName, HostId, JobId, ServerName};
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::patch::Patch;
use crate::datasvc::ground::revision::{Expected, Revision};
use crate::datasvc::ground::sql::OnConstraint as _;

pub(super) use connection::check_host_key;
pub use connection::{Connection, Driver, LocalConnection, SaltConnection, SshConnection};
pub use health::{CHECK, Health};
pub use ssh::UnsealedKeypair;

/// How many servers an installation has at most for a look at all environments.
const MAX_IN_ENVIRONMENTS: u32 = 20_000;

/// Names that the URLs of servers have another meaning for.
const RESERVED: [&str; 2] = ["command", "environments"];

/// A server.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Server {
    /// Unique in this installation. It may be a host name.
    pub name: ServerName,
    /// The environment that it belongs to.
    #[schema(example = "production")]
    pub environment: EnvironmentName,
    /// What it is reached by.
    pub driver: Driver,
    /// How the driver reaches it.
    pub connection: Connection,
    /// What users keep with it.
    pub attributes: Attributes,
    /// The result of its last check. Null: it was not checked since its driver or connection changed. A check does not
    /// change the version.
    pub health: Option<Health>,
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

/// A server to be made.
#[derive(Clone, Debug)]
pub struct NewServer {
    /// Unique in this installation.
    pub name: ServerName,
    /// The environment that it belongs to.
    pub environment: EnvironmentName,
    /// What it is reached by.
    pub driver: Driver,
    /// Members of a [`Connection`] of the driver; those that are not given have defaults.
    pub connection: Map<String, Value>,
    /// What to keep with it.
    pub attributes: Attributes,
}

/// The names of servers by environment.
pub type Environments = BTreeMap<EnvironmentName, Vec<ServerName>>;

/// What can be changed of a server.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServerChange)]
pub struct Change {
    environment: EnvironmentName,
    driver: Driver,
    #[serde(default)]
    #[schema(value_type = Connection, required = false)]
    connection: Map<String, Value>,
    #[serde(default)]
    attributes: Attributes,
}

impl DataSvc {
    /// Makes a server, and the job that checks it.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Invalid`] for a name that has another meaning, and with the path of what
    /// cannot be in `connection`; [`Error::Denied`] without write permission on `_global`, or to a plugin that was
    /// not granted `servers` and the name, or says what it is reached by; [`Error::Conflict`] if another one is the same
    /// machine.
    pub async fn create_server(&self, caller: &Caller, new: &NewServer) -> Result<(Server, JobId)> {
        let NewServer { name, environment, driver, connection, attributes } = new;
        caller.require_server(Permission::Write, name)?;
        if RESERVED.contains(&name.as_str()) {
            let rule = format!("no server is called `{name}`, because `/server/{name}` has another meaning");
            return Err(Error::invalid("name", rule));
        }
        let connection = Connection::read(*driver, connection.clone(), name)?;
        if matches!(caller, Caller::Plugin { .. }) {
            own_target(*driver, &connection, name)?;
        }
        let mut transaction = self.change(caller, "servers.create").await?;
        ssh::check_references(&mut transaction, name, &connection).await?;
        no_other_is(&mut transaction, name, *driver, &connection).await?;
        let server = sqlx::query_as!(
            Server,
            r#"insert into servers (name, environment, driver, connection, attributes, host_id)
               values ($1, $2, $3, $4, $5, $6)
               returning name as "name: ServerName", environment as "environment: EnvironmentName",
                   driver as "driver: Driver", connection as "connection: Connection",
                   attributes as "attributes: Attributes", health as "health: Health", created_at, updated_at, revision as "revision: Revision""#,
            name.as_str(),
            environment.as_str(),
            driver.as_str(),
            connection as _,
            attributes as _,
            self.host_of(*driver) as _
        )
        .fetch_one(&mut *transaction)
        .await
        .on_constraint("servers_pkey", || Error::already_exists(Kind::Server, name))?;
        let host = self.host_of(*driver);
        let check = self.insert_check(&mut transaction, Some(caller), std::slice::from_ref(name), host).await?;
        transaction.created(None, name, &server).await?;
        Ok((server, check))
    }

    /// One server.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] to one who may read neither the server nor `_global`.
    pub async fn server(&self, caller: &Caller, name: &ServerName) -> Result<Server> {
        caller.require_server(Permission::Read, name)?;
        sqlx::query_as!(
            Server,
            r#"select name as "name: ServerName", environment as "environment: EnvironmentName",
                   driver as "driver: Driver", connection as "connection: Connection",
                   attributes as "attributes: Attributes", health as "health: Health", created_at, updated_at, revision as "revision: Revision"
               from servers where name = $1"#,
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Kind::Server, name))
    }

    /// The servers that the caller may read, by name.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn servers(&self, caller: &Caller, page: &Page) -> Result<Listed<Server>> {
        let may = |caller: &Caller, server: &Server| caller.may_server(Permission::Read, &server.name);
        let mut visible = VisiblePage::of(caller, page);
        loop {
            let (start, limit) = (visible.start()?, visible.limit());
            let rows = sqlx::query_as!(
                Server,
                r#"select name as "name: ServerName", environment as "environment: EnvironmentName",
                       driver as "driver: Driver", connection as "connection: Connection",
                       attributes as "attributes: Attributes", health as "health: Health", created_at, updated_at, revision as "revision: Revision"
                   from servers where ($1::text is null or case when $3 then (created_at, name) < ($4, $1)
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
                visible.take(part, may, |server| page.cursor(server.created_at, server.name.as_str())).await?
            {
                return Ok(listed);
            }
        }
    }

    /// The environments of the servers that the caller may read, with these servers, all by name.
    ///
    /// # Errors
    /// [`Error::TooMany`] servers in this installation.
    pub async fn environments(&self, caller: &Caller) -> Result<Environments> {
        let rows = sqlx::query!(
            r#"select environment as "environment: EnvironmentName", name as "name: ServerName"
               from servers order by environment, name limit $1"#,
            i64::from(MAX_IN_ENVIRONMENTS) + 1
        );
        let rows = self.reads.run(async |connection| Ok(rows.fetch_all(connection).await?)).await?;
        if rows.len() > MAX_IN_ENVIRONMENTS as usize {
            let what = "servers in this document (list them page by page, at `/server`)";
            return Err(Error::TooMany { what, limit: MAX_IN_ENVIRONMENTS });
        }
        let servers = rows.into_iter().map(|row| (row.environment, row.name)).collect();
        let may = |caller: &Caller, (_, name): &(_, ServerName)| caller.may_server(Permission::Read, name);
        let mut environments = Environments::new();
        for (environment, name) in visible(caller, servers, may).await? {
            environments.entry(environment).or_default().push(name);
        }
        Ok(environments)
    }

    /// Changes the environment, the driver with its connection and the attributes of a server. One that is reached in
    /// another way then is checked by a job, which is returned, too.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on `_global`, or to a plugin that was not
    /// granted `servers` and the name; [`Error::Changed`] if it is another version than expected;
    /// [`Error::Invalid`] and [`Error::Conflict`] for what the patch cannot do.
    pub async fn update_server(
        &self,
        caller: &Caller,
        name: &ServerName,
        patch: &Patch,
        expected: &Expected,
    ) -> Result<(Server, Option<JobId>)> {
        caller.require_server(Permission::Write, name)?;
        let mut transaction = self.change(caller, "servers.update").await?;
        let server = locked(&mut transaction, name).await?;
        expected.check(server.revision, Kind::Server, name)?;
        let changeable = Change {
            environment: server.environment.clone(),
            driver: server.driver,
            connection: server.connection.members()?,
            attributes: server.attributes.clone(),
        };
        let patch = patch.passing_over(&["health", "check_job"]);
        let Change { environment, driver, connection, attributes } = patch.apply(&server, &changeable).await?;
        let connection = Connection::read(driver, connection, &server.name)
            .map_err(|error| if driver == server.driver { error } else { of_another_driver(error) })?;
        let is_elsewhere = driver != server.driver || connection.members()? != server.connection.members()?;
        if is_elsewhere {
            // A plugin never has it: what a server is reached by is for people to say.
            caller.require_global(Permission::Write)?;
            ssh::check_references(&mut transaction, name, &connection).await?;
            no_other_is(&mut transaction, name, driver, &connection).await?;
        }
        let updated = sqlx::query_as!(
            Server,
            r#"update servers set environment = $2, driver = $3, connection = $4, attributes = $5,
                   host_id = case when $3 = 'local' and driver = 'local' then host_id else $6 end,
                   -- Another machine shows another key.
                   pinned_host_key = case when $3 = driver and $4::json::text = connection::text
                       then pinned_host_key end,
                   health = case when $3 = driver and $4::json::text = connection::text then health end,
                   revision = nextval('revisions'), updated_at = now()
               where name = $1
               returning name as "name: ServerName", environment as "environment: EnvironmentName",
                   driver as "driver: Driver", connection as "connection: Connection",
                   attributes as "attributes: Attributes", health as "health: Health", created_at, updated_at, revision as "revision: Revision""#,
            name.as_str(),
            environment.as_str(),
            driver.as_str(),
            connection as _,
            attributes as _,
            self.host_of(driver) as _
        )
        .fetch_one(&mut *transaction)
        .await?;
        let mut check = None;
        if is_elsewhere {
            let host =
                sqlx::query_scalar!(r#"select host_id as "host: HostId" from servers where name = $1"#, name.as_str())
                    .fetch_one(&mut *transaction)
                    .await?;
            check = Some(self.insert_check(&mut transaction, Some(caller), std::slice::from_ref(name), host).await?);
        }
        transaction.updated(None, name, &server, &updated).await?;
        Ok((updated, check))
    }

    /// Removes a server on which no gitdeploy is initialized.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] naming gitdeploys that are initialized on it, as far as the caller may
    /// read them; [`Error::Denied`] without write permission on `_global`, or to a plugin that was not granted
    /// `servers` and the name; [`Error::Changed`] if it is another version than expected.
    pub async fn delete_server(&self, caller: &Caller, name: &ServerName, expected: &Expected) -> Result<()> {
        caller.require_server(Permission::Write, name)?;
        let mut transaction = self.change(caller, "servers.delete").await?;
        // The lock keeps gitdeploys from being initialized on it, so that what is found below holds.
        sqlx::query!("select from servers where name = $1 for update", name.as_str())
            .execute(&mut *transaction)
            .await?;
        let server = locked(&mut transaction, name).await?;
        expected.check(server.revision, Kind::Server, name)?;
        let gitdeploys = sqlx::query_as!(
            AppReferrer,
            r#"select application as "application: AppName", gitdeploy as name, count(*) over () as "count!"
               from gitdeploy_servers where server = $1 order by application, gitdeploy"#,
            name.as_str()
        )
        .fetch(&mut *transaction);
        if let Some(users) = named_to(caller, "gitdeploy", gitdeploys).await? {
            return Err(in_use(name, &users));
        }
        ssh::check_unused(&mut transaction, name).await?;
        sqlx::query!("delete from servers where name = $1", name.as_str())
            .execute(&mut *transaction)
            .await
            .on_constraint("gitdeploy_servers_server_fkey", || in_use(name, "a gitdeploy"))?;
        transaction.deleted(None, name, &server).await
    }
}

impl DataSvc {
    /// Has servers of the driver `local` that are made here be on this host.
    #[must_use]
    pub fn on_host(self, host: HostId) -> Self {
        Self { host: Some(host), ..self }
    }

    /// The host that a server of this driver is on, if it is on one.
    fn host_of(&self, driver: Driver) -> Option<HostId> {
        self.host.filter(|_| driver == Driver::Local)
    }
}

/// One server, locked against changes. Gitdeploys may be initialized on it meanwhile.
async fn locked(connection: &mut PgConnection, name: &ServerName) -> Result<Server> {
    sqlx::query_as!(
        Server,
        r#"select name as "name: ServerName", environment as "environment: EnvironmentName",
               driver as "driver: Driver", connection as "connection: Connection",
               attributes as "attributes: Attributes", health as "health: Health", created_at, updated_at, revision as "revision: Revision"
           from servers where name = $1 for no key update"#,
        name.as_str()
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::not_found(Kind::Server, name))
}

/// Says what to do about the members of the connection that was, which a merge patch keeps.
fn of_another_driver(error: Error) -> Error {
    match error {
        Error::Invalid { field, reason } => {
            let hint = "with another driver, set the members of the connection that was to null";
            Error::Invalid { field, reason: format!("{reason}; {hint}") }
        }
        other => other,
    }
}

/// A server that a plugin makes is the one of its name, and never the machine that Elita runs on.
///
/// # Errors
/// [`Error::Denied`].
fn own_target(driver: Driver, connection: &Connection, name: &ServerName) -> Result<()> {
    let own = Connection::read(driver, Map::new(), name)?;
    if driver != Driver::Local && connection.members()? == own.members()? {
        return Ok(());
    }
    let reason = "a plugin makes servers of the drivers `ssh` and `salt` that are reached by their names; for anything else \
                  this needs the permission `write` on `_global`";
    Err(Error::Denied { reason: reason.into() })
}

/// Makes sure that no other server is the same machine, until the transaction ends.
///
/// # Errors
/// [`Error::Conflict`].
async fn no_other_is(
    transaction: &mut PgConnection,
    name: &ServerName,
    driver: Driver,
    connection: &Connection,
) -> Result<()> {
    let target = match connection {
        Connection::Ssh(ssh) => format!("{}:{}", ssh.host.to_ascii_lowercase(), ssh.port),
        Connection::Salt(salt) => salt.minion.clone(),
        Connection::Local(_) => return Ok(()),
    };
    // Of two that become the same machine at once, the second one waits here and then sees the first.
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, 0))", format!("{} {target}", driver.as_str()))
        .execute(&mut *transaction)
        .await?;
    let other = sqlx::query_scalar!(
        r#"select name from servers where driver = $1 and name <> $2 and $3 = case $1
               when 'ssh' then lower(connection ->> 'host') || ':' || (connection ->> 'port')
               else connection ->> 'minion' end
           order by name limit 1"#,
        driver.as_str(),
        name.as_str(),
        target
    )
    .fetch_optional(transaction)
    .await?;
    match other {
        None => Ok(()),
        Some(_) => {
            Err(Error::conflict(format!("another server is `{target}` already, by the driver `{}`", driver.as_str())))
        }
    }
}

fn in_use(name: &ServerName, gitdeploys: &str) -> Error {
    Error::conflict(format!("server `{name}` is used by {gitdeploys}; deinitialize what is on it first"))
}
