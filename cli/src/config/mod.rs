//! What the client keeps: `config.toml` with contexts, to be edited by hand, and beside it `credentials.toml` with
//! tokens, for its owner only.

mod credentials;
mod private;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

pub(crate) use self::credentials::{Credentials, Stored};
pub(crate) use self::private::{is_private_folder, refuse_readable, write_private};
use crate::failure::{Failure, Result};

/// What stands in `config.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The context that holds when none is named.
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// A server, and how one works with it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) server: String,
    pub(crate) username: Option<String>,
    /// The application, for commands that name no other.
    pub(crate) app: Option<String>,
    /// Certificate authorities beside those of this machine.
    pub(crate) ca_file: Option<PathBuf>,
    /// Prints the token, instead of the stored one.
    pub(crate) token_command: Option<Vec<String>>,
    /// Whether `http://` may be spoken to another machine.
    #[serde(default)]
    pub(crate) plain_http: bool,
}

/// The client's folder: `$ELITA_CONFIG_DIR`, or `elita` in the user's folder for configuration.
///
/// # Errors
/// If there is neither that variable nor a home.
pub(crate) fn folder() -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("ELITA_CONFIG_DIR")
        .or_else(|| Some(variable("XDG_CONFIG_HOME")?.join("elita")))
        .or_else(|| Some(variable("HOME")?.join(".config/elita")))
        .ok_or_else(|| Failure::usage("there is no folder for settings: neither ELITA_CONFIG_DIR nor HOME is set"))
}

impl Config {
    /// Reads it; one that is not there is empty.
    ///
    /// # Errors
    /// If it cannot be read or understood.
    pub(crate) fn read() -> Result<Self> {
        let path = file()?;
        private::refuse_writable(&path)?;
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                Failure::usage(format!("{} cannot be understood: {}", path.display(), error.message()))
                    .hint(format!("edit {}", path.display()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::file("read", &path, &error)),
        }
    }

    /// The context of this name.
    pub(crate) fn context(&self, name: &str) -> Result<&Context> {
        self.contexts.get(name).ok_or_else(|| {
            let known: Vec<_> = self.contexts.keys().map(|name| format!("`{name}`")).collect();
            let failure = Failure::usage(format!("there is no context `{name}`"));
            match known.is_empty() {
                true => failure.hint("elita login URL makes one"),
                false => failure.hint(format!("one of {}", known.join(", "))),
            }
        })
    }
}

/// Changes `config.toml`, and leaves its comments and its order as they are.
///
/// # Errors
/// If it cannot be understood or written.
pub(crate) fn change(edit: impl FnOnce(&mut toml_edit::DocumentMut)) -> Result<()> {
    let path = file()?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::file("read", &path, &error)),
    };
    let mut document: toml_edit::DocumentMut =
        text.parse().map_err(|error| Failure::usage(format!("{} cannot be understood: {error}", path.display())))?;
    edit(&mut document);
    write_private(&path, &document.to_string())
}

fn file() -> Result<PathBuf> {
    Ok(folder()?.join("config.toml"))
}
