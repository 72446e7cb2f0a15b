//! Runs of actions and hooks: of what is loaded, in the sandbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tracing::Instrument as _;
use wasmtime::Store;

use super::bindings::Plugin;
use super::bindings::exports::elita::plugin::handler::{ActionCall, Failure, HookCall};
use super::effects::Effects;
use super::host::packages::MAX_OPEN_PACKAGES;
use super::json;
use super::registry::Plugins;
use super::sandbox::error::RunError;
use super::sandbox::guests;
use super::sandbox::http::FailedRequest;
use super::sandbox::instance::{self, GuestRun, GuestState, STORAGE_DIR};
use crate::datasvc::{AppName, Claim, ClaimedPlugin, DataSvc, Digest, JobErrorCode, JobLog, Json, Lease, PluginName};
use crate::outbound::Outbound;
use crate::storage::View;

/// Whether someone has asked for a job to stop.
pub type CancelRequested = Box<dyn Fn() -> bool + Send + Sync>;

/// What guests run in. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    svc: DataSvc,
    plugins: Plugins,
    outbound: Outbound,
    effects: Arc<dyn Effects>,
}

/// An action to run, for a job that this worker has claimed.
pub struct ActionRun {
    /// The claimed job.
    pub claim: Claim,
    /// The plugin and the component to run.
    pub plugin: ClaimedPlugin,
    /// Its log.
    pub log: JobLog,
    /// The parameters of the request.
    pub parameters: Vec<(String, String)>,
    /// Until when the claim holds.
    pub lease: Lease,
    /// Whether someone has asked for the job to stop.
    pub cancel_requested: CancelRequested,
}

/// A hook to run, within the job of the operation that fires it.
pub struct HookRun {
    /// That job.
    pub claim: Claim,
    /// Whose hook it is.
    pub plugin: PluginName,
    /// The component to run, whatever is active by now.
    pub digest: Digest,
    /// Which hook, such as `BUILD_UPLOAD_SUCCESS`.
    pub hook: String,
    /// Its parameters, an object. With files, `storage_dir` is added.
    pub parameters: Value,
    /// The job's log.
    pub log: JobLog,
    /// Until when the claim holds.
    pub lease: Lease,
    /// Whether someone has asked for the job to stop.
    pub cancel_requested: CancelRequested,
    /// How long it may take.
    pub timeout: Duration,
    /// The files that it can read.
    pub files: Option<View>,
}

/// For whom a run is.
struct Job {
    claim: Claim,
    plugin: PluginName,
    digest: Digest,
    log: JobLog,
    lease: Lease,
    cancel_requested: CancelRequested,
    timeout: Duration,
    files: Option<View>,
}

impl Sandbox {
    /// `effects` is what guests set going beyond the database.
    pub fn new(svc: DataSvc, plugins: Plugins, outbound: Outbound, effects: Arc<dyn Effects>) -> Self {
        Self(Arc::new(Inner { svc, plugins, outbound, effects }))
    }

    /// The plugins that it runs.
    pub fn plugins(&self) -> &Plugins {
        &self.0.plugins
    }

    /// The threads that guests run on. What calls [`Sandbox::run_action`] is to be spawned there.
    pub fn guest_threads(&self) -> &Handle {
        self.0.plugins.guests().handle()
    }

    /// Runs an action to its end, on the threads of the caller: its result, or how it ended otherwise.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run_action(&self, run: ActionRun) -> Result<Json, RunError> {
        let ActionRun {
            claim,
            plugin: ClaimedPlugin { name: plugin, digest },
            log,
            lease,
            parameters,
            cancel_requested,
        } = run;
        let call = action_call(&claim, application(&claim)?, parameters);
        let timeout = claim.timeout;
        let job = Job { claim, plugin, digest, log, lease, cancel_requested, timeout, files: None };
        let answer = self
            .run(job, async |plugin, store| plugin.elita_plugin_handler().call_run_action(store, &call).await)
            .await?;
        checked_result(JobErrorCode::ActionFailed, answer)
    }

    /// Runs a hook to its end, on the guests' threads: its result, or how it ended otherwise.
    ///
    /// # Errors
    /// [`RunError`].
    pub async fn run_hook(&self, run: HookRun) -> Result<Json, RunError> {
        let sandbox = self.clone();
        let work = async move { sandbox.run_hook_here(run).await };
        let ran = self.0.plugins.guests().run(work.in_current_span()).await;
        ran.map_err(|error| RunError::internal(&error))?
    }

    async fn run_hook_here(&self, run: HookRun) -> Result<Json, RunError> {
        let HookRun { claim, plugin, digest, hook, mut parameters, log, lease, cancel_requested, timeout, files } = run;
        if let (Some(_), Value::Object(parameters)) = (&files, &mut parameters) {
            parameters.insert("storage_dir".into(), STORAGE_DIR.into());
        }
        let call = HookCall {
            application: application(&claim)?.to_string(),
            hook,
            parameters: parameters.to_string(),
            job: claim.job_id.to_string(),
        };
        let job = Job { claim, plugin, digest, log, lease, cancel_requested, timeout, files };
        let answer = self
            .run(job, async |plugin, store| plugin.elita_plugin_handler().call_run_hook(store, &call).await)
            .await?;
        checked_result(JobErrorCode::HookFailed, answer)
    }

    /// Makes one call into a fresh instance.
    async fn run(
        &self,
        job: Job,
        call: impl AsyncFnOnce(&Plugin, &mut Store<GuestState>) -> wasmtime::Result<Result<String, Failure>>,
    ) -> Result<Result<String, Failure>, RunError> {
        let Job { claim, plugin, digest, log, lease, cancel_requested, timeout, files } = job;
        let Inner { svc, plugins, outbound, effects } = &*self.0;
        let component = plugins.component(digest).await?;
        let limits = plugins.limits();
        let failed_request = FailedRequest::default();
        let run = GuestRun {
            failed_request: failed_request.clone(),
            svc: svc.clone(),
            registered: plugins.registered().clone(),
            effects: effects.clone(),
            outbound: outbound.clone(),
            caller: plugins.caller(&plugin, claim.job_id, application(&claim)?),
            claim,
            plugin,
            started: AtomicU32::new(0),
            packages: Arc::new(Semaphore::new(MAX_OPEN_PACKAGES)),
            package_bytes: AtomicUsize::new(0),
            package_bytes_limit: limits.package_bytes(),
            files,
            log,
            lease,
            cancel_requested,
            host_call_limit: limits.host_call(),
            descendants: limits.descendants,
        };
        let answer = instance::call(&component, limits, Some(run), timeout, call);
        let answer = guests::caught(answer).await.map_err(|panic| RunError::internal(&panic))??;
        Ok(answer.map_err(|failure| Failure { message: failed_request.told(failure.message), ..failure }))
    }
}

/// What runs for a plugin belongs to an application.
fn application(claim: &Claim) -> Result<&AppName, RunError> {
    claim.application().map_err(|error| RunError::internal(&error))
}

fn action_call(claim: &Claim, application: &AppName, parameters: Vec<(String, String)>) -> ActionCall {
    ActionCall {
        application: application.to_string(),
        action: claim.name.clone(),
        parameters,
        job: claim.job_id.to_string(),
        attempt: claim.attempt.cast_unsigned(),
        user: claim.username.clone(),
    }
}

/// What a guest returned, if it is JSON that can be kept.
fn checked_result(failure_code: JobErrorCode, answer: Result<String, Failure>) -> Result<Json, RunError> {
    match answer {
        Ok(result) => json::parse(result)
            .map_err(|reason| RunError::new(JobErrorCode::InvalidResult, format!("the plugin's result is {reason}"))),
        Err(failure) => Err(failed(failure_code, failure)),
    }
}

fn failed(code: JobErrorCode, failure: Failure) -> RunError {
    let Failure { message, details, trace } = failure;
    let error = match details.map(json::parse).transpose() {
        Ok(details) => RunError { details, ..RunError::new(code, message) },
        Err(reason) => RunError::new(
            JobErrorCode::InvalidResult,
            format!("the plugin failed ({message}), and the details it gave are {reason}"),
        ),
    };
    error.traced(trace.as_deref().unwrap_or_default().lines())
}
