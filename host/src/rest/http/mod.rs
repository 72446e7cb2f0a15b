//! HTTP as all nouns need it: connections, requests read within their limits, replies, problems.
//!
//! - [`server`] accepts connections, [`tls`] encrypts them, [`connection`] answers on one, [`refusal`] says why not and [`delivery`] sends the
//!   reply; [`front`] is what every request passes, [`guide`] helps where there is nothing;
//! - [`whole`] reads bodies before handlers are called, [`pace`] those that may be long, and [`idempotency`] tells
//!   whether a request came before;
//! - [`cors`] says which pages of other servers may ask;
//! - [`auth`] gives a handler its caller, [`session`] one that goes on for long, [`client`] the address; [`path`],
//!   [`args`] and [`parameters`] are what is asked, read from the URL and the body by [`form`], [`body`] and [`json`];
//! - [`moment`] is a time as clients write it, [`wait`] is how long a request may wait;
//! - [`document`] is what clients change, [`reply`], [`page`] and [`range`] are what the server answers, [`problem`] is
//!   what it answers when something is wrong; [`pretty`] indents it,
//!   and [`representation`] spares what the client has already, and compresses.

pub(super) mod args;
pub(super) mod auth;
pub(super) mod body;
pub(super) mod client;
pub(super) mod connection;
pub(super) mod cors;
pub(super) mod delivery;
pub(super) mod document;
pub(super) mod form;
pub(super) mod front;
pub(super) mod guide;
pub(super) mod idempotency;
pub(super) mod json;
pub(super) mod moment;
pub(super) mod pace;
pub(super) mod page;
pub(super) mod parameters;
pub(super) mod path;
pub(super) mod pretty;
pub(super) mod problem;
pub(super) mod range;
pub(super) mod refusal;
pub(super) mod reply;
pub(super) mod representation;
pub(super) mod server;
pub(super) mod session;
pub(super) mod several;
pub(super) mod tls;
pub(super) mod wait;
pub(super) mod whole;
