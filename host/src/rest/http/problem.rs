//! What went wrong, as an RFC 9457 document: the one place where an error gets its status and its code.
//!
//! A handler returns a [`Problem`]; `front` adds the request's id and writes the document.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::{error, warn};
use utoipa::ToSchema;

pub(in crate::rest) use self::code::ProblemCode;
use crate::datasvc;
use crate::errors::chain;

mod code;

/// The content type of every reply with a status of 400 and above.
pub(in crate::rest) const PROBLEM_JSON: &str = "application/problem+json";
/// When to come back while the service cannot do its work.
const UNAVAILABLE_FOR: Duration = Duration::from_secs(2);

/// Why a request was not carried out.
#[derive(Clone, Debug)]
pub(in crate::rest) struct Problem {
    code: ProblemCode,
    detail: String,
    faults: Vec<Fault>,
    /// When it may be worth while to ask again.
    retry_after: Option<Duration>,
}

/// One of the things that are wrong with a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ProblemError)]
pub(in crate::rest) struct Fault {
    /// Where in the body, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/app_name")]
    pointer: Option<String>,
    /// Which parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter: Option<String>,
    /// What is wrong with it.
    detail: String,
    /// Whether the pointer is that of an argument, which may have come in the body or in the query string.
    #[serde(skip)]
    may_be_parameter: bool,
}

impl Fault {
    /// In the member `name` of the body.
    pub(in crate::rest) fn in_body(name: &str, detail: impl Into<String>) -> Self {
        Self::in_body_at(name, "", detail)
    }

    /// In the member `name` of the body, at the JSON pointer `below` in it.
    pub(in crate::rest) fn in_body_at(name: &str, below: &str, detail: impl Into<String>) -> Self {
        let pointer = format!("/{}{below}", datasvc::escaped(name));
        Self { pointer: Some(pointer), parameter: None, detail: detail.into(), may_be_parameter: false }
    }

    /// In an argument, at this path such as `location/path`.
    pub(in crate::rest) fn at(path: &str, detail: impl Into<String>) -> Self {
        let pointer = if path.is_empty() { String::new() } else { format!("/{path}") };
        Self { pointer: Some(pointer), parameter: None, detail: detail.into(), may_be_parameter: true }
    }

    /// In the body as a whole.
    pub(in crate::rest) fn at_body(detail: impl Into<String>) -> Self {
        Self { pointer: Some(String::new()), parameter: None, detail: detail.into(), may_be_parameter: false }
    }

    /// In the parameter `name`.
    pub(in crate::rest) fn in_parameter(name: &str, detail: impl Into<String>) -> Self {
        Self { pointer: None, parameter: Some(name.into()), detail: detail.into(), may_be_parameter: false }
    }

    /// In the parameter `name`, at the JSON pointer `below` in the JSON that it holds.
    pub(in crate::rest) fn in_parameter_at(name: &str, below: &str, detail: &str) -> Self {
        let detail = if below.is_empty() { detail.to_owned() } else { format!("at `{below}`: {detail}") };
        Self::in_parameter(name, detail)
    }

    /// The same fault, in the parameter if it is about an argument that stood in the query string.
    fn where_it_stood(self, in_query: &[(String, String)]) -> Self {
        if !self.may_be_parameter {
            return self;
        }
        let argument = self.pointer.as_deref().and_then(|pointer| pointer.strip_prefix('/'));
        let argument = argument.map(|argument| argument.split_once('/').unwrap_or((argument, "")));
        match argument.filter(|(name, _)| in_query.iter().any(|(given, _)| given == name)) {
            Some((name, "")) => Self::in_parameter(name, self.detail),
            Some((name, below)) => Self::in_parameter_at(name, &format!("/{below}"), &self.detail),
            None => self,
        }
    }
}

/// The document of a problem (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(in crate::rest) struct Document {
    /// Always `about:blank`: `code` tells problems apart.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status of the reply.
    status: u16,
    /// What went wrong, for people.
    detail: String,
    /// What went wrong, for programs. The description of this member is completed in `api::schemas`.
    #[schema(example = "not-found")]
    code: &'static str,
    /// The id of the request, which is in the server's log too.
    request_id: String,
    /// Where the faults are, if they can be told apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Fault>,
}

impl Problem {
    pub(in crate::rest) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let retry_after = (code.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(UNAVAILABLE_FOR);
        Self { code, detail: detail.into(), faults: Vec::new(), retry_after }
    }

    /// The same problem, and where it is.
    pub(in crate::rest) fn with(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.faults.extend(faults);
        self
    }

    /// The same problem, and what to do instead.
    pub(in crate::rest) fn advising(mut self, advice: &str) -> Self {
        self.detail = format!("{}; {advice}", self.detail);
        self
    }

    /// The same problem, for so long.
    fn lasting(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// The same problem of a request with these parameters: the rules of the data services know of arguments, and not
    /// whether they came in the query string or in the body.
    pub(in crate::rest) fn of_request(mut self, in_query: &[(String, String)]) -> Self {
        self.faults = self.faults.into_iter().map(|fault| fault.where_it_stood(in_query)).collect();
        self
    }

    /// A request that cannot be read.
    pub(in crate::rest) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::Malformed, detail)
    }

    /// A request that can be read and cannot be right.
    pub(in crate::rest) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::Invalid, detail)
    }

    /// Nothing is there, or nothing that the caller may know of.
    pub(in crate::rest) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::NotFound, detail)
    }

    /// More than the service takes at a time.
    pub(in crate::rest) fn busy(detail: impl Into<String>) -> Self {
        Self::new(ProblemCode::Busy, detail)
    }

    /// A fault of the service, which is logged here and not shown.
    pub(in crate::rest) fn internal(cause: &(dyn std::error::Error + 'static)) -> Self {
        error!(error = chain(cause), "a request failed because of an internal error");
        let detail = "the service failed; its log tells why under this request's id";
        Self::new(ProblemCode::Internal, detail)
    }

    /// What the client reads.
    pub(in crate::rest) fn into_document(self, request_id: String) -> Document {
        let status = self.code.status();
        Document {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: self.detail,
            code: self.code.as_str(),
            request_id,
            errors: self.faults,
        }
    }

    /// The headers that go with it.
    fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let challenge = (self.code.status() == StatusCode::UNAUTHORIZED)
            .then(|| (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        // Never too early: in whole seconds, rounded up.
        let seconds = self.retry_after.map(|wait| wait.as_millis().div_ceil(1000).max(1));
        let retry_after = seconds.and_then(|seconds| HeaderValue::try_from(seconds.to_string()).ok());
        challenge.into_iter().chain(retry_after.map(|value| (header::RETRY_AFTER, value)))
    }
}

impl From<datasvc::Error> for Problem {
    fn from(error: datasvc::Error) -> Self {
        use datasvc::Error;
        let code = match &error {
            Error::NotFound { .. } => ProblemCode::NotFound,
            Error::AlreadyExists { .. } => ProblemCode::AlreadyExists,
            Error::Invalid { .. } | Error::Faults(_) => ProblemCode::Invalid,
            Error::MissingParameters { .. } => ProblemCode::MissingParameters,
            Error::TooLarge { .. } => ProblemCode::TooLarge,
            Error::TooMany { .. } => ProblemCode::TooMany,
            Error::LogFull { .. } => ProblemCode::LogFull,
            Error::Conflict { .. } => ProblemCode::Conflict,
            Error::Changed { .. } => ProblemCode::Changed,
            Error::KeyReused { .. } => ProblemCode::IdempotencyKeyReused,
            Error::Denied { .. } => ProblemCode::Denied,
            Error::WrongPassword => ProblemCode::WrongPassword,
            Error::InvalidToken => ProblemCode::InvalidToken,
            Error::Throttled { retry_after, .. } => {
                let problem = Self::new(ProblemCode::TooManyRequests, error.to_string());
                return problem.lasting(*retry_after);
            }
            Error::Unavailable(cause) => {
                warn!(error = chain(cause), "a request failed because the database does not answer");
                ProblemCode::Unavailable
            }
            Error::Internal(cause) => return Self::internal(cause.as_ref()),
        };
        Self::new(code, error.to_string()).with(faults(&error))
    }
}

/// Where an error of the data services lies, as far as it says so.
fn faults(error: &datasvc::Error) -> Vec<Fault> {
    match error {
        datasvc::Error::Invalid { field, reason } => vec![Fault::at(field, reason)],
        datasvc::Error::Faults(faults) => faults.iter().map(|fault| Fault::at(&fault.field, &fault.reason)).collect(),
        datasvc::Error::MissingParameters { missing } => {
            missing.iter().map(|name| Fault::in_parameter(name, "is missing")).collect()
        }
        datasvc::Error::NotFound { .. }
        | datasvc::Error::AlreadyExists { .. }
        | datasvc::Error::TooLarge { .. }
        | datasvc::Error::TooMany { .. }
        | datasvc::Error::LogFull { .. }
        | datasvc::Error::Conflict { .. }
        | datasvc::Error::Changed { .. }
        | datasvc::Error::KeyReused { .. }
        | datasvc::Error::Denied { .. }
        | datasvc::Error::WrongPassword
        | datasvc::Error::InvalidToken
        | datasvc::Error::Throttled { .. }
        | datasvc::Error::Unavailable(_)
        | datasvc::Error::Internal(_) => Vec::new(),
    }
}

impl IntoResponse for Problem {
    /// A reply without a body, for `front` to write the document into.
    fn into_response(self) -> Response {
        let mut reply = self.code.status().into_response();
        reply.headers_mut().extend(self.headers());
        reply.extensions_mut().insert(self);
        reply
    }
}
