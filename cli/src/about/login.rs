//! `elita login`: makes a token, and keeps it as a context.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use toml_edit::{Item, Table, value};
use url::Url;

use crate::config::{self, Config, Credentials, Stored};
use crate::destination::server_url;
use crate::duration::duration;
use crate::everyday::run::text_of;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::globals::Globals;
use crate::http::{Client, Request};
use crate::nouns::token::scope_in;
use crate::output::Output;
use crate::session::text;

/// Log in to a server, and keep that as a context
///
/// The token is kept in a file that only you can read, and the context becomes the current one.
#[derive(Args, Debug)]
pub(crate) struct Login {
    /// The server, such as https://elita.example.org [default: that of the current context]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// What to call the context [default: the server's host name]
    #[arg(long, value_name = "CONTEXT")]
    name: Option<String>,
    /// Who logs in; asked for if it is not given
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from standard input, instead of asking for it
    #[arg(long)]
    password_stdin: bool,
    /// How long the token lasts [default: 30d]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    expires_in: Option<Duration>,
    /// A file with what the token may do at most, as JSON
    #[arg(long, value_name = "FILE")]
    scope: Option<PathBuf>,
}

impl Login {
    pub(crate) async fn run(self, globals: &Globals, output: &Output) -> Result<Code> {
        let config = Config::read()?;
        let url = self.server(&config, globals)?;
        let name = self.name.clone().unwrap_or_else(|| context_name(&url, &config));
        let known = config.contexts.get(&name);
        let ca_file = globals.ca_file.clone().or_else(|| known.and_then(|context| context.ca_file.clone()));
        let retry_for = globals.retry_for.unwrap_or(Duration::ZERO);
        let client = Client::new(&url, None, ca_file.as_deref(), retry_for, globals.verbose)?;
        // Before a password is typed.
        client.get("/about").await?;
        let username = match self.username.clone().or_else(|| known.and_then(|context| context.username.clone())) {
            Some(username) => username,
            None => output.ask("Username", "--username NAME")?.trim().to_owned(),
        };
        let password = match self.password_stdin {
            true => text_of("-")?.trim_end_matches(['\r', '\n']).to_owned(),
            false => output.ask_secret("Password", "--password-stdin")?,
        };
        let mut body = json!({ "username": username, "password": password });
        if let Some(lasts) = self.expires_in {
            body["expires_in"] = json!(lasts.as_secs());
        }
        if let Some(file) = &self.scope {
            body["scope"] = scope_in(file)?;
        }
        let token = client.send(Request::post("/global/tokens").json(&body)).await?.json()?;
        Credentials::store(
            &name,
            Stored {
                token: text(&token, "token").to_owned(),
                token_id: text(&token, "token_id").to_owned(),
                expires_at: text(&token, "expires_at").to_owned(),
                server: url.to_string(),
            },
        )?;
        keep(&name, &url, &username, globals)?;
        let until = text(&token, "expires_at").split('T').next().unwrap_or_default();
        let shown = url.as_str().trim_end_matches('/');
        output.note(format!("logged in to {shown} as {username} until {until} (context `{name}`)"));
        if output.json {
            output.document(
                &json!({ "context": name, "server": shown, "username": username, "expires_at": token["expires_at"] }),
            );
        }
        Ok(Code::Done)
    }

    fn server(&self, config: &Config, globals: &Globals) -> Result<Url> {
        if let Some(url) = self.url.as_ref().or(globals.server.as_ref()) {
            return server_url(url, globals.plain_http);
        }
        let name = globals
            .context
            .as_ref()
            .or(config.current.as_ref())
            .ok_or_else(|| Failure::usage("which server?").hint("elita login https://elita.example.org"))?;
        let context = config.context(name)?;
        server_url(&context.server, context.plain_http || globals.plain_http)
    }
}

/// That of a context with this server, or the server's host name.
fn context_name(url: &Url, config: &Config) -> String {
    let known = config
        .contexts
        .iter()
        .find(|(_, context)| server_url(&context.server, true).is_ok_and(|server| server == *url));
    match known {
        Some((name, _)) => name.clone(),
        None => url.host_str().unwrap_or("default").to_owned(),
    }
}

/// Makes it the current context. What else stands in the file stays as it is.
fn keep(name: &str, url: &Url, username: &str, globals: &Globals) -> Result<()> {
    config::change(|document| {
        document["current"] = value(name);
        let contexts = document.entry("contexts").or_insert_with(|| {
            let mut contexts = Table::new();
            contexts.set_implicit(true);
            Item::Table(contexts)
        });
        let Some(contexts) = contexts.as_table_mut() else { return };
        let context = contexts.entry(name).or_insert_with(|| Item::Table(Table::new()));
        context["server"] = value(url.as_str().trim_end_matches('/'));
        context["username"] = value(username);
        if globals.plain_http {
            context["plain_http"] = value(true);
        }
        if let Some(file) = &globals.ca_file {
            let file = file.canonicalize().unwrap_or_else(|_| file.clone());
            context["ca_file"] = value(file.to_string_lossy().into_owned());
        }
    })
}
