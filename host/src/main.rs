//! `elita serve` starts the log and the server, and waits to be told to stop. Everything else is the client's.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;
use elita::boot::{self, Server};
use elita::config::{Admin, AdminCommand, Cli, Commands, Settings};
use elita::datasvc::UserName;
use elita::{plugin, shutdown, telemetry};
use elita_cli::{Checked, Host};
use serde_json::json;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(ended) = plugin::compile_if_told(arguments.iter().cloned()) {
        return ended;
    }
    if arguments.get(1).is_some_and(|command| command == "serve") {
        return server(arguments);
    }
    if arguments.get(1).is_some_and(|command| command == "admin") {
        return admin(arguments);
    }
    elita_cli::run(arguments, Host { of_server: [Cli::serve(), Admin::described()], check })
}

/// Does what whoever has the host may do.
fn admin(mut arguments: Vec<OsString>) -> ExitCode {
    arguments.remove(1);
    let read = |settings: Result<Settings, clap::Error>| settings.unwrap_or_else(|error| error.exit());
    let done = match Admin::parse_from(arguments).command {
        AdminCommand::ResetPassword { username, place } => reset_password(&username, read(place.settings())),
        AdminCommand::ReplaceReceiptKey { place } => replace_receipt_key(read(place.settings())),
        AdminCommand::ForgetSecrets { yes, place } => forget_secrets(yes, read(place.settings())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("elita: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn reset_password(username: &UserName, settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    match runtime.block_on(boot::reset_password(username, &settings))? {
        Some(made) => println!("{made}"),
        None => eprintln!("the password of `{username}` is the one in ELITA_ADMIN_PASSWORD"),
    }
    eprintln!("the tokens of `{username}` have ended");
    Ok(())
}

fn replace_receipt_key(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    println!("{}", runtime.block_on(boot::replace_receipt_key(&settings))?);
    eprintln!("receipts are signed with it from now on; the public halves of all keys are at /about");
    Ok(())
}

fn forget_secrets(forgets: bool, settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let lost = runtime.block_on(boot::lost_secrets(&settings, forgets))?;
    if lost.is_empty() {
        eprintln!("nothing is lost: the secret key in {} is that of all secrets", settings.secret_key_file().display());
        return Ok(());
    }
    for keypair in &lost.keypairs {
        println!("keypair {keypair}");
    }
    for provider in &lost.git_providers {
        println!("git provider {provider}");
    }
    if lost.receipt_key {
        println!("key of receipts");
    }
    if !forgets {
        anyhow::bail!("the secrets of these are lost without the secret key; with --yes they are forgotten");
    }
    eprintln!(
        "the secrets of these are forgotten; start the servers, give git providers their credentials again, and have what \
         uses one of the keypairs use another one"
    );
    Ok(())
}

/// What a server with the limits of the environment would say of a plugin's file.
fn check(bytes: &[u8]) -> Result<Checked, String> {
    let Cli { command: Commands::Serve(settings) } =
        Cli::read(["elita", "serve"].map(OsString::from)).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let looked = runtime.block_on(plugin::look_at(bytes, settings.limits))?;
    Ok(Checked {
        digest: looked.digest.to_string(),
        actions: json!(looked.registration.actions),
        hooks: json!(looked.registration.hooks),
        imports: looked.imports,
    })
}

fn server(arguments: Vec<OsString>) -> ExitCode {
    let Cli { command: Commands::Serve(settings) } = match Cli::read(arguments) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run(*settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("elita: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(serve(settings));
    // A plugin that is being compiled is not waited for.
    runtime.shutdown_background();
    ended
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    telemetry::start(&settings.log, settings.dev)?;
    // Listened for from the start, so that a server that is told to stop while it starts does so.
    let stop_requested = shutdown::requested();
    tokio::pin!(stop_requested);
    let server = tokio::select! {
        started = Server::start(settings) => started?,
        _ = &mut stop_requested => return Ok(()),
    };
    if let Some(password) = server.made_password() {
        println!("The user `admin` was made with the password {password}; it is not shown again");
    }
    tokio::select! {
        () = server.ready() => {}
        requested = &mut stop_requested => {
            requested?;
            server.stop().await;
            return Ok(());
        }
    }
    println!("Elita {} is ready at {}", env!("CARGO_PKG_VERSION"), server.url());
    let failure = tokio::select! {
        stop = &mut stop_requested => stop.map(|()| None)?,
        failure = server.failed() => Some(failure),
    };
    server.stop().await;
    match failure {
        Some(failure) => anyhow::bail!(failure),
        None => Ok(()),
    }
}
