//! A job as server-sent events: its entries as they come, and its end. Rows are read only when the client has
//! received what was sent before. So a slow client needs no memory, and a client that reconnects misses nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse as _, Response, Sse};
use futures_util::stream::{self, Stream, StreamExt as _};

use super::Rest;
use super::http::problem::Problem;
use super::http::session::Session;
use crate::datasvc::{Caller, Error, JobEntries, JobEntry, JobId, LogPart, Result};
use crate::engine::{Follower, News};

/// How many entries are read at a time, and how many bytes of them.
const PAGE: u32 = 100;
const PAGE_BYTES: i64 = 64 * 1024;
/// How long a stream waits for more when there is something new: many streams of one busy job are to cost little.
const PAUSE: Duration = Duration::from_millis(20);
/// How often a silent stream says that it is still there.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After what time a browser connects again.
pub(super) const RECONNECT: Duration = Duration::from_secs(2);
/// The name and the id of the last event.
const END: &str = "end";
/// Keeps nginx from holding events back.
pub(super) const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long to wait before rows are read again, when the database was away.
const RETRY: Duration = Duration::from_millis(500);

/// In which form the client wants the log.
pub(super) enum Wants {
    /// As a document.
    Document,
    /// As events, after the one that it has seen last.
    Events {
        /// Its `Last-Event-ID`.
        last: Option<LastEvent>,
    },
}

/// The last event that a client has seen.
pub(super) enum LastEvent {
    /// The entry with this number.
    Entry(i64),
    /// The end of the job.
    End,
}

impl LastEvent {
    fn parse(id: &str) -> Option<Self> {
        if id == END { Some(Self::End) } else { id.parse().ok().map(Self::Entry) }
    }
}

/// Whether the client wants server-sent events.
pub(super) fn accepts_events(headers: &HeaderMap) -> bool {
    let names_events = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains("text/event-stream"));
    headers.get_all(header::ACCEPT).iter().any(names_events)
}

impl FromRequestParts<Rest> for Wants {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _rest: &Rest) -> std::result::Result<Self, Problem> {
        if !accepts_events(&parts.headers) {
            return Ok(Self::Document);
        }
        match parts.headers.get("Last-Event-ID").map(|id| LastEvent::parse(id.to_str().ok()?)) {
            Some(None) => Err(Problem::malformed("`Last-Event-ID` is the id of an event, a number or `end`")),
            last => Ok(Self::Events { last: last.flatten() }),
        }
    }
}

/// The events of a job after the last one that came, or else from this part of its log on.
///
/// # Errors
/// [`Error::NotFound`] if there is no such job or the caller may not see it; [`Error::Invalid`] if the log does not
/// have the entry after which it is to continue, or cannot continue after it, or the job has not ended yet.
pub(super) async fn reply(
    rest: Rest,
    caller: Caller,
    job_id: JobId,
    part: LogPart,
    last: Option<LastEvent>,
) -> Result<Response> {
    let part = match last {
        // A browser would come back for ever.
        Some(LastEvent::End) if rest.svc.job(&caller, job_id).await?.status.is_final() => {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Some(LastEvent::End) => return Err(Error::invalid("Last-Event-ID", "the job has not ended yet")),
        Some(LastEvent::Entry(seq)) => LogPart::After(seq),
        None => part,
    };
    let events = stream(rest, caller, job_id, part).await?;
    Ok(([(BUFFERING, "no")], events).into_response())
}

/// The events of a job from this part of its log on.
async fn stream(
    rest: Rest,
    caller: Caller,
    job_id: JobId,
    part: LogPart,
) -> Result<Sse<impl Stream<Item = std::result::Result<Event, Infallible>>>> {
    let follower = rest.engine.follow(job_id);
    let session = rest.sessions.begin(caller);
    if let LogPart::Before(_) = part {
        return Err(Error::invalid("before", "an event stream cannot be combined with `before`"));
    }
    let mut events = Events { rest, session, job_id, part, follower, unsent: VecDeque::new(), ended: false };
    events.read().await?;
    let stream = stream::unfold(events, async |mut events| Some((Ok(events.next().await?), events)));
    let stream = stream::iter([Ok(Event::default().retry(RECONNECT))]).chain(stream);
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Events {
    rest: Rest,
    session: Session,
    job_id: JobId,
    /// What is to be read next.
    part: LogPart,
    follower: Follower,
    unsent: VecDeque<JobEntry>,
    /// Whether all has been sent.
    ended: bool,
}

/// Whether the log that was read may grow.
enum LogState {
    /// More may come.
    Running,
    /// These are the last ones.
    End,
}

impl Events {
    /// The next event. `None`: after the end, when the server stops, or when the token is no longer valid.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let caller = self.session.caller().ok()?;
            if self.follower.is_stopping() {
                return None;
            }
            if let Some(entry) = self.unsent.pop_front() {
                return Some(Event::default().json_data(&entry).ok()?.id(entry.seq.to_string()));
            }
            if self.ended {
                return None;
            }
            match self.read().await {
                Ok(_) if !self.unsent.is_empty() => {}
                Ok(LogState::Running) => tokio::select! {
                    news = self.follower.news() => match news {
                        News::Perhaps => tokio::time::sleep(PAUSE).await,
                        News::Stopping => return None,
                    },
                    () = self.session.changed() => {}
                },
                Ok(LogState::End) => match self.rest.svc.job(&caller, self.job_id).await {
                    Ok(job) => {
                        self.ended = true;
                        return Some(Event::default().event(END).json_data(job).ok()?.id(END));
                    }
                    Err(Error::Unavailable(_)) => tokio::time::sleep(RETRY).await,
                    Err(_) => return None,
                },
                Err(Error::Unavailable(_)) => tokio::time::sleep(RETRY).await,
                Err(_) => return None,
            }
        }
    }

    async fn read(&mut self) -> Result<LogState> {
        let entries =
            self.rest.svc.job_entries(&self.session.caller()?, self.job_id, self.part, PAGE, PAGE_BYTES).await?;
        entries.check_reaches(self.part)?;
        let JobEntries { items, next, status, last_seq, hits: _ } = entries;
        self.part = LogPart::After(items.last().map_or(last_seq, |entry| entry.seq));
        self.unsent.extend(items);
        Ok(if status.is_final() && next.is_none() { LogState::End } else { LogState::Running })
    }
}
