//! The settings of remote commands.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use url::Url;

use crate::remote::SaltSettings;

/// How servers are reached.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Servers")]
pub struct RemoteSettings {
    /// Allows servers of the driver `local`, which are directories of this machine: whoever may send commands to them
    /// runs programs here. Without it they are allowed with --dev, where --listen is a loopback address.
    #[arg(id = "local-servers", long = "local-servers", env = "ELITA_LOCAL_SERVERS")]
    pub local: bool,
    /// Commands that run on servers at the same time, of all jobs; further ones wait.
    #[arg(id = "remote-commands", long = "remote-commands", env = "ELITA_REMOTE_COMMANDS", default_value_t = 64, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub commands: u32,
    /// Seconds after which each server is checked again, give or take a tenth: whether it can be reached, and what there
    /// is on it. 0: only when it is new, is reached in another way, or somebody asks.
    #[arg(
        id = "server-check-seconds",
        long = "server-check-seconds",
        env = "ELITA_SERVER_CHECK_SECONDS",
        default_value_t = 3600,
        value_name = "SECONDS"
    )]
    pub check_seconds: u32,
    /// URL of the salt-api of a Salt master, for servers of the driver `salt`: `https`, or `http` at a loopback address.
    #[arg(long = "salt-url", env = "ELITA_SALT_URL", value_name = "URL", value_parser = salt_url)]
    pub salt_url: Option<Url>,
    /// How salt-api checks its user (`eauth`), such as `pam` or `sharedsecret`.
    #[arg(long = "salt-eauth", env = "ELITA_SALT_EAUTH", default_value = "pam", value_name = "NAME")]
    pub salt_eauth: String,
    /// User to log in to salt-api as.
    #[arg(long = "salt-username", env = "ELITA_SALT_USERNAME", default_value = "elita", value_name = "NAME")]
    pub salt_username: String,
    /// File with the password of this user; the end of its line does not count. Required with --salt-url.
    #[arg(long = "salt-password-file", env = "ELITA_SALT_PASSWORD_FILE", value_name = "FILE")]
    pub salt_password_file: Option<PathBuf>,
    /// PEM file with certificate authorities to trust for salt-api, in addition to those of this machine.
    #[arg(long = "salt-ca", env = "ELITA_SALT_CA", value_name = "FILE")]
    pub salt_ca: Option<PathBuf>,
}

impl RemoteSettings {
    /// How salt-api is reached. `None`: there is none.
    ///
    /// # Errors
    /// If a file cannot be read, or there is no password.
    pub fn salt(&self) -> anyhow::Result<Option<SaltSettings>> {
        let Some(url) = self.salt_url.clone() else { return Ok(None) };
        let file = self.salt_password_file.as_ref().context("--salt-url needs --salt-password-file")?;
        let password = std::fs::read_to_string(file)
            .with_context(|| format!("the password for salt-api in {} cannot be read", file.display()))?;
        let password = password.strip_suffix('\n').unwrap_or(&password).trim_end_matches('\r').to_owned();
        anyhow::ensure!(!password.is_empty(), "there is no password for salt-api in {}", file.display());
        let authorities = match &self.salt_ca {
            Some(file) => {
                let read = std::fs::read(file);
                Some(read.with_context(|| format!("the certificate authorities in {} cannot be read", file.display()))?)
            }
            None => None,
        };
        let (eauth, username) = (self.salt_eauth.clone(), self.salt_username.clone());
        Ok(Some(SaltSettings { url, eauth, username, password, authorities }))
    }
}

/// The URL of salt-api. The password goes there: so it is encrypted, or stays on this machine.
fn salt_url(text: &str) -> Result<Url, String> {
    super::url_of_ours(text)
}
