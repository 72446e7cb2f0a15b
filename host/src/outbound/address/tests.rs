use super::*;

fn public(address: &str) -> bool {
    is_public(address.parse().unwrap())
}

#[test]
fn what_the_internet_answers_at_is_public() {
    for address in [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "168.63.129.15",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "223.255.255.255",
        "2606:4700:4700::1111",
        "2a00:1450:4001:80b::200e",
        "::ffff:1.1.1.1",
        "64:ff9b::1.1.1.1",
    ] {
        assert!(public(address), "{address}");
    }
}

#[test]
fn what_a_network_keeps_to_itself_is_not() {
    for address in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "169.254.170.2",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.168.1.1",
        "198.19.255.255",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "4000::1",
    ] {
        assert!(!public(address), "{address}");
    }
}

#[test]
fn an_ipv4_address_inside_an_ipv6_one_is_looked_at() {
    for address in [
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        // IPv4-compatible, which is no longer in use.
        "::127.0.0.1",
        "::1.1.1.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::10.0.0.1",
        // 6to4 and Teredo to loopback, and to anywhere else.
        "2002:7f00:1::",
        "2002:101:101::1",
        "2001:0:53aa:64c:0:0:80ff:fffe",
    ] {
        assert!(!public(address), "{address}");
    }
}
