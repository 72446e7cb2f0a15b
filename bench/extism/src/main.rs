//! How long extism takes for a plugin call: instantiate, run, drop. To be set beside Elita's figure from the same machine.

use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};
use serde_json::json;

/// Measures how long extism takes for a plugin call, and prints a line of JSON.
#[derive(Parser)]
struct Arguments {
    /// Calls to measure; as many go before.
    #[arg(long, default_value_t = 2000)]
    calls: u32,
}

/// What Elita hands to an action, as near as can be.
const CALL: &str = r#"{"application": "hostile", "action": "Noop", "parameters": [],
    "job": "f434540d-5bfd-46b5-9045-12e8cecf47b3", "attempt": 1, "user": null}"#;

fn main() -> anyhow::Result<()> {
    let Arguments { calls } = Arguments::parse();
    let plugin = wat::parse_str(include_str!("noop.wat"))?;
    // Compiled once, and WASI linked, as Elita does it.
    let compiled = PluginBuilder::new(Manifest::new([Wasm::data(plugin)])).with_wasi(true).compile()?;
    call(&compiled, calls)?;
    let began = Instant::now();
    call(&compiled, calls)?;
    let micros = began.elapsed().as_secs_f64() * 1e6 / f64::from(calls);
    println!("{}", json!({ "peer": "extism", "calls": calls, "micros_per_call": micros }));
    Ok(())
}

/// Each with an instance of its own, as Elita's calls have one.
fn call(compiled: &CompiledPlugin, calls: u32) -> anyhow::Result<()> {
    for _ in 0..calls {
        let answer = Plugin::new_from_compiled(compiled)?.call::<&str, String>("noop", CALL)?;
        ensure!(answer == "null", "it answered {answer}");
    }
    Ok(())
}
