use axum::http::Method;

use super::fingerprint;

#[test]
fn requests_that_differ_have_different_fingerprints() {
    let one = fingerprint(&Method::POST, "/app/a/actions/b", "x=1", [&b""[..]]);
    assert_eq!(one, fingerprint(&Method::POST, "/app/a/actions/b", "x=1", [&b""[..]]));
    assert_ne!(one, fingerprint(&Method::POST, "/app/a/actions/b", "x=", [&b"1"[..]]));
    assert_ne!(one, fingerprint(&Method::POST, "/app/a/actions/bx", "=1", [&b""[..]]));
}
