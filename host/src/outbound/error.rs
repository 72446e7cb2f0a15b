//! How a request can fail.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use http_body_util::LengthLimitError;
use tokio_rustls::rustls;

/// Why there is no response, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be requested.
    #[error("the URL cannot be used: {0}")]
    BadUrl(&'static str),
    /// CONNECT would make a tunnel to anywhere.
    #[error("the method CONNECT is not offered")]
    Tunnel,
    /// The host and port are not granted.
    #[error("{to} is not granted")]
    NotGranted {
        /// Host and port.
        to: String,
    },
    /// The name leads to no address that it may lead to.
    #[error("{to} leads to an address that is not granted")]
    Prohibited {
        /// Host and port.
        to: String,
    },
    /// The name was not found.
    #[error("{to} was not found: {cause}")]
    NotFound {
        /// Host and port.
        to: String,
        /// What the resolver said.
        cause: io::Error,
    },
    /// Looking up the name took too long.
    #[error("{to} was not found in time")]
    LookupTimedOut {
        /// Host and port.
        to: String,
    },
    /// Nobody listens there, or nobody can be reached.
    #[error("{to} cannot be connected to: {cause}")]
    Unreachable {
        /// Host and port.
        to: String,
        /// What the system said.
        cause: io::Error,
    },
    /// Connecting took too long.
    #[error("{to} could not be connected to in time")]
    ConnectTimedOut {
        /// Host and port.
        to: String,
    },
    /// The server's certificate is not one for this host from an authority that we trust.
    #[error("{to} has no certificate that is trusted: {cause}")]
    Certificate {
        /// Host and port.
        to: String,
        /// What is wrong with it.
        cause: rustls::CertificateError,
    },
    /// The server does not speak TLS as it should.
    #[error("{to} cannot be reached by TLS: {cause}")]
    Tls {
        /// Host and port.
        to: String,
        /// What went wrong.
        cause: io::Error,
    },
    /// The whole took too long.
    #[error("the request did not end within {0:?}")]
    TimedOut(Duration),
    /// The response did not begin in time.
    #[error("the response did not begin within {0:?}")]
    NoAnswer(Duration),
    /// The response went on too slowly.
    #[error("the response did not go on for {0:?}")]
    Stalled(Duration),
    /// The request's body is larger than it may be.
    #[error("the request's body has more than {0} bytes")]
    RequestTooLarge(u64),
    /// The response's body is larger than it may be.
    #[error("the response's body has more than {0} bytes")]
    ResponseTooLarge(u64),
    /// The response's status line and headers are larger than they may be.
    #[error("the response's headers are too large")]
    HeadTooLarge,
    /// The request's body ended before it was complete.
    #[error("the request's body is not complete: {0}")]
    RequestBody(String),
    /// The connection ended before the response was complete.
    #[error("the connection ended before the response did")]
    Incomplete,
    /// What the server says is not HTTP.
    #[error("the server does not speak HTTP as it should: {0}")]
    Protocol(hyper::Error),
}

impl Error {
    /// Why TLS was not agreed on.
    pub(super) fn tls(to: String, cause: io::Error) -> Self {
        match cause.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(cause)) => Self::Certificate { to, cause: cause.clone() },
            _ => Self::Tls { to, cause },
        }
    }

    /// Why the connection failed while a request was under way whose body may have so many bytes.
    pub(super) fn exchange(cause: hyper::Error, request_bytes: u64) -> Self {
        if cause.is_parse_too_large() {
            return Self::HeadTooLarge;
        }
        if cause.is_user() {
            return match cause.source() {
                Some(inner) if inner.is::<LengthLimitError>() => Self::RequestTooLarge(request_bytes),
                Some(inner) => Self::RequestBody(inner.to_string()),
                None => Self::RequestBody(cause.to_string()),
            };
        }
        if cause.is_parse() { Self::Protocol(cause) } else { Self::Incomplete }
    }

    /// Why a response's body ended, which may have so many bytes.
    pub(super) fn body(cause: Box<dyn StdError + Send + Sync>, response_bytes: u64) -> Self {
        match cause.downcast::<hyper::Error>() {
            Ok(cause) if cause.is_parse_too_large() => Self::HeadTooLarge,
            Ok(cause) if cause.is_parse() => Self::Protocol(*cause),
            Ok(_) => Self::Incomplete,
            // The only other one is that of the limit.
            Err(_) => Self::ResponseTooLarge(response_bytes),
        }
    }
}
