//! What a server answered.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, DATE, ETAG, HeaderName, LOCATION};
use hyper::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::destination::Token;
use crate::exit::Code;
use crate::failure::{Failure, Result};

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// Its document, or null if it has no document.
    ///
    /// # Errors
    /// If it is no JSON: then this is no Elita.
    pub(crate) fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|_| not_elita(self.status))
    }

    pub(crate) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn etag(&self) -> Option<&str> {
        self.header(&ETAG)
    }

    pub(crate) fn date(&self) -> Option<&str> {
        self.header(&DATE)
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        super::retry_after(&self.headers)
    }

    /// What its refusal means; `token` is what it was asked with.
    pub(super) fn failure(&self, token: Option<&Token>) -> Failure {
        let status = self.status.as_u16();
        if self.status.is_redirection() {
            let to = self.header(&LOCATION).unwrap_or("elsewhere");
            let failure = Failure::new(Code::Refused, format!("the server sends requests on to {to}"));
            return failure.hint("use that address: elita login URL");
        }
        let is_problem = self.header(&CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/problem+json"));
        let problem: Option<Value> = if is_problem { serde_json::from_slice(&self.body).ok() } else { None };
        let Some(problem) = problem else { return not_elita(self.status) };
        let detail = problem["detail"].as_str().unwrap_or("the server refused the request");
        let whose = token.map(|token| format!(" ({})", token.shown())).unwrap_or_default();
        let (what, hint) = match status {
            401 if token.is_none() => ("not logged in".to_owned(), Some("elita login")),
            401 if problem["code"] == "invalid-token" => {
                (format!("the token is no longer valid{whose}"), Some("elita login"))
            }
            403 => (format!("not allowed: {detail}{whose}"), None),
            429 => (detail.to_owned(), Some("the same a little later")),
            _ => (detail.to_owned(), None),
        };
        let errors = problem["errors"].as_array().into_iter().flatten().map(fault).collect::<Vec<_>>();
        let failure = Failure { problem: Some(Box::new(problem)), ..Failure::new(Code::of_reply(status), what) };
        let failure = failure.details(errors);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// One of the things that are wrong with a request.
fn fault(fault: &Value) -> String {
    let place = fault["parameter"].as_str().or_else(|| fault["pointer"].as_str()).unwrap_or_default();
    let detail = fault["detail"].as_str().unwrap_or_default();
    if place.is_empty() { detail.to_owned() } else { format!("{place}: {detail}") }
}

fn not_elita(status: StatusCode) -> Failure {
    let what = format!("what answers there is no Elita, or a proxy in front of it: it says {status}");
    Failure::new(Code::of_reply(status.as_u16()), what).hint("elita doctor")
}
