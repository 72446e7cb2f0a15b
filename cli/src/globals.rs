//! The options of all commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::duration::duration;

/// What every command understands.
#[derive(Args, Clone, Debug)]
pub(crate) struct Globals {
    /// The server to talk to, such as https://elita.example.org
    #[arg(
        short,
        long,
        global = true,
        env = "ELITA_SERVER",
        hide_env_values = true,
        value_name = "URL",
        help_heading = "Options of all commands"
    )]
    pub(crate) server: Option<String>,
    /// The context to use instead of the current one
    #[arg(long, global = true, env = "ELITA_CONTEXT", hide_env_values = true, value_name = "NAME", help_heading = "Options of all commands",
          add = clap_complete::ArgValueCompleter::new(crate::complete::contexts))]
    pub(crate) context: Option<String>,
    /// A file with the token; needs --server
    #[arg(
        long,
        global = true,
        env = "ELITA_TOKEN_FILE",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Options of all commands"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// A file with certificate authorities, beside those of this machine
    #[arg(long, global = true, value_name = "FILE", help_heading = "Options of all commands", hide_short_help = true)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Talk to another machine without encryption
    #[arg(long, global = true, help_heading = "Options of all commands", hide_short_help = true)]
    pub(crate) plain_http: bool,
    /// Print the documents of the API
    #[arg(long, global = true, help_heading = "Options of all commands")]
    pub(crate) json: bool,
    /// Print names or ids only
    #[arg(short, long, global = true, help_heading = "Options of all commands")]
    pub(crate) quiet: bool,
    /// Say which requests are made
    #[arg(short, long, global = true, help_heading = "Options of all commands")]
    pub(crate) verbose: bool,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Options of all commands",
        hide_short_help = true
    )]
    pub(crate) color: Color,
    /// Never ask anything
    #[arg(long, global = true, help_heading = "Options of all commands")]
    pub(crate) no_input: bool,
    /// How long to try again when the server cannot be reached [default: 30s, 5m while following]
    #[arg(long, global = true, value_name = "TIME", value_parser = duration, help_heading = "Options of all commands", hide_short_help = true)]
    pub(crate) retry_for: Option<Duration>,
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

impl Globals {
    /// What to say for `--quiet` and so on while completing a word, where the command line is not whole.
    pub(crate) fn silent() -> Self {
        Self {
            server: std::env::var("ELITA_SERVER").ok(),
            context: std::env::var("ELITA_CONTEXT").ok(),
            token_file: std::env::var_os("ELITA_TOKEN_FILE").map(PathBuf::from),
            ca_file: None,
            plain_http: false,
            json: false,
            quiet: true,
            verbose: false,
            color: Color::Never,
            no_input: true,
            retry_for: Some(Duration::ZERO),
        }
    }
}
