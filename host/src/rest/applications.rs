//! `/app`: applications.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::put::Put;
use super::http::args::{Args, NoQuery, Query};
use super::http::document::{Document, IfMatch, PatchBody};
use super::http::page::{DocumentsQuery, ListReply};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::Created;
use crate::datasvc::{AppName, Application, ApplicationChange, Attributes, BuildRetention, Caller, Listed};

/// What a new application needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewApplication {
    /// Its name, unique in this installation; also as `application`.
    #[serde(alias = "application")]
    app_name: AppName,
    /// What to keep with it.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    attributes: Attributes,
    /// Which of its builds the server keeps. Without it all are kept.
    retention: Option<BuildRetention>,
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
    /// Its builds.
    #[schema(example = "/app/my_application/builds")]
    builds: String,
    /// Its deployments.
    #[schema(example = "/app/my_application/deployments")]
    deployments: String,
    /// Its gitdeploys.
    #[schema(example = "/app/my_application/gitdeploys")]
    gitdeploys: String,
    /// Its git repositories.
    #[schema(example = "/app/my_application/gitrepos")]
    gitrepos: String,
    /// Its groups.
    #[schema(example = "/app/my_application/groups")]
    groups: String,
    /// Its package maps.
    #[schema(example = "/app/my_application/packagemaps")]
    packagemaps: String,
}

impl Containers {
    fn of(app: &AppName) -> Self {
        let of = |list: &str| format!("/app/{app}/{list}");
        Self {
            actions: of("actions"),
            builds: of("builds"),
            deployments: of("deployments"),
            gitdeploys: of("gitdeploys"),
            gitrepos: of("gitrepos"),
            groups: of("groups"),
            packagemaps: of("packagemaps"),
        }
    }
}

impl From<Application> for ApplicationDocument {
    fn from(application: Application) -> Self {
        let containers = Containers::of(&application.application);
        Self { application, containers }
    }
}

/// Lists the applications that you may read, by name
#[utoipa::path(get, path = "/app", operation_id = "applications.list", tag = "applications",
    params(DocumentsQuery), responses((status = 200, body = Listed<Application>)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<DocumentsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Application>>, Problem> {
    let listed = rest.svc.applications(&caller, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates an application
#[utoipa::path(post, path = "/app", operation_id = "applications.create", tag = "applications",
    request_body = NewApplication,
    responses(
        (status = 201, body = ApplicationDocument, headers(("Location" = String, description = "Where it is"))),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name is not valid"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Args(new): Args<NewApplication>,
) -> Result<Created<Document<ApplicationDocument>>, Problem> {
    let application = rest.svc.create_application(&caller, &new.app_name, &new.attributes, new.retention).await?;
    let location = format!("/app/{}", application.application);
    Ok(Created::at(location, Document::new(application.revision, application.into())))
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
) -> Result<Document<ApplicationDocument>, Problem> {
    let application = rest.svc.application(&caller, &app).await?;
    Ok(Document::new(application.revision, application.into()))
}

/// Changes the attributes of an application, and which of its builds are kept
#[utoipa::path(patch, path = "/app/{app}", operation_id = "applications.update", tag = "applications",
    params(("app" = AppName, Path, description = "The application"), IfMatch),
    request_body(content = ApplicationChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = ApplicationDocument),
        (status = 404, description = "No such application"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<ApplicationDocument>, Problem> {
    let patch = patch.with_same("containers", &Containers::of(&app))?;
    let application = rest.svc.update_application(&caller, &app, &patch, &expected).await?;
    Ok(Document::new(application.revision, application.into()))
}

/// Removes an application, with all that belongs to it
#[utoipa::path(delete, path = "/app/{app}", operation_id = "applications.delete", tag = "applications",
    params(("app" = AppName, Path, description = "The application"), IfMatch),
    responses(
        (status = 204, description = "It is removed; its finished jobs stay on record"),
        (status = 404, description = "No such application"),
        (status = 409, description = "Jobs of it are queued or running"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_application(&caller, &app, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<NewApplication>();
    OpenApiRouter::default().routes(put.beside(create, routes!(list, create))).routes(routes!(get, update, delete))
}
