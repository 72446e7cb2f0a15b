//! Git repositories.

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _};
use hyper::Method;
use serde_json::Value;

use super::verbs::{limit, wanted};
use super::{ALL, Collection, Column, Member, Noun, change};
use crate::everyday::run::follow_started;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::Patience;
use crate::http::Request;
use crate::output::{Cell, Table};
use crate::session::{Session, text};

pub(crate) const NOUN: Noun = Noun {
    name: "gitrepo",
    about: "Git repositories: what builds are committed to",
    collection: Collection::Application("gitrepos"),
    key: "name",
    columns: &[
        Column::new("NAME", "/name"),
        Column::state("STATE", "/state"),
        Column::new("URI", "/uri"),
        Column::new("BUILD", "/last_build"),
        Column::new("COMMIT", "/last_commit"),
        Column::time("UPDATED", "/updated_at"),
    ],
    members: &[
        Member::text("uri", "/uri", "Where git clones it from"),
        Member::truth("existing", "/existing", "Whether it exists already; otherwise a job makes it").fixed(),
        Member::text("gitprovider", "/gitprovider", "The git provider that it is at"),
        Member::text("keypair", "/keypair", "The keypair that it is reached with"),
        Member::text("host-key", "/host_key", "The only key that the SSH host of its URI may show"),
    ],
    verbs: ALL,
    example: "gitrepo create shop site --gitprovider local",
};

pub(crate) fn command() -> Command {
    let branch = Arg::new("branch").long("branch").value_name("BRANCH");
    let log = NOUN
        .names(Command::new("log").about("List its commits, newest first"), 1)
        .arg(branch.help("The branch, or the commit to begin with [default: the commit of the last build]"))
        .arg(limit());
    let from = Arg::new("from").long("from").value_name("COMMIT");
    let to = Arg::new("to").long("to").value_name("COMMIT");
    let diff = NOUN
        .names(Command::new("diff").about("List the files that differ between two commits"), 1)
        .arg(from.help("The older one, or a branch [default: the one before the newer]"))
        .arg(to.help("The newer one, or a branch [default: the commit of the last build]"))
        .arg(limit());
    let with_files = Arg::new("with-files").long("with-files").action(ArgAction::SetTrue);
    let with_files =
        with_files.help("Also delete the repository's content, by a job; for repositories that Elita has made");
    NOUN.command()
        .mut_subcommand("create", Patience::augment_args)
        .mut_subcommand("delete", |delete| Patience::augment_args(delete.arg(with_files)))
        .subcommand(log)
        .subcommand(diff)
}

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("create", matches)) => create(session, matches).await,
        Some(("delete", matches)) if matches.get_flag("with-files") => delete_with_files(session, matches).await,
        Some(("log", matches)) => log(session, matches).await,
        Some(("diff", matches)) => diff(session, matches).await,
        _ => NOUN.run(session, matches).await,
    }
}

/// Where a job makes it, the job is followed: the repository can be used then.
async fn create(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let created = change::create(&NOUN, session, matches).await?;
    let found = session.client.get(NOUN.path(session, matches)?).await?;
    if found["state"] != "creating" {
        return Ok(created);
    }
    follow(session, matches, &found).await
}

async fn delete_with_files(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let path = NOUN.path(session, matches)?;
    let found = session.client.get(&*path).await?;
    let name = text(&found, "name");
    if !matches.get_flag("yes") {
        session.output.confirm(&format!("delete gitrepo `{name}` with all of its commits?"))?;
    }
    let request = Request::new(Method::DELETE, format!("{path}?delete=true"));
    let job = session.client.send(request).await?.json()?;
    follow(session, matches, &job).await
}

/// Follows the job that a document names.
async fn follow(session: &Session, matches: &ArgMatches, document: &Value) -> Result<Code> {
    let patience = Patience::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))?;
    let app = NOUN.app(session, matches)?;
    follow_started(session, document, &app, false, &patience).await
}

async fn log(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let path = format!("{}/log", NOUN.path(session, matches)?);
    let found = session.client.list(&path, &asked(matches, &["branch"]), wanted(session, matches)).await?;
    if session.output.json {
        session.output.document(&Value::Array(found.items.clone()));
    } else {
        let mut table = Table::new(&["COMMIT", "BUILD", "PACKAGE", "USER", "AT", "SUBJECT"]);
        for commit in &found.items {
            let subject = text(commit, "message").lines().next().unwrap_or_default();
            table.row(vec![
                Cell::text(text(commit, "commit")),
                Cell::of(&commit["build_name"]),
                Cell::of(&commit["package"]),
                Cell::of(&commit["username"]),
                Cell::time(&commit["at"]),
                Cell::text(subject),
            ]);
        }
        session.output.table(&table);
    }
    session.output.more(found.has_more, found.items.len());
    Ok(Code::Done)
}

async fn diff(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let path = format!("{}/diff", NOUN.path(session, matches)?);
    let found = session.client.list(&path, &asked(matches, &["from", "to"]), wanted(session, matches)).await?;
    if session.output.json {
        session.output.document(&Value::Array(found.items.clone()));
    } else {
        let mut table = Table::new(&["STATUS", "+", "-", "PATH"]);
        for file in &found.items {
            let count = |name: &str| match &file[name] {
                Value::Null => Cell::Number("binary".into()),
                count => Cell::Number(count.to_string()),
            };
            let (status, path) = (Cell::text(text(file, "status")), Cell::text(text(file, "path")));
            table.row(vec![status, count("insertions"), count("deletions"), path]);
        }
        session.output.table(&table);
    }
    session.output.more(found.has_more, found.items.len());
    Ok(Code::Done)
}

/// The flags that are given, as they stand in the query.
fn asked<'n>(matches: &ArgMatches, names: &[&'n str]) -> Vec<(&'n str, String)> {
    names.iter().filter_map(|name| Some((*name, matches.get_one::<String>(name)?.clone()))).collect()
}
