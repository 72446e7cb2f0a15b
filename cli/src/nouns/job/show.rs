//! `elita job show`.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use super::ended;
use crate::exit::Code;
use crate::failure::Result;
use crate::follow::is_final;
use crate::output::{Cell, shown};
use crate::session::{Session, text};

/// What is shown of a job, in this order.
const MEMBERS: [&str; 12] = [
    "job_id",
    "name",
    "job_type",
    "status",
    "application",
    "username",
    "attempt",
    "host",
    "parent",
    "rerun_of",
    "timeout_seconds",
    "idempotent",
];

pub(super) fn command() -> Command {
    let trace = Arg::new("trace").long("trace").action(ArgAction::SetTrue);
    let results = Arg::new("results").long("results").action(ArgAction::SetTrue);
    Command::new("show")
        .about("Show a job and its result; the exit code does not say how it went")
        .arg(trace.help("With what its plugin asked of the host; needs write permission"))
        .arg(results.help("With the first 1000 entries of its log"))
}

pub(super) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let id = session.job_id(matches.get_one::<String>("job").map_or("", String::as_str)).await?;
    let query = ["trace", "results"].map(|name| (name, matches.get_flag(name).to_string()));
    let job = session.client.get(crate::http::with_query(&format!("/job/{id}"), &query)).await?;
    let output = &session.output;
    if output.json {
        output.document(&job);
        return Ok(Code::Done);
    }
    if output.quiet {
        output.line(id);
        return Ok(Code::Done);
    }
    output.details(&job, rows(&job));
    if is_final(text(&job, "status")) {
        ended(session, &job);
    }
    Ok(Code::Done)
}

fn rows(job: &Value) -> Vec<(String, Cell)> {
    let mut rows = Vec::new();
    for member in MEMBERS {
        match &job[member] {
            Value::Null => {}
            status if member == "status" => rows.push((member.to_owned(), Cell::state(status))),
            value => rows.push((member.to_owned(), Cell::text(shown(value)))),
        }
    }
    let plugin = &job["plugin"];
    if plugin.is_object() {
        rows.push(("plugin".into(), Cell::text(format!("{} {}", text(plugin, "name"), text(plugin, "digest")))));
    }
    for pair in job["data"]["parameters"].as_array().into_iter().flatten() {
        rows.push((format!("  {}", shown(&pair[0])), Cell::text(shown(&pair[1]))));
    }
    for member in ["created_at", "started_at", "completed_at", "cancel_requested_at"] {
        if let Some(at) = job[member].as_str() {
            rows.push((member.to_owned(), Cell::Time(at.to_owned())));
        }
    }
    rows.extend(job["last_seq"].as_i64().map(|seq| ("entries".to_owned(), Cell::text(seq.to_string()))));
    rows.extend(
        job["trace"]
            .as_array()
            .map(|trace| ("trace".to_owned(), Cell::text(format!("{} lines: elita log --trace", trace.len())))),
    );
    rows
}
