//! The body of a response as it comes in, within its limits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::Limited;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::RequestLimits;
use super::error::Error;

/// A response's body. The connection is read only as fast as this is, and closed when it is dropped.
pub struct ResponseBody {
    incoming: Limited<Incoming>,
    limits: RequestLimits,
    /// When the whole request ends.
    deadline: Instant,
    /// Runs out when nothing has come in for too long.
    patience: Pin<Box<Sleep>>,
    _connection: AbortOnDropHandle<()>,
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        limits: RequestLimits,
        deadline: Instant,
        connection: AbortOnDropHandle<()>,
    ) -> Self {
        Self {
            incoming: Limited::new(incoming, usize::try_from(limits.response_bytes).unwrap_or(usize::MAX)),
            limits,
            deadline,
            patience: Box::pin(sleep_until(deadline.min(Instant::now() + limits.between_bytes))),
            _connection: connection,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.incoming).poll_frame(context);
        // When time is up the connection is closed, and a body that ends with its connection looks complete then.
        if Instant::now() >= this.deadline {
            return Poll::Ready(Some(Err(Error::TimedOut(this.limits.total))));
        }
        let Poll::Ready(frame) = polled else {
            ready!(this.patience.as_mut().poll(context));
            let whole = this.patience.deadline() >= this.deadline;
            let error =
                if whole { Error::TimedOut(this.limits.total) } else { Error::Stalled(this.limits.between_bytes) };
            return Poll::Ready(Some(Err(error)));
        };
        this.patience.as_mut().reset(this.deadline.min(Instant::now() + this.limits.between_bytes));
        Poll::Ready(frame.map(|frame| frame.map_err(|cause| Error::body(cause, this.limits.response_bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
