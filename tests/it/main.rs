//! Elita's tests, through its front doors: HTTP, the program, the plugin directory, real components.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod harness;

mod about;
mod actions;
mod applications;
mod builds;
mod cancel;
mod chaos;
mod costs;
mod documents;
mod doors;
mod follow;
mod git_providers;
mod git_repos;
mod gitdeploys;
mod golden;
mod groups;
mod hosts;
mod http;
mod jobs;
mod keypairs;
mod languages;
mod layering;
mod limits;
mod openapi;
mod package_maps;
mod plugins;
mod postgres;
mod queue;
mod readme;
mod servers;
mod state_machine;
mod surface;
mod tokens;
mod users;
