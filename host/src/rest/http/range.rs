//! Which part of a file a client asks for: `If-None-Match`, `Range` and `If-Range` (RFC 9110).

use std::ops::RangeInclusive;

use axum::http::{HeaderMap, HeaderName, header};

/// What a client wants of a file.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::rest) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes.
    Part(RangeInclusive<u64>),
    /// Bytes that it does not have.
    Beyond,
    /// Nothing: the client has it.
    Nothing,
}

impl Wanted {
    /// Of a file with this strong `ETag` and so many bytes. A range that cannot be read, or several of them, get the
    /// whole file, as the RFC allows.
    pub(in crate::rest) fn of(headers: &HeaderMap, etag: &str, size_bytes: u64) -> Self {
        if names(headers, &header::IF_NONE_MATCH, etag) {
            return Self::Nothing;
        }
        // A part goes with what the client has of this very file only.
        if headers.contains_key(header::IF_RANGE) && text(headers, &header::IF_RANGE) != Some(etag) {
            return Self::Whole;
        }
        let Some(Ok(range)) = text(headers, &header::RANGE).map(http_range_header::parse_range_header) else {
            return Self::Whole;
        };
        match range.validate(size_bytes) {
            Ok(parts) => match <[_; 1]>::try_from(parts) {
                Ok([part]) => Self::Part(part),
                Err(_) => Self::Whole,
            },
            Err(_) => Self::Beyond,
        }
    }
}

/// Whether one of the tags in the header is this one, weak or not.
pub(super) fn names(headers: &HeaderMap, header: &HeaderName, etag: &str) -> bool {
    let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

fn text<'h>(headers: &'h HeaderMap, header: &HeaderName) -> Option<&'h str> {
    headers.get(header)?.to_str().ok()
}
