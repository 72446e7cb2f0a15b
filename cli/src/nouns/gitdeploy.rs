//! Gitdeploys.

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _};
use serde_json::{Value, json};

use super::{ALL, Collection, Column, Member, Noun};
use crate::everyday::run::follow_started;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::Patience;
use crate::http::Request;
use crate::output::{Cell, Table};
use crate::session::{Session, segment, text};

pub(crate) const NOUN: Noun = Noun {
    name: "gitdeploy",
    about: "Gitdeploys: which package goes where, by git",
    collection: Collection::Application("gitdeploys"),
    key: "name",
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("PACKAGE", "/package"),
        Column::new("GITREPO", "/location/gitrepo"),
        Column::new("PATH", "/location/path"),
        Column::time("UPDATED", "/updated_at"),
    ],
    members: &[
        Member::text("package", "/package", "The package of a build that is deployed"),
        Member::text("path", "/location/path", "Where it goes on servers"),
        Member::text("gitrepo", "/location/gitrepo", "The git repository that it goes through"),
        Member::text("branch", "/location/default_branch", "The branch of that repository"),
        Member::json("options", "/options", "How it is committed and pulled"),
        Member::json("actions", "/actions", "What runs on each server around a pull"),
    ],
    verbs: ALL,
    example: "gitdeploy create shop site --package web --gitrepo site --path /srv/site",
};

/// What is done on servers: the command, what the API calls it, and what it does.
const ON_SERVERS: [(&str, &str, &str); 3] = [
    ("init", "initialize", "Make a working copy on servers"),
    ("pull", "pull", "Bring its working copies on servers to what was committed last"),
    ("deinit", "deinitialize", "Remove its working copies from servers"),
];

pub(crate) fn command() -> Command {
    let detach = || {
        let detach = Arg::new("detach").long("detach").short('d').action(ArgAction::SetTrue);
        detach.help("Print the job's id, and do not follow it")
    };
    let app = || Arg::new("app").long("app").value_name("APP").help("The application, unless the context has one");
    let name = || Arg::new("name").required(true).value_name("NAME").help("The gitdeploy");
    let commit = Command::new("commit")
        .about("Commit the package of a build to its git repository, without pulling it anywhere")
        .override_usage("elita gitdeploy commit [OPTIONS] [APP] NAME BUILD")
        .arg(
            Arg::new("names")
                .required(true)
                .value_name("[APP] NAME BUILD")
                .num_args(2..=3)
                .help("The application, unless the context has one; the gitdeploy; and the build"),
        )
        .arg(detach());
    let on_servers = ON_SERVERS.map(|(command, _, about)| {
        let servers = Arg::new("servers").required(true).num_args(1..).value_name("SERVER");
        let servers = servers.help("The servers, or one glob of their names such as 'web-*'");
        let command = Command::new(command).about(about).arg(name()).arg(servers).arg(app()).arg(detach());
        Patience::augment_args(command)
    });
    let status = NOUN.names(Command::new("status").about("List the servers on which it is initialized"), 1);
    NOUN.command().subcommand(Patience::augment_args(commit)).subcommands(on_servers).subcommand(status)
}

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("commit", matches)) => commit(session, matches).await,
        Some(("status", matches)) => status(session, matches).await,
        Some((name, own)) => match ON_SERVERS.iter().find(|(command, ..)| *command == name) {
            Some((_, task, _)) => on_servers(session, own, task).await,
            None => NOUN.run(session, matches).await,
        },
        None => NOUN.run(session, matches).await,
    }
}

async fn commit(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let words: Vec<String> = matches.get_many("names").into_iter().flatten().cloned().collect();
    let (names, build) = words.split_at(words.len() - 1);
    let (app, gitdeploy) = session.app_and_name(names, "gitdeploy")?;
    start(session, matches, &app, gitdeploy, &json!({ "commit": true, "build_name": build[0] })).await
}

async fn on_servers(session: &Session, matches: &ArgMatches, task: &str) -> Result<Code> {
    let app = session.app(matches.get_one::<String>("app").map(String::as_str))?;
    let name: &String = matches.get_one("name").ok_or_else(|| Failure::usage("which gitdeploy?"))?;
    let servers: Vec<&String> = matches.get_many("servers").into_iter().flatten().collect();
    let body = match servers[..] {
        [glob] if glob.contains(['*', '?', '[', '{']) => json!({ task: true, "glob": glob }),
        _ => json!({ task: true, "servers": servers }),
    };
    start(session, matches, &app, name, &body).await
}

/// Has a job do it, and follows that.
async fn start(session: &Session, matches: &ArgMatches, app: &str, name: &str, body: &Value) -> Result<Code> {
    let path = format!("/app/{}/gitdeploys/{}", segment(app), segment(name));
    let job = session.client.send(Request::post(path).json(body).keyed(None)).await?.json()?;
    let patience = Patience::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))?;
    follow_started(session, &job, app, matches.get_flag("detach"), &patience).await
}

async fn status(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let found = session.client.get(NOUN.path(session, matches)?).await?;
    let servers = found["servers"].as_array().cloned().unwrap_or_default();
    if session.output.json {
        session.output.document(&Value::Array(servers));
        return Ok(Code::Done);
    }
    let mut table = Table::new(&["SERVER", "BUILD", "INITIALIZED"]);
    for server in &servers {
        let name = Cell::text(text(server, "server"));
        table.row(vec![name, Cell::of(&server["deployed_build"]), Cell::time(&server["initialized_at"])]);
    }
    session.output.table(&table);
    Ok(Code::Done)
}
