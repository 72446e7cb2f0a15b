//! A reply that is indented while it is sent or compressed. The indented text may be many times as long, so it is never
//! in memory as a whole.

use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, HttpBody};
use bytes::{Buf as _, Bytes};
use hyper::body::{Frame, SizeHint};

use super::json::Indenter;

/// How long a piece of it is, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The body of a reply that is JSON.
pub(in crate::rest) struct Indented {
    body: Body,
    /// What has come of it and is not indented yet.
    rest: Bytes,
    indenter: Indenter,
    ended: bool,
}

impl Indented {
    pub(in crate::rest) fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new(), indenter: Indenter::default(), ended: false }
    }

    /// The next piece of what has come.
    fn piece(&mut self) -> Bytes {
        let mut piece = Vec::with_capacity(PIECE_BYTES + 2 * self.rest.len().min(PIECE_BYTES));
        while piece.len() < PIECE_BYTES && self.rest.has_remaining() {
            self.indenter.push(self.rest.get_u8(), &mut piece);
        }
        piece.into()
    }
}

/// A JSON text, indented while it is read.
pub(in crate::rest) struct IndentedText {
    rest: Bytes,
    indenter: Indenter,
    /// What is indented and not read yet, from `at` on.
    ready: Vec<u8>,
    at: usize,
    ended: bool,
}

impl IndentedText {
    pub(in crate::rest) fn new(text: Bytes) -> Self {
        Self { rest: text, indenter: Indenter::default(), ready: Vec::new(), at: 0, ended: false }
    }
}

impl Read for IndentedText {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            self.ready.clear();
            self.at = 0;
            while self.ready.len() < PIECE_BYTES && self.rest.has_remaining() {
                self.indenter.push(self.rest.get_u8(), &mut self.ready);
            }
            if self.ready.is_empty() && !self.ended {
                self.ended = true;
                self.ready.push(b'\n');
            }
        }
        let read = (&self.ready[self.at..]).read(into)?;
        self.at += read;
        Ok(read)
    }
}

impl HttpBody for Indented {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        while self.rest.is_empty() && !self.ended {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                // A frame that is not data holds trailers.
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.ended = true;
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"\n")))));
                }
            }
        }
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    /// At least what it is without being indented.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.body.size_hint().lower() + self.rest.len() as u64);
        hint
    }
}
