//! `/app/{app}/packagemaps`: which files of a build each of its packages holds.

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
use super::http::page::{DocumentsQuery, ListReply};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::Created;
use crate::datasvc::{AppName, Attributes, Caller, Listed, PackageMap, PackageMapChange, PackageMapName, PackageRules};

/// What a new package map needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewPackageMap {
    /// Its name, unique within the application.
    name: PackageMapName,
    /// The packages that it makes of an upload. `master` is reserved for the uploaded file.
    packages: PackageRules,
    /// What to keep with it.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// Lists the package maps of an application, by name
#[utoipa::path(get, path = "/app/{app}/packagemaps", operation_id = "package-maps.list", tag = "package-maps",
    params(("app" = AppName, Path, description = "The application"), DocumentsQuery),
    responses((status = 200, body = Listed<PackageMap>), (status = 404, description = "No such application")))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(query): Query<DocumentsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<PackageMap>>, Problem> {
    let listed = rest.svc.package_maps(&caller, &app, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates a package map
#[utoipa::path(post, path = "/app/{app}/packagemaps", operation_id = "package-maps.create", tag = "package-maps",
    params(("app" = AppName, Path, description = "The application")),
    request_body = NewPackageMap,
    responses(
        (status = 201, body = PackageMap, headers(("Location" = String, description = "Where it is"))),
        (status = 404, description = "No such application"),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name or the rules of a package are not valid"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Args(new): Args<NewPackageMap>,
) -> Result<Created<Document<PackageMap>>, Problem> {
    let NewPackageMap { name, packages, attributes } = new;
    let map = rest.svc.create_package_map(&caller, &app, &name, &packages, &attributes).await?;
    Ok(Created::at(format!("/app/{app}/packagemaps/{name}"), Document::new(map.revision, map)))
}

/// Shows a package map
#[utoipa::path(get, path = "/app/{app}/packagemaps/{map}", operation_id = "package-maps.get", tag = "package-maps",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("map" = PackageMapName, Path, description = "The package map"),
    ),
    responses((status = 200, body = PackageMap), (status = 404, description = "No such package map")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, map)): Path<(AppName, PackageMapName)>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Document<PackageMap>, Problem> {
    let map = rest.svc.package_map(&caller, &app, &map).await?;
    Ok(Document::new(map.revision, map))
}

/// Changes the packages and the attributes of a package map
#[utoipa::path(patch, path = "/app/{app}/packagemaps/{map}", operation_id = "package-maps.update",
    tag = "package-maps",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("map" = PackageMapName, Path, description = "The package map"),
        IfMatch,
    ),
    request_body(content = PackageMapChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = PackageMap),
        (status = 404, description = "No such package map"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, map)): Path<(AppName, PackageMapName)>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<PackageMap>, Problem> {
    let map = rest.svc.update_package_map(&caller, &app, &map, &patch, &expected).await?;
    Ok(Document::new(map.revision, map))
}

/// Removes a package map
#[utoipa::path(delete, path = "/app/{app}/packagemaps/{map}", operation_id = "package-maps.delete",
    tag = "package-maps",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("map" = PackageMapName, Path, description = "The package map"),
        IfMatch,
    ),
    responses(
        (status = 204, description = "It is removed; builds that were packaged by it keep their packages"),
        (status = 404, description = "No such package map"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, map)): Path<(AppName, PackageMapName)>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_package_map(&caller, &app, &map, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<NewPackageMap>();
    OpenApiRouter::default().routes(put.beside(create, routes!(list, create))).routes(routes!(get, update, delete))
}
