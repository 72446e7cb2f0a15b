//! Tokens for logging in.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use super::{Collection, Column, Noun, Verb};
use crate::duration::duration;
use crate::everyday::run::text_of;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::http::Request;
use crate::session::{Session, segment, text};

pub(crate) const NOUN: Noun = Noun {
    name: "token",
    about: "Tokens for logging in",
    collection: Collection::Installation("/global/tokens"),
    key: "token_id",
    columns: &[
        Column::new("ID", "/token_id"),
        Column::new("NAME", "/name"),
        Column::new("USER", "/username"),
        Column::time("LAST USED", "/last_used_at"),
        Column::time("CREATED", "/created_at"),
        Column::time("ENDS", "/expires_at"),
    ],
    members: &[],
    verbs: &[Verb::List, Verb::Show],
    example: "",
};

pub(crate) fn command() -> Command {
    let ids = Arg::new("ids").required(true).value_name("ID").num_args(1..).help("The token's id, or `current`");
    let scope = Arg::new("scope").long("scope").value_name("FILE").value_parser(value_parser!(PathBuf));
    let lasts = Arg::new("expires-in").long("expires-in").value_name("TIME").value_parser(duration);
    let create = Command::new("create")
        .about("Create another token of yours, with at most the rights of this one; it is printed once")
        .arg(Arg::new("name").value_name("NAME").required(true).help("What it is for"))
        .arg(scope.help("A file with what may be done with it, as JSON; - is standard input"))
        .arg(lasts.help("How long it lasts, at most as long as the one in use"));
    let lasts = Arg::new("expires-in").long("expires-in").value_name("TIME").value_parser(duration);
    let overlap = Arg::new("overlap").long("overlap").value_name("TIME").value_parser(duration);
    let rotate = Command::new("rotate")
        .about("Put a new token in the place of the one in use; it is printed once")
        .arg(lasts.help("How long it lasts; as long as the one before, unless it is given"))
        .arg(overlap.help("How long the one before is still valid for [default: 10m]"));
    NOUN.command()
        .subcommand(create)
        .subcommand(rotate)
        .subcommand(Command::new("revoke").about("Revoke tokens: they are no longer valid").arg(ids))
}

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("create", matches)) => create(session, matches).await,
        Some(("rotate", matches)) => rotate(session, matches).await,
        Some(("revoke", matches)) => revoke(session, matches).await,
        _ => NOUN.run(session, matches).await,
    }
}

async fn create(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let mut body = json!({ "name": matches.get_one::<String>("name") });
    if let Some(file) = matches.get_one::<PathBuf>("scope") {
        body["scope"] = scope_in(file)?;
    }
    if let Some(lasts) = matches.get_one::<std::time::Duration>("expires-in") {
        body["expires_in"] = json!(lasts.as_secs());
    }
    let token = session.client.send(Request::post("/global/tokens").json(&body)).await?.json()?;
    show_once(session, &token);
    Ok(Code::Done)
}

async fn rotate(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let mut path = "/global/tokens/current?rotate=true".to_owned();
    for (name, parameter) in [("expires-in", "expires_in"), ("overlap", "overlap")] {
        if let Some(time) = matches.get_one::<std::time::Duration>(name) {
            path += &format!("&{parameter}={}", time.as_secs());
        }
    }
    // Not repeated: each time there is another one.
    let token = session.client.send(Request::post(path)).await?.json()?;
    show_once(session, &token);
    Ok(Code::Done)
}

/// Shows a new token, which nobody shows again.
fn show_once(session: &Session, token: &Value) {
    match session.output.json {
        true => session.output.document(token),
        false => {
            let (id, end) = (text(token, "token_id"), text(token, "expires_at"));
            session.output.note(format!("token {id} is valid until {end}"));
            session.output.line(text(token, "token"));
        }
    }
}

/// What a token may do at most, from a file.
pub(crate) fn scope_in(file: &std::path::Path) -> Result<Value> {
    let text = text_of(&file.to_string_lossy())?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("{} holds no permissions: {error}", file.display()))
            .hint(r#"{"apps": {"shop": "read"}, "actions": {}, "servers": []}"#)
    })
}

async fn revoke(session: &Session, matches: &ArgMatches) -> Result<Code> {
    for id in matches.get_many::<String>("ids").into_iter().flatten() {
        let request = Request::new(hyper::Method::DELETE, format!("/global/tokens/{}", segment(id)));
        session.client.send(request).await?;
        session.output.note(format!("token {id} is revoked"));
    }
    Ok(Code::Done)
}
