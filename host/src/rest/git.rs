//! `/git/{app}/{repo}.git`: repositories of this server's disk for git clients, to read only, by git's own protocol over
//! HTTP. It is described by git, and so is not in the OpenAPI document.
//!
//! A token is the password of Basic authentication; the username says nothing.

use std::io::{self, Write};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::write::GzDecoder;
use futures_util::{Stream, StreamExt as _, stream};
use tracing::error;
use utoipa_axum::router::OpenApiRouter;

use super::Rest;
use super::http::form;
use super::http::path::Path;
use super::http::problem::{Problem, ProblemCode};
use super::http::session::Session;
use crate::datasvc::{AppName, Caller, GitRepoName};
use crate::work::{GitReader, ServeError, ServedRepository};

/// The longest request of a client once it is unpacked, in bytes.
const MAX_ASKED_BYTES: usize = 8 * 1024 * 1024;
/// What a client asks for that wants to read.
const UPLOAD_PACK: &str = "git-upload-pack";
/// What stands before the branches for clients of the protocol's first versions.
const ANNOUNCED: &[u8] = b"001e# service=git-upload-pack\n0000";

/// What was asked, or why it is not answered, with the header that has git send its token.
struct Refusal(Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut reply = self.0.into_response();
        if reply.status() == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"Elita\", charset=\"UTF-8\"");
            reply.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        reply
    }
}

/// Which branches there are.
async fn refs(
    State(rest): State<Rest>,
    Path((app, repo)): Path<(AppName, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    let asked = form::pairs(parts.uri.query().unwrap_or_default())?;
    let reading = rest.reading(&parts, &app, &repo).await?;
    match asked.iter().find(|(name, _)| name == "service").map(|(_, service)| service.as_str()) {
        Some(UPLOAD_PACK) => {}
        Some("git-receive-pack") => return Err(read_only().into()),
        _ => {
            let detail = "this speaks git's smart protocol only; use git 1.6.6 or newer";
            return Err(Problem::new(ProblemCode::Denied, detail).into());
        }
    }
    let protocol = protocol(&parts.headers);
    let part = reading.repository.advertise(protocol).await.map_err(problem)?;
    // Clients of the second version get what git says, as it is.
    let announced = (!protocol.is_some_and(|protocol| protocol.contains("version=2"))).then_some(ANNOUNCED);
    let announced = stream::iter(announced.map(|bytes| Ok(Bytes::from_static(bytes))));
    Ok(reply("application/x-git-upload-pack-advertisement", announced.chain(part), reading.session))
}

/// What a client asks for.
async fn upload_pack(
    State(rest): State<Rest>,
    Path((app, repo)): Path<(AppName, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    // Nobody who may not read sends a body.
    rest.reader(&parts).await?;
    let body = rest.bodies.read(&parts, body).await?;
    let reading = rest.reading(&parts, &app, &repo).await?;
    let asked = unpacked(&parts.headers, body).await?;
    let part = reading.repository.answer(protocol(&parts.headers), asked).await.map_err(problem)?;
    Ok(reply("application/x-git-upload-pack-result", part, reading.session))
}

async fn receive_pack(State(rest): State<Rest>, request: Request) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    rest.reader(&parts).await?;
    Err(read_only().into())
}

/// A repository for a client, and the session of its user.
struct Reading {
    repository: ServedRepository,
    session: Option<Session>,
}

impl Rest {
    /// Who asks, by the token.
    ///
    /// # Errors
    /// 401 without one that is valid.
    async fn reader(&self, parts: &Parts) -> Result<GitReader, Problem> {
        let Some(token) = password(&parts.headers) else { return self.asking(parts).await.map(GitReader::Caller) };
        match self.work.git_server(&token).await? {
            Some(server) => Ok(server),
            None => Ok(GitReader::Caller(self.caller_with(parts, &token).await?)),
        }
    }

    async fn reading(&self, parts: &Parts, app: &AppName, repo: &str) -> Result<Reading, Problem> {
        let reader = self.reader(parts).await?;
        let name = repo.strip_suffix(".git").and_then(|name| GitRepoName::parse(name).ok());
        let name = name.ok_or_else(|| Problem::not_found(format!("there is nothing at `{}`", parts.uri.path())))?;
        let repository = self.work.serve_repository(&reader, app, &name).await.map_err(problem)?;
        let session = match reader {
            GitReader::Caller(caller @ Caller::User { .. }) => Some(self.sessions.begin(caller)),
            GitReader::Caller(_) | GitReader::Server(..) => None,
        };
        Ok(Reading { repository, session })
    }
}

/// The password of Basic authentication.
fn password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

fn protocol(headers: &HeaderMap) -> Option<&str> {
    headers.get("git-protocol").and_then(|value| value.to_str().ok())
}

/// A reply that goes on as long as git makes it, and as the token of its user is valid.
fn reply(
    media_type: &'static str,
    content: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    session: Option<Session>,
) -> Response {
    let valid = move |piece: io::Result<Bytes>| match &session {
        Some(session) if session.caller().is_err() => Err(io::Error::other("the token is no longer valid")),
        Some(_) | None => piece,
    };
    let headers = [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "no-cache, max-age=0, must-revalidate")];
    (headers, Body::from_stream(content.map(valid))).into_response()
}

/// What a client has sent, which it compresses where that is long.
async fn unpacked(headers: &HeaderMap, body: Vec<u8>) -> Result<Bytes, Problem> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(body.into()),
        Some(b"gzip" | b"x-gzip") => {
            let worked = tokio::task::spawn_blocking(move || inflated(&body));
            match worked.await.map_err(|error| Problem::internal(&error))? {
                Ok(bytes) => Ok(bytes.into()),
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                    let detail = format!("at most {MAX_ASKED_BYTES} bytes are taken as a request, unpacked");
                    Err(Problem::new(ProblemCode::TooLarge, detail))
                }
                Err(_) => Err(Problem::malformed("the body is not compressed by gzip as it says")),
            }
        }
        Some(_) => {
            let detail = "a body is compressed by gzip or not at all";
            Err(Problem::new(ProblemCode::UnsupportedMediaType, detail))
        }
    }
}

fn inflated(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoder = GzDecoder::new(Limited(Vec::new()));
    decoder.write_all(body)?;
    Ok(decoder.finish()?.0)
}

/// Bytes, and not too many.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_ASKED_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read_only() -> Problem {
    let detail = "repositories are read here and not pushed to: what they hold is committed by Elita";
    Problem::new(ProblemCode::Denied, detail)
}

fn problem(error: ServeError) -> Problem {
    match error {
        ServeError::Refused(refused) => refused.into(),
        ServeError::Elsewhere(_) => Problem::new(ProblemCode::WrongHost, error.to_string()),
        ServeError::AtProvider => Problem::not_found(error.to_string()),
        ServeError::Busy => Problem::busy(error.to_string()),
        ServeError::Git(cause) => {
            error!("a repository could not be served: {cause}");
            Problem::internal(&cause)
        }
    }
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default()
        .route("/git/{app}/{repo}/info/refs", get(refs))
        .route("/git/{app}/{repo}/git-upload-pack", post(upload_pack))
        .route("/git/{app}/{repo}/git-receive-pack", post(receive_pack))
}
