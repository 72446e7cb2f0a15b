//! Actions: what plugins offer for an application.

use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::{Collection, Column, Noun, Verb};
use crate::complete;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Table};
use crate::session::{Session, optional_parameters, segment, shown_parameters, text};

pub(crate) const NOUN: Noun = Noun {
    name: "action",
    about: "Actions: what plugins offer for an application",
    collection: Collection::Application("actions"),
    key: "name",
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("PLUGIN", "/plugin"),
        Column::new("DESCRIPTION", "/description"),
    ],
    members: &[],
    verbs: &[Verb::List],
    example: "",
};

pub(crate) fn command() -> Command {
    let names = Arg::new("names").required(true).value_name("[APP] ACTION").num_args(1..=2);
    let names = names.help("The application, unless the context has one; and the action");
    let show = Command::new("show")
        .override_usage("elita action show [OPTIONS] [APP] ACTION")
        .about("Show an action's parameters, and a line that runs it");
    NOUN.command().subcommand(show.arg(names.add(clap_complete::ArgValueCompleter::new(complete::run_words))))
}

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("show", matches)) => {
            let words: Vec<String> = matches.get_many("names").into_iter().flatten().cloned().collect();
            let (app, name) = session.app_and_name(&words, "action")?;
            let action = session.client.get(format!("/app/{}/actions/{}", segment(&app), segment(name))).await?;
            show(session, &app, &action);
            Ok(Code::Done)
        }
        Some(("list", _)) => NOUN.run(session, matches).await,
        _ => Err(Failure::usage("there is no such command")),
    }
}

fn show(session: &Session, app: &str, action: &Value) {
    let output = &session.output;
    if output.json {
        return output.document(action);
    }
    if output.quiet {
        return output.line(text(action, "name"));
    }
    output.note(format!("{}, of the plugin {}", text(action, "description"), text(action, "plugin")));
    let mut table = Table::new(&["PARAMETER", "TYPE", "DESCRIPTION"]);
    let parameters = action["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    for parameter in parameters {
        table.row(["name", "type", "description"].map(|member| Cell::of(&parameter[member])).to_vec());
    }
    for optional in optional_parameters(action) {
        let kind = json!(format!("{}, optional", text(&optional, "type")));
        table.row([&optional["name"], &kind, &optional["description"]].map(Cell::of).to_vec());
    }
    output.table(&table);
    let line = format!("elita run {app} {} {}", text(action, "name"), shown_parameters(action));
    output.note(format!("try: {}", line.trim_end()));
}
