//! Users, and what they may do.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};

use super::{ALL, Collection, Column, Member, Noun, change, document};
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::http::Request;
use crate::session::{Session, segment, text};

pub(crate) const NOUN: Noun = Noun {
    name: "user",
    about: "Users, and what they may do",
    collection: Collection::Installation("/global/users"),
    key: "username",
    columns: &[
        Column::new("NAME", "/username"),
        Column::new("APPS", "/permissions/apps"),
        Column::new("ACTIONS", "/permissions/actions"),
        Column::new("SERVERS", "/permissions/servers"),
        Column::time("UPDATED", "/updated_at"),
    ],
    members: &[Member::json("permissions", "/permissions", "What the user may do")],
    verbs: ALL,
    example: r#"user create ada --permissions '{"apps": {"shop": "read/write"}, "actions": {}, "servers": []}'"#,
};

pub(crate) fn command() -> Command {
    let name = || Arg::new("user").value_name("USER").help("The user; without one, yourself");
    let stdin = || {
        let help = "Read the password from standard input, instead of asking for it";
        Arg::new("password-stdin").long("password-stdin").action(ArgAction::SetTrue).help(help)
    };
    NOUN.command()
        .mut_subcommand("create", |create| create.arg(stdin()))
        .subcommand(Command::new("passwd").about("Change a password").arg(name()).arg(stdin()))
        .subcommand(Command::new("permissions").about("Show what a user may do in effect").arg(name()))
}

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("create", matches)) => create(session, matches).await,
        Some(("passwd", matches)) => passwd(session, matches).await,
        Some(("permissions", matches)) => {
            let user = matches.get_one::<String>("user").map_or("current", String::as_str);
            let permissions = session.client.get(format!("/global/users/{}/permissions", segment(user))).await?;
            document::print(&session.output, "apps", &permissions);
            Ok(Code::Done)
        }
        _ => NOUN.run(session, matches).await,
    }
}

async fn create(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let name = matches.get_one::<String>("names").map_or("", String::as_str);
    let mut body = change::given(&NOUN, matches)?;
    body.insert("username".into(), json!(name));
    if !body.contains_key("password") {
        body.insert("password".into(), json!(password(session, matches)?));
    }
    let created = change::create_at(session, "/global/users", name, &Value::Object(body)).await?;
    match session.output.json {
        true => session.output.document(&created),
        false => session.output.note(format!("user `{name}` is created")),
    }
    Ok(Code::Done)
}

async fn passwd(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let user = match matches.get_one::<String>("user") {
        Some(user) => user.clone(),
        None => session.user().await?,
    };
    let body = json!({ "password": password(session, matches)? });
    let patch = Request::new(hyper::Method::PATCH, format!("/global/users/{}", segment(&user)));
    let changed = session.client.send(patch.body("application/merge-patch+json", body.to_string())).await?.json()?;
    session.output.note(format!("the password of {} is changed", text(&changed, "username")));
    Ok(Code::Done)
}

/// A new password: asked for twice, or from standard input.
fn password(session: &Session, matches: &ArgMatches) -> Result<String> {
    if matches.get_flag("password-stdin") {
        return Ok(crate::everyday::run::text_of("-")?.trim_end_matches(['\r', '\n']).to_owned());
    }
    let output = &session.output;
    let password = output.ask_secret("New password", "--password-stdin")?;
    match output.ask_secret("Once more", "--password-stdin")? == password {
        true => Ok(password),
        false => Err(Failure::usage("these are two different passwords, and nothing was changed")),
    }
}
