//! The host's functions, as this crate calls them: the bindings in a component, and off the host what
//! [`testing`](crate::testing) has in their place.

#[cfg(target_family = "wasm")]
pub(crate) use crate::bindings::elita::plugin::{builds, jobs, log};
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::host::{builds, jobs, log};
