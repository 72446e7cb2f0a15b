//! Where a request comes from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Rest;
use super::problem::Problem;

/// The address of the client that sent a request. `server` puts it into the request's extensions; a handler takes it
/// as an argument.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct ClientAddress(IpAddr);

impl ClientAddress {
    /// That of whoever is at the other end of a connection. IPv4 inside of IPv6 is IPv4.
    pub(super) fn of(peer: SocketAddr) -> Self {
        Self(peer.ip().to_canonical())
    }

    #[expect(dead_code, reason = "for handlers")]
    pub(super) fn ip(self) -> IpAddr {
        self.0
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromRequestParts<Rest> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _rest: &Rest) -> Result<Self, Problem> {
        let missing = std::io::Error::other("a request came in by another way than the server");
        parts.extensions.get().copied().ok_or_else(|| Problem::internal(&missing))
    }
}
