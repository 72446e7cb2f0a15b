//! A body that may be long, read at its client's pace: it may take its time, as long as it goes on.

use std::future::poll_fn;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::Bytes;

use super::problem::Problem;
use super::session::Session;

/// What a client has to send in a second, on average, in bytes.
const SLOWEST: f64 = 8.0 * 1024.0;

/// A body on its way in, for as long as who sends it may. What a client sends buys it time, which is spent while it is
/// waited for: one that sends nothing has `patience`, and so has, from when it became too slow, one that sends less than
/// [`SLOWEST`].
pub(in crate::rest) struct Paced {
    body: Body,
    session: Session,
    patience: Duration,
    left: Duration,
}

impl Paced {
    pub(in crate::rest) fn new(body: Body, session: Session, patience: Duration) -> Self {
        Self { body, session, patience, left: patience }
    }

    /// What comes next; none: it was the whole.
    ///
    /// # Errors
    /// 408 if it comes too slowly; 400 if it breaks off; 401 if the token is no longer valid.
    pub(in crate::rest) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            self.session.caller()?;
            let began = Instant::now();
            let Self { body, session, left, .. } = self;
            let frame = tokio::select! {
                frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)) => Some(frame),
                () = session.changed() => None,
                () = tokio::time::sleep(*left) => return Err(self.too_slow()),
            };
            self.left = self.left.saturating_sub(began.elapsed());
            let Some(frame) = frame else { continue };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|_| Problem::malformed("the body breaks off"))?;
            // What is no data are trailers.
            if let Ok(data) = frame.into_data() {
                let bought = Duration::from_secs_f64(data.len() as f64 / SLOWEST);
                self.left = self.patience.min(self.left + bought);
                return Ok(Some(data));
            }
        }
    }

    fn too_slow(&self) -> Problem {
        let detail = format!(
            "the body came too slowly: nothing for {} seconds, or less than {SLOWEST} bytes a second for longer",
            self.patience.as_secs()
        );
        Problem::new(StatusCode::REQUEST_TIMEOUT, "timed-out", detail)
    }
}
