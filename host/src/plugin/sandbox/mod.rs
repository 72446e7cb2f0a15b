//! A guest under its limits: one call into a fresh instance.
//!
//! `instance` has the store and what its host calls may touch; `limits`, `cpu` and `output` are what it may use, `http`
//! sends its requests, `error` is how it can end badly, and `guests` are the threads that it runs on.

pub(crate) mod cpu;
pub(crate) mod error;
pub(crate) mod guests;
pub(crate) mod http;
pub(crate) mod instance;
pub(crate) mod limits;
pub(crate) mod output;
