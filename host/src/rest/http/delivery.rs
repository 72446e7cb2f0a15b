//! Bodies in transit: for a request, whether all of it was read; for a reply, how much of it the client has read.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::connection::InFlight;

/// The longest piece of a reply that is handed over at once, in bytes. A reply of more takes room while it is sent.
pub(in crate::rest) const LARGE_BYTES: usize = 64 * 1024;

/// How much of a body is thrown away after its request was refused, in bytes, and for how long: what a client sends
/// beyond that, it may send in vain.
const MAX_DRAINED_BYTES: usize = 256 * 1024 * 1024;
const DRAINED_WITHIN: Duration = Duration::from_secs(30);

/// Whether the body of a request was read to its end.
#[derive(Clone)]
pub(in crate::rest) struct Read(Arc<AtomicBool>);

/// The body of a request, which says when it was read to its end. What is left of it when it is dropped is read and
/// thrown away: many clients look for the reply only once they have sent all, and lose it if the connection is closed
/// before.
struct Watched {
    /// None: it was dropped.
    incoming: Option<Incoming>,
    read: Read,
    /// Whether the client sends the rest without being asked for it.
    is_coming: bool,
}

impl Read {
    /// That of a request with this body, twice: for who reads it and for who asks.
    pub(in crate::rest) fn of(incoming: &Incoming) -> (Self, Self) {
        let read = Self(Arc::new(AtomicBool::new(incoming.is_end_stream())));
        (read.clone(), read)
    }

    /// The body as handlers get it.
    ///
    /// `is_coming`: whether the client sends it without being asked for it, so that no next request can come before.
    pub(in crate::rest) fn watch(self, incoming: Incoming, is_coming: bool) -> Body {
        match self.to_its_end() {
            true => Body::new(incoming),
            false => Body::new(Watched { incoming: Some(incoming), read: self, is_coming }),
        }
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
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *incoming).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || incoming.is_end_stream() {
            self.read.0.store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(SizeHint::default, Incoming::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let rest = self.incoming.take().filter(|_| self.is_coming && !self.read.to_its_end());
        if let (Some(rest), Ok(runtime)) = (rest, Handle::try_current()) {
            runtime.spawn(timeout(DRAINED_WITHIN, drain(rest)));
        }
    }
}

/// Reads a body to its end, or up to a bound, and throws it away.
async fn drain(mut body: Incoming) {
    let mut left = MAX_DRAINED_BYTES;
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
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
