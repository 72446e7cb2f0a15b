use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::Declared;
use crate::datasvc::Digest;

const HELLO: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";

fn declared(values: &[(&'static str, &str)]) -> Option<Declared> {
    let headers = values.iter().map(|(name, value)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value that can be sent"))
    });
    Declared::of(&headers.collect::<HeaderMap>()).ok()
}

fn sha256(text: &str) -> [u8; 32] {
    Digest::of(text.as_bytes()).as_bytes().try_into().expect("a SHA-256 has 32 bytes")
}

#[test]
fn a_digest_is_compared_wherever_it_stands() {
    for name in ["content-digest", "repr-digest"] {
        let declared = declared(&[(name, HELLO)]).expect("a digest");
        assert!(declared.check(&sha256("hello")).is_ok());
        assert!(declared.check(&sha256("hullo")).is_err());
    }
    let both = declared(&[("repr-digest", HELLO), ("content-digest", &HELLO.replace('L', "M"))]).expect("digests");
    assert!(both.check(&sha256("hello")).is_err());
}

#[test]
fn other_algorithms_are_passed_over_beside_one_that_is_checked() {
    let with_others = format!("sha-512=:AAAA:, {HELLO},unixsum=:AA==:");
    for values in [
        vec![("content-digest", &*with_others)],
        vec![("content-digest", HELLO), ("x-checksum-sha1", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d")],
    ] {
        let declared = declared(&values).expect("a digest");
        assert!(declared.check(&sha256("hello")).is_ok());
        assert!(declared.check(&sha256("hullo")).is_err());
    }
}

#[test]
fn what_cannot_be_checked_is_refused() {
    for (name, value) in [
        ("content-digest", "sha-512=:AAAA:"),
        ("digest", "md5=HUXZLQLMuI/KZ5KDcJPcOA=="),
        ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
        ("x-checksum-sha1", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"),
        ("x-goog-hash", "crc32c=AAAAAA=="),
        ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    ] {
        assert!(declared(&[(name, value)]).is_none(), "{name}: {value}");
    }
}

#[test]
fn other_ways_to_say_it_are_understood() {
    let base64 = HELLO.trim_start_matches("sha-256=").trim_matches(':');
    let hexadecimal = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    for (name, value) in [
        ("content-digest", HELLO.replace("sha", "SHA")),
        ("digest", format!("SHA-256={base64}")),
        ("digest", format!("md5=AAAA,sha-256={base64}")),
        ("x-checksum-sha256", hexadecimal.to_owned()),
        ("x-checksum-sha256", hexadecimal.to_uppercase()),
        ("x-amz-content-sha256", hexadecimal.to_owned()),
        ("x-amz-checksum-sha256", base64.to_owned()),
    ] {
        let declared = declared(&[(name, &value)]).unwrap_or_else(|| panic!("{name}: {value}"));
        assert!(declared.check(&sha256("hello")).is_ok(), "{name}: {value}");
        assert!(declared.check(&sha256("hullo")).is_err(), "{name}: {value}");
    }
    assert!(declared(&[("x-checksum-sha256", "2cf2")]).is_none());
}

#[test]
fn without_a_digest_every_file_is_right() {
    assert!(declared(&[]).expect("nothing").check(&sha256("hello")).is_ok());
}

#[test]
fn what_is_no_digest_is_refused() {
    for value in ["", "sha-256", "sha-256=LPJN", "sha-256=:LPJN:", "sha-256=:!:", "sha-256=::", &HELLO.replace('L', "")]
    {
        assert!(declared(&[("content-digest", value)]).is_none(), "{value}");
    }
}
