//! The requests of a run to other servers, over the guarded connector.
//!
//! Who may be asked, and what it may cost, is decided here. Whatever is denied or fails is a value, with one of the
//! error codes of `wasi:http`.

mod trace;

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use tracing::Instrument as _;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{Error as WasiError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks};

use self::trace::RequestTrace;
use super::limits::Limits;
use crate::datasvc::{Caller, JobLog, Lease, PluginName};
use crate::outbound::{Error, Outbound, Reach, Request, RequestLimits, RequestPermit, Response, ResponseBody};

/// What the headers of one request may take. A guest may have as many of them as handles.
pub(crate) const MAX_FIELDS_BYTES: usize = 32 * 1024;
/// What `fetch` of JavaScript says whatever has gone wrong.
const FETCH_FAILED: &str = "NetworkError when attempting to fetch resource";
/// How much of a request's body waits to be sent, for each of a guest's requests.
const BODY_CHUNK_BYTES: usize = 64 * 1024;

type SentRequest = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), WasiError>> + Send>), WasiError>;

/// What a run has of `wasi:http`.
pub(crate) struct Http {
    context: WasiHttpCtx,
    hooks: Hooks,
}

/// What wasmtime asks us to do. There is no sender while the plugin is asked what it registers.
struct Hooks(Option<Sender>);

/// Who sends a run's requests.
pub(crate) struct Sender {
    outbound: Outbound,
    caller: Caller,
    plugin: PluginName,
    lease: Lease,
    limits: RequestLimits,
    /// One permit for each request that may be under way.
    room: Arc<Semaphore>,
    trace: Arc<RequestTrace>,
    failed: FailedRequest,
}

/// Why the last request of a run failed that did, as a sentence.
#[derive(Clone, Default)]
pub(crate) struct FailedRequest(Arc<Mutex<Option<String>>>);

impl FailedRequest {
    fn note(&self, why: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.into());
    }

    /// A plugin's message with the reason, where it is all that JavaScript's `fetch` says of any failure.
    pub(crate) fn told(&self, message: String) -> String {
        let why = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*why {
            Some(why) if message.contains(FETCH_FAILED) => {
                message.replacen(FETCH_FAILED, &format!("{FETCH_FAILED} ({why})"), 1)
            }
            _ => message,
        }
    }
}

impl Http {
    /// Without a sender every request is denied.
    pub(crate) fn new(sender: Option<Sender>) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(MAX_FIELDS_BYTES);
        Self { context, hooks: Hooks(sender) }
    }

    /// What wasmtime does its part with.
    pub(crate) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { ctx: &mut self.context, table, hooks: &mut self.hooks }
    }
}

impl WasiHttpHooks for Hooks {
    /// The connector does that.
    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), WasiError>> + Send>,
    ) -> Box<dyn Future<Output = SentRequest> + Send> {
        match &self.0 {
            Some(sender) => Box::new(sender.send(request, options.unwrap_or_default())),
            None => Box::new(async { Err(WasiError::HttpRequestDenied) }),
        }
    }
}

impl Sender {
    /// For a run of the plugin, with what it may reach.
    pub(crate) fn new(
        limits: &Limits,
        outbound: Outbound,
        caller: Caller,
        plugin: PluginName,
        lease: Lease,
        log: JobLog,
        failed: FailedRequest,
    ) -> Self {
        let trace = Arc::new(RequestTrace::new(log, plugin.clone()));
        let room = Arc::new(Semaphore::new(limits.http_requests as usize));
        Self { outbound, caller, plugin, lease, limits: limits.http(), room, trace, failed }
    }

    fn send(
        &self,
        request: Request<WasiBody>,
        options: RequestOptions,
    ) -> impl Future<Output = SentRequest> + Send + use<> {
        let limits = within(self.limits, options);
        let permit = self.room.clone().try_acquire_owned();
        let (outbound, caller, lease) = (self.outbound.clone(), self.caller.clone(), self.lease.clone());
        let (plugin, failed) = (self.plugin.clone(), self.failed.clone());
        let traced = self.trace.begin(&request);
        let send = async move {
            let permit = permit.map_err(|_| {
                failed.note("too many requests are in progress");
                ("limit-exceeded", WasiError::ConnectionLimitReached)
            })?;
            let permit = RequestPermit::new(plugin.as_str(), permit);
            // Before the request's own time begins.
            lease.confirmed().await;
            let sent = outbound.send(request, Reach::Granted(caller.http_destinations()), limits, &permit).await;
            let response = sent.map_err(|error| {
                failed.note(error.to_string());
                (trace::case(&error), for_guest(&error))
            })?;
            // The permit is held as long as the body.
            Ok(response.map(|body: ResponseBody| {
                body.map_err(move |error| {
                    let _held = &permit;
                    failed.note(error.to_string());
                    for_guest(&error)
                })
                .boxed_unsync()
            }))
        };
        let send = async move {
            match send.await {
                Ok(response) => {
                    traced.end(response.status().as_str());
                    let nothing_left_to_do: Box<dyn Future<Output = _> + Send> = Box::new(async { Ok(()) });
                    Ok((response, nothing_left_to_do))
                }
                Err((outcome, error)) => {
                    traced.end(outcome);
                    Err(error)
                }
            }
        };
        send.in_current_span()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.trace.interrupt();
    }
}

/// What the guest asks for, where that is less than it may.
fn within(limits: RequestLimits, options: RequestOptions) -> RequestLimits {
    let RequestOptions { connect_timeout, first_byte_timeout, between_bytes_timeout } = options;
    let at_most = |asked: Option<Duration>, limit: Duration| asked.map_or(limit, |asked| asked.min(limit));
    RequestLimits {
        connect: at_most(connect_timeout, limits.connect),
        first_byte: at_most(first_byte_timeout, limits.first_byte),
        between_bytes: at_most(between_bytes_timeout, limits.between_bytes),
        ..limits
    }
}

/// What a guest is told, in the words of `wasi:http`. The sentence goes to the server's log.
fn for_guest(error: &Error) -> WasiError {
    tracing::debug!("a plugin's request failed: {error}");
    match error {
        Error::BadUrl(_) => WasiError::HttpRequestUriInvalid,
        Error::Tunnel => WasiError::HttpRequestMethodInvalid,
        Error::NotGranted { .. } => WasiError::HttpRequestDenied,
        Error::Prohibited { .. } => WasiError::DestinationIpProhibited,
        Error::NotFound { .. } => WasiError::DnsError { rcode: None, info_code: None },
        Error::LookupTimedOut { .. } => WasiError::DnsTimeout,
        Error::Unreachable { cause, .. } if cause.kind() == ErrorKind::ConnectionRefused => {
            WasiError::ConnectionRefused
        }
        Error::Unreachable { .. } => WasiError::DestinationUnavailable,
        Error::ConnectTimedOut { .. } => WasiError::ConnectionTimeout,
        Error::Certificate { .. } => WasiError::TlsCertificateError,
        Error::Tls { .. } => WasiError::TlsProtocolError,
        Error::TimedOut(_) => WasiError::HttpResponseTimeout,
        Error::NoAnswer(_) | Error::Stalled(_) => WasiError::ConnectionReadTimeout,
        Error::RequestTooLarge(limit) => WasiError::HttpRequestBodySize(Some(*limit)),
        Error::ResponseTooLarge(limit) => WasiError::HttpResponseBodySize(Some(*limit)),
        Error::HeadTooLarge => WasiError::HttpResponseHeaderSectionSize(None),
        Error::Incomplete => WasiError::HttpResponseIncomplete,
        Error::RequestBody(_) | Error::Protocol(_) => WasiError::HttpProtocolError,
    }
}
