//! Write Elita plugins in Rust: plain functions, and one macro that tells the host about them.
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//!
//! /// Deletes widgets, and says how far it is.
//! fn delete_widgets(call: &ActionCall) -> Result<Value> {
//!     let testing: bool = call.parameter("testing")?;
//!     let count: u32 = call.parameter("count")?;
//!     jobs::progress(0, "starting")?;
//!     if !testing {
//!         log::info!("deleting {count} widgets");
//!     }
//!     jobs::progress(100, "finished")?;
//!     Ok(json!({ "deleted": count }))
//! }
//!
//! /// Tells the job's log about a new build.
//! fn declare_uploaded_build(call: &HookCall) -> Result<()> {
//!     let build: hooks::BuildUploadSuccess = call.parameters()?;
//!     jobs::append(&json!({ "status": "declared", "build": build.build_name }))?;
//!     Ok(())
//! }
//!
//! elita_plugin::plugin! {
//!     actions: {
//!         "my_application": [
//!             action("DeleteWidgets", delete_widgets)
//!                 .description("Deletes widgets")
//!                 .parameter("testing", "boolean (string)", "do not delete widgets for real (true or false)")
//!                 .parameter("count", "integer", "number of widgets to delete"),
//!         ],
//!     },
//!     hooks: {
//!         "my_application": { "BUILD_UPLOAD_SUCCESS": declare_uploaded_build },
//!     },
//! }
//! # fn main() {}
//! ```
//!
//! Build it as a `cdylib` for `wasm32-wasip2`. Every call gets a fresh instance, so that nothing is kept in
//! memory between two of them. A panic ends the job as failed, and its message is in the log.
//!
//! Off the host, in `cargo test` on the author's machine, `testing` takes the host's place. Without it the host's functions
//! panic, and say so.

#![warn(missing_docs)]

pub mod actions;
pub mod applications;
#[doc(hidden)]
pub mod bindings;
pub mod builds;
mod calls;
pub mod deployments;
mod error;
pub mod git_providers;
pub mod git_repos;
pub mod gitdeploys;
pub mod groups;
pub mod hooks;
mod host;
pub mod http;
pub mod jobs;
pub mod log;
mod names;
pub mod package_maps;
mod parameters;
mod plugin;
pub mod remote;
pub mod salt;
pub mod servers;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use calls::{ActionCall, HookCall};
pub use error::{Code, Error, Result};
pub use names::Names;
#[doc(hidden)]
pub use plugin::Exports;
pub use plugin::{Action, Plugin, action};

/// What a plugin needs every time: `use elita_plugin::prelude::*;`.
///
/// To derive [`Deserialize`](serde::Deserialize) or [`Serialize`](serde::Serialize), a plugin depends on `serde`
/// itself.
pub mod prelude {
    pub use crate::{
        ActionCall, Error, HookCall, Result, action, actions, applications, builds, deployments, git_providers,
        git_repos, gitdeploys, groups, hooks, http, jobs, package_maps, remote, salt, servers,
    };
    // The crate itself, so that it does not matter whether a plugin depends on it, too.
    pub use ::log;
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{Value, json};
}

/// The examples of the guide for plugin authors, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/plugin-authors.md")]
struct Guide;
