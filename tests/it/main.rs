//! Elita's tests, through its front doors: HTTP, the program, the plugin directory, real components.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod harness;

mod about;
mod access;
mod actions;
mod applications;
mod audit;
mod bounds;
mod builds;
mod cancel;
mod chaos;
mod cli;
mod compiling;
mod connections;
mod costs;
mod descendants;
mod documents;
mod doors;
mod follow;
mod git_providers;
mod git_repos;
mod gitdeploys;
mod golden;
mod groups;
mod hooks;
mod hosts;
mod http;
mod jobs;
mod keypairs;
mod languages;
mod layering;
mod limits;
mod lists;
mod logins;
mod openapi;
mod outbound;
mod package_maps;
mod packages;
mod plugins;
mod postgres;
mod queue;
mod readme;
mod secrets;
mod servers;
mod shares;
mod standing;
mod state_machine;
mod steps;
mod surface;
mod tls;
mod tokens;
mod trace;
mod uploads;
mod users;
