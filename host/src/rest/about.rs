//! What the server is, whether it is well, and what it can be asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::Api;
use super::http::args::{NoQuery, Query};
use super::http::problem::{Problem, ProblemCode};
use super::http::reply::Json;
use crate::datasvc::ReceiptKey;

/// How long the database may take to answer before the server says that it is not ready.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// What the server is.
#[derive(Serialize, ToSchema)]
struct About {
    /// Its name.
    #[schema(example = "elita")]
    name: &'static str,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
}

/// What the server is, and what its receipts are signed with.
#[derive(Serialize, ToSchema)]
struct AboutAll {
    #[serde(flatten)]
    about: About,
    /// The public halves of the keys that receipts are or were signed with, the newest first.
    receipt_keys: Vec<ReceiptKey>,
}

/// What the server is, and where to go on.
#[derive(Serialize, ToSchema)]
struct Root {
    #[serde(flatten)]
    about: About,
    /// The URLs of its lists and of what describes it.
    #[schema(value_type = std::collections::BTreeMap<String, String>, example = json!({ "jobs": "/job" }))]
    links: BTreeMap<&'static str, &'static str>,
}

/// Where to go on, and what is there.
const LINKS: [(&str, &str); 13] = [
    ("applications", "/app"),
    ("audit", "/global/audit"),
    ("events", "/events"),
    ("git_providers", "/global/gitproviders"),
    ("health", "/health/ready"),
    ("jobs", "/job"),
    ("keypairs", "/global/keypairs"),
    ("openapi", "/openapi.json"),
    ("plugins", "/global/plugins"),
    ("servers", "/server"),
    ("tokens", "/global/tokens"),
    ("user", "/global/users/current"),
    ("users", "/global/users"),
];

const ABOUT: About = About { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };

/// The state of the server.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `live` or `ready`.
    #[schema(example = "ready")]
    status: &'static str,
}

/// Says what this server is
#[utoipa::path(get, path = "/about", operation_id = "about.get", tag = "about", security(()),
    responses((status = 200, body = AboutAll)))]
async fn get(State(rest): State<Rest>, Query(NoQuery {}): Query<NoQuery>) -> Result<Json<AboutAll>, Problem> {
    Ok(Json(AboutAll { about: ABOUT, receipt_keys: rest.svc.receipt_keys().await? }))
}

/// Says what this server is, and where to go on
#[utoipa::path(get, path = "/", operation_id = "about.root", tag = "about", security(()),
    responses((status = 200, body = Root)))]
async fn root(Query(NoQuery {}): Query<NoQuery>, Extension(api): Extension<Arc<Api>>) -> Json<Root> {
    // A server that only runs jobs has few of them.
    let is_here = |path: &str| api.methods(path.trim_end_matches("/current")).count() > 0;
    let links = LINKS.into_iter().filter(|(_, path)| is_here(path)).collect();
    Json(Root { about: ABOUT, links })
}

/// Says that the server answers
#[utoipa::path(get, path = "/health/live", operation_id = "health.live", tag = "health", security(()),
    responses((status = 200, body = Health)))]
async fn live(Query(NoQuery {}): Query<NoQuery>) -> Json<Health> {
    Json(Health { status: "live" })
}

/// Says whether the server can do its work
#[utoipa::path(get, path = "/health/ready", operation_id = "health.ready", tag = "health", security(()),
    responses((status = 200, body = Health), (status = 503, description = "The database does not answer, or plugins are being compiled at the start")))]
async fn ready(State(rest): State<Rest>, Query(NoQuery {}): Query<NoQuery>) -> Result<Json<Health>, Problem> {
    if !*rest.started.borrow() {
        let detail = "the plugins that were there at the start are being compiled";
        return Err(Problem::new(ProblemCode::Starting, detail));
    }
    match timeout(READY_WITHIN, rest.svc.is_ready()).await {
        Ok(true) => Ok(Json(Health { status: "ready" })),
        Ok(false) | Err(_) => Err(Problem::new(ProblemCode::Unavailable, "the database does not answer")),
    }
}

/// Describes the API, as OpenAPI
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi.get", tag = "about", security(()),
    responses((status = 200, body = Object, description = "This document")))]
async fn openapi(Query(NoQuery {}): Query<NoQuery>, Extension(api): Extension<Arc<Api>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], api.document.clone())
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    health_router().routes(routes!(openapi))
}

/// What every server answers, whatever else it does.
pub(super) fn health_router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(root)).routes(routes!(get)).routes(routes!(live)).routes(routes!(ready))
}
