//! Where a request goes, and where requests may go.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;
use ipnet::IpNet;
use serde::Deserialize;

use super::address::{is_not_of_one_machine, is_public};
use super::error::Error;

/// A server that may be asked: one host and one port, and where the host's name may lead.
///
/// It is written `api.example.org:443`, and leads to public addresses only; or `10.0.0.5:8080`, which is that address,
/// public or not; or with the networks that a name may lead to instead, so that the operator says which they are:
/// `{ host = "ci.example.org:8080", addresses = ["10.1.0.0/16"] }`.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Destination {
    host: Host,
    port: u16,
    /// Where the name may lead; empty for public addresses.
    addresses: Vec<IpNet>,
}

/// A destination as it is written.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a destination is written \"host:port\" or { host = \"host:port\", addresses = [\"10.1.0.0/16\"] }"
)]
enum Written {
    Short(String),
    Long(Long),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    host: String,
    addresses: Vec<String>,
}

/// The host of a URL, in the one spelling that we compare and connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Host {
    /// Lowercase, in ASCII, without a dot at its end.
    Name(String),
    Address(IpAddr),
}

/// Where a request may go.
#[derive(Clone, Copy, Debug)]
pub enum Reach<'a> {
    /// To every server that has a public address, and to these: for URLs that users name.
    PublicAnd(&'a [Destination]),
    /// To these and no others.
    Granted(&'a [Destination]),
}

/// Where a request is to go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) tls: bool,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Host {
    /// Reads a host as browsers do: every spelling of an address becomes that address.
    fn parse(text: &str) -> Option<Self> {
        match url::Host::parse(text).ok()? {
            url::Host::Ipv4(address) => Some(Self::Address(address.into())),
            url::Host::Ipv6(address) => Some(Self::Address(IpAddr::from(address).to_canonical())),
            url::Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                (!name.is_empty()).then(|| Self::Name(name.to_owned()))
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => address.fmt(f),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl Destination {
    fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("`{text}` has no port, as in `{text}:443`"))?;
        let port = parse_port(port).ok_or_else(|| format!("`{text}` does not end with a port from 1 to 65535"))?;
        if host.contains('*') {
            return Err(format!("`{text}`: a destination is one host, without wildcards"));
        }
        let parsed = Host::parse(host).ok_or_else(|| {
            format!(
                "`{host}` is not a host: a name such as `example.org`, or an address such as `10.0.0.5` or `[fd00::5]`"
            )
        })?;
        // What looks like a name must not turn out to be an address.
        if parsed.to_string() != host.to_ascii_lowercase() {
            return Err(format!("`{host}` is to be written as `{parsed}`"));
        }
        let addresses = match parsed {
            Host::Name(_) => Vec::new(),
            Host::Address(address) if is_not_of_one_machine(address) => {
                return Err(format!("`{host}` is not a server's address"));
            }
            Host::Address(address) => vec![address.into()],
        };
        Ok(Self { host: parsed, port, addresses })
    }

    fn parse_long(Long { host, addresses }: Long) -> Result<Self, String> {
        let plain = Self::parse(&host)?;
        if let Host::Address(_) = plain.host {
            return Err(format!("`{host}` is an address already: write it without `addresses`"));
        }
        if addresses.is_empty() {
            return Err(format!("`{host}` has no `addresses`: write it without them, and it leads to public ones"));
        }
        Ok(Self { addresses: addresses.iter().map(|text| parse_network(text)).collect::<Result<_, _>>()?, ..plain })
    }

    fn is(&self, target: &Target) -> bool {
        self.host == target.host && self.port == target.port
    }

    fn leads_to(&self, address: IpAddr) -> bool {
        match &*self.addresses {
            [] => is_public(address),
            networks => !is_not_of_one_machine(address) && networks.iter().any(|network| network.contains(&address)),
        }
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl TryFrom<Written> for Destination {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Short(text) => Self::parse(&text),
            Written::Long(long) => Self::parse_long(long),
        }
    }
}

/// `ci.example.org:8080 at 10.1.0.0/16`; without networks where it is clear where it leads.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)?;
        if let Host::Name(_) = self.host {
            for (index, network) in self.addresses.iter().enumerate() {
                write!(f, "{}{network}", if index == 0 { " at " } else { ", " })?;
            }
        }
        Ok(())
    }
}

impl Target {
    /// A host and a port.
    ///
    /// # Errors
    /// [`Error::BadUrl`].
    pub(super) fn named(host: &str, port: u16) -> Result<Self, Error> {
        let host = Host::parse(host).ok_or(Error::BadUrl("its host is neither a name nor an address"))?;
        Ok(Self { tls: false, host, port })
    }

    /// # Errors
    /// [`Error::BadUrl`] if it is not a URL of a server that speaks HTTP.
    pub(super) fn of(uri: &Uri) -> Result<Self, Error> {
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Error::BadUrl("it does not begin with http:// or https://")),
        };
        let authority = uri.authority().ok_or(Error::BadUrl("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(Error::BadUrl("it has a user or a password before the host"));
        }
        let host = authority.host();
        // `authority.port()` passes over what is not a port.
        let rest = authority.as_str().strip_prefix(host).unwrap_or_default();
        let port = match rest {
            "" => Some(default_port(tls)),
            _ => rest.strip_prefix(':').and_then(parse_port),
        };
        Ok(Self {
            tls,
            host: Host::parse(host).ok_or(Error::BadUrl("its host is neither a name nor an address"))?,
            port: port.ok_or(Error::BadUrl("its port is not a number from 1 to 65535"))?,
        })
    }

    /// The value of the header `Host`.
    pub(super) fn host_header(&self) -> String {
        if self.port == default_port(self.tls) { self.host.to_string() } else { self.to_string() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Whether this is a URL that a request can be sent to, in the one way that we read it.
///
/// # Errors
/// What is wrong with it.
pub fn check_url(text: &str) -> Result<(), Error> {
    let uri: Uri = text.parse().map_err(|_| Error::BadUrl("it is not written as `https://host/path`"))?;
    Target::of(&uri).map(drop)
}

/// Whether a host is one that anybody may name: it has a public address, or a name that is not this machine's. What a name
/// leads to is found out when it is connected to. Others have to be among `also`.
pub fn may_be_named(host: &str, port: u16, also: &[Destination]) -> bool {
    let is_anybodys = match Host::parse(host) {
        Some(Host::Name(name)) => name != "localhost" && !name.ends_with(".localhost"),
        Some(Host::Address(address)) => is_public(address),
        // What is neither is not a host.
        None => return false,
    };
    is_anybodys || also.iter().any(|one| Some(&one.host) == Host::parse(host).as_ref() && one.port == port)
}

/// Whether an `http` URL leads to a host without a public address that is among these: secrets may go there unencrypted.
pub fn is_inside(url: &str, also: &[Destination]) -> bool {
    let target = url.parse().ok().and_then(|uri| Target::of(&uri).ok());
    target.is_some_and(|Target { host, port, .. }| {
        let host = host.to_string();
        !may_be_named(&host, port, &[]) && may_be_named(&host, port, also)
    })
}

impl Reach<'_> {
    /// Whether requests may go to this host and port at all.
    pub(super) fn includes(&self, target: &Target) -> bool {
        match self {
            Self::PublicAnd(_) => true,
            Self::Granted(destinations) => destinations.iter().any(|destination| destination.is(target)),
        }
    }

    /// Whether they may go there at this address.
    pub(super) fn includes_at(&self, target: &Target, address: IpAddr) -> bool {
        match self {
            Self::PublicAnd(others) => is_public(address) || lead_to(others, target, address),
            Self::Granted(destinations) => lead_to(destinations, target, address),
        }
    }
}

fn lead_to(destinations: &[Destination], target: &Target, address: IpAddr) -> bool {
    destinations.iter().any(|destination| destination.is(target) && destination.leads_to(address))
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

fn parse_port(text: &str) -> Option<u16> {
    // A sign is taken for part of the number otherwise.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok().filter(|port| *port != 0)).flatten()
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| format!("`{text}` is neither an address nor a network such as `10.1.0.0/16`"))
}

#[cfg(test)]
mod tests;
