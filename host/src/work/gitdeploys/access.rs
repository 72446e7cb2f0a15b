//! What servers read a repository with. It reaches them by standard input, and is in no command line, log or step.

use std::fmt;

use crate::datasvc::JobError;
use crate::datasvc::JobErrorCode;
use crate::engine::StepResult;
use crate::remote::Command;
use crate::work::Inner;
use crate::work::git::escaped;
use crate::work::git::upstream::Mirror;

/// The name under which the scripts look up the key of a repository's host.
const ALIAS: &str = "elita";
/// Parts of a secret that are shorter are not hidden by themselves.
const LEAST_HIDDEN: usize = 16;

/// What servers read a repository with.
pub(super) enum Access {
    /// Nothing: everybody may read it.
    Open,
    /// A token of this server's, of which each gets its own.
    Token,
    /// A username and a password, as they stand in a URL.
    Login(String),
    /// A private key, and the only key that the repository's host may show.
    Key {
        /// As a line of known hosts has it behind the name.
        host_key: String,
        /// In OpenSSH's format.
        private: String,
    },
}

impl Access {
    /// What the script calls it.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Open => "nothing",
            Self::Token | Self::Login(_) => "token",
            Self::Key { .. } => "key",
        }
    }

    /// The script with it on its standard input; a token is made by the caller.
    pub(super) fn given_to(&self, script: Command) -> Command {
        match self {
            Self::Open | Self::Token => script,
            Self::Login(login) => {
                let password = login.split_once(':').map_or(&**login, |(_, password)| password);
                script.reading(format!("{login}\n")).hiding(password)
            }
            Self::Key { host_key, private } => {
                let script = script.reading(format!("{ALIAS} {host_key}\n\n{private}"));
                let lines = private.lines().filter(|line| line.len() >= LEAST_HIDDEN && !line.starts_with("-----"));
                lines.fold(script, |script, line| script.hiding(line))
            }
        }
    }
}

/// Without the secrets.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Inner {
    /// What servers read a repository with that others keep, and that was contacted before.
    pub(super) async fn access_of(&self, mirror: &Mirror) -> StepResult<Access> {
        let place = mirror.place();
        if !place.uri.is_ssh() {
            let login = self.login_of(mirror).await?;
            return Ok(login.map_or(Access::Open, |(username, password)| {
                Access::Login(format!("{}:{}", escaped(&username), escaped(&password)))
            }));
        }
        let why = |why: &str| JobError::new(JobErrorCode::GitUnreachable, why);
        let keys = self.keys_of(mirror).await?;
        let keys = keys.ok_or_else(|| {
            why("servers need a keypair for a repository that is reached by SSH; set the repository's `keypair`")
        })?;
        let host_key = place.host_key.clone();
        let host_key = host_key.ok_or_else(|| why("the key of the repository's SSH host is not known yet"))?;
        Ok(Access::Key { host_key, private: keys.private })
    }
}
