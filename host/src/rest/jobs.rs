//! `/job`: what was asked for, how it goes and what came of it.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::args::Query;
use super::page::{ListReply, PageQuery, in_parameter};
use super::path::Path;
use super::problem::Problem;
use crate::datasvc::{
    AppName, Caller, Job, JobEntries, JobEntry, JobFilter, JobId, JobStatus, Listed, MAX_ENTRIES_PAGE, Page,
};

/// Which jobs to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct JobsQuery {
    /// Queued and running ones, or those that have ended.
    active: Option<bool>,
    /// Those in this state.
    status: Option<JobStatus>,
    /// Those of this application.
    app: Option<AppName>,
    /// Those of this name, such as an action's.
    name: Option<String>,
    /// Those created at this time or later: RFC 3339, such as `2026-11-22T12:00:00Z`.
    #[serde(default, with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
    /// The cursor that the page before gave as `next`.
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// How much of a job to show.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct JobQuery {
    /// With the first 1000 entries of its log.
    #[serde(default)]
    results: bool,
}

/// Which entries to read.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EntriesQuery {
    /// The `seq` of the last entry that is known.
    #[serde(default)]
    after: i64,
    /// How many entries to read, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A job, with its log if that was asked for.
#[derive(Serialize, ToSchema)]
struct JobDocument {
    #[serde(flatten)]
    job: Job,
    #[serde(flatten)]
    results: Option<JobResults>,
}

/// The log of a job, with `results=true`.
#[derive(Serialize, ToSchema)]
struct JobResults {
    /// The first entries, at most 1000.
    job_data: Vec<JobEntry>,
    /// Where `/job/{id}/data` goes on, for its `after`; null if these are all there are so far.
    job_data_next: Option<i64>,
}

/// Lists the jobs that you may read, newest first
#[utoipa::path(get, path = "/job", operation_id = "jobs.list", tag = "jobs",
    params(JobsQuery), responses((status = 200, body = Listed<Job>)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<JobsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Job>>, Problem> {
    let JobsQuery { active, status, app, name, since, after, limit } = query;
    let filter = JobFilter { active, status, application: app, name, since };
    let page = PageQuery::new(after, limit).page()?;
    let listed = rest.svc.jobs(&caller, &filter, &page).await.map_err(in_parameter)?;
    Ok(ListReply::of(&uri, listed))
}

/// Shows a job
#[utoipa::path(get, path = "/job/{id}", operation_id = "jobs.get", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), JobQuery),
    responses((status = 200, body = JobDocument), (status = 404, description = "No such job")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path(id): Path<JobId>,
    Query(query): Query<JobQuery>,
) -> Result<Json<JobDocument>, Problem> {
    // The job first: if it has ended by then, its log is complete.
    let job = rest.svc.job(&caller, id).await?;
    let results = match query.results {
        false => None,
        true => {
            let JobEntries { items, next } = rest.svc.job_entries(&caller, id, 0, MAX_ENTRIES_PAGE).await?;
            Some(JobResults { job_data: items, job_data_next: next })
        }
    };
    Ok(Json(JobDocument { job, results }))
}

/// Reads the log of a job
#[utoipa::path(get, path = "/job/{id}/data", operation_id = "jobs.entries", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), EntriesQuery),
    responses((status = 200, body = JobEntries), (status = 404, description = "No such job")))]
async fn entries(
    State(rest): State<Rest>,
    caller: Caller,
    Path(id): Path<JobId>,
    Query(query): Query<EntriesQuery>,
    uri: Uri,
) -> Result<ListReply<JobEntries>, Problem> {
    let limit = query.limit.unwrap_or(Page::DEFAULT_LIMIT);
    let entries = rest.svc.job_entries(&caller, id, query.after, limit).await.map_err(in_parameter)?;
    let next = entries.next.map(|seq| seq.to_string());
    Ok(ListReply::new(&uri, entries, next.as_deref()))
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(get)).routes(routes!(entries))
}
