//! `/app/{app}/receipts`: signed records of what servers have got.

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
use super::http::path::Path;
use super::http::problem::Problem;
use crate::datasvc::{
    AppName, BuildName, Caller, GitdeployName, Listed, ReceiptFilter, ServerName, SignedReceipt, TimeOrder,
};

/// Which receipts to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ReceiptsQuery {
    /// Those of this server.
    server: Option<ServerName>,
    /// Those of this build.
    build: Option<BuildName>,
    /// Those of this gitdeploy.
    gitdeploy: Option<GitdeployName>,
    /// Those of this time or later: RFC 3339, such as `2026-11-22T12:00:00Z`, or a date.
    #[param(value_type = Option<OffsetDateTime>)]
    since: Option<Moment>,
    /// Those of before this time.
    #[param(value_type = Option<OffsetDateTime>)]
    until: Option<Moment>,
    /// In which order: the newest first (`-created`), or the oldest (`created`).
    #[serde(default)]
    #[param(inline, required = false)]
    order: TimeOrder,
    /// The cursor that the page before gave as `next`.
    #[param(format = Uuid)]
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists the receipts of an application, newest first unless `order=created` is given
///
/// Each is a signed record of what a server has got: which file was uploaded by whom, which package was committed, and who
/// has brought it there. The keys that they are signed with are at `/about`.
#[utoipa::path(get, path = "/app/{app}/receipts", operation_id = "receipts.list", tag = "deployments",
    params(("app" = AppName, Path, description = "The application"), ReceiptsQuery),
    responses((status = 200, body = Listed<SignedReceipt>), (status = 404, description = "No such application")))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(query): Query<ReceiptsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<SignedReceipt>>, Problem> {
    let ReceiptsQuery { server, build, gitdeploy, since, until, order, after, limit } = query;
    let (since, until) = (since.map(Into::into), until.map(Into::into));
    let filter = ReceiptFilter { server, build, gitdeploy, since, until, order };
    let page = PageQuery::new(after, limit).page()?;
    let listed = rest.svc.receipts(&caller, &app, &filter, &page).await?;
    Ok(ListReply::of(&uri, listed))
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(list))
}
