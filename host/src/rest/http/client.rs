//! Where a request comes from.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use ipnet::IpNet;

use super::problem::Problem;
use crate::rest::Rest;
use crate::shares::network;

const FORWARDED_FOR: &str = "X-Forwarded-For";

/// The address of the client that sent a request. `server` puts it into the request's extensions; a handler takes it
/// as an argument.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(in crate::rest) struct ClientAddress(IpAddr);

impl ClientAddress {
    /// That of whoever is at the other end of a connection. IPv4 inside of IPv6 is IPv4.
    pub(in crate::rest) fn of(peer: SocketAddr) -> Self {
        Self(peer.ip().to_canonical())
    }

    /// That of the client that sent a request.
    ///
    /// # Errors
    /// 500 if it is not known.
    pub(in crate::rest) fn of_request(parts: &Parts) -> Result<Self, Problem> {
        let missing = std::io::Error::other("a request came in by another way than the server");
        parts.extensions.get().copied().ok_or_else(|| Problem::internal(&missing))
    }

    pub(in crate::rest) fn ip(self) -> IpAddr {
        self.0
    }

    /// Whom it counts for where many share something.
    pub(in crate::rest) fn network(self) -> IpAddr {
        network(self.0)
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Those in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Whether this is one of them.
    pub(in crate::rest) fn trusts(&self, peer: ClientAddress) -> bool {
        self.0.iter().any(|network| network.contains(&peer.0))
    }

    /// Who sent a request that came in from `peer`: the last address that a trusted proxy saw, which is not a trusted
    /// proxy's. What stands before it in `X-Forwarded-For` may have been made up.
    pub(in crate::rest) fn client(&self, peer: ClientAddress, headers: &HeaderMap) -> ClientAddress {
        let mut client = peer;
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let mut before = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        while self.trusts(client) {
            match before.next().and_then(|text| address(text.trim())) {
                Some(address) => client = ClientAddress(address.to_canonical()),
                None => break,
            }
        }
        client
    }
}

/// With or without a port.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

impl FromRequestParts<Rest> for ClientAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _rest: &Rest) -> Result<Self, Problem> {
        Self::of_request(parts)
    }
}

#[cfg(test)]
mod tests;
