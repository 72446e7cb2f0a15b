//! Calls every function that the host offers, with arguments that make sense, and returns what each answered.
//!
//! The keys are the functions' names in the WIT package: a test looks for all of them. What is made stays, so that a
//! test can look at it through the other door; what is called `gone` is removed again.

mod actions;
mod applications;
mod builds;
mod deployments;
mod git_providers;
mod git_repos;
mod gitdeploys;
mod groups;
mod package_maps;
mod packages;
mod refused;
mod remote;
mod salt;
mod servers;

use elita_plugin::log::{self, Level};
use elita_plugin::prelude::*;

/// The application that most of it happens in.
const APPLICATION: &str = "exercise";

elita_plugin::plugin! {
    actions: {
        "exercise": [
            action("Everything", everything).description("Calls every function of the host"),
            action("Refused", refused).description("Calls what the host refuses after that"),
            action("ForPeople", for_people).description("Sets what servers are reached by"),
            action("Nothing", nothing).description("Is there to be started").parameter("a", "text", "comes back"),
            action("Again", again).description("Starts itself, until it may not"),
        ],
    },
    hooks: {
        "exercise": { "BUILD_UPLOAD_SUCCESS": in_a_hook },
    },
}

/// What a function answered, by its name.
type Answers = Vec<(&'static str, Value)>;

fn everything(_: &ActionCall) -> Result<Value> {
    let job = jobs::current();
    let jobs = vec![
        ("jobs.current", json!(job)),
        ("jobs.append", answer(jobs::append(&json!({ "status": "exercising" })))),
        ("jobs.progress", answer(jobs::progress(50, "half of it"))),
        ("jobs.cancel-requested", json!(jobs::cancel_requested())),
        ("jobs.get", answer(jobs::get(&job))),
        ("jobs.entries", answer(jobs::entries(&job, 0, 100))),
        ("jobs.tail", answer(jobs::tail(&job, 1))),
        ("jobs.before", answer(jobs::before(&job, 2, 100))),
        ("jobs.standing", answer(jobs::standing(&job))),
        ("log.write", json!(log::write(Level::Info, "exercising"))),
    ];
    let all = [
        jobs,
        applications::all(),
        builds::all(),
        actions::all(),
        package_maps::all(),
        git_providers::all(),
        git_repos::all(),
        servers::all(),
        remote::all(),
        salt::all(),
        gitdeploys::all(),
        groups::all(),
        deployments::all(),
    ];
    Ok(all.into_iter().flatten().map(|(name, answer)| (name.to_owned(), answer)).collect())
}

/// Calls what can be called in a hook only, and what needs a stored build.
fn in_a_hook(call: &HookCall) -> Result<Value> {
    let build: hooks::BuildUploadSuccess = call.parameters()?;
    Ok(packages::all(&build)?.into_iter().map(|(name, answer)| (name.to_owned(), answer)).collect())
}

fn refused(_: &ActionCall) -> Result<Value> {
    Ok(refused::all().into_iter().map(|(name, answer)| (name.to_owned(), answer)).collect())
}

fn for_people(_: &ActionCall) -> Result<Value> {
    Ok(refused::for_people().into_iter().map(|(name, answer)| (name.to_owned(), answer)).collect())
}

fn nothing(call: &ActionCall) -> Result<Value> {
    Ok(json!({ "a": call.parameter::<String>("a")? }))
}

fn again(_: &ActionCall) -> Result<Value> {
    Ok(answer(actions::again()))
}

/// The answer, or `{"error": {"code", "message"}}`.
fn answer<T: Serialize>(answer: Result<T>) -> Value {
    match answer {
        Ok(answer) => json!(answer),
        Err(error) => {
            let code = error.code().map(elita_plugin::Code::as_str);
            json!({ "error": { "code": code, "message": error.to_string() } })
        }
    }
}

/// All names of a list.
fn listed(names: Result<elita_plugin::Names>) -> Value {
    answer(names.and_then(|names| names.collect::<Result<Vec<_>>>()))
}
