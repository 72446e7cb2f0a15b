//! `/app/{app}/gitdeploys`: gitdeploys as records.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::put::Put;
use super::http::args::{Args, NoQuery, Query};
use super::http::document::{Document, IfMatch, PatchBody};
use super::http::page::{ListReply, PageQuery};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::Created;
use crate::datasvc::{
    self, AppName, Attributes, Caller, Gitdeploy, GitdeployActions, GitdeployChange, GitdeployLocation, GitdeployName,
    GitdeployOptions, Listed, PackageName,
};

/// What a new gitdeploy needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewGitdeploy {
    /// Its name, unique within the application.
    name: GitdeployName,
    /// The package of a build that is deployed.
    package: PackageName,
    /// Where it goes.
    location: GitdeployLocation,
    /// How it is committed and pulled.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    options: GitdeployOptions,
    /// What runs on each server around a pull.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    actions: GitdeployActions,
    /// What to keep with it.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// Lists the gitdeploys of an application, by name
#[utoipa::path(get, path = "/app/{app}/gitdeploys", operation_id = "gitdeploys.list", tag = "gitdeploys",
    params(("app" = AppName, Path, description = "The application"), PageQuery),
    responses((status = 200, body = Listed<Gitdeploy>), (status = 404, description = "No such application")))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(query): Query<PageQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Gitdeploy>>, Problem> {
    let listed = rest.svc.gitdeploys(&caller, &app, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates a gitdeploy, to be initialized on servers
#[utoipa::path(post, path = "/app/{app}/gitdeploys", operation_id = "gitdeploys.create", tag = "gitdeploys",
    params(("app" = AppName, Path, description = "The application")),
    request_body = NewGitdeploy,
    responses(
        (status = 201, body = Gitdeploy, headers(("Location" = String, description = "Where it is"))),
        (status = 404, description = "No such application"),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "A value is not valid, such as a git repository that does not exist"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Args(new): Args<NewGitdeploy>,
) -> Result<Created<Document<Gitdeploy>>, Problem> {
    let NewGitdeploy { name, package, location, options, actions, attributes } = new;
    let new = datasvc::NewGitdeploy { name, package, location, options, actions, attributes };
    let gitdeploy = rest.svc.create_gitdeploy(&caller, &app, &new).await?;
    Ok(Created::at(format!("/app/{app}/gitdeploys/{}", gitdeploy.name), Document::new(gitdeploy.revision, gitdeploy)))
}

/// Shows a gitdeploy, with the servers on which it is initialized
#[utoipa::path(get, path = "/app/{app}/gitdeploys/{gitdeploy}", operation_id = "gitdeploys.get", tag = "gitdeploys",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("gitdeploy" = GitdeployName, Path, description = "The gitdeploy"),
    ),
    responses((status = 200, body = Gitdeploy), (status = 404, description = "No such gitdeploy")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, gitdeploy)): Path<(AppName, GitdeployName)>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Document<Gitdeploy>, Problem> {
    let gitdeploy = rest.svc.gitdeploy(&caller, &app, &gitdeploy).await?;
    Ok(Document::new(gitdeploy.revision, gitdeploy))
}

/// Changes what a gitdeploy deploys, where and how, and its attributes
#[utoipa::path(patch, path = "/app/{app}/gitdeploys/{gitdeploy}",
    operation_id = "gitdeploys.update", tag = "gitdeploys",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("gitdeploy" = GitdeployName, Path, description = "The gitdeploy"),
        IfMatch,
    ),
    request_body(content = GitdeployChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = Gitdeploy),
        (status = 404, description = "No such gitdeploy"),
        (status = 409, description = "It is initialized on servers, so its path and its git repository cannot change"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, gitdeploy)): Path<(AppName, GitdeployName)>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<Gitdeploy>, Problem> {
    let gitdeploy = rest.svc.update_gitdeploy(&caller, &app, &gitdeploy, &patch, &expected).await?;
    Ok(Document::new(gitdeploy.revision, gitdeploy))
}

/// Removes a gitdeploy
#[utoipa::path(delete, path = "/app/{app}/gitdeploys/{gitdeploy}",
    operation_id = "gitdeploys.delete", tag = "gitdeploys",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("gitdeploy" = GitdeployName, Path, description = "The gitdeploy"),
        IfMatch,
    ),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "No such gitdeploy"),
        (status = 409, description = "Groups use it, or it is initialized on servers, which the detail names"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, gitdeploy)): Path<(AppName, GitdeployName)>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_gitdeploy(&caller, &app, &gitdeploy, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<NewGitdeploy>();
    OpenApiRouter::default().routes(put.beside(create, routes!(list, create))).routes(routes!(get, update, delete))
}
