//! Builds: what is uploaded, and deployed.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::Value;

use super::{ALL, Collection, Column, Noun};
use crate::exit::Code;
use crate::failure::Result;
use crate::http::with_query;
use crate::output::{Cell, Table};
use crate::session::Session;

mod download;
mod prune;

pub(crate) const NOUN: Noun = Noun {
    name: "build",
    about: "Builds: what is uploaded and deployed",
    collection: Collection::Application("builds"),
    key: "build_name",
    columns: &[
        Column::new("NAME", "/build_name"),
        Column::new("STORED", "/stored"),
        Column::new("FILES", "/file_count"),
        Column::new("FILE", "/master_file"),
        Column::time("CREATED", "/created_at"),
    ],
    members: &[],
    verbs: ALL,
    example: "build create shop 1.42 --attribute commit=2f9c1e7",
};

pub(crate) fn command() -> Command {
    let glob = Arg::new("grep").long("grep").value_name("GLOB").help("Only paths that match, such as 'web/**/*.css'");
    let files = NOUN
        .names(Command::new("files").about("List the paths in the file of a build"), 1)
        .arg(glob)
        .arg(super::verbs::limit());
    let stored = Arg::new("stored").long("stored").action(ArgAction::SetTrue).help("Only those that have their file");
    let newest = Arg::new("newest").long("newest").value_name("COUNT").value_parser(value_parser!(usize));
    let newest = newest.help("Number of newest builds, newest first").conflicts_with_all(["limit", "oldest-first"]);
    NOUN.command()
        .mut_subcommand("list", |list| list.arg(stored).arg(newest).args(super::verbs::by_time()))
        .subcommand(files)
        .subcommand(download::command())
        .subcommand(prune::command())
}

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("list", matches)) => list(session, matches).await,
        Some(("files", matches)) => files(session, matches).await,
        Some(("download", matches)) => download::run(session, matches).await,
        Some(("prune", matches)) => prune::run(session, matches).await,
        _ => NOUN.run(session, matches).await,
    }
}

async fn list(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let mut query = super::verbs::wanted_times(matches)?;
    if matches.get_flag("stored") {
        query.push(("stored", "true".to_owned()));
    }
    let Some(newest) = matches.get_one::<usize>("newest") else { return NOUN.list(session, matches, &query).await };
    query.push(("order", "-created".to_owned()));
    let path = NOUN.container(session, matches.get_one::<String>("app").map(String::as_str))?;
    let found = session.client.list(&path, &query, Some(*newest)).await?;
    NOUN.print(session, &found.items, false);
    Ok(Code::Done)
}

async fn files(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let path = format!("{}/files", NOUN.path(session, matches)?);
    let query: Vec<_> = matches.get_one::<String>("grep").map(|glob| ("glob", glob.clone())).into_iter().collect();
    let limit = super::verbs::wanted(session, matches);
    let found = session.client.list(&with_query(&path, &[]), &query, limit).await?;
    if session.output.json {
        session.output.document(&Value::Array(found.items.clone()));
    } else {
        for file in &found.items {
            session.output.line(crate::output::shown(if file.is_object() { &file["path"] } else { file }));
        }
    }
    session.output.more(found.has_more, found.items.len());
    Ok(Code::Done)
}

/// The packages of a build, with their sizes and digests.
pub(crate) fn packages(build: &Value) -> Table {
    let mut table = Table::new(&["PACKAGE", "SIZE", "SHA-256"]);
    for (name, package) in build["packages"].as_object().into_iter().flatten() {
        let size = package["size_bytes"].as_u64().unwrap_or_default();
        let digest = package["sha256"].as_str().unwrap_or_default();
        let size = indicatif::HumanBytes(size).to_string();
        table.row(vec![Cell::text(name), Cell::Number(size), Cell::text(digest)]);
    }
    table
}

/// Where a file is written to.
fn destination(matches: &ArgMatches) -> Option<&PathBuf> {
    matches.get_one::<PathBuf>("output")
}
