//! Names for completion: what is on this machine at once, what a server knows within a moment, or not at all.
//!
//! `clap_complete` asks for them, in a process of its own for each press of the key. This is the one file that knows it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap_complete::{ArgValueCompleter, CompletionCandidate};
use serde_json::Value;

use crate::config::{Config, folder, write_private};
use crate::globals::Globals;
use crate::http::{Request, with_query};
use crate::nouns::{Collection, Noun};
use crate::output::Output;
use crate::session::{Session, optional_parameters, segment, short, text};

/// The variable by which a shell asks.
pub(crate) const VARIABLE: &str = "ELITA_COMPLETE";
/// How long somebody waits for a completion.
const WITHIN: Duration = Duration::from_millis(300);
/// How long names are kept.
const KEPT: Duration = Duration::from_secs(10);
/// How many names are offered.
const MOST: usize = 200;

type Candidates = Vec<CompletionCandidate>;

/// Contexts, which need no server.
pub(crate) fn contexts(typed: &OsStr) -> Candidates {
    let config = Config::read().unwrap_or_default();
    matching(typed, config.contexts.into_iter().map(|(name, context)| (name, context.server)))
}

/// Applications.
pub(crate) fn apps(typed: &OsStr) -> Candidates {
    matching(typed, names("/app", "app_name", ""))
}

/// Jobs by the end of their id.
pub(crate) fn jobs(typed: &OsStr) -> Candidates {
    let jobs = items("/job").into_iter().map(|job| {
        let id = short(text(&job, "job_id")).trim_start_matches('…').to_owned();
        (id, format!("{} {}", text(&job, "status"), text(&job, "name")))
    });
    matching(typed, jobs)
}

/// Environments of servers.
pub(crate) fn environments(typed: &OsStr) -> Candidates {
    let found = asked("/server/environments").unwrap_or_default();
    let names = found.as_object().into_iter().flatten().map(|(name, _)| (name.clone(), String::new()));
    matching(typed, names.collect::<Vec<_>>())
}

/// `[APP] ACTION [NAME=VALUE]…`: what may come next depends on what is there.
pub(crate) fn run_words(typed: &OsStr) -> Candidates {
    let before = words_before();
    let default = default_app();
    let (app, action) = match (&before[..], &default) {
        ([], None) => return apps(typed),
        ([], Some(app)) => return both(matching(typed, actions(app)), apps(typed)),
        ([app], None) => return matching(typed, actions(app)),
        // The one word is an action of the application that is meant, or an application.
        ([word], Some(app)) if actions(app).iter().any(|(name, _)| name == word) => (app.clone(), word.clone()),
        ([app], Some(_)) => return matching(typed, actions(app)),
        ([app, action, ..], _) if !action.contains('=') => (app.clone(), action.clone()),
        ([action, ..], Some(app)) => (app.clone(), action.clone()),
        _ => return Vec::new(),
    };
    let found = asked(&format!("/app/{}/actions/{}", segment(&app), segment(&action))).unwrap_or_default();
    let is_given = |name: &str| before.iter().any(|word| word.split('=').next() == Some(name));
    let mut parameters = found["parameters"].as_array().cloned().unwrap_or_default();
    parameters.extend(optional_parameters(&found));
    let parameters = parameters.iter().filter(|parameter| !is_given(text(parameter, "name")));
    let parameters = parameters
        .map(|parameter| (format!("{}=", text(parameter, "name")), text(parameter, "description").to_owned()));
    matching(typed, parameters.collect::<Vec<_>>())
}

/// The names of a noun's documents.
pub(crate) fn names_of(noun: &'static Noun) -> ArgValueCompleter {
    ArgValueCompleter::new(move |typed: &OsStr| match noun.collection {
        Collection::Installation(container) => matching(typed, names(container, noun.key, "")),
        Collection::Application(container) => {
            let in_app = |app: &str| names(&format!("/app/{}/{container}", segment(app)), noun.key, "");
            match (words_before().first(), default_app()) {
                (Some(app), _) => matching(typed, in_app(app)),
                (None, Some(app)) => both(matching(typed, in_app(&app)), apps(typed)),
                (None, None) => apps(typed),
            }
        }
    })
}

fn actions(app: &str) -> Vec<(String, String)> {
    names(&format!("/app/{}/actions", segment(app)), "name", "description")
}

fn both(mut some: Candidates, others: Candidates) -> Candidates {
    some.extend(others);
    some
}

fn matching(typed: &OsStr, names: impl IntoIterator<Item = (String, String)>) -> Candidates {
    let typed = typed.to_string_lossy();
    let wanted = names.into_iter().filter(|(name, _)| name.starts_with(&*typed)).take(MOST);
    let candidate =
        |(name, help): (String, String)| CompletionCandidate::new(name).help((!help.is_empty()).then(|| help.into()));
    wanted.map(candidate).collect()
}

/// The words between the command and the one that is completed, without options.
fn words_before() -> Vec<String> {
    let all: Vec<String> = std::env::args().collect();
    let line = all.iter().position(|word| word == "--").map_or(&[][..], |at| &all[at + 1..]);
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
    let index = index.unwrap_or(line.len().saturating_sub(1)).min(line.len());
    let mut words = line[..index].iter().skip(1).filter(|word| !word.starts_with('-')).cloned().peekable();
    let is_noun = |word: &String| crate::command::NOUNS.contains(&word.as_str());
    let has_verb = words.next().as_ref().is_some_and(is_noun);
    words.skip(usize::from(has_verb)).collect()
}

fn default_app() -> Option<String> {
    if let Ok(app) = std::env::var("ELITA_APP") {
        return Some(app);
    }
    let config = Config::read().ok()?;
    config.contexts.get(config.current.as_ref()?)?.app.clone()
}

fn names(path: &str, member: &str, help: &str) -> Vec<(String, String)> {
    items(path).iter().map(|item| (text(item, member).to_owned(), text(item, help).to_owned())).collect()
}

fn items(path: &str) -> Vec<Value> {
    let found = asked(&with_query(path, &[("limit", MOST.to_string())])).unwrap_or_default();
    found["items"].as_array().cloned().unwrap_or_default()
}

/// What a server answers, if it does so in time; what it said a moment ago, if there is that.
fn asked(path: &str) -> Option<Value> {
    let globals = Globals::silent();
    let session = Session::open(&globals, &Output::new(&globals)).ok()?;
    let file = kept_in(&format!("{}{path}", session.client.base()));
    if let Some(kept) = file.as_ref().and_then(kept) {
        return Some(kept);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let reply = runtime.block_on(session.client.exchange(&Request::get(path).within(WITHIN))).ok()?;
    let found = reply.status.is_success().then(|| reply.json().ok())??;
    if let Some(file) = file {
        forget_old(&file);
        // Without it the next key asks again.
        let _ = write_private(&file, &found.to_string());
    }
    Some(found)
}

fn kept(file: &PathBuf) -> Option<Value> {
    let age = SystemTime::now().duration_since(std::fs::metadata(file).ok()?.modified().ok()?).ok()?;
    (age < KEPT).then(|| serde_json::from_slice(&std::fs::read(file).ok()?).ok())?
}

/// Removes what is no longer of use.
fn forget_old(beside: &Path) {
    let folder = beside.parent().map(std::fs::read_dir);
    for entry in folder.into_iter().flatten().flatten().flatten() {
        let age = entry.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > KEPT) {
            // Whoever is faster has removed it.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

fn kept_in(asked: &str) -> Option<PathBuf> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    asked.hash(&mut hasher);
    Some(folder().ok()?.join("completion").join(format!("{:016x}.json", hasher.finish())))
}
