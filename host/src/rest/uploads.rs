//! Files of builds: `/app/{app}/builds/{build}/file` takes one as it comes, `/app/{app}/builds/{build}` in a form or
//! from where it says.

mod digests;
mod form;

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequest as _, Request, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_RANGE};
use axum::http::request::Parts;
use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::Notify;
use tracing::error;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::digests::Declared;
use self::form::{Form, MAX_AROUND};
use super::Rest;
use super::http::args::{self, Args, Query};
use super::http::body::{declared_length, media_type};
use super::http::client::ClientAddress;
use super::http::idempotency::{IdempotencyKey, fingerprint};
use super::http::pace::Paced;
use super::http::path::Path;
use super::http::problem::{Problem, ProblemCode};
use super::http::reply::{Accepted, SubmittedJob};
use super::http::session::Session;
use crate::datasvc::{AppName, BuildName, Caller, Digest, FileType, FileUrl, PackageMapName};
use crate::shares::Place;
use crate::work::{UploadError, UploadRequest};

/// How to handle the file.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct FileQuery {
    /// What it is: `zip` (or `jar` or `war`, which are the same), `tar`, `tar.gz`, `tar.bz2`, `tar.xz` or `tar.zst`. Ends
    /// of file names such as `tgz` are understood, too. Without it, the first bytes of the file say it.
    file_type: Option<FileType>,
    /// The package map that says which packages are made of it.
    package_map: Option<PackageMapName>,
    /// `true`: the build is created if it does not exist.
    #[serde(default)]
    #[param(required = false)]
    create: bool,
}

/// How to handle the file, and where it is if it is to be fetched.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct UploadArgs {
    /// What it is: `zip` (or `jar` or `war`, which are the same), `tar`, `tar.gz`, `tar.bz2`, `tar.xz` or `tar.zst`. Ends
    /// of file names such as `tgz` are understood, too. Without it, the first bytes of the file say it, and of one that is fetched the
    /// end of its URL.
    file_type: Option<FileType>,
    /// The package map that says which packages are made of it.
    package_map: Option<PackageMapName>,
    /// `true`: the build is created if it does not exist.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    create: bool,
    /// Where the server fetches it from, instead of the form's file. The job shows it.
    indirect_url: Option<FileUrl>,
}

/// A form with a file, which comes last in it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it is read part by part, and described by this")]
struct UploadForm {
    #[schema(inline)]
    file_type: Option<FileType>,
    package_map: Option<PackageMapName>,
    create: Option<bool>,
    /// The file.
    #[schema(value_type = String, format = Binary)]
    build: Vec<u8>,
}

/// Where a file comes from.
enum Source {
    Body(Paced),
    Form(Box<Form>),
}

impl Source {
    /// The next piece. `None`: the file is complete.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        match self {
            Self::Body(body) => body.next().await,
            Self::Form(form) => form.next().await,
        }
    }
}

/// Uploads the file of a build, as the body of the request
///
/// The build has to exist, unless `create` is `true`. What is stored is never replaced: a build takes one file.
#[utoipa::path(put, path = "/app/{app}/builds/{build}/file", operation_id = "builds.upload-file", tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("build" = BuildName, Path, description = "The build"),
        FileQuery,
        IdempotencyKey,
        ("Content-Digest" = Option<String>, Header, description = "`sha-256=:<base64>:` of the file, to be checked"),
        ("Repr-Digest" = Option<String>, Header, description = "The same"),
        ("Digest" = Option<String>, Header, description = "The same in the older form of RFC 3230: `SHA-256=<base64>`"),
        ("X-Checksum-Sha256" = Option<String>, Header, description = "The same in 64 hexadecimal digits"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 202, body = SubmittedJob, headers(("Location" = String, description = "The upload job"))),
        (status = 400, description = "The file does not match its digest, or the body ends too early"),
        (status = 404, description = "No such build or package map"),
        (status = 408, description = "The file comes too slowly"),
        (status = 409, description = "The build has a file already, or another upload of it is in progress"),
        (status = 413, description = "The file is too large"),
        (status = 422, description = "The file type is not supported, or the file is not of this type"),
        (status = 503, description = "Too many uploads are in progress, or the object store does not answer"),
        (status = 507, description = "The store is full"),
    ))]
async fn upload_file(
    State(rest): State<Rest>,
    caller: Caller,
    Path((application, build)): Path<(AppName, BuildName)>,
    Query(FileQuery { file_type, package_map, create }): Query<FileQuery>,
    IdempotencyKey(key): IdempotencyKey,
    request: Request,
) -> Result<Accepted, Problem> {
    let (parts, body) = request.into_parts();
    refuse_parts(&parts.headers)?;
    if media_type(&parts.headers).as_deref() == Some("multipart/form-data") {
        let detail = "the body is the file itself here; send a form by `POST /app/{app}/builds/{build}`";
        return Err(unsupported(detail));
    }
    let place = rest.place_for_upload(&parts, 0)?;
    let declared = Declared::of(&parts.headers)?;
    let session = rest.sessions.begin(caller.clone());
    let source = Source::Body(Paced::new(body, session.clone(), rest.body_within));
    let asked = UploadRequest { application, build, file_type, package_map, create };
    place.keep(rest.receive(&session, key, &parts, asked, source, &declared)).await
}

/// Uploads the file of a build, in a form or from a URL
///
/// The build has to exist, unless `create` is `true`. What is stored is never replaced: a build takes one file. In a
/// multipart form it is the last part, `build`; the arguments come before it, or in the query string. With
/// `indirect_url` the server fetches it, from a public address, and follows no redirect.
#[utoipa::path(post, path = "/app/{app}/builds/{build}", operation_id = "builds.upload", tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("build" = BuildName, Path, description = "The build"),
        IdempotencyKey,
    ),
    request_body(content(
        (UploadForm = "multipart/form-data"),
        (UploadArgs = "application/json"),
        (UploadArgs = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 202, body = SubmittedJob, headers(("Location" = String, description = "The upload job"))),
        (status = 400,
            description = "There is neither a file nor a URL, or both, or a digest, or the body ends too early"),
        (status = 404, description = "No such build or package map"),
        (status = 408, description = "The file comes too slowly"),
        (status = 409, description = "The build has a file already, or another upload of it is in progress"),
        (status = 413, description = "The file is too large"),
        (status = 422,
            description = "The file type is unknown, the file is not of this type, or the URL is not valid"),
        (status = 503, description = "Too many uploads are in progress, or the object store does not answer"),
        (status = 507, description = "The store is full"),
    ))]
async fn upload(
    State(rest): State<Rest>,
    caller: Caller,
    Path((application, build)): Path<(AppName, BuildName)>,
    IdempotencyKey(key): IdempotencyKey,
    request: Request,
) -> Result<Accepted, Problem> {
    let (parts, body) = request.into_parts();
    let asked = |UploadArgs { file_type, package_map, create, indirect_url }| {
        (UploadRequest { application, build, file_type, package_map, create }, indirect_url)
    };
    refuse_parts(&parts.headers)?;
    Declared::refuse(&parts.headers)?;
    let (asked, url) = if media_type(&parts.headers).as_deref() == Some("multipart/form-data") {
        let place = rest.place_for_upload(&parts, MAX_AROUND)?;
        let session = rest.sessions.begin(caller.clone());
        let body = Paced::new(body, session.clone(), rest.body_within);
        let mut form = place.keep(Form::open(&parts.headers, body)).await?;
        let (asked, url) = asked(args::of_form(&parts.uri, form.take_arguments())?);
        match (form.has_file(), url) {
            (true, None) => {
                let declared = Declared::default();
                let source = Source::Form(Box::new(form));
                return place.keep(rest.receive(&session, key, &parts, asked, source, &declared)).await;
            }
            (true, Some(_)) => return Err(Problem::malformed("a file is sent or fetched, and not both")),
            (false, url) => (asked, url),
        }
    } else {
        refuse_file(&parts.headers)?;
        let request = Request::from_parts(parts.clone(), body);
        let is_json = media_type(&parts.headers).as_deref() == Some("application/json");
        let advice = "a file alone is sent by `PUT /app/{app}/builds/{build}/file`";
        let arguments = Args::from_request(request, &rest).await;
        asked(arguments.map_err(|problem| if is_json { problem } else { problem.advising(advice) })?.0)
    };
    let neither = "there is neither a part `build`, the file, in a multipart form, nor an `indirect_url`";
    let url = url.ok_or_else(|| Problem::malformed(neither))?;
    let idempotency = key.map(|key| (key, printed(&parts, &asked, url.as_str().as_bytes())));
    let name = asked.build.to_string();
    // The body may have taken its time.
    let caller = rest.asking(&parts).await?;
    let enqueued = rest.work.submit_fetch(&caller, asked, url, idempotency).await?;
    Ok(Accepted::job(enqueued, name))
}

/// A place among the uploads that are received at a time. If all places are taken, it is given to another address when
/// this address has more of them.
struct UploadPlace {
    _place: Place<IpAddr>,
    ousted: Arc<Notify>,
}

impl UploadPlace {
    /// Goes on with an upload while it has its place.
    async fn keep<T>(&self, uploading: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
        tokio::select! {
            uploaded = uploading => uploaded,
            () = self.ousted.notified() => Err(too_many()),
        }
    }
}

fn too_many() -> Problem {
    Problem::busy("too many uploads come in at this moment")
}

impl Rest {
    /// A place among the uploads that come in at a time, unless the request says that it is too long: `around` is what
    /// may come beside the file, in bytes.
    fn place_for_upload(&self, parts: &Parts, around: usize) -> Result<UploadPlace, Problem> {
        let most = self.work.max_upload_bytes();
        if declared_length(&parts.headers).is_some_and(|length| length > most.saturating_add(around as u64)) {
            return Err(UploadError::TooLarge(most).into());
        }
        let (whose, ousted) = (ClientAddress::of_request(parts)?.network(), Arc::new(Notify::new()));
        let told = Arc::clone(&ousted);
        let place = self.uploads.take(whose, 1, move || told.notify_one());
        Ok(UploadPlace { _place: place.ok_or_else(too_many)?, ousted })
    }

    /// Takes a file, and makes a job of it.
    async fn receive(
        &self,
        session: &Session,
        key: Option<String>,
        parts: &Parts,
        asked: UploadRequest,
        mut source: Source,
        declared: &Declared,
    ) -> Result<Accepted, Problem> {
        let mut upload = self.work.begin_upload(&session.caller()?, asked.clone(), key.as_deref()).await?;
        while let Some(bytes) = source.next().await? {
            upload.write(bytes).await?;
        }
        let finished = upload.finish().await?;
        declared.check(&finished.sha256)?;
        let idempotency = key.map(|key| (key, printed(parts, &asked, &finished.sha256)));
        let enqueued = finished.submit(&self.asking(parts).await?, idempotency).await?;
        Ok(Accepted::job(enqueued, asked.build.to_string()))
    }
}

/// What makes a request the same as another one. For a form these are its values, because its bytes always differ.
fn printed(parts: &Parts, asked: &UploadRequest, file: &[u8]) -> Digest {
    let package_map = asked.package_map.as_ref().map_or("", PackageMapName::as_str);
    let file_type = asked.file_type.map_or("", FileType::as_str);
    let body = [file_type.as_bytes(), package_map.as_bytes(), file];
    fingerprint(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), body)
}

/// Refuses what is not the file itself.
fn refuse_parts(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(Problem::malformed("a file is sent as a whole, without `Content-Range`"));
    }
    match headers.get(CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => {
            Err(unsupported("a file is stored as it is sent: send it without `Content-Encoding`"))
        }
        _ => Ok(()),
    }
}

/// Refuses a file where a form should be, and says where it is taken.
fn refuse_file(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers).as_deref() {
        None | Some("application/json" | "application/x-www-form-urlencoded") => Ok(()),
        Some(other) => Err(unsupported(format!(
            "the body has the content type `{other}`; send a file alone by `PUT /app/{{app}}/builds/{{build}}/file`, and \
             here a form (`multipart/form-data`) or, with an `indirect_url`, `application/json` or \
             `application/x-www-form-urlencoded`"
        ))),
    }
}

fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemCode::UnsupportedMediaType, detail)
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        let detail = error.to_string();
        match error {
            UploadError::Refused(error) => error.into(),
            UploadError::TooLarge(_) => Self::new(ProblemCode::TooLarge, detail),
            UploadError::Full(cause) => {
                error!("an upload was refused, because there is no room: {cause}");
                Self::new(ProblemCode::StorageFull, detail)
            }
            UploadError::Away(cause) => {
                error!("the object store does not answer: {cause}");
                Self::new(ProblemCode::StorageUnavailable, detail)
            }
            UploadError::NoArchive(_) => Self::new(ProblemCode::InvalidArchive, detail),
            UploadError::Store(cause) => Self::internal(&cause),
        }
    }
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(upload)).routes(routes!(upload_file))
}
