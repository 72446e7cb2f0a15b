//! Requests that are sent again with the same key, and what makes them the same.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};
use utoipa::IntoParams;

use super::problem::Problem;
use crate::datasvc::Digest;
use crate::rest::Rest;

/// A client's key and the request that it came with, if there was a key.
pub(in crate::rest) type Idempotency = Option<(String, Digest)>;

/// The client's `Idempotency-Key`, if it sent one.
#[derive(IntoParams)]
#[into_params(names("Idempotency-Key"), parameter_in = Header)]
pub(in crate::rest) struct IdempotencyKey(
    /// Visible ASCII; the same request with the same key answers with the same job.
    #[param(min_length = 1, max_length = 255, example = "deploy-4f2a91c")]
    pub(in crate::rest) Option<String>,
);

impl FromRequestParts<Rest> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _rest: &Rest) -> Result<Self, Problem> {
        let sent: Vec<_> = parts.headers.get_all("Idempotency-Key").iter().map(HeaderValue::to_str).collect();
        match sent[..] {
            [] => Ok(Self(None)),
            [Ok(key)] if is_key(key) => Ok(Self(Some(key.to_owned()))),
            _ => {
                Err(Problem::malformed("`Idempotency-Key` must be given once, with 1 to 255 visible ASCII characters"))
            }
        }
    }
}

fn is_key(key: &str) -> bool {
    (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Of the method, the path, the query and what there is of the body. Each part goes in after its length, so that no two
/// requests run together to the same bytes.
pub(in crate::rest) fn fingerprint<'b>(
    method: &'b Method,
    path: &'b str,
    query: &'b str,
    body: impl IntoIterator<Item = &'b [u8]>,
) -> Digest {
    let mut bytes = Vec::new();
    for part in [method.as_str().as_bytes(), path.as_bytes(), query.as_bytes()].into_iter().chain(body) {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part);
    }
    Digest::of(&bytes)
}

#[cfg(test)]
mod tests;
