//! What stands for the host while an action or a hook is tested. Each thread has its own, as tests run beside each other.

mod absent;
pub(crate) mod actions;
pub(crate) mod applications;
pub(crate) mod builds;
pub(crate) mod http;
pub(crate) mod jobs;
pub(crate) mod log;
pub(crate) mod remote;

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Package;
use crate::bindings::elita::plugin::types::{Error, Names, Page};
use crate::log::Level;

pub(crate) use self::absent::{deployments, git_providers, git_repos, gitdeploys, groups, package_maps, salt, servers};
pub use self::actions::Started;
pub use self::http::Sent;
pub use self::remote::{Answer, Called};

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// When everything was made: a test is to find the same each time.
const TIME: &str = "2026-01-01T00:00:00.000Z";

/// What an action or a hook finds when it runs in a test, and what it has left. The [module](super) has an example.
#[derive(Debug, Default)]
pub struct Host {
    /// The attributes of each.
    applications: BTreeMap<String, Value>,
    /// By the names of application and build.
    builds: BTreeMap<(String, String), Build>,
    /// The build whose hook runs.
    pub(super) uploaded: Option<(String, String)>,
    pub(super) added: BTreeMap<String, Package>,
    pub(super) entries: Vec<Value>,
    pub(super) log: Vec<(Level, String)>,
    /// The result of each, by the names of application and action.
    actions: BTreeMap<(String, String), Value>,
    started: Vec<Started>,
    responses: BTreeMap<String, (u16, Vec<u8>)>,
    sent: Vec<Sent>,
    servers: BTreeMap<String, remote::Server>,
    called: Vec<Called>,
    is_cancelled: bool,
}

/// A build: its attributes and packages.
#[derive(Debug)]
struct Build {
    attributes: Value,
    packages: BTreeMap<String, Package>,
}

impl Host {
    /// A host that has nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With an application. `attributes` is an object.
    #[must_use]
    pub fn application(mut self, name: impl Into<String>, attributes: Value) -> Self {
        self.applications.insert(name.into(), attributes);
        self
    }

    /// With a build of which nothing is stored, and its application. `attributes` is an object.
    #[must_use]
    pub fn build(mut self, application: impl Into<String>, name: impl Into<String>, attributes: Value) -> Self {
        let application = application.into();
        self.applications.entry(application.clone()).or_insert_with(|| json!({}));
        self.builds.insert((application, name.into()), Build { attributes, packages: BTreeMap::new() });
        self
    }

    /// With an action that can be started, such as one of another plugin. Its job has ended with this result when it is
    /// looked at.
    #[must_use]
    pub fn action(mut self, application: impl Into<String>, name: impl Into<String>, result: Value) -> Self {
        self.actions.insert((application.into(), name.into()), result);
        self
    }

    /// With a server that answers requests to a URL, by any method. Other requests are denied, as without a grant.
    #[must_use]
    pub fn response(mut self, url: impl Into<String>, status: u16, body: impl Into<Vec<u8>>) -> Self {
        self.responses.insert(url.into(), (status, body.into()));
        self
    }

    /// With a job that was asked to stop.
    #[must_use]
    pub fn cancelled(mut self) -> Self {
        self.is_cancelled = true;
        self
    }

    /// Does the work as on this host, and returns what it returns. The thread that calls this is the one that the host is
    /// for.
    pub fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        crate::log::install(None);
        let former = HOST.replace(Some(std::mem::take(self)));
        let guard = Restored(former);
        let done = work();
        *self = HOST.take().expect("it is there until the work is done");
        drop(guard);
        done
    }

    /// What was added to the job's log.
    pub fn entries(&self) -> &[Value] {
        &self.entries
    }

    /// What was written for operators.
    pub fn log(&self) -> &[(Level, String)] {
        &self.log
    }

    /// The jobs that were started, in order.
    pub fn started(&self) -> &[Started] {
        &self.started
    }

    /// The requests that were sent, in order, also those that were denied.
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// The attributes of an application. None: there is no such application.
    pub fn application_attributes(&self, name: &str) -> Option<Value> {
        self.applications.get(name).cloned()
    }

    /// The attributes of a build. None: there is no such build.
    pub fn build_attributes(&self, application: &str, name: &str) -> Option<Value> {
        Some(self.builds.get(&key(application, name))?.attributes.clone())
    }

    /// A build whose upload fires a hook.
    pub(super) fn store(&mut self, application: &str, build: &str, packages: &BTreeMap<String, Package>) {
        self.applications.entry(application.into()).or_insert_with(|| json!({}));
        let stored = Build { attributes: json!({}), packages: packages.clone() };
        let stored = self.builds.entry(key(application, build)).or_insert(stored);
        stored.packages.clone_from(packages);
        self.uploaded = Some(key(application, build));
        self.added.clear();
    }

    fn known(&self, application: &str) -> Result<&Value, Error> {
        let found = self.applications.get(application);
        found.ok_or_else(|| Error::NotFound(format!("application `{application}` does not exist")))
    }
}

/// Puts back what was there, also after a panic.
struct Restored(Option<Host>);

impl Drop for Restored {
    fn drop(&mut self) {
        HOST.set(self.0.take());
    }
}

/// Asks the host of this thread for the function of that name.
#[track_caller]
fn ask<T>(function: &str, of_host: impl FnOnce(&mut Host) -> T) -> T {
    let answer = HOST.with_borrow_mut(|host| host.as_mut().map(of_host));
    answer.unwrap_or_else(|| {
        panic!(
            "`{function}` is a function of the host, and there is none in a test: let it run on an \
             `elita_plugin::testing::Host`, by `host.run(|| …)`"
        )
    })
}

/// Does something on the host of this thread, if there is one.
fn tell(of_host: impl FnOnce(&mut Host)) {
    HOST.with_borrow_mut(|host| host.as_mut().map(of_host));
}

fn key(application: &str, name: &str) -> (String, String) {
    (application.into(), name.into())
}

/// A page of names, which are in order.
fn page(names: impl IntoIterator<Item = String>, page: &Page) -> Names {
    let after = page.after.as_deref().unwrap_or_default();
    let mut rest = names.into_iter().filter(|name| after < name.as_str());
    let limit = page.limit.unwrap_or(100) as usize;
    let items: Vec<_> = rest.by_ref().take(limit).collect();
    let next = rest.next().and_then(|_| items.last().cloned());
    Names { items, next }
}

fn object(text: &str) -> Result<Map<String, Value>, Error> {
    serde_json::from_str(text).map_err(|error| Error::Invalid(format!("an object is expected: {error}")))
}

/// Changes attributes by a merge patch of the document that they are in.
fn change(attributes: &mut Value, patch: &str) -> Result<(), Error> {
    for (name, value) in object(patch)? {
        if name != "attributes" {
            return Err(Error::Invalid(format!("`{name}` cannot be changed")));
        }
        merge(attributes, value);
    }
    Ok(())
}

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        match target.as_object_mut() {
            Some(object) if value.is_null() => drop(object.remove(&name)),
            Some(object) => merge(object.entry(name).or_insert(Value::Null), value),
            None => {}
        }
    }
}
