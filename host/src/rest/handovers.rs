//! `/once/{secret}`: what a server fetches that is told so by Elita, once and within a minute. The secret is all that is
//! asked for. It is for scripts of Elita's own, and so is not in the OpenAPI document.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tracing::warn;
use utoipa_axum::router::OpenApiRouter;

use super::Rest;
use super::http::client::ClientAddress;
use super::http::path::Path;
use super::http::problem::Problem;
use crate::datasvc::Taken;

/// Not by GET: what looks at links must not use them up.
async fn take(State(rest): State<Rest>, Path(secret): Path<String>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let client = ClientAddress::of_request(&parts)?.ip();
    Ok(match rest.svc.take_handover(&secret, Some(client)).await? {
        Taken::Content(content) => {
            let headers = [(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, "no-store")];
            (headers, content).into_response()
        }
        Taken::UsedUp { server, taken_from } => {
            let taken_from = taken_from.unwrap_or_default();
            warn!("the one-time URL for server `{server}` was used from {taken_from}, and again from {client}");
            (StatusCode::GONE, "this was fetched before\n").into_response()
        }
        Taken::Nothing => Problem::not_found("there is nothing at this URL").into_response(),
    })
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().route("/once/{secret}", post(take))
}
