//! `/global/audit`: who changed what.

use axum::extract::State;
use axum::http::Uri;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::http::args::Query;
use super::http::moment::Moment;
use super::http::page::{ListReply, PageQuery};
use super::http::problem::Problem;
use crate::datasvc::{AppName, AuditEntry, AuditFilter, Caller, Listed, NamePattern, PluginName, TimeOrder, UserName};

/// Which changes to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Those of this operation, such as `builds.update`.
    operation: Option<String>,
    /// Those in this application.
    #[serde(alias = "app", alias = "app_name")]
    application: Option<AppName>,
    /// Those of documents with a name or id that matches: `*` is any run of characters, `?` is one.
    #[param(max_length = 128, example = "web-*")]
    name: Option<String>,
    /// Those by this user.
    #[serde(alias = "user")]
    username: Option<UserName>,
    /// Those by this plugin.
    plugin: Option<PluginName>,
    /// Those made at this time or later: RFC 3339, such as `2026-11-22T12:00:00Z`, or a date.
    #[param(value_type = Option<OffsetDateTime>)]
    since: Option<Moment>,
    /// Those made before this time.
    #[param(value_type = Option<OffsetDateTime>)]
    until: Option<Moment>,
    /// In which order: the newest first (`-created`), or the oldest (`created`).
    #[serde(default)]
    #[param(inline, required = false)]
    order: TimeOrder,
    /// The cursor that the page before gave as `next`.
    #[param(pattern = "^[0-9]{1,18}$")]
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists the changes that were made, newest first unless `order=created` is given
///
/// Every change through REST or by a plugin is here, with who made it and the document before and after. Jobs are not:
/// they are their own record. It takes read permission on `_global`.
#[utoipa::path(get, path = "/global/audit", operation_id = "audit.list", tag = "audit",
    params(AuditQuery), responses((status = 200, body = Listed<AuditEntry>)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<AuditEntry>>, Problem> {
    let AuditQuery { operation, application, name, username, plugin, since, until, order, after, limit } = query;
    let filter = AuditFilter {
        operation,
        application,
        name: name.map(NamePattern::new).transpose()?,
        username,
        plugin,
        since: since.map(Into::into),
        until: until.map(Into::into),
        order,
    };
    let page = PageQuery::new(after, limit).page()?;
    let listed = rest.svc.audit(&caller, &filter, &page).await?;
    Ok(ListReply::of(&uri, listed))
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(list))
}
