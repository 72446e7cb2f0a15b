//! Requests to outside servers: every URL that comes from a user or a plugin is requested here.
//!
//! Knows neither plugins nor the data services: a caller says what to send, how far it may go ([`Reach`]) and what it
//! may cost ([`RequestLimits`]). A name is looked up once, and the address that is connected to is one that was
//! checked: a private one is reached only where a [`Destination`] says so. Redirects are answers like any other: a
//! caller that follows one makes a new request, which is checked again. TLS is always verified. Proxies of the
//! environment are not used, because they would look up names themselves. Each request has a connection of its own.

mod address;
mod body;
mod connect;
mod destination;
mod error;
mod tls;

use std::error::Error as StdError;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Limited;
use hyper::Method;
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use self::connect::{Connector, Resolve};
use self::destination::Target;

pub use self::body::ResponseBody;
pub use self::connect::RequestPermit;
pub use self::destination::{Destination, Reach, check_url, is_inside, may_be_named};
pub use self::error::Error;
pub use self::tls::{SetupError, provide_cryptography};
pub use hyper::{Request, Response};

/// What a response's status line and headers may have in bytes, and what of its body waits in memory.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// What one request may cost.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Until it is connected: to look up the name, and to agree on TLS.
    pub connect: Duration,
    /// From then on, until the response begins.
    pub first_byte: Duration,
    /// While nothing of the response comes in.
    pub between_bytes: Duration,
    /// From its beginning to the end of the response.
    pub total: Duration,
    /// Of the request's body.
    pub request_bytes: u64,
    /// Of the response's body.
    pub response_bytes: u64,
}

/// Sends requests. Cheap to clone.
#[derive(Clone)]
pub struct Outbound(Arc<Connector>);

impl Outbound {
    /// Trusts the certificate authorities of the platform, and those in the PEM file.
    ///
    /// # Errors
    /// [`SetupError`] if the file cannot be used.
    pub fn new(authorities: Option<&Path>) -> Result<Self, SetupError> {
        Self::with_resolver(authorities, connect::system_resolver())
    }

    fn with_resolver(authorities: Option<&Path>, resolve: Resolve) -> Result<Self, SetupError> {
        Ok(Self(Arc::new(Connector::new(resolve, tls::connector(authorities)?))))
    }

    /// The addresses of a host that may be connected to, for a program that connects by itself and is to be given one of
    /// them.
    ///
    /// # Errors
    /// [`Error`] if there is none.
    pub async fn addresses(
        &self,
        host: &str,
        port: u16,
        reach: Reach<'_>,
        within: Duration,
        permit: &RequestPermit,
    ) -> Result<Vec<IpAddr>, Error> {
        let target = Target::named(host, port)?;
        self.0.find(&target, &reach, permit, Instant::now() + within).await
    }

    /// Sends a request to the host and port of its absolute URL, and returns when the response begins. The header
    /// `Host` is set here.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn send<B>(
        &self,
        mut request: Request<B>,
        reach: Reach<'_>,
        limits: RequestLimits,
        permit: &RequestPermit,
    ) -> Result<Response<ResponseBody>, Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let deadline = Instant::now() + limits.total;
        let target = Target::of(request.uri())?;
        if request.method() == Method::CONNECT {
            return Err(Error::Tunnel);
        }
        if !reach.includes(&target) {
            return Err(Error::NotGranted { to: target.to_string() });
        }
        if request.body().size_hint().lower() > limits.request_bytes {
            return Err(Error::RequestTooLarge(limits.request_bytes));
        }
        address_to(&mut request, &target)?;

        let connected = deadline.min(Instant::now() + limits.connect);
        let stream = self.0.connect(&target, &reach, permit, connected).await?;
        let exchange = |cause| Error::exchange(cause, limits.request_bytes);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_BUFFER_BYTES)
            .max_header_size(MAX_BUFFER_BYTES)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(exchange)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // What goes wrong is told to those who wait for the response and read its body.
            let _ = timeout_at(deadline, connection).await;
        }));

        let request_bytes = usize::try_from(limits.request_bytes).unwrap_or(usize::MAX);
        let request = request.map(|body| Limited::new(body, request_bytes));
        let begun = deadline.min(Instant::now() + limits.first_byte);
        let response = match timeout_at(begun, sender.send_request(request)).await {
            Ok(response) => response.map_err(exchange),
            Err(_) => Err(Error::NoAnswer(limits.first_byte)),
        };
        // Also if the connection was closed because time is up.
        if Instant::now() >= deadline {
            return Err(Error::TimedOut(limits.total));
        }
        let response = response?;
        if response.body().size_hint().lower() > limits.response_bytes {
            return Err(Error::ResponseTooLarge(limits.response_bytes));
        }
        Ok(response.map(|body| ResponseBody::new(body, limits, deadline, connection)))
    }
}

/// Makes of the URL what a server is asked for, and of its host the header that says which of its sites is meant.
fn address_to<B>(request: &mut Request<B>, target: &Target) -> Result<(), Error> {
    let host = HeaderValue::try_from(target.host_header()).map_err(|_| Error::BadUrl("its host cannot be sent"))?;
    request.headers_mut().insert(HOST, host);
    let path = match request.uri().path_and_query().map(PathAndQuery::as_str) {
        Some(path) if path.starts_with('/') => path.to_owned(),
        // A query without a path.
        path => format!("/{}", path.unwrap_or_default()),
    };
    *request.uri_mut() = path.parse().map_err(|_| Error::BadUrl("its path cannot be sent"))?;
    Ok(())
}

#[cfg(test)]
mod tests;
