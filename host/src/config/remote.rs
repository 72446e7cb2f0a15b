//! The settings of remote commands.

use std::path::PathBuf;

use clap::Args;
use url::Url;

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

/// The URL of salt-api. The password goes there: so it is encrypted, or stays on this machine.
fn salt_url(text: &str) -> Result<Url, String> {
    super::url_of_ours(text)
}
