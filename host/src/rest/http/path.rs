//! The names in a request's path, as the types they stand for.

use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::rest::Rest;

/// How ids look.
const A_UUID: &str = "a UUID, such as `0197c9a0-7b1e-7c3d-8a54-3f2f1f0e9d8c`";

/// The parts of the path that a route leaves open. What cannot be a name names nothing: 404.
pub(in crate::rest) struct Path<T>(pub(in crate::rest) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Rest> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, rest: &Rest) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, rest).await {
            Ok(axum::extract::Path(names)) => Ok(Self(names)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(match error.into_kind() {
                ErrorKind::InvalidUtf8InPathParam { .. } => Problem::malformed("the path is not UTF-8"),
                ErrorKind::Message(rule) | ErrorKind::DeserializeError { message: rule, .. } => unfit(parts, &rule),
                _ => Problem::not_found(format!("there is nothing at `{}`", parts.uri.path())),
            }),
            Err(error) => Err(Problem::internal(&error)),
        }
    }
}

/// What a name in the path would have to be.
fn unfit(parts: &Parts, rule: &str) -> Problem {
    let path = parts.uri.path();
    let problem = Problem::not_found(format!("there is nothing at `{path}`"));
    if matches(parts, "/app/{app}/deployments/{id}") && rule.starts_with("UUID") {
        return problem.advising(&format!("a deployment's id is {A_UUID}"));
    }
    let Some(rest) = path.strip_prefix("/job/").filter(|_| matches(parts, "/job/{id}")) else {
        return problem.advising(rule);
    };
    let id = rest.split('/').next().unwrap_or_default();
    let is_end = (4..=12).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let advice =
        if is_end { format!(", and `/job?id_suffix={id}` finds those that end like this") } else { String::new() };
    problem.advising(&format!("a job's id is {A_UUID}{advice}"))
}

/// Whether the request is for this path, or for something below it.
fn matches(parts: &Parts, path: &str) -> bool {
    parts.extensions.get::<MatchedPath>().is_some_and(|route| route.as_str().starts_with(path))
}
