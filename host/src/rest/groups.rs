//! `/app/{app}/groups`: which gitdeploys are deployed together, and to which servers.

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
    self, AppName, Attributes, Caller, EnvironmentName, Group, GroupChange, GroupGitdeploys, GroupName, Listed, Order,
};

/// What a new group needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    /// Its name, unique within the application.
    name: GroupName,
    /// Its gitdeploys: a list of names, which are deployed at once, or a list of stages in their order, which are
    /// lists of names.
    gitdeploys: GroupGitdeploys,
    /// Whether a deployment goes through its servers part by part.
    #[serde(default)]
    rolling_deploy: bool,
    /// What it is for, at most 4 KiB.
    #[serde(default)]
    #[param(max_length = 4096)]
    #[schema(max_length = 4096)]
    description: String,
    /// What to keep with it.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// Names of environments as a query string has them: separated by `+`, which is decoded to a space, or by commas.
#[derive(Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct EnvironmentNames(pub(super) Vec<EnvironmentName>);

impl TryFrom<String> for EnvironmentNames {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let names = text.split([' ', ',']).map(|name| EnvironmentName::try_from(name.to_owned()));
        names.collect::<Result<_, _>>().map(Self)
    }
}

/// Which of the servers to show.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EnvironmentsQuery {
    /// Show the servers of these environments only: names, separated by `+` or commas.
    #[serde(default)]
    #[param(value_type = Option<String>, example = "staging,production",
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}([ ,][A-Za-z0-9][A-Za-z0-9._-]{0,127})*$")]
    pub(super) environments: EnvironmentNames,
}

/// Which groups to list, and which of their servers to show.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GroupsQuery {
    /// Show the servers of these environments only: names, separated by `+` or commas.
    #[serde(default)]
    #[param(value_type = Option<String>, example = "staging,production",
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}([ ,][A-Za-z0-9][A-Za-z0-9._-]{0,127})*$")]
    environments: EnvironmentNames,
    /// Those with a name that matches: `*` is any run of characters, `?` is one.
    #[param(max_length = 128, example = "web-*")]
    name: Option<String>,
    /// In which order: by name, the newest first (`-created`) or the oldest (`created`).
    #[serde(default)]
    #[param(inline, required = false)]
    order: Order,
    /// The cursor that the page before gave as `next`.
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists the groups of an application, by name
#[utoipa::path(get, path = "/app/{app}/groups", operation_id = "groups.list", tag = "groups",
    params(("app" = AppName, Path, description = "The application"), GroupsQuery),
    responses((status = 200, body = Listed<Group>), (status = 404, description = "No such application")))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(query): Query<GroupsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Group>>, Problem> {
    let GroupsQuery { environments: EnvironmentNames(environments), name, order, after, limit } = query;
    let page = PageQuery::new(after, limit).named(name).page()?.ordered(order);
    let listed = rest.svc.groups(&caller, &app, &environments, &page).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates a group
#[utoipa::path(post, path = "/app/{app}/groups", operation_id = "groups.create", tag = "groups",
    params(("app" = AppName, Path, description = "The application")),
    request_body = NewGroup,
    responses(
        (status = 201, body = Group, headers(("Location" = String, description = "Where it is"))),
        (status = 404, description = "No such application"),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name is not valid, or a gitdeploy does not exist"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Args(new): Args<NewGroup>,
) -> Result<Created<Document<Group>>, Problem> {
    let NewGroup { name, gitdeploys, rolling_deploy, description, attributes } = new;
    let new = datasvc::NewGroup { name, gitdeploys, rolling_deploy, description, attributes };
    let group = rest.svc.create_group(&caller, &app, &new).await?;
    Ok(Created::at(format!("/app/{app}/groups/{}", new.name), Document::new(group.revision, group)))
}

/// Shows a group
#[utoipa::path(get, path = "/app/{app}/groups/{group}", operation_id = "groups.get", tag = "groups",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("group" = GroupName, Path, description = "The group"),
        EnvironmentsQuery,
    ),
    responses((status = 200, body = Group), (status = 404, description = "No such group")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, group)): Path<(AppName, GroupName)>,
    Query(EnvironmentsQuery { environments: EnvironmentNames(environments) }): Query<EnvironmentsQuery>,
) -> Result<Document<Group>, Problem> {
    let group = rest.svc.group(&caller, &app, &group, &environments).await?;
    Ok(Document::new(group.revision, group))
}

/// Changes the gitdeploys of a group, how and for what they are deployed, and its attributes
#[utoipa::path(patch, path = "/app/{app}/groups/{group}", operation_id = "groups.update", tag = "groups",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("group" = GroupName, Path, description = "The group"),
        IfMatch,
    ),
    request_body(content = GroupChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = Group),
        (status = 404, description = "No such group"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, group)): Path<(AppName, GroupName)>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<Group>, Problem> {
    let group = rest.svc.update_group(&caller, &app, &group, &patch, &expected).await?;
    Ok(Document::new(group.revision, group))
}

/// Removes a group; its gitdeploys and its servers stay
#[utoipa::path(delete, path = "/app/{app}/groups/{group}", operation_id = "groups.delete", tag = "groups",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("group" = GroupName, Path, description = "The group"),
        IfMatch,
    ),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "No such group"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, group)): Path<(AppName, GroupName)>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_group(&caller, &app, &group, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<NewGroup>();
    OpenApiRouter::default().routes(put.beside(create, routes!(list, create))).routes(routes!(get, update, delete))
}
