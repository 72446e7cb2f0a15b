//! `elita job list`.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use crate::exit::Code;
use crate::failure::Result;
use crate::follow::is_final;
use crate::nouns::verbs::{by_time, limit, wanted, wanted_times};
use crate::output::{Cell, Table};
use crate::session::{Session, text};

/// What a list can be narrowed by: the flag, the API's parameter, what it takes and what it is.
const FILTERS: [(&str, &str, &str, &str); 7] = [
    (
        "status",
        "status",
        "STATUS",
        "In this state: queued, running, succeeded, failed, cancelled or lost; may be repeated",
    ),
    ("app", "app", "APP", "Of this application; may be repeated"),
    ("name", "name", "NAME", "Of this name, such as an action's"),
    ("type", "type", "TYPE", "Of this type: action or upload"),
    ("user", "username", "USER", "Of this user"),
    ("plugin", "plugin", "PLUGIN", "Of this plugin"),
    ("parent", "parent", "JOB", "Started by this job"),
];

pub(super) fn command() -> Command {
    let active = Arg::new("active").long("active").action(ArgAction::SetTrue).help("Only those that wait or run");
    let list = Command::new("list").about("List jobs, newest first").arg(active).args(by_time()).arg(limit());
    FILTERS.iter().fold(list, |list, (flag, _, value, help)| {
        list.arg(Arg::new(*flag).long(*flag).value_name(*value).action(ArgAction::Append).help(*help))
    })
}

pub(super) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let mut query = wanted_times(matches)?;
    if matches.get_flag("active") {
        query.push(("active", "true".to_owned()));
    }
    for (flag, parameter, ..) in FILTERS {
        let given: Vec<&String> = matches.get_many(flag).into_iter().flatten().collect();
        let Some(last) = given.last() else { continue };
        let given = match flag {
            // The API takes several of these.
            "status" | "app" => given.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(","),
            "parent" => session.job_id(last).await?,
            _ => last.to_string(),
        };
        query.push((parameter, given));
    }
    let found = session.client.list("/job", &query, wanted(session, matches)).await?;
    let output = &session.output;
    if output.json {
        output.document(&Value::Array(found.items.clone()));
    } else if output.quiet {
        found.items.iter().for_each(|job| output.line(text(job, "job_id")));
    } else {
        output.table(&table(&found.items));
        if found.items.is_empty() && output.is_terminal {
            output.note("there is no such job");
        }
    }
    output.more(found.has_more, found.items.len());
    Ok(Code::Done)
}

/// Jobs as rows.
pub(crate) fn table(jobs: &[Value]) -> Table {
    let mut table = Table::new(&["JOB", "STATUS", "APP", "NAME", "USER", "CREATED", "PROGRESS"]);
    for job in jobs {
        let progress = &job["progress"];
        let percent = progress["percent"].as_f64().or_else(|| progress.as_f64());
        let progress = match percent.filter(|_| !is_final(text(job, "status"))) {
            Some(percent) => format!("{percent} % {}", text(progress, "status")),
            None => String::new(),
        };
        table.row(vec![
            Cell::Id(text(job, "job_id").to_owned()),
            Cell::state(&job["status"]),
            Cell::of(&job["application"]),
            Cell::of(&job["name"]),
            Cell::of(&job["username"]),
            Cell::time(&job["created_at"]),
            Cell::text(progress.trim_end()),
        ]);
    }
    table
}
