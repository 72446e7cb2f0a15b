//! Applications: what builds, actions and jobs belong to.
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! let owner = applications::get("my_application")?.attributes["owner"].clone();
//! applications::update("my_application", &json!({ "attributes": { "seen": owner } }))?;
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::host::applications as wit;
use crate::{Names, Result};

/// An application.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Application {
    /// Unique in the installation.
    pub name: String,
    /// What users keep with it, an object.
    pub attributes: Value,
    /// When it was made. Times are RFC 3339, UTC.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

/// An application.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound); [`Denied`](crate::Code::Denied) where the plugin may not read it.
pub fn get(application: &str) -> Result<Application> {
    from_wit(wit::get(application)?)
}

/// The names of the applications that this plugin may read, in order, read page by page.
///
/// # Errors
/// Those of the host, such as [`Unavailable`](crate::Code::Unavailable).
pub fn list() -> Result<Names> {
    Names::read(wit::list)
}

/// Makes an application. `attributes` serializes to an object of at most 64 KiB.
///
/// # Errors
/// [`AlreadyExists`](crate::Code::AlreadyExists); [`Denied`](crate::Code::Denied) if the plugin has neither registered
/// something for an application of that name nor was granted it.
pub fn create(application: &str, attributes: &impl Serialize) -> Result<Application> {
    from_wit(wit::create(application, &serde_json::to_string(attributes)?)?)
}

/// Changes an application by a JSON merge patch: `{"attributes": {"foo": "bar"}}` sets one attribute, null removes one.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for anything but the attributes, and those of [`get`].
pub fn update(application: &str, change: &impl Serialize) -> Result<Application> {
    from_wit(wit::update(application, &serde_json::to_string(change)?)?)
}

/// Removes an application, with all that belongs to it.
///
/// # Errors
/// [`Conflict`](crate::Code::Conflict) while jobs of it are queued or running, such as the one that asks; and those of
/// [`get`].
pub fn delete(application: &str) -> Result<()> {
    Ok(wit::delete(application)?)
}

/// What runs where: `{environment: {group: {server: {gitdeploy: {"committed": build, "deployed": build}}}}}`.
///
/// # Errors
/// Those of [`get`].
pub fn census(application: &str) -> Result<Value> {
    Ok(serde_json::from_str(&wit::census(application)?)?)
}

fn from_wit(application: wit::Application) -> Result<Application> {
    let wit::Application { name, attributes, created_at, updated_at } = application;
    Ok(Application { name, attributes: serde_json::from_str(&attributes)?, created_at, updated_at })
}
