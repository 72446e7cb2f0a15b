//! `elita job cancel`: some jobs by their ids, or all that match.

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use serde_json::Value;

use super::list::table;
use super::{ids, jobs, wait};
use crate::complete;
use crate::duration::moment;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::{Patience, cancel};
use crate::http::{Request, with_query};
use crate::session::{Session, short, text};

/// How many of the jobs that match are shown before.
const SHOWN: usize = 20;
/// How many are counted.
const COUNTED: usize = 1000;

pub(super) fn command() -> Command {
    let filter = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).group("filters")
    };
    let status = filter("status", "STATUS", "Those in this state: queued or running");
    let app = filter("app", "APP", "Those of this application");
    let parent = filter("parent", "JOB", "Those that this job has started");
    Command::new("cancel")
        .about("Stop jobs, by id or by filter. With a filter it lists them and asks first")
        .after_help(
            "Examples:
  elita job cancel d5146e54
  elita job cancel --status queued --app shop --name DeleteWidgets",
        )
        .arg(jobs().required(false).conflicts_with("filters"))
        .arg(status.value_parser(["queued", "running"]))
        .arg(app.add(clap_complete::ArgValueCompleter::new(complete::apps)))
        .arg(filter("name", "NAME", "Those of this name, such as an action's"))
        .arg(parent.add(clap_complete::ArgValueCompleter::new(complete::jobs)))
        .arg(filter("since", "TIME", "Those created at this time or later: 2h, or RFC 3339"))
        .group(ArgGroup::new("filters").multiple(true))
        .arg(Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help("Do not ask").requires("filters"))
        .arg(Arg::new("wait").long("wait").action(ArgAction::SetTrue).help("Wait until they have ended"))
}

pub(super) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let stopped = match (matches.contains_id("job"), matches.contains_id("filters")) {
        (true, _) => by_id(session, &ids(session, matches).await?).await?,
        (false, true) => matching(session, matches).await?,
        (false, false) => {
            return Err(
                Failure::usage("which jobs?").hint("elita job cancel JOB, or all that match --app, --name and so on")
            );
        }
    };
    if !matches.get_flag("wait") {
        return Ok(Code::Done);
    }
    // That they were cancelled is what was asked for.
    match wait(session, &stopped, &Patience::default()).await? {
        Code::Cancelled => Ok(Code::Done),
        code => Ok(code),
    }
}

async fn by_id(session: &Session, ids: &[String]) -> Result<Vec<String>> {
    for id in ids {
        match cancel(&session.client, id).await? {
            true => session.output.note(format!("job {} is asked to stop", short(id))),
            false => session.output.note(format!("job {} has ended already", short(id))),
        }
    }
    Ok(ids.to_vec())
}

/// Shows what matches, asks, and has the server stop it. Jobs that come meanwhile and match are stopped, too.
async fn matching(session: &Session, matches: &ArgMatches) -> Result<Vec<String>> {
    let (output, filters) = (&session.output, filters(session, matches).await?);
    let mut query = filters.clone();
    query.push(("active", "true".to_owned()));
    let found = session.client.list("/job", &query, Some(COUNTED)).await?;
    let ids: Vec<_> = found.items.iter().map(|job| text(job, "job_id").to_owned()).collect();
    if ids.is_empty() {
        output.note("no job matches");
        return Ok(ids);
    }
    if !matches.get_flag("yes") {
        output.warn(table(&found.items[..ids.len().min(SHOWN)]).render(output).trim_end());
        let at_least = if found.has_more { "more than " } else { "" };
        output.confirm(&format!("stop {at_least}{}?", counted(ids.len() as u64)))?;
    }
    let mut query = filters;
    query.push(("cancel", "true".to_owned()));
    loop {
        let request = Request::post(with_query("/job", &query)).repeatable();
        let stopped = session.client.send(request).await?.json()?;
        match output.json {
            true => output.line(stopped.to_string()),
            false => output.note(outcome(&stopped)),
        }
        if stopped["more"] != true {
            break;
        }
    }
    if output.quiet && !output.json {
        ids.iter().for_each(|id| output.line(id));
    }
    Ok(ids)
}

/// What the jobs are to be like, as the API takes it.
async fn filters(session: &Session, matches: &ArgMatches) -> Result<Vec<(&'static str, String)>> {
    let mut filters = Vec::new();
    for name in ["status", "app", "name", "parent", "since"] {
        let Some(given) = matches.get_one::<String>(name) else { continue };
        let given = match name {
            "parent" => session.job_id(given).await?,
            "since" => moment(given).map_err(Failure::usage)?,
            _ => given.clone(),
        };
        filters.push((name, given));
    }
    Ok(filters)
}

fn outcome(stopped: &Value) -> String {
    let count = |member: &str| stopped[member].as_u64().unwrap_or_default();
    format!("{} had not begun, and ended; {} asked to stop", counted(count("cancelled")), running(count("stopping")))
}

fn counted(jobs: u64) -> String {
    if jobs == 1 { "1 job".to_owned() } else { format!("{jobs} jobs") }
}

fn running(jobs: u64) -> String {
    if jobs == 1 { "1 that runs is".to_owned() } else { format!("{jobs} that run are") }
}
