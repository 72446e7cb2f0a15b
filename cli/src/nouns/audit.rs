//! The audit: who changed what.

use clap::{Arg, ArgMatches, Command};
use serde_json::Value;

use super::verbs::{by_time, limit, wanted, wanted_times};
use super::{Collection, Column, Noun};
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::session::{Session, text};

pub(crate) const NOUN: Noun = Noun {
    name: "audit",
    about: "The audit: who changed what",
    collection: Collection::Installation("/global/audit"),
    key: "audit_id",
    columns: &[
        Column::new("ID", "/audit_id"),
        Column::time("WHEN", "/at"),
        Column::new("USER", "/username"),
        Column::new("PLUGIN", "/plugin"),
        Column::new("OPERATION", "/operation"),
        Column::new("APP", "/application"),
        Column::new("NAME", "/name"),
    ],
    members: &[],
    verbs: &[],
    example: "",
};

/// What a list can be narrowed by, and what it is called in the API.
const FILTERS: [(&str, &str, &str); 5] = [
    ("app", "APP", "In this application"),
    ("name", "NAME", "Of what has this name or id"),
    ("user", "USER", "By this user"),
    ("plugin", "PLUGIN", "By this plugin"),
    ("operation", "OPERATION", "Of this operation, such as builds.update"),
];

pub(crate) fn command() -> Command {
    let list = Command::new("list").about("List changes, newest first").args(by_time()).arg(limit());
    let list = FILTERS
        .iter()
        .fold(list, |list, (flag, value, help)| list.arg(Arg::new(*flag).long(*flag).value_name(*value).help(*help)));
    let id = Arg::new("id")
        .required(true)
        .value_name("ID")
        .value_parser(clap::value_parser!(i64))
        .help("The change's number");
    let show = Command::new("show").about("Show a change: what was there before, and what after").arg(id);
    let command = Command::new(NOUN.name).about(NOUN.about).subcommand_required(true).arg_required_else_help(true);
    command.subcommand(list).subcommand(show)
}

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("list", matches)) => {
            let given = FILTERS.iter().filter_map(|(flag, ..)| Some((*flag, matches.get_one::<String>(flag)?.clone())));
            let query: Vec<_> = given.chain(wanted_times(matches)?).collect();
            let found = session.client.list("/global/audit", &query, wanted(session, matches)).await?;
            NOUN.print(session, &found.items, found.has_more);
            Ok(Code::Done)
        }
        Some(("show", matches)) => show(session, *matches.get_one::<i64>("id").unwrap_or(&0)).await,
        _ => Err(Failure::usage("there is no such command")),
    }
}

/// The list goes from the newest back: the entry after the next number is it.
async fn show(session: &Session, id: i64) -> Result<Code> {
    let query = [("after", (id.saturating_add(1)).to_string())];
    let found = session.client.list("/global/audit", &query, Some(1)).await?.items;
    let Some(entry) = found.first().filter(|entry| entry["audit_id"] == id) else {
        return Err(Failure::new(Code::Refused, format!("there is no change {id}")).hint("elita audit list"));
    };
    let output = &session.output;
    if output.json {
        output.document(entry);
        return Ok(Code::Done);
    }
    let by = if entry["plugin"].is_null() { text(entry, "username") } else { text(entry, "plugin") };
    output.note(format!(
        "{} of {} by {by}, {}",
        text(entry, "operation"),
        text(entry, "name"),
        output.time(text(entry, "at"))
    ));
    for line in differences("", &entry["before"], &entry["after"]) {
        let style = if line.starts_with('-') { console::Style::new().red() } else { console::Style::new().green() };
        output.line(style.apply_to(line).to_string());
    }
    Ok(Code::Done)
}

/// What was there, and what is there instead, a line for each member.
fn differences(path: &str, before: &Value, after: &Value) -> Vec<String> {
    if before == after {
        return Vec::new();
    }
    let none = serde_json::Map::new();
    let members = |value: &'_ Value| value.as_object().cloned().or_else(|| value.is_null().then(|| none.clone()));
    if let (Some(old), Some(new)) = (members(before), members(after)) {
        let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let inner = names.into_iter().flat_map(|name| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            differences(&path, &before[name], &after[name])
        });
        return inner.collect();
    }
    let lines = [('-', before), ('+', after)].into_iter().filter(|(_, value)| !value.is_null());
    lines.map(|(sign, value)| format!("{sign} {path}{}{}", if path.is_empty() { "" } else { ": " }, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::differences;
    use serde_json::json;

    #[test]
    fn a_change_is_shown_member_by_member() {
        let (before, after) = (json!({ "a": 1, "b": { "c": "x" } }), json!({ "a": 1, "b": { "c": "y", "d": 2 } }));
        assert_eq!(differences("", &before, &after), ["- b.c: \"x\"", "+ b.c: \"y\"", "+ b.d: 2"]);
    }
}
