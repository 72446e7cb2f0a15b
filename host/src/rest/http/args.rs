//! Arguments with a fixed set of names, into a struct: from the query string, the body or both.
//!
//! Three extractors share the rules. [`Query`] is for what reads; [`Args`] is for what creates, where the reference
//! puts the arguments into the query and today's clients put them into the body; [`BodyArgs`] is for what must not
//! stand in a URL. An action's parameters have no fixed names: see `parameters`.

mod values;

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::values::{Fields, Misfit, flag};
use super::body::Content;
use super::form;
use super::idempotency::{Idempotency, IdempotencyKey, fingerprint};
use super::json::Members;
use super::problem::{Fault, Problem};
use crate::datasvc::Digest;
use crate::rest::Rest;

/// The parameter of every request that asks for an indented reply; `front` sees to it.
const PRETTY: &str = "pretty";

/// The parameters of the query string.
pub(in crate::rest) struct Query<T>(pub(in crate::rest) T);

/// No parameters at all.
#[derive(Deserialize)]
pub(in crate::rest) struct NoQuery {}

/// More than any request has.
const MAX_ARGUMENTS: usize = 64;

/// Arguments from the query string, a form or a JSON object.
pub(in crate::rest) struct Args<T>(pub(in crate::rest) T);

/// Arguments of a request that makes a job, and the key by which it is known when it is sent again.
pub(in crate::rest) struct Keyed<A> {
    /// The arguments.
    pub(in crate::rest) asked: A,
    /// The key and what the request was, wherever its arguments stood.
    pub(in crate::rest) idempotency: Idempotency,
}

/// Arguments from a form or a JSON object, and from nowhere else: for clients that have no token yet.
pub(in crate::rest) struct BodyArgs<T>(pub(in crate::rest) T);

/// One argument as it came.
#[derive(Debug)]
struct Argument {
    name: String,
    value: Value,
    source: Source,
}

/// A value as it came.
#[derive(Debug)]
enum Value {
    /// From a query string or a form. What it is meant to be is up to the field it is for.
    Text(String),
    /// From a JSON body.
    Json(Box<serde_json::value::RawValue>),
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Query,
    Body,
}

impl<T: DeserializeOwned> FromRequestParts<Rest> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _rest: &Rest) -> Result<Self, Problem> {
        read(&of_query(&parts.uri)?, Source::Query).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<Rest> for Args<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, rest: &Rest) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        read(&arguments(&parts, body, rest).await?, Source::Body).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequestParts<Rest> for Keyed<Query<T>> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, rest: &Rest) -> Result<Self, Problem> {
        let IdempotencyKey(key) = IdempotencyKey::from_request_parts(parts, rest).await?;
        let arguments = of_query(&parts.uri)?;
        let idempotency = key.map(|key| (key, printed(parts, &arguments)));
        Ok(Self { asked: Query(read(&arguments, Source::Query)?), idempotency })
    }
}

impl<T: DeserializeOwned> FromRequest<Rest> for Keyed<Args<T>> {
    type Rejection = Problem;

    async fn from_request(request: Request, rest: &Rest) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let IdempotencyKey(key) = IdempotencyKey::from_request_parts(&mut parts, rest).await?;
        let arguments = arguments(&parts, body, rest).await?;
        let idempotency = key.map(|key| (key, printed(&parts, &arguments)));
        Ok(Self { asked: Args(read(&arguments, Source::Body)?), idempotency })
    }
}

impl<T: DeserializeOwned> FromRequest<Rest> for BodyArgs<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, rest: &Rest) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if let Some(stray) = of_query(&parts.uri)?.first() {
            let detail = "this takes its arguments in the body only: a URL is kept in logs and histories";
            return Err(Problem::malformed(detail).with([Fault::in_parameter(&stray.name, "belongs in the body")]));
        }
        let body = rest.strangers_bodies.read(&parts, body).await?;
        read(&of_body(Content::parse_any(&parts.headers, &body).await?), Source::Body).map(Self)
    }
}

/// The arguments of the query string and the body.
async fn arguments(parts: &Parts, body: Body, rest: &Rest) -> Result<Vec<Argument>, Problem> {
    let query = of_query(&parts.uri)?;
    let body = rest.bodies.read(parts, body).await?;
    merged(query, of_body(Content::parse_any(&parts.headers, &body).await?))
}

/// What makes a request the same as another one, in whatever order and form its arguments came.
fn printed(parts: &Parts, arguments: &[Argument]) -> Digest {
    let mut given: Vec<_> = arguments.iter().map(|argument| (argument.name.as_str(), argument.value.text())).collect();
    given.sort_unstable();
    let given = given.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    fingerprint(&parts.method, parts.uri.path(), "", given)
}

/// Arguments from the query string and from the parts of a form.
///
/// # Errors
/// Those of [`Args`].
pub(in crate::rest) fn of_form<T: DeserializeOwned>(uri: &Uri, parts: Vec<(String, String)>) -> Result<T, Problem> {
    read(&merged(of_query(uri)?, of_pairs(parts, Source::Body))?, Source::Body)
}

/// Refuses an argument in a URL that is a secret.
///
/// # Errors
/// 400 if it is there.
pub(in crate::rest) fn refuse_in_url(uri: &Uri, name: &str) -> Result<(), Problem> {
    if form::pairs(uri.query().unwrap_or_default())?.iter().all(|(given, _)| given != name) {
        return Ok(());
    }
    let detail = format!("`{name}` is accepted in the body only: a URL is kept in logs and histories");
    Err(Problem::malformed(detail).with([Fault::in_parameter(name, "belongs in the body")]))
}

/// Whether an indented reply is asked for, by `pretty=true` or just `pretty`.
pub(in crate::rest) fn wants_pretty(uri: &Uri) -> bool {
    let mut parameters = uri.query().unwrap_or_default().split('&');
    parameters.any(|parameter| match parameter.strip_prefix(PRETTY) {
        Some("") | Some("=") => true,
        Some(value) => value.strip_prefix('=').and_then(flag) == Some(true),
        None => false,
    })
}

/// The arguments in a URL, without [`PRETTY`].
fn of_query(uri: &Uri) -> Result<Vec<Argument>, Problem> {
    let (pretty, others): (Vec<_>, Vec<_>) =
        form::pairs(uri.query().unwrap_or_default())?.into_iter().partition(|(name, _)| name == PRETTY);
    if pretty.iter().any(|(_, value)| !value.is_empty() && flag(value).is_none()) {
        let fault = Fault::in_parameter(PRETTY, "`true` or `false`");
        return Err(Problem::invalid("`pretty` is `true` or `false`").with([fault]));
    }
    Ok(of_pairs(others, Source::Query))
}

fn of_body(content: Content) -> Vec<Argument> {
    match content {
        Content::Empty => Vec::new(),
        Content::Form(pairs) => of_pairs(pairs, Source::Body),
        Content::Object(members) => of_object(members),
    }
}

fn of_pairs(pairs: Vec<(String, String)>, source: Source) -> Vec<Argument> {
    pairs.into_iter().map(|(name, value)| Argument { name, value: Value::Text(value), source }).collect()
}

fn of_object(members: Members) -> Vec<Argument> {
    let argument = |(name, value)| Argument { name, value: Value::Json(value), source: Source::Body };
    members.into_iter().map(argument).collect()
}

/// Refuses more arguments than anything takes, before they are compared with each other.
fn check_count(arguments: &[Argument]) -> Result<(), Problem> {
    if arguments.len() > MAX_ARGUMENTS {
        return Err(Problem::malformed(format!("at most {MAX_ARGUMENTS} arguments are allowed")));
    }
    Ok(())
}

/// The arguments of both places; what stands in both must say the same.
fn merged(mut query: Vec<Argument>, body: Vec<Argument>) -> Result<Vec<Argument>, Problem> {
    check_count(&query)?;
    check_count(&body)?;
    for argument in body {
        match query.iter().find(|other| other.name == argument.name && matches!(other.source, Source::Query)) {
            None => query.push(argument),
            Some(other) if other.value.says_the_same(&argument.value) => {}
            Some(_) => {
                let detail = format!("`{}` has one value in the query string and another in the body", argument.name);
                let fault = Fault::in_body(&argument.name, "differs from the value in the query string");
                return Err(Problem::malformed(detail).with([fault]));
            }
        }
    }
    Ok(query)
}

impl Value {
    /// As it would stand in a query string.
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Json(json) => {
                serde_json::from_str::<String>(json.get()).map_or(Cow::Borrowed(json.get()), Cow::Owned)
            }
        }
    }

    /// Whether a text from a query string means this value: itself, or its JSON text if it is not a string.
    fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(text), Self::Text(other)) => text == other,
            (Self::Text(text), Self::Json(json)) | (Self::Json(json), Self::Text(text)) => {
                json.get() == text || serde_json::from_str::<String>(json.get()).is_ok_and(|string| string == *text)
            }
            (Self::Json(json), Self::Json(other)) => json.get() == other.get(),
        }
    }
}

/// Fills a struct. What is missing is reported as if it belonged to `home`.
fn read<T: DeserializeOwned>(arguments: &[Argument], home: Source) -> Result<T, Problem> {
    check_count(arguments)?;
    let fault_below = |name: &str, below: &str, detail: &str| {
        let given = arguments.iter().find(|argument| argument.name == name);
        match given.map_or(home, |argument| argument.source) {
            Source::Query => Fault::in_parameter_at(name, below, detail),
            Source::Body => Fault::in_body_at(name, below, detail),
        }
    };
    let fault = |name: &str, detail: &str| fault_below(name, "", detail);
    T::deserialize(Fields(arguments)).map_err(|misfit| match misfit {
        Misfit::Unknown { names, known } => {
            let detail = format!("not known here: {}; known are {}", quoted(&names), quoted(known));
            Problem::malformed(detail).with(names.iter().map(|name| fault(name, "is not known here")))
        }
        Misfit::Repeated(name) => {
            Problem::malformed(format!("`{name}` is given twice")).with([fault(&name, "is given twice")])
        }
        Misfit::Missing(name) => Problem::malformed(format!("`{name}` is missing")).with([fault(name, "is missing")]),
        Misfit::Wrong { name, below, reason } => {
            Problem::invalid(format!("{name}{below}: {reason}")).with([fault_below(&name, &below, &reason)])
        }
    })
}

fn quoted(names: &[impl AsRef<str>]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    if quoted.is_empty() { "none".into() } else { quoted.join(", ") }
}

#[cfg(test)]
mod tests;
