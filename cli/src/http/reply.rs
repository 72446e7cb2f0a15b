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
    /// What was asked for, with its query.
    pub(crate) path: String,
}

/// What may be missing by the server's word, and the noun whose list shows what there is.
const NOUNS: [(&str, &str); 15] = [
    ("application", "app"),
    ("action", "action"),
    ("build", "build"),
    ("package map", "packagemap"),
    ("git repository", "gitrepo"),
    ("gitdeploy", "gitdeploy"),
    ("deployment", "deployment"),
    ("group", "group"),
    ("server", "server"),
    ("job", "job"),
    ("plugin", "plugin"),
    ("user", "user"),
    ("token", "token"),
    ("keypair", "keypair"),
    ("git provider", "gitprovider"),
];

impl Reply {
    /// Its document, or null if it has no document.
    ///
    /// # Errors
    /// If it is not JSON: then this is not Elita.
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
            401 if token.is_none() => ("not logged in".to_owned(), Some("elita login".into())),
            401 if problem["code"] == "invalid-token" => (
                format!("the token is no longer valid{whose}"),
                Some(token.map_or("elita login", Token::renewal).into()),
            ),
            403 => (format!("not allowed: {detail}{whose}"), Some("elita whoami shows what this token may do".into())),
            404 => (detail.to_owned(), self.list_of(detail)),
            429 => (detail.to_owned(), Some("the same a little later".into())),
            _ => (detail.to_owned(), None),
        };
        let mut errors: Vec<_> = problem["errors"].as_array().into_iter().flatten().collect();
        // One that the sentence ends with is said once.
        errors.retain(|error| error["detail"].as_str().is_none_or(|said| !what.ends_with(said)));
        let errors: Vec<_> = errors.into_iter().map(fault).collect();
        let failure = Failure { problem: Some(Box::new(problem)), ..Failure::new(Code::of_reply(status), what) };
        let failure = failure.details(errors);
        Failure { hint, ..failure }
    }

    /// Of "build `9` does not exist": the command that lists what there is.
    fn list_of(&self, detail: &str) -> Option<String> {
        let (kind, _) = detail.split_once(" `").filter(|(_, rest)| rest.ends_with(" does not exist"))?;
        let (_, noun) = NOUNS.into_iter().find(|(word, _)| *word == kind)?;
        let path = self.path.split(['?', '#']).next().unwrap_or_default();
        let app = path.strip_prefix("/app/").filter(|_| noun != "app").and_then(|rest| rest.split('/').next());
        Some(format!("elita {noun} list {}", app.unwrap_or_default()).trim_end().to_owned())
    }
}

/// One of the things that are wrong with a request.
fn fault(fault: &Value) -> String {
    let place = fault["parameter"].as_str().or_else(|| fault["pointer"].as_str()).unwrap_or_default();
    let detail = fault["detail"].as_str().unwrap_or_default();
    if place.is_empty() { detail.to_owned() } else { format!("{place}: {detail}") }
}

fn not_elita(status: StatusCode) -> Failure {
    let what = format!("the answer is not from Elita (perhaps from a proxy in front of it): it says {status}");
    Failure::new(Code::of_reply(status.as_u16()), what).hint("elita doctor")
}
