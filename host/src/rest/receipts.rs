//! `/app/{app}/receipts`: signed records of what servers have got.

use axum::extract::State;
use axum::http::Uri;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::http::args::Query;
use super::http::page::ListReply;
use super::http::path::Path;
use super::http::problem::Problem;
use crate::datasvc::{
    AppName, BuildName, Caller, GitdeployName, Listed, Page, ReceiptFilter, ServerName, SignedReceipt,
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
    /// The cursor that the page before gave as `next`.
    #[param(format = Uuid)]
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists the receipts of an application, newest first
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
    let ReceiptsQuery { server, build, gitdeploy, after, limit } = query;
    let filter = ReceiptFilter { server, build, gitdeploy };
    let listed = rest.svc.receipts(&caller, &app, &filter, &Page::new(after, limit)?).await?;
    Ok(ListReply::of(&uri, listed))
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(list))
}
