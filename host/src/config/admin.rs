//! The command line of `elita admin`, for whoever has the host.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Command, CommandFactory as _, Parser, Subcommand};

use super::{Cli, Commands, Settings};
use crate::datasvc::UserName;

/// Does what takes the host and no token.
#[derive(Debug, Parser)]
#[command(name = "elita admin", bin_name = "elita admin")]
pub struct Admin {
    #[command(subcommand)]
    pub command: AdminCommand,
}

/// What there is to do.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Gives a user a new password, which is printed once, and ends the user's tokens.
    ///
    /// A server that runs its own Postgres has to be stopped before. With ELITA_ADMIN_PASSWORD the password is that one.
    ResetPassword {
        /// The user.
        #[arg(default_value = "admin", value_parser = user)]
        username: UserName,
        #[command(flatten)]
        place: ServerPlace,
    },
    /// Has receipts signed with a new key, and prints its id. Receipts of before can still be verified.
    ///
    /// Servers that run use it from the next batch of a deployment on. A server that runs its own Postgres has to be stopped
    /// before.
    ReplaceReceiptKey {
        #[command(flatten)]
        place: KeyPlace,
    },
    /// Says what is lost with a secret key that is lost, and with --yes forgets that, so that servers start again.
    ///
    /// All servers have to be stopped before. The file of --secret-key-file is made where it is missing. Afterwards git
    /// providers need their credentials again, and what uses one of the keypairs needs another one. Receipts of before can
    /// still be verified; new ones are signed with a new key.
    ForgetSecrets {
        /// Forget it.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        place: KeyPlace,
    },
}

/// Where the server is that is meant, and its secret key.
#[derive(Debug, clap::Args)]
pub struct KeyPlace {
    #[command(flatten)]
    server: ServerPlace,
    /// The server's file with the secret key [default: secret.key in its data directory].
    #[arg(long, env = "ELITA_SECRET_KEY_FILE", value_name = "FILE")]
    secret_key_file: Option<PathBuf>,
}

/// Where the server is that is meant: as `elita serve` is told.
#[derive(Debug, clap::Args)]
pub struct ServerPlace {
    /// The server's TOML file with settings.
    #[arg(long, env = "ELITA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The server's data directory.
    #[arg(long, env = "ELITA_DATA_DIR", value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// The server's Postgres, if it does not run its own.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
}

impl ServerPlace {
    /// The settings of the server there.
    ///
    /// # Errors
    /// Those of [`Cli::read`].
    pub fn settings(self) -> Result<Settings, clap::Error> {
        self.with_secret_key(None)
    }

    fn with_secret_key(self, secret_key_file: Option<PathBuf>) -> Result<Settings, clap::Error> {
        let Self { config, data_dir, database_url } = self;
        let given = [
            ("--config", config.map(OsString::from)),
            ("--data-dir", data_dir.map(OsString::from)),
            ("--database-url", database_url.map(OsString::from)),
            ("--secret-key-file", secret_key_file.map(OsString::from)),
        ];
        let given = given.into_iter().filter_map(|(flag, value)| Some([OsString::from(flag), value?])).flatten();
        let Cli { command: Commands::Serve(settings) } =
            Cli::read(["elita", "serve"].map(OsString::from).into_iter().chain(given))?;
        Ok(*settings)
    }
}

impl KeyPlace {
    /// The settings of the server there.
    ///
    /// # Errors
    /// Those of [`Cli::read`].
    pub fn settings(self) -> Result<Settings, clap::Error> {
        self.server.with_secret_key(self.secret_key_file)
    }
}

impl Admin {
    /// The command, for the help of the whole program.
    pub fn described() -> Command {
        Self::command().name("admin").about("Do what takes the host and no token")
    }
}

fn user(text: &str) -> Result<UserName, String> {
    UserName::parse(text).map_err(|error| error.to_string())
}
