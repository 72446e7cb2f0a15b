//! Which plugins there are: how a file becomes a component that can run, and what it has registered.
//!
//! A file of the plugin directory goes through `loader` and `offer`, `inspect`, `components` and `register` into the
//! database. It is compiled in a process of its own (`compiler`), when it is its turn (`turns`). What
//! the active plugins have registered is in `catalog`, beside this. Runs of actions and hooks are not known here.

mod check;
mod compiler;
mod components;
mod inspect;
mod loader;
mod misfit;
mod offer;
mod register;
mod turns;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;

use self::components::{Components, LoadError};
use super::bindings::PluginPre;
use super::catalog::{FoundAction, Registered};
use super::engine;
use super::sandbox::error::RunError;
use super::sandbox::guests::Guests;
use super::sandbox::instance::GuestState;
use super::sandbox::limits::Limits;
use crate::datasvc::{
    ActionName, AppName, Caller, DataSvc, Digest, Grants, JobErrorCode, JobId, Listed, Page, Plugin, PluginAccess,
    PluginAction, PluginName, Result,
};
use crate::storage::Storage;

pub use self::check::{Looked, look_at};
pub use self::compiler::compile_if_told;
pub use self::loader::Loader;

/// The plugins of this server. Cheap to clone.
#[derive(Clone)]
pub struct Plugins(Arc<Inner>);

struct Inner {
    storage: Storage,
    components: Components,
    guests: Arc<Guests>,
    limits: Arc<Limits>,
    /// A permit is a file that is read and looked through.
    inspecting: Semaphore,
    /// A permit is the instance that the engine has beyond those of all runs.
    registering: Semaphore,
    /// What plugins may touch beyond what they registered something for.
    grants: HashMap<PluginName, Arc<Grants>>,
    registered: Registered,
}

impl Plugins {
    /// `cache` is a directory for compiled components.
    ///
    /// # Errors
    /// If the limits are more than the machine has address space for, or the directory cannot be made.
    pub fn new(
        svc: DataSvc,
        storage: Storage,
        cache: &Path,
        limits: Limits,
        grants: BTreeMap<PluginName, Grants>,
    ) -> Result<Self, SetupError> {
        let engine = engine::new_engine(&limits)?;
        Ok(Self(Arc::new(Inner {
            registered: Registered::new(svc),
            components: Components::new(&engine, storage.clone(), cache, &limits)?,
            storage,
            guests: Arc::new(Guests::new()?),
            limits: Arc::new(limits),
            inspecting: Semaphore::new(1),
            registering: Semaphore::new(1),
            grants: grants.into_iter().map(|(plugin, grants)| (plugin, Arc::new(grants))).collect(),
        })))
    }

    /// The limits that runs are under.
    pub fn limits(&self) -> &Arc<Limits> {
        &self.0.limits
    }

    /// What this plugin asks for, against what it may touch.
    pub fn access(&self, plugin: &Plugin) -> PluginAccess {
        self.grants(&plugin.name).access(plugin)
    }

    /// A plugin as who asks for something, while it runs for a job of an application.
    pub(crate) fn caller(&self, plugin: &PluginName, job: JobId, running_in: &AppName) -> Caller {
        let applications = self.0.registered.applications_of(plugin, running_in);
        Caller::Plugin { name: plugin.clone(), job, applications, grants: self.grants(plugin) }
    }

    fn grants(&self, plugin: &PluginName) -> Arc<Grants> {
        self.0.grants.get(plugin).cloned().unwrap_or_default()
    }

    /// Reads what the active plugins register, if that has changed since; and says of which revision it is.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn refresh(&self) -> Result<i64> {
        let catalog = self.0.registered.refresh().await?;
        self.0.components.keep_only(&catalog.digests);
        Ok(catalog.revision)
    }

    /// The actions of an application, by name.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::NotFound`] if the application does not exist; [`crate::datasvc::Error::Denied`] without
    /// read permission.
    pub async fn actions(&self, caller: &Caller, application: &AppName, page: &Page) -> Result<Listed<PluginAction>> {
        self.0.registered.actions(caller, application, page).await
    }

    /// One action of an application.
    ///
    /// # Errors
    /// Those of [`Plugins::actions`]; [`crate::datasvc::Error::NotFound`] if the action does not exist.
    pub async fn action(
        &self,
        caller: &Caller,
        application: &AppName,
        action: &ActionName,
    ) -> Result<Arc<FoundAction>> {
        self.0.registered.action(caller, application, action).await
    }

    /// The action, also of a plugin that has become active since the catalog was read, here or on another host.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn find_action(&self, application: &AppName, action: &ActionName) -> Result<Option<Arc<FoundAction>>> {
        self.0.registered.find_action(application, action).await
    }

    /// The plugins that have registered a hook for an application, in order of their names, with the components that
    /// are active now, here or on another host.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn hooks(&self, application: &AppName, hook: &str) -> Result<Vec<(PluginName, Digest)>> {
        self.0.registered.hooks(application, hook).await
    }

    /// The components of active plugins that cannot run at once.
    fn unready(&self) -> Vec<Digest> {
        let catalog = self.0.registered.catalog();
        catalog.digests.iter().filter(|digest| !self.is_ready(**digest)).copied().collect()
    }

    /// The components that can run at once.
    pub fn ready(&self) -> Vec<Digest> {
        self.0.components.ready()
    }

    /// Whether a component can run at once.
    pub fn is_ready(&self, digest: Digest) -> bool {
        self.0.components.is_ready(digest)
    }

    /// Makes sure that a component can run at once.
    ///
    /// # Errors
    /// [`RunError`] if it cannot run at all.
    pub async fn prepare(&self, digest: Digest) -> Result<(), RunError> {
        self.component(digest).await.map(drop)
    }

    /// A component to run.
    pub(crate) async fn component(&self, digest: Digest) -> Result<PluginPre<GuestState>, RunError> {
        self.0.components.get(digest).await.map_err(|error| match error {
            LoadError::Missing(_) | LoadError::Damaged(_) | LoadError::Unusable(_) => {
                RunError::new(JobErrorCode::PluginUnavailable, error.to_string())
            }
            LoadError::Storage(_) | LoadError::Compiler(_) | LoadError::Task(_) => RunError::internal(&error),
        })
    }

    /// The threads that guests run on.
    pub(crate) fn guests(&self) -> &Arc<Guests> {
        &self.0.guests
    }

    /// What guests may look up.
    pub(crate) fn registered(&self) -> &Registered {
        &self.0.registered
    }
}

/// Why plugins cannot be run on this machine.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The limits ask for more address space than there is, say.
    #[error(
        "the WebAssembly engine cannot be set up; if memory is short, lower --plugin-runs or --plugin-memories: {0:#}"
    )]
    Engine(wasmtime::Error),
    /// The directory of compiled components or the guests' threads cannot be made.
    #[error("the plugin host cannot be set up: {0}")]
    Io(#[from] std::io::Error),
}

impl From<wasmtime::Error> for SetupError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Engine(error)
    }
}
