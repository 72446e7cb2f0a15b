//! `/server`: what is deployed to.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Map, Value};
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
use super::http::reply::{Created, Json};
use crate::datasvc::{
    self, Attributes, Caller, Driver, EnvironmentName, Environments, Listed, Server, ServerChange, ServerName,
};

/// What a new server needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewServer {
    /// Its name, unique in this installation; it may be a host name. `command` and `environments` are
    /// reserved.
    name: ServerName,
    /// The environment that it belongs to, such as `production`.
    environment: EnvironmentName,
    /// What it is reached by.
    driver: Driver,
    /// How the driver reaches it, an object: for `ssh` `host` (the server's name, unless it is given), `port` (22),
    /// `user` (root) and `host_key` (any key); for `salt` `minion` (the server's name). `local` has no members.
    #[serde(default)]
    #[param(value_type = Object, required = false)]
    #[schema(value_type = Object, required = false)]
    connection: Map<String, Value>,
    /// What to keep with it.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// Lists the servers that you may read, by name
#[utoipa::path(get, path = "/server", operation_id = "servers.list", tag = "servers",
    params(PageQuery), responses((status = 200, body = Listed<Server>)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<PageQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Server>>, Problem> {
    let listed = rest.svc.servers(&caller, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates a server
#[utoipa::path(post, path = "/server", operation_id = "servers.create", tag = "servers",
    request_body = NewServer,
    responses(
        (status = 201, body = Server, headers(("Location" = String, description = "Where it is"))),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name is not valid, or the connection does not fit the driver"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Args(new): Args<NewServer>,
) -> Result<Created<Document<Server>>, Problem> {
    let NewServer { name, environment, driver, connection, attributes } = new;
    let new = datasvc::NewServer { name, environment, driver, connection, attributes };
    let server = rest.svc.create_server(&caller, &new).await?;
    Ok(Created::at(format!("/server/{}", new.name), Document::new(server.revision, server)))
}

/// Shows which servers are in which environment, of those that you may read
#[utoipa::path(get, path = "/server/environments", operation_id = "servers.environments", tag = "servers",
    responses((status = 200, body = BTreeMap<String, Vec<ServerName>>)))]
async fn environments(
    State(rest): State<Rest>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Json<Environments>, Problem> {
    Ok(Json(rest.svc.environments(&caller).await?))
}

/// Shows a server
#[utoipa::path(get, path = "/server/{server}", operation_id = "servers.get", tag = "servers",
    params(("server" = ServerName, Path, description = "The server")),
    responses((status = 200, body = Server), (status = 404, description = "No such server")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path(server): Path<ServerName>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Document<Server>, Problem> {
    let server = rest.svc.server(&caller, &server).await?;
    Ok(Document::new(server.revision, server))
}

/// Changes the environment, the driver with its connection and the attributes of a server
#[utoipa::path(patch, path = "/server/{server}", operation_id = "servers.update", tag = "servers",
    params(("server" = ServerName, Path, description = "The server"), IfMatch),
    request_body(content = ServerChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = Server),
        (status = 404, description = "No such server"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path(server): Path<ServerName>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<Server>, Problem> {
    let server = rest.svc.update_server(&caller, &server, &patch, &expected).await?;
    Ok(Document::new(server.revision, server))
}

/// Removes a server on which no gitdeploy is initialized
#[utoipa::path(delete, path = "/server/{server}", operation_id = "servers.delete", tag = "servers",
    params(("server" = ServerName, Path, description = "The server"), IfMatch),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "No such server"),
        (status = 409, description = "Gitdeploys are initialized on it"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path(server): Path<ServerName>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_server(&caller, &server, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<NewServer>();
    OpenApiRouter::default()
        .routes(put.beside(create, routes!(list, create)))
        .routes(routes!(environments))
        .routes(routes!(get, update, delete))
}
