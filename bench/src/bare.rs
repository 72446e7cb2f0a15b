//! The peer of a plugin call: wasmtime alone on the same component, with pooling, WASI and the imports linked.

use wasmtime::component::{Component, HasData, Linker, ResourceTable};
use wasmtime::{Config, Engine, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use self::elita::plugin::{jobs, log, types};
use self::exports::elita::plugin::handler::ActionCall;
use crate::site::{ACTION, APPLICATION};

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

struct HasState;

impl HasData for HasState {
    type Data<'a> = &'a mut State;
}

impl Bare {
    pub(crate) fn new(component: &[u8]) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.allocation_strategy(PoolingAllocationConfig::new()).concurrency_support(false);
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        PluginBase::add_to_linker::<_, HasState>(&mut linker, |state| state)?;
        let plugin = PluginBasePre::new(linker.instantiate_pre(&Component::new(&engine, component)?)?)?;
        Ok(Self { engine, plugin })
    }

    /// Instantiates, runs and drops.
    pub(crate) async fn call(&self) -> wasmtime::Result<()> {
        let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        let call = ActionCall {
            application: APPLICATION.into(),
            action: ACTION.into(),
            parameters: Vec::new(),
            job: "f434540d-5bfd-46b5-9045-12e8cecf47b3".into(),
            attempt: 1,
            user: None,
        };
        let plugin = self.plugin.instantiate_async(&mut store).await?;
        let answer = plugin.elita_plugin_handler().call_run_action(&mut store, &call).await?;
        answer.map(drop).map_err(|failure| wasmtime::Error::msg(failure.message))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The action that is measured calls none of these.
const UNUSED: &str = "the action that is measured calls no import";

impl types::Host for State {}

impl log::Host for State {
    async fn write(&mut self, _: log::Level, _: String) -> wasmtime::Result<()> {
        Err(wasmtime::Error::msg(UNUSED))
    }
}

impl jobs::Host for State {
    async fn current(&mut self) -> wasmtime::Result<String> {
        Err(wasmtime::Error::msg(UNUSED))
    }

    async fn append(&mut self, _: String) -> wasmtime::Result<Result<u64, types::Error>> {
        Err(wasmtime::Error::msg(UNUSED))
    }

    async fn progress(&mut self, _: u8, _: String) -> wasmtime::Result<Result<u64, types::Error>> {
        Err(wasmtime::Error::msg(UNUSED))
    }

    async fn cancel_requested(&mut self) -> wasmtime::Result<bool> {
        Err(wasmtime::Error::msg(UNUSED))
    }

    async fn get(&mut self, _: String) -> wasmtime::Result<Result<jobs::Job, types::Error>> {
        Err(wasmtime::Error::msg(UNUSED))
    }

    async fn entries(&mut self, _: String, _: u64, _: u32) -> wasmtime::Result<Result<Vec<jobs::Entry>, types::Error>> {
        Err(wasmtime::Error::msg(UNUSED))
    }
}
