//! Servers outside.

use super::ask;
use crate::Result;
use crate::http::{Request, Response, Url, failure};
use wasip2::http::types::ErrorCode;

/// A request that was sent, or denied.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Sent {
    /// Such as `POST`.
    pub method: String,
    /// As it was given.
    pub url: String,
    /// As they were given.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; empty, if there was none.
    pub body: Vec<u8>,
}

pub(crate) fn send(request: Request) -> Result<Response> {
    let Request { method, url, headers, body, .. } = request;
    let authority = Url::parse(&url)?.authority.to_owned();
    ask("http::send", |host| {
        let answer = host.responses.get(&url).cloned();
        host.sent.push(Sent { method, url, headers, body });
        let (status, body) = answer.ok_or_else(|| failure(&authority, &ErrorCode::HttpRequestDenied))?;
        Ok(Response { status, headers: Vec::new(), body })
    })
}
