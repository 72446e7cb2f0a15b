//! How a server is reached: members that depend on the driver, with their defaults. Nothing of it is secret.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use ssh_key::PublicKey;

use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{KeypairName, ServerName};
use crate::datasvc::ground::pointer::pointer;
use crate::datasvc::ground::sql::json_column;

/// The longest host, user and minion id, in bytes.
const MAX_BYTES: usize = 253;
/// What drivers know.
const MEMBERS: [&str; 8] = ["host", "port", "user", "host_key", "keypair", "jump", "sudo", "minion"];
/// The longest host key, in bytes.
const MAX_HOST_KEY_BYTES: usize = 16 * 1024;

/// What a server is reached by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Driver {
    /// A Salt master, of which it is a minion.
    Salt,
    /// SSH.
    Ssh,
    /// The machine that Elita runs on.
    Local,
}

impl Driver {
    /// The driver as it is written in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Salt => "salt",
            Self::Ssh => "ssh",
            Self::Local => "local",
        }
    }
}

/// How a driver reaches a server.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum Connection {
    /// Of the driver `ssh`.
    Ssh(SshConnection),
    /// Of the driver `salt`.
    Salt(SaltConnection),
    /// Of the driver `local`.
    Local(LocalConnection),
}

/// Where a server takes SSH.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SshConnection {
    /// Its host name or address: the server's name, unless it is given.
    #[schema(max_length = 253, pattern = "^[A-Za-z0-9._:%][A-Za-z0-9._:%-]*$", example = "web1.example.com")]
    pub host: String,
    /// Its port, from 1 on: 22, unless it is given.
    #[schema(minimum = 1, maximum = 65535)]
    pub port: u16,
    /// Who logs in: `root`, unless it is given.
    #[schema(max_length = 253, pattern = "^[A-Za-z0-9._@][A-Za-z0-9._@-]*$", example = "root")]
    pub user: String,
    /// The public half of the only key that the host may show, as `ssh-keyscan` prints it behind the host's name.
    #[schema(format = "ssh-public-key", max_length = 16384)]
    pub host_key: Option<String>,
    /// The keypair that Elita logs in with. Null: the keys of the user that Elita runs as.
    #[serde(default)]
    pub keypair: Option<KeypairName>,
    /// The server of the driver `ssh` that it is reached through.
    #[serde(default)]
    pub jump: Option<ServerName>,
    /// Whether commands run as root, by `sudo`, which must not ask for a password.
    #[serde(default)]
    pub sudo: bool,
}

/// Which minion a server is.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SaltConnection {
    /// Its id: the server's name, unless it is given.
    #[schema(max_length = 253, pattern = "^[A-Za-z0-9._:@][A-Za-z0-9._:@-]*$", example = "web1.example.com")]
    pub minion: String,
}

/// Nothing is needed to reach the machine that Elita runs on.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalConnection {}

json_column!(Connection);

impl Connection {
    /// What `members` say of a server, with the driver's defaults for those that are null or not given.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the path of what is not known to the driver or cannot be right.
    pub(super) fn read(driver: Driver, mut members: Map<String, Value>, server: &ServerName) -> Result<Self> {
        // As in a merge patch, and as the document shows what is not there, perhaps of the driver that was.
        members.retain(|name, value| !value.is_null() || !MEMBERS.contains(&name.as_str()));
        let mut default = |name: &str, value: Value| {
            members.entry(name).or_insert(value);
        };
        match driver {
            Driver::Ssh => {
                default("host", json!(server));
                default("port", json!(22));
                default("user", json!("root"));
                let connection: SshConnection = parse(members)?;
                connection.check()?;
                Ok(Self::Ssh(connection))
            }
            Driver::Salt => {
                default("minion", json!(server));
                let connection: SaltConnection = parse(members)?;
                check_word("connection/minion", &connection.minion, "._-:@")?;
                Ok(Self::Salt(connection))
            }
            Driver::Local => parse(members).map(Self::Local),
        }
    }

    /// Its members, as [`Connection::read`] takes them.
    pub(super) fn members(&self) -> Result<Map<String, Value>> {
        let members = serde_json::to_value(self).and_then(serde_json::from_value);
        members.map_err(Error::internal)
    }
}

impl SshConnection {
    fn check(&self) -> Result<()> {
        check_word("connection/host", &self.host, "._-:%")?;
        check_word("connection/user", &self.user, "._-@")?;
        if self.port == 0 {
            return Err(Error::invalid("connection/port", "a port is 1 to 65535"));
        }
        match &self.host_key {
            Some(key) => check_host_key("connection/host_key", key),
            None => Ok(()),
        }
    }
}

/// Members as what they have to be.
fn parse<T: DeserializeOwned>(members: Map<String, Value>) -> Result<T> {
    serde_path_to_error::deserialize(Value::Object(members)).map_err(|error| {
        let field = format!("connection{}", pointer(error.path()));
        Error::invalid(field, error.inner().to_string())
    })
}

/// These become arguments of commands, and nothing in them may mean more than itself: no space, no quote, no pattern,
/// and no `-` at the beginning.
fn check_word(field: &'static str, word: &str, also: &str) -> Result<()> {
    let known = word.chars().all(|c| c.is_ascii_alphanumeric() || also.contains(c));
    if known && !word.starts_with('-') && (1..=MAX_BYTES).contains(&word.len()) {
        return Ok(());
    }
    let rule = format!("this is 1 to {MAX_BYTES} of `A-Z a-z 0-9` and `{also}`, and does not start with `-`");
    Err(Error::invalid(field, rule))
}

/// It becomes a line of a file of known hosts.
///
/// # Errors
/// [`Error::Invalid`] of this field.
pub(in crate::datasvc::documents) fn check_host_key(field: &'static str, key: &str) -> Result<()> {
    let one_line = key.len() <= MAX_HOST_KEY_BYTES && !key.contains(char::is_control);
    if one_line && PublicKey::from_openssh(key).is_ok() {
        return Ok(());
    }
    let rule = "this is a line such as `ssh-ed25519 AAAA…`: what `ssh-keyscan` prints behind the host's name";
    Err(Error::invalid(field, rule))
}

#[cfg(test)]
mod tests;
