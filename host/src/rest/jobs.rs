//! `/job`: what was asked for, how it goes and what came of it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::True;
use super::events::{self, Wants};
use super::http::args::Query;
use super::http::page::{ListReply, PageQuery};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::{Accepted, SubmittedJob};
use crate::datasvc::{
    AppName, Caller, CancelFilter, CancelledJobs, Error, Job, JobEntries, JobEntry, JobFilter, JobId, JobStatus,
    JobSteps, JobTrace, Listed, MAX_ENTRIES_PAGE, MAX_ENTRIES_PAGE_BYTES, Page,
};
use crate::engine::News;

/// The longest that a request may wait for an entry.
const MAX_WAIT_SECONDS: u32 = 60;

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
    #[param(format = Uuid)]
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
    /// With the calls that its plugin made and what it wrote for operators, which takes write permission.
    #[serde(default)]
    trace: bool,
    /// With its durable steps, which the server's own work has: the first 1000.
    #[serde(default)]
    steps: bool,
    /// With the steps after those that came before: what the document before gave as `steps_next`.
    #[param(minimum = 0)]
    steps_after: Option<i32>,
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
    /// How long to wait for an entry or the job's end, if there is none yet, in seconds: up to 60.
    #[serde(default)]
    #[param(maximum = 60)]
    wait: u32,
}

/// What to do with a job.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ChangeQuery {
    /// `true`: stop it.
    #[param(value_type = True)]
    cancel: bool,
}

/// Which jobs to stop. At least one of them says so.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CancelQuery {
    /// `true`: stop them.
    #[param(value_type = True)]
    cancel: bool,
    /// Those in this state: `queued` or `running`; both unless it is given.
    status: Option<JobStatus>,
    /// Those of this application.
    app: Option<AppName>,
    /// Those of this name, such as an action's.
    name: Option<String>,
    /// This job and all that come of it: those that it started, those that they started, and so on.
    root: Option<JobId>,
    /// Those that this job has started itself.
    parent: Option<JobId>,
    /// Those created at this time or later: RFC 3339, such as `2026-11-22T12:00:00Z`.
    #[serde(default, with = "time::serde::rfc3339::option")]
    since: Option<OffsetDateTime>,
}

/// A job, with its log if that was asked for.
#[derive(Serialize, ToSchema)]
struct JobDocument {
    #[serde(flatten)]
    job: Job,
    #[serde(flatten)]
    results: Option<JobResults>,
    #[serde(flatten)]
    trace: Option<JobTrace>,
    #[serde(flatten)]
    steps: Option<JobSteps>,
}

/// The log of a job, with `results=true`.
#[derive(Serialize, ToSchema)]
struct JobResults {
    /// The first entries, at most 1000.
    #[schema(required = false)]
    job_data: Vec<JobEntry>,
    /// Where `/job/{id}/data` goes on, for its `after`; null if these are all there are so far.
    #[schema(required = false)]
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
    let listed = rest.svc.jobs(&caller, &filter, &page).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Stops all jobs that match
///
/// Of those that you may stop, a thousand at a time: `more` says that there may be others, for the same request. Those
/// that are queued end at once; those that run are told, and stopped after a while if they do not end by themselves.
#[utoipa::path(post, path = "/job", operation_id = "jobs.cancel-matching", tag = "jobs",
    params(CancelQuery),
    responses(
        (status = 202, body = CancelledJobs),
        (status = 403, description = "There are such jobs, and none of them is yours to stop"),
        (status = 422, description = "The filter leaves everything open"),
    ))]
async fn cancel_matching(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<CancelQuery>,
) -> Result<(StatusCode, Json<CancelledJobs>), Problem> {
    let CancelQuery { cancel, status, app, name, root, parent, since } = query;
    if !cancel {
        return Err(Problem::malformed("jobs can be cancelled, with `?cancel=true`, and nothing else"));
    }
    let filter = CancelFilter { status, application: app, name, root, parent, since };
    let stopped = rest.engine.cancel_matching(&caller, &filter).await?;
    Ok((StatusCode::ACCEPTED, Json(stopped)))
}

/// Shows a job
#[utoipa::path(get, path = "/job/{id}", operation_id = "jobs.get", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), JobQuery),
    responses(
        (status = 200, body = JobDocument),
        (status = 403, description = "The trace is not for you"),
        (status = 404, description = "No such job"),
    ))]
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
            let JobEntries { items, next, status: _ } =
                rest.svc.job_entries(&caller, id, 0, MAX_ENTRIES_PAGE, MAX_ENTRIES_PAGE_BYTES).await?;
            Some(JobResults { job_data: items, job_data_next: next })
        }
    };
    let trace = match query.trace {
        false => None,
        true => Some(rest.svc.job_trace(&caller, id).await?),
    };
    let steps = match (query.steps, query.steps_after) {
        (false, None) => None,
        (_, after) => Some(rest.svc.job_steps(&caller, id, after.unwrap_or(0)).await?),
    };
    Ok(Json(JobDocument { job, results, trace, steps }))
}

/// Stops a job
///
/// One that is queued ends at once; one that runs is told, and stopped after a while if it does not end by itself.
#[utoipa::path(post, path = "/job/{id}", operation_id = "jobs.cancel", tag = "jobs",
    params(("id" = JobId, Path, description = "The job"), ChangeQuery),
    responses(
        (status = 202, body = SubmittedJob, headers(("Location" = String, description = "The job"))),
        (status = 404, description = "No such job"),
        (status = 409, description = "It has ended already"),
    ))]
async fn cancel(
    State(rest): State<Rest>,
    caller: Caller,
    Path(id): Path<JobId>,
    Query(query): Query<ChangeQuery>,
) -> Result<Accepted, Problem> {
    if !query.cancel {
        return Err(Problem::malformed("a job can be cancelled, with `?cancel=true`, and nothing else"));
    }
    Ok(rest.engine.cancel(&caller, id).await?.into())
}

/// Reads the log of a job, or follows it
///
/// With `Accept: text/event-stream` as server-sent events, each with an entry and its `seq` as `id`, until an event
/// `end` with the final job; `Last-Event-ID` goes on after the entry that it names.
#[utoipa::path(get, path = "/job/{id}/data", operation_id = "jobs.entries", tag = "jobs",
    params(
        ("id" = JobId, Path, description = "The job"),
        EntriesQuery,
        ("Last-Event-ID" = Option<i64>, Header, description = "As `after`, for event streams"),
    ),
    responses(
        (status = 200, content((JobEntries = "application/json"), (String = "text/event-stream"))),
        (status = 404, description = "No such job"),
    ))]
async fn entries(
    State(rest): State<Rest>,
    caller: Caller,
    Path(id): Path<JobId>,
    Query(query): Query<EntriesQuery>,
    wants: Wants,
    uri: Uri,
) -> Result<Response, Problem> {
    let EntriesQuery { after, limit, wait } = query;
    if let Wants::Events { last_id } = wants {
        return Ok(events::stream(rest, caller, id, last_id.unwrap_or(after)).await?.into_response());
    }
    if wait > MAX_WAIT_SECONDS {
        return Err(Error::invalid("wait", format!("at most {MAX_WAIT_SECONDS} seconds are waited")).into());
    }
    let until = Instant::now() + Duration::from_secs(u64::from(wait));
    let limit = limit.unwrap_or(Page::DEFAULT_LIMIT);
    let mut follower = rest.engine.follow(id);
    let mut session = rest.sessions.begin(caller);
    loop {
        let caller = session.caller()?;
        let entries = rest.svc.job_entries(&caller, id, after, limit, MAX_ENTRIES_PAGE_BYTES).await?;
        if entries.items.is_empty() && !entries.status.is_final() && Instant::now() < until {
            tokio::select! {
                news = follower.news() => if news == News::Perhaps { continue },
                () = session.changed() => continue,
                () = tokio::time::sleep_until(until) => {}
            }
        }
        let next = entries.next.map(|seq| seq.to_string());
        return Ok(ListReply::new(&uri, entries, next.as_deref()).into_response());
    }
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default()
        .routes(routes!(list, cancel_matching))
        .routes(routes!(get, cancel))
        .routes(routes!(entries))
}
