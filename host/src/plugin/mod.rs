//! wasmtime: how a component becomes a plugin, and how it runs.
//!
//! Knows the data services, and neither HTTP nor the job loop. `registry` is what is loaded, and what it has registered;
//! `sandbox` is a run, under its limits; `host` is what a guest may call, and `effects` is the part of that which needs
//! more than the database: an interface that `boot` fills.

mod bindings;
mod convert;
mod effects;
mod host;
mod json;
mod registry;
mod sandbox;

pub use self::effects::{Asking, Content, Effects, OnServers, PackageWriter, What};
pub use self::registry::{FoundAction, Loader, Looked, Plugins, SetupError, compile_if_told, look_at};
pub use self::sandbox::error::RunError;
pub use self::sandbox::limits::Limits;
pub use self::sandbox::{ActionRun, CancelRequested, HookRun, Sandbox};
