//! `elita server check`: has servers checked, and shows what there is on each.

use clap::{Arg, ArgMatches, Args as _, Command, FromArgMatches as _};
use serde_json::{Map, Value};

use crate::complete;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::{Following, Lines, Patience, outcome_line};
use crate::http::Request;
use crate::output::{Cell, Table};
use crate::session::{Session, segment, text};

pub(super) fn command() -> Command {
    let servers = Arg::new("servers").value_name("SERVER").required(true).num_args(1..).help("The servers, by name");
    let check = Command::new("check")
        .about("Check whether servers can be reached, and what there is on them")
        .long_about(
            "Check whether servers can be reached, and what there is on them: the operating system, git, the shell, and \
             by how much the clock differs\n\nThe exit code is 0 if all can be reached, and 1 otherwise.",
        )
        .arg(servers.add(complete::names_of(&super::NOUN)));
    Patience::augment_args(check)
}

pub(super) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let patience = Patience::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))?;
    let servers: Vec<&String> = matches.get_many("servers").into_iter().flatten().collect();
    let (mut jobs, mut checked) = (Vec::new(), Map::new());
    for server in servers {
        let path = format!("/server/{}?check=true", segment(server));
        let job = session.client.send(Request::post(path).keyed(None)).await?.json()?;
        jobs.push(text(&job, "job_id").to_owned());
    }
    let mut code = Code::Done;
    for id in jobs {
        // What a job says meanwhile is in its result.
        let lines = Lines { are_silent: true, ..Lines::default() };
        let (job, ended) = Following { session, id, after: 0, lines }.until_the_end(&patience).await?;
        if ended != Code::Done {
            session.output.note(outcome_line(&job));
            code = ended;
        }
        checked.extend(job["result"].as_object().cloned().unwrap_or_default());
    }
    let all = checked.values().all(|health| health["reachable"] == true);
    show(session, checked);
    Ok(if code == Code::Done && !all { Code::Failed } else { code })
}

fn show(session: &Session, checked: Map<String, Value>) {
    let output = &session.output;
    if output.json {
        return output.document(&Value::Object(checked));
    }
    let mut table = Table::new(&["SERVER", "STATE", "SYSTEM", "GIT", "SHELL", "CLOCK", "MESSAGE"]);
    for (server, health) in &checked {
        let state = if health["reachable"] == true { "ok" } else { "no-response" };
        let clock = health["clock_difference_in_seconds"].as_f64().map_or_else(String::new, |by| format!("{by:+.1} s"));
        table.row(vec![
            Cell::name(server),
            Cell::state(&state.into()),
            Cell::of(&health["system"]),
            Cell::of(&health["git_version"]),
            Cell::of(&health["shell"]),
            Cell::text(clock),
            Cell::of(&health["message"]),
        ]);
    }
    output.table(&table);
}
