//! Git providers: where git repositories are, and with what credentials Elita works there.

mod auth;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use url::Url;

use super::referrers::{AppReferrer, named_to};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Interface, Permission};
use crate::datasvc::access::secrets::{GIT_PROVIDER, SealedSecret, outdated_key};
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{AppName, GitProviderName};
use crate::datasvc::ground::page::{Listed, Page};
use crate::datasvc::ground::patch::Patch;
use crate::datasvc::ground::revision::{Expected, Revision};
use crate::datasvc::ground::sql::OnConstraint as _;
use crate::datasvc::ground::words::stored_words;

pub use auth::{GitProviderAuth, PasswordAuth, TokenAuth};

/// The longest base URL, in bytes.
const MAX_URL_BYTES: usize = 2048;

/// A git provider.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct GitProvider {
    /// Unique in this installation.
    pub name: GitProviderName,
    /// What kind of service it is.
    pub r#type: GitProviderType,
    /// Where the service is; null where the type says so already.
    pub base_url: Option<BaseUrl>,
    /// Whether there are credentials for it, which are never shown.
    pub has_auth: bool,
    /// What users keep with it.
    pub attributes: Attributes,
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

/// The kinds of git providers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, sqlx::Encode, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum GitProviderType {
    /// Repositories of the server's own, in its data directory.
    Local,
    /// GitHub, or GitHub Enterprise at a base URL.
    GitHub,
    /// GitLab, the public one or that at a base URL.
    GitLab,
    /// Gitea or Forgejo, at a base URL.
    Gitea,
    /// Bitbucket, the public one or that at a base URL.
    Bitbucket,
    /// Any other service, at a base URL.
    Other,
    /// What only a newer server knows.
    #[serde(skip_deserializing)]
    Unknown,
}

stored_words!(GitProviderType);

impl GitProviderType {
    /// The type as it is written in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
            Self::Bitbucket => "bitbucket",
            Self::Other => "other",
            Self::Unknown => "unknown",
        }
    }

    /// # Errors
    /// [`Error::Invalid`] if a git provider of this type needs a base URL and does not have it, or must not have one.
    fn check(self, base_url: Option<&BaseUrl>) -> Result<()> {
        match (self, base_url) {
            (Self::Local, Some(_)) => {
                Err(Error::invalid("base_url", "a git provider of the type `local` is this server, and has no URL"))
            }
            (Self::Gitea | Self::Other, None) => {
                let rule = format!("a git provider of the type `{}` needs the URL that it is at", self.as_str());
                Err(Error::invalid("base_url", rule))
            }
            (Self::Local, None)
            | (Self::Gitea | Self::Other, Some(_))
            | (Self::GitHub | Self::GitLab | Self::Bitbucket, _) => Ok(()),
            (Self::Unknown, _) => Err(Error::conflict("only a newer server knows git providers of this type")),
        }
    }
}

/// The `http` or `https` URL that a service is at, in its normal form and without a `/` at the end.
///
/// It carries nothing secret: neither a username and a password nor a query.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(try_from = "String")]
#[sqlx(transparent)]
#[schema(value_type = String, format = "uri", max_length = 2048, pattern = "^[Hh][Tt][Tt][Pp][Ss]?://[^?#@]+$",
    example = "https://git.example.com")]
pub struct BaseUrl(String);

impl BaseUrl {
    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > MAX_URL_BYTES {
            return Err(format!("it is {} bytes long, and at most {MAX_URL_BYTES} are taken", text.len()));
        }
        let url = Url::parse(&text).map_err(|error| format!("it is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("it is an `http` or `https` URL, not `{}`", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a username or a password does not belong in it".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it ends before a `?` or a `#`".into());
        }
        let normal = url.as_str().trim_end_matches('/');
        if normal.len() > MAX_URL_BYTES {
            let problem =
                format!("it is {} bytes long when escaped, and at most {MAX_URL_BYTES} are taken", normal.len());
            return Err(problem);
        }
        Ok(Self(normal.to_owned()))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A git provider to be made.
pub struct NewGitProvider {
    /// Unique in this installation.
    pub name: GitProviderName,
    /// What kind of service it is.
    pub r#type: GitProviderType,
    /// Where the service is.
    pub base_url: Option<BaseUrl>,
    /// A [`GitProviderAuth`] as it came.
    pub auth: Option<Value>,
    /// What to keep with it.
    pub attributes: Attributes,
}

/// What can be changed of a git provider.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GitProviderChange)]
pub struct Change {
    #[serde(default)]
    base_url: Option<BaseUrl>,
    /// New credentials. `true`, as it is shown, keeps the present ones.
    #[serde(default)]
    #[schema(value_type = Option<GitProviderAuth>, write_only)]
    auth: Option<Value>,
    #[serde(default)]
    attributes: Attributes,
}

/// A git provider as patches see it: what stands for its credentials is there to be replaced or removed.
#[derive(Serialize)]
struct Changeable<'a> {
    #[serde(flatten)]
    provider: &'a GitProvider,
    auth: &'a Option<Value>,
}

/// A git provider after a change, and whether its credentials are other ones.
#[derive(Serialize)]
struct Audited<'p> {
    #[serde(flatten)]
    provider: &'p GitProvider,
    auth_changed: bool,
}

impl DataSvc {
    /// Makes a git provider.
    ///
    /// # Errors
    /// [`Error::Invalid`] if its type needs a base URL and it is missing, or must not have one, and with the path of
    /// what is wrong with its credentials; [`Error::AlreadyExists`]; [`Error::Denied`] without write permission on
    /// `_global`.
    pub async fn create_git_provider(&self, caller: &Caller, new: &NewGitProvider) -> Result<GitProvider> {
        caller.require_interface(Permission::Write, Interface::GitProviders)?;
        let NewGitProvider { name, r#type, base_url, auth, attributes } = new;
        r#type.check(base_url.as_ref())?;
        self.check_base_url(base_url.as_ref())?;
        let auth = auth.as_ref().map(|auth| GitProviderAuth::read(auth, *r#type)).transpose()?;
        let sealed = auth.map(|auth| self.seal_auth(name, &auth)).transpose()?;
        let mut transaction = self.change(caller, "git-providers.create").await?;
        let provider = sqlx::query_as!(
            GitProvider,
            r#"insert into git_providers (name, type, base_url, auth, secret_version, attributes)
               values ($1, $2, $3, $4, $5, $6)
               returning name as "name: GitProviderName", type as "type: GitProviderType",
                   base_url as "base_url: BaseUrl", auth is not null as "has_auth!",
                   attributes as "attributes: Attributes", created_at, updated_at,
                   revision as "revision: Revision""#,
            name.as_str(),
            r#type.as_str(),
            base_url.as_ref().map(BaseUrl::as_str),
            sealed.as_ref().map(|sealed| &sealed.bytes[..]),
            sealed.as_ref().map(|sealed| sealed.version),
            attributes as _
        )
        .fetch_one(&mut *transaction)
        .await
        .on_constraints(&[
            ("git_providers_pkey", &|| Error::already_exists(Kind::GitProvider, name)),
            ("git_providers_secret_version_fkey", &outdated_key),
        ])?;
        transaction.created(None, name, &provider).await?;
        Ok(provider)
    }

    /// One git provider.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without read permission on `_global`, or to a plugin that was not
    /// granted `git-providers`.
    pub async fn git_provider(&self, caller: &Caller, name: &GitProviderName) -> Result<GitProvider> {
        caller.require_interface(Permission::Read, Interface::GitProviders)?;
        sqlx::query_as!(
            GitProvider,
            r#"select name as "name: GitProviderName", type as "type: GitProviderType",
                   base_url as "base_url: BaseUrl", auth is not null as "has_auth!",
                   attributes as "attributes: Attributes", created_at, updated_at,
                   revision as "revision: Revision"
               from git_providers where name = $1"#,
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Kind::GitProvider, name))
    }

    /// The git providers, by name.
    ///
    /// # Errors
    /// [`Error::Denied`] without read permission on `_global`, or to a plugin that was not granted `git-providers`.
    pub async fn git_providers(&self, caller: &Caller, page: &Page) -> Result<Listed<GitProvider>> {
        caller.require_interface(Permission::Read, Interface::GitProviders)?;
        let start = page.start()?;
        let rows = sqlx::query_as!(
            GitProvider,
            r#"select name as "name: GitProviderName", type as "type: GitProviderType",
                   base_url as "base_url: BaseUrl", auth is not null as "has_auth!",
                   attributes as "attributes: Attributes", created_at, updated_at,
                   revision as "revision: Revision"
               from git_providers where ($1::text is null or case when $4 then (created_at, name) < ($5, $1)
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
                page.gather(rows.fetch(connection), |provider| page.cursor(provider.created_at, provider.name.as_str()))
                    .await
            })
            .await
    }

    /// Changes the base URL, the credentials and the attributes of a git provider. With another base URL the
    /// credentials have to be given anew: they are not for whoever answers there.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on `_global`; [`Error::Changed`] if it is
    /// another version than expected; [`Error::Invalid`] and [`Error::Conflict`] for what the patch cannot do.
    pub async fn update_git_provider(
        &self,
        caller: &Caller,
        name: &GitProviderName,
        patch: &Patch,
        expected: &Expected,
    ) -> Result<GitProvider> {
        caller.require_interface(Permission::Write, Interface::GitProviders)?;
        let mut transaction = self.change(caller, "git-providers.update").await?;
        let provider = locked(&mut transaction, name).await?;
        expected.check(provider.revision, Kind::GitProvider, name)?;
        let shown = provider.has_auth.then_some(Value::Bool(true));
        let changeable = Change {
            base_url: provider.base_url.clone(),
            auth: shown.clone(),
            attributes: provider.attributes.clone(),
        };
        let Change { base_url, auth, attributes } =
            patch.apply(&Changeable { provider: &provider, auth: &shown }, &changeable).await?;
        provider.r#type.check(base_url.as_ref())?;
        if base_url != provider.base_url {
            self.check_base_url(base_url.as_ref())?;
        }
        let is_kept = auth.is_some() && auth == shown;
        if is_kept && base_url != provider.base_url {
            let rule = "the credentials were given for the URL that was; give them for the new one, or null";
            return Err(Error::invalid("auth", rule));
        }
        let sealed = match auth.filter(|_| !is_kept) {
            Some(auth) => Some(self.seal_auth(name, &GitProviderAuth::read(&auth, provider.r#type)?)?),
            None => None,
        };
        let updated = sqlx::query_as!(
            GitProvider,
            r#"update git_providers
               set base_url = $2, attributes = $3, auth = case when $4 then auth else $5 end,
                   secret_version = case when $4 then secret_version else $6 end,
                   revision = nextval('revisions'), updated_at = now()
               where name = $1
               returning name as "name: GitProviderName", type as "type: GitProviderType",
                   base_url as "base_url: BaseUrl", auth is not null as "has_auth!",
                   attributes as "attributes: Attributes", created_at, updated_at,
                   revision as "revision: Revision""#,
            name.as_str(),
            base_url.as_ref().map(BaseUrl::as_str),
            attributes as _,
            is_kept,
            sealed.as_ref().map(|sealed| &sealed.bytes[..]),
            sealed.as_ref().map(|sealed| sealed.version)
        )
        .fetch_one(&mut *transaction)
        .await
        .on_constraint("git_providers_secret_version_fkey", outdated_key)?;
        let after = Audited { provider: &updated, auth_changed: sealed.is_some() };
        transaction.updated(None, name, &provider, &after).await?;
        Ok(updated)
    }

    /// Removes a git provider that no git repository uses.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] naming git repositories that use it, as far as the caller may read
    /// them; [`Error::Denied`] without write permission on `_global`; [`Error::Changed`] if it is another version than
    /// expected.
    pub async fn delete_git_provider(
        &self,
        caller: &Caller,
        name: &GitProviderName,
        expected: &Expected,
    ) -> Result<()> {
        caller.require_interface(Permission::Write, Interface::GitProviders)?;
        let mut transaction = self.change(caller, "git-providers.delete").await?;
        // The lock keeps repositories from being given this provider, so that what is found below holds.
        sqlx::query!("select from git_providers where name = $1 for update", name.as_str())
            .execute(&mut *transaction)
            .await?;
        let provider = locked(&mut transaction, name).await?;
        expected.check(provider.revision, Kind::GitProvider, name)?;
        let repos = sqlx::query_as!(
            AppReferrer,
            r#"select application as "application: AppName", name, count(*) over () as "count!"
               from git_repos where git_provider = $1 order by application, name"#,
            name.as_str()
        )
        .fetch(&mut *transaction);
        if let Some(users) = named_to(caller, "git repo", repos).await? {
            return Err(in_use(name, &users));
        }
        sqlx::query!("delete from git_providers where name = $1", name.as_str())
            .execute(&mut *transaction)
            .await
            .on_constraint("git_repos_git_provider_fkey", || in_use(name, "a git repo"))?;
        transaction.deleted(None, name, &provider).await
    }

    fn seal_auth(&self, name: &GitProviderName, auth: &GitProviderAuth) -> Result<SealedSecret> {
        let text = serde_json::to_vec(auth).map_err(Error::internal)?;
        self.secrets()?.seal(GIT_PROVIDER, name, &text)
    }
}

/// One git provider, locked against changes. Repositories may be given it meanwhile.
async fn locked(connection: &mut PgConnection, name: &GitProviderName) -> Result<GitProvider> {
    sqlx::query_as!(
        GitProvider,
        r#"select name as "name: GitProviderName", type as "type: GitProviderType",
               base_url as "base_url: BaseUrl", auth is not null as "has_auth!",
               attributes as "attributes: Attributes", created_at, updated_at, revision as "revision: Revision"
           from git_providers where name = $1 for no key update"#,
        name.as_str()
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::not_found(Kind::GitProvider, name))
}

fn in_use(name: &GitProviderName, users: &str) -> Error {
    Error::conflict(format!("git provider `{name}` is used by {users}; change or remove what uses it first"))
}

#[cfg(test)]
mod tests;
