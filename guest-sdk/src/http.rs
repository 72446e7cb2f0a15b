//! Requests to servers outside, by HTTP: to those that the operator grants to the plugin, and no others.
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//!
//! fn example() -> Result<()> {
//!     let issues: Value = http::get("https://issues.example.org/api/issues?open=true").send()?.ok()?.json()?;
//!     let answer = http::post("https://chat.example.org/hooks/42")
//!         .header("authorization", "Bearer …")
//!         .json(&json!({ "text": format!("{} issues are open", issues["count"]) }))?
//!         .send()?;
//!     log::info!("the chat answered with {}", answer.status());
//!     Ok(())
//! }
//! ```
//!
//! Redirects are not followed: the answer is the redirect, and its header `location` says where it leads. A plugin
//! that follows it makes a new request, for which that server has to be granted, too.
//!
//! This is `wasi:http`, of which a plugin imports nothing unless it uses this module. For what goes beyond it, such as
//! a response that is larger than the plugin's memory, use the crate `wasip2`.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
    http_error_code,
};
use wasip2::io::streams::{OutputStream, StreamError};

use crate::{Code, Error, Result};

#[cfg(test)]
mod tests;

/// How much of a response is read at a time.
const CHUNK_BYTES: u64 = 64 * 1024;

/// A GET request.
pub fn get(url: &str) -> Request {
    request("GET", url)
}

/// A POST request.
pub fn post(url: &str) -> Request {
    request("POST", url)
}

/// A request with any method but CONNECT. The URL is absolute, `https://…` or `http://…`.
pub fn request(method: &str, url: &str) -> Request {
    Request { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
}

/// A request to be completed, sent with [`Request::send`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is sent"]
pub struct Request {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    timeout: Option<Duration>,
}

impl Request {
    /// Adds a header. `host`, `connection` and the like are not the plugin's to set, and sending fails with them.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to a value as JSON, with its `content-type`.
    ///
    /// # Errors
    /// If the value cannot be expressed as JSON.
    pub fn json(self, value: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(value)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// How long to wait for the connection, for the response to begin, and whenever it pauses. The server limits the
    /// whole request, too, to a minute unless it is set otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it, and reads the response to its end. Any status is a response; see [`Response::ok`].
    ///
    /// # Errors
    /// [`Denied`](Code::Denied) if the server's `host:port` is not granted to the plugin, or its name leads to a
    /// private address that is not; [`Unavailable`](Code::Unavailable) if it cannot be reached or trusted;
    /// [`TimedOut`](Code::TimedOut); [`LimitExceeded`](Code::LimitExceeded) if the request or the response is larger
    /// than the server allows; [`Invalid`](Code::Invalid) if the URL, the method or a header cannot be sent.
    pub fn send(self) -> Result<Response> {
        crate::host::http::send(self)
    }

    /// Hands it to the host, and waits.
    #[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "there is no host in a test"))]
    pub(crate) fn hand_over(self) -> Result<Response> {
        let Url { scheme, authority, path } = Url::parse(&self.url)?;
        let failed = |code: ErrorCode| failure(authority, &code);
        let invalid = |what: &str| Error::coded(Code::Invalid, format!("{what} cannot be sent"));

        let length = (!self.body.is_empty()).then(|| ("content-length".into(), self.body.len().to_string().into()));
        let headers: Vec<_> = self.headers.iter().cloned().chain(length).collect();
        let headers = Fields::from_list(&headers)
            .map_err(|error| Error::coded(Code::Invalid, format!("a header cannot be sent: {error}")))?;
        let request = OutgoingRequest::new(headers);
        request.set_method(&method(&self.method)).map_err(|()| invalid("the method"))?;
        request.set_scheme(Some(&scheme)).map_err(|()| invalid("the URL's scheme"))?;
        request.set_authority(Some(authority)).map_err(|()| invalid("the URL's host"))?;
        request.set_path_with_query(Some(&path)).map_err(|()| invalid("the URL's path"))?;
        let body = match &*self.body {
            [] => None,
            _ => Some(request.body().map_err(|()| invalid("the body"))?),
        };
        let response = outgoing_handler::handle(request, self.timeout.map(options)).map_err(failed)?;
        if let Some(body) = body {
            write(body, &self.body);
        }
        response.subscribe().block();
        let response = response.get().and_then(std::result::Result::ok);
        let response = response.ok_or_else(|| Error::new("the host gave no response"))?.map_err(failed)?;
        read(&response, authority)
    }
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Such as 200.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The response itself if its status is one of success, 200 to 299.
    ///
    /// # Errors
    /// If it is not: with the status, and the beginning of the body.
    pub fn ok(self) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let said: String = self.text().chars().take(200).collect();
        Err(Error::new(format!("the server answered with status {}: {said}", self.status)))
    }

    /// The first header of this name, in whatever case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        std::str::from_utf8(&headers.next()?.1).ok()
    }

    /// All headers, in no certain order; names are in lowercase.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as text; what is not UTF-8 in it is replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// If it is not what is asked for.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// The parts of a URL that are sent.
#[derive(Debug)]
pub(crate) struct Url<'a> {
    scheme: Scheme,
    pub(crate) authority: &'a str,
    path: String,
}

impl<'a> Url<'a> {
    pub(crate) fn parse(url: &'a str) -> Result<Self> {
        let invalid =
            || Error::coded(Code::Invalid, format!("`{url}` is not a URL: it begins with https:// or http://"));
        let (scheme, rest) = url.split_once("://").ok_or_else(invalid)?;
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            _ if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            _ => return Err(invalid()),
        };
        // A fragment is not sent.
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { scheme, authority, path: format!("{slash}{path}") })
    }
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        other => Method::Other(other.into()),
    }
}

fn options(timeout: Duration) -> RequestOptions {
    let nanos = Some(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
    let options = RequestOptions::new();
    // A host that does not know one of them has limits of its own.
    let _ = options.set_connect_timeout(nanos);
    let _ = options.set_first_byte_timeout(nanos);
    let _ = options.set_between_bytes_timeout(nanos);
    options
}

/// Sends the body. Where that fails the response says why, or the error that there is instead of it.
fn write(body: OutgoingBody, bytes: &[u8]) {
    let written = body.write().is_ok_and(|stream| write_all(&stream, bytes).is_ok());
    if written {
        let _ = OutgoingBody::finish(body, None);
    }
}

fn write_all(stream: &OutputStream, mut bytes: &[u8]) -> std::result::Result<(), StreamError> {
    while !bytes.is_empty() {
        let room = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        if room == 0 {
            stream.subscribe().block();
        }
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        stream.write(now)?;
        bytes = later;
    }
    Ok(())
}

fn read(response: &IncomingResponse, authority: &str) -> Result<Response> {
    let (status, headers) = (response.status(), response.headers().entries());
    let body = response.consume().map_err(|()| Error::new("the response has no body"))?;
    Ok(Response { status, headers, body: read_all(&body, authority)? })
}

fn read_all(body: &IncomingBody, authority: &str) -> Result<Vec<u8>> {
    let stream = body.stream().map_err(|()| Error::new("the response's body has no stream"))?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(CHUNK_BYTES) {
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(match http_error_code(&error) {
                    Some(code) => failure(authority, &code),
                    None => Error::new(format!("{authority}: {}", error.to_debug_string())),
                });
            }
        }
    }
}

/// An error code of `wasi:http` as a sentence.
pub(crate) fn failure(authority: &str, code: &ErrorCode) -> Error {
    let (kind, what) = match code {
        ErrorCode::HttpRequestDenied => (
            Code::Denied,
            "is not granted to this plugin; the operator grants `host:port` with `http` under [plugins.<name>]".into(),
        ),
        ErrorCode::DestinationIpProhibited => {
            (Code::Denied, "leads to a private address, which is not granted to this plugin".into())
        }
        ErrorCode::DnsError(_) => (Code::Unavailable, "was not found".into()),
        ErrorCode::DestinationNotFound
        | ErrorCode::DestinationUnavailable
        | ErrorCode::DestinationIpUnroutable
        | ErrorCode::ConnectionRefused => (Code::Unavailable, "cannot be connected to".into()),
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
            (Code::Unavailable, "ended the connection before its response was complete".into())
        }
        ErrorCode::TlsCertificateError => (Code::Unavailable, "has no certificate that the host trusts".into()),
        ErrorCode::TlsProtocolError => (Code::Unavailable, "cannot be reached by TLS".into()),
        ErrorCode::DnsTimeout
        | ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => (Code::TimedOut, "did not answer in time".into()),
        ErrorCode::ConnectionLimitReached => {
            (Code::LimitExceeded, "was not asked: too many requests are under way".into())
        }
        ErrorCode::HttpRequestBodySize(_) => (Code::LimitExceeded, "is not sent a request as large as this one".into()),
        ErrorCode::HttpResponseBodySize(_) | ErrorCode::HttpResponseHeaderSectionSize(_) => {
            (Code::LimitExceeded, "answers with more than the host takes".into())
        }
        ErrorCode::HttpRequestUriInvalid => (Code::Invalid, "is in a URL that cannot be used".into()),
        ErrorCode::HttpRequestMethodInvalid => (Code::Invalid, "cannot be asked with this method".into()),
        other => (Code::Other, format!("failed: {other:?}")),
    };
    Error::coded(kind, format!("{authority} {what}"))
}
