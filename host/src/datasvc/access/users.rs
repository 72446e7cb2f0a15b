//! Users: who may log in, and what they may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

use super::audit::AuditedTransaction;
use super::caller::{COMMAND, Caller, Permission};
use super::permissions::Permissions;
use crate::datasvc::DataSvc;
use crate::datasvc::access::aside::aside;
use crate::datasvc::access::sight::IN_ONE_TURN;
use crate::datasvc::ground::aside::Aside;
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::UserName;
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::patch::Patch;
use crate::datasvc::ground::revision::{Expected, Revision};
use crate::datasvc::ground::sql::{OnConstraint as _, json_column};

/// The first user's name.
const ADMINISTRATOR: &str = "admin";

/// How often a change of a user is tried that others change at the same time.
const MAX_ATTEMPTS: usize = 10;

/// How long a password is, in characters.
const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 8..=1024;

/// A user.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct User {
    /// Unique in this installation.
    pub username: UserName,
    /// What the user may do.
    pub permissions: Permissions,
    /// What is kept with the user.
    pub attributes: Attributes,
    /// When the user was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When the user last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// This version of it.
    #[serde(skip)]
    pub revision: Revision,
}

json_column!(Permissions);

/// What can be changed of a user. The password is never shown, and can be set.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UserChange)]
pub struct Change {
    #[serde(default)]
    permissions: Permissions,
    #[serde(default)]
    attributes: Attributes,
    /// The new password.
    #[serde(default)]
    #[schema(format = Password, min_length = 8, max_length = 1024, write_only)]
    password: Option<String>,
}

/// A user after a change, and whether the password is another one.
#[derive(Serialize)]
struct Audited<'u> {
    #[serde(flatten)]
    user: &'u User,
    password_changed: bool,
}

/// What a user may do with what there is now.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct EffectivePermissions {
    /// `read`, `write` or both, split by `/`, by application; and by `_global` where anything is granted there.
    #[schema(example = json!({ "my_application": "read/write" }))]
    pub apps: BTreeMap<String, String>,
    /// `execute` by application and action.
    #[schema(example = json!({ "my_application": { "DeleteWidgets": "execute" } }))]
    pub actions: BTreeMap<String, BTreeMap<String, String>>,
    /// The servers that the user may deploy to, initialize and command.
    pub servers: Vec<String>,
}

impl DataSvc {
    /// Makes the administrator if there is no user yet, with this password; true if it was made.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not a password; [`Error::Unavailable`].
    pub async fn ensure_administrator(&self, password: &str) -> Result<bool> {
        if self.has_users().await? {
            return Ok(false);
        }
        check_password(password)?;
        let hash = self.passwords.hash(None, password.to_owned()).await?;
        // Several servers may start on a new database at once: the first one's password holds.
        let made = sqlx::query!(
            "insert into users (name, password_hash, permissions) values ($1, $2, $3) on conflict (name) do nothing",
            ADMINISTRATOR,
            hash,
            Permissions::administrator() as _
        )
        .execute(&self.pool)
        .await?;
        Ok(made.rows_affected() == 1)
    }

    /// Whether the first start is over.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn has_users(&self) -> Result<bool> {
        Ok(sqlx::query_scalar!(r#"select exists (select from users) as "exists!""#).fetch_one(&self.pool).await?)
    }

    /// Makes a user.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::Invalid`]; [`Error::Denied`] without write permission on `_global`, or where
    /// more is granted than the caller holds.
    pub async fn create_user(
        &self,
        caller: &Caller,
        name: &UserName,
        password: String,
        permissions: &Permissions,
        attributes: &Attributes,
    ) -> Result<User> {
        caller.require_global(Permission::Write)?;
        if name.as_str() == UserName::CURRENT {
            let reason = format!("`{name}` means the user who asks, so no user can have this name");
            return Err(Error::invalid("username", reason));
        }
        check_password(&password)?;
        permissions.check()?;
        require_cover(caller, permissions).await?;
        let hash = self.passwords.hash(caller.address(), password).await?;
        let mut transaction = self.change_of_rights(caller, "users.create").await?;
        let created = sqlx::query_as!(
            User,
            r#"insert into users (name, password_hash, permissions, attributes) values ($1, $2, $3, $4)
               returning name as "username: UserName", permissions as "permissions: Permissions",
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision""#,
            name.as_str(),
            hash,
            permissions as _,
            attributes as _
        )
        .fetch_one(&mut *transaction)
        .await;
        let user = created.on_constraint("users_pkey", || Error::already_exists(Kind::User, name))?;
        transaction.created(None, name, &user).await?;
        Ok(user)
    }

    /// One user. Everybody may see themselves.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] for somebody else without read permission on `_global`.
    pub async fn user(&self, caller: &Caller, name: &UserName) -> Result<User> {
        if caller.username() != Some(name) {
            caller.require_global(Permission::Read)?;
        }
        found(&self.pool, name).await
    }

    /// The users, by name.
    ///
    /// # Errors
    /// [`Error::Denied`] without read permission on `_global`.
    pub async fn users(&self, caller: &Caller, page: &Page) -> Result<Listed<User>> {
        caller.require_global(Permission::Read)?;
        let start = page.start()?;
        let rows = sqlx::query_as!(
            User,
            r#"select name as "username: UserName", permissions as "permissions: Permissions",
                   attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision"
               from users where ($1::text is null or case when $4 then (created_at, name) < ($5, $1)
                           when $6 then (created_at, name) > ($5, $1) else name > $1 end) and ($3::text is null or name like $3)
               order by case when $4 then created_at end desc, case when $4 then name end desc,
                   case when $6 then created_at end, name limit $2"#,
            start.name,
            page.fetch(),
            page.like(),
            start.is_newest_first,
            start.created_at,
            start.is_oldest_first
        );
        self.reads
            .run(async |connection| {
                page.gather(rows.fetch(connection), |user| page.cursor(user.created_at, user.username.as_str())).await
            })
            .await
    }

    /// Changes a user. A new password ends all of the user's tokens but the one in use, and takes a token that may do
    /// all that the user may. Without write permission on `_global` users change their own password and attributes
    /// only.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`], also where more is granted than the caller holds, or the user holds
    /// more; [`Error::Changed`] if it is another version than expected; [`Error::Conflict`] if nobody would be left
    /// who may manage users; [`Error::Invalid`] for what the patch cannot do.
    pub async fn update_user(
        &self,
        caller: &Caller,
        name: &UserName,
        patch: &Patch,
        expected: &Expected,
    ) -> Result<User> {
        if caller.username() != Some(name) {
            caller.require_global(Permission::Write)?;
        }
        // To compare permissions and to hash a password takes long, and all changes of users wait for each other: so it is
        // done before the lock is taken, and again if the user has changed by then.
        let mut hashed: Option<(String, String)> = None;
        for _ in 0..MAX_ATTEMPTS {
            let seen = found(&self.pool, name).await?;
            let change = planned(caller, &seen, patch, expected).await?;
            if let Some(password) =
                change.password.as_ref().filter(|new| hashed.as_ref().is_none_or(|(of, _)| of != *new))
            {
                hashed = Some((password.clone(), self.passwords.hash(caller.address(), password.clone()).await?));
            }
            let mut transaction = self.change_of_rights(caller, "users.update").await?;
            let user = found(&mut *transaction, name).await?;
            let is_same = user.permissions == seen.permissions && user.attributes == seen.attributes;
            if user.revision == seen.revision || patch.is_merge() && is_same {
                expected.check(user.revision, Kind::User, name)?;
                let hash = hashed.map(|(_, hash)| hash).filter(|_| change.password.is_some());
                return update(transaction, caller, &user, change, hash).await;
            }
            transaction.rollback().await?;
        }
        Err(busy(name))
    }

    /// Removes a user, with all of the user's tokens.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on `_global`, or where the user holds more than
    /// the caller; [`Error::Changed`] if it is another version than expected; [`Error::Conflict`] if nobody would be
    /// left who may manage users.
    pub async fn delete_user(&self, caller: &Caller, name: &UserName, expected: &Expected) -> Result<()> {
        caller.require_global(Permission::Write)?;
        for _ in 0..MAX_ATTEMPTS {
            let seen = found(&self.pool, name).await?.permissions;
            require_cover(caller, &seen).await?;
            let mut transaction = self.change_of_rights(caller, "users.delete").await?;
            let user = found(&mut *transaction, name).await?;
            if user.permissions != seen {
                transaction.rollback().await?;
                continue;
            }
            expected.check(user.revision, Kind::User, name)?;
            if user.permissions.on_global("write") {
                another_administrator(&mut transaction, name).await?;
            }
            // Who gets this name one day is somebody else.
            sqlx::query!(
                "update jobs set idempotency_key = null, idempotency_fingerprint = null
                 where username = $1 and idempotency_key is not null",
                name.as_str()
            )
            .execute(&mut *transaction)
            .await?;
            sqlx::query!("delete from users where name = $1", name.as_str()).execute(&mut *transaction).await?;
            return transaction.deleted(None, name, &user).await;
        }
        Err(busy(name))
    }

    /// What a user may do with the applications, actions and servers that there are now.
    ///
    /// # Errors
    /// Those of [`DataSvc::user`].
    pub async fn user_permissions(&self, caller: &Caller, name: &UserName) -> Result<EffectivePermissions> {
        let permissions = self.user(caller, name).await?.permissions;
        self.effective(caller, permissions).await
    }

    /// What the caller may do with them, by the token in use.
    ///
    /// # Errors
    /// [`Error::Denied`] for a plugin; [`Error::Unavailable`].
    pub async fn own_permissions(&self, caller: &Caller) -> Result<EffectivePermissions> {
        match caller {
            Caller::User { permissions, .. } => self.effective(caller, Permissions::clone(permissions)).await,
            Caller::Plugin { .. } => Err(Error::Denied { reason: "a plugin is not a user".into() }),
        }
    }

    async fn effective(&self, caller: &Caller, permissions: Permissions) -> Result<EffectivePermissions> {
        let names = sqlx::query!(
            r#"select application as "application?", action as "action?", server as "server?" from (
                   select name as application, null as action, null as server from applications
                   union all select application, name, null from plugin_actions
                   union all select null, null, name from servers
               ) as names order by application, action, server"#
        )
        .fetch_all(&self.pool)
        .await?;
        let mut names = names.into_iter().map(|row| (row.application, row.action, row.server)).peekable();
        let permissions = Arc::new(permissions);
        let mut effective = EffectivePermissions::of(&permissions);
        // Others have their turn in between.
        while names.peek().is_some() {
            let (some, permissions) = (names.by_ref().take(IN_ONE_TURN).collect::<Vec<_>>(), Arc::clone(&permissions));
            let add = move |_: &_| {
                effective.add(&permissions, some);
                effective
            };
            effective = aside(caller, add).await?;
        }
        Ok(effective)
    }
}

impl EffectivePermissions {
    /// Of these permissions, for what belongs to no application.
    fn of(permissions: &Permissions) -> Self {
        let mut effective = Self { apps: BTreeMap::new(), actions: BTreeMap::new(), servers: Vec::new() };
        effective.apps.insert("_global".into(), words(&|word| permissions.on_global(word)));
        effective.apps.retain(|_, words| !words.is_empty());
        if permissions.on_global_action(COMMAND) {
            effective.actions.entry("_global".into()).or_default().insert(COMMAND.into(), "execute".into());
        }
        effective
    }

    /// For these applications, actions of applications, and servers, too.
    fn add(&mut self, permissions: &Permissions, names: Vec<(Option<String>, Option<String>, Option<String>)>) {
        for row in names {
            match row {
                (Some(app), Some(action), _) if permissions.on_action(&app, &action) => {
                    self.actions.entry(app).or_default().insert(action, "execute".into());
                }
                (Some(app), None, _) => {
                    let words = words(&|word| permissions.on_application(word, &app));
                    self.apps.insert(app, words);
                }
                (None, None, Some(server)) if permissions.on_server(&server) => self.servers.push(server),
                _ => {}
            }
        }
        self.apps.retain(|_, words| !words.is_empty());
    }
}

/// Which of `read`, `write` and `upload` are granted. Who may write may upload.
fn words(granted: &dyn Fn(&str) -> bool) -> String {
    let words = ["read", "write", "upload"].into_iter().filter(|word| granted(word));
    let words = words.filter(|word| *word != "upload" || !granted("write"));
    words.collect::<Vec<_>>().join("/")
}

/// What the patch makes of a user, if the caller may do that.
fn plan(caller: &Caller, user: &User, patch: &Patch, expected: &Expected, aside: &Aside) -> Result<Change> {
    expected.check(user.revision, Kind::User, &user.username)?;
    let shown = Change { permissions: user.permissions.clone(), attributes: user.attributes.clone(), password: None };
    let change: Change = patch.apply_here(user, &shown)?;
    // A scope says what a token may do, and nothing that its user may do as who they are.
    if caller.narrowed_token().is_some() {
        caller.require_global(Permission::Write)?;
    }
    if change.permissions != user.permissions {
        caller.require_global(Permission::Write)?;
        change.permissions.check()?;
        caller.require_cover(&change.permissions, aside)?;
    }
    // A password opens all that the user may do: neither somebody else who may do less, nor a token that is narrower
    // than its user, sets one.
    if caller.username() != Some(&user.username) || change.password.is_some() {
        caller.require_cover(&user.permissions, aside)?;
    }
    change.password.as_deref().map_or(Ok(()), check_password)?;
    Ok(change)
}

/// The same, beside the threads that answer requests.
async fn planned(caller: &Caller, user: &User, patch: &Patch, expected: &Expected) -> Result<Change> {
    let (for_whom, user, patch, expected) = (caller.clone(), user.clone(), patch.clone(), expected.clone());
    aside(caller, move |aside| plan(&for_whom, &user, &patch, &expected, aside)).await?
}

/// The same for [`Caller::require_cover`].
async fn require_cover(caller: &Caller, permissions: &Permissions) -> Result<()> {
    let (for_whom, permissions) = (caller.clone(), permissions.clone());
    aside(caller, move |aside| for_whom.require_cover(&permissions, aside)).await?
}

fn busy(name: &UserName) -> Error {
    Error::conflict(format!("user `{name}` changes all the time at this moment; try again"))
}

/// Makes the change that was planned of this user.
async fn update(
    mut transaction: AuditedTransaction<'_>,
    caller: &Caller,
    user: &User,
    change: Change,
    hash: Option<String>,
) -> Result<User> {
    let Change { permissions, attributes, password: _ } = change;
    if user.permissions.on_global("write") && !permissions.on_global("write") {
        another_administrator(&mut transaction, &user.username).await?;
    }
    let updated = sqlx::query_as!(
        User,
        r#"update users set permissions = $2, attributes = $3, password_hash = coalesce($4, password_hash),
               revision = nextval('revisions'), updated_at = now()
           where name = $1
           returning name as "username: UserName", permissions as "permissions: Permissions",
               attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision""#,
        user.username.as_str(),
        permissions as _,
        attributes as _,
        hash
    )
    .fetch_one(&mut *transaction)
    .await?;
    if hash.is_some() {
        let kept = match caller {
            Caller::User { token, .. } => Some(*token),
            Caller::Plugin { .. } => None,
        };
        sqlx::query!(
            "delete from tokens where username = $1 and id is distinct from $2",
            user.username.as_str(),
            kept as _
        )
        .execute(&mut *transaction)
        .await?;
    }
    let after = Audited { user: &updated, password_changed: hash.is_some() };
    transaction.updated(None, &user.username, user, &after).await?;
    Ok(updated)
}

async fn found(executor: impl PgExecutor<'_>, name: &UserName) -> Result<User> {
    sqlx::query_as!(
        User,
        r#"select name as "username: UserName", permissions as "permissions: Permissions",
               attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision"
           from users where name = $1"#,
        name.as_str()
    )
    .fetch_optional(executor)
    .await?
    .ok_or_else(|| Error::not_found(Kind::User, name))
}

/// # Errors
/// [`Error::Conflict`] if no other user may manage users.
async fn another_administrator(connection: &mut PgConnection, name: &UserName) -> Result<()> {
    let others = sqlx::query_scalar!(
        r#"select exists (
               select from users where name <> $1
                   and 'write' = any(string_to_array(permissions -> 'apps' ->> '_global', '/'))
           ) as "others!""#,
        name.as_str()
    )
    .fetch_one(connection)
    .await?;
    if others {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "user `{name}` is the last one who may manage users; give somebody else `write` on `_global` first"
    )))
}

pub(in crate::datasvc) fn check_password(password: &str) -> Result<()> {
    if PASSWORD_LENGTH.contains(&password.chars().count()) {
        return Ok(());
    }
    let (least, most) = (PASSWORD_LENGTH.start(), PASSWORD_LENGTH.end());
    Err(Error::invalid("password", format!("a password has {least} to {most} characters")))
}
