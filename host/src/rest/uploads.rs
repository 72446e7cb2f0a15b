//! `/app/{app}/builds/{build}/file`: the file of a build, as it comes.

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_RANGE};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::args::Query;
use super::body::declared_length;
use super::idempotency::{IdempotencyKey, fingerprint};
use super::pace::Paced;
use super::path::Path;
use super::problem::Problem;
use super::reply::{Accepted, SubmittedJob};
use crate::datasvc::{AppName, BuildName, Caller, FileType, PackageMapName};
use crate::jobs::{UploadError, UploadRequest};

/// What there is to say of a file.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct FileQuery {
    /// What it is: `zip`, `tar.gz` or `tar.bz2`.
    file_type: FileType,
    /// By which package map packages are made of it.
    package_map: Option<PackageMapName>,
}

/// Uploads the file of a build, as the body of the request
///
/// The build has to exist. What is stored is never replaced: a build takes one file.
#[utoipa::path(put, path = "/app/{app}/builds/{build}/file", operation_id = "builds.upload_file", tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("build" = BuildName, Path, description = "The build"),
        FileQuery,
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "Visible ASCII; the same request with the same key answers with the same job"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 202, body = SubmittedJob, headers(("Location" = String, description = "The job that takes it in"))),
        (status = 404, description = "No such build or package map"),
        (status = 408, description = "It comes too slowly"),
        (status = 409, description = "The build is stored, or another upload of it goes on"),
        (status = 413, description = "It is larger than may be"),
        (status = 422, description = "It is no type that is known"),
        (status = 503, description = "Too many uploads come in at this moment"),
        (status = 507, description = "There is no room for it"),
    ))]
async fn upload_file(
    State(rest): State<Rest>,
    caller: Caller,
    Path((application, build)): Path<(AppName, BuildName)>,
    Query(FileQuery { file_type, package_map }): Query<FileQuery>,
    IdempotencyKey(key): IdempotencyKey,
    request: Request,
) -> Result<Accepted, Problem> {
    let (parts, body) = request.into_parts();
    refuse_parts(&parts.headers)?;
    rest.refuse_declared(&parts.headers)?;
    let _place = rest.place_for_upload()?;
    let name = build.to_string();
    let request = UploadRequest { application, build, file_type, package_map };
    let mut session = rest.sessions.begin(caller.clone());
    let mut upload = rest.jobs.begin_upload(&caller, request, key.as_deref()).await?;
    let mut body = Paced::new(body, rest.body_within);
    loop {
        let next = tokio::select! {
            next = body.next() => next?,
            () = session.changed() => {
                session.caller()?;
                continue;
            }
        };
        match next {
            Some(bytes) => upload.write(bytes).await?,
            None => break,
        }
    }
    let sealed = upload.seal().await?;
    let query = parts.uri.query().unwrap_or_default();
    let idempotency = key.map(|key| (key, fingerprint(&parts.method, parts.uri.path(), query, [&sealed.sha256[..]])));
    let enqueued = sealed.submit(&session.caller()?, idempotency).await?;
    Ok(Accepted::job(enqueued, name))
}

impl Rest {
    /// A place among the uploads that come in at a time.
    fn place_for_upload(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = self.uploads.clone().try_acquire_owned();
        place.map_err(|_| Problem::busy("too many uploads come in at this moment"))
    }

    /// Refuses what says that it is too long, before any of it is read.
    fn refuse_declared(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let most = self.jobs.max_upload_bytes();
        match declared_length(headers) {
            Some(length) if length > most => Err(UploadError::TooLarge(most).into()),
            _ => Ok(()),
        }
    }
}

/// Refuses what is not the file itself.
fn refuse_parts(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Problem::malformed("a file is sent as a whole, without `Content-Range`"));
    }
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => {
            let detail = "a file is stored as it is sent: send it without `Content-Encoding`";
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail))
        }
        _ => Ok(()),
    }
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let detail = error.to_string();
        match error {
            UploadError::Refused(error) => error.into(),
            UploadError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail),
            UploadError::Full(_) => Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage-full", detail),
            UploadError::Store(cause) => Self::internal(&cause),
        }
    }
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(upload_file))
}
