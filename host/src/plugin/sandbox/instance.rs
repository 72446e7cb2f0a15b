//! One run of a guest: a fresh store and instance, with its limits, and what its host calls may touch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::time::Duration;

use tokio::sync::Semaphore;
use wasmtime::component::{HasData, ResourceTable};
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::filesystem::FsPerms;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::cpu::CpuMeter;
use super::error::{Exceeded, RunError};
use super::http::{FailedRequest, Http, Sender};
use super::limits::{Growth, Limits};
use super::output::{JobOutput, Output};
use crate::datasvc::{Caller, Claim, DataSvc, JobLog, Lease, Parent, PluginName};
use crate::outbound::Outbound;
use crate::plugin::bindings::{Plugin, PluginPre};
use crate::plugin::catalog::Registered;
use crate::plugin::effects::Effects;
use crate::storage::View;

/// Where a hook finds its files, in the sandbox.
pub(crate) const STORAGE_DIR: &str = "/build";

/// What the host knows of a guest while it runs.
pub(crate) struct GuestState {
    wasi: WasiCtx,
    http: Http,
    pub(crate) table: ResourceTable,
    growth: Growth,
    cpu: Arc<CpuMeter>,
    cpu_limit: Duration,
    pub(crate) output: Output,
    /// None while the plugin is asked what it registers.
    pub(crate) run: Option<GuestRun>,
}

/// The job that a guest runs for.
pub(crate) struct GuestRun {
    pub(crate) svc: DataSvc,
    pub(crate) registered: Registered,
    pub(crate) effects: Arc<dyn Effects>,
    /// What its requests are sent with.
    pub(crate) outbound: Outbound,
    pub(crate) claim: Claim,
    pub(crate) caller: Caller,
    pub(crate) plugin: PluginName,
    pub(crate) log: JobLog,
    /// Host calls wait while the claim may have been given away.
    pub(crate) lease: Lease,
    pub(crate) cancel_requested: Box<dyn Fn() -> bool + Send + Sync>,
    pub(crate) host_call_limit: Duration,
    /// How many jobs may come of the one that a user asked for.
    pub(crate) descendants: u32,
    /// How many jobs it has started.
    pub(crate) started: AtomicU32,
    /// A permit is a package that it writes.
    pub(crate) packages: Arc<Semaphore>,
    /// What it has written to packages.
    pub(crate) package_bytes: AtomicUsize,
    /// What it may write.
    pub(crate) package_bytes_limit: usize,
    /// The files that it can read; they go when it ends.
    pub(crate) files: Option<View>,
    /// Why its last request to another server failed that did.
    pub(crate) failed_request: FailedRequest,
}

impl GuestRun {
    /// Who sends its requests.
    fn sender(&self, limits: &Limits) -> Sender {
        let Self { outbound, caller, plugin, lease, log, failed_request, .. } = self;
        Sender::new(
            limits,
            outbound.clone(),
            caller.clone(),
            plugin.clone(),
            lease.clone(),
            log.clone(),
            failed_request.clone(),
        )
    }

    /// Its job, as that of a job that it starts.
    pub(crate) fn parent(&self) -> Parent {
        let Claim { root, depth, .. } = self.claim;
        Parent { job_id: self.log.job_id(), root, depth, descendants: self.descendants }
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http.view(&mut self.table)
    }
}

/// Says that host functions get the whole [`GuestState`].
pub(crate) struct HasGuestState;

impl HasData for HasGuestState {
    type Data<'a> = &'a mut GuestState;
}

/// Instantiates the component and makes one call into it, within the limits and `time_limit`.
///
/// # Errors
/// [`RunError`] if it passed a limit or trapped.
pub(crate) async fn call<T>(
    component: &PluginPre<GuestState>,
    limits: &Limits,
    run: Option<GuestRun>,
    time_limit: Duration,
    call: impl AsyncFnOnce(&Plugin, &mut Store<GuestState>) -> wasmtime::Result<T>,
) -> Result<T, RunError> {
    let job = run.as_ref().map(|run| JobOutput { log: run.log.clone(), plugin: run.plugin.clone() });
    let with_files = run.as_ref().and_then(|run| run.files.as_ref()).map(|_| limits.with_files());
    let limits = with_files.as_ref().unwrap_or(limits);
    let output = Output::new(limits, job);
    let cpu = Arc::new(CpuMeter::default());
    let mut store = new_store(component, limits, run, output.clone(), cpu.clone())?;
    let work = async {
        let instance = component.instantiate_async(&mut store).await?;
        call(&instance, &mut store).await
    };
    match tokio::time::timeout(time_limit, cpu.count(work)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(RunError::from_trap(&error, limits, &output.stderr_tail())),
        Err(_) => Err(RunError::timed_out(time_limit)),
    }
}

fn new_store(
    component: &PluginPre<GuestState>,
    limits: &Limits,
    run: Option<GuestRun>,
    output: Output,
    cpu: Arc<CpuMeter>,
) -> Result<Store<GuestState>, RunError> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles as usize);
    // No environment, no arguments, no sockets, and no directory but one to read.
    let mut wasi = WasiCtx::builder();
    wasi.allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(limits.host_call_bytes() as u64)
        .stdout(output.stdout())
        .stderr(output.stderr());
    if let Some(files) = run.as_ref().and_then(|run| run.files.as_ref()) {
        // On the guest's own thread: handing each piece of 64 KiB to another one takes longer than reading it, and what
        // reading costs is counted like that.
        let shown =
            wasi.allow_blocking_current_thread(true).preopened_dir(files.directory(), STORAGE_DIR, FsPerms::ReadOnly);
        shown.map_err(|error| RunError::internal(&error))?;
    }
    let state = GuestState {
        wasi: wasi.build(),
        http: Http::new(run.as_ref().map(|run| run.sender(limits))),
        table,
        growth: Growth::new(limits),
        cpu,
        cpu_limit: limits.cpu(),
        output,
        run,
    };
    let mut store = Store::new(component.engine(), state);
    store.limiter(|state| &mut state.growth);
    store.set_hostcall_fuel(limits.host_call_bytes());
    store.set_max_component_handles(limits.handles as usize);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        let state = context.data();
        if state.cpu.used() > state.cpu_limit {
            return Err(Exceeded::Cpu.into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    Ok(store)
}
