//! Reads the command line, starts the log and the server, and waits to be told to stop.

use std::process::ExitCode;

use elita::boot::Server;
use elita::config::{Cli, Commands, Settings};
use elita::plugin::compile_if_told;
use elita::{shutdown, telemetry};

fn main() -> ExitCode {
    if let Some(ended) = compile_if_told(std::env::args_os()) {
        return ended;
    }
    let Cli { command: Commands::Serve(settings) } = match Cli::read(std::env::args_os()) {
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
