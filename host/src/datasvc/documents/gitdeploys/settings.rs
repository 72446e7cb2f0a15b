//! Where a gitdeploy goes, how it is committed and pulled, and what runs around a pull.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{AdditionalProperties, AnyOf};
use utoipa::openapi::{Array, Object, RefOr, Schema, Type};

use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::GitRepoName;
use crate::datasvc::ground::sql::json_column;

/// The longest path on a server, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// The longest name of a branch, in bytes: git keeps it as the name of a file, with `.lock` behind it for a while.
const MAX_BRANCH_BYTES: usize = 250;
/// How many lines a `.gitignore` may have here.
const MAX_LINES: usize = 1000;
/// The longest line of a `.gitignore`, in bytes.
const MAX_LINE_BYTES: usize = 1024;
/// How many commands may run before a pull, and how many after it.
const MAX_COMMANDS: usize = 50;
/// How many arguments a command may have, with its program.
const MAX_ARGUMENTS: usize = 200;
/// The longest argument, in bytes.
const MAX_ARGUMENT_BYTES: usize = 8 * 1024;
/// The longest names of states of Salt, in bytes.
const MAX_SLS_BYTES: usize = 512;
/// What names of states of Salt consist of. Nothing of it is read as something else by Salt.
const SLS: &str = "^[A-Za-z_][A-Za-z0-9_.,/-]*$";
/// The longest options, and the longest actions, as JSON in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Where a gitdeploy is on its servers, and where it is pulled from.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GitdeployLocation {
    /// The directory on each server: an absolute path of Unix or of Windows, `/srv/shop` or `C:\shop`.
    #[schema(format = "absolute-path", max_length = 1024, example = "/srv/shop")]
    pub path: String,
    /// The git repository of the application that it is committed to and pulled from.
    pub gitrepo: GitRepoName,
    /// The branch that it is committed to; `master` unless it is given.
    #[serde(default = "default_branch")]
    #[schema(format = "git-branch", max_length = 250, example = "master")]
    pub default_branch: String,
}

fn default_branch() -> String {
    "master".into()
}

/// How a gitdeploy is committed and pulled.
#[derive(Clone, Debug, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GitdeployOptions {
    /// Which version wins when a server's own commits conflict with the pull.
    pub favor: Favor,
    /// Whether lines that differ in white space only are taken for the same by a pull. The texts `true` and `false` are
    /// taken, too.
    #[serde(rename = "ignore-whitespace", deserialize_with = "flag")]
    pub ignore_whitespace: bool,
    /// Lines for the `.gitignore` of what is committed, at most 1000 of 1 KiB.
    #[schema(max_items = 1000, value_type = Vec<Line>)]
    pub gitignore: Vec<String>,
    /// Whether git converts line endings on servers, as with its setting `core.autocrlf`: text files have CRLF there, as
    /// is usual on Windows. Otherwise the build's bytes arrive as they are. It cannot change while the gitdeploy is
    /// initialized on servers. The texts `true` and `false` are taken, too.
    #[serde(deserialize_with = "flag")]
    pub autocrlf: bool,
}

impl Favor {
    /// As in the documents, and as git calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Theirs => "theirs",
        }
    }
}

/// A side of a merge.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Favor {
    /// The server's.
    Ours,
    /// That of what is pulled.
    #[default]
    Theirs,
}

/// What runs on each server around a pull, in this order.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GitdeployActions {
    /// Before it.
    #[schema(max_items = 50, value_type = Vec<AnyCommand>, example = json!([["systemctl", "stop", "shop"]]))]
    pub prepull: Vec<PullCommand>,
    /// After it.
    #[schema(max_items = 50, value_type = Vec<AnyCommand>, example = json!([["systemctl", "start", "shop"]]))]
    pub postpull: Vec<PullCommand>,
}

/// What runs before or after a pull.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a command is a list (its program and its arguments), `{script, shell}`, or `{sls}`")]
pub enum PullCommand {
    /// A program and its arguments.
    Arguments(Vec<String>),
    /// A script.
    Script(PullScript),
    /// States of Salt, on servers that are reached by Salt.
    States(PullStates),
}

/// A script that runs before or after a pull.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullScript {
    /// Its text.
    pub script: String,
    /// What reads it; `sh` unless it is given.
    #[serde(default)]
    pub shell: PullShell,
}

/// What reads a script.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullShell {
    /// `/bin/sh`.
    #[default]
    Sh,
    /// PowerShell; where the server does not run Windows, `pwsh`.
    Powershell,
}

/// States of Salt that are applied before or after a pull.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PullStates {
    /// Their SLS file on the Salt master, such as `shop.stopped`; several have commas between them.
    pub sls: String,
}

impl PullCommand {
    /// The program and its arguments that come to the same on the server itself.
    pub fn words(self) -> Vec<String> {
        let words = |words: [&str; 2], last| words.map(str::to_owned).into_iter().chain([last]).collect();
        match self {
            Self::Arguments(arguments) => arguments,
            Self::Script(PullScript { script, shell: PullShell::Sh }) => words(["/bin/sh", "-c"], script),
            Self::Script(PullScript { script, shell: PullShell::Powershell }) => {
                words(["powershell", "-Command"], script)
            }
            Self::States(PullStates { sls }) => words(["salt-call", "state.apply"], sls),
        }
    }
}

/// A line of a file: without control characters other than tabs.
#[derive(utoipa::ToSchema)]
#[schema(value_type = String, max_length = 1024, pattern = "^[^\\u0000-\\u0008\\u000a-\\u001f\\u007f-\\u009f]*$")]
#[expect(dead_code, reason = "it describes a line; what is read is a text")]
struct Line(String);

/// A program, which has a name, and its arguments: 1 to 200, each of at most 8 KiB; a script; or states of Salt.
struct AnyCommand;

impl utoipa::PartialSchema for AnyCommand {
    fn schema() -> RefOr<Schema> {
        let text = || Object::builder().schema_type(Type::String);
        let argument = || text().max_length(Some(MAX_ARGUMENT_BYTES));
        let program = argument().pattern(Some("\\S")).build();
        let list = Array::builder().prefix_items([program]).items(argument()).min_items(Some(1));
        let script = Object::builder()
            .property("script", text().pattern(Some("\\S")).max_length(Some(MAX_BYTES)))
            .property("shell", text().enum_values(Some(["sh", "powershell"])).default(Some("sh".into())))
            .required("script")
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
        let states = Object::builder()
            .property("sls", text().pattern(Some(SLS)).max_length(Some(MAX_SLS_BYTES)))
            .required("sls")
            .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
        let any = AnyOf::builder().item(list.max_items(Some(MAX_ARGUMENTS)));
        any.item(script).item(states).into()
    }
}

impl utoipa::ToSchema for AnyCommand {}

json_column!(GitdeployOptions);
json_column!(GitdeployActions);

impl GitdeployLocation {
    /// # Errors
    /// [`Error::Invalid`] with the path of the first thing that is wrong.
    pub(super) fn check(&self) -> Result<()> {
        // Whether there is such a repository, the database knows.
        let Self { path, gitrepo: _, default_branch } = self;
        check_path(path).map_err(|reason| Error::invalid("location/path", reason))?;
        check_branch(default_branch).map_err(|reason| Error::invalid("location/default_branch", reason))
    }
}

impl GitdeployOptions {
    /// # Errors
    /// [`Error::Invalid`] with the path of the first thing that is wrong.
    pub(super) fn check(&self) -> Result<()> {
        let Self { favor: _, ignore_whitespace: _, gitignore, autocrlf: _ } = self;
        if gitignore.len() > MAX_LINES {
            return Err(Error::invalid("options/gitignore", format!("at most {MAX_LINES} lines are taken")));
        }
        for (place, line) in gitignore.iter().enumerate() {
            let at = |reason| Error::invalid(format!("options/gitignore/{place}"), reason);
            check_length(line, MAX_LINE_BYTES).map_err(at)?;
            if line.chars().any(|c| c.is_control() && c != '\t') {
                return Err(at("a line has no control characters, and no line breaks".into()));
            }
        }
        check_size("options", self)
    }
}

impl GitdeployActions {
    /// # Errors
    /// [`Error::Invalid`] with the path of the first thing that is wrong.
    pub(super) fn check(&self) -> Result<()> {
        let Self { prepull, postpull } = self;
        for (list, commands) in [("prepull", prepull), ("postpull", postpull)] {
            if commands.len() > MAX_COMMANDS {
                return Err(Error::invalid(
                    format!("actions/{list}"),
                    format!("at most {MAX_COMMANDS} commands are taken"),
                ));
            }
            for (place, command) in commands.iter().enumerate() {
                check_command(&format!("actions/{list}/{place}"), command)?;
            }
        }
        check_size("actions", self)
    }
}

fn check_command(at: &str, command: &PullCommand) -> Result<()> {
    let command = match command {
        PullCommand::Arguments(arguments) => arguments,
        PullCommand::Script(PullScript { script, shell: _ }) => {
            let wrong = |rule: &str| Err(Error::invalid(format!("{at}/script"), rule));
            return match script {
                empty if empty.trim().is_empty() => wrong("a script has a text"),
                script if script.contains('\0') => wrong("no program can be given a NUL"),
                _ => Ok(()),
            };
        }
        PullCommand::States(PullStates { sls }) => {
            let at = |reason| Error::invalid(format!("{at}/sls"), reason);
            check_length(sls, MAX_SLS_BYTES).map_err(at)?;
            let is_name = sls.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && sls.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.,/-".contains(&byte));
            return if is_name {
                Ok(())
            } else {
                Err(at("states of Salt have letters, digits, and `_.,/-` after the first letter".into()))
            };
        }
    };
    match command.first() {
        None => return Err(Error::invalid(at.to_owned(), "a command has at least its program")),
        Some(program) if program.trim().is_empty() => {
            return Err(Error::invalid(format!("{at}/0"), "the program's name is empty"));
        }
        Some(_) if command.len() > MAX_ARGUMENTS => {
            return Err(Error::invalid(at.to_owned(), format!("a command has at most {MAX_ARGUMENTS} arguments")));
        }
        Some(_) => {}
    }
    for (place, argument) in command.iter().enumerate() {
        let at = |reason| Error::invalid(format!("{at}/{place}"), reason);
        check_length(argument, MAX_ARGUMENT_BYTES).map_err(at)?;
        if argument.contains('\0') {
            return Err(at("no program can be given a NUL".into()));
        }
    }
    Ok(())
}

/// Refuses what is not one directory, the same for every program, or is too much to be removed again.
fn check_path(path: &str) -> Result<(), String> {
    check_length(path, MAX_PATH_BYTES)?;
    if path.chars().any(char::is_control) {
        return Err("a path has no control characters".into());
    }
    let segments: Vec<_> = if let Some(below) = path.strip_prefix('/') {
        if below.contains('\\') {
            return Err("a path of Unix has no `\\`".into());
        }
        below.split('/').collect()
    } else if let Some(below) = below_drive(path) {
        let segments: Vec<_> = below.split(['\\', '/']).collect();
        if below.contains(['<', '>', ':', '"', '|', '?', '*']) {
            return Err("a Windows path must not have any of `< > : \" | ? *` after the drive".into());
        }
        // Windows drops them, so that `.. ` would be `..`.
        if segments.iter().any(|segment| segment.ends_with([' ', '.'])) {
            return Err("a name in a path of Windows ends neither with a space nor with a `.`".into());
        }
        segments
    } else {
        return Err("it is an absolute path: `/srv/shop`, or `C:\\shop` on Windows".into());
    };
    match &*segments {
        [""] => Err("it is a directory below the root, not the root itself".into()),
        names if names.iter().any(|name| matches!(*name, "" | "." | "..")) => {
            Err("it names each directory once: without `.`, `..`, a doubled separator or one at the end".into())
        }
        _ => Ok(()),
    }
}

/// What follows `C:\`.
fn below_drive(path: &str) -> Option<&str> {
    path.strip_prefix(|c: char| c.is_ascii_alphabetic())?.strip_prefix(':')?.strip_prefix(['\\', '/'])
}

/// The rules of `git check-ref-format --branch`, and nothing that git would take for something else than a branch.
fn check_branch(branch: &str) -> Result<(), String> {
    check_length(branch, MAX_BRANCH_BYTES)?;
    let refused = branch.chars().any(|c| c.is_ascii_control() || " ~^:?*[\\".contains(c))
        || branch.split('/').any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock"))
        || branch.contains("..")
        || branch.contains("@{")
        || branch.ends_with('.')
        || branch.starts_with('-')
        || matches!(branch, "@" | "HEAD");
    if refused {
        let rule = "git takes no branch of this name; letters, digits, `-`, `_`, and `/` and `.` within it are safe";
        return Err(rule.into());
    }
    Ok(())
}

fn check_length(text: &str, max_bytes: usize) -> Result<(), String> {
    if text.len() > max_bytes {
        return Err(format!("it is {} bytes long, and at most {max_bytes} are taken", text.len()));
    }
    Ok(())
}

fn check_size(field: &'static str, part: &impl Serialize) -> Result<()> {
    let length = serde_json::to_string(part).map_err(Error::internal)?.len();
    if length > MAX_BYTES {
        let problem = format!("they are {length} bytes long, and at most {MAX_BYTES} are taken");
        return Err(Error::invalid(field, problem));
    }
    Ok(())
}

/// A flag, which may be a text, as in the reference.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(FlagVisitor)
}

struct FlagVisitor;

impl Visitor<'_> for FlagVisitor {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<bool, E> {
        Ok(flag)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests;
