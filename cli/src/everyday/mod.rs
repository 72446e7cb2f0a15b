//! What is done every day has a verb of its own.

pub(crate) mod census;
pub(crate) mod deploy;
pub(crate) mod follow;
pub(crate) mod log;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod upload;
