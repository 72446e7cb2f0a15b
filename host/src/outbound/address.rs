//! Which addresses are public, that is, reachable on the Internet.
//!
//! An address that is not known to be public counts as private, so that an unusual notation is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// IANA's special-purpose addresses, and those at which clouds keep their metadata.
const NOT_PUBLIC_V4: [Ipv4Net; 16] = [
    // This host; Linux connects 0.0.0.0 to itself.
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    // Behind a carrier's NAT.
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    // Link-local; metadata at 169.254.169.254.
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    // Documentation, as the two more below.
    v4(192, 0, 2, 0, 24),
    // Relays of 6to4.
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    // Measuring networks.
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    // Azure's metadata and agents, in the midst of public addresses.
    v4(168, 63, 129, 16, 32),
    // Multicast.
    v4(224, 0, 0, 0, 4),
    // Reserved, and broadcast.
    v4(240, 0, 0, 0, 4),
];

/// The only part of IPv6 that is given out to the public. All of loopback, link-local, unique local, multicast and
/// site-local addresses is outside of it.
const GIVEN_OUT_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// What in that part leads elsewhere.
const NOT_PUBLIC_V6: [Ipv6Net; 4] = [
    // Teredo, which wraps an IPv4 address, and other protocols.
    v6(0x2001, 0, 0, 23),
    // Documentation.
    v6(0x2001, 0xdb8, 0, 32),
    // 6to4, which wraps one, too.
    v6(0x2002, 0, 0, 16),
    // Documentation.
    v6(0x3fff, 0, 0, 20),
];

/// How a network without IPv4 spells an IPv4 address, in the last four bytes.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// Whether the address is a public one, however it is spelled.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) if NAT64.contains(&address) => is_public(last_four_bytes(address).into()),
        IpAddr::V6(address) => {
            GIVEN_OUT_V6.contains(&address) && !NOT_PUBLIC_V6.iter().any(|network| network.contains(&address))
        }
    }
}

/// Whether it is not an address of a single machine, so that nothing allows it.
pub(super) fn is_not_of_one_machine(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn last_four_bytes(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests;
