//! Elita's command line: a client of a server's REST API, and of nothing else.
//!
//! [`run`] reads the command line ([`command`](self)) and hands it to one file for each command: `everyday` for the
//! verbs, `nouns` for everything that has a name, `authoring` for plugins in the making, `about` for the client itself.
//! All of them work with a `session`: a server (`target`, `config`, `http`) and a way to print (`output`). `follow` is
//! the loop that follows jobs. What fails is a `failure`, with its exit code.

mod about;
mod authoring;
mod command;
mod complete;
mod config;
mod destination;
mod duration;
mod everyday;
mod exit;
mod failure;
mod follow;
mod globals;
mod http;
mod misuse;
mod nouns;
mod output;
mod session;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::FromArgMatches as _;
use clap_complete::CompleteEnv;

use crate::failure::Failure;
use crate::globals::Globals;
use crate::output::Output;

pub use authoring::Checked;

/// What the program that this is linked into brings along.
pub struct Host {
    /// The server's own commands, for help and completion.
    pub of_server: [clap::Command; 2],
    /// Says of a plugin's file what a server would say: what it registers, or why it is refused. It is somebody's code:
    /// this is called in a process of its own.
    pub check: fn(&[u8]) -> Result<Checked, String>,
}

/// Does what the command line says, unless it is the server that is wanted.
pub fn run(arguments: impl IntoIterator<Item = OsString>, host: Host) -> ExitCode {
    CompleteEnv::with_factory(|| command::command(&host)).var(complete::VARIABLE).complete();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let matches = match command::command(&host).try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return misuse::told(&error, &command::command(&host), &arguments),
    };
    let globals = match Globals::from_arg_matches(&matches) {
        Ok(globals) => globals,
        Err(error) => error.exit(),
    };
    let output = Output::new(&globals);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(command::run(&host, &matches, &globals, &output));
            // Standard input may still be waited for.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(Failure::usage(format!("the client cannot be started: {error}"))),
    };
    let code = ended.unwrap_or_else(|failure| {
        output.warn(failure.shown(globals.json, globals.verbose));
        failure.code
    });
    ExitCode::from(code as u8)
}
