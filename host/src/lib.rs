//! Elita: a WebAssembly plugin host for deployment automation.
//!
//! Calls go down, results travel through Postgres: [`boot`] puts the parts together, [`rest`] is the HTTP API,
//! [`engine`] turns rows into runs, [`work`] is what they do, [`plugin`] runs plugins in a sandbox, [`datasvc`] holds
//! every rule and query, [`outbound`] sends requests to other servers, [`remote`] runs commands on them, and [`postgres`] and [`storage`] keep the data.
//! Start reading in `boot`.

#[macro_use]
mod errors;

mod account;
pub mod boot;
pub mod config;
pub mod data_dir;
pub mod datasvc;
pub mod engine;
pub mod git;
pub mod outbound;
pub mod plugin;
pub mod postgres;
pub mod remote;
pub mod rest;
pub mod shares;
pub mod shutdown;
pub mod storage;
pub mod telemetry;
pub mod work;
