//! `elita logout`: revokes the token, and forgets it.

use clap::Args;

use crate::config::{Config, Credentials};
use crate::destination::Target;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::globals::Globals;
use crate::http::Request;
use crate::output::Output;
use crate::session::Session;

/// Revoke the token and forget it
#[derive(Args, Debug)]
pub(crate) struct Logout {
    /// Of all contexts
    #[arg(long)]
    all: bool,
}

impl Logout {
    pub(crate) async fn run(self, globals: &Globals, output: &Output) -> Result<Code> {
        let config = Config::read()?;
        let names: Vec<String> = match self.all {
            true => config.contexts.keys().cloned().collect(),
            false => globals.context.iter().chain(&config.current).take(1).cloned().collect(),
        };
        if names.is_empty() {
            return Err(Failure::usage("there is no context to log out of").hint("elita context list"));
        }
        for name in names {
            log_out(&name, globals, output).await?;
        }
        Ok(Code::Done)
    }
}

async fn log_out(name: &str, globals: &Globals, output: &Output) -> Result<()> {
    if Credentials::read()?.get(name).is_none() {
        output.note(format!("not logged in (context `{name}`)"));
        return Ok(());
    }
    let globals = Globals { context: Some(name.to_owned()), server: None, token_file: None, ..globals.clone() };
    let session = Session::to(Target::find(&globals)?, &globals, output)?;
    let revoked = session.client.send(Request::new(hyper::Method::DELETE, "/global/tokens/current")).await;
    match revoked {
        // It was no longer valid: that is what was wanted.
        Err(failure) if failure.status() != Some(401) => Err(failure),
        _ => {
            Credentials::forget(name)?;
            output.note(format!("logged out (context `{name}`)"));
            Ok(())
        }
    }
}
