//! A body that may be long, read as fast as its client sends it. It may be slow, but must not stop.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use bytes::Bytes;

use super::problem::{Problem, ProblemCode};
use super::session::Session;
use crate::work::Pace;

/// A body on its way in, for as long as who sends it may, and at the pace that it has to keep.
pub(in crate::rest) struct Paced {
    body: Body,
    session: Session,
    pace: Pace,
}

impl Paced {
    pub(in crate::rest) fn new(body: Body, session: Session, patience: Duration) -> Self {
        Self { body, session, pace: Pace::new(patience) }
    }

    /// The next piece. `None`: the body is complete.
    ///
    /// # Errors
    /// 408 if it comes too slowly; 400 if it breaks off; 401 if the token is no longer valid.
    pub(in crate::rest) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            self.session.caller()?;
            let began = Instant::now();
            let Self { body, session, pace } = self;
            let frame = tokio::select! {
                frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)) => Some(frame),
                () = session.changed() => None,
                () = tokio::time::sleep(pace.left()) => return Err(self.too_slow()),
            };
            self.pace.waited(began.elapsed());
            let Some(frame) = frame else { continue };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|_| Problem::malformed("the body breaks off"))?;
            // A frame that is not data holds trailers.
            if let Ok(data) = frame.into_data() {
                self.pace.came(data.len());
                return Ok(Some(data));
            }
        }
    }

    fn too_slow(&self) -> Problem {
        let detail = format!("the body {}", self.pace.too_slow());
        Problem::new(ProblemCode::TimedOut, detail)
    }
}
