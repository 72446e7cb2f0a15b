//! Does on servers what its parameters say, and returns what that came to: the reports, or the error.

use elita_plugin::prelude::*;
use elita_plugin::remote::{Autocrlf, Command, Content, Favor, Pull, Report};
use elita_plugin::salt::Function;

elita_plugin::plugin! {
    actions: {
        "commands": [
            action("Do", on_servers).description("Calls a function of `remote`").parameter("call", "JSON", "which, and how"),
            action("DoAgain", on_servers).idempotent().timeout_seconds(60).parameter("call", "JSON", "the same"),
        ],
    },
}

/// A call of a function of `remote`: its name in WIT, and the arguments that it takes.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Call {
    function: String,
    servers: Vec<String>,
    path: String,
    command: Vec<String>,
    script: String,
    directory: Option<String>,
    environment: Vec<(String, String)>,
    text: String,
    timeout: Option<u32>,
    output_bytes: Option<u32>,
    secret: Option<String>,
    mode: Option<u32>,
    package: Option<(String, String, String)>,
    url: String,
    branch: Option<String>,
    favor: Option<String>,
    /// A function of Salt, its arguments, and those with names.
    salt: (String, Vec<Value>, Vec<(String, Value)>),
    sls: String,
    /// How often it is called.
    times: Option<u32>,
}

fn on_servers(call: &ActionCall) -> Result<Value> {
    let call: Call = call.parameter("call")?;
    let mut last = json!(null);
    for _ in 0..call.times.unwrap_or(1) {
        last = match once(&call) {
            Ok(answer) => answer,
            Err(error) => {
                json!({ "error": { "code": error.code().map(|code| format!("{code:?}")), "message": error.to_string() } })
            }
        };
    }
    Ok(last)
}

fn once(call: &Call) -> Result<Value> {
    let Call { servers, path, text, .. } = call;
    let reports: Vec<Report> = match &*call.function {
        "ping" => remote::ping(servers, call.timeout)?,
        "operating-systems" => return Ok(json!(remote::operating_systems(servers)?)),
        "salt-command" => return Ok(json!(salt::salt_command(servers, &salt_function(call))?)),
        "run-sls" => return Ok(json!(salt::run_sls(servers, &call.sls, call.timeout)?)),
        "highstate" => return Ok(json!(salt::highstate(servers, call.timeout)?)),
        "run" => remote::run(servers, &options(call, Command::new(call.command.clone())))?,
        "run-script" => remote::run(servers, &options(call, Command::script(&*call.script)))?,
        "run-powershell" => remote::run(servers, &options(call, Command::powershell(&*call.script)))?,
        "create-directory" => remote::create_directory(servers, path)?,
        "delete-directory" => remote::delete_directory(servers, path)?,
        "delete-file" => remote::delete_file(servers, path)?,
        "touch" => remote::touch(servers, path)?,
        "append-to-file" => remote::append_to_file(servers, path, text)?,
        "push-file" => {
            let content = match &call.package {
                Some((application, build, package)) => Content::package(application, build, package),
                None => Content::bytes(text.clone()),
            };
            remote::push_file(servers, &content, path, call.mode)?
        }
        "git-clone" => remote::git_clone(servers, &call.url, path, call.branch.as_deref())?,
        "git-checkout" => remote::git_checkout(servers, path, text)?,
        "git-discard-changes" => remote::git_discard_changes(servers, path)?,
        "git-add-all" => remote::git_add_all(servers, path)?,
        "git-commit" => remote::git_commit(servers, path, text)?,
        "git-set-user" => remote::git_set_user(servers, path, text, &call.url)?,
        "git-set-autocrlf" => remote::git_set_autocrlf(servers, path, Autocrlf::Input)?,
        "git-set-push-url" => remote::git_set_push_url(servers, path, &call.url)?,
        "git-pull" => {
            let favor = call.favor.as_deref().map(|favor| if favor == "ours" { Favor::Ours } else { Favor::Theirs });
            let pull = Pull { branch: call.branch.clone(), favor, patience: true, ..Pull::default() };
            remote::git_pull(servers, path, &pull)?
        }
        other => return Err(Error::new(format!("there is no function {other}"))),
    };
    Ok(json!(reports))
}

fn salt_function(call: &Call) -> Function {
    let (name, arguments, named) = &call.salt;
    let function = arguments.iter().fold(Function::new(name), |function, value| function.argument(value.clone()));
    let function = named.iter().fold(function, |function, (name, value)| function.named(name, value.clone()));
    match call.timeout {
        Some(seconds) => function.timeout(seconds),
        None => function,
    }
}

fn options(call: &Call, command: Command) -> Command {
    let mut command = command.stdin(call.text.clone());
    for (name, value) in &call.environment {
        command = command.env(name, value);
    }
    if let Some(directory) = &call.directory {
        command = command.directory(directory);
    }
    if let Some(seconds) = call.timeout {
        command = command.timeout(seconds);
    }
    if let Some(bytes) = call.output_bytes {
        command = command.output_bytes(bytes);
    }
    if let Some(secret) = &call.secret {
        command = command.secret(secret);
    }
    command
}
