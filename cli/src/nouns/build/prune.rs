//! `elita build prune`: has the server remove old builds, and shows which.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _, value_parser};
use hyper::Method;
use serde_json::Value;

use super::NOUN;
use crate::duration::duration;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::{Following, Lines, Patience, describe, outcome_line};
use crate::http::{Request, with_query};
use crate::nouns::verbs;
use crate::output::{Cell, Table};
use crate::session::{Session, short, text};

pub(super) fn command() -> Command {
    let last = Arg::new("keep-last").long("keep-last").value_name("COUNT").value_parser(value_parser!(u32).range(1..));
    let young = Arg::new("keep-seconds").long("keep-seconds").value_name("TIME").value_parser(time);
    let dry_run = Arg::new("dry-run").long("dry-run").action(ArgAction::SetTrue);
    let yes = Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help("Do not ask");
    let command = Command::new("prune")
        .about("Remove old builds, except those that are pinned, deployed or needed; asks before")
        .after_help(
            "Examples:\n  elita build prune shop --keep-last 20 --dry-run\n  elita build prune shop --keep-last 20 \
             --keep-seconds 30d --yes\n  elita build update shop 1.42 --attribute pinned=true",
        )
        .arg(verbs::app())
        .arg(last.help("Number of newest builds with a file to keep").required_unless_present("keep-seconds"))
        .arg(young.help("Keep those that are younger: seconds, or a time such as 30d"))
        .arg(dry_run.help("Only say what would be removed"))
        .arg(yes);
    Patience::augment_args(command)
}

/// Seconds, as a number or with a unit.
fn time(text: &str) -> std::result::Result<Duration, String> {
    text.parse().map(Duration::from_secs).or_else(|_| duration(text))
}

pub(super) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let (output, app) = (&session.output, matches.get_one::<String>("app").map(String::as_str));
    let path = NOUN.container(session, app)?;
    let mut query = Vec::new();
    query.extend(matches.get_one::<u32>("keep-last").map(|last| ("keep_last", last.to_string())));
    let young = matches.get_one::<Duration>("keep-seconds");
    query.extend(young.map(|young| ("keep_seconds", young.as_secs().to_string())));
    let is_dry = matches.get_flag("dry-run");
    if is_dry {
        query.push(("dry_run", "true".to_owned()));
    } else if !matches.get_flag("yes") {
        output.confirm(&format!("remove old builds of `{}`?", session.app(app)?))?;
    }
    let request = Request::new(Method::DELETE, with_query(&path, &query)).keyed(None);
    let job = session.client.send(request).await?.json()?;
    let id = text(&job, "job_id").to_owned();
    if !output.json {
        output.note(format!("job {}  prune of {}", short(&id), session.app(app)?));
    }
    let patience = Patience::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))?;
    let lines = Lines { are_silent: true, ..Lines::default() };
    let (job, code) = Following { session, id, after: 0, lines }.until_the_end(&patience).await?;
    if code != Code::Done || output.json {
        describe(output, &job, None);
        return Ok(code);
    }
    show(session, &job, is_dry);
    Ok(Code::Done)
}

/// Each build with what becomes of it.
fn show(session: &Session, job: &Value, is_dry: bool) {
    let (output, result) = (&session.output, &job["result"]);
    let names = |list: &str| result[list].as_array().cloned().unwrap_or_default();
    if output.quiet {
        names("removed").iter().filter_map(Value::as_str).for_each(|name| output.line(name));
        return;
    }
    let mut table = Table::new(&["BUILD", "OUTCOME", "WHY"]);
    for kept in names("kept") {
        let texts = |member: &str| {
            let texts = kept[member].as_array().into_iter().flatten().filter_map(Value::as_str);
            texts.collect::<Vec<_>>().join(", ")
        };
        let (mut why, held_by) = (texts("reasons"), texts("held_by"));
        if !held_by.is_empty() {
            why = format!("{why} ({held_by})");
        }
        table.row(vec![Cell::of(&kept["build"]), Cell::text("kept"), Cell::text(&why)]);
    }
    for removed in names("removed") {
        let outcome = if is_dry { "would go" } else { "removed" };
        table.row(vec![Cell::of(&removed), Cell::text(outcome), Cell::text("")]);
    }
    output.table(&table);
    let count = |member: &str| result[member].as_u64().unwrap_or_default();
    let bytes = indicatif::HumanBytes(count("removed_bytes"));
    let done = if is_dry { "would be removed" } else { "removed" };
    output.note(outcome_line(job));
    output.note(format!("{} {done}, {bytes}; {} kept", count("removed_count"), count("kept_count")));
}
