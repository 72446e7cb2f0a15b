//! Documents that clients change: their versions, and the changes.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::args::{NoQuery, Query};
use super::body;
use super::problem::Problem;
use super::reply::Json;
use crate::datasvc::{Expected, Patch, Revision};
use crate::rest::Rest;

/// A document, with its version as `ETag`: for `If-Match`, which keeps a change from overwriting another one. What others
/// do elsewhere, such as initializing a gitdeploy on a server, shows in it without a new version: `representation` adds a
/// digest of what it says, for `If-None-Match`.
pub(in crate::rest) struct Document<T> {
    revision: Revision,
    body: T,
}

impl<T> Document<T> {
    pub(in crate::rest) fn new(revision: Revision, body: T) -> Self {
        Self { revision, body }
    }
}

impl<T: Serialize> IntoResponse for Document<T> {
    fn into_response(self) -> Response {
        ([(header::ETAG, format!("\"{}\"", self.revision))], Json(self.body)).into_response()
    }
}

/// The versions that `If-Match` names.
#[derive(IntoParams)]
#[into_params(names("If-Match"), parameter_in = Header)]
pub(in crate::rest) struct IfMatch(
    /// The `ETag` of the version that is meant; `*`, or no such header, means any.
    #[param(value_type = Option<String>, example = "\"17\"")]
    pub(in crate::rest) Expected,
);

impl FromRequestParts<Rest> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _rest: &Rest) -> Result<Self, Problem> {
        expected(&parts.headers).map(Self)
    }
}

fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let sent: Result<Vec<&str>, _> = headers.get_all(header::IF_MATCH).iter().map(HeaderValue::to_str).collect();
    let sent = sent.map_err(|_| Problem::malformed("`If-Match` must be ASCII"))?.join(",");
    if sent.trim() == "*" || !headers.contains_key(header::IF_MATCH) {
        return Ok(Expected::Any);
    }
    if sent.trim().is_empty() {
        return Err(Problem::malformed("`If-Match` is empty: leave it out, or send the `ETag` that is meant"));
    }
    let mut revisions = Vec::new();
    let mut rest = sent.trim();
    while !rest.is_empty() {
        let ((is_weak, opaque), behind) = entity_tag(rest)
            .ok_or_else(|| Problem::malformed("`If-Match` is `*` or a list of entity tags, which stand in quotes"))?;
        // A weak one matches nothing here (RFC 9110, 13.1.1), nor does one that was never given.
        let (version, _digest) = opaque.split_once('-').unwrap_or((opaque, ""));
        revisions.extend(Revision::parse(version).filter(|_| !is_weak));
        rest = behind;
    }
    Ok(Expected::OneOf(revisions))
}

/// The first entity tag of a list: whether it is weak and what is in its quotes, which may be commas; and what follows.
fn entity_tag(list: &str) -> Option<((bool, &str), &str)> {
    let strong = list.strip_prefix("W/");
    let (opaque, behind) = strong.unwrap_or(list).strip_prefix('"')?.split_once('"')?;
    let behind = behind.trim_start();
    let next = if behind.is_empty() { behind } else { behind.strip_prefix(',')?.trim_start() };
    Some(((strong.is_some(), opaque), next))
}

/// The body of a PATCH: `application/merge-patch+json`, which plain JSON is taken for, or
/// `application/json-patch+json`.
pub(in crate::rest) struct PatchBody(pub(in crate::rest) Patch);

impl FromRequest<Rest> for PatchBody {
    type Rejection = Problem;

    async fn from_request(request: Request, rest: &Rest) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Query(NoQuery {}) = Query::from_request_parts(&mut parts, rest).await?;
        let body = rest.bodies.read(&parts, body).await?;
        body::patch(&parts.headers, &body).map(Self)
    }
}

/// A JSON Patch (RFC 6902): at most 256 operations, of which all are done or none.
#[expect(dead_code, reason = "it describes a body; `datasvc` reads it")]
#[derive(ToSchema)]
#[schema(max_items = 256)]
pub(in crate::rest) struct JsonPatch(Vec<PatchOperation>);

/// An operation of a JSON Patch.
#[expect(dead_code, reason = "it describes a body; `datasvc` reads it")]
#[derive(ToSchema)]
#[serde(tag = "op", rename_all = "lowercase")]
enum PatchOperation {
    /// Adds a value at the path.
    Add {
        /// A JSON pointer into the document.
        #[schema(format = "json-pointer", example = "/attributes/team")]
        path: String,
        value: Value,
    },
    /// Removes the value at the path.
    Remove {
        /// A JSON pointer into the document.
        #[schema(format = "json-pointer", example = "/attributes/team")]
        path: String,
    },
    /// Replaces the value at the path.
    Replace {
        /// A JSON pointer into the document.
        #[schema(format = "json-pointer", example = "/attributes/team")]
        path: String,
        value: Value,
    },
    /// Moves a value from one path to another.
    Move {
        /// A JSON pointer into the document.
        #[schema(format = "json-pointer", example = "/attributes/team")]
        from: String,
        /// The same.
        #[schema(format = "json-pointer", example = "/attributes/group")]
        path: String,
    },
    /// Copies a value to another path.
    Copy {
        /// A JSON pointer into the document.
        #[schema(format = "json-pointer", example = "/attributes/team")]
        from: String,
        /// The same.
        #[schema(format = "json-pointer", example = "/attributes/group")]
        path: String,
    },
    /// Changes nothing. If the value at the path is another one, no operation of the patch is done.
    Test {
        /// A JSON pointer into the document.
        #[schema(format = "json-pointer", example = "/attributes/team")]
        path: String,
        value: Value,
    },
}
