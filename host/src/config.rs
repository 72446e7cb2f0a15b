//! Every setting: a flag of `elita serve`, a variable, and a key in an optional TOML file; the first
//! one that is given, in this order, is used.

mod admin;
mod http;
mod remote;
mod uploads;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Args, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

pub use admin::{Admin, AdminCommand};
pub use http::HttpSettings;
pub use remote::RemoteSettings;
pub use uploads::UploadSettings;

use crate::datasvc::{Grants, PluginName};
use crate::outbound::Destination;
use crate::plugin::Limits;

/// A WebAssembly plugin host for deployment automation.
#[derive(Debug, Parser)]
#[command(name = "elita", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Commands,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Commands {
    /// Runs the server.
    Serve(Box<Settings>),
}

/// What a server does.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Role {
    /// Answers requests and runs jobs.
    All,
    /// Answers requests, and leaves jobs to others.
    Api,
    /// Runs jobs, and answers only requests for its version and health.
    Worker,
}

/// The settings of a server.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// TOML file with settings: a key is a flag's name without the dashes in front.
    #[arg(long, env = "ELITA_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, env = "ELITA_LISTEN", default_value = "127.0.0.1:2718", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Directory for everything that this host keeps.
    #[arg(long, env = "ELITA_DATA_DIR", default_value = "./elita-data", value_name = "DIRECTORY")]
    pub data_dir: PathBuf,
    /// Turns a data directory that was copied or moved, such as a restored backup, into the one of a new host. Has no
    /// effect on other data directories.
    #[arg(long, env = "ELITA_ADOPT")]
    pub adopt: bool,
    /// Postgres to use; without one the server runs its own under the data directory.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// Maximum number of connections to Postgres for requests and plugins. Jobs use up to five more.
    #[arg(long, env = "ELITA_DATABASE_CONNECTIONS", default_value_t = 16, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub database_connections: u32,
    /// Directory whose `*.wasm` files are loaded as plugins [default: <data-dir>/plugins].
    #[arg(long, env = "ELITA_PLUGIN_DIR", value_name = "DIRECTORY")]
    pub plugin_dir: Option<PathBuf>,
    /// What this server does.
    #[arg(long, env = "ELITA_ROLE", default_value = "all", value_name = "ROLE")]
    pub role: Role,
    /// Where files that all hosts need are stored, such as plugins: `file:///path`, or `s3://bucket/prefix` with the usual
    /// variables `AWS_…` for the address, the region and the credentials [default: <data-dir>/storage].
    #[arg(long, env = "ELITA_STORAGE_URL", value_name = "URL")]
    pub storage_url: Option<String>,
    /// File with the key that encrypts private keys and credentials in the database; made on the first start. All
    /// servers on one database need the same key [default: <data-dir>/secret.key].
    #[arg(long, env = "ELITA_SECRET_KEY_FILE", value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
    /// Declares that all hosts share the directory of --storage-url, so that several servers may run.
    #[arg(long, env = "ELITA_STORAGE_SHARED")]
    pub storage_shared: bool,
    /// Sends clients that download a build's file to the object store, by a URL that can be used for five minutes. Only
    /// with `s3://`.
    #[arg(long, env = "ELITA_STORAGE_REDIRECT")]
    pub storage_redirect: bool,
    /// Does not use NOTIFY and LISTEN: each server polls the database every second instead. For connection poolers that
    /// do not support LISTEN.
    #[arg(long, env = "ELITA_NO_NOTIFY")]
    pub no_notify: bool,
    /// How long a job may continue after it was asked to stop, in seconds; then it is stopped.
    #[arg(long, env = "ELITA_CANCEL_GRACE_SECONDS", default_value_t = 10, value_name = "SECONDS")]
    pub cancel_grace_seconds: u64,
    /// How long finished jobs and their logs are kept, in seconds; 0 keeps them for ever.
    #[arg(long, env = "ELITA_JOB_RETENTION_SECONDS", default_value_t = 90 * 24 * 3600, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(..=100 * 366 * 24 * 3600))]
    pub job_retention_seconds: u64,
    /// How long audit entries (who changed what) are kept, in seconds; 0 keeps them for ever.
    #[arg(long, env = "ELITA_AUDIT_RETENTION_SECONDS", default_value_t = 0, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(..=100 * 366 * 24 * 3600))]
    pub audit_retention_seconds: u64,
    /// How often old builds are removed by the rules of applications (their `retention`), in seconds.
    #[arg(long, env = "ELITA_PRUNE_INTERVAL_SECONDS", default_value_t = 3600, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(1..=7 * 24 * 3600))]
    pub prune_interval_seconds: u64,
    /// Password of the user `admin`, for the first start only; without it a random password is made and printed.
    #[arg(long, env = "ELITA_ADMIN_PASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    pub admin_password: Option<String>,
    /// How long running jobs may continue when the server is told to stop, in seconds.
    #[arg(long, env = "ELITA_DRAIN_SECONDS", default_value_t = 20, value_name = "SECONDS")]
    pub drain_seconds: u64,
    /// PEM file with certificate authorities to trust for outgoing requests, in addition to those of this machine.
    #[arg(long, env = "ELITA_OUTBOUND_CA_FILE", value_name = "FILE")]
    pub outbound_ca_file: Option<PathBuf>,
    /// Git hosts without a public address that are allowed, separated by commas, such as
    /// `git.internal:22,10.0.0.5:3000`.
    #[arg(long, env = "ELITA_GIT_HOSTS", value_name = "HOSTS", value_delimiter = ',')]
    pub git_hosts: Vec<Destination>,
    /// Where servers reach this one, to pull from its git repositories: an `https` URL, or an `http` URL of a loopback
    /// address. Servers of the driver `local` need none.
    #[arg(long, env = "ELITA_PUBLIC_URL", value_name = "URL", value_parser = public_url)]
    pub public_url: Option<String>,
    /// What to log, such as `info,elita::engine=debug`.
    #[arg(long, env = "ELITA_LOG", default_value = "info,sqlx=warn", value_name = "FILTER")]
    pub log: String,
    /// For trying things out: writes the log for people, not for machines, and allows servers of the driver `local` where
    /// --listen is a loopback address.
    #[arg(long, env = "ELITA_DEV")]
    pub dev: bool,
    /// What the HTTP server takes, and for how long.
    #[command(flatten)]
    pub http: HttpSettings,
    /// What is taken as a build's file.
    #[command(flatten)]
    pub uploads: UploadSettings,
    /// How servers are reached.
    #[command(flatten)]
    pub remote: RemoteSettings,
    /// What plugins may use.
    #[command(flatten)]
    pub limits: Limits,
    /// What plugins may touch beyond the applications that they register something for: `[plugins.<name>]` in the
    /// file, and nowhere else.
    #[arg(skip)]
    pub grants: BTreeMap<PluginName, Grants>,
}

impl Settings {
    /// Whether servers of the driver `local` are allowed.
    pub fn allows_local_servers(&self) -> bool {
        self.remote.local || self.dev && self.listen.ip().is_loopback()
    }

    /// Where the secret key is.
    pub fn secret_key_file(&self) -> PathBuf {
        self.secret_key_file.clone().unwrap_or_else(|| self.data_dir.join("secret.key"))
    }

    /// Where plugins are looked for.
    pub fn plugin_dir(&self) -> PathBuf {
        self.plugin_dir.clone().unwrap_or_else(|| self.data_dir.join("plugins"))
    }
}

impl Cli {
    /// The command `serve`, for the help of the whole program.
    pub fn serve() -> Command {
        Self::command().find_subcommand("serve").expect("there is a command `serve`").clone()
    }

    /// Reads the command line, the environment and the file.
    ///
    /// # Errors
    /// clap's own, which prints itself: also `--help` and `--version` are such errors.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<_> = arguments.into_iter().collect();
        let (mut command, mut grants) = (Self::command(), BTreeMap::new());
        if let Some(file) = named_file(&arguments) {
            let mut table = table(&file)?;
            grants = grants_in(&mut table).map_err(|problem| unusable(&file, &problem))?;
            command = with_defaults_from(command, table).map_err(|problem| unusable(&file, &problem))?;
        }
        let mut cli = Self::from_arg_matches(&command.try_get_matches_from(arguments)?)?;
        let Commands::Serve(settings) = &mut cli.command;
        settings.grants = grants;
        Ok(cli)
    }
}

/// The file that the command line or the environment names, if any.
fn named_file(arguments: &[OsString]) -> Option<PathBuf> {
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(arguments).ok()?;
    matches.subcommand_matches("serve")?.try_get_one::<PathBuf>("config").ok()?.cloned()
}

fn unusable(file: &Path, problem: &dyn Display) -> clap::Error {
    Cli::command().error(ErrorKind::Io, format!("{}: {problem}", file.display()))
}

fn table(file: &Path) -> Result<toml::Table, clap::Error> {
    let text = std::fs::read_to_string(file).map_err(|error| unusable(file, &error))?;
    text.parse().map_err(|error: toml::de::Error| unusable(file, &error))
}

/// Takes `[plugins.<name>]` out of the file.
fn grants_in(table: &mut toml::Table) -> Result<BTreeMap<PluginName, Grants>, String> {
    let Some(plugins) = table.remove("plugins") else { return Ok(BTreeMap::new()) };
    plugins.try_into().map_err(|error: toml::de::Error| format!("[plugins]: {error}"))
}

/// Puts the file's values in the place of the flags' defaults.
fn with_defaults_from(mut command: Command, table: toml::Table) -> Result<Command, String> {
    let serve = Cli::command();
    let serve = serve.find_subcommand("serve").expect("there is a command `serve`");
    let mut defaults = Vec::new();
    for (key, value) in table {
        let known = serve.get_arguments().find(|argument| argument.get_long() == Some(&key) && key != "config");
        let id = known.ok_or_else(|| format!("there is no setting `{key}`"))?.get_id().clone();
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => value.to_string(),
            _ => return Err(format!("setting `{key}` is a text, a number or true or false")),
        };
        defaults.push((id, value));
    }
    command = command.mut_subcommand("serve", |mut serve| {
        for (id, value) in defaults {
            serve = serve.mut_arg(id, |argument| argument.default_value(value));
        }
        serve
    });
    Ok(command)
}

/// The URL by which servers reach this one.
fn public_url(text: &str) -> Result<String, String> {
    url_of_ours(text).map(|url| url.as_str().trim_end_matches('/').to_owned())
}

/// A URL of something that secrets are sent to: it is encrypted, or stays on this machine.
fn url_of_ours(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|error| format!("it is not a URL: {error}"))?;
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    match (url.scheme(), plain) {
        (_, false) => Err("it has no username, no password, no `?` and no `#`".into()),
        ("https", true) => Ok(url),
        ("http", true) if is_loopback => Ok(url),
        _ => Err("it begins with `https://`, or with `http://` and a loopback address".into()),
    }
}

#[cfg(test)]
mod tests;
