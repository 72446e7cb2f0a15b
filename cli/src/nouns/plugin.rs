//! Plugins, as a server has them. What authors do is in `authoring`.

use clap::{ArgMatches, Command};
use serde_json::Value;

use super::{Collection, Column, Noun, Verb};
use crate::exit::Code;
use crate::failure::Result;
use crate::output::{Cell, Output, Table, shown, visible};
use crate::session::{Session, shown_parameters, text};

pub(crate) const NOUN: Noun = Noun {
    name: "plugin",
    about: "Plugins: what is loaded, and commands for authors",
    collection: Collection::Installation("/global/plugins"),
    key: "name",
    columns: &[
        Column::new("NAME", "/name"),
        Column::state("STATE", "/state"),
        Column::new("VERSION", "/version"),
        Column::time("UPDATED", "/updated_at"),
        Column::new("LAST ERROR", "/last_error"),
    ],
    members: &[],
    verbs: &[Verb::List, Verb::Show],
    example: "",
};

pub(crate) fn command() -> Command {
    NOUN.command()
}

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("show", matches)) => {
            let plugin = session.client.get(NOUN.path(session, matches)?).await?;
            show(&session.output, &plugin);
            Ok(Code::Done)
        }
        _ => NOUN.run(session, matches).await,
    }
}

fn show(output: &Output, plugin: &Value) {
    if output.json {
        return output.document(plugin);
    }
    if output.quiet {
        return output.line(text(plugin, "name"));
    }
    let mut rows = vec![];
    for member in ["name", "state", "version", "digest", "size_bytes"] {
        match &plugin[member] {
            Value::Null => {}
            state if member == "state" => rows.push((member.to_owned(), Cell::state(state))),
            value => rows.push((member.to_owned(), Cell::text(shown(value)))),
        }
    }
    rows.push(("updated_at".into(), Cell::time(&plugin["updated_at"])));
    for interface in plugin["access"]["interfaces"].as_array().into_iter().flatten() {
        if interface["requested"] == true {
            let granted = if interface["granted"] == true { "granted" } else { "asked for, not granted" };
            rows.push((text(interface, "name").to_owned(), Cell::text(granted)));
        }
    }
    output.details(plugin, rows);
    registered(output, plugin);
    if let Some(why) = plugin["last_error"].as_str() {
        output.line(format!("the last file was refused: {}", visible(why)));
    }
}

/// What a plugin registers: a line for each action and hook.
pub(crate) fn registered(output: &Output, registration: &Value) {
    let mut table = Table::without_titles();
    for action in registration["actions"].as_array().into_iter().flatten() {
        let name = format!("{} {} {}", text(action, "application"), text(action, "name"), shown_parameters(action));
        table.row(vec![Cell::text("action"), Cell::text(name.trim_end()), Cell::of(&action["description"])]);
    }
    for hooks in registration["hooks"].as_array().into_iter().flatten() {
        let application = text(hooks, "application");
        for hook in hooks["hooks"].as_array().into_iter().flatten() {
            table.row(vec![Cell::text("hook"), Cell::text(format!("{application} {}", shown(hook))), Cell::text("")]);
        }
    }
    output.table(&table);
}
