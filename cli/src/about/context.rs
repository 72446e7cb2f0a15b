//! `elita context`: the servers that one works with.

use clap::{Args, Subcommand};
use serde_json::json;
use toml_edit::value;

use crate::complete;
use crate::config::{self, Config, Credentials};
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::globals::Globals;
use crate::output::{Cell, Output, Table};

/// Contexts: the servers that you work with
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub(crate) struct Contexts {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the contexts
    List,
    /// Make a context the current one
    Use {
        /// The context
        #[arg(value_name = "NAME", add = clap_complete::ArgValueCompleter::new(complete::contexts))]
        name: String,
    },
    /// Show a context
    Show {
        /// The context [default: the current one]
        #[arg(value_name = "NAME", add = clap_complete::ArgValueCompleter::new(complete::contexts))]
        name: Option<String>,
    },
    /// Forget a context and its token, which stays valid: elita logout revokes it
    Remove {
        /// The context
        #[arg(value_name = "NAME", add = clap_complete::ArgValueCompleter::new(complete::contexts))]
        name: String,
    },
    /// Set the application, for commands that name no other
    App {
        /// The application
        #[arg(value_name = "APP", add = clap_complete::ArgValueCompleter::new(complete::apps))]
        app: String,
    },
}

impl Contexts {
    pub(crate) fn run(self, globals: &Globals, output: &Output) -> Result<Code> {
        let config = Config::read()?;
        match self.command {
            Verb::List => list(&config, output),
            Verb::Use { name } => {
                config.context(&name)?;
                config::change(|document| document["current"] = value(&name))?;
                output.note(format!("the current context is `{name}`"));
            }
            Verb::Show { name } => show(&config, &named(&config, globals, name)?, output)?,
            Verb::Remove { name } => {
                config.context(&name)?;
                Credentials::forget(&name)?;
                config::change(|document| {
                    if let Some(contexts) = document["contexts"].as_table_mut() {
                        contexts.remove(&name);
                    }
                    if config.current.as_ref() == Some(&name) {
                        document.remove("current");
                    }
                })?;
                output.note(format!("the context `{name}` is forgotten"));
            }
            Verb::App { app } => {
                let name = named(&config, globals, None)?;
                config::change(|document| document["contexts"][&name]["app"] = value(&app))?;
                output.note(format!("`{app}` is meant where no application is named (context `{name}`)"));
            }
        }
        Ok(Code::Done)
    }
}

fn named(config: &Config, globals: &Globals, name: Option<String>) -> Result<String> {
    let name = name.or_else(|| globals.context.clone()).or_else(|| config.current.clone());
    let name = name.ok_or_else(|| {
        Failure::usage("there is no current context").hint("elita login URL, or elita context use NAME")
    })?;
    config.context(&name)?;
    Ok(name)
}

fn list(config: &Config, output: &Output) {
    let is_current = |name: &String| config.current.as_ref() == Some(name);
    if output.json {
        let contexts = config.contexts.iter().map(|(name, context)| {
            json!({ "name": name, "server": context.server, "username": context.username, "app": context.app, "current": is_current(name) })
        });
        return output.document(&contexts.collect());
    }
    let mut table = Table::new(&["", "NAME", "SERVER", "USER", "APP"]);
    for (name, context) in &config.contexts {
        if output.quiet {
            output.line(name);
            continue;
        }
        let text = |value: &Option<String>| Cell::text(value.clone().unwrap_or_default());
        let mark = if is_current(name) { "*" } else { "" };
        table.row(vec![
            Cell::text(mark),
            Cell::text(name),
            Cell::text(&context.server),
            text(&context.username),
            text(&context.app),
        ]);
    }
    output.table(&table);
}

fn show(config: &Config, name: &str, output: &Output) -> Result<()> {
    let context = config.context(name)?;
    let credentials = Credentials::read()?;
    let stored = credentials.get(name);
    let document = json!({
        "name": name, "server": context.server, "username": context.username, "app": context.app,
        "ca_file": context.ca_file, "token_command": context.token_command.is_some(), "plain_http": context.plain_http,
        "token_id": stored.map(|stored| &stored.token_id), "expires_at": stored.map(|stored| &stored.expires_at),
    });
    let rows =
        document.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null() && **value != json!(false));
    let cell = |(name, value): (&String, &serde_json::Value)| match name.as_str() {
        "expires_at" => (name.clone(), Cell::time(value)),
        _ => (name.clone(), Cell::of(value)),
    };
    output.details(&document, rows.map(cell).collect());
    Ok(())
}
