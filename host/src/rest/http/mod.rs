//! HTTP as all nouns need it: connections, requests read within their limits, replies, problems.
//!
//! - [`server`] accepts connections, [`tls`] encrypts them, [`connection`] answers on one and [`delivery`] sends the
//!   reply; [`front`] is what every request passes;
//! - [`whole`] reads bodies before handlers are called, [`pace`] those that may be long, and [`idempotency`] tells
//!   whether a request came before;
//! - [`auth`] gives a handler its caller, [`session`] one that goes on for long, [`client`] the address; [`path`],
//!   [`args`] and [`parameters`] are what is asked, read from the URL and the body by [`form`], [`body`] and [`json`];
//! - [`document`] is what clients change, [`reply`], [`page`] and [`range`] are what the server answers, [`problem`] is
//!   what it answers when something is wrong; [`pretty`] indents it.

pub(super) mod args;
pub(super) mod auth;
pub(super) mod body;
pub(super) mod client;
pub(super) mod connection;
pub(super) mod delivery;
pub(super) mod document;
pub(super) mod form;
pub(super) mod front;
pub(super) mod idempotency;
pub(super) mod json;
pub(super) mod pace;
pub(super) mod page;
pub(super) mod parameters;
pub(super) mod path;
pub(super) mod pretty;
pub(super) mod problem;
pub(super) mod range;
pub(super) mod reply;
pub(super) mod server;
pub(super) mod session;
pub(super) mod several;
pub(super) mod tls;
pub(super) mod whole;
