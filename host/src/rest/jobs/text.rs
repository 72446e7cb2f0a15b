//! `/job/{id}/log`: the whole log of a job as a text, for people and for `grep`.

use std::fmt::Write as _;
use std::io::Write as _;

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::datasvc::{Caller, Error, JobEntries, JobEntry, JobId, LogPart, Result};
use crate::rest::Rest;
use crate::rest::http::args::{NoQuery, Query};
use crate::rest::http::json;
use crate::rest::http::path::Path;
use crate::rest::http::problem::Problem;
use crate::rest::http::representation::takes_gzip;
use crate::rest::http::session::Session;

/// How many entries are read at a time, and how many bytes of them.
const PAGE: u32 = 500;
const PAGE_BYTES: i64 = 128 * 1024;
/// What stands before each further line of an entry.
const INDENT: &str = "    ";

/// In which form the client wants the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wants {
    /// A line for people.
    Text,
    /// Each entry as JSON, one a line.
    Lines,
}

impl Wants {
    fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Lines => "application/jsonl",
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Wants {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> std::result::Result<Self, Problem> {
        let lines = parts.headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
        // Where both are named, the first one counts.
        let first = lines.flat_map(|line| line.split(',')).find_map(|choice| match choice.split(';').next()?.trim() {
            "application/jsonl" | "application/x-ndjson" | "application/ndjson" => Some(Self::Lines),
            "text/plain" | "text/*" => Some(Self::Text),
            _ => None,
        });
        Ok(first.unwrap_or(Self::Text))
    }
}

/// Sends the log of a job as a text, as far as it goes
///
/// A line has the time, who says it and what: the `status` of an entry, what else there is, and how far the job is.
/// Further lines of an entry are indented. With `Accept: application/jsonl` each line is an entry as JSON.
#[utoipa::path(get, path = "/job/{id}/log", operation_id = "jobs.log", tag = "jobs",
    params(
        ("id" = JobId, Path, description = "The job"),
    ),
    responses(
        // Generated clients would choose JSON lines where both are named, and cannot read them.
        (status = 200, body = String, content_type = "text/plain"),
        (status = 404, description = "No such job"),
    ))]
async fn log(
    State(rest): State<Rest>,
    caller: Caller,
    Path(id): Path<JobId>,
    Query(NoQuery {}): Query<NoQuery>,
    wants: Wants,
    headers: HeaderMap,
) -> std::result::Result<Response, Problem> {
    let first = rest.svc.job_entries(&caller, id, LogPart::After(0), PAGE, PAGE_BYTES).await?;
    let last = first.last_seq;
    let session = rest.sessions.begin(caller);
    let gzip = takes_gzip(&headers).then(|| GzEncoder::new(Vec::new(), Compression::fast()));
    let coding = gzip.is_some().then_some([(header::CONTENT_ENCODING, "gzip")]);
    let reading = Reading { rest, session, id, wants, last, page: Some(first), gzip };
    let body = stream::unfold(reading, async |mut reading| Some((reading.next().await?, reading)));
    let about = [(header::CONTENT_TYPE, wants.media_type()), (header::VARY, "Accept, Accept-Encoding")];
    Ok((about, coding, Body::from_stream(body)).into_response())
}

/// A log on its way to a client.
struct Reading {
    rest: Rest,
    session: Session,
    id: JobId,
    wants: Wants,
    /// The last entry that there was when it began.
    last: i64,
    /// What was read and not sent. `None`: all has been sent.
    page: Option<JobEntries>,
    /// What it is compressed by.
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl Reading {
    /// The next piece. An error breaks the reply off, so that nobody takes a part for the whole.
    async fn next(&mut self) -> Option<Result<Bytes>> {
        let JobEntries { items, .. } = self.page.take()?;
        let mut text = String::new();
        for entry in items.iter().filter(|entry| entry.seq <= self.last) {
            self.wants.write(entry, &mut text);
        }
        if let Some(seen) = items.last().map(|entry| entry.seq).filter(|seen| *seen < self.last) {
            match self.read(seen).await {
                Ok(page) => self.page = Some(page),
                Err(error) => return Some(Err(error)),
            }
        }
        match self.gzip.take() {
            Some(gzip) => Some(self.compress(gzip, text).await),
            None => Some(Ok(text.into())),
        }
    }

    /// The text in fewer bytes: on a thread of its own, because a piece is long.
    async fn compress(&mut self, mut gzip: GzEncoder<Vec<u8>>, text: String) -> Result<Bytes> {
        let goes_on = self.page.is_some();
        let compressing = move || {
            gzip.write_all(text.as_bytes())?;
            if !goes_on {
                return Ok::<_, std::io::Error>((gzip.finish()?, None));
            }
            gzip.flush()?;
            Ok((std::mem::take(gzip.get_mut()), Some(gzip)))
        };
        let compressed = tokio::task::spawn_blocking(compressing).await.map_err(Error::internal)?;
        let (bytes, gzip) = compressed.map_err(Error::internal)?;
        self.gzip = gzip;
        Ok(bytes.into())
    }

    async fn read(&self, seen: i64) -> Result<JobEntries> {
        let caller = self.session.caller()?;
        self.rest.svc.job_entries(&caller, self.id, LogPart::After(seen), PAGE, PAGE_BYTES).await
    }
}

impl Wants {
    fn write(self, entry: &JobEntry, text: &mut String) {
        match self {
            Self::Lines => text.push_str(&serde_json::to_string(entry).unwrap_or_default()),
            Self::Text => {
                let at = entry.at.format(&Rfc3339).unwrap_or_default();
                // Writing to a string does not fail.
                let _ = write!(text, "{at}  {}  ", entry.source);
                push_visible(&said(entry.data.get()), text);
            }
        }
        text.push('\n');
    }
}

/// What an entry says: its `status`, what else there is, and how far the job is. Numbers stay as they were written.
fn said(data: &str) -> String {
    if let Ok(text) = serde_json::from_str::<String>(data) {
        return text.trim_end_matches('\n').to_owned();
    }
    let Ok(mut members) = json::members(data.as_bytes()) else { return data.to_owned() };
    let mut take = |name: &str| {
        let place = members.iter().position(|(found, _)| found == name)?;
        Some(members.remove(place).1)
    };
    let (status, progress, error) = (take("status"), take("progress"), take("error"));
    let status = status.and_then(|status| serde_json::from_str::<String>(status.get()).ok());
    let Some(mut said) = status else { return data.to_owned() };
    let message = error.as_ref().and_then(|error| serde_json::from_str::<Message>(error.get()).ok());
    if let Some(Message { message }) = message {
        return format!("{said}: {message}");
    }
    let (is_number, progress) = (progress.as_ref().is_some_and(|it| it.get().parse::<f64>().is_ok()), progress);
    let shown = progress.clone().filter(|_| !is_number).map(|progress| ("progress".to_owned(), progress));
    let rest: Vec<_> = members.into_iter().chain(shown).chain(error.map(|error| ("error".to_owned(), error))).collect();
    if !rest.is_empty() {
        let rest = rest.iter().map(|(name, value)| format!("{}:{}", Value::from(&**name), value.get()));
        said += &format!("  {{{}}}", rest.collect::<Vec<_>>().join(","));
    }
    if let Some(progress) = progress.filter(|_| is_number) {
        said += &format!("  {} %", progress.get());
    }
    said
}

/// What there is to say of an error.
#[derive(Deserialize)]
struct Message {
    message: String,
}

/// With further lines indented. What would move the cursor of a terminal or change its colours is written out.
fn push_visible(said: &str, text: &mut String) {
    for c in said.chars() {
        match c {
            '\n' => {
                text.push('\n');
                text.push_str(INDENT);
            }
            '\t' => text.push('\t'),
            '\r' => {}
            c if c.is_control() => text.extend(c.escape_unicode()),
            c => text.push(c),
        }
    }
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(log))
}

#[cfg(test)]
mod tests {
    use super::{push_visible, said};

    #[test]
    fn an_entry_is_a_line_that_people_read() {
        for (data, line) in [
            (r#"{"status": "starting", "progress": 0}"#, "starting  0 %"),
            (r#"{"status": "greeting", "whom": "Ada"}"#, r#"greeting  {"whom":"Ada"}"#),
            (r#"{"status": "failed", "error": {"code": "trap", "message": "unreachable"}}"#, "failed: unreachable"),
            (r#"{"files": 3}"#, r#"{"files": 3}"#),
            (r#""two\nlines\n""#, "two\n    lines"),
            (r#""a \u001b[31mred\u001b[0m line""#, r"a \u{1b}[31mred\u{1b}[0m line"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (r#"{"status": "counted", "n": 123456789012345678901}"#, r#"counted  {"n":123456789012345678901}"#),
        ] {
            let mut text = String::new();
            push_visible(&said(data), &mut text);
            assert_eq!(text, line, "{data}");
        }
    }
}
