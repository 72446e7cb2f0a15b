//! Git providers: where git repositories are. Plugins look at them and see no credentials.
//!
//! They belong to no application: the operator grants them to a plugin, by `interfaces = ["git-providers"]` in its
//! settings.
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! for name in git_providers::list()? {
//!     let provider = git_providers::get(&name?)?;
//!     log::info!("{} is a {} at {:?}", provider.name, provider.r#type, provider.base_url);
//! }
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::host::git_providers as wit;
use crate::{Names, Result};

/// A git provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GitProvider {
    /// Unique in the installation.
    pub name: String,
    /// `local`, `github`, `gitlab`, `gitea`, `bitbucket` or `other`.
    pub r#type: String,
    /// Where the service is, an `http` or `https` URL without a `/` at the end. `None`: the public service
    /// of the type, or this server.
    pub base_url: Option<String>,
    /// What users keep with it, an object.
    pub attributes: Value,
    /// When it was made. Times are RFC 3339, UTC.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

/// A git provider.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound); [`Denied`](crate::Code::Denied) where the plugin was not granted them.
pub fn get(git_provider: &str) -> Result<GitProvider> {
    from_wit(wit::get(git_provider)?)
}

/// The names of the git providers, in order, read page by page.
///
/// # Errors
/// Those of [`get`].
pub fn list() -> Result<Names> {
    Names::read(wit::list)
}

fn from_wit(provider: wit::GitProvider) -> Result<GitProvider> {
    let wit::GitProvider { name, type_, base_url, attributes, created_at, updated_at } = provider;
    Ok(GitProvider {
        name,
        r#type: type_,
        base_url,
        attributes: serde_json::from_str(&attributes)?,
        created_at,
        updated_at,
    })
}
