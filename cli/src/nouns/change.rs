//! Creating and changing documents: members as flags, or a whole file.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use hyper::Method;
use hyper::header::IF_MATCH;
use serde_json::{Map, Value, json};

use super::document::{self, attributes, json_or_text};
use super::{Collection, Kind, Member, Noun};
use crate::everyday::run::text_of;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::http::Request;
use crate::session::{Session, segment, text};

const MERGE_PATCH: &str = "application/merge-patch+json";

pub(super) fn create_command(noun: &'static Noun) -> Command {
    let command = Command::new("create").about("Create one").after_help(format!("Example:\n  elita {}", noun.example));
    with_members(noun.names(command, 1), noun.members.iter())
}

pub(super) fn update_command(noun: &'static Noun) -> Command {
    let command = Command::new("update").about("Change one: only the given members");
    let unset = Arg::new("unset").long("unset").value_name("PATH").action(ArgAction::Append);
    let command = noun.names(command, 1).arg(unset.help("Remove a member, such as attribute.old"));
    with_members(command, noun.members.iter().filter(|member| member.changes))
}

pub(super) fn edit_command(noun: &'static Noun) -> Command {
    noun.names(Command::new("edit").about("Open one in $EDITOR, and send what was changed"), 1)
}

fn with_members(command: Command, members: impl Iterator<Item = &'static Member>) -> Command {
    let command = members.fold(command, |command, member| {
        let argument = Arg::new(member.flag).long(member.flag).help(member.help);
        command.arg(match member.kind {
            Kind::Text => argument.value_name("TEXT"),
            Kind::Truth => argument
                .value_name("BOOL")
                .value_parser(["true", "false"])
                .num_args(0..=1)
                .default_missing_value("true"),
            Kind::Json => argument.value_name("JSON"),
            Kind::SecretFile => argument.value_name("FILE"),
        })
    });
    let attribute = Arg::new("attribute").long("attribute").value_name("NAME=VALUE").action(ArgAction::Append);
    let file = Arg::new("file").long("file").value_name("FILE").value_parser(value_parser!(PathBuf));
    command
        .arg(attribute.help("What to keep with it; a value that is JSON is kept as such"))
        .arg(file.help("The members from a file, JSON or TOML; - is standard input"))
}

/// Creates a document.
pub(super) async fn create(noun: &Noun, session: &Session, matches: &ArgMatches) -> Result<Code> {
    let words: Vec<String> = matches.get_many("names").into_iter().flatten().cloned().collect();
    let (container, name) = match noun.collection {
        Collection::Installation(container) => (container.to_owned(), words[0].clone()),
        Collection::Application(container) => {
            let (app, name) = session.app_and_name(&words, noun.name)?;
            (format!("/app/{}/{container}", segment(&app)), name.to_owned())
        }
    };
    let mut body = given(noun, matches)?;
    body.insert(noun.key.to_owned(), json!(name));
    let body = Value::Object(body);
    let created =
        create_at(session, &container, &name, &body).await.map_err(|failure| match failure.problem_code() {
            "already-exists" => {
                failure.hint(format!("elita {} update {}, or another name", noun.name, words.join(" ")))
            }
            _ => explained(noun, failure),
        })?;
    done(noun, session, &created, "created");
    Ok(Code::Done)
}

/// Creates what the body says, in a container.
pub(super) async fn create_at(session: &Session, container: &str, name: &str, body: &Value) -> Result<Value> {
    match session.client.send(Request::post(container).json(body).repeatable()).await {
        // The reply to the try that created it was lost: what is there is it, if it is what was asked for.
        Err(failure) if failure.status() == Some(409) && failure.may_have_arrived => {
            let found = session.client.get(format!("{container}/{}", segment(name))).await?;
            if has_all(&found, body) { Ok(found) } else { Err(failure) }
        }
        created => created?.json(),
    }
}

/// Whether a document has all that was asked for. What it does not show at all, such as secrets, is taken to be there.
fn has_all(found: &Value, asked: &Value) -> bool {
    match (found, asked) {
        (Value::Object(found), Value::Object(asked)) => {
            asked.iter().all(|(name, asked)| found.get(name).is_none_or(|found| has_all(found, asked)))
        }
        _ => found == asked,
    }
}

/// Changes a document: as it was read, or not at all.
pub(super) async fn update(noun: &Noun, session: &Session, matches: &ArgMatches) -> Result<Code> {
    let path = noun.path(session, matches)?;
    let reply = session.client.send(Request::get(&*path)).await?;
    let mut patch = given(noun, matches)?;
    for path in matches.get_many::<String>("unset").into_iter().flatten() {
        let path = path.replacen("attribute.", "attributes.", 1);
        set(&mut patch, &format!("/{}", path.replace('.', "/")), Value::Null);
    }
    if patch.is_empty() {
        return Err(Failure::usage("no change was given").hint(format!("elita {} update --help", noun.name)));
    }
    let changed = send(session, &path, reply.etag(), patch).await.map_err(|failure| explained(noun, failure))?;
    done(noun, session, &changed, "changed");
    Ok(Code::Done)
}

/// Has a document changed in an editor: as it was read, or not at all.
pub(super) async fn edit(noun: &Noun, session: &Session, matches: &ArgMatches) -> Result<Code> {
    let path = noun.path(session, matches)?;
    let reply = session.client.send(Request::get(&*path)).await?;
    let before = reply.json()?;
    let editing = Editing::open(session, &before)?;
    let changed = match editing.patch(&before) {
        Ok(patch) if patch.is_empty() => {
            session.output.note("nothing was changed");
            return Ok(Code::Done);
        }
        Ok(patch) => send(session, &path, reply.etag(), patch).await,
        Err(failure) => Err(failure),
    };
    match changed {
        Ok(changed) => done(noun, session, &changed, "changed"),
        Err(failure) => return Err(editing.kept(failure)),
    }
    Ok(Code::Done)
}

/// Sends a merge patch of the version that was read.
async fn send(session: &Session, path: &str, etag: Option<&str>, patch: Map<String, Value>) -> Result<Value> {
    let mut request = Request::new(Method::PATCH, path).body(MERGE_PATCH, Value::Object(patch.clone()).to_string());
    if let Some(etag) = etag {
        request = request.header(IF_MATCH, etag).repeatable();
    }
    match session.client.send(request).await {
        // The reply to the try that changed it was lost.
        Err(failure) if failure.status() == Some(412) && failure.may_have_arrived => {
            let found = session.client.get(path).await?;
            if has_all(&found, &Value::Object(patch)) { Ok(found) } else { Err(changed_by_another(failure)) }
        }
        Err(failure) if failure.status() == Some(412) => Err(changed_by_another(failure)),
        changed => changed?.json(),
    }
}

/// The flags by which the members are given that the server finds something wrong with.
fn explained(noun: &Noun, failure: Failure) -> Failure {
    let problem = failure.problem.as_deref().unwrap_or(&Value::Null);
    let pointers = problem["errors"].as_array().into_iter().flatten().filter_map(|error| error["pointer"].as_str());
    let member = |pointer| noun.members.iter().find(|member| member.pointer == pointer);
    let flags: Vec<_> =
        pointers.filter_map(member).map(|member| format!("--{}  {}", member.flag, member.help)).collect();
    if flags.is_empty() || failure.hint.is_some() { failure } else { failure.hint(flags.join("; ")) }
}

fn changed_by_another(failure: Failure) -> Failure {
    failure.hint("the same again: it has been changed by somebody else meanwhile")
}

/// Says what was done, and prints the document for programs.
fn done(noun: &Noun, session: &Session, document: &Value, what: &str) {
    let output = &session.output;
    let name = text(document, noun.key);
    match (output.json, output.quiet) {
        (true, _) => output.document(document),
        (false, true) => output.line(name),
        (false, false) => output.note(format!("{} `{name}` is {what}", noun.name)),
    }
}

/// The members that the command line gives.
pub(super) fn given(noun: &Noun, matches: &ArgMatches) -> Result<Map<String, Value>> {
    let mut members = match matches.get_one::<PathBuf>("file") {
        Some(file) => members_in(file)?,
        None => Map::new(),
    };
    for member in noun.members {
        let Ok(Some(values)) = matches.try_get_many::<String>(member.flag) else { continue };
        let values: Vec<&String> = values.collect();
        let Some(last) = values.last() else { continue };
        let value = match member.kind {
            Kind::Text => json!(last),
            Kind::Truth => json!(*last == "true"),
            Kind::Json => json_or_text(last),
            Kind::SecretFile => json!(secret_in(last)?),
        };
        set(&mut members, member.pointer, value);
    }
    let words: Vec<String> = matches.get_many("attribute").into_iter().flatten().cloned().collect();
    for (name, value) in attributes(&words)? {
        let all = members.entry("attributes").or_insert_with(|| json!({}));
        all[name] = value;
    }
    Ok(members)
}

/// A secret in a file: a line without its end, or a key with all of its lines.
fn secret_in(file: &str) -> Result<String> {
    let text = text_of(file)?;
    Ok(if text.lines().count() == 1 { text.trim_end().to_owned() } else { text })
}

/// Puts a value at a JSON pointer, and makes the objects around it.
fn set(members: &mut Map<String, Value>, pointer: &str, value: Value) {
    let mut path: Vec<&str> = pointer.split('/').skip(1).collect();
    let Some(last) = path.pop() else { return };
    let mut place = members;
    for name in path {
        let inner = place.entry(name).or_insert_with(|| json!({}));
        if !inner.is_object() {
            *inner = json!({});
        }
        let Value::Object(inner) = inner else { return };
        place = inner;
    }
    place.insert(last.to_owned(), value);
}

/// A document in a file, JSON or TOML.
fn members_in(file: &std::path::Path) -> Result<Map<String, Value>> {
    let text = text_of(&file.to_string_lossy())?;
    let json = serde_json::from_str::<Map<String, Value>>(&text);
    json.or_else(|_| toml::from_str::<Map<String, Value>>(&text)).map_err(|error| {
        Failure::usage(format!("{} is neither a JSON object nor TOML: {}", file.display(), error.message()))
    })
}

/// A document in a file that somebody edits.
struct Editing(tempfile::NamedTempFile);

impl Editing {
    /// Writes it, and waits for the editor to end.
    fn open(session: &Session, document: &Value) -> Result<Self> {
        if !session.output.may_ask {
            return Err(Failure::usage("an editor needs a terminal").hint("update, with the members as flags"));
        }
        let failed = |error: std::io::Error| Failure::usage(format!("the document cannot be edited: {error}"));
        let file = tempfile::Builder::new().prefix("elita-").suffix(".json").tempfile().map_err(failed)?;
        std::fs::write(file.path(), format!("{document:#}\n")).map_err(failed)?;
        let editor = std::env::var("EDITOR").ok().filter(|editor| !editor.is_empty()).unwrap_or_else(|| "vi".into());
        // As git does: the variable may hold arguments.
        let mut command = std::process::Command::new("sh");
        command.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(file.path());
        match command.status().map_err(failed)?.success() {
            true => Ok(Self(file)),
            false => Err(Failure::usage(format!("{editor} failed, and nothing was changed"))
                .hint("EDITOR names the editor; or update, with the members as flags")),
        }
    }

    /// What was changed, as a merge patch.
    fn patch(&self, before: &Value) -> Result<Map<String, Value>> {
        let text = text_of(&self.0.path().to_string_lossy())?;
        let after: Map<String, Value> = serde_json::from_str(&text).map_err(|error| {
            Failure::usage(format!("what was written is not a JSON object, and nothing was changed: {error}"))
        })?;
        Ok(document::difference(before, &Value::Object(after)))
    }

    /// Whatever went wrong, what was written is not lost.
    fn kept(self, failure: Failure) -> Failure {
        match self.0.keep() {
            Ok((_, path)) => failure.details([format!("what was written is kept in {}", path.display())]),
            Err(_) => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{has_all, set};
    use serde_json::{Map, json};

    #[test]
    fn members_go_where_their_pointer_says() {
        let mut members = Map::new();
        set(&mut members, "/location/path", json!("/srv"));
        set(&mut members, "/location/gitrepo", json!("site"));
        set(&mut members, "/package", json!("web"));
        assert_eq!(json!(members), json!({ "location": { "path": "/srv", "gitrepo": "site" }, "package": "web" }));
    }

    #[test]
    fn what_was_created_is_recognised_by_what_was_asked_for() {
        let found = json!({ "name": "web", "driver": "ssh", "connection": { "port": 22 } });
        assert!(has_all(&found, &json!({ "name": "web", "connection": { "port": 22 }, "password": "x" })));
        assert!(!has_all(&found, &json!({ "connection": { "port": 23 } })));
    }
}
