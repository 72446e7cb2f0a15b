//! The whole command line, and which file does what.

use clap::{Arg, ArgMatches, Args, Command};

use crate::Host;
use crate::about::api::Api;
use crate::about::completions::Completions;
use crate::about::context::Contexts;
use crate::about::doctor::Doctor;
use crate::about::login::Login;
use crate::about::logout::Logout;
use crate::about::man::Manual;
use crate::about::topics;
use crate::about::whoami::Whoami;
use crate::authoring;
use crate::everyday::census::Census;
use crate::everyday::deploy::Deploy;
use crate::everyday::follow::Follow;
use crate::everyday::log::Log;
use crate::everyday::run::RunAction;
use crate::everyday::status::Status;
use crate::everyday::upload::Upload;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::globals::Globals;
use crate::nouns::{
    action, app, audit, build, deployment, gitdeploy, gitprovider, gitrepo, group, job, keypair, packagemap, plugin,
    server, token, user,
};
use crate::output::Output;
use crate::session::Session;

/// The commands with commands of their own.
pub(crate) const NOUNS: [&str; 17] = [
    "app",
    "action",
    "build",
    "packagemap",
    "gitrepo",
    "gitdeploy",
    "group",
    "deployment",
    "server",
    "job",
    "plugin",
    "user",
    "token",
    "keypair",
    "gitprovider",
    "audit",
    "context",
];

const TEMPLATE: &str = "\
{about}

{usage-heading} elita [OPTIONS] COMMAND

Every day:
  run          Run an action and follow its job
  upload       Upload the file of a build
  deploy       Deploy a build to servers
  follow       Follow jobs to their end
  log          Print the log of a job
  status       Show what needs attention
  census       Show what is deployed where

Nouns, each with list, show and what else there is:
  app, action, build, packagemap, gitrepo, gitdeploy, group, deployment, server, job, plugin, user, token, keypair,
  gitprovider, audit

Plugin authors:
  plugin new   Make a folder with a plugin that builds as it is
  plugin check Check a plugin's file as a server would
  plugin dev   Build, load and follow a plugin while you write it

This client:
  login, logout, whoami, context, doctor, api, completions, man

The server:
  serve        Run the server
  admin        Set a lost password, on the server's machine

Options of all commands:
  -s, --server URL     The server to talk to, such as https://elita.example.org
      --context NAME   The context to use instead of the current one
      --json           Print the documents of the API
  -q, --quiet          Print names or ids only
  -v, --verbose        Say which requests are made
      --no-input       Never ask anything
  -h, --help           Print help
  -V, --version        Print version

elita COMMAND --help tells more, also with elita help exit-codes, environment or output.
";

/// All commands. `serve` is the server's.
pub(crate) fn command(host: &Host) -> Command {
    let root = Command::new("elita")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .help_template(TEMPLATE);
    Globals::augment_args(root)
        .about("Elita: a WebAssembly plugin host for deployment automation, and its client")
        .long_about(None)
        .subcommand(RunAction::augment_args(Command::new("run")))
        .subcommand(Upload::augment_args(Command::new("upload")))
        .subcommand(Deploy::augment_args(Command::new("deploy")))
        .subcommand(Follow::augment_args(Command::new("follow")))
        .subcommand(Log::augment_args(Command::new("log")))
        .subcommand(Status::augment_args(Command::new("status")))
        .subcommand(Census::augment_args(Command::new("census")))
        .subcommands([
            app::NOUN.command(),
            action::command(),
            build::command(),
            packagemap::NOUN.command(),
            gitrepo::command(),
            gitdeploy::command(),
            group::NOUN.command(),
            deployment::command(),
            server::command(),
            job::command(),
            authoring::commands(plugin::command()),
            user::command(),
            token::command(),
            keypair::NOUN.command(),
            gitprovider::NOUN.command(),
            audit::command(),
        ])
        .subcommand(Login::augment_args(Command::new("login")))
        .subcommand(Logout::augment_args(Command::new("logout")))
        .subcommand(Whoami::augment_args(Command::new("whoami")))
        .subcommand(Contexts::augment_args(Command::new("context")))
        .subcommand(Doctor::augment_args(Command::new("doctor")))
        .subcommand(Api::augment_args(Command::new("api")))
        .subcommand(Completions::augment_args(Command::new("completions")))
        .subcommand(Manual::augment_args(Command::new("man")))
        .subcommand(
            Command::new("help")
                .about("Show help for a command, or for exit-codes, environment or output")
                .arg(Arg::new("topic").value_name("COMMAND").num_args(0..)),
        )
        .subcommands(host.of_server.clone())
}

/// Does what the command line says.
pub(crate) async fn run(host: &Host, matches: &ArgMatches, globals: &Globals, output: &Output) -> Result<Code> {
    let (name, matches) = matches.subcommand().ok_or_else(|| Failure::usage("there is no command"))?;
    match name {
        "login" => parsed::<Login>(matches)?.run(globals, output).await,
        "logout" => parsed::<Logout>(matches)?.run(globals, output).await,
        "context" => parsed::<Contexts>(matches)?.run(globals, output),
        "doctor" => parsed::<Doctor>(matches)?.run(globals, output).await,
        "completions" => parsed::<Completions>(matches)?.run(output),
        "man" => parsed::<Manual>(matches)?.run(command(host), output),
        "help" => help(host, matches, output),
        "plugin" if authoring::is_for_authors(matches) => authoring::run(host, matches, globals, output).await,
        _ => with_server(&Session::open(globals, output)?, name, matches).await,
    }
}

/// What needs a server.
async fn with_server(session: &Session, name: &str, matches: &ArgMatches) -> Result<Code> {
    match name {
        "run" => parsed::<RunAction>(matches)?.run(session).await,
        "upload" => parsed::<Upload>(matches)?.run(session).await,
        "deploy" => parsed::<Deploy>(matches)?.run(session).await,
        "follow" => parsed::<Follow>(matches)?.run(session).await,
        "log" => parsed::<Log>(matches)?.run(session).await,
        "status" => parsed::<Status>(matches)?.run(session).await,
        "census" => parsed::<Census>(matches)?.run(session).await,
        "whoami" => parsed::<Whoami>(matches)?.run(session).await,
        "api" => parsed::<Api>(matches)?.run(session).await,
        "app" => app::run(session, matches).await,
        "action" => action::run(session, matches).await,
        "build" => build::run(session, matches).await,
        "packagemap" => packagemap::NOUN.run(session, matches).await,
        "gitrepo" => gitrepo::run(session, matches).await,
        "gitdeploy" => gitdeploy::run(session, matches).await,
        "group" => group::NOUN.run(session, matches).await,
        "deployment" => deployment::run(session, matches).await,
        "server" => server::run(session, matches).await,
        "job" => job::run(session, matches).await,
        "plugin" => plugin::run(session, matches).await,
        "user" => user::run(session, matches).await,
        "token" => token::run(session, matches).await,
        "keypair" => keypair::NOUN.run(session, matches).await,
        "gitprovider" => gitprovider::NOUN.run(session, matches).await,
        "audit" => audit::run(session, matches).await,
        _ => Err(Failure::usage(format!("there is no command `{name}`")).hint("elita --help")),
    }
}

fn parsed<T: Args>(matches: &ArgMatches) -> Result<T> {
    T::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))
}

fn help(host: &Host, matches: &ArgMatches, output: &Output) -> Result<Code> {
    let words: Vec<&String> = matches.get_many("topic").into_iter().flatten().collect();
    if let [topic] = words[..]
        && let Some(text) = topics::text(topic)
    {
        output.raw(text.as_bytes());
        return Ok(Code::Done);
    }
    let mut all = command(host);
    all.build();
    let mut found = &mut all;
    for word in words {
        found = found
            .find_subcommand_mut(word)
            .ok_or_else(|| Failure::usage(format!("there is no command `{word}`")).hint("elita --help"))?;
    }
    output.raw(found.render_long_help().ansi().to_string().as_bytes());
    Ok(Code::Done)
}
