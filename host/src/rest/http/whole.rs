//! Bodies before handlers: the whole body of a request is read before its handler is called, and so before permissions
//! are checked. A body may be slow, and by its end the sender's permissions may have changed, or the token may have
//! ended.
//!
//! Before the body is read, only the token is checked. Uploads are read by their handlers.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;
use crate::rest::Rest;
use crate::rest::api::Api;

/// What is read by its handler, at its client's pace.
const READ_BY_HANDLERS: [&str; 2] = ["builds.upload", "builds.upload-file"];
/// What needs no token.
const OF_STRANGERS: &str = "tokens.create";

/// What the middleware works with.
pub(in crate::rest) struct Whole {
    pub(in crate::rest) rest: Rest,
    pub(in crate::rest) api: Arc<Api>,
}

/// The middleware around all routes.
pub(in crate::rest) async fn whole(State(whole): State<Arc<Whole>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let op = route.and_then(|route| whole.api.operation_id(request.method(), route));
    let has_body =
        [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) && !request.body().is_end_stream();
    let op = match op {
        Some(op) if has_body && !READ_BY_HANDLERS.contains(&op) => op,
        _ => return next.run(request).await,
    };
    let (parts, body) = request.into_parts();
    match whole.rest.read(op, &parts, body).await {
        Ok(body) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(problem) => problem.into_response(),
    }
}

impl Rest {
    async fn read(&self, op: &str, parts: &Parts, body: Body) -> Result<Vec<u8>, Problem> {
        let bodies = if op == OF_STRANGERS {
            &self.strangers_bodies
        } else {
            self.asking(parts).await?;
            &self.bodies
        };
        bodies.read(parts, body).await
    }
}
