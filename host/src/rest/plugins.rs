//! `/global/plugins`: which plugins there are, what they register and what was refused.

use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::http::args::{NoQuery, Query};
use super::http::page::{ListReply, PageQuery};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::Json;
use crate::datasvc::{Caller, Listed, Plugin, PluginAccess, PluginName};

/// A plugin, with what it asks for against what it is granted.
#[derive(Serialize, ToSchema)]
struct PluginDocument {
    #[serde(flatten)]
    plugin: Plugin,
    /// For those who may read `_global`.
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<PluginAccess>,
}

/// Lists the plugins, by name
///
/// Without read permission on `_global` you see only plugins that have registered something for an application that you
/// may read, and what they have registered for it. What they import and are granted is left out.
#[utoipa::path(get, path = "/global/plugins", operation_id = "plugins.list", tag = "plugins",
    params(PageQuery), responses((status = 200, body = Listed<Plugin>)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<PageQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Plugin>>, Problem> {
    let listed = rest.svc.plugins(&caller, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Shows a plugin
#[utoipa::path(get, path = "/global/plugins/{plugin}", operation_id = "plugins.get", tag = "plugins",
    params(("plugin" = PluginName, Path, description = "The plugin")),
    responses((status = 200, body = PluginDocument), (status = 404, description = "No such plugin")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path(plugin): Path<PluginName>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Json<PluginDocument>, Problem> {
    let plugin = rest.svc.plugin(&caller, &plugin).await?;
    let access = rest.work.plugin_access(&caller, &plugin);
    Ok(Json(PluginDocument { plugin, access }))
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(get))
}
