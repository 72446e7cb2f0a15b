//! Why a request got no answer, each reason in a sentence of its own.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio_rustls::rustls::{self, CertificateError};
use url::Url;

use crate::exit::Code;
use crate::failure::{Failure, without_number};

/// A request without an answer.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
    /// Whether the server certainly knows nothing of the request.
    pub(crate) was_not_sent: bool,
    /// Whether the next try may be luckier.
    pub(crate) may_pass: bool,
}

impl Broken {
    /// What an error of the connection means; `proxy` is what it was to go through.
    pub(super) fn of(base: &Url, proxy: Option<&str>, error: &(dyn Error + 'static), was_not_sent: bool) -> Self {
        let (mut causes, mut next) = (Vec::new(), Some(error));
        while let Some(cause) = next {
            causes.push(cause);
            next = beneath(cause);
        }
        let tls = causes.iter().find_map(|cause| cause.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls {
            return Self::of_tls(base, proxy, tls);
        }
        let kind = causes.iter().find_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
        let text: Vec<_> = causes.iter().map(ToString::to_string).collect();
        let last = text.last().map_or("", |last| without_number(last));
        let unknown = text.iter().any(|cause| cause.contains("dns error"));
        let (what, hint) = match kind {
            // Before the request is sent it is the proxy that something is wrong with: it, or what it says of the server.
            _ if was_not_sent && let Some(proxy) = proxy => {
                let why = match kind {
                    _ if unknown => "its host name is not known",
                    Some(ErrorKind::ConnectionRefused) => "it refused the connection",
                    Some(ErrorKind::TimedOut) => "it does not answer",
                    _ if last.contains("authorization required") => "it wants a user and a password",
                    _ if last.contains("unsuccessful") => "it does not lead there",
                    _ => last,
                };
                (
                    format!("{base} cannot be reached through the proxy {proxy}: {why}"),
                    Some("check HTTPS_PROXY and HTTP_PROXY, or except this server with NO_PROXY"),
                )
            }
            _ if unknown => {
                (format!("the host name of {base} is not known"), Some("check the address: elita context show"))
            }
            Some(ErrorKind::ConnectionRefused) => (
                format!("nothing answers at {base}: the connection was refused"),
                Some("is the server running? elita doctor looks for reasons"),
            ),
            Some(ErrorKind::TimedOut) => {
                (format!("{base} cannot be reached: it does not answer"), Some("elita doctor"))
            }
            _ => (format!("the connection to {base} broke off: {last}"), None),
        };
        Self { what, hint: hint.map(Into::into), was_not_sent, may_pass: !unknown }
    }

    /// What a failed handshake means.
    fn of_tls(base: &Url, proxy: Option<&str>, error: &rustls::Error) -> Self {
        let (why, hint) = match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => (
                "its certificate is signed by itself, or by an authority that this machine does not know",
                "name the authority's file as `ca_file` in the context, or with --ca-file",
            ),
            rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                ("its certificate has expired", "renew it; or is this machine's clock right? elita doctor")
            }
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            ) => ("its certificate is not valid yet", "is this machine's clock right? elita doctor"),
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => ("its certificate is for another host name", "use the name that the certificate is for"),
            rustls::Error::InvalidMessage(_) => {
                ("it does not speak TLS", "use http:// if that is what it speaks, on this machine or with --plain-http")
            }
            _ => ("TLS failed", "elita doctor"),
        };
        // A proxy that reads along shows a certificate of its own.
        let through = proxy.map(|proxy| format!(" (through the proxy {proxy})")).unwrap_or_default();
        let what = format!("{base} is not trusted: {why}{through}");
        Self { what, hint: Some(hint.into()), was_not_sent: true, may_pass: false }
    }

    /// No answer in time.
    pub(super) fn silent(base: &Url, proxy: Option<&str>, within: Duration) -> Self {
        let through = proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
        let what = format!("{base} did not answer within {} s{through}", within.as_secs());
        Self { what, hint: Some("elita doctor".into()), was_not_sent: false, may_pass: true }
    }

    /// What cannot be sent at all.
    pub(super) fn unusable(base: &Url, error: &dyn Error) -> Self {
        let what = format!("the request to {base} cannot be made: {error}");
        Self { what, hint: None, was_not_sent: true, may_pass: false }
    }
}

/// What an error was caused by. What is inside an error of the connection, such as one of TLS, is not among its sources.
fn beneath<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Self { hint: broken.hint, ..Self::new(Code::Unreachable, broken.what) }
    }
}
