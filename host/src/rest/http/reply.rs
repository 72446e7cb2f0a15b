//! Documents as replies, and the replies of operations that make something.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::datasvc::{Enqueued, Job, JobId, JobStatus};

/// A document, as a line of JSON.
pub(in crate::rest) struct Json<T>(pub(in crate::rest) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let mut text = Vec::with_capacity(512);
        if let Err(error) = serde_json::to_writer(&mut text, &self.0) {
            return Problem::internal(&error).into_response();
        }
        text.push(b'\n');
        ([(header::CONTENT_TYPE, "application/json")], text).into_response()
    }
}

/// 201: something new, and where it is.
pub(in crate::rest) struct Created<T> {
    location: String,
    reply: T,
}

impl<T> Created<T> {
    pub(in crate::rest) fn at(location: String, reply: T) -> Self {
        Self { location, reply }
    }
}

impl<T: IntoResponse> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, [(header::LOCATION, self.location)], self.reply).into_response()
    }
}

/// A job that has been made of a request.
#[derive(Serialize, ToSchema)]
pub(in crate::rest) struct SubmittedJob {
    /// Its id.
    job_id: JobId,
    /// `queued` for a new job. A repeated request returns the job's current state.
    status: JobStatus,
    /// What it runs, such as the action's name.
    name: String,
    /// Where to follow it.
    #[schema(example = "/job/0197c9a0-7b1e-7c3d-8a54-3f2f1f0e9d8c")]
    location: String,
}

/// 202: a job runs, or will.
pub(in crate::rest) struct Accepted(SubmittedJob);

impl Accepted {
    pub(in crate::rest) fn job(enqueued: Enqueued, name: String) -> Self {
        let Enqueued { job_id, status, claim: _ } = enqueued;
        Self(SubmittedJob { job_id, status, name, location: format!("/job/{job_id}") })
    }
}

impl From<Job> for Accepted {
    fn from(job: Job) -> Self {
        let Job { job_id, status, name, .. } = job;
        Self(SubmittedJob { job_id, status, name, location: format!("/job/{job_id}") })
    }
}

impl IntoResponse for Accepted {
    fn into_response(self) -> Response {
        let location = [(header::LOCATION, self.0.location.clone())];
        (StatusCode::ACCEPTED, location, Json(self.0)).into_response()
    }
}
