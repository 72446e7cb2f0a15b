//! Bodies in transit: for a request, whether all of it was read; for a reply, how much of it the client has read.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};

use super::connection::InFlight;

/// The longest piece of a reply that is handed over at once, in bytes. A reply of more takes room while it is sent.
pub(in crate::rest) const LARGE_BYTES: usize = 64 * 1024;

/// Whether the body of a request was read to its end.
#[derive(Clone)]
pub(in crate::rest) struct Read(Arc<AtomicBool>);

/// The body of a request, which says when it was read to its end.
struct Watched {
    incoming: Incoming,
    read: Read,
}

impl Read {
    /// That of a request with this body, twice: for who reads it and for who asks.
    pub(in crate::rest) fn of(incoming: &Incoming) -> (Self, Self) {
        let read = Self(Arc::new(AtomicBool::new(incoming.is_end_stream())));
        (read.clone(), read)
    }

    /// The body as handlers get it.
    pub(in crate::rest) fn watch(self, incoming: Incoming) -> Body {
        if self.to_its_end() { Body::new(incoming) } else { Body::new(Watched { incoming, read: self }) }
    }

    pub(in crate::rest) fn to_its_end(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.incoming.is_end_stream() {
            self.read.0.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The body of a reply on its way to the client: who asks for the next part has taken the one before. It is handed over
/// in pieces, so that what is kept of it is known.
pub(in crate::rest) struct Delivery {
    body: Body,
    /// What is left of a part that was too long for one piece.
    rest: Bytes,
    /// The piece that waits to be taken.
    offer: Option<u64>,
    in_flight: InFlight,
}

impl Delivery {
    pub(in crate::rest) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { body, rest: Bytes::new(), offer: None, in_flight }
    }

    fn taken(&mut self) {
        if let Some(offer) = self.offer.take() {
            self.in_flight.activity.taken(offer);
        }
    }

    /// The first piece of what came, which keeps the rest from being freed no longer than it has to.
    fn piece_of(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(data) if data.len() > LARGE_BYTES => {
                self.rest = data;
                Frame::data(self.next_piece())
            }
            Ok(data) => Frame::data(data),
            Err(other) => other,
        }
    }

    fn next_piece(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.rest.len().min(LARGE_BYTES));
        Bytes::copy_from_slice(&piece)
    }
}

impl HttpBody for Delivery {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.taken();
        let polled = if self.rest.is_empty() {
            Pin::new(&mut self.body).poll_frame(context).map_ok(|frame| self.piece_of(frame))
        } else {
            Poll::Ready(Some(Ok(Frame::data(self.next_piece()))))
        };
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            self.offer = Some(self.in_flight.activity.offer());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.taken();
    }
}
