//! `/app/{app}/census`: what runs where.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::groups::{EnvironmentNames, EnvironmentsQuery};
use super::http::args::Query;
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::Json;
use crate::datasvc::{AppName, Caller, Census, CensusEntry};

/// Shows what runs where: environments, in them groups, in them servers, on them gitdeploys
#[utoipa::path(get, path = "/app/{app}/census", operation_id = "applications.census", tag = "applications",
    params(("app" = AppName, Path, description = "The application"), EnvironmentsQuery),
    responses(
        (status = 200, body = BTreeMap<String, BTreeMap<String, BTreeMap<String, BTreeMap<String, CensusEntry>>>>),
        (status = 404, description = "No such application"),
        (status = 422, description = "It has more than 10,000 entries: ask for some environments"),
    ))]
async fn census(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(query): Query<EnvironmentsQuery>,
) -> Result<Json<Census>, Problem> {
    let EnvironmentsQuery { environments: EnvironmentNames(environments) } = query;
    Ok(Json(rest.svc.census(&caller, &app, &environments).await?))
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(census))
}
