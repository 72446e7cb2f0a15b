//! `/app/{app}/builds`: builds as records.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::http::args::{Args, NoQuery, Query};
use super::http::document::{Change, Document, IfMatch};
use super::http::page::{ListReply, PageQuery};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::Created;
use crate::datasvc::{AppName, Attributes, Build, BuildChange, BuildName, Caller, Listed};

/// What a new build needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewBuild {
    /// Its name, unique within the application.
    build_name: BuildName,
    /// What to keep with it.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// Lists the builds of an application, by name
#[utoipa::path(get, path = "/app/{app}/builds", operation_id = "builds.list", tag = "builds",
    params(("app" = AppName, Path, description = "The application"), PageQuery),
    responses((status = 200, body = Listed<Build>), (status = 404, description = "No such application")))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(query): Query<PageQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Build>>, Problem> {
    let listed = rest.svc.builds(&caller, &app, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates a build, for a file to be uploaded for it
#[utoipa::path(post, path = "/app/{app}/builds", operation_id = "builds.create", tag = "builds",
    params(("app" = AppName, Path, description = "The application")),
    request_body = NewBuild,
    responses(
        (status = 201, body = Build, headers(("Location" = String, description = "Where it is"))),
        (status = 404, description = "No such application"),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name is none"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Args(new): Args<NewBuild>,
) -> Result<Created<Document<Build>>, Problem> {
    let NewBuild { build_name, attributes } = new;
    let build = rest.svc.create_build(&caller, &app, &build_name, &attributes).await?;
    Ok(Created::at(format!("/app/{app}/builds/{build_name}"), Document::new(build.revision, build)))
}

/// Creates a build, with its arguments in the query string
#[utoipa::path(put, path = "/app/{app}/builds", operation_id = "builds.put", tag = "builds",
    params(("app" = AppName, Path, description = "The application"), NewBuild),
    responses(
        (status = 201, body = Build, headers(("Location" = String, description = "Where it is"))),
        (status = 404, description = "No such application"),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name is none"),
    ))]
async fn put(
    rest: State<Rest>,
    caller: Caller,
    app: Path<AppName>,
    new: Args<NewBuild>,
) -> Result<Created<Document<Build>>, Problem> {
    create(rest, caller, app, new).await
}

/// Shows a build
#[utoipa::path(get, path = "/app/{app}/builds/{build}", operation_id = "builds.get", tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("build" = BuildName, Path, description = "The build"),
    ),
    responses((status = 200, body = Build), (status = 404, description = "No such build")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, build)): Path<(AppName, BuildName)>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Document<Build>, Problem> {
    let build = rest.svc.build(&caller, &app, &build).await?;
    Ok(Document::new(build.revision, build))
}

/// Changes the attributes of a build
#[utoipa::path(patch, path = "/app/{app}/builds/{build}", operation_id = "builds.update", tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("build" = BuildName, Path, description = "The build"),
        IfMatch,
    ),
    request_body(content = BuildChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = Build),
        (status = 404, description = "No such build"),
        (status = 412, description = "It has changed since"),
        (status = 422, description = "The patch touches what cannot be changed, or does not fit"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, build)): Path<(AppName, BuildName)>,
    IfMatch(expected): IfMatch,
    Change(patch): Change,
) -> Result<Document<Build>, Problem> {
    let build = rest.svc.update_build(&caller, &app, &build, &patch, &expected).await?;
    Ok(Document::new(build.revision, build))
}

/// Removes a build with its files
#[utoipa::path(delete, path = "/app/{app}/builds/{build}", operation_id = "builds.delete", tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("build" = BuildName, Path, description = "The build"),
        IfMatch,
    ),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such build"),
        (status = 409, description = "An upload of it goes on"),
        (status = 412, description = "It has changed since"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, build)): Path<(AppName, BuildName)>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.work.delete_build(&caller, &app, &build, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(list, create, put)).routes(routes!(get, update, delete))
}
