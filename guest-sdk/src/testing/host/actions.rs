//! Actions that can be started, and the jobs of those that were.

use super::{Error, Host, Names, Page, ask, key, page};
use crate::bindings::elita::plugin::actions as wit;

pub(crate) use wit::{Action, Parameter};

/// A job that was started.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Started {
    /// The job's id.
    pub job: String,
    /// The application of its action.
    pub application: String,
    /// The action.
    pub action: String,
    /// What it was started with.
    pub parameters: Vec<(String, String)>,
}

/// It declares no parameters, and is described as nothing.
pub(crate) fn get(application: &str, action: &str) -> Result<Action, Error> {
    ask("actions::get", |host| {
        known(host, application, action)?;
        Ok(Action {
            name: action.into(),
            plugin: "testing".into(),
            description: String::new(),
            parameters: Vec::<Parameter>::new(),
            idempotent: false,
            timeout_seconds: None,
        })
    })
}

pub(crate) fn list(application: &str, which: &Page) -> Result<Names, Error> {
    ask("actions::list", |host| {
        let of_it = host.actions.keys().filter(|(of, _)| of == application);
        Ok(page(of_it.map(|(_, name)| name.clone()), which))
    })
}

pub(crate) fn run(application: &str, action: &str, parameters: &[(String, String)]) -> Result<String, Error> {
    ask("actions::run", |host| {
        known(host, application, action)?;
        if host.is_cancelled {
            return Err(Error::Conflict("the job was asked to stop".into()));
        }
        let job = format!("00000000-0000-0000-0000-{:012}", host.started.len() + 1);
        host.started.push(Started {
            job: job.clone(),
            application: application.into(),
            action: action.into(),
            parameters: parameters.to_vec(),
        });
        Ok(job)
    })
}

fn known(host: &Host, application: &str, action: &str) -> Result<(), Error> {
    let is_known = host.actions.contains_key(&key(application, action));
    let unknown = || Error::NotFound(format!("action `{action}` of application `{application}` does not exist"));
    is_known.then_some(()).ok_or_else(unknown)
}
