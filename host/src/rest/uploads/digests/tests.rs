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
fn other_algorithms_are_passed_over() {
    let declared = declared(&[("content-digest", &format!("sha-512=:AAAA:, {HELLO},unixsum=:AA==:"))]);
    let declared = declared.expect("a digest");
    assert!(declared.check(&sha256("hello")).is_ok());
    assert!(declared.check(&sha256("hullo")).is_err());
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
