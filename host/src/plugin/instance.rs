//! One run of a guest: a fresh store and instance, with its limits, and what its host calls may touch.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use wasmtime::component::{HasData, ResourceTable};
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use super::Plugins;
use super::bindings::{Plugin, PluginPre};
use super::cpu::CpuMeter;
use super::error::{Exceeded, RunError};
use super::host::http::Http;
use super::limits::{Growth, Limits};
use super::output::Output;
use crate::datasvc::{Caller, DataSvc, JobId, JobLog, Lease, Parent, PluginName};

/// What the host knows of a guest while it runs.
pub(crate) struct GuestState {
    wasi: WasiCtx,
    http: Http,
    table: ResourceTable,
    growth: Growth,
    cpu: Arc<CpuMeter>,
    cpu_limit: Duration,
    pub(super) output: Output,
    /// None while the plugin is asked what it registers.
    pub(super) run: Option<Run>,
}

/// The job that a guest runs for.
pub(super) struct Run {
    pub(super) svc: DataSvc,
    pub(super) plugins: Plugins,
    pub(super) caller: Caller,
    pub(super) plugin: PluginName,
    pub(super) log: JobLog,
    /// Host calls wait while the claim may have been given away.
    pub(super) lease: Lease,
    pub(super) cancel_requested: Box<dyn Fn() -> bool + Send + Sync>,
    pub(super) host_call_limit: Duration,
    /// The job that its job comes of, or that itself.
    pub(super) root: JobId,
    /// How many jobs are above its job.
    pub(super) depth: i32,
    /// How many jobs it has started.
    pub(super) started: AtomicU32,
    /// Says that it has made a job.
    pub(super) tell_queued: Box<dyn Fn() + Send + Sync>,
}

impl Run {
    /// Its job, as that of a job that it starts.
    pub(super) fn parent(&self) -> Parent {
        let descendants = self.plugins.limits().descendants;
        Parent { job_id: self.log.job_id(), root: self.root, depth: self.depth, descendants }
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
pub(super) struct HasGuestState;

impl HasData for HasGuestState {
    type Data<'a> = &'a mut GuestState;
}

/// Instantiates the component and makes one call into it, within the limits and `time_limit`.
///
/// # Errors
/// [`RunError`] if it passed a limit or trapped.
pub(super) async fn call<T>(
    component: &PluginPre<GuestState>,
    limits: &Limits,
    run: Option<Run>,
    time_limit: Duration,
    call: impl AsyncFnOnce(&Plugin, &mut Store<GuestState>) -> wasmtime::Result<T>,
) -> Result<T, RunError> {
    let output = Output::new(limits, run.as_ref().map(|run| run.log.clone()));
    let cpu = Arc::new(CpuMeter::default());
    let mut store = new_store(component, limits, run, output.clone(), cpu.clone());
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
    run: Option<Run>,
    output: Output,
    cpu: Arc<CpuMeter>,
) -> Store<GuestState> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(limits.handles as usize);
    let state = GuestState {
        // No environment, no arguments, no directories, no sockets.
        wasi: WasiCtx::builder()
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(limits.host_call_bytes() as u64)
            .stdout(output.stdout())
            .stderr(output.stderr())
            .build(),
        http: Http::new(limits, run.as_ref()),
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
    store
}
