//! For plugin authors: `elita plugin new`, `check` and `dev`.

mod check;
mod dev;
mod new;
mod templates;

use clap::{ArgMatches, Args, Command, FromArgMatches as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::check::Check;
use self::dev::Dev;
use self::new::New;
use crate::Host;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::globals::Globals;
use crate::output::Output;

/// What a server would take a plugin's file for.
#[derive(Debug, Deserialize, Serialize)]
pub struct Checked {
    /// `sha256:…`
    pub digest: String,
    /// The actions that it registers.
    pub actions: Value,
    /// The hooks that it registers.
    pub hooks: Value,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
}

/// Adds them to the commands of `plugin`.
pub(crate) fn commands(plugin: Command) -> Command {
    plugin
        .subcommand(New::augment_args(Command::new("new")))
        .subcommand(Check::augment_args(Command::new("check")))
        .subcommand(Dev::augment_args(Command::new("dev")))
}

/// Whether it is one of them.
pub(crate) fn is_for_authors(matches: &ArgMatches) -> bool {
    matches!(matches.subcommand_name(), Some("new" | "check" | "dev"))
}

pub(crate) async fn run(host: &Host, matches: &ArgMatches, globals: &Globals, output: &Output) -> Result<Code> {
    let wrong = |error: clap::Error| Failure::usage(error.to_string());
    match matches.subcommand() {
        Some(("new", matches)) => New::from_arg_matches(matches).map_err(wrong)?.run(output),
        Some(("check", matches)) => Check::from_arg_matches(matches).map_err(wrong)?.run(host, output).await,
        Some(("dev", matches)) => Dev::from_arg_matches(matches).map_err(wrong)?.run(globals, output).await,
        _ => Err(Failure::usage("there is no such command")),
    }
}
