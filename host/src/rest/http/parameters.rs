//! The parameters of an action: whatever names the client gives, in the client's order, repeats kept. Those of the
//! query string come first, those of the body after them.

use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::HeaderMap;

use super::body::Content;
use super::form;
use super::idempotency::{Idempotency, IdempotencyKey, fingerprint};
use super::json::Members;
use super::problem::{Fault, Problem};
use crate::rest::Rest;

/// The parameters of a request, and the key by which it is known when it is sent again.
pub(in crate::rest) struct Parameters {
    /// Names and values.
    pub(in crate::rest) values: Vec<(String, String)>,
    /// The client's key, with the method, the path, the query and the body.
    pub(in crate::rest) idempotency: Idempotency,
}

impl FromRequest<Rest> for Parameters {
    type Rejection = Problem;

    async fn from_request(request: Request, rest: &Rest) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let IdempotencyKey(key) = IdempotencyKey::from_request_parts(&mut parts, rest).await?;
        let query = parts.uri.query().unwrap_or_default();
        let body = rest.bodies.read(&parts, body).await?;
        let values = collected(query, &parts.headers, &body)?;
        let print = || fingerprint(&parts.method, parts.uri.path(), query, [&body[..]]);
        Ok(Self { values, idempotency: key.map(|key| (key, print())) })
    }
}

/// Names and values of both places.
fn collected(query: &str, headers: &HeaderMap, body: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let mut values = form::pairs(query)?;
    match Content::parse(headers, body)? {
        Content::Empty => {}
        Content::Form(pairs) => values.extend(pairs),
        Content::Object(members) => values.extend(texts(members)?),
    }
    Ok(values)
}

/// The members of an object as texts: a string as what it says, anything else as it was written.
fn texts(members: Members) -> Result<Vec<(String, String)>, Problem> {
    let text = |(name, value): (String, Box<serde_json::value::RawValue>)| {
        if !value.get().starts_with('"') {
            return Ok((name, String::from(Box::<str>::from(value))));
        }
        match serde_json::from_str(value.get()) {
            Ok(string) => Ok((name, string)),
            Err(_) => {
                let fault = Fault::in_body(&name, "is not a valid string: half of a surrogate pair is missing");
                Err(Problem::malformed(format!("the parameter `{name}` is not a valid string")).with([fault]))
            }
        }
    };
    members.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests;
