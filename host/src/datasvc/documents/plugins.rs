//! Plugins: which version of each is active, what it registers, and what was refused.

use std::ops::Not;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sqlx::types::Json;
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;

use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::access::sight::visible;
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{ActionName, AppName, Digest, HostId, PluginName};
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::sql::OnConstraint;
use crate::datasvc::ground::words::stored_words;

/// Where a plugin stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, serde::Deserialize, sqlx::Encode, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum PluginState {
    /// A file was found and is being compiled and asked what it registers.
    Compiling,
    /// Its actions and hooks are in force.
    Active,
    /// Its file cannot be used; `last_error` says why.
    Refused,
    /// What only a newer server knows.
    #[serde(skip_deserializing)]
    Unknown,
}

stored_words!(PluginState);

/// A parameter that an action's requests must have, or may have.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RegisteredParameter {
    /// Unique within the action.
    pub name: String,
    /// Describes the value; not enforced.
    pub r#type: String,
    /// What it is for.
    pub description: String,
    /// Whether a request may lack it.
    #[serde(default, skip_serializing_if = "Not::not")]
    #[schema(required = false)]
    pub optional: bool,
}

/// An action, as its plugin registered it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RegisteredAction {
    /// The application it is for, whether that exists or not.
    pub application: AppName,
    /// Unique within the application.
    pub name: ActionName,
    /// What it does.
    pub description: String,
    /// In the order of the registration.
    pub parameters: Vec<RegisteredParameter>,
    /// Whether it may be run again when its host dies.
    pub idempotent: bool,
    /// Its own wall-clock limit; the host's default holds without one.
    pub timeout_seconds: Option<u32>,
}

/// The hooks that a plugin registered for an application.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PluginHooks {
    /// The application they are for.
    pub application: AppName,
    /// Their names.
    pub hooks: Vec<String>,
}

/// What a plugin answered when it was asked what it offers.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// Its actions.
    pub actions: Vec<RegisteredAction>,
    /// Its hooks.
    pub hooks: Vec<PluginHooks>,
}

/// A plugin as operators see it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Plugin {
    /// That of its file, without `.wasm`.
    pub name: PluginName,
    /// Where it stands. A plugin whose new file was refused stays active with the file before.
    pub state: PluginState,
    /// The active component, `sha256:…`.
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
    /// The active component's number among all that were active under this name, from 1.
    pub version: i32,
    /// The active component's size.
    pub size_bytes: i64,
    /// The actions in force, of the applications that you may read.
    pub actions: Vec<RegisteredAction>,
    /// The hooks in force, of the applications that you may read.
    pub hooks: Vec<PluginHooks>,
    /// The interfaces that the active component imports, for those who may read `_global`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imports: Option<Vec<String>>,
    /// Why the last file was refused, if it was.
    pub last_error: Option<String>,
    /// When it was first seen.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// An active plugin, with what is needed to route to it.
#[derive(Clone, Debug)]
pub struct ActivePlugin {
    /// Its name.
    pub name: PluginName,
    /// Its component.
    pub digest: Digest,
    /// Its actions and hooks.
    pub registration: Registration,
}

/// An action of an application, as its users see it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct PluginAction {
    /// Its name, and the last part of its URL.
    pub name: ActionName,
    /// What it does.
    pub description: String,
    /// The plugin that registered it.
    pub plugin: PluginName,
    /// What every request must have. `schema` also has the optional ones.
    pub parameters: Vec<RegisteredParameter>,
    /// Whether it may be run again when its host dies.
    pub idempotent: bool,
    /// Its own wall-clock limit.
    pub timeout_seconds: Option<u32>,
    /// A JSON Schema of its parameters, for forms. Elita only enforces that the declared ones are there.
    #[schema(value_type = Object)]
    pub schema: Value,
}

impl PluginAction {
    /// What the form of an action with these parameters needs.
    pub fn schema_of(parameters: &[RegisteredParameter]) -> Value {
        let properties: Map<String, Value> =
            parameters.iter().map(|parameter| (parameter.name.clone(), parameter.schema())).collect();
        let required: Vec<_> =
            parameters.iter().filter(|parameter| !parameter.optional).map(|parameter| &parameter.name).collect();
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": true,
        })
    }
}

impl RegisteredParameter {
    /// What its declared type says by its first word; the whole type is the title.
    fn schema(&self) -> Value {
        let words = self.r#type.to_ascii_lowercase();
        let first = words.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        let mut schema = Map::new();
        let choices: Vec<_> = self.r#type.split('|').map(str::trim).filter(|choice| !choice.is_empty()).collect();
        let (kind, format) = match first {
            // What the choices are is for people: a plugin may take others.
            _ if choices.len() > 1 => (Some("string"), None),
            "bool" | "boolean" => (Some("boolean"), None),
            "int" | "integer" => (Some("integer"), None),
            "number" | "float" => (Some("number"), None),
            "object" => (Some("object"), None),
            "list" | "array" => (Some("array"), None),
            "text" | "string" | "password" | "secret" => (Some("string"), None),
            "date" => (Some("string"), Some("date")),
            "time" => (Some("string"), Some("time")),
            "url" => (Some("string"), Some("uri")),
            "email" => (Some("string"), Some("email")),
            _ => (None, None),
        };
        schema.insert("title".into(), self.r#type.clone().into());
        schema.insert("description".into(), self.description.clone().into());
        schema.extend(kind.map(|kind| ("type".to_owned(), kind.into())));
        schema.extend(format.map(|format| ("format".to_owned(), format.into())));
        if choices.len() > 1 {
            schema.insert("examples".into(), choices.into());
        }
        Value::Object(schema)
    }
}

/// What a host knows of the plugins that its directory fed.
#[derive(Clone, Debug)]
pub struct FedPlugin {
    /// Its name.
    pub name: PluginName,
    /// The active component, unless a newer file was refused since.
    pub settled: Option<Digest>,
}

impl DataSvc {
    /// One plugin. Without read permission on `_global` only what concerns the applications that the caller may read.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for one that has registered nothing for such an application.
    pub async fn plugin(&self, caller: &Caller, name: &PluginName) -> Result<Plugin> {
        let readable = self.readable_registrations(caller).await?;
        let found = self.select_plugins(Some(name), readable.as_deref(), None, None, 1).await?.pop();
        found.ok_or_else(|| Error::not_found(Noun::Plugin, name))
    }

    /// The plugins, by name. Without read permission on `_global` only those that have registered something for an
    /// application that the caller may read, and what concerns these.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn plugins(&self, caller: &Caller, page: &Page) -> Result<Listed<Plugin>> {
        let readable = self.readable_registrations(caller).await?;
        let plugins = self.select_plugins(None, readable.as_deref(), page.after(), page.like(), page.fetch()).await?;
        Ok(page.cut(plugins, |plugin| plugin.name.to_string()))
    }

    /// The applications for which something is registered and that the caller may read; `None` means all.
    async fn readable_registrations(&self, caller: &Caller) -> Result<Option<Vec<String>>> {
        if caller.may_globally(Permission::Read) {
            return Ok(None);
        }
        let registered = sqlx::query_scalar!(
            r#"select application as "application!: AppName" from plugin_actions
               union select application from plugin_hooks"#
        )
        .fetch_all(&self.pool)
        .await?;
        let may = |caller: &Caller, application: &AppName| caller.may(Permission::Read, application);
        let readable = visible(caller, registered, may).await?;
        Ok(Some(readable.into_iter().map(|application| application.to_string()).collect()))
    }

    /// With `of`, those that have registered something for these applications, without what is for others.
    async fn select_plugins(
        &self,
        name: Option<&PluginName>,
        of: Option<&[String]>,
        after: Option<&str>,
        like: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Plugin>> {
        let rows = sqlx::query!(
            r#"select p.name as "name: PluginName", state as "state: PluginState", digest, version, size_bytes, imports,
                   last_error, created_at, updated_at,
                   (select coalesce(json_agg(a order by a.application, a.name), '[]')
                    from plugin_actions a
                    where a.plugin = p.name and ($4::text[] is null or a.application = any($4))) as "actions!: Json<Vec<RegisteredAction>>",
                   (select coalesce(json_agg(h), '[]') from (
                        select application, array_agg(name order by name) as hooks
                        from plugin_hooks
                        where plugin = p.name and ($4::text[] is null or application = any($4)) group by application order by application
                    ) h) as "hooks!: Json<Vec<PluginHooks>>"
               from plugins p
               where ($1::text is null or p.name = $1) and ($2::text is null or p.name > $2)
                   and ($5::text is null or p.name like $5)
                   and ($4::text[] is null
                       or exists (select from plugin_actions a where a.plugin = p.name and a.application = any($4))
                       or exists (select from plugin_hooks h where h.plugin = p.name and h.application = any($4)))
               order by p.name limit $3"#,
            name.map(PluginName::as_str),
            after,
            limit,
            of,
            like
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(Plugin {
                    name: row.name,
                    state: row.state,
                    digest: row.digest.map(Digest::try_from).transpose()?,
                    version: row.version,
                    size_bytes: row.size_bytes,
                    actions: row.actions.0,
                    hooks: row.hooks.0,
                    imports: of.is_none().then_some(row.imports),
                    last_error: row.last_error,
                    created_at: row.created_at,
                    updated_at: row.updated_at,
                })
            })
            .collect()
    }

    /// How often the active plugins have changed: a host whose catalog is of another revision is behind.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn plugin_revision(&self) -> Result<i64> {
        Ok(sqlx::query_scalar!("select revision from plugin_catalog").fetch_one(&self.pool).await?)
    }

    /// All active plugins with what they register.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn active_plugins(&self) -> Result<Vec<ActivePlugin>> {
        let plugins = self.select_plugins(None, None, None, None, i64::MAX).await?;
        Ok(plugins
            .into_iter()
            .filter_map(|plugin| {
                let registration = Registration { actions: plugin.actions, hooks: plugin.hooks };
                let digest = plugin.digest.filter(|_| plugin.state == PluginState::Active)?;
                Some(ActivePlugin { name: plugin.name, digest, registration })
            })
            .collect())
    }

    /// The plugins that this host's directory fed, whatever became of them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn plugins_fed_by(&self, host: HostId) -> Result<Vec<FedPlugin>> {
        let rows = sqlx::query!(
            r#"select name as "name: PluginName", case when refused_digest is null then digest end as settled
               from plugins where host_id = $1"#,
            host as _
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|row| Ok(FedPlugin { name: row.name, settled: row.settled.map(Digest::try_from).transpose()? }))
            .collect()
    }

    /// The names of all plugins, whatever became of their files.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn plugin_names(&self) -> Result<Vec<PluginName>> {
        Ok(sqlx::query_scalar!(r#"select name as "name: PluginName" from plugins"#).fetch_all(&self.pool).await?)
    }

    /// Records that a file for this plugin was found. An active version stays active meanwhile.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn announce_plugin(&self, host: HostId, name: &PluginName) -> Result<()> {
        sqlx::query!(
            "insert into plugins (name, state, host_id) values ($1, 'compiling', $2)
             on conflict (name) do update set state = 'compiling', host_id = $2, updated_at = now()
                 where plugins.state <> 'active'",
            name.as_str(),
            host as _
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Records why a file was refused. An active version stays active.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn refuse_plugin(&self, name: &PluginName, digest: Digest, reason: &str) -> Result<()> {
        sqlx::query!(
            "update plugins set state = case state when 'active' then 'active' else 'refused' end,
                 refused_digest = $2, last_error = $3, updated_at = now() where name = $1",
            name.as_str(),
            digest.as_bytes(),
            reason
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Puts a component in force under this name, and its actions and hooks in place of those before.
    ///
    /// # Errors
    /// [`Error::Conflict`] naming both plugins if another one has registered the same action; nothing changed then.
    pub async fn activate_plugin(
        &self,
        host: HostId,
        offered: &ActivePlugin,
        size_bytes: u64,
        imports: &[String],
    ) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        next_revision(&mut transaction).await?;
        sqlx::query!(
            "insert into plugins (name, state, digest, version, size_bytes, imports, host_id)
             values ($1, 'active', $2, 1, $3, $4, $5)
             on conflict (name) do update set
                 state = 'active', digest = $2, size_bytes = $3, imports = $4, host_id = $5, updated_at = now(),
                 version = plugins.version + (plugins.digest is distinct from $2)::int,
                 refused_digest = null, last_error = null",
            offered.name.as_str(),
            offered.digest.as_bytes(),
            i64::try_from(size_bytes).map_err(Error::internal)?,
            imports,
            host as _
        )
        .execute(&mut *transaction)
        .await?;
        replace_actions(&mut transaction, offered).await?;
        replace_hooks(&mut transaction, offered).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets a plugin whose file has gone from this host's directory. Jobs that run it go on.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn withdraw_plugin(&self, host: HostId, name: &PluginName) -> Result<()> {
        let mut transaction = self.pool.begin().await?;
        next_revision(&mut transaction).await?;
        sqlx::query!("delete from plugins where name = $1 and host_id = $2", name.as_str(), host as _)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Counts the change. Its row is locked until the end, so that changes of the catalog come one after the other.
async fn next_revision(transaction: &mut Transaction<'_, Postgres>) -> Result<()> {
    sqlx::query!("update plugin_catalog set revision = revision + 1").execute(&mut **transaction).await?;
    Ok(())
}

async fn replace_actions(transaction: &mut Transaction<'_, Postgres>, offered: &ActivePlugin) -> Result<()> {
    sqlx::query!("delete from plugin_actions where plugin = $1", offered.name.as_str())
        .execute(&mut **transaction)
        .await?;
    let actions = &offered.registration.actions;
    let taken = sqlx::query!(
        r#"select taken.application, taken.name, taken.plugin from plugin_actions taken
           join unnest($1::text[], $2::text[]) as wanted (application, name)
               on wanted.application = taken.application and wanted.name = taken.name limit 1"#,
        &actions.iter().map(|action| action.application.to_string()).collect::<Vec<_>>(),
        &actions.iter().map(|action| action.name.to_string()).collect::<Vec<_>>(),
    )
    .fetch_optional(&mut **transaction)
    .await?;
    if let Some(taken) = taken {
        return Err(Error::conflict(format!(
            "plugin `{}` registers action `{}` of application `{}`, which plugin `{}` has registered already",
            offered.name, taken.name, taken.application, taken.plugin
        )));
    }
    sqlx::query!(
        "insert into plugin_actions (application, name, plugin, description, parameters, idempotent, timeout_seconds)
         select application, name, $2, description, parameters, idempotent, timeout_seconds
         from json_to_recordset($1::json) as registered (application text, name text, description text, parameters json,
                                                   idempotent boolean, timeout_seconds integer)",
        Json(actions) as _,
        offered.name.as_str()
    )
    .execute(&mut **transaction)
    .await
    .on_constraint("plugin_actions_pkey", || Error::conflict("the plugin registers one action twice"))?;
    Ok(())
}

async fn replace_hooks(transaction: &mut Transaction<'_, Postgres>, offered: &ActivePlugin) -> Result<()> {
    sqlx::query!("delete from plugin_hooks where plugin = $1", offered.name.as_str())
        .execute(&mut **transaction)
        .await?;
    let hooks = offered
        .registration
        .hooks
        .iter()
        .flat_map(|of| of.hooks.iter().map(|hook| (of.application.to_string(), hook.clone())));
    let (applications, names): (Vec<_>, Vec<_>) = hooks.unzip();
    sqlx::query!(
        "insert into plugin_hooks (application, name, plugin)
         select application, name, $3 from unnest($1::text[], $2::text[]) as registered (application, name)",
        &applications,
        &names,
        offered.name.as_str()
    )
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
