//! `/job/{id}/data`: the log of a job, read in parts, waited for or followed.

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::datasvc::{
    Caller, Error, JobEntries, JobId, LogPart, MAX_ENTRIES_PAGE, MAX_ENTRIES_PAGE_BYTES, Page, Seconds,
};
use crate::engine::News;
use crate::rest::Rest;
use crate::rest::events::{self, Wants};
use crate::rest::http::args::Query;
use crate::rest::http::page::ListReply;
use crate::rest::http::path::Path;
use crate::rest::http::problem::Problem;
use crate::rest::http::wait::Preferred;

/// Which entries to read: those after one, the last ones before one, or from so many before the end on.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EntriesQuery {
    /// The `seq` of the last entry that is known.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// The `seq` of the first entry that is known.
    #[param(minimum = 1)]
    before: Option<i64>,
    /// How many entries before the end to begin; with 0 only new entries are read.
    #[param(minimum = 0, maximum = 1000)]
    tail: Option<u32>,
    /// Those with this text in their data, and `hits`: how many there are in the whole log. Letters of ASCII match in
    /// capitals or not.
    #[param(min_length = 1, max_length = 200, example = "connection refused")]
    q: Option<String>,
    /// How many entries to read, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// How long to wait for the next entry or the end of the job, in seconds (up to 60) or as `30s` or `1m`;
    /// `Prefer: wait=30` does the same.
    #[param(value_type = Option<u32>, maximum = 60)]
    wait: Option<Seconds>,
}

impl EntriesQuery {
    /// The part of the log that is meant.
    fn part(&self) -> Result<LogPart, Problem> {
        let invalid = |name: &'static str, reason: String| Err(Error::invalid(name, reason).into());
        match (self.after, self.before, self.tail) {
            (Some(after @ ..0), ..) => {
                invalid("after", format!("entries are numbered from 1, so {after} is not an entry"))
            }
            (_, Some(before @ ..1), _) => {
                invalid("before", format!("entries are numbered from 1, so {before} is not an entry"))
            }
            (_, _, Some(tail)) if tail > MAX_ENTRIES_PAGE => {
                invalid("tail", format!("0 to {MAX_ENTRIES_PAGE} entries, not {tail}"))
            }
            (after, None, None) => Ok(LogPart::After(after.unwrap_or(0))),
            (None, Some(_), None) if self.wait.is_some_and(|wait| wait > Seconds(0)) => {
                invalid("wait", "before an entry there is nothing to wait for".into())
            }
            (None, Some(before), None) => Ok(LogPart::Before(before)),
            (None, None, Some(tail)) => Ok(LogPart::Last(tail)),
            _ => Err(Problem::malformed("`after`, `before` and `tail` each say where to read; give one of them")),
        }
    }
}

/// Reads the log of a job, or follows it
///
/// With `Accept: text/event-stream` the entries come as server-sent events, with their `seq` as `id`. The last event is
/// `end`, with the final job. `Last-Event-ID` continues after the event that it names; after `end` there is nothing, and
/// the answer is 204. In both forms an entry that is not in the log is refused, because it belongs to another log.
#[utoipa::path(get, path = "/job/{id}/data", operation_id = "jobs.entries", tag = "jobs",
    params(
        ("id" = JobId, Path, description = "The job"),
        EntriesQuery,
        ("Last-Event-ID" = Option<String>, Header, pattern = "^([0-9]{1,18}|end)$",
            description = "The id of the last event that came, for event streams"),
        ("Prefer" = Option<String>, Header, description = "`wait=30`: the same as the parameter `wait`"),
    ),
    responses(
        (status = 200, content((JobEntries = "application/json"), (String = "text/event-stream"))),
        (status = 204, description = "The event `end` has come already"),
        (status = 404, description = "No such job"),
        (status = 422, description = "The log has no such entry"),
    ))]
async fn entries(
    State(rest): State<Rest>,
    caller: Caller,
    Path(id): Path<JobId>,
    Query(query): Query<EntriesQuery>,
    wants: Wants,
    preferred: Preferred,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut part = query.part()?;
    let EntriesQuery { limit, wait, q, .. } = query;
    if let Some(text) = q {
        let (limit, waits) = (limit.unwrap_or(Page::DEFAULT_LIMIT), wait.is_some_and(|wait| wait > Seconds(0)));
        if waits || matches!(wants, Wants::Events { .. }) {
            return Err(
                Error::invalid("q", "a search of the log cannot be combined with `wait` or an event stream").into()
            );
        }
        let entries = rest.svc.job_hits(&caller, id, &text, part, limit, MAX_ENTRIES_PAGE_BYTES).await?;
        entries.check_reaches(part)?;
        let next = entries.next.map(|seq| seq.to_string());
        return Ok(ListReply::new(&uri, entries, next.as_deref()).into_response());
    }
    if let Wants::Events { last } = wants {
        return Ok(events::reply(rest, caller, id, part, last).await?);
    }
    let until = Instant::now() + preferred.unless(wait)?;
    let limit = limit.unwrap_or(Page::DEFAULT_LIMIT);
    let mut follower = rest.engine.follow(id);
    let mut session = rest.sessions.begin(caller);
    loop {
        let caller = session.caller()?;
        let entries = rest.svc.job_entries(&caller, id, part, limit, MAX_ENTRIES_PAGE_BYTES).await?;
        entries.check_reaches(part)?;
        if entries.items.is_empty() && !entries.status.is_final() && Instant::now() < until {
            // What comes from now on comes after the end that was there.
            if let LogPart::Last(0) = part {
                part = LogPart::After(entries.last_seq);
            }
            tokio::select! {
                news = follower.news() => if news == News::Perhaps { continue },
                () = session.changed() => continue,
                () = sleep_until(until) => {}
            }
        }
        let next = entries.next.map(|seq| seq.to_string());
        return Ok((preferred.applied(wait), ListReply::new(&uri, entries, next.as_deref())).into_response());
    }
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(entries))
}
