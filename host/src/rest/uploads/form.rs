//! A file in a multipart form. The arguments come before it, so that what is wrong is said before it is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use multer::{Field, Multipart};

use crate::rest::http::body::{Stopped, argument, broken_form};
use crate::rest::http::pace::Paced;
use crate::rest::http::problem::{Fault, Problem, ProblemCode};

/// The part that is the file.
const FILE: &str = "build";
/// What may stand around the file, in bytes: the arguments, and the heads of all parts. No piece of a body is as long.
pub(super) const MAX_AROUND: usize = 1024 * 1024;

/// A form, read up to its file.
pub(super) struct Form {
    parts: Multipart<'static>,
    arguments: Vec<(String, String)>,
    file: Option<Field<'static>>,
    /// How much may still come in that is not the file.
    room: Arc<AtomicUsize>,
}

impl Form {
    /// Reads what comes before the file.
    ///
    /// # Errors
    /// 400 if it is not a form; 413 if it is too long; those of [`Paced::next`].
    pub(super) async fn open(headers: &HeaderMap, body: Paced) -> Result<Self, Problem> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let boundary = multer::parse_boundary(content_type).map_err(broken_form)?;
        let room = Arc::new(AtomicUsize::new(MAX_AROUND));
        let mut parts = Multipart::new(fed(body, Arc::clone(&room)), boundary);
        let (mut arguments, mut file) = (Vec::new(), None);
        while let Some(part) = parts.next_field().await.map_err(broken_form)? {
            if part.name() == Some(FILE) {
                file = Some(part);
                break;
            }
            arguments.push(argument(part).await?);
        }
        Ok(Self { parts, arguments, file, room })
    }

    /// The other parts.
    pub(super) fn take_arguments(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.arguments)
    }

    /// Whether there is a file.
    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// The next piece of the file. `None`: the file and the form are complete.
    ///
    /// # Errors
    /// 400 if the form is broken, or goes on after the file; those of [`Paced::next`].
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        // What was the file's share of it has been taken.
        self.room.store(MAX_AROUND, Ordering::Relaxed);
        let Some(file) = &mut self.file else { return Ok(None) };
        if let Some(bytes) = file.chunk().await.map_err(broken_form)? {
            return Ok(Some(bytes));
        }
        self.file = None;
        match self.parts.next_field().await.map_err(broken_form)? {
            None => Ok(None),
            Some(part) => {
                let name = part.name().unwrap_or_default();
                let detail = format!(
                    "the part `{name}` comes after the file, which has already been received: send the part `{FILE}`, the \
                     file, last, or `{name}` in the query string"
                );
                Err(Problem::invalid(detail).with([Fault::in_body(name, "comes after the file")]))
            }
        }
    }
}

/// The body as the form's reader takes it. That would read on for as long as there is something, and keep it all: after
/// each piece it is told that there is nothing yet.
fn fed(body: Paced, room: Arc<AtomicUsize>) -> impl Stream<Item = Result<Bytes, Stopped>> + Send + 'static {
    stream::try_unfold((body, room), async |(mut body, room)| {
        tokio::task::yield_now().await;
        let Some(bytes) = body.next().await.map_err(Stopped)? else { return Ok(None) };
        let fits = |room: usize| room.checked_sub(bytes.len());
        if room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            let detail = format!("the form may have at most {MAX_AROUND} bytes besides the file");
            return Err(Stopped(Problem::new(ProblemCode::TooLarge, detail)));
        }
        Ok(Some((bytes, (body, room))))
    })
}

#[cfg(test)]
mod tests;
