//! The peer of a plugin call: wasmtime alone on the same component, with pooling, WASI and the imports linked.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceTable, Val};
use wasmtime::{Config, Engine, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use self::exports::elita::plugin::handler::ActionCall;
use crate::memory;
use crate::site::APPLICATION;

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin-base",
    imports: { default: async | trappable },
    exports: { default: async },
});

pub(crate) struct Bare {
    engine: Engine,
    plugin: PluginBasePre<State>,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl Bare {
    pub(crate) fn new(component: &[u8]) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.allocation_strategy(PoolingAllocationConfig::new()).concurrency_support(false);
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, component)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        link_imports(&mut linker, &component)?;
        let plugin = PluginBasePre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, plugin })
    }

    /// Instantiates, runs and drops.
    pub(crate) async fn call(&self, action: &str) -> wasmtime::Result<()> {
        self.run(action).await.map(drop)
    }

    /// The private memory that a run uses, when it has ended and is not dropped yet.
    pub(crate) async fn memory_of(&self, action: &str) -> wasmtime::Result<u64> {
        let before = memory::private_bytes();
        let _store = self.run(action).await?;
        Ok(memory::private_bytes().saturating_sub(before))
    }

    async fn run(&self, action: &str) -> wasmtime::Result<Store<State>> {
        let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        let call = ActionCall {
            application: APPLICATION.into(),
            action: action.into(),
            parameters: Vec::new(),
            job: "f434540d-5bfd-46b5-9045-12e8cecf47b3".into(),
            attempt: 1,
            user: None,
        };
        let plugin = self.plugin.instantiate_async(&mut store).await?;
        let answer = plugin.elita_plugin_handler().call_run_action(&mut store, &call).await?;
        answer.map_err(|failure| wasmtime::Error::msg(failure.message))?;
        Ok(store)
    }
}

/// Of Elita's interfaces, what is measured calls nothing but `jobs.cancel-requested`.
fn link_imports(linker: &mut Linker<State>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    for (interface, item) in component.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(imported) = item.ty else { continue };
        if !interface.starts_with("elita:") {
            continue;
        }
        let mut offered = linker.instance(interface)?;
        for (function, item) in imported.exports(&engine) {
            let ComponentItem::ComponentFunc(_) = item.ty else { continue };
            let is_known = function == "cancel-requested";
            offered.func_new(function, move |_, _, _, results| {
                if !is_known {
                    return Err(wasmtime::Error::msg("what is measured calls only jobs.cancel-requested"));
                }
                results[0] = Val::Bool(false);
                Ok(())
            })?;
        }
    }
    Ok(())
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
