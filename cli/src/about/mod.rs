//! The client itself: logging in and out, contexts, completion, the manual, and what is wrong when nothing works.

pub(crate) mod api;
pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod doctor;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod man;
pub(crate) mod topics;
pub(crate) mod whoami;
