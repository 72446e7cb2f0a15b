//! The body of a request: read within a size and a time, and told apart by its content type.

use std::convert::Infallible;
use std::fmt;
use std::future::{poll_fn, ready};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use tokio::sync::Notify;

use super::client::ClientAddress;
use super::form;
use super::json::{self, Members};
use super::problem::{Problem, ProblemCode};
use crate::datasvc::Patch;
use crate::shares::{Place, Shares};

/// The longest body that is not an upload, in bytes.
const MAX_BYTES: usize = 1024 * 1024;
/// The same for clients without a token.
const MAX_STRANGERS_BYTES: usize = 64 * 1024;
/// How many bytes of bodies are held while they are read, of all requests together.
const MAX_BYTES_OF_ALL: usize = 64 * MAX_BYTES;
/// How many bodies of those without a token are read at a time: each keeps a place among all requests meanwhile.
const MAX_STRANGERS: usize = 256;

/// How bodies are read.
pub(in crate::rest) struct Bodies {
    /// The longest, in bytes.
    max_bytes: usize,
    /// How long a client may take to send one.
    deadline: Duration,
    /// Its units are bytes.
    room: Arc<Shares<IpAddr>>,
    /// Its units are bodies.
    places: Arc<Shares<IpAddr>>,
}

/// A body of one of the two types that arguments and parameters come in.
pub(in crate::rest) enum Content {
    /// There is no body.
    Empty,
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, String)>),
    /// `application/json`: an object.
    Object(Members),
}

impl Bodies {
    /// For those with a token.
    pub(in crate::rest) fn of_users(deadline: Duration) -> Self {
        Self::new(MAX_BYTES, deadline, usize::MAX)
    }

    /// For operations that need no token, so that clients without a token do not block other clients.
    pub(in crate::rest) fn of_strangers(deadline: Duration) -> Self {
        Self::new(MAX_STRANGERS_BYTES, deadline, MAX_STRANGERS)
    }

    fn new(max_bytes: usize, deadline: Duration, places: usize) -> Self {
        Self { max_bytes, deadline, room: Shares::new(MAX_BYTES_OF_ALL), places: Shares::new(places) }
    }

    /// Reads the whole body of a request.
    ///
    /// # Errors
    /// 413 if it is or says to be too long, without reading on; 408 if it does not arrive in time; 400 if it breaks off;
    /// 503 while too much comes in at once, for those who send the most of it.
    pub(in crate::rest) async fn read(&self, request: &Parts, body: Body) -> Result<Vec<u8>, Problem> {
        if declared_length(&request.headers).is_some_and(|length| length > self.max_bytes as u64) {
            return Err(self.too_long());
        }
        let whose = ClientAddress::of_request(request)?.network();
        let ousted = Arc::new(Notify::new());
        let place = |shares: &Arc<Shares<IpAddr>>, units| {
            let ousted = Arc::clone(&ousted);
            shares.take(whose, units, move || ousted.notify_one()).ok_or_else(too_much)
        };
        let (_place, room) = (place(&self.places, 1)?, place(&self.room, 0)?);
        let read = tokio::select! {
            read = tokio::time::timeout(self.deadline, self.collect(body, &room)) => read,
            () = ousted.notified() => return Err(too_much()),
        };
        read.unwrap_or_else(|_| {
            let detail = format!("the body did not arrive within {} seconds", self.deadline.as_secs());
            Err(Problem::new(ProblemCode::TimedOut, detail))
        })
    }

    async fn collect(&self, mut body: Body, room: &Place<IpAddr>) -> Result<Vec<u8>, Problem> {
        let mut bytes = Vec::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
            let frame = frame.map_err(|_| Problem::malformed("the body breaks off"))?;
            let data = frame.into_data().unwrap_or_default();
            if bytes.len() + data.len() > self.max_bytes {
                return Err(self.too_long());
            }
            if !room.grow(data.len()) {
                return Err(too_much());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }

    fn too_long(&self) -> Problem {
        let detail = format!("at most {} bytes are taken as a body here", self.max_bytes);
        Problem::new(ProblemCode::TooLarge, detail)
    }
}

fn too_much() -> Problem {
    Problem::busy("too many bodies come in at this moment")
}

pub(in crate::rest) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Content {
    /// Takes a body apart. An empty one is fine, whatever its type.
    ///
    /// # Errors
    /// 415 if it is neither JSON nor a form; 400 if it is not what its type says; 422 if it is JSON and no object.
    pub(in crate::rest) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self::Empty);
        }
        match media_type(headers).as_deref() {
            Some("application/json") => Ok(Self::Object(json::members(body)?)),
            Some("application/x-www-form-urlencoded") => {
                let text = std::str::from_utf8(body).map_err(|_| Problem::malformed("the form is not UTF-8"))?;
                Ok(Self::Form(form::pairs(text)?))
            }
            other => Err(unsupported(other, "`application/json` or `application/x-www-form-urlencoded`")),
        }
    }

    /// The same, and multipart forms: a part is an argument, whatever its file's name is.
    ///
    /// # Errors
    /// Those of [`Content::parse`].
    pub(in crate::rest) async fn parse_any(headers: &HeaderMap, body: &[u8]) -> Result<Self, Problem> {
        if media_type(headers).as_deref() != Some("multipart/form-data") {
            return Self::parse(headers, body);
        }
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(content_type).map_err(broken_form)?;
        let whole = futures_util::stream::once(ready(Ok::<_, Infallible>(Bytes::copy_from_slice(body))));
        let mut form = multer::Multipart::new(whole, boundary);
        let mut pairs = Vec::new();
        while let Some(part) = form.next_field().await.map_err(broken_form)? {
            pairs.push(argument(part).await?);
        }
        Ok(Self::Form(pairs))
    }
}

/// The name and the value of a part of a multipart form.
///
/// # Errors
/// 400 if it is not a text, or the form is broken.
pub(in crate::rest) async fn argument(part: multer::Field<'_>) -> Result<(String, String), Problem> {
    let name = part.name().unwrap_or_default().to_owned();
    let value = String::from_utf8(part.bytes().await.map_err(broken_form)?.into())
        .map_err(|_| Problem::malformed(format!("the part `{name}` is not UTF-8")))?;
    if value.contains('\0') || name.contains('\0') {
        return Err(Problem::malformed(format!("the part `{name}` contains a NUL")));
    }
    Ok((name, value))
}

/// A multipart form that cannot be read. What stopped the body that it is in has its own say.
pub(in crate::rest) fn broken_form(error: multer::Error) -> Problem {
    let error = match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<Stopped>() {
            Ok(stopped) => return stopped.0,
            Err(cause) => multer::Error::StreamReadFailed(cause),
        },
        other => other,
    };
    Problem::malformed(format!("the multipart form is broken: {error}"))
}

/// What stopped a body, on its way through the reader of a form.
#[derive(Debug)]
pub(in crate::rest) struct Stopped(pub(in crate::rest) Problem);

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body was stopped")
    }
}

impl std::error::Error for Stopped {}

/// Takes the body of a PATCH apart.
///
/// # Errors
/// 415 if it is not a patch by its type; 400 if it is not what its type says; 422 if it is JSON, but not a patch.
pub(in crate::rest) fn patch(headers: &HeaderMap, body: &[u8]) -> Result<Patch, Problem> {
    match media_type(headers).as_deref() {
        Some("application/merge-patch+json" | "application/json") => Ok(Patch::merge(json::text(body)?)?),
        Some("application/json-patch+json") => Ok(Patch::operations(json::text(body)?)?),
        other => Err(unsupported(other, "`application/merge-patch+json` or `application/json-patch+json`")),
    }
}

/// The content type without its parameters, in lower case.
pub(in crate::rest) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let (name, _parameters) = value.split_once(';').unwrap_or((value, ""));
    Some(name.trim().to_ascii_lowercase())
}

fn unsupported(found: Option<&str>, wanted: &str) -> Problem {
    let detail = match found {
        Some(found) => format!("the body has the content type `{found}`; send {wanted}"),
        None => format!("the request has no `Content-Type`; send {wanted}"),
    };
    Problem::new(ProblemCode::UnsupportedMediaType, detail)
}
