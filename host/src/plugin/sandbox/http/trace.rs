//! The requests of a run, as lines in its job's trace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::datasvc::{JobLog, PluginName};
use crate::outbound::{Error, Request};

/// How a request ends that nobody waits for any more.
const INTERRUPTED: &str = "interrupted";

/// Knows the requests that have no answer yet, so that those which never get one are in the trace, too.
pub(super) struct RequestTrace {
    log: JobLog,
    plugin: PluginName,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    requests: HashMap<u64, OpenRequest>,
    count: u64,
}

struct OpenRequest {
    call: String,
    target: String,
    began: Instant,
}

/// A request without an answer. Once it is dropped, it gets none.
pub(super) struct Traced {
    trace: Arc<RequestTrace>,
    number: u64,
}

impl Traced {
    /// Adds the line of a request that has its answer, unless the run has ended.
    pub(super) fn end(self, outcome: &str) {
        self.trace.end(self.number, outcome);
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.trace.end(self.number, INTERRUPTED);
    }
}

impl RequestTrace {
    pub(super) fn new(log: JobLog, plugin: PluginName) -> Self {
        Self { log, plugin, open: Mutex::default() }
    }

    /// Notes that a request begins. Of the URL it is the server that is traced: the rest may hold secrets.
    pub(super) fn begin<B>(self: &Arc<Self>, request: &Request<B>) -> Traced {
        let uri = request.uri();
        let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
        let request = OpenRequest {
            call: format!("http.{}", request.method()),
            target: format!("{}://{}{port}", uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default()),
            began: Instant::now(),
        };
        let mut open = self.lock();
        open.count += 1;
        let number = open.count;
        open.requests.insert(number, request);
        Traced { trace: self.clone(), number }
    }

    /// Only the first end counts.
    fn end(&self, number: u64, outcome: &str) {
        let ended = self.lock().requests.remove(&number);
        if let Some(request) = ended {
            self.add(request, outcome);
        }
    }

    /// Adds lines for all requests that are still without one, because the run ends.
    pub(super) fn interrupt(&self) {
        for request in std::mem::take(&mut self.lock().requests).into_values() {
            self.add(request, INTERRUPTED);
        }
    }

    fn add(&self, OpenRequest { call, target, began }: OpenRequest, outcome: &str) {
        self.log.trace_call(&self.plugin, call, &target, outcome.to_owned(), began.elapsed());
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How it failed, in the words of the data services' errors.
pub(super) fn case(error: &Error) -> &'static str {
    match error {
        Error::BadUrl(_) | Error::Tunnel => "invalid",
        Error::NotGranted { .. } | Error::Prohibited { .. } => "denied",
        Error::NotFound { .. }
        | Error::Unreachable { .. }
        | Error::Certificate { .. }
        | Error::Tls { .. }
        | Error::Incomplete
        | Error::Protocol(_) => "unavailable",
        Error::LookupTimedOut { .. }
        | Error::ConnectTimedOut { .. }
        | Error::TimedOut(_)
        | Error::NoAnswer(_)
        | Error::Stalled(_) => "timed-out",
        Error::RequestTooLarge(_) | Error::ResponseTooLarge(_) | Error::HeadTooLarge => "limit-exceeded",
        Error::RequestBody(_) => "other",
    }
}
