//! `/app/{app}/actions`: what plugins offer for an application.

use axum::extract::{FromRequestParts, State};
use axum::http::Uri;
use axum::http::request::Parts;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::http::args::{NoQuery, Query};
use super::http::idempotency::IdempotencyKey;
use super::http::page::{ListReply, PageQuery};
use super::http::parameters::Parameters;
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::{Accepted, Json, SubmittedJob};
use crate::datasvc::{ActionName, AppName, Caller, JobId, LastRun, Listed, PluginAction};

/// An action, with what becomes of a request for it.
#[derive(Serialize, ToSchema)]
struct ActionDocument {
    #[serde(flatten)]
    action: PluginAction,
    /// The wall-clock limit of a run in seconds: its own or the server's, and no more than the longest.
    effective_timeout_seconds: u64,
    /// Its newest job; null if there is none among the newest thousand of the application or of this name. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<LastRun>, required = false)]
    last_run: Option<Option<LastRun>>,
}

impl ActionDocument {
    fn of(rest: &Rest, action: PluginAction, last_run: Option<Option<LastRun>>) -> Self {
        Self { effective_timeout_seconds: rest.work.action_timeout_seconds(&action), action, last_run }
    }
}

/// Lists the actions of an application, by name
#[utoipa::path(get, path = "/app/{app}/actions", operation_id = "actions.list", tag = "actions",
    params(("app" = AppName, Path, description = "The application"), PageQuery),
    responses((status = 200, body = Listed<ActionDocument>), (status = 404, description = "No such application")))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(query): Query<PageQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<ActionDocument>>, Problem> {
    let Listed { items, next } = rest.work.actions(&caller, &app, &query.page()?).await?;
    let items = items.into_iter().map(|action| ActionDocument::of(&rest, action, None)).collect();
    let listed = Listed { items, next };
    Ok(ListReply::of(&uri, listed))
}

/// Describes an action
#[utoipa::path(get, path = "/app/{app}/actions/{action}", operation_id = "actions.get", tag = "actions",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("action" = ActionName, Path, description = "The action"),
    ),
    responses((status = 200, body = ActionDocument), (status = 404, description = "No such application or action")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, action)): Path<(AppName, ActionName)>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Json<ActionDocument>, Problem> {
    let found = rest.work.action(&caller, &app, &action).await?;
    let last_run = rest.svc.last_run(&app, &action).await?;
    Ok(Json(ActionDocument::of(&rest, found, Some(last_run))))
}

/// Runs an action, as a job
///
/// Its parameters come from the query string and from the body, which is a form or a JSON object. A JSON value that is
/// not a string is passed as its JSON text. A name that is in both keeps both values, the query string's first.
#[utoipa::path(post, path = "/app/{app}/actions/{action}", operation_id = "actions.run", tag = "actions",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("action" = ActionName, Path, description = "The action"),
        ("Rerun-Of" = Option<JobId>, Header,
            description = "The job that this one repeats; the new job shows it as `rerun_of`"),
        IdempotencyKey,
    ),
    request_body(content((Object = "application/json"), (Object = "application/x-www-form-urlencoded"))),
    responses(
        (status = 202, body = SubmittedJob, headers(("Location" = String, description = "The job"))),
        (status = 400, description = "A declared parameter is missing; nothing runs"),
        (status = 404, description = "No such application or action"),
        (status = 422, description = "The idempotency key was used for another request, or the earlier job for another action"),
    ))]
async fn run(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, action)): Path<(AppName, ActionName)>,
    RerunOf(earlier): RerunOf,
    Parameters { values, idempotency }: Parameters,
) -> Result<Accepted, Problem> {
    let enqueued = rest.work.submit_action(&caller, &app, &action, values, idempotency, earlier).await?;
    Ok(Accepted::job(enqueued, action.to_string()))
}

/// The job that a request runs again, by its header `Rerun-Of`: parameters are the action's own.
struct RerunOf(Option<JobId>);

impl FromRequestParts<Rest> for RerunOf {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _rest: &Rest) -> Result<Self, Problem> {
        let id = parts.headers.get("Rerun-Of").map(|id| id.to_str().ok().and_then(|id| JobId::parse(id).ok()));
        match id {
            Some(None) => Err(Problem::malformed("`Rerun-Of` is the id of a job, a UUID")),
            Some(id) => Ok(Self(id)),
            None => Ok(Self(None)),
        }
    }
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(get, run))
}
