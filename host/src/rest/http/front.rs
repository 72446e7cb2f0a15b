//! What happens to every request before and after its handler: it gets an id and a span, is refused if it is
//! malformed whatever it asks for, and its reply gets the headers and the form that all replies have.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;
use tracing::field::display;
use tracing::{Instrument, debug, info_span};
use url::form_urlencoded;
use uuid::Uuid;

use super::args;
use super::client::ClientAddress;
use super::form;
use super::json;
use super::problem::{Fault, PROBLEM_JSON, Problem, ProblemCode};
use super::representation::{ToIndent, Wishes};
use super::wait;
use crate::datasvc::holds_token;
use crate::rest::api::Api;

/// The longest URI, in bytes.
const MAX_URI_BYTES: usize = 32 * 1024;
/// How long a request may take, without its body. Requests that wait on purpose are not limited by it.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);
/// Operations with their own deadlines: they wait because they were asked to, or have a body that may be long.
const HAVE_DEADLINES: [&str; 3] = ["jobs.entries", "builds.upload", "builds.upload-file"];
/// Operations that wait if they are asked to.
const MAY_WAIT: [&str; 2] = ["events.follow", "jobs.get"];
/// Where repositories are served to git clients.
const GIT: &str = "/git/";
/// What is fetched once: the rest of such a path is a secret.
const ONCE: &str = "/once/";
/// How many header fields a request may have.
const MAX_HEADERS: usize = 100;
/// The longest a request's header fields may be together, in bytes.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The longest reply that is indented as a whole, in bytes, so that its length is known; a longer one is indented while
/// it is sent.
const MAX_INDENTED_BYTES: u64 = 16 * 1024;
/// Parameters that are meant to put a token into a URL, and so into logs and histories, whatever their value is.
const TOKEN_PARAMETERS: [&str; 4] = ["token", "auth_token", "auth-token", "access_token"];

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the middleware works with.
pub(in crate::rest) struct Front {
    api: Arc<Api>,
    /// How long the body of a request may take.
    body_within: Duration,
}

impl Front {
    /// For requests whose bodies take no longer than that.
    pub(in crate::rest) fn new(api: Arc<Api>, body_within: Duration) -> Self {
        Self { api, body_within }
    }
}

/// The middleware around all routes and both fallbacks.
pub(in crate::rest) async fn front(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let id = request.extensions().get().cloned().unwrap_or_else(|| RequestId::of(request.headers()));
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = route.as_deref();
    let op = route.and_then(|route| front.api.operation_id(request.method(), route)).unwrap_or("none");
    let spells_token = spells_token(request.uri());
    let admitted = if spells_token { Err(token_in_url()) } else { admit(&request) };
    let path = request.uri().path();
    let path = if spells_token || path.starts_with(ONCE) { "[withheld]" } else { path };
    let client = request.extensions().get::<ClientAddress>().copied().map(display);
    let span = info_span!(
        "request",
        request.id = %id,
        op,
        http.method = %request.method(),
        http.path = path,
        client.address = client
    );
    async {
        let started = Instant::now();
        let (uri, wishes) = (request.uri().clone(), Wishes::of(request.method(), request.headers()));
        let within = if request.body().is_end_stream() { ANSWERED_WITHIN } else { front.body_within + ANSWERED_WITHIN };
        let waits = if MAY_WAIT.contains(&op) { wait::at_most(&uri, request.headers()) } else { Duration::ZERO };
        let reply = match admitted {
            // Git clients wait for a place, and do not come back if there is none.
            Ok(()) if route.is_some_and(|route| route.starts_with(GIT)) => next.run(request).await,
            Ok(()) => answered(op, within + waits, next.run(request)).await,
            Err(problem) => problem.into_response(),
        };
        let reply = finished(wishes.tag(reply).await, &id, &uri).await;
        let reply = wishes.compress(reply).await;
        let elapsed_ms = started.elapsed().as_micros() as f64 / 1000.0;
        debug!(http.status = reply.status().as_u16(), elapsed_ms, "answered");
        reply
    }
    .instrument(span)
    .await
}

/// The reply to a request with this id that is not looked at any further.
pub(in crate::rest) async fn refuse(id: &RequestId, problem: Problem) -> Response {
    finished(problem.into_response(), id, &Uri::default()).await
}

/// The id of a request with these headers.
pub(in crate::rest) fn id_of(headers: &HeaderMap) -> RequestId {
    RequestId::of(headers)
}

/// The reply, or a problem where it takes so long that the database must be hanging.
async fn answered(op: &str, within: Duration, reply: impl Future<Output = Response>) -> Response {
    if HAVE_DEADLINES.contains(&op) {
        return reply.await;
    }
    timeout(within, reply).await.unwrap_or_else(|_| {
        let detail = format!("there was no answer within {within:?}; what was asked may still be done");
        Problem::new(ProblemCode::Unavailable, detail).into_response()
    })
}

/// Refuses what no handler should see.
fn admit(request: &Request) -> Result<(), Problem> {
    let (uri, headers) = (request.uri(), request.headers());
    let uri_bytes = uri.path().len() + uri.query().map_or(0, str::len);
    if uri_bytes > MAX_URI_BYTES {
        let detail = format!("a URI has at most {MAX_URI_BYTES} bytes; parameters may stand in the body as well");
        return Err(Problem::new(ProblemCode::UriTooLong, detail));
    }
    let header_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > MAX_HEADERS || header_bytes > MAX_HEADER_BYTES {
        let detail = format!("a request has at most {MAX_HEADERS} header fields and {MAX_HEADER_BYTES} bytes of them");
        return Err(Problem::new(ProblemCode::HeadersTooLarge, detail));
    }
    if uri.path().contains("%00") {
        return Err(Problem::malformed("the path contains a NUL"));
    }
    let parameters = form::pairs(uri.query().unwrap_or_default())?;
    match parameters.iter().find(|(name, _)| TOKEN_PARAMETERS.contains(&name.to_ascii_lowercase().as_str())) {
        Some((name, _)) => Err(token_in_url().with([Fault::in_parameter(name, "is not allowed in a URL")])),
        None => Ok(()),
    }
}

/// Whether a token stands in a URL, wherever and however encoded.
fn spells_token(uri: &Uri) -> bool {
    let text = uri.path_and_query().map_or("", PathAndQuery::as_str);
    let encoded =
        || form_urlencoded::parse(text.as_bytes()).any(|(name, value)| holds_token(&name) || holds_token(&value));
    holds_token(text) || text.contains('%') && encoded()
}

fn token_in_url() -> Problem {
    let detail = "a token goes in a header, `Authorization: Bearer <token>`: URLs are kept in logs and histories";
    Problem::new(ProblemCode::TokenInUrl, detail)
}

/// Gives a reply what all replies have: the indentation, the document if it is a problem, the headers.
async fn finished(reply: Response, id: &RequestId, uri: &Uri) -> Response {
    let pretty = args::wants_pretty(uri);
    let mut reply = if pretty { indented(reply).await } else { reply };
    if let Some(problem) = reply.extensions_mut().remove::<Problem>() {
        // What cannot be read has been refused, and is not in the way of saying so.
        let parameters = form::pairs(uri.query().unwrap_or_default()).unwrap_or_default();
        let document = serde_json::to_vec(&problem.of_request(&parameters).into_document(id.to_string()));
        let mut document = document.expect("a problem document is made of strings and numbers");
        document.push(b'\n');
        *reply.body_mut() = Body::from(if pretty { json::indented(&document) } else { document });
        reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    }
    reply.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply.headers_mut().insert(REQUEST_ID, id.0.clone());
    reply
}

/// The same reply, easier to read if it is JSON. A long one is indented when it is known whether it is compressed.
async fn indented(reply: Response) -> Response {
    if reply.headers().get(header::CONTENT_TYPE).is_none_or(|found| found != "application/json") {
        return reply;
    }
    let (mut parts, body) = reply.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    if body.size_hint().upper().is_none_or(|bytes| bytes > MAX_INDENTED_BYTES) {
        parts.extensions.insert(ToIndent);
        return Response::from_parts(parts, body);
    }
    match to_bytes(body, usize::MAX).await {
        Ok(json) => Response::from_parts(parts, Body::from(json::indented(&json))),
        Err(error) => Problem::internal(&error).into_response(),
    }
}

/// The client's `X-Request-Id`, or one of our own.
#[derive(Clone)]
pub(in crate::rest) struct RequestId(HeaderValue);

impl RequestId {
    /// Takes the client's id if it is 1 to 128 of `A-Z a-z 0-9 . _ -`, which are safe in any log.
    fn of(headers: &HeaderMap) -> Self {
        let sane = |id: &&HeaderValue| {
            let known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            (1..=128).contains(&id.len())
                && id.as_bytes().iter().all(known)
                && id.to_str().is_ok_and(|id| !holds_token(id))
        };
        let own = || HeaderValue::try_from(Uuid::now_v7().to_string()).expect("a UUID is visible ASCII");
        Self(headers.get(REQUEST_ID).filter(sane).cloned().unwrap_or_else(own))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}
