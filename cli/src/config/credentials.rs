//! The tokens, by context.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{folder, refuse_readable, write_private};
use crate::failure::{Failure, Result};

/// What stands in `credentials.toml`.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Credentials(BTreeMap<String, Stored>);

/// A token as it is kept.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Stored {
    pub(crate) token: String,
    pub(crate) token_id: String,
    pub(crate) expires_at: String,
    /// The server that it was made for: it is sent to no other one.
    pub(crate) server: String,
}

impl Credentials {
    /// Reads them; none where there is no file.
    ///
    /// # Errors
    /// If others can read the file, or it cannot be understood.
    pub(crate) fn read() -> Result<Self> {
        let path = file()?;
        refuse_readable(&path)?;
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|_| Failure::usage(format!("{} cannot be understood", path.display())).hint("elita login")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::file("read", &path, &error)),
        }
    }

    pub(crate) fn get(&self, context: &str) -> Option<&Stored> {
        self.0.get(context)
    }

    /// Keeps a token.
    pub(crate) fn store(context: &str, stored: Stored) -> Result<()> {
        let mut all = Self::read()?;
        all.0.insert(context.to_owned(), stored);
        all.write()
    }

    /// Forgets a context's token.
    pub(crate) fn forget(context: &str) -> Result<()> {
        let mut all = Self::read()?;
        match all.0.remove(context) {
            Some(_) => all.write(),
            None => Ok(()),
        }
    }

    fn write(&self) -> Result<()> {
        let text = toml::to_string(self).map_err(|error| Failure::usage(error.to_string()))?;
        write_private(&file()?, &text)
    }
}

fn file() -> Result<PathBuf> {
    Ok(folder()?.join("credentials.toml"))
}
