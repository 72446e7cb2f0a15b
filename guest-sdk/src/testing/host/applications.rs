//! Applications: they have their attributes, and belong to everybody.

use serde_json::Value;

use super::{Error, Host, Names, Page, TIME, ask, change, object, page};
use crate::bindings::elita::plugin::applications as wit;

pub(crate) use wit::Application;

pub(crate) fn get(application: &str) -> Result<Application, Error> {
    ask("applications::get", |host| document(host, application))
}

pub(crate) fn list(which: &Page) -> Result<Names, Error> {
    ask("applications::list", |host| Ok(page(host.applications.keys().cloned(), which)))
}

pub(crate) fn create(application: &str, attributes: &str) -> Result<Application, Error> {
    ask("applications::create", |host| {
        if host.applications.contains_key(application) {
            return Err(Error::AlreadyExists(format!("application `{application}` already exists")));
        }
        host.applications.insert(application.into(), Value::Object(object(attributes)?));
        document(host, application)
    })
}

pub(crate) fn update(application: &str, patch: &str) -> Result<Application, Error> {
    ask("applications::update", |host| {
        let mut changed = host.known(application)?.clone();
        change(&mut changed, patch)?;
        host.applications.insert(application.into(), changed);
        document(host, application)
    })
}

pub(crate) fn delete(application: &str) -> Result<(), Error> {
    ask("applications::delete", |host| {
        host.known(application)?;
        host.applications.remove(application);
        host.builds.retain(|(of, _), _| of != application);
        Ok(())
    })
}

/// Nothing is deployed here.
pub(crate) fn census(application: &str) -> Result<String, Error> {
    ask("applications::census", |host| host.known(application).map(|_| "{}".into()))
}

fn document(host: &Host, application: &str) -> Result<Application, Error> {
    let attributes = host.known(application)?.to_string();
    Ok(Application { name: application.into(), attributes, created_at: TIME.into(), updated_at: TIME.into() })
}
