//! `elita server exec`: runs a command on servers, and shows what each says.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _, value_parser};
use serde_json::json;

use crate::complete;
use crate::duration::duration;
use crate::everyday::run::text_of;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::{Following, Lines, Patience, ServerOutput, outcome_line};
use crate::http::Request;
use crate::session::{Session, short, text};

pub(super) fn command() -> Command {
    let servers = Arg::new("servers").value_name("SERVER").required(true).num_args(1..).help("The servers, by name");
    let command = Arg::new("command").value_name("COMMAND").num_args(1..).last(true);
    let command = command.help("The program with its arguments; no shell is involved");
    let script = Arg::new("script").long("script").value_name("FILE").value_parser(value_parser!(PathBuf));
    let script = script.help("Run a script from this file instead; - is standard input").conflicts_with("command");
    let shell = Arg::new("shell").long("shell").value_name("SHELL").value_parser(["sh", "powershell"]);
    let shell = shell.help("What reads the script: sh, unless it is given").requires("script");
    let cwd = Arg::new("cwd").long("cwd").value_name("DIRECTORY").help("Where it runs: an absolute path, or ~/…");
    let limit = Arg::new("limit").long("limit").value_name("TIME").value_parser(duration);
    let limit = limit.help("How long it may take on each server; then it is ended there [default: 5m]");
    let detach = Arg::new("detach").long("detach").short('d').action(ArgAction::SetTrue);
    let detach = detach.help("Print the job's id, and do not follow it");
    let key = Arg::new("key").long("key").value_name("KEY");
    let key = key.help("The same key answers with the same job, and runs nothing twice");
    let exec = Command::new("exec")
        .about("Run a command on servers, as one job")
        .long_about(
            "Run a command on servers, as one job\n\nEach server's output is printed when the command has ended there: \
             standard output to standard output, standard error to standard error, with the server's name in front if \
             there are several. The exit code is 0 if it ended with 0 on all servers, and 1 otherwise.",
        )
        .override_usage("elita server exec [OPTIONS] SERVER… -- COMMAND…")
        .after_help(
            "Examples:\n  elita server exec web-1 web-2 -- systemctl restart shop\n  elita server exec web-1 --script cleanup.sh --cwd /srv/shop",
        )
        .arg(servers.add(complete::names_of(&super::NOUN)))
        .args([command, script, shell, cwd, limit, detach, key]);
    Patience::augment_args(exec)
}

pub(super) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let servers: Vec<&String> = matches.get_many("servers").into_iter().flatten().collect();
    let command: Vec<&String> = matches.get_many("command").into_iter().flatten().collect();
    let patience = Patience::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))?;
    let mut body = match matches.get_one::<PathBuf>("script") {
        Some(file) => json!({ "script": text_of(&file.to_string_lossy())?,
            "shell": matches.get_one::<String>("shell").map_or("sh", String::as_str) }),
        None if command.is_empty() => {
            let hint = format!("elita server exec {} -- COMMAND…", servers[0]);
            return Err(Failure::usage("which command? It comes after `--`").hint(hint));
        }
        None => json!({ "command": command }),
    };
    body["servers"] = json!(servers);
    if let Some(cwd) = matches.get_one::<String>("cwd") {
        body["cwd"] = json!(cwd);
    }
    if let Some(limit) = matches.get_one::<Duration>("limit") {
        body["timeout"] = json!(limit.as_secs().max(1));
    }
    let key = matches.get_one::<String>("key").map(String::as_str);
    let job = session.client.send(Request::post("/server/command").json(&body).keyed(key)).await?.json()?;
    let (output, id) = (&session.output, text(&job, "job_id"));
    if matches.get_flag("detach") {
        if output.json {
            output.document(&job)
        } else {
            output.line(id)
        }
        return Ok(Code::Done);
    }
    if output.is_terminal_err && !output.json && !output.quiet {
        output.note(format!("job {}", short(id)));
    }
    let of_servers = ServerOutput::new(servers.len() > 1);
    let lines = Lines { of_servers: Some(of_servers.clone()), ..Lines::default() };
    let following = Following { session, id: id.to_owned(), after: 0, lines };
    let (job, code) = following.until_the_end(&patience).await?;
    if output.json {
        output.line(job.to_string());
    } else if code != Code::Done {
        output.note(outcome_line(&job));
    }
    let all_ok = job["result"].as_object().into_iter().flatten().all(|(_, report)| report["outcome"] == "ok");
    Ok(if code == Code::Done && !all_ok { Code::Failed } else { code })
}
