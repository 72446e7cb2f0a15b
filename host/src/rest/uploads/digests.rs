//! The digest that a client declares for its file. If it can be checked, it is; if not, it is refused, so that nobody
//! believes that the file was checked.

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::rest::http::problem::Problem;

/// The SHA-256 digests that a request declares, with the names of their headers.
#[derive(Default)]
pub(super) struct Declared(Vec<(&'static str, [u8; 32])>);

/// How a header says it.
#[derive(Clone, Copy)]
enum Form {
    /// RFC 9530: `sha-256=:<base64>:`, separated by commas.
    Dictionary,
    /// RFC 3230, which was before that: `SHA-256=<base64>`, separated by commas.
    List,
    /// The SHA-256 in hexadecimal digits.
    Hexadecimal,
    /// The SHA-256 in Base64.
    Base64,
    /// It is of something that is not checked here.
    Other,
}

/// Where clients say so. A file is sent as it is, so that its content and its representation are the same here.
const HEADERS: [(&str, Form); 17] = [
    ("content-digest", Form::Dictionary),
    ("repr-digest", Form::Dictionary),
    ("digest", Form::List),
    ("x-checksum-sha256", Form::Hexadecimal),
    ("x-amz-content-sha256", Form::Hexadecimal),
    ("x-amz-checksum-sha256", Form::Base64),
    ("content-md5", Form::Other),
    ("x-checksum", Form::Other),
    ("x-checksum-md5", Form::Other),
    ("x-checksum-sha1", Form::Other),
    ("x-checksum-sha512", Form::Other),
    ("x-amz-checksum-sha1", Form::Other),
    ("x-amz-checksum-crc32", Form::Other),
    ("x-amz-checksum-crc32c", Form::Other),
    ("x-amz-checksum-crc64nvme", Form::Other),
    ("x-goog-hash", Form::Other),
    ("x-ms-content-crc64", Form::Other),
];

impl Declared {
    /// # Errors
    /// 400 if a header is malformed, or none of them can be checked.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let (mut declared, mut unchecked) = (Vec::new(), None);
        for (name, form) in HEADERS {
            for value in headers.get_all(name) {
                match form.read(value) {
                    Some(Some(digest)) => declared.push((name, digest)),
                    Some(None) => unchecked = Some(name),
                    None => return Err(Problem::malformed(format!("`{name}` is not valid: {}", form.shape()))),
                }
            }
        }
        match unchecked {
            // One that is checked says as much as several.
            Some(name) if declared.is_empty() => Err(Problem::malformed(format!(
                "`{name}` has no SHA-256, and nothing else is checked here: send `Content-Digest: sha-256=:<base64>:`"
            ))),
            _ => Ok(Self(declared)),
        }
    }

    /// For a body that is not the file alone.
    ///
    /// # Errors
    /// 400 if there is a digest.
    pub(super) fn refuse(headers: &HeaderMap) -> Result<(), Problem> {
        match HEADERS.iter().find(|(name, _)| headers.contains_key(*name)) {
            None => Ok(()),
            Some((name, _)) => Err(Problem::malformed(format!(
                "`{name}` would be of this body, and not of the file; to have it checked, send the file alone, by \
                 `PUT /app/{{app}}/builds/{{build}}/file`"
            ))),
        }
    }

    /// Compares them with what has come in.
    ///
    /// # Errors
    /// 400 if a digest differs.
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

impl Form {
    fn shape(self) -> &'static str {
        match self {
            Self::Dictionary => "it looks like `sha-256=:<base64>:`",
            Self::List => "it looks like `SHA-256=<base64>`",
            Self::Hexadecimal => "it has 64 hexadecimal digits",
            Self::Base64 => "it has 32 bytes in Base64",
            Self::Other => "it cannot be read",
        }
    }

    /// The outer `None`: it is malformed; the inner: it has no SHA-256. Of several values the last one is used.
    fn read(self, value: &HeaderValue) -> Option<Option<[u8; 32]>> {
        let value = value.to_str().ok()?;
        match self {
            Self::Dictionary => members(value, |encoded| encoded.strip_prefix(':')?.strip_suffix(':')),
            Self::List => members(value, |encoded| Some(encoded)),
            Self::Hexadecimal if value.starts_with("UNSIGNED-PAYLOAD") || value.starts_with("STREAMING-") => Some(None),
            Self::Hexadecimal => of_hexadecimal(value).map(Some),
            Self::Base64 => STANDARD.decode(value).ok()?.try_into().ok().map(Some),
            Self::Other => Some(None),
        }
    }
}

/// Whatever case the algorithm is in.
fn members(value: &str, encoded: fn(&str) -> Option<&str>) -> Option<Option<[u8; 32]>> {
    let mut found = None;
    for member in value.split(',') {
        let (algorithm, digest) = member.trim_matches([' ', '\t']).split_once('=')?;
        let digest = encoded(digest)?;
        if algorithm.eq_ignore_ascii_case("sha-256") {
            found = Some(STANDARD.decode(digest).ok()?.try_into().ok()?);
        }
    }
    Some(found)
}

fn of_hexadecimal(text: &str) -> Option<[u8; 32]> {
    let is_one = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let mut digest = [0; 32];
    for (place, byte) in digest.iter_mut().enumerate().filter(|_| is_one) {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    is_one.then_some(digest)
}

#[cfg(test)]
mod tests;
