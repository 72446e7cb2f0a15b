//! A hook by itself: no operation of the host fires one yet, so that a test calls the component, as the host will.

use std::path::Path;

use elita::datasvc::Digest;
use serde_json::Value;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceTable, Val};
use wasmtime::{Config, Engine, Store, StoreContextMut};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::host::shared_cache;

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    /// What was added to the job's log.
    entries: Vec<Value>,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Runs a hook of the application `my_application`: its result, and what it added to the job's log. Of the host it can
/// call nothing but `jobs.append`.
pub(crate) async fn run_hook(file: &Path, hook: &str, parameters: &Value) -> (Value, Vec<Value>) {
    // Set up as the servers' engines are, as far as compiling depends on it.
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false).wasm_memory64(false);
    let engine = Engine::new(&config).unwrap();
    let component = compiled(&engine, file).unwrap_or_else(|| Component::from_file(&engine, file).unwrap());
    let mut linker = Linker::<State>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    for (interface, item) in component.component_type().imports(&engine) {
        let ComponentItem::ComponentInstance(imported) = item.ty else { continue };
        if !interface.starts_with("elita:") {
            continue;
        }
        let mut offered = linker.instance(interface).unwrap();
        for (function, item) in imported.exports(&engine) {
            if let ComponentItem::ComponentFunc(_) = item.ty {
                let name = format!("{interface}#{function}");
                offered
                    .func_new(function, move |store, _, arguments, results| call(&name, store, arguments, results))
                    .unwrap();
            }
        }
    }

    let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new(), entries: Vec::new() };
    let mut store = Store::new(&engine, state);
    // No epoch ever ends here.
    store.set_epoch_deadline(1);
    let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
    let handler = instance.get_export_index(&mut store, None, "elita:plugin/handler@0.1.0").unwrap();
    let run_hook = instance.get_export_index(&mut store, Some(&handler), "run-hook").unwrap();
    let call = [
        ("application", "my_application"),
        ("hook", hook),
        ("parameters", &parameters.to_string()),
        ("job", "f434540d-5bfd-46b5-9045-12e8cecf47b3"),
    ];
    let call = call.map(|(field, value)| (field.to_owned(), Val::String(value.to_owned())));
    let mut answer = [Val::Bool(false)];
    let function = instance.get_func(&mut store, run_hook).unwrap();
    function.call_async(&mut store, &[Val::Record(call.into())], &mut answer).await.unwrap();
    let [Val::Result(Ok(Some(result)))] = answer else { panic!("{answer:?}") };
    let Val::String(result) = *result else { panic!("{result:?}") };
    (serde_json::from_str(&result).unwrap(), store.into_data().entries)
}

/// What a server has compiled of this file, if one has.
#[expect(unsafe_code, reason = "compiled code is trusted: it was compiled by the servers of these tests")]
fn compiled(engine: &Engine, file: &Path) -> Option<Component> {
    let form = format!("{}.cwasm", Digest::of(&std::fs::read(file).unwrap()).hex());
    let folders = std::fs::read_dir(shared_cache()).ok()?;
    let forms = folders.map(|folder| folder.unwrap().path().join(&form));
    // SAFETY: servers write whole forms only, and a form for another engine is recognised and refused.
    forms.filter(|form| form.exists()).find_map(|form| unsafe { Component::deserialize_file(engine, form) }.ok())
}

/// A call of the host.
fn call(
    function: &str,
    mut store: StoreContextMut<'_, State>,
    arguments: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let ("elita:plugin/jobs@0.1.0#append", [Val::String(data)]) = (function, arguments) else {
        return Err(wasmtime::Error::msg(format!("the hook called {function}")));
    };
    let entries = &mut store.data_mut().entries;
    entries.push(serde_json::from_str(data)?);
    results[0] = Val::Result(Ok(Some(Box::new(Val::U64(entries.len() as u64)))));
    Ok(())
}
