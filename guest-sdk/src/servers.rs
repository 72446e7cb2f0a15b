//! Servers: what is deployed to, and the environments they make up. The operator grants them to a plugin.
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//! use elita_plugin::servers::{Driver, NewServer};
//!
//! # fn example() -> Result<()> {
//! let new = NewServer::new("production", Driver::Ssh);
//! servers::create("web1.example.com", &new, &json!({}))?;
//! servers::update("web1.example.com", &json!({ "environment": "staging" }))?;
//! for (environment, names) in servers::environments()? {
//!     log::info!("{environment}: {}", names.join(", "));
//! }
//! for name in servers::list()? {
//!     log::info!("{}", servers::get(&name?)?.connection);
//! }
//! servers::delete("web1.example.com")?;
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::host::servers as wit;
use crate::{Names, Result};

/// A server.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Server {
    /// Unique in the installation. It may be a host name.
    pub name: String,
    /// The environment that it belongs to.
    pub environment: String,
    /// What it is reached by.
    pub driver: Driver,
    /// How the driver reaches it: for SSH `host`, `port`, `user` and `host_key`, for Salt `minion`, otherwise nothing.
    pub connection: Value,
    /// What users keep with it, an object.
    pub attributes: Value,
    /// When it was made. Times are RFC 3339, UTC.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

/// What a server is reached by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A Salt master, of which it is a minion.
    Salt,
    /// SSH.
    Ssh,
    /// The machine that Elita runs on.
    Local,
}

/// What a new server needs.
#[derive(Clone, Debug, PartialEq)]
pub struct NewServer {
    environment: String,
    driver: Driver,
    connection: Value,
}

impl NewServer {
    /// A server of this environment that is reached by its name.
    pub fn new(environment: impl Into<String>, driver: Driver) -> Self {
        Self { environment: environment.into(), driver, connection: json!({}) }
    }

    /// The same with members of a [`Server::connection`], an object; those that are not in it have defaults, and others are
    /// [`Denied`](crate::Code::Denied): what a plugin's server is reached by is for people to set.
    #[must_use]
    pub fn connection(self, connection: Value) -> Self {
        Self { connection, ..self }
    }
}

/// A server.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound); [`Denied`](crate::Code::Denied) where the plugin may not look at it.
pub fn get(server: &str) -> Result<Server> {
    from_wit(wit::get(server)?)
}

/// The names of the servers that this plugin may look at, in order, read page by page.
///
/// # Errors
/// Those of the host, such as [`Unavailable`](crate::Code::Unavailable).
pub fn list() -> Result<Names> {
    Names::read(wit::list)
}

/// The environments, with the names of their servers that this plugin may look at.
///
/// # Errors
/// Those of [`list`].
pub fn environments() -> Result<BTreeMap<String, Vec<String>>> {
    Ok(wit::environments()?.into_iter().collect())
}

/// Makes a server. `attributes` serializes to an object of at most 64 KiB.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for a connection that does not fit the driver;
/// [`AlreadyExists`](crate::Code::AlreadyExists); [`Denied`](crate::Code::Denied) if the plugin was not granted the
/// name and the interface `servers`.
pub fn create(server: &str, new: &NewServer, attributes: &impl Serialize) -> Result<Server> {
    let NewServer { environment, driver, connection } = new;
    let new = wit::NewServer {
        environment: environment.clone(),
        driver: match driver {
            Driver::Salt => wit::Driver::Salt,
            Driver::Ssh => wit::Driver::Ssh,
            Driver::Local => wit::Driver::Local,
        },
        connection: connection.to_string(),
    };
    from_wit(wit::create(server, &new, &serde_json::to_string(attributes)?)?)
}

/// Changes a server by a JSON merge patch: `{"connection": {"port": 2222}}` changes its port, null sets it back. With
/// another `driver`, the members of the connection that was are to be null.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for anything but `environment`, `driver`, `connection` and `attributes`, and those
/// of [`create`] and [`get`].
pub fn update(server: &str, change: &impl Serialize) -> Result<Server> {
    from_wit(wit::update(server, &serde_json::to_string(change)?)?)
}

/// Removes a server.
///
/// # Errors
/// [`Conflict`](crate::Code::Conflict) while gitdeploys are initialized on it; and those of [`create`] and [`get`].
pub fn delete(server: &str) -> Result<()> {
    Ok(wit::delete(server)?)
}

fn from_wit(server: wit::Server) -> Result<Server> {
    let wit::Server { name, environment, driver, connection, attributes, created_at, updated_at } = server;
    Ok(Server {
        name,
        environment,
        driver: match driver {
            wit::Driver::Salt => Driver::Salt,
            wit::Driver::Ssh => Driver::Ssh,
            wit::Driver::Local => Driver::Local,
        },
        connection: serde_json::from_str(&connection)?,
        attributes: serde_json::from_str(&attributes)?,
        created_at,
        updated_at,
    })
}
