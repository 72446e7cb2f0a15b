//! How a reply that is JSON goes over the wire: with an `ETag` of what it says, not at all where the client has it
//! already, and compressed for those who take that.

use std::io::{self, Read};
use std::sync::LazyLock;
use std::thread::available_parallelism;

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tokio::sync::Semaphore;

use super::pretty::{Indented, IndentedText};
use super::problem::{PROBLEM_JSON, Problem};
use super::range::names;
use crate::datasvc::Digest;

/// The shortest reply that is compressed, in bytes.
const MIN_COMPRESSED_BYTES: u64 = 1024;
/// The longest reply that is compressed where it was made, in bytes; a longer one is compressed on a thread of its own.
const MAX_INLINE_BYTES: usize = 16 * 1024;
/// How much of a digest tells the texts of one document apart, in hexadecimal digits.
const TAG_DIGITS: usize = 16;

/// How many long replies are compressed at a time. Further ones are sent as they are.
static COMPRESSORS: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(1, |threads| threads.get().div_ceil(2))));

/// What the client has said of how it wants its reply.
pub(in crate::rest) struct Wishes {
    reads: bool,
    has: HeaderMap,
    coding: Option<Coding>,
}

/// Says of a reply that is JSON that it is to be indented.
#[derive(Clone, Copy)]
pub(in crate::rest) struct ToIndent;

/// Whether the client takes gzip, for what is compressed while it is made.
pub(in crate::rest) fn takes_gzip(headers: &HeaderMap) -> bool {
    Coding::weights(headers).0 > 0.0
}

/// A way to compress.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Coding {
    Gzip,
    Zstd,
}

impl Wishes {
    /// Those of a request.
    pub(in crate::rest) fn of(method: &Method, headers: &HeaderMap) -> Self {
        let mut has = HeaderMap::new();
        for tag in headers.get_all(header::IF_NONE_MATCH) {
            has.append(header::IF_NONE_MATCH, tag.clone());
        }
        let reads = [Method::GET, Method::HEAD].contains(method);
        Self { reads, has, coding: Coding::wanted(headers) }
    }

    /// Gives a reply that is a document or a list its `ETag`: the version of the document, if there is one, and a digest
    /// of what it says now, which may change without a new version. The reply is 304 if the client has it already.
    pub(in crate::rest) async fn tag(&self, reply: Response) -> Response {
        let has_version = reply.headers().contains_key(header::ETAG);
        if !reply.status().is_success() || !is_json(reply.headers()) || !(self.reads || has_version) {
            return reply;
        }
        let (mut parts, body) = reply.into_parts();
        let text = match to_bytes(body, usize::MAX).await {
            Ok(text) => text,
            Err(error) => return Problem::internal(&error).into_response(),
        };
        let mut digest = Digest::of(&text).hex();
        digest.truncate(TAG_DIGITS);
        let version = parts.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or("\"\"");
        let version = version.trim_matches('"');
        let etag = if version.is_empty() { format!("\"{digest}\"") } else { format!("\"{version}-{digest}\"") };
        let has = self.reads && names(&self.has, &header::IF_NONE_MATCH, &etag);
        if let Ok(etag) = HeaderValue::try_from(etag) {
            parts.headers.insert(header::ETAG, etag);
        }
        // What is kept is asked for again: who may see it, and what it says, may have changed.
        let revalidated = HeaderValue::from_static("private, no-cache");
        parts.headers.entry(header::CACHE_CONTROL).or_insert(revalidated);
        if !has {
            return Response::from_parts(parts, Body::from(text));
        }
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        Response::from_parts(parts, Body::empty())
    }

    /// Compresses a reply that is JSON and long enough, and indents one that has been left for that.
    pub(in crate::rest) async fn compress(&self, mut reply: Response) -> Response {
        if !is_json(reply.headers()) {
            return reply;
        }
        let to_indent = reply.extensions_mut().remove::<ToIndent>();
        reply.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        let is_secret = reply.headers().get(header::CACHE_CONTROL).is_some_and(|found| found == "no-store");
        let length = reply.body().size_hint().exact().filter(|length| *length >= MIN_COMPRESSED_BYTES);
        let (Some(coding), Some(_), false) = (self.coding, length, is_secret) else {
            return if to_indent.is_some() { reply.map(|body| Body::new(Indented::new(body))) } else { reply };
        };
        let (mut parts, body) = reply.into_parts();
        let text = match to_bytes(body, usize::MAX).await {
            Ok(text) => text,
            Err(error) => return Problem::internal(&error).into_response(),
        };
        match coding.compress_aside(text.clone(), to_indent).await {
            Some(compressed) => {
                parts.headers.remove(header::CONTENT_LENGTH);
                parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
                Response::from_parts(parts, Body::from(compressed))
            }
            None if to_indent.is_some() => Response::from_parts(parts, Body::new(Indented::new(Body::from(text)))),
            None => Response::from_parts(parts, Body::from(text)),
        }
    }
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The one that the client likes best of those that it takes (RFC 9110, 12.5.3).
    fn wanted(headers: &HeaderMap) -> Option<Self> {
        let (gzip, zstd) = Self::weights(headers);
        match (gzip > 0.0, zstd > 0.0) {
            (_, true) if zstd >= gzip => Some(Self::Zstd),
            (true, _) => Some(Self::Gzip),
            (false, true) => Some(Self::Zstd),
            (false, false) => None,
        }
    }

    /// How much it likes gzip and zstd: 0 means not at all.
    fn weights(headers: &HeaderMap) -> (f32, f32) {
        let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
        let (mut gzip, mut zstd, mut others) = (None, None, 0.0);
        for choice in lines.flat_map(|line| line.split(',')) {
            let mut parts = choice.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0_f32);
            match name.as_str() {
                "gzip" | "x-gzip" => gzip = Some(weight),
                "zstd" => zstd = Some(weight),
                "*" => others = weight,
                _ => {}
            }
        }
        (gzip.unwrap_or(others), zstd.unwrap_or(0.0))
    }

    /// The text in fewer bytes. `None`: too many others are being compressed.
    async fn compress_aside(self, text: Bytes, to_indent: Option<ToIndent>) -> Option<Vec<u8>> {
        if text.len() <= MAX_INLINE_BYTES && to_indent.is_none() {
            return self.compress(&*text);
        }
        let _one_of_few = COMPRESSORS.try_acquire().ok()?;
        let compressing = move || match to_indent {
            Some(ToIndent) => self.compress(IndentedText::new(text)),
            None => self.compress(&*text),
        };
        tokio::task::spawn_blocking(compressing).await.ok()?
    }

    fn compress(self, mut text: impl Read) -> Option<Vec<u8>> {
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                io::copy(&mut text, &mut encoder).and_then(|_| encoder.finish()).ok()
            }
            Self::Zstd => Some(compress_to_vec(text, CompressionLevel::Fastest)),
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let found = headers.get(header::CONTENT_TYPE);
    found.is_some_and(|found| found == "application/json" || found == PROBLEM_JSON)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::Coding;

    #[test]
    fn a_client_gets_the_coding_that_it_likes_best() {
        for (accepted, coding) in [
            ("", None),
            ("identity", None),
            ("br, deflate", None),
            ("gzip", Some(Coding::Gzip)),
            ("*", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("gzip;q=1.0, zstd;q=0.5", Some(Coding::Gzip)),
            ("gzip;q=0, *", None),
            ("ZSTD;q=0, GZIP", Some(Coding::Gzip)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("accept-encoding", accepted.parse().unwrap());
            assert_eq!(Coding::wanted(&headers), coding, "{accepted}");
        }
    }
}
