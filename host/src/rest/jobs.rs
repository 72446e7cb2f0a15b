//! `/job`: what was asked for, how it goes and what came of it.

mod log;
mod text;

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, sleep_until};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::True;
use super::http::args::Query;
use super::http::moment::Moment;
use super::http::page::{ListReply, PageQuery};
use super::http::path::Path;
use super::http::problem::{Fault, Problem};
use super::http::reply::{Accepted, Json, SubmittedJob};
use super::http::several::Several;
use super::http::wait::Preferred;
use crate::datasvc::{
    AppName, Caller, CancelFilter, CancelledJobs, Job, JobCounts, JobEntries, JobEntry, JobFilter, JobId, JobStatus,
    JobSteps, JobTrace, JobType, Listed, LogPart, MAX_ENTRIES_PAGE, MAX_ENTRIES_PAGE_BYTES, NamePattern, PluginName,
    Seconds, TimeOrder, UserName,
};
use crate::engine::{News, WaitsFor};

/// How long a request that waits for a job's end waits when there is something new: a busy job is to cost little.
const PAUSE: Duration = Duration::from_millis(20);

/// Which jobs to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct JobsQuery {
    /// These ones, up to 100, with commas between their ids.
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(,[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}){0,9}$",
        example = "0197c9a0-7b1e-7c3d-8a54-3f2f1f0e9d8c")]
    id: Several<JobId>,
    /// Queued and running ones, or those that have ended.
    active: Option<bool>,
    /// Those in one of these states, with commas between them.
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = "^(queued|running|succeeded|failed|cancelled|lost)(,(queued|running|succeeded|failed|cancelled|lost)){0,9}$",
        example = "failed,lost")]
    status: Several<JobStatus>,
    /// Those of one of these applications, with commas between them.
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(,[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,9}$",
        example = "my_application")]
    #[serde(alias = "app", alias = "app_name")]
    application: Several<AppName>,
    /// Those with a name that matches, such as an action's: `*` is any run of characters, `?` is one.
    #[param(max_length = 128, example = "DeleteWidgets")]
    name: Option<String>,
    /// Those that do one of these, with commas between them: `action`, `upload`.
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = "^[a-z-]{1,32}(,[a-z-]{1,32}){0,99}$", example = "action")]
    r#type: Several<String>,
    /// Those that run this plugin.
    plugin: Option<PluginName>,
    /// Those that this user asked for.
    username: Option<UserName>,
    /// Those that this job has started.
    parent: Option<JobId>,
    /// Those whose ids end like this: the last eight characters tell jobs apart.
    #[param(pattern = "^[0-9a-fA-F]{4,12}$", example = "e668b057")]
    id_suffix: Option<String>,
    /// Those created at this time or later: RFC 3339, such as `2026-11-22T12:00:00Z`, or a date.
    #[param(value_type = Option<OffsetDateTime>)]
    since: Option<Moment>,
    /// Those created before this time.
    #[param(value_type = Option<OffsetDateTime>)]
    until: Option<Moment>,
    /// In which order: the newest first (`-created`), or the oldest (`created`).
    #[serde(default)]
    #[param(inline, required = false)]
    order: TimeOrder,
    /// With `data`, `result` and `error.trace`.
    #[serde(default)]
    details: bool,
    /// With `counts`: how many jobs there are in each state.
    #[serde(default)]
    counts: bool,
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
    /// How long to wait for its end, in seconds (up to 60) or as `30s` or `1m`; `Prefer: wait=30` does the same.
    #[param(value_type = Option<u32>, maximum = 60)]
    wait: Option<Seconds>,
}

/// What to do with a job.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ChangeQuery {
    /// `true`: stop it.
    #[param(value_type = True)]
    cancel: bool,
}

/// Which jobs to stop. At least one filter is needed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CancelQuery {
    /// `true`: stop them.
    #[param(value_type = True)]
    cancel: bool,
    /// Those in one of these states, with a comma between them: `queued` and `running`; both unless it is given.
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = "^(queued|running)(,(queued|running)){0,9}$", example = "queued")]
    status: Several<JobStatus>,
    /// Those of one of these applications, with commas between them.
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(,[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,9}$",
        example = "my_application")]
    #[serde(alias = "app", alias = "app_name")]
    application: Several<AppName>,
    /// Those with a name that matches, such as an action's: `*` is any run of characters, `?` is one.
    #[param(max_length = 128, example = "DeleteWidgets")]
    name: Option<String>,
    /// This job and all that come of it: those that it started, those that they started, and so on.
    root: Option<JobId>,
    /// Those that this job has started itself.
    parent: Option<JobId>,
    /// Those created at this time or later: RFC 3339, such as `2026-11-22T12:00:00Z`, or a date.
    #[param(value_type = Option<OffsetDateTime>)]
    since: Option<Moment>,
    /// Those created before this time.
    #[param(value_type = Option<OffsetDateTime>)]
    until: Option<Moment>,
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
    /// What it waits for, if it is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    waits_for: Option<WaitsFor>,
}

/// The log of a job, with `results=true`.
#[derive(Serialize, ToSchema)]
struct JobResults {
    /// The first entries, at most 1000.
    #[schema(required = false)]
    job_data: Vec<JobEntry>,
    /// Where `/job/{id}/data` goes on, for its `after`; null if there are no more yet.
    #[schema(required = false)]
    job_data_next: Option<i64>,
}

/// A part of the list of jobs, with what was counted if that was asked for.
#[derive(Serialize, ToSchema)]
struct JobsDocument {
    #[serde(flatten)]
    listed: Listed<Job>,
    /// How many jobs there are in each state under the other filters, up to 10,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, value_type = std::collections::BTreeMap<String, i64>)]
    counts: Option<JobCounts>,
}

/// Lists the jobs that you may read, newest first unless `order=created` is given
///
/// Without `details` they lack `data`, `result` and `error.trace`. A page may be short, and even empty, while `next`
/// says that there is more: no request looks at more than some thousand jobs, even if few of them match.
#[utoipa::path(get, path = "/job", operation_id = "jobs.list", tag = "jobs",
    params(JobsQuery), responses((status = 200, body = JobsDocument)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<JobsQuery>,
    uri: Uri,
) -> Result<ListReply<JobsDocument>, Problem> {
    let page = PageQuery::new(query.after.clone(), query.limit).page()?;
    let (details, counts) = (query.details, query.counts);
    let filter = query.filter()?;
    let listed = rest.svc.jobs(&caller, &filter, details, &page).await?;
    let counts = if counts { Some(rest.svc.job_counts(&caller, &filter).await?) } else { None };
    let next = listed.next.clone();
    Ok(ListReply::new(&uri, JobsDocument { listed, counts }, next.as_deref()))
}

impl JobsQuery {
    fn filter(self) -> Result<JobFilter, Problem> {
        let Self {
            id,
            active,
            status,
            application,
            name,
            r#type,
            plugin,
            username,
            parent,
            id_suffix,
            since,
            until,
            order,
            ..
        } = self;
        Ok(JobFilter {
            ids: id.0,
            active,
            statuses: status.0,
            applications: application.0,
            name: name.map(NamePattern::new).transpose()?,
            types: r#type.0.into_iter().map(job_type).collect::<Result<_, _>>()?,
            plugin: plugin.map(|plugin| plugin.to_string()),
            username: username.map(|username| username.to_string()),
            parent,
            id_suffix,
            since: since.map(OffsetDateTime::from),
            until: until.map(OffsetDateTime::from),
            order,
        })
    }
}

/// A newer server may know further ones, so that any word is one.
fn job_type(word: String) -> Result<JobType, Problem> {
    let is_word = (1..=32).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if !is_word {
        let rule = "a type of jobs has 1 to 32 of `a-z -`; several have commas between them";
        return Err(Problem::invalid(rule).with([Fault::in_parameter("type", rule)]));
    }
    Ok(JobType::from(word))
}

/// Stops all jobs that match
///
/// It stops only jobs that you may stop, at most a thousand per request. If `more` is true, there may be others: send
/// the same request again. Queued jobs end at once. Running jobs are asked to stop, and are stopped after a while if
/// they do not end by themselves.
#[utoipa::path(post, path = "/job", operation_id = "jobs.cancel-matching", tag = "jobs",
    params(CancelQuery),
    responses(
        (status = 202, body = CancelledJobs),
        (status = 403, description = "Jobs match, but you may not stop any of them"),
        (status = 422, description = "There is no filter, or a `status` is neither `queued` nor `running`"),
    ))]
async fn cancel_matching(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<CancelQuery>,
) -> Result<(StatusCode, Json<CancelledJobs>), Problem> {
    let CancelQuery { cancel, status, application, name, root, parent, since, until } = query;
    if !cancel {
        return Err(Problem::malformed("jobs can be cancelled, with `?cancel=true`, and nothing else"));
    }
    let filter = CancelFilter {
        statuses: status.0,
        applications: application.0,
        name: name.map(NamePattern::new).transpose()?,
        root,
        parent,
        since: since.map(OffsetDateTime::from),
        until: until.map(OffsetDateTime::from),
    };
    let stopped = rest.engine.cancel_matching(&caller, &filter).await?;
    Ok((StatusCode::ACCEPTED, Json(stopped)))
}

/// Shows a job, perhaps once it has ended
///
/// With `wait` the answer comes when the job has ended, or after so many seconds: `status` tells which.
#[utoipa::path(get, path = "/job/{id}", operation_id = "jobs.get", tag = "jobs",
    params(
        ("id" = JobId, Path, description = "The job"),
        JobQuery,
        ("Prefer" = Option<String>, Header, description = "`wait=30`: the same as the parameter `wait`"),
    ),
    responses(
        (status = 200, body = JobDocument),
        (status = 403, description = "You may not see the trace"),
        (status = 404, description = "No such job"),
    ))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path(id): Path<JobId>,
    Query(query): Query<JobQuery>,
    preferred: Preferred,
) -> Result<impl IntoResponse, Problem> {
    // The job first: if it has ended by then, its log is complete.
    let (job, caller) = match preferred.unless(query.wait)? {
        Duration::ZERO => (rest.svc.job(&caller, id).await?, caller),
        wait => rest.job_within(caller, id, wait).await?,
    };
    let results = match query.results {
        false => None,
        true => {
            let JobEntries { items, next, status: _, last_seq: _, hits: _ } =
                rest.svc.job_entries(&caller, id, LogPart::After(0), MAX_ENTRIES_PAGE, MAX_ENTRIES_PAGE_BYTES).await?;
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
    let waits_for = rest.engine.waits_for(&job).await?;
    Ok((preferred.applied(query.wait), Json(JobDocument { job, results, trace, steps, waits_for })))
}

impl Rest {
    /// A job once it has ended, or as it is after this time; and who may see it by then.
    async fn job_within(&self, caller: Caller, id: JobId, wait: Duration) -> Result<(Job, Caller), Problem> {
        let until = Instant::now() + wait;
        let mut follower = self.engine.follow(id);
        let mut session = self.sessions.begin(caller);
        loop {
            let caller = session.caller()?;
            let job = self.svc.job(&caller, id).await?;
            if job.status.is_final() || Instant::now() >= until {
                return Ok((job, caller));
            }
            tokio::select! {
                news = follower.news() => match news {
                    News::Perhaps => sleep(PAUSE).await,
                    News::Stopping => return Ok((job, caller)),
                },
                () = session.changed() => {}
                () = sleep_until(until) => {}
            }
        }
    }
}

/// Stops a job
///
/// A queued job ends at once. A running job is asked to stop, and is stopped after a while if it does not end by
/// itself.
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

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default()
        .routes(routes!(list, cancel_matching))
        .routes(routes!(get, cancel))
        .merge(log::router())
        .merge(text::router())
}
