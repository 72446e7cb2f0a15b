//! Files that are fetched from a URL that a user names.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use serde_json::json;

use super::packaging::refused;
use super::{Job, internal, master};
use crate::datasvc::{Digest, FileUrl, JobError, JobErrorCode, KeptPackage, Upload};
use crate::engine::StepResult;
use crate::outbound::{self, Reach, Request, RequestLimits, RequestPermit, Response, ResponseBody};
use crate::storage::Pace;
use crate::storage::archive::{BEGINNING_BYTES, check_beginning};
use crate::work::archives::kind;
use crate::work::builds::not_stored;

/// Until a connection is there.
const CONNECT: Duration = Duration::from_secs(10);
/// From then on, until the response begins: what is asked for may have to be made first.
const FIRST_BYTE: Duration = Duration::from_secs(60);
/// While nothing of the file comes in.
const BETWEEN_BYTES: Duration = Duration::from_secs(30);
/// How much of where a server would send us to is told.
const MAX_LOCATION_CHARS: usize = 300;

impl Job<'_> {
    /// Brings the file into the store, under a name that is this run's alone.
    pub(super) async fn fetch(&self, upload: &Upload, url: &FileUrl) -> StepResult<KeptPackage> {
        let _turn = self.work.fetch_turns.take_for(self.run).await;
        let permit = self.work.fetches.clone().acquire_owned().await.map_err(|error| internal(&error))?;
        // No plugin has such a name.
        let permit = RequestPermit::new(format!("application {}", self.application()?), permit);
        let response = self.get(url, &permit).await?;
        check(&response).map_err(|why| JobError::new(JobErrorCode::FetchFailed, why))?;
        let (folder, run) = (self.run.claim.job_id.into(), self.run.claim.fence);
        let mut file = self.work.storage.add_build_file(folder, run, &upload.filename).await.map_err(not_stored)?;
        let (mut body, mut beginning) = (response.into_body(), Vec::new());
        let mut pace = Pace::new(self.work.uploads.patience);
        while let Some(data) = next(&mut body, &mut pace).await? {
            if beginning.len() < BEGINNING_BYTES {
                beginning.extend_from_slice(&data[..data.len().min(BEGINNING_BYTES - beginning.len())]);
                if beginning.len() == BEGINNING_BYTES {
                    check_beginning(&beginning, kind(upload.file_type)).map_err(refused)?;
                }
            }
            file.write(data).await.map_err(not_stored)?;
        }
        let finished = file.finish().await.map_err(not_stored)?;
        // A host that was frozen meanwhile may have lost the job, and another one may have brought the file.
        self.run.lease.confirmed().await;
        let received = finished.publish().await.map_err(not_stored)?;
        let sha256 = Digest::from_bytes(received.sha256).hex();
        self.run.note(&json!({ "status": "fetched", "size_bytes": received.size_bytes, "sha256": sha256 }));
        Ok(KeptPackage::new(master(upload, received.size_bytes, sha256), Some(run)))
    }

    async fn get(&self, url: &FileUrl, permit: &RequestPermit) -> Result<Response<ResponseBody>, JobError> {
        let request = Request::get(url.as_str())
            .header("accept", "*/*")
            .header("user-agent", concat!("elita/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| internal(&error))?;
        let limits = RequestLimits {
            connect: CONNECT,
            first_byte: FIRST_BYTE,
            between_bytes: BETWEEN_BYTES,
            // The job's own limit comes first.
            total: self.run.claim.timeout.saturating_mul(2),
            request_bytes: 0,
            response_bytes: self.work.uploads.bytes,
        };
        let reach = Reach::PublicAnd(&self.work.uploads.places);
        self.work.outbound.send(request, reach, limits, permit).await.map_err(|error| not_fetched(&error))
    }
}

/// What comes next of a body, if it comes at the pace that it has to keep; null: it was the whole.
async fn next(body: &mut ResponseBody, pace: &mut Pace) -> Result<Option<Bytes>, JobError> {
    loop {
        let began = Instant::now();
        let Ok(frame) = tokio::time::timeout(pace.left(), body.frame()).await else {
            return Err(JobError::new(JobErrorCode::FetchFailed, format!("the file {}", pace.too_slow())));
        };
        pace.waited(began.elapsed());
        let Some(frame) = frame else { return Ok(None) };
        // A frame that is not data holds trailers.
        if let Ok(data) = frame.map_err(|error| not_fetched(&error))?.into_data() {
            pace.came(data.len());
            return Ok(Some(data));
        }
    }
}

/// Whether the response is the file; the error says what it is otherwise.
fn check(response: &Response<ResponseBody>) -> Result<(), String> {
    let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let status = response.status();
    if status.is_redirection() {
        let location: String = text("location").unwrap_or("nowhere").chars().take(MAX_LOCATION_CHARS).collect();
        return Err(format!(
            "the server answered {} and sends us to `{location}`; redirects are not followed, give that URL instead",
            status.as_u16()
        ));
    }
    if status.as_u16() != 200 {
        return Err(format!("the server answered {} and not 200", status.as_u16()));
    }
    match text("content-encoding") {
        None | Some("identity") => Ok(()),
        Some(coding) => Err(format!("the server sends the file with the content coding `{coding}`, unasked")),
    }
}

fn not_fetched(error: &outbound::Error) -> JobError {
    JobError::new(JobErrorCode::FetchFailed, format!("the file could not be fetched: {error}"))
}
