//! wasmtime: how a component becomes a plugin, and how it runs.
//!
//! Knows the data services, and neither HTTP nor the job loop. This file is the whole public face. A file of the
//! plugin directory goes through `loader`, `inspect`, `components` (compiling) and `register` into the database;
//! `catalog` is what routing reads. A run goes through `instance`, under `limits`, and calls back into `host`.

mod actions;
mod bindings;
mod catalog;
mod check;
mod components;
mod convert;
mod cpu;
mod engine;
mod error;
mod guests;
mod host;
mod inspect;
mod instance;
mod json;
mod limits;
mod loader;
mod output;
mod register;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use tokio::runtime::Handle;
use tracing::{Instrument as _, warn};

use self::bindings::PluginPre;
use self::bindings::exports::elita::plugin::handler::{ActionCall, Failure};
use self::catalog::Catalog;
use self::components::{Components, LoadError};
use self::guests::Guests;
use self::inspect::Refusal;
use self::instance::{GuestState, Run};
use crate::datasvc::{
    ActionWork, ActivePlugin, Caller, Claim, DataSvc, Digest, Grants, HostId, JobId, JobLog, Json, Lease, Plugin,
    PluginAccess, PluginName,
};
use crate::outbound::Outbound;
use crate::storage::Storage;

pub use self::actions::Asked;
pub use self::catalog::FoundAction;
pub use self::check::{Looked, look_at};
pub use self::error::RunError;
pub use self::limits::Limits;
pub use self::loader::Loader;

/// The plugins of this server. Cheap to clone.
#[derive(Clone)]
pub struct Plugins(Arc<Inner>);

struct Inner {
    svc: DataSvc,
    storage: Storage,
    outbound: Outbound,
    components: Components,
    guests: Guests,
    limits: Limits,
    /// What plugins may touch beyond what they registered something for.
    grants: HashMap<PluginName, Arc<Grants>>,
    catalog: RwLock<Arc<Catalog>>,
}

/// An action to run, for a job that this worker has claimed.
pub struct ActionRun {
    /// The claimed job.
    pub claim: Claim,
    /// Which action it is to run.
    pub work: ActionWork,
    /// Its log.
    pub log: JobLog,
    /// The parameters of the request.
    pub parameters: Vec<(String, String)>,
    /// Until when the claim holds.
    pub lease: Lease,
    /// Whether someone has asked for the job to stop.
    pub cancel_requested: Box<dyn Fn() -> bool + Send + Sync>,
    /// To be called when the run has made a job.
    pub tell_queued: Box<dyn Fn() + Send + Sync>,
}

impl Plugins {
    /// `cache` is a directory for compiled components.
    ///
    /// # Errors
    /// If the limits are more than the machine has address space for, or the directory cannot be made.
    pub fn new(
        svc: DataSvc,
        storage: Storage,
        outbound: Outbound,
        cache: &Path,
        limits: Limits,
        grants: BTreeMap<PluginName, Grants>,
    ) -> Result<Self, SetupError> {
        let engine = engine::new_engine(&limits)?;
        Ok(Self(Arc::new(Inner {
            svc,
            components: Components::new(&engine, storage.clone(), cache)?,
            storage,
            outbound,
            guests: Guests::new()?,
            limits,
            grants: grants.into_iter().map(|(plugin, grants)| (plugin, Arc::new(grants))).collect(),
            catalog: RwLock::default(),
        })))
    }

    /// The limits that runs are under.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// What this plugin asks for, against what it may touch.
    pub fn access(&self, plugin: &Plugin) -> PluginAccess {
        self.grants(&plugin.name).access(plugin)
    }

    fn grants(&self, plugin: &PluginName) -> Arc<Grants> {
        self.0.grants.get(plugin).cloned().unwrap_or_default()
    }

    /// Removes the files of a build that is gone. Those that cannot be removed now are found when the store is swept.
    async fn remove_build_files(&self, upload: JobId) {
        if let Err(problem) = self.0.storage.remove_build_files(upload.into()).await {
            warn!("the files of a build that is gone stay for now: {problem}");
        }
    }

    /// What requests of plugins are sent with.
    fn outbound(&self) -> &Outbound {
        &self.0.outbound
    }

    /// Reads what the active plugins register, if that has changed since; and says of which revision it is.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn refresh(&self) -> crate::datasvc::Result<i64> {
        // Read first: a change in between is seen again the next time.
        let revision = self.0.svc.plugin_revision().await?;
        if revision == self.catalog().revision {
            return Ok(revision);
        }
        let catalog = Catalog::new(revision, self.0.svc.active_plugins().await?);
        let mut current = self.0.catalog.write().unwrap_or_else(PoisonError::into_inner);
        // Several may read at once, and the slowest of them may have read first.
        if catalog.revision > current.revision {
            self.0.components.keep_only(&catalog.digests);
            *current = Arc::new(catalog);
        }
        Ok(current.revision)
    }

    /// Loads what the active plugins need, so that no job waits for it.
    pub async fn warm_up(&self) {
        for &digest in &self.catalog().digests {
            if let Err(error) = self.0.components.get(digest).await {
                tracing::error!("component {digest} is active and cannot be loaded: {error}");
            }
        }
    }

    /// The threads that guests run on. What calls [`Plugins::run_action`] is to be spawned there.
    pub fn guest_threads(&self) -> &Handle {
        self.0.guests.handle()
    }

    /// Runs an action to its end, on the threads of the caller: its result, or how it ended otherwise.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run_action(&self, run: ActionRun) -> Result<Json, RunError> {
        let ActionRun { claim, work, log, lease, parameters, cancel_requested, tell_queued } = run;
        let component = self.component(work.digest).await?;
        let Inner { svc, limits, .. } = &*self.0;
        let applications = self.catalog().applications_of(&work.plugin, &claim.application);
        let call = action_call(&claim, &work, parameters);
        let grants = self.grants(&work.plugin);
        let context = Run {
            svc: svc.clone(),
            plugins: self.clone(),
            caller: Caller::Plugin { name: work.plugin.clone(), job: claim.job_id, applications, grants },
            plugin: work.plugin,
            depth: claim.depth,
            started: AtomicU32::new(0),
            tell_queued,
            log,
            lease,
            cancel_requested,
            host_call_limit: limits.host_call(),
        };
        let answer = instance::call(&component, limits, Some(context), claim.timeout, async |plugin, store| {
            plugin.elita_plugin_handler().call_run_action(store, &call).await
        });
        match guests::caught(answer).await {
            Ok(answer) => checked_result(answer?),
            Err(panic) => Err(RunError::internal(&panic)),
        }
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

    async fn component(&self, digest: Digest) -> Result<PluginPre<GuestState>, RunError> {
        self.0.components.get(digest).await.map_err(|error| match error {
            LoadError::Missing(_) | LoadError::Damaged(_) | LoadError::Unusable(_) => {
                RunError::new("plugin-unavailable", error.to_string())
            }
            LoadError::Storage(_) | LoadError::Task(_) => RunError::internal(&error),
        })
    }

    /// Takes a component in: stored, checked, compiled, asked what it registers, and put in force.
    async fn offer(&self, host: HostId, name: &PluginName, bytes: Bytes, digest: Digest) -> Result<(), OfferError> {
        let inner = &self.0;
        let imports = inspect::inspect(&bytes, &inner.limits)?;
        let size_bytes = bytes.len() as u64;
        inner.storage.put_component(&digest.hex(), bytes).await?;
        let component = inner.components.get(digest).await?;
        let asked = inner.clone();
        let registration = async move { register::register(&component, &asked.limits).await };
        let registration = inner.guests.run(registration.in_current_span()).await.map_err(LoadError::Task)??;
        let offered = ActivePlugin { name: name.clone(), digest, registration };
        inner.svc.activate_plugin(host, &offered, size_bytes, &imports).await?;
        Ok(())
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.0.catalog.read().unwrap_or_else(PoisonError::into_inner).clone()
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

/// Why a component was not put in force.
#[derive(Debug, thiserror::Error)]
enum OfferError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Storage(#[from] crate::storage::StorageError),
    #[error(transparent)]
    Datasvc(#[from] crate::datasvc::Error),
    #[error("the plugin directory cannot be read: {0}")]
    Directory(std::io::Error),
}

fn action_call(claim: &Claim, work: &ActionWork, parameters: Vec<(String, String)>) -> ActionCall {
    ActionCall {
        application: claim.application.to_string(),
        action: work.action.to_string(),
        parameters,
        job: claim.job_id.to_string(),
        attempt: claim.attempt.cast_unsigned(),
        user: claim.username.clone(),
    }
}

/// What a guest returned, if it is JSON that can be kept.
fn checked_result(answer: Result<String, Failure>) -> Result<Json, RunError> {
    match answer {
        Ok(result) => json::parse(result)
            .map_err(|reason| RunError::new("invalid-result", format!("the plugin's result is {reason}"))),
        Err(failure) => Err(failed(failure)),
    }
}

fn failed(failure: Failure) -> RunError {
    let Failure { message, details, trace } = failure;
    let error = match details.map(json::parse_value).transpose() {
        Ok(details) => RunError { details: details.map(Box::new), ..RunError::new("action-failed", message) },
        Err(reason) => RunError::new(
            "invalid-result",
            format!("the plugin failed ({message}), and the details it gave are {reason}"),
        ),
    };
    error.traced(trace.as_deref().unwrap_or_default().lines())
}
