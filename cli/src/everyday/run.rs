//! `elita run`: runs an action, and follows its job.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use hyper::header::HeaderName;
use serde_json::Value;
use url::form_urlencoded;

use crate::complete;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::{Following, Lines, Patience, describe};
use crate::http::Request;
use crate::session::{Session, optional_parameters, segment, short, text};

/// Run an action and follow its job
///
/// The exit code is the job's outcome: 0 if it succeeded, 1 if it failed, 3 if it was cancelled. The log goes to standard
/// error, the result to standard output. Ctrl-C stops following, not the job.
#[derive(Args, Debug)]
#[command(
    override_usage = "elita run [OPTIONS] [APP] ACTION [NAME=VALUE]…",
    after_help = "Examples:
  elita run shop DeleteWidgets testing=true count=10
  elita run shop Import list=@widgets.csv --timeout 15m --cancel-on-timeout
  id=$(elita run shop DeleteWidgets testing=true count=10 --detach)"
)]
pub(crate) struct RunAction {
    /// The application, unless the context has one; the action; and its parameters. `NAME=@FILE` is a file's text,
    /// `NAME=@-` standard input
    #[arg(required = true, value_name = "[APP] ACTION [NAME=VALUE]…", num_args = 1..,
          add = clap_complete::ArgValueCompleter::new(complete::run_words))]
    words: Vec<String>,
    /// Parameters from a JSON object; - is standard input
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Print the job's id, and do not follow it
    #[arg(short, long)]
    detach: bool,
    /// The same key answers with the same job, and runs nothing twice
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    patience: Patience,
}

impl RunAction {
    pub(crate) async fn run(self, session: &Session) -> Result<Code> {
        let is_parameter = |word: &String| word.contains('=');
        let names = self.words.iter().take_while(|word| !is_parameter(word)).count();
        let (names, given) = self.words.split_at(names);
        if let [_, _, stray, ..] = names {
            return Err(Failure::usage(format!("`{stray}` is not a parameter")).hint(format!("{stray}=VALUE")));
        }
        let (app, action) = session.app_and_name(names, "action")?;
        let mut parameters = match &self.params {
            Some(file) => parameters_in(file)?,
            None => Vec::new(),
        };
        for word in given {
            parameters.push(parameter(word)?);
        }
        let path = format!("/app/{}/actions/{}", segment(&app), segment(action));
        if session.output.may_ask {
            ask_for_missing(session, &path, &mut parameters).await?;
        }
        let started = start(session, &path, &parameters, self.key.as_deref(), None).await;
        let job = match started {
            Err(failure) if failure.problem_code() == "missing-parameters" => {
                return Err(explained(session, &path, &self.words, &parameters, failure).await);
            }
            started => started?,
        };
        follow_started(session, &job, &app, self.detach, &self.patience).await
    }
}

/// Posts an action; `rerun_of` is the job that it repeats.
pub(crate) async fn start(
    session: &Session,
    path: &str,
    parameters: &[(String, String)],
    key: Option<&str>,
    rerun_of: Option<&str>,
) -> Result<Value> {
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let mut request = Request::post(path).body("application/x-www-form-urlencoded", form).keyed(key);
    if let Some(job) = rerun_of {
        request = request.header(HeaderName::from_static("rerun-of"), job);
    }
    session.client.send(request).await?.json()
}

/// Shows the job that was started, to its end unless it is left alone.
pub(crate) async fn follow_started(
    session: &Session,
    job: &Value,
    app: &str,
    detach: bool,
    patience: &Patience,
) -> Result<Code> {
    let (output, id) = (&session.output, text(job, "job_id"));
    if detach {
        if output.json {
            output.document(job)
        } else {
            output.line(id)
        }
        return Ok(Code::Done);
    }
    if output.quiet {
        output.line(id);
    }
    if !output.json {
        output.note(format!("job {}  {} of {app}", short(id), text(job, "name")));
    }
    let lines = Lines { are_silent: output.quiet && !output.json, ..Lines::default() };
    let following = Following { session, id: id.to_owned(), after: 0, lines };
    let (job, code) = following.until_the_end(patience).await?;
    describe(output, &job, None);
    Ok(code)
}

/// `NAME=VALUE`, where the value may be a file's text.
pub(crate) fn parameter(word: &str) -> Result<(String, String)> {
    let (name, value) = word
        .split_once('=')
        .ok_or_else(|| Failure::usage(format!("`{word}` is not a parameter")).hint(format!("{word}=VALUE")))?;
    let value = match value.strip_prefix('@') {
        Some(file) => text_of(file)?,
        None => value.to_owned(),
    };
    Ok((name.to_owned(), value))
}

/// A file's text; `-` is standard input.
pub(crate) fn text_of(file: &str) -> Result<String> {
    let read = match file {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        }
        _ => std::fs::read_to_string(file),
    };
    read.map_err(|error| Failure::file("read", std::path::Path::new(file), &error))
}

fn parameters_in(file: &std::path::Path) -> Result<Vec<(String, String)>> {
    let text = text_of(&file.to_string_lossy())?;
    let not_object = || Failure::usage(format!("{} holds no JSON object with parameters", file.display()));
    let Ok(Value::Object(members)) = serde_json::from_str(&text) else { return Err(not_object()) };
    Ok(members
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })
        .collect())
}

async fn ask_for_missing(session: &Session, path: &str, given: &mut Vec<(String, String)>) -> Result<()> {
    let action = session.client.get(path).await?;
    for parameter in action["parameters"].as_array().into_iter().flatten() {
        let name = text(parameter, "name");
        if given.iter().all(|(given, _)| given != name) {
            let prompt = format!("{name} ({}, {})", text(parameter, "type"), text(parameter, "description"));
            given.push((name.to_owned(), session.output.ask(&prompt, &format!("{name}=VALUE"))?));
        }
    }
    Ok(())
}

/// The refusal, with what the missing parameters are, and a line that has them.
async fn explained(
    session: &Session,
    path: &str,
    words: &[String],
    given: &[(String, String)],
    failure: Failure,
) -> Failure {
    let Ok(action) = session.client.get(path).await else { return failure };
    let parameters = action["parameters"].as_array().cloned().unwrap_or_default();
    let missing: Vec<_> =
        parameters.iter().filter(|declared| given.iter().all(|(name, _)| declared["name"] != **name)).collect();
    let mut details: Vec<_> = missing
        .iter()
        .map(|missing| {
            format!("{}  {}  {}", text(missing, "name"), text(missing, "type"), text(missing, "description"))
        })
        .collect();
    // Perhaps one of these is a slip of the pen.
    let declared: Vec<_> = parameters.iter().cloned().chain(optional_parameters(&action)).collect();
    let undeclared = given.iter().filter(|(name, _)| declared.iter().all(|declared| declared["name"] != **name));
    details.extend(undeclared.map(|(name, _)| format!("`{name}` is given, but the action does not declare it")));
    let more: Vec<_> = missing.iter().map(|missing| format!("{}=…", text(missing, "name"))).collect();
    let hint = format!("elita run {} {}", words.join(" "), more.join(" "));
    Failure { details, hint: Some(hint), ..failure }
}
