//! Requests to one server: with its token, and again where that is safe.

mod broken;
mod connect;
mod page;
mod reply;

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER, USER_AGENT};
use hyper::{Method, StatusCode};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

pub(crate) use self::broken::Broken;
use self::connect::Http;
pub(crate) use self::connect::is_loopback;
pub(crate) use self::page::with_query;
pub(crate) use self::reply::Reply;
use crate::destination::Token;
use crate::failure::{Failure, Result};

/// What a request sends.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// How long a reply may take, if nothing else is said.
const REPLY_WITHIN: Duration = Duration::from_secs(60);
/// The first pause before a request is sent again; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Talks to one server.
pub(crate) struct Client {
    base: Url,
    token: Option<Token>,
    http: Http,
    retry_for: Duration,
    verbose: bool,
}

/// A request that can be sent more than once.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Bytes,
    /// How long the reply may take.
    pub(crate) within: Duration,
    /// Whether it may be sent again although it may have arrived.
    pub(crate) is_repeatable: bool,
}

impl Request {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        let is_repeatable = method == Method::GET;
        let (headers, body) = (Vec::new(), Bytes::new());
        Self { method, path: path.into(), headers, body, within: REPLY_WITHIN, is_repeatable }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn body(mut self, media_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE, media_type)
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// It starts a job, once, however often it is sent.
    pub(crate) fn keyed(mut self, key: Option<&str>) -> Self {
        self.is_repeatable = true;
        let key = key.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned);
        self.header(IDEMPOTENCY_KEY, key)
    }

    pub(crate) fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    pub(crate) fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }
}

impl Client {
    pub(crate) fn new(
        base: &Url,
        token: Option<Token>,
        ca_file: Option<&Path>,
        retry_for: Duration,
        verbose: bool,
    ) -> Result<Self> {
        let http = Http::new(base, ca_file)?;
        Ok(Self { base: base.clone(), token, http, retry_for, verbose })
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// The proxy that requests go through, if any.
    pub(crate) fn proxy(&self) -> Option<&str> {
        self.http.proxy()
    }

    /// The document at a path.
    pub(crate) async fn get(&self, path: impl Into<String>) -> Result<Value> {
        self.send(Request::get(path)).await?.json()
    }

    /// Sends a request, again and again where that is safe, until it is answered well.
    ///
    /// # Errors
    /// [`Failure`] with the server's refusal, or why there is no answer.
    pub(crate) async fn send(&self, request: Request) -> Result<Reply> {
        let (reply, _) = self.send_counting(request).await?;
        Ok(reply)
    }

    /// The same, and whether an earlier try may have arrived, too.
    pub(crate) async fn send_counting(&self, request: Request) -> Result<(Reply, bool)> {
        let mut pauses = Pauses::new(self.retry_for);
        let mut may_have_arrived = false;
        loop {
            let (pause, failure) = match self.exchange(&request).await {
                Ok(reply) if reply.status.is_success() => return Ok((reply, may_have_arrived)),
                Ok(reply) if is_passing(reply.status) && request.is_repeatable => {
                    (pauses.next(reply.retry_after()), self.refusal(&reply))
                }
                Ok(reply) => return Err(Failure { may_have_arrived, ..self.refusal(&reply) }),
                Err(broken) if broken.may_pass && (broken.was_not_sent || request.is_repeatable) => {
                    may_have_arrived |= !broken.was_not_sent;
                    (pauses.next(None), broken.into())
                }
                Err(broken) => return Err(broken.into()),
            };
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(failure),
            }
        }
    }

    /// Sends a request once, and reads the whole answer, whatever it is.
    pub(crate) async fn exchange(&self, request: &Request) -> std::result::Result<Reply, Broken> {
        let body = Full::new(request.body.clone()).map_err(|never| match never {}).boxed_unsync();
        let response = self.open(&request.method, &request.path, &request.headers, body);
        let whole = async {
            let (parts, body) = response.await?.into_parts();
            let body = body.collect().await.map_err(|error| self.broken(&error))?.to_bytes();
            Ok(Reply { status: parts.status, headers: parts.headers, body, path: request.path.clone() })
        };
        let began = Instant::now();
        let answered = match tokio::time::timeout(request.within, whole).await {
            Ok(answered) => answered,
            Err(_) => Err(Broken::silent(&self.base, self.proxy(), request.within)),
        };
        if self.verbose {
            let outcome = match &answered {
                Ok(reply) => reply.status.as_str().to_owned(),
                Err(broken) => broken.what.clone(),
            };
            // Never a header or a body: there may be secrets in them.
            eprintln!("{} {} {outcome} {} ms", request.method, request.path, began.elapsed().as_millis());
        }
        answered
    }

    /// Sends a request whose body comes piece by piece, and gives its answer as it comes.
    pub(crate) async fn open(
        &self,
        method: &Method,
        path: &str,
        headers: &[(HeaderName, String)],
        body: Body,
    ) -> std::result::Result<hyper::Response<hyper::body::Incoming>, Broken> {
        let uri = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut request = hyper::Request::builder().method(method).uri(uri);
        request = request.header(USER_AGENT, concat!("elita/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.secret));
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(body).map_err(|error| Broken::unusable(&self.base, &error))?;
        self.http.send(request).await.map_err(|error| Broken::of(&self.base, self.proxy(), &error, error.is_connect()))
    }

    /// What it means that a reply broke off.
    pub(crate) fn broken(&self, error: &(dyn std::error::Error + 'static)) -> Broken {
        Broken::of(&self.base, self.proxy(), error, false)
    }

    /// What to do about a reply that is a refusal.
    pub(crate) fn refusal(&self, reply: &Reply) -> Failure {
        reply.failure(self.token.as_ref())
    }
}

/// Whether the same request may be answered well a little later.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// The pauses between tries, until it has been tried for long enough.
pub(crate) struct Pauses {
    next: Duration,
    deadline: Instant,
}

impl Pauses {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { next: FIRST_PAUSE, deadline: Instant::now() + patience }
    }

    /// How long to wait before the next try: as long as the server says, or twice as long as the last time, with
    /// some jitter so that many clients do not come back at once. None: it has been tried for long enough.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let jitter = u64::from(Uuid::new_v4().as_bytes()[0]);
        let pause = asked.unwrap_or(self.next) + self.next.mul_f64(jitter as f64 / 1024.0);
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        (Instant::now() + pause < self.deadline).then_some(pause)
    }
}

/// What `Retry-After` says, in seconds.
fn retry_after(headers: &hyper::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse::<u64>().ok()?;
    Some(Duration::from_secs(seconds.min(60)))
}
