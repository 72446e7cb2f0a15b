//! The commands of a noun, and what they do.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::Value;

use super::{Collection, Column, Noun, Shown, Verb, change, document};
use crate::complete;
use crate::duration::moment;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::http::Request;
use crate::output::{Cell, Table, shown};
use crate::session::{Session, segment, text};

/// How many items a terminal gets unless it asks for more.
const SCREEN: usize = 100;

impl Noun {
    /// Its commands.
    pub(crate) fn command(&'static self) -> Command {
        let mut command =
            Command::new(self.name).about(self.about).subcommand_required(true).arg_required_else_help(true);
        for verb in self.verbs {
            command = command.subcommand(match verb {
                Verb::List => self.list_command(),
                Verb::Show => self.names(Command::new("show").about("Show one"), 1),
                Verb::Create => change::create_command(self),
                Verb::Update => change::update_command(self),
                Verb::Edit => change::edit_command(self),
                Verb::Delete => self
                    .names(Command::new("delete").about("Delete one; asks before"), 1)
                    .arg(Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help("Do not ask")),
            });
        }
        command
    }

    /// Does what was asked, if it is one of the usual verbs.
    pub(crate) async fn run(&'static self, session: &Session, matches: &ArgMatches) -> Result<Code> {
        match matches.subcommand() {
            Some(("list", matches)) => self.list(session, matches, &[]).await,
            Some(("show", matches)) => self.show(session, matches).await,
            Some(("create", matches)) => change::create(self, session, matches).await,
            Some(("update", matches)) => change::update(self, session, matches).await,
            Some(("edit", matches)) => change::edit(self, session, matches).await,
            Some(("delete", matches)) => self.delete(session, matches, "").await,
            _ => Err(Failure::usage("there is no such command")),
        }
    }

    fn list_command(&'static self) -> Command {
        let command = Command::new("list").about("List them").arg(limit());
        match self.collection {
            Collection::Installation(_) => command,
            Collection::Application(_) => command.arg(app()),
        }
    }

    /// `[APP] NAME` or `NAME`.
    pub(super) fn names(&'static self, command: Command, count: usize) -> Command {
        let (value, most, help) = match self.collection {
            Collection::Installation(_) => ("NAME", count, "Its name"),
            Collection::Application(_) => {
                ("[APP] NAME", count + 1, "The application, unless the context has one; and its name")
            }
        };
        let names = Arg::new("names").required(true).value_name(value).num_args(count..=most).help(help);
        let usage = format!("elita {} {} [OPTIONS] {value}", self.name, command.get_name());
        command.override_usage(usage).arg(names.add(complete::names_of(self)))
    }

    /// The path of what the words name.
    pub(super) fn path(&self, session: &Session, matches: &ArgMatches) -> Result<String> {
        let words: Vec<String> = matches.get_many("names").into_iter().flatten().cloned().collect();
        match self.collection {
            Collection::Installation(container) => Ok(format!("{container}/{}", segment(&words[0]))),
            Collection::Application(container) => {
                let (app, name) = session.app_and_name(&words, self.name)?;
                Ok(format!("/app/{}/{container}/{}", segment(&app), segment(name)))
            }
        }
    }

    /// The application that the words name.
    pub(super) fn app(&self, session: &Session, matches: &ArgMatches) -> Result<String> {
        let words: Vec<String> = matches.get_many("names").into_iter().flatten().cloned().collect();
        Ok(session.app_and_name(&words, self.name)?.0)
    }

    /// The path of the list.
    pub(super) fn container(&self, session: &Session, app: Option<&str>) -> Result<String> {
        match self.collection {
            Collection::Installation(container) => Ok(container.to_owned()),
            Collection::Application(container) => Ok(format!("/app/{}/{container}", segment(&session.app(app)?))),
        }
    }

    /// Lists, with what else there is to ask.
    pub(crate) async fn list(&self, session: &Session, matches: &ArgMatches, query: &[(&str, String)]) -> Result<Code> {
        let app = matches.try_get_one::<String>("app").ok().flatten();
        let path = self.container(session, app.map(String::as_str))?;
        let found = session.client.list(&path, query, wanted(session, matches)).await?;
        self.print(session, &found.items, found.has_more);
        Ok(Code::Done)
    }

    /// Prints a list.
    pub(crate) fn print(&self, session: &Session, items: &[Value], has_more: bool) {
        let output = &session.output;
        if output.json {
            output.document(&Value::Array(items.to_vec()));
        } else if output.quiet {
            items.iter().for_each(|item| output.line(shown(&item[self.key])));
        } else {
            output.table(&table(self.columns, items));
            if items.is_empty() && output.is_terminal {
                output.note(format!("there is no {}", self.name));
            }
        }
        output.more(has_more, items.len());
    }

    async fn show(&self, session: &Session, matches: &ArgMatches) -> Result<Code> {
        let document = session.client.get(self.path(session, matches)?).await?;
        document::print(&session.output, self.key, &document);
        Ok(Code::Done)
    }

    /// Deletes one, once somebody agrees; `with` says what else goes.
    pub(super) async fn delete(&self, session: &Session, matches: &ArgMatches, with: &str) -> Result<Code> {
        let path = self.path(session, matches)?;
        let reply = session.client.send(Request::get(&*path)).await?;
        let found = reply.json()?;
        let name = text(&found, self.key).to_owned();
        if !matches.get_flag("yes") {
            session.output.confirm(&format!("delete {} `{name}`{with}?", self.name))?;
        }
        let mut request = Request::new(hyper::Method::DELETE, path).repeatable();
        if let Some(etag) = reply.etag() {
            request = request.header(hyper::header::IF_MATCH, etag);
        }
        match session.client.send(request).await {
            // The reply to the try that removed it was lost.
            Err(failure) if failure.status() == Some(404) && failure.may_have_arrived => {}
            deleted => drop(deleted?),
        }
        if session.output.quiet {
            session.output.line(name);
        } else {
            session.output.note(format!("{} `{name}` is deleted", self.name));
        }
        Ok(Code::Done)
    }
}

/// `--limit`
pub(crate) fn limit() -> Arg {
    let help = "How many to show at most; 0 shows all [default: 100 on a terminal, otherwise all]";
    Arg::new("limit").long("limit").value_name("COUNT").value_parser(clap::value_parser!(usize)).help(help)
}

/// `--since`, `--until` and `--oldest-first`, of a list of what comes one after the other in time.
pub(crate) fn by_time() -> [Arg; 3] {
    let time = |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("TIME").help(help);
    [
        time("since", "Created at this time or later: 2h, or RFC 3339"),
        time("until", "Created before this time"),
        Arg::new("oldest-first").long("oldest-first").action(ArgAction::SetTrue).help("The oldest first"),
    ]
}

/// What a list is asked for with these.
pub(crate) fn wanted_times(matches: &ArgMatches) -> Result<Vec<(&'static str, String)>> {
    let mut query = Vec::new();
    for name in ["since", "until"] {
        if let Some(given) = matches.get_one::<String>(name) {
            query.push((name, moment(given).map_err(Failure::usage)?));
        }
    }
    if matches.get_flag("oldest-first") {
        query.push(("order", "created".to_owned()));
    }
    Ok(query)
}

/// `[APP]`
pub(crate) fn app() -> Arg {
    let help = "The application, unless the context has one";
    Arg::new("app").value_name("APP").help(help).add(clap_complete::ArgValueCompleter::new(complete::apps))
}

/// How many items to read.
pub(crate) fn wanted(session: &Session, matches: &ArgMatches) -> Option<usize> {
    match matches.get_one::<usize>("limit") {
        Some(0) => None,
        Some(limit) => Some(*limit),
        None => session.output.is_terminal.then_some(SCREEN),
    }
}

/// Documents as rows.
pub(crate) fn table(columns: &[Column], items: &[Value]) -> Table {
    let titles: Vec<_> = columns.iter().map(|column| column.title).collect();
    let mut table = Table::new(&titles);
    for item in items {
        let cell = |column: &Column| {
            let value = item.pointer(column.pointer).unwrap_or(&Value::Null);
            match column.kind {
                Shown::Value => Cell::of(value),
                Shown::Time => Cell::time(value),
                Shown::State => Cell::state(value),
            }
        };
        table.row(columns.iter().map(cell).collect());
    }
    table
}
