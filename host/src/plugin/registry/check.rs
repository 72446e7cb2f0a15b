//! Looking at a plugin's file without a server: what the loader would say of it.

use super::inspect::{self, Refusal};
use super::{misfit, register};
use crate::datasvc::{Digest, Registration};
use crate::plugin::bindings::PluginPre;
use crate::plugin::engine;
use crate::plugin::sandbox::limits::Limits;

/// What a server would take a file for.
#[derive(Debug)]
pub struct Looked {
    /// Of the file.
    pub digest: Digest,
    /// What it registers.
    pub registration: Registration,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
}

/// Inspects, compiles and asks a component, under the loader's limits. Nothing of it is kept. Compiling blocks.
///
/// # Errors
/// Why a server would refuse it, in a sentence for its author.
pub async fn look_at(bytes: &[u8], mut limits: Limits) -> Result<Looked, String> {
    let said = |refusal: Refusal| refusal.to_string();
    let limit = limits.file_bytes();
    if bytes.len() > limit {
        return Err(format!("the file has {} bytes, and at most {limit} are taken", bytes.len()));
    }
    // One run at a time: that is all there will be.
    limits.runs = 1;
    let imports = inspect::inspect(bytes, &limits).map_err(said)?;
    let unusable = |problem: wasmtime::Error| format!("it cannot be used: {}", misfit::reason(&problem));
    let engine = engine::new_engine(&limits).map_err(unusable)?;
    let linker = engine::new_linker(&engine).map_err(unusable)?;
    let component = wasmtime::component::Component::new(&engine, bytes).map_err(unusable)?;
    let ready = linker.instantiate_pre(&component).and_then(PluginPre::new).map_err(unusable)?;
    let registration = register::register(&ready, &limits).await.map_err(said)?;
    Ok(Looked { digest: Digest::of(bytes), registration, imports })
}
