//! `/app/{app}/census`: what runs where.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::http::args::{NoQuery, Query};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::Json;
use crate::datasvc::{AppName, Caller, Census, CensusEntry};

/// Shows what runs where: environments, in them groups, in them servers, on them gitdeploys
#[utoipa::path(get, path = "/app/{app}/census", operation_id = "applications.census", tag = "applications",
    params(("app" = AppName, Path, description = "The application")),
    responses(
        (status = 200, body = BTreeMap<String, BTreeMap<String, BTreeMap<String, BTreeMap<String, CensusEntry>>>>),
        (status = 404, description = "No such application"),
    ))]
async fn census(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Json<Census>, Problem> {
    Ok(Json(rest.svc.census(&caller, &app).await?))
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(census))
}
