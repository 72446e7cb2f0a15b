//! `/app/{app}/builds`: builds as records.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::put::Put;
use super::http::args::{Args, Keyed, NoQuery, Query};
use super::http::document::{Document, IfMatch, PatchBody};
use super::http::idempotency::IdempotencyKey;
use super::http::moment::Moment;
use super::http::page::{ListReply, PageQuery};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::{Accepted, Created, SubmittedJob};
use crate::datasvc::{
    AppName, Attributes, Build, BuildChange, BuildFilter, BuildName, BuildRetention, Caller, Listed, Order, PRUNE,
    Prune, Seconds,
};

/// What a new build needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewBuild {
    /// Its name, unique within the application.
    build_name: BuildName,
    /// What to keep with it.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// Which builds to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct BuildsQuery {
    /// Those with a name that matches: `*` is any run of characters, `?` is one.
    #[param(max_length = 128, example = "1.*")]
    name: Option<String>,
    /// `true`: builds that have a file; `false`: builds that do not have one.
    stored: Option<bool>,
    /// Those created at this time or later: RFC 3339, such as `2026-11-22T12:00:00Z`, or a date.
    #[param(value_type = Option<OffsetDateTime>)]
    since: Option<Moment>,
    /// Those created before this time.
    #[param(value_type = Option<OffsetDateTime>)]
    until: Option<Moment>,
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

/// Which of a build's files to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FilesQuery {
    /// Those whose paths it matches: `*` stays within a directory, `**` does not.
    #[param(format = "glob", max_length = 512, example = "web/**")]
    glob: Option<String>,
    /// The cursor that the page before gave as `next`.
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists the builds of an application, by name or by age
#[utoipa::path(get, path = "/app/{app}/builds", operation_id = "builds.list", tag = "builds",
    params(("app" = AppName, Path, description = "The application"), BuildsQuery),
    responses((status = 200, body = Listed<Build>), (status = 404, description = "No such application")))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(BuildsQuery { name, stored, since, until, order, after, limit }): Query<BuildsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Build>>, Problem> {
    let page = PageQuery::new(after, limit).named(name).page()?;
    let filter = BuildFilter { stored, since: since.map(Into::into), until: until.map(Into::into), order };
    let listed = rest.svc.builds(&caller, &app, filter, &page).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates a build, for a file to be uploaded for it
#[utoipa::path(post, path = "/app/{app}/builds", operation_id = "builds.create", tag = "builds",
    params(("app" = AppName, Path, description = "The application")),
    request_body = NewBuild,
    responses(
        (status = 201, body = Build, headers(("Location" = String, description = "Where it is"))),
        (status = 404, description = "No such application"),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name is not valid"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Args(new): Args<NewBuild>,
) -> Result<Created<Document<Build>>, Problem> {
    let NewBuild { build_name, attributes } = new;
    let build = rest.svc.create_build(&caller, &app, &build_name, &attributes).await?;
    Ok(Created::at(format!("/app/{app}/builds/{build_name}"), Document::new(build.revision, build)))
}

/// Shows a build
#[utoipa::path(get, path = "/app/{app}/builds/{build}", operation_id = "builds.get", tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("build" = BuildName, Path, description = "The build"),
    ),
    responses((status = 200, body = Build), (status = 404, description = "No such build")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, build)): Path<(AppName, BuildName)>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Document<Build>, Problem> {
    let build = rest.svc.build(&caller, &app, &build).await?;
    Ok(Document::new(build.revision, build))
}

/// Lists the paths in a build's file, in order
///
/// A page may be short, and even empty, while `next` says that there is more: no request looks at more than 20,000
/// paths.
#[utoipa::path(get, path = "/app/{app}/builds/{build}/files", operation_id = "builds.files", tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("build" = BuildName, Path, description = "The build"),
        FilesQuery,
    ),
    responses((status = 200, body = Listed<String>), (status = 404, description = "No such build")))]
async fn files(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, build)): Path<(AppName, BuildName)>,
    Query(FilesQuery { glob, after, limit }): Query<FilesQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<String>>, Problem> {
    let page = PageQuery::new(after, limit).page()?;
    let listed = rest.svc.build_files(&caller, &app, &build, glob.as_deref(), &page).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Changes the attributes of a build
#[utoipa::path(patch, path = "/app/{app}/builds/{build}", operation_id = "builds.update", tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("build" = BuildName, Path, description = "The build"),
        IfMatch,
    ),
    request_body(content = BuildChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = Build),
        (status = 404, description = "No such build"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, build)): Path<(AppName, BuildName)>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<Build>, Problem> {
    let build = rest.svc.update_build(&caller, &app, &build, &patch, &expected).await?;
    Ok(Document::new(build.revision, build))
}

/// Removes a build with its files
#[utoipa::path(delete, path = "/app/{app}/builds/{build}", operation_id = "builds.delete", tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("build" = BuildName, Path, description = "The build"),
        IfMatch,
    ),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "No such build"),
        (status = 409, description = "An upload of this build is in progress, or a deployment needs it"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, build)): Path<(AppName, BuildName)>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.work.delete_build(&caller, &app, &build, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which builds are kept, by either of the two.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct PruneQuery {
    /// The last so many that have a file, and all that are newer than these.
    #[param(minimum = 1, maximum = 1_000_000)]
    keep_last: Option<u32>,
    /// Those that were created within so many seconds; `90d` is understood, too.
    #[param(value_type = Option<u64>, minimum = 1, maximum = 3_162_240_000_u64)]
    keep_seconds: Option<Seconds>,
    /// `true`: the job only says what it would remove.
    #[serde(default)]
    #[param(required = false)]
    dry_run: bool,
}

/// Removes old builds, as a job
///
/// At least one of `keep_last` and `keep_seconds` is needed; with both, a build is kept that either keeps. Builds that
/// are pinned (`"pinned": true` in `attributes`), deployed, in a git repository, needed by a deployment or being uploaded
/// are kept, too. The job's result lists the builds that were removed (with `dry_run`: that would be), and those that
/// were kept, with the reasons.
#[utoipa::path(delete, path = "/app/{app}/builds", operation_id = "builds.prune", tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        PruneQuery,
        IdempotencyKey,
    ),
    responses(
        (status = 202, body = SubmittedJob, headers(("Location" = String, description = "The job"))),
        (status = 400, description = "Neither `keep_last` nor `keep_seconds` is given; nothing is removed"),
        (status = 404, description = "No such application"),
        (status = 422, description = "The idempotency key was used for another request"),
    ))]
async fn prune(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Keyed { asked: Query(asked), idempotency }: Keyed<Query<PruneQuery>>,
) -> Result<Accepted, Problem> {
    let PruneQuery { keep_last, keep_seconds, dry_run } = asked;
    if keep_last.is_none() && keep_seconds.is_none() {
        let detail = "say which builds are kept: `keep_last`, how many, or `keep_seconds`, how young ones";
        return Err(Problem::malformed(detail));
    }
    let prune = Prune { rule: BuildRetention::new(keep_last, keep_seconds.map(|Seconds(seconds)| seconds))?, dry_run };
    let enqueued = rest.work.submit_prune(&caller, &app, prune, idempotency).await?;
    Ok(Accepted::job(enqueued, PRUNE.into()))
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<NewBuild>();
    OpenApiRouter::default()
        .routes(put.beside(create, routes!(list, create, prune)))
        .routes(routes!(get, update, delete))
        .routes(routes!(files))
}
