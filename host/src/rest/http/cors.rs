//! Which web pages of other servers may use the API (CORS). None unless the operator names their origins.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may rely on an answer.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// What pages may send.
const SENT: [&str; 16] = [
    "accept",
    "authorization",
    "auth-token",
    "content-digest",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "if-range",
    "last-event-id",
    "prefer",
    "range",
    "repr-digest",
    "rerun-of",
    "x-checksum-sha256",
    "x-request-id",
];
/// What pages may read, beside what all of them may.
const SHOWN: [&str; 11] = [
    "accept-ranges",
    "allow",
    "content-disposition",
    "content-range",
    "etag",
    "link",
    "location",
    "preference-applied",
    "retry-after",
    "www-authenticate",
    "x-request-id",
];

/// What answers pages of these origins, where `*` is any. Credentials are tokens in headers, and never cookies.
pub(in crate::rest) fn layer(origins: &[String]) -> CorsLayer {
    let allowed = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods(methods)
        .allow_headers(SENT.map(HeaderName::from_static))
        .expose_headers(SHOWN.map(HeaderName::from_static))
        .vary([header::ORIGIN])
        .max_age(MAX_AGE)
}
