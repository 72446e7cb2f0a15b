//! Elita's tests, through its front doors: HTTP, the program, the plugin directory, real components.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod harness;

mod about;
mod actions;
mod applications;
mod cancel;
mod chaos;
mod costs;
mod follow;
mod hosts;
mod http;
mod jobs;
mod layering;
mod limits;
mod openapi;
mod plugins;
mod postgres;
mod queue;
mod readme;
mod state_machine;
mod surface;
mod tokens;
