//! wasmtime's engine, set up for many short runs of plugins that nobody trusts.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::thread;
use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, PoolingAllocationConfig};

use super::bindings::Plugin;
use super::host::http;
use super::sandbox::instance::{GuestState, HasGuestState};
use super::sandbox::limits::Limits;

/// How often a running guest is interrupted to count its time and to let others run.
const EPOCH: Duration = Duration::from_millis(10);
/// The largest instance's bookkeeping; it grows with the number of functions and imports.
const MAX_INSTANCE_BYTES: usize = 16 * 1024 * 1024;
/// What the host's own calls need of a run's stack, beside the guest's.
const HOST_STACK_BYTES: usize = 512 * 1024;

/// The engine with its limits. The same for all plugins.
pub(crate) fn new_engine(limits: &Limits) -> wasmtime::Result<Engine> {
    // One more, to ask a new plugin what it registers while all runs are taken.
    let runs = limits.runs + 1;
    // A component's parts are drawn from pools that all runs share: enough for every run to have as many as it may,
    // so that no plugin takes another's.
    let parts = runs.saturating_mul(limits.instances);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(runs)
        .total_core_instances(parts)
        .total_memories(runs.saturating_mul(limits.memories))
        .total_tables(parts)
        .total_stacks(runs)
        .max_component_instance_size(MAX_INSTANCE_BYTES)
        .max_core_instance_size(MAX_INSTANCE_BYTES)
        .max_core_instances_per_component(limits.instances)
        .max_memories_per_component(limits.memories)
        .max_tables_per_component(limits.instances)
        .max_memories_per_module(limits.memories)
        .max_tables_per_module(limits.instances)
        .max_memory_size(limits.memory_bytes())
        .table_elements(limits.table_elements as usize);
    let mut config = what_compiling_depends_on();
    config
        .allocation_strategy(pool)
        .max_wasm_stack(limits.stack_bytes())
        .async_stack_size(limits.stack_bytes() + HOST_STACK_BYTES);
    let engine = Engine::new(&config)?;
    tick(&engine)?;
    Ok(engine)
}

/// An engine that runs nothing, and compiles for the one above.
pub(crate) fn new_compiler() -> wasmtime::Result<Engine> {
    Engine::new(&what_compiling_depends_on())
}

/// The same for both: a compiled form fits an engine that was set up so.
fn what_compiling_depends_on() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // WASI 0.2 knows no async functions, and without them calls are cheaper.
        .concurrency_support(false)
        .wasm_memory64(false);
    config
}

/// Counts epochs for as long as the engine lives.
fn tick(engine: &Engine) -> wasmtime::Result<()> {
    let engine = engine.weak();
    let ticker = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(EPOCH);
        }
    };
    thread::Builder::new().name("elita-epochs".into()).spawn(ticker)?;
    Ok(())
}

/// Everything that a plugin may import.
pub(crate) fn new_linker(engine: &Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    http::add_to_linker(&mut linker)?;
    Plugin::add_to_linker::<_, HasGuestState>(&mut linker, |state| state)?;
    Ok(linker)
}

/// What tells this engine's compiled forms from those of another version or other settings.
pub(crate) fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
