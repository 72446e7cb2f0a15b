//! `/app`: applications.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::args::{Args, NoQuery, Query};
use super::page::{ListReply, PageQuery, in_parameter};
use super::path::Path;
use super::problem::Problem;
use super::reply::Created;
use crate::datasvc::{AppName, Application, Caller, Listed};

/// What a new application needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
struct NewApplication {
    /// Its name, unique in this installation.
    app_name: AppName,
}

/// An application, and where to find what belongs to it.
#[derive(Serialize, ToSchema)]
struct ApplicationDocument {
    #[serde(flatten)]
    application: Application,
    /// The URLs of its lists.
    containers: Containers,
}

/// Where the lists of an application are.
#[derive(Serialize, ToSchema)]
struct Containers {
    /// Its actions.
    #[schema(example = "/app/my_application/actions")]
    actions: String,
}

impl From<Application> for ApplicationDocument {
    fn from(application: Application) -> Self {
        let containers = Containers { actions: format!("/app/{}/actions", application.app_name) };
        Self { application, containers }
    }
}

/// Lists the applications that you may read, by name
#[utoipa::path(get, path = "/app", operation_id = "applications.list", tag = "applications",
    params(PageQuery), responses((status = 200, body = Listed<Application>)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<PageQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Application>>, Problem> {
    let listed = rest.svc.applications(&caller, &query.page()?).await.map_err(in_parameter)?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates an application
#[utoipa::path(post, path = "/app", operation_id = "applications.create", tag = "applications",
    request_body = NewApplication,
    responses(
        (status = 201, body = ApplicationDocument, headers(("Location" = String, description = "Where it is"))),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name is none"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Args(new): Args<NewApplication>,
) -> Result<Created<ApplicationDocument>, Problem> {
    let application = rest.svc.create_application(&caller, &new.app_name).await?;
    Ok(Created::at(format!("/app/{}", application.app_name), application.into()))
}

/// Creates an application, with its arguments in the query string
#[utoipa::path(put, path = "/app", operation_id = "applications.put", tag = "applications",
    params(NewApplication),
    responses(
        (status = 201, body = ApplicationDocument, headers(("Location" = String, description = "Where it is"))),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name is none"),
    ))]
async fn put(
    rest: State<Rest>,
    caller: Caller,
    new: Args<NewApplication>,
) -> Result<Created<ApplicationDocument>, Problem> {
    create(rest, caller, new).await
}

/// Shows an application
#[utoipa::path(get, path = "/app/{app}", operation_id = "applications.get", tag = "applications",
    params(("app" = AppName, Path, description = "The application")),
    responses((status = 200, body = ApplicationDocument), (status = 404, description = "No such application")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Json<ApplicationDocument>, Problem> {
    let application = rest.svc.application(&caller, &app).await?;
    Ok(Json(application.into()))
}

/// Removes an application
#[utoipa::path(delete, path = "/app/{app}", operation_id = "applications.delete", tag = "applications",
    params(("app" = AppName, Path, description = "The application")),
    responses(
        (status = 204, description = "It is gone; its finished jobs stay on record"),
        (status = 404, description = "No such application"),
        (status = 409, description = "Jobs of it are queued or running"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_application(&caller, &app).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(list, create, put)).routes(routes!(get, delete))
}
