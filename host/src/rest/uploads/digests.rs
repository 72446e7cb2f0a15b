//! What a client says that its file's digest is (RFC 9530).

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::rest::http::problem::Problem;

/// Where it may say so. A file is sent as it is, so that both are the same here.
const HEADERS: [&str; 2] = ["content-digest", "repr-digest"];

/// The SHA-256 digests that a request declares. Other algorithms are passed over.
#[derive(Default)]
pub(super) struct Declared(Vec<(&'static str, [u8; 32])>);

impl Declared {
    /// # Errors
    /// 400 if a header is malformed.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut declared = Vec::new();
        for name in HEADERS {
            for value in headers.get_all(name) {
                let malformed = || Problem::malformed(format!("`{name}` is none: it looks like `sha-256=:<base64>:`"));
                declared.extend(of_value(value).ok_or_else(malformed)?.map(|digest| (name, digest)));
            }
        }
        Ok(Self(declared))
    }

    /// Compares them with what has come in.
    ///
    /// # Errors
    /// 400 if one is another.
    pub(super) fn check(&self, sha256: &[u8; 32]) -> Result<(), Problem> {
        match self.0.iter().find(|(_, declared)| declared != sha256) {
            None => Ok(()),
            Some((name, _)) => {
                let found = STANDARD.encode(sha256);
                let detail = format!("the file is not the one that `{name}` says: what came has `sha-256=:{found}:`");
                Err(Problem::malformed(detail))
            }
        }
    }
}

/// The outer none: it is malformed; the inner: it says nothing of SHA-256. Of several values the last one holds.
fn of_value(value: &HeaderValue) -> Option<Option<[u8; 32]>> {
    let mut found = None;
    for member in value.to_str().ok()?.split(',') {
        let (algorithm, encoded) = member.trim_matches([' ', '\t']).split_once('=')?;
        let encoded = encoded.strip_prefix(':')?.strip_suffix(':')?;
        let digest = STANDARD.decode(encoded).ok()?;
        if algorithm == "sha-256" {
            found = Some(digest.try_into().ok()?);
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests;
