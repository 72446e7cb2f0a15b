//! `/app/{app}/builds/{build}/packages`: the files of a build.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::http::args::Query;
use super::http::path::Path;
use super::http::problem::{Problem, ProblemCode};
use super::http::range::Wanted;
use crate::datasvc::{AppName, BuildName, Caller, FileType, PackageFile, PackageName};

/// How to send a file.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct PackageQuery {
    /// `false`: the server sends the file itself, for clients that cannot reach the object store.
    #[serde(default = "yes")]
    #[param(required = false)]
    redirect: bool,
}

fn yes() -> bool {
    true
}

/// Sends a package's file
///
/// `master` is the uploaded file, bit for bit. A request for one range gets that range; a request for several ranges
/// gets the whole file. A server with `--storage-redirect` sends the client to the object store instead.
#[utoipa::path(get, path = "/app/{app}/builds/{build}/packages/{package}", operation_id = "builds.package",
    tag = "builds",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("build" = BuildName, Path, description = "The build"),
        ("package" = PackageName, Path, description = "The package"),
        PackageQuery,
        ("Range" = Option<String>, Header, description = "Which bytes, such as `bytes=0-1023`"),
        ("If-Range" = Option<String>, Header,
            description = "The `ETag` of the file: if it has another one now, the whole file is sent"),
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of the file that the client has"),
    ),
    responses(
        (status = 200, content_type = "application/octet-stream", body = [u8], description = "The file",
            headers(("ETag" = String, description = "Its SHA-256"))),
        (status = 206, content_type = "application/octet-stream", body = [u8], description = "The range"),
        (status = 304, description = "The client has this file already"),
        (status = 307, description = "The file is at the object store, at a URL that can be used for five minutes",
            headers(("Location" = String, description = "That URL"))),
        (status = 404, description = "No such build or package"),
        (status = 416, description = "The file has no bytes in this range"),
    ))]
async fn package(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, build, package)): Path<(AppName, BuildName, PackageName)>,
    Query(PackageQuery { redirect }): Query<PackageQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = rest.work.package(&caller, &app, &build, &package).await?;
    let size = found.file.size_bytes;
    let etag = format!("\"{}\"", found.file.sha256);
    let wanted = Wanted::of(&headers, &etag, size);
    if !matches!(wanted, Wanted::Nothing)
        && redirect
        && method == Method::GET
        && let Some(url) = found.lent_url().await?
    {
        // Whoever has the URL has the file: it is not kept anywhere.
        let headers = [(header::LOCATION, url), (header::CACHE_CONTROL, "no-store".into()), (header::ETAG, etag)];
        return Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response());
    }
    let reply = match wanted {
        Wanted::Nothing => StatusCode::NOT_MODIFIED.into_response(),
        Wanted::Whole => {
            let body = Body::from_stream(found.read(0..size).await?);
            ([(header::CONTENT_LENGTH, size.to_string())], described(&found.file), body).into_response()
        }
        Wanted::Part(part) => {
            let (first, end) = (*part.start(), part.end() + 1);
            let body = Body::from_stream(found.read(first..end).await?);
            let range = [
                (header::CONTENT_LENGTH, (end - first).to_string()),
                (header::CONTENT_RANGE, format!("bytes {first}-{}/{size}", part.end())),
            ];
            (StatusCode::PARTIAL_CONTENT, range, described(&found.file), body).into_response()
        }
        Wanted::Beyond => {
            let detail = format!("the file has {size} bytes, and the range in `Range` begins after its end");
            let problem = Problem::new(ProblemCode::RangeNotSatisfiable, detail);
            return Ok(([(header::CONTENT_RANGE, format!("bytes */{size}"))], problem).into_response());
        }
    };
    Ok(([(header::ETAG, etag), (header::ACCEPT_RANGES, "bytes".into())], reply).into_response())
}

/// The headers that describe the file, for clients that save it.
fn described(file: &PackageFile) -> [(HeaderName, String); 2] {
    let media_type = match file.file_type {
        FileType::Zip => "application/zip",
        FileType::TarGz => "application/gzip",
        FileType::TarBz2 => "application/x-bzip2",
        FileType::Tar => "application/x-tar",
        FileType::TarXz => "application/x-xz",
        FileType::TarZst => "application/zstd",
    };
    // Names have no characters that would have to be quoted.
    let disposition = format!("attachment; filename=\"{}\"", file.filename);
    [(header::CONTENT_TYPE, media_type.into()), (header::CONTENT_DISPOSITION, disposition)]
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(package))
}
