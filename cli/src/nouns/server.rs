//! Servers: where builds are deployed to.

mod check;
mod exec;

use clap::{Arg, ArgMatches, Command};
use serde_json::json;

use super::verbs::{limit, wanted};
use super::{ALL, Collection, Column, Member, Noun};
use crate::complete;
use crate::exit::Code;
use crate::failure::Result;
use crate::output::{Cell, Table};
use crate::session::Session;

pub(crate) const NOUN: Noun = Noun {
    name: "server",
    about: "Servers: where builds are deployed to",
    collection: Collection::Installation("/server"),
    key: "name",
    columns: &[
        Column::new("NAME", "/name"),
        Column::new("ENVIRONMENT", "/environment"),
        Column::new("DRIVER", "/driver"),
        Column::new("CONNECTION", "/connection"),
        Column::time("UPDATED", "/updated_at"),
    ],
    members: &[
        Member::text("env", "/environment", "The environment that it belongs to"),
        Member::text("driver", "/driver", "What it is reached by: ssh, salt or local"),
        Member::json("connection", "/connection", "How the driver reaches it"),
        Member::text("host", "/connection/host", "The host that ssh connects to"),
        Member::json("port", "/connection/port", "The port of ssh"),
        Member::text("user", "/connection/user", "The user of ssh"),
        Member::text("host-key", "/connection/host_key", "The host's public key"),
        Member::text("keypair", "/connection/keypair", "The keypair that ssh logs in with"),
        Member::text("jump", "/connection/jump", "The server that ssh goes through"),
        Member::json("sudo", "/connection/sudo", "Whether commands of ssh run by sudo: true or false"),
        Member::text("minion", "/connection/minion", "The minion of salt"),
    ],
    verbs: ALL,
    example: "server create web-1 --env production --driver ssh --host web-1.example.org",
};

pub(crate) fn command() -> Command {
    let environment = Arg::new("env").long("env").value_name("ENVIRONMENT").help("Of this environment only");
    let environment = environment.add(clap_complete::ArgValueCompleter::new(complete::environments));
    let list = Command::new("list").about("List them").arg(limit()).arg(environment);
    NOUN.command()
        .mut_subcommand("list", |_| list)
        .subcommand(Command::new("environments").about("List the environments with their servers"))
        .subcommand(check::command())
        .subcommand(exec::command())
}

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("check", matches)) => check::run(session, matches).await,
        Some(("exec", matches)) => exec::run(session, matches).await,
        Some(("environments", _)) => environments(session).await,
        Some(("list", matches)) if matches.contains_id("env") => {
            let found = session.client.list("/server", &[], None).await?.items;
            let environment = json!(matches.get_one::<String>("env"));
            let found: Vec<_> = found.into_iter().filter(|server| server["environment"] == environment).collect();
            let shown = wanted(session, matches).unwrap_or(usize::MAX).min(found.len());
            NOUN.print(session, &found[..shown], shown < found.len());
            Ok(Code::Done)
        }
        _ => NOUN.run(session, matches).await,
    }
}

async fn environments(session: &Session) -> Result<Code> {
    let found = session.client.get("/server/environments").await?;
    let output = &session.output;
    if output.json {
        output.document(&found);
        return Ok(Code::Done);
    }
    let mut table = Table::new(&["ENVIRONMENT", "SERVERS"]);
    for (environment, servers) in found.as_object().into_iter().flatten() {
        match output.quiet {
            true => output.line(environment),
            false => table.row(vec![Cell::text(environment), Cell::of(servers)]),
        }
    }
    output.table(&table);
    Ok(Code::Done)
}
