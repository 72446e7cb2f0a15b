use super::*;

/// The client of a request that came in from `peer` with these lines of `X-Forwarded-For`.
fn client(proxies: &[&str], peer: &str, lines: &[&str]) -> String {
    let proxies = TrustedProxies::new(proxies.iter().map(|network| network.parse().unwrap()).collect());
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(FORWARDED_FOR, line.parse().unwrap());
    }
    proxies.client(ClientAddress::of(SocketAddr::new(peer.parse().unwrap(), 40_000)), &headers).to_string()
}

#[test]
fn only_a_trusted_proxys_header_names_the_client() {
    assert_eq!(client(&[], "127.0.0.1", &["192.0.2.1"]), "127.0.0.1");
    assert_eq!(client(&["10.0.0.0/8"], "192.0.2.9", &["192.0.2.1"]), "192.0.2.9");
}

#[test]
fn the_client_is_who_the_last_trusted_proxy_saw() {
    let proxies = ["127.0.0.1/32", "10.0.0.0/8"];
    for (lines, expected) in [
        (&["192.0.2.1"][..], "192.0.2.1"),
        (&["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (&["6.6.6.6, 192.0.2.1, 10.1.2.3"], "192.0.2.1"),
        (&["6.6.6.6", "192.0.2.1", "10.1.2.3"], "192.0.2.1"),
        (&["192.0.2.1:4711,10.1.2.3:80"], "192.0.2.1"),
        (&["[2001:db8::1]:4711"], "2001:db8::1"),
        (&["::ffff:192.0.2.1"], "192.0.2.1"),
        // Nothing beyond what can be read is believed.
        (&["192.0.2.1, unknown, 10.1.2.3"], "10.1.2.3"),
        (&[""], "127.0.0.1"),
        (&[], "127.0.0.1"),
    ] {
        assert_eq!(client(&proxies, "127.0.0.1", lines), expected, "{lines:?}");
    }
}

#[test]
fn an_address_of_ipv4_in_one_of_ipv6_is_the_same_client() {
    assert_eq!(client(&["10.0.0.0/8"], "::ffff:10.0.0.1", &["192.0.2.1"]), "192.0.2.1");
}
