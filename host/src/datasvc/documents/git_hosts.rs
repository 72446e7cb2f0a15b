//! Which servers git may be sent to, by what of a document: a repository's URI, and the URL of its git provider.
//!
//! Credentials are sent to these hosts, so a user who changes one must not redirect the credentials of somebody else.

use std::sync::Arc;

use sqlx::PgConnection;
use url::Url;

use super::git_providers::{BaseUrl, GitProviderType};
use super::git_uri::GitUri;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Interface, Permission};
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::GitProviderName;
use crate::outbound::{Destination, may_be_named};

impl DataSvc {
    /// Lets these hosts be named although they have no public address.
    #[must_use]
    pub fn allow_git_hosts(self, hosts: Vec<Destination>) -> Self {
        Self { git_hosts: Arc::from(hosts), ..self }
    }

    /// # Errors
    /// [`Error::Invalid`] if a git provider cannot be at this URL.
    pub(super) fn check_base_url(&self, base_url: Option<&BaseUrl>) -> Result<()> {
        let Some(url) = base_url.and_then(|url| Url::parse(url.as_str()).ok()) else { return Ok(()) };
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        self.check_host("base_url", host, port)
    }

    /// Whether a repository may be there for this caller. The git provider stays as it is until the transaction ends.
    ///
    /// # Errors
    /// [`Error::Invalid`] if its git provider is elsewhere, or it is at no public host; [`Error::Denied`] for a path on
    /// this machine without write permission on `_global`, and without read permission on git providers for one that has
    /// credentials.
    pub(super) async fn check_place(
        &self,
        connection: &mut PgConnection,
        caller: &Caller,
        uri: &GitUri,
        provider: Option<&GitProviderName>,
    ) -> Result<()> {
        let provider = match provider {
            Some(name) => {
                let found = sqlx::query!(
                    r#"select type as "type: GitProviderType", base_url as "base_url: BaseUrl",
                           auth is not null as "has_auth!"
                       from git_providers where name = $1 for share"#,
                    name.as_str()
                )
                .fetch_optional(connection)
                .await?;
                // That it does not exist is found by the foreign key.
                let Some(found) = found else { return Ok(()) };
                if found.has_auth {
                    may_use_credentials(caller, name)?;
                }
                Some((found.r#type, found.base_url))
            }
            None => None,
        };
        match (provider, uri.server()) {
            (Some((GitProviderType::Local, _)), None) => caller.require_global(Permission::Write),
            (Some((GitProviderType::Local, _)), Some(_)) => {
                Err(Error::invalid("uri", "a git provider of the type `local` has repositories on this machine only"))
            }
            (_, None) => {
                let rule = "a path on this machine is for repositories of a git provider of the type `local`";
                Err(Error::invalid("uri", rule))
            }
            (Some((kind, base_url)), Some((host, port))) => {
                check_below(uri, &host, &at(kind, base_url.as_ref())?)?;
                self.check_host("uri", &host, port)
            }
            (None, Some((host, port))) => self.check_host("uri", &host, port),
        }
    }

    fn check_host(&self, field: &'static str, host: &str, port: u16) -> Result<()> {
        if may_be_named(host, port, &self.git_hosts) {
            return Ok(());
        }
        let rule = format!("`{host}` is not a public host; the operator allows others with --git-hosts {host}:{port}");
        Err(Error::invalid(field, rule))
    }
}

/// A caller who may not read git providers may not have one's credentials used either.
///
/// # Errors
/// [`Error::Denied`].
fn may_use_credentials(caller: &Caller, provider: &GitProviderName) -> Result<()> {
    caller.require_interface(Permission::Read, Interface::GitProviders).map_err(|error| match error {
        Error::Denied { reason } => Error::Denied {
            reason: format!(
                "the repository would be reached with the credentials of git provider `{provider}`: {reason}"
            ),
        },
        other => other,
    })
}

/// Where a git provider is.
fn at(kind: GitProviderType, base_url: Option<&BaseUrl>) -> Result<Url> {
    let own = match kind {
        GitProviderType::GitHub => "https://github.com",
        GitProviderType::GitLab => "https://gitlab.com",
        GitProviderType::Bitbucket => "https://bitbucket.org",
        GitProviderType::Local | GitProviderType::Gitea | GitProviderType::Other | GitProviderType::Unknown => "",
    };
    Url::parse(base_url.map_or(own, BaseUrl::as_str)).map_err(Error::internal)
}

/// Over the web it is below the provider's URL; over SSH it is at the provider's host.
fn check_below(uri: &GitUri, host: &str, provider: &Url) -> Result<()> {
    let is_below = match uri.url().filter(|url| ["http", "https"].contains(&url.scheme())) {
        Some(url) => {
            let path = provider.path().trim_end_matches('/');
            url.origin() == provider.origin() && url.path().strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
        }
        None => provider.host_str().is_some_and(|own| own.eq_ignore_ascii_case(host)),
    };
    if is_below {
        return Ok(());
    }
    Err(Error::invalid("uri", format!("its git provider is at `{provider}`, and this is elsewhere")))
}
