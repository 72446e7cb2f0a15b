//! Elita's tests, through its front doors: HTTP, the program, the plugin directory, real components.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod harness;

mod actions;
mod layering;
mod surface;
