//! Elita: a WebAssembly plugin host for deployment automation.
//!
//! Calls go down, results travel through Postgres: [`boot`] puts the parts together, [`rest`] is the HTTP door,
//! [`engine`] turns rows into runs, [`work`] is what they do, [`plugin`] is the wasm door and its sandbox, [`datasvc`]
//! holds every rule and query, [`outbound`] is the way out, and [`postgres`] and [`storage`] are what it all stands on.
//! Start reading in `boot`.

pub mod boot;
pub mod config;
pub mod data_dir;
pub mod datasvc;
pub mod engine;
pub mod outbound;
pub mod plugin;
pub mod postgres;
pub mod rest;
pub mod shares;
pub mod shutdown;
pub mod storage;
pub mod telemetry;
pub mod work;
