//! What hyper answers by itself, to what is not a request: a bare status. On its way out it becomes a problem document, as
//! every other refusal is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::HeaderMap;
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Activity;
use super::front;
use super::problem::{PROBLEM_JSON, Problem, ProblemCode};

/// A connection on which hyper's own refusals are told from replies.
pub(in crate::rest) struct Explained<S> {
    stream: S,
    activity: Arc<Activity>,
    /// What is to be sent instead of what hyper has written, and how long that was.
    instead: Option<(Bytes, usize)>,
}

impl<S> Explained<S> {
    pub(in crate::rest) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, instead: None }
    }
}

impl<S: AsyncWrite + Unpin> Explained<S> {
    /// Sends a refusal in full, and says that so much as hyper wrote is sent.
    fn send_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some((rest, written)) = &mut self.instead {
            if rest.is_empty() {
                let written = *written;
                self.instead = None;
                return Poll::Ready(Ok(written));
            }
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            rest.advance(sent);
        }
        Poll::Ready(Ok(0))
    }
}

/// The problem document for a head that hyper has written itself. None: it is that of a reply.
fn explained(head: &[u8]) -> Option<Bytes> {
    let head = std::str::from_utf8(head).ok().filter(|head| head.starts_with("HTTP/1.1 4"))?;
    let is_bare = head.ends_with("\r\n\r\n") && head.matches("\r\n\r\n").count() == 1 && head.len() < 512;
    if !is_bare || !head.contains("content-length: 0\r\n") || head.contains("x-request-id") {
        return None;
    }
    let (code, detail) = match head.get(9..12)? {
        "400" => {
            (ProblemCode::Malformed, "this is not an HTTP request that can be read; is it meant for another port?")
        }
        "414" => (ProblemCode::UriTooLong, "the URI is too long to be read"),
        "431" => (ProblemCode::HeadersTooLarge, "the header fields are too long or too many to be read"),
        _ => return None,
    };
    let problem = Problem::new(code, detail);
    let id = front::id_of(&HeaderMap::new());
    let mut document = serde_json::to_vec(&problem.into_document(id.to_string())).ok()?;
    document.push(b'\n');
    let length =
        format!("content-type: {PROBLEM_JSON}\r\nx-request-id: {id}\r\ncontent-length: {}\r\n", document.len());
    let head = head.replacen("content-length: 0\r\n", &length, 1);
    Some([head.into_bytes(), document].concat().into())
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.instead.is_none() && self.activity.has_no_request() {
            self.instead = explained(bytes).map(|document| (document, bytes.len()));
        }
        match self.instead {
            Some(_) => self.send_instead(context),
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match parts {
            [only] => self.poll_write(context, only),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
