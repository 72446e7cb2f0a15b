//! Servers, and what is done on them: each answers as the test says.

use std::fmt::{self, Debug, Formatter};

use serde_json::{Map, Value, json};

use super::{Error, Host, ask, key};
use crate::bindings::elita::plugin::remote as wit;
use crate::remote::Outcome as Came;

pub(crate) use wit::{
    Autocrlf, BuildPackage, Content, Favor, Options, Os, Outcome, PullOptions, Report, Shell, System,
};

/// A function of [`remote`](crate::remote) that was called.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Called {
    /// Its name in the interface, such as `run`, `run_script` or `delete_directory`.
    pub function: String,
    /// The servers.
    pub servers: Vec<String>,
    /// The other arguments by their names in the interface, without those that were not given: the `command` of `run`, a
    /// `path`, and of the options such as `directory` and `stdin`. Bytes are a text.
    pub arguments: Value,
}

impl Called {
    /// The words of a command, with spaces between them; a script as it is. Empty, if it is neither.
    pub fn command(&self) -> String {
        let words = self.arguments["command"].as_array().map(Vec::as_slice).unwrap_or_default();
        let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
        self.arguments["script"].as_str().map_or_else(|| words.join(" "), ToOwned::to_owned)
    }
}

/// What comes of it on a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    outcome: Came,
    exit_code: Option<i32>,
    stdout: String,
    stderr: String,
    message: Option<String>,
}

impl Answer {
    /// It ended with exit code 0.
    pub fn ok() -> Self {
        Self::exit(0)
    }

    /// It ended with this exit code.
    pub fn exit(code: i32) -> Self {
        let outcome = if code == 0 { Came::Ok } else { Came::Failed };
        Self { outcome, exit_code: Some(code), stdout: String::new(), stderr: String::new(), message: None }
    }

    /// It was not begun, for this reason: the server could not be reached.
    pub fn no_response(why: impl Into<String>) -> Self {
        Self { outcome: Came::NoResponse, exit_code: None, message: Some(why.into()), ..Self::ok() }
    }

    /// It began, and nobody can say what became of it.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { outcome: Came::Unknown, ..Self::no_response(why) }
    }

    /// With this output. For `ping` and `operating_systems` it is the name of the system; `Linux` if it is not given.
    #[must_use]
    pub fn stdout(mut self, text: impl Into<String>) -> Self {
        self.stdout = text.into();
        self
    }

    /// With this output of errors.
    #[must_use]
    pub fn stderr(mut self, text: impl Into<String>) -> Self {
        self.stderr = text.into();
        self
    }

    fn report(self, server: &str) -> Report {
        let Self { outcome, exit_code, stdout, stderr, message } = self;
        let outcome = match outcome {
            Came::Ok => Outcome::Ok,
            Came::Failed => Outcome::Failed,
            Came::NoResponse => Outcome::NoResponse,
            Came::Unknown => Outcome::Unknown,
        };
        Report {
            server: server.into(),
            outcome,
            exit_code,
            signal: None,
            timed_out: false,
            stdout,
            stderr,
            truncated: false,
            message,
            duration: exit_code.map(|_| 0.0),
        }
    }
}

/// How a server answers.
pub(super) struct Server(Box<dyn Fn(&Called) -> Answer + Send + Sync>);

impl Debug for Server {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("Server")
    }
}

impl Host {
    /// With a server that answers like this to whatever is done there: `|_| Answer::ok()` is one where all goes well.
    #[must_use]
    pub fn server(
        mut self,
        name: impl Into<String>,
        answers: impl Fn(&Called) -> Answer + Send + Sync + 'static,
    ) -> Self {
        self.servers.insert(name.into(), Server(Box::new(answers)));
        self
    }

    /// What was done on servers, in order.
    pub fn called(&self) -> &[Called] {
        &self.called
    }

    fn on_servers(&mut self, function: &str, servers: &[String], arguments: Value) -> Result<Vec<Report>, Error> {
        if self.is_cancelled {
            return Err(Error::Conflict("the job was asked to stop".into()));
        }
        for (index, server) in servers.iter().enumerate() {
            if !self.servers.contains_key(server) {
                return Err(Error::NotFound(format!("server `{server}` does not exist")));
            }
            if servers[..index].contains(server) {
                return Err(Error::Invalid(format!("server `{server}` is given twice")));
            }
        }
        if servers.is_empty() {
            return Err(Error::Invalid("no server is given".into()));
        }
        let called = Called { function: function.into(), servers: servers.to_vec(), arguments };
        let reports = servers.iter().map(|server| (self.servers[server].0)(&called).report(server)).collect();
        self.called.push(called);
        Ok(reports)
    }
}

fn call(function: &str, servers: &[String], arguments: Value) -> Result<Vec<Report>, Error> {
    ask(&format!("remote::{function}"), |host| host.on_servers(function, servers, given(arguments)))
}

/// The same at a path of the server.
fn call_at(function: &str, servers: &[String], path: &str, mut arguments: Value) -> Result<Vec<Report>, Error> {
    let drive = path.get(1..3).is_some_and(|after| matches!(after, ":\\" | ":/"));
    if !(path.starts_with('/') || path.starts_with("~/") || drive) || path.split(['/', '\\']).any(|part| part == "..") {
        let message = format!("path: `{path}` does not begin with `/` or `~/`, or has `..` in it");
        return Err(Error::Invalid(message));
    }
    arguments["path"] = path.into();
    call(function, servers, arguments)
}

/// Without the members that are null.
fn given(arguments: Value) -> Value {
    match arguments {
        Value::Object(members) => {
            members.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into()
        }
        other => other,
    }
}

pub(crate) fn ping(servers: &[String], timeout_seconds: Option<u32>) -> Result<Vec<Report>, Error> {
    let mut reports = call("ping", servers, json!({ "timeout_seconds": timeout_seconds }))?;
    for report in &mut reports {
        if report.outcome == Outcome::Ok && report.stdout.is_empty() {
            report.stdout = "Linux".into();
        }
    }
    Ok(reports)
}

pub(crate) fn operating_systems(servers: &[String]) -> Result<Vec<System>, Error> {
    let system = |report: Report| {
        let Report { server, outcome, stdout, message, .. } = report;
        if outcome != Outcome::Ok {
            return System { server, os: None, name: None, message };
        }
        let name = if stdout.is_empty() { "Linux".into() } else { stdout };
        let os = if name == "Windows" { Os::Windows } else { Os::Unix };
        System { server, os: Some(os), name: Some(name), message: None }
    };
    Ok(call("operating_systems", servers, json!({}))?.into_iter().map(system).collect())
}

pub(crate) fn run(servers: &[String], command: &[String], options: &Options) -> Result<Vec<Report>, Error> {
    call("run", servers, with_options(json!({ "command": command }), options))
}

pub(crate) fn run_script(
    servers: &[String],
    script: &str,
    shell: Shell,
    options: &Options,
) -> Result<Vec<Report>, Error> {
    let shell = match shell {
        Shell::Sh => "sh",
        Shell::Powershell => "powershell",
    };
    call("run_script", servers, with_options(json!({ "script": script, "shell": shell }), options))
}

fn with_options(mut arguments: Value, options: &Options) -> Value {
    let Options { directory, environment, stdin, timeout_seconds, output_bytes, secrets } = options;
    let environment: Map<_, _> = environment.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let some = |value: Value, is_empty: bool| if is_empty { Value::Null } else { value };
    arguments["directory"] = json!(directory);
    arguments["environment"] = some(json!(environment), environment.is_empty());
    arguments["stdin"] = some(text(stdin), stdin.is_empty());
    arguments["timeout_seconds"] = json!(timeout_seconds);
    arguments["output_bytes"] = json!(output_bytes);
    arguments["secrets"] = some(json!(secrets), secrets.is_empty());
    arguments
}

fn text(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).into()
}

pub(crate) fn create_directory(servers: &[String], path: &str) -> Result<Vec<Report>, Error> {
    call_at("create_directory", servers, path, json!({}))
}

pub(crate) fn delete_directory(servers: &[String], path: &str) -> Result<Vec<Report>, Error> {
    call_at("delete_directory", servers, path, json!({}))
}

pub(crate) fn delete_file(servers: &[String], path: &str) -> Result<Vec<Report>, Error> {
    call_at("delete_file", servers, path, json!({}))
}

pub(crate) fn touch(servers: &[String], path: &str) -> Result<Vec<Report>, Error> {
    call_at("touch", servers, path, json!({}))
}

pub(crate) fn append_to_file(servers: &[String], path: &str, bytes: &[u8]) -> Result<Vec<Report>, Error> {
    call_at("append_to_file", servers, path, json!({ "bytes": text(bytes) }))
}

pub(crate) fn push_file(
    servers: &[String],
    content: &Content,
    path: &str,
    mode: Option<u32>,
    timeout_seconds: Option<u32>,
) -> Result<Vec<Report>, Error> {
    let mut arguments = json!({ "mode": mode, "timeout_seconds": timeout_seconds });
    match content {
        Content::Bytes(bytes) => arguments["bytes"] = text(bytes),
        Content::BuildPackage(BuildPackage { application, build, package }) => {
            ask("remote::push_file", |host| {
                let held =
                    host.builds.get(&key(application, build)).is_some_and(|it| it.packages.contains_key(package));
                held.then_some(()).ok_or_else(|| Error::NotFound(format!("package `{package}` does not exist")))
            })?;
            arguments["package"] = json!({ "application": application, "build": build, "package": package });
        }
    }
    call_at("push_file", servers, path, arguments)
}

pub(crate) fn git_clone(servers: &[String], url: &str, path: &str, branch: Option<&str>) -> Result<Vec<Report>, Error> {
    call_at("git_clone", servers, path, json!({ "url": url, "branch": branch }))
}

pub(crate) fn git_checkout(servers: &[String], path: &str, reference: &str) -> Result<Vec<Report>, Error> {
    call_at("git_checkout", servers, path, json!({ "reference": reference }))
}

pub(crate) fn git_discard_changes(servers: &[String], path: &str) -> Result<Vec<Report>, Error> {
    call_at("git_discard_changes", servers, path, json!({}))
}

pub(crate) fn git_add_all(servers: &[String], path: &str) -> Result<Vec<Report>, Error> {
    call_at("git_add_all", servers, path, json!({}))
}

pub(crate) fn git_commit(servers: &[String], path: &str, message: &str) -> Result<Vec<Report>, Error> {
    call_at("git_commit", servers, path, json!({ "message": message }))
}

pub(crate) fn git_set_user(servers: &[String], path: &str, name: &str, email: &str) -> Result<Vec<Report>, Error> {
    call_at("git_set_user", servers, path, json!({ "name": name, "email": email }))
}

pub(crate) fn git_set_autocrlf(servers: &[String], path: &str, value: Autocrlf) -> Result<Vec<Report>, Error> {
    let value = match value {
        Autocrlf::True => "true",
        Autocrlf::False => "false",
        Autocrlf::Input => "input",
    };
    call_at("git_set_autocrlf", servers, path, json!({ "value": value }))
}

pub(crate) fn git_set_push_url(servers: &[String], path: &str, url: &str) -> Result<Vec<Report>, Error> {
    call_at("git_set_push_url", servers, path, json!({ "url": url }))
}

pub(crate) fn git_pull(servers: &[String], path: &str, options: &PullOptions) -> Result<Vec<Report>, Error> {
    let PullOptions { remote, branch, favor, patience, ignore_all_space } = options;
    let favor = favor.map(|favor| match favor {
        Favor::Ours => "ours",
        Favor::Theirs => "theirs",
    });
    let arguments = json!({
        "remote": remote, "branch": branch, "favor": favor, "patience": patience, "ignore_all_space": ignore_all_space,
    });
    call_at("git_pull", servers, path, arguments)
}
