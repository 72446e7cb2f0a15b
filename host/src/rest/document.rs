//! Documents that clients change: their versions, and the changes.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::IntoParams;

use super::Rest;
use super::args::{NoQuery, Query};
use super::body;
use super::problem::Problem;
use crate::datasvc::{Expected, Patch, Revision};

/// A document, with its version as `ETag`.
pub(super) struct Document<T> {
    revision: Revision,
    body: T,
}

impl<T> Document<T> {
    pub(super) fn new(revision: Revision, body: T) -> Self {
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
pub(super) struct IfMatch(
    /// The `ETag` of the version that is meant; `*` and none at all mean any.
    #[param(value_type = Option<String>)]
    pub(super) Expected,
);

impl FromRequestParts<Rest> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _rest: &Rest) -> Result<Self, Problem> {
        expected(&parts.headers).map(Self)
    }
}

fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let sent: Result<Vec<&str>, _> = headers.get_all(header::IF_MATCH).iter().map(HeaderValue::to_str).collect();
    let sent = sent.map_err(|_| Problem::malformed("`If-Match` is ASCII"))?;
    let tags: Vec<&str> = sent.iter().flat_map(|value| value.split(',')).map(str::trim).collect();
    if tags.is_empty() || tags == ["*"] {
        return Ok(Expected::Any);
    }
    let mut revisions = Vec::new();
    for tag in tags {
        let opaque = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        let Some(opaque) = opaque else {
            return Err(Problem::malformed("`If-Match` is `*` or a list of entity tags, which stand in quotes"));
        };
        // A weak one matches nothing here (RFC 9110, 13.1.1), nor does one that was never given.
        revisions.extend(Revision::parse(opaque).filter(|_| !tag.starts_with("W/")));
    }
    Ok(Expected::OneOf(revisions))
}

/// The body of a PATCH: `application/merge-patch+json`, which plain JSON is taken for, or
/// `application/json-patch+json`.
pub(super) struct Change(pub(super) Patch);

impl FromRequest<Rest> for Change {
    type Rejection = Problem;

    async fn from_request(request: Request, rest: &Rest) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Query(NoQuery {}) = Query::from_request_parts(&mut parts, rest).await?;
        let body = rest.bodies.read(&parts.headers, body).await?;
        body::patch(&parts.headers, &body).map(Self)
    }
}
