//! The names in a request's path, as the types they stand for.

use axum::extract::FromRequestParts;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::rest::Rest;

/// The parts of the path that a route leaves open. What cannot be a name names nothing: 404.
pub(in crate::rest) struct Path<T>(pub(in crate::rest) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Rest> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, rest: &Rest) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, rest).await {
            Ok(axum::extract::Path(names)) => Ok(Self(names)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(match error.kind() {
                ErrorKind::InvalidUtf8InPathParam { .. } => Problem::malformed("the path is not UTF-8"),
                _ => Problem::not_found(format!("there is nothing at `{}`", parts.uri.path())),
            }),
            Err(error) => Err(Problem::internal(&error)),
        }
    }
}
