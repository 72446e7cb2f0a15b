//! Jobs: request, progress and result.

mod cancel;
mod list;
mod show;

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _, value_parser};
use futures_util::future::join_all;
use serde_json::Value;

pub(crate) use self::list::table;
use crate::complete;
use crate::everyday::run::{follow_started, parameter, start};
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::{Following, Lines, Patience, describe, outcome_line};
use crate::session::{Session, segment, short, text};

pub(crate) fn command() -> Command {
    let wait =
        Command::new("wait").about("Wait for jobs to end, and print how they did; the exit code is the worst outcome");
    let rerun = Command::new("rerun")
        .about("Run a job's action again, with the same parameters except those that are given")
        .arg(one("JOB"))
        .arg(Arg::new("parameters").value_name("NAME=VALUE").num_args(0..))
        .arg(
            Arg::new("detach").long("detach").short('d').action(ArgAction::SetTrue).help("Print the new job's id only"),
        );
    Command::new("job")
        .about("Jobs: request, progress and result")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list::command())
        .subcommand(show::command().arg(one("JOB")))
        .subcommand(cancel::command())
        .subcommand(Patience::augment_args(wait.arg(jobs())))
        .subcommand(Patience::augment_args(rerun))
}

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("list", matches)) => list::run(session, matches).await,
        Some(("show", matches)) => show::run(session, matches).await,
        Some(("cancel", matches)) => cancel::run(session, matches).await,
        Some(("wait", matches)) => wait(session, &ids(session, matches).await?, &patience(matches)?).await,
        Some(("rerun", matches)) => rerun(session, matches).await,
        _ => Err(Failure::usage("there is no such command")),
    }
}

fn one(name: &'static str) -> Arg {
    let help = "The job's id, the last 8 characters of it, or - for the newest of yours";
    let job = Arg::new("job").required(true).value_name(name).help(help);
    job.add(clap_complete::ArgValueCompleter::new(complete::jobs))
}

fn jobs() -> Arg {
    one("JOB").num_args(1..).value_parser(value_parser!(String))
}

async fn ids(session: &Session, matches: &ArgMatches) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for job in matches.get_many::<String>("job").into_iter().flatten() {
        ids.push(session.job_id(job).await?);
    }
    Ok(ids)
}

fn patience(matches: &ArgMatches) -> Result<Patience> {
    Patience::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))
}

async fn wait(session: &Session, ids: &[String], patience: &Patience) -> Result<Code> {
    let waited = ids.iter().map(|id| async move {
        let lines = Lines { are_silent: true, ..Lines::default() };
        let after = session.client.get(format!("/job/{id}")).await?["last_seq"].as_i64().unwrap_or_default();
        let (job, code) = Following { session, id: id.clone(), after, lines }.until_the_end(patience).await?;
        match session.output.json {
            true => session.output.line(job.to_string()),
            false => session.output.line(format!("{}  {}  {}", short(id), text(&job, "name"), outcome_line(&job))),
        }
        Ok::<_, Failure>(code)
    });
    let mut worst = Code::Done;
    for code in join_all(waited).await {
        worst = worst.worse(code?);
    }
    Ok(worst)
}

async fn rerun(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let ids = ids(session, matches).await?;
    let id = ids.first().map(String::as_str).unwrap_or_default();
    let job = session.client.get(format!("/job/{id}")).await?;
    if job["job_type"] != "action" {
        return Err(Failure::new(
            Code::Refused,
            format!("a job of the type {} cannot be run again", text(&job, "job_type")),
        )
        .hint("only jobs of actions can"));
    }
    let mut parameters = parameters_of(&job);
    for word in matches.get_many::<String>("parameters").into_iter().flatten() {
        let (name, value) = parameter(word)?;
        parameters.retain(|(old, _)| *old != name);
        parameters.push((name, value));
    }
    let (app, action) = (text(&job, "application"), text(&job, "name"));
    let path = format!("/app/{}/actions/{}", segment(app), segment(action));
    let started = start(session, &path, &parameters, None, Some(id)).await?;
    follow_started(session, &started, app, matches.get_flag("detach"), &patience(matches)?).await
}

fn parameters_of(job: &Value) -> Vec<(String, String)> {
    let pairs = job["data"]["parameters"].as_array().into_iter().flatten();
    pairs.filter_map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()))).collect()
}

/// How a job ended, for `job show`.
fn ended(session: &Session, job: &Value) {
    describe(&session.output, job, None);
}
