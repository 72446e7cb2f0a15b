//! wasmtime: how a component becomes a plugin, and how it runs.
//!
//! Knows the data services, and neither HTTP nor the job loop. From the bottom up: `catalog` is what plugins have
//! registered; `sandbox` is a guest under its limits; `host` is what a guest may call, and `effects` is the part of that
//! which needs more than the database: an interface that `boot` fills; `registry` is what is loaded; `runs` are those of
//! actions and hooks. `tests/it/layering.rs` has who may know whom.

mod bindings;
mod catalog;
mod convert;
mod effects;
mod engine;
mod host;
mod json;
mod registry;
mod runs;
mod sandbox;

pub use self::catalog::FoundAction;
pub use self::effects::{Asking, Content, DeploymentIntention, Effects, OnServers, PackageWriter, What};
pub use self::registry::{Loader, Looked, Plugins, SetupError, compile_if_told, look_at};
pub use self::runs::{ActionRun, CancelRequested, HookRun, Sandbox};
pub use self::sandbox::error::RunError;
pub use self::sandbox::limits::Limits;
