//! The wasm door: one file for each imported interface, each function of which parses, calls and converts.

mod actions;
mod applications;
mod builds;
mod git_providers;
mod git_repos;
mod gitdeploys;
mod groups;
mod jobs;
mod log;
mod package_maps;
mod servers;

use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::bindings::elita::plugin::types;
use super::error::Exceeded;
use super::instance::{GuestState, Run};
use super::json;
use crate::datasvc::{Attributes, Error, Listed, Page, Patch};

/// Why a host call did not do what was asked. Most reach the guest as a value; the rest end the run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    /// The data services said no.
    #[error(transparent)]
    Refused(#[from] Error),
    /// The call took longer than a host call may.
    #[error("{op} did not answer within {limit:?}")]
    TimedOut {
        /// The call.
        op: &'static str,
        /// How long it was given.
        limit: Duration,
    },
    /// The database was away for so long that the job may have been given to another host.
    #[error("{op} waited {limit:?} for the database, which does not answer")]
    Unconfirmed {
        /// The call.
        op: &'static str,
        /// How long it waited.
        limit: Duration,
    },
    /// The run passed a limit by this call.
    #[error(transparent)]
    Exceeded(#[from] Exceeded),
    /// The plugin was asked what it registers, and called the host.
    #[error("it called {op} while it was registering; only WASI may be called then")]
    WhileRegistering {
        /// The call.
        op: &'static str,
    },
}

impl HostError {
    /// The case of the error that the guest gets, by its name in `types.wit`.
    fn case(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "timed-out",
            Self::Unconfirmed { .. } => "unavailable",
            Self::Exceeded(_) => "limit-exceeded",
            Self::WhileRegistering { .. } => "denied",
            Self::Refused(error) => match error {
                Error::NotFound { .. } => "not-found",
                Error::AlreadyExists { .. } => "already-exists",
                Error::Invalid { .. } | Error::MissingParameters { .. } => INVALID,
                Error::TooLarge { .. } | Error::TooMany { .. } | Error::LogFull { .. } | Error::Throttled { .. } => {
                    "limit-exceeded"
                }
                Error::Conflict { .. } | Error::Changed { .. } | Error::KeyReused { .. } => "conflict",
                Error::Denied { .. } | Error::WrongPassword | Error::InvalidToken => "denied",
                Error::Unavailable(_) => "unavailable",
                Error::Internal(_) => "other",
            },
        }
    }
}

impl types::Host for GuestState {
    fn convert_error(&mut self, error: HostError) -> wasmtime::Result<types::Error> {
        let error = match error {
            HostError::Refused(error) => error,
            HostError::TimedOut { .. } => return Ok(types::Error::TimedOut(error.to_string())),
            HostError::Unconfirmed { .. } => return Ok(types::Error::Unavailable(error.to_string())),
            HostError::Exceeded(limit) => return Err(limit.into()),
            HostError::WhileRegistering { .. } => return Err(error.into()),
        };
        let message = error.to_string();
        Ok(match error {
            Error::NotFound { .. } => types::Error::NotFound(message),
            Error::AlreadyExists { .. } => types::Error::AlreadyExists(message),
            Error::Invalid { .. } | Error::MissingParameters { .. } => types::Error::Invalid(message),
            Error::TooLarge { .. } | Error::TooMany { .. } | Error::LogFull { .. } | Error::Throttled { .. } => {
                types::Error::LimitExceeded(message)
            }
            Error::Conflict { .. } | Error::Changed { .. } | Error::KeyReused { .. } => types::Error::Conflict(message),
            Error::Denied { .. } | Error::WrongPassword | Error::InvalidToken => types::Error::Denied(message),
            Error::Unavailable(cause) => {
                tracing::warn!("a plugin's call found the database away: {cause}");
                types::Error::Unavailable(message)
            }
            Error::Internal(cause) => {
                tracing::error!("a plugin's call failed by a fault of the host: {cause}");
                types::Error::Other(message)
            }
        })
    }
}

/// Which part of a list a guest asks for.
fn page(page: types::Page) -> Result<Page, Error> {
    let types::Page { after, limit } = page;
    Page::new(after, limit)
}

/// The names of what is listed.
fn names<T>(listed: Listed<T>, name: impl Fn(&T) -> String) -> types::Names {
    types::Names { items: listed.items.iter().map(name).collect(), next: listed.next }
}

/// An argument that is JSON, as what it has to be.
fn from_json<T: DeserializeOwned>(argument: &'static str, text: String) -> Result<T, Error> {
    let json = json::parse(text).map_err(|reason| Error::invalid(argument, reason))?;
    serde_json::from_str(json.get()).map_err(|error| Error::invalid(argument, error.to_string()))
}

fn attributes(text: String) -> Result<Attributes, Error> {
    from_json("attributes", text)
}

/// A merge patch.
fn change(text: String) -> Result<Patch, Error> {
    from_json("change", text).map(Patch::Merge)
}

impl GuestState {
    /// The run that this call belongs to.
    ///
    /// # Errors
    /// [`HostError::WhileRegistering`] if there is none.
    fn run(&self, op: &'static str) -> Result<&Run, HostError> {
        self.run.as_ref().ok_or(HostError::WhileRegistering { op })
    }

    /// A call of the data services, about what has these names.
    ///
    /// # Errors
    /// [`HostError::WhileRegistering`].
    fn call(&self, op: &'static str, target: &[&str]) -> Result<Call<'_>, HostError> {
        let run = self.run(op)?;
        Ok(Call { run, op, target: target.join("/"), began: Instant::now(), outcome: Mutex::new(INVALID) })
    }
}

/// What a call comes to whose arguments cannot be right, so that it never gets to its work.
const INVALID: &str = "invalid";

/// A call of the data services. When it is over, however it ends, it is a line in the job's trace.
struct Call<'r> {
    run: &'r Run,
    op: &'static str,
    target: String,
    began: Instant,
    outcome: Mutex<&'static str>,
}

impl Deref for Call<'_> {
    type Target = Run;

    fn deref(&self) -> &Run {
        self.run
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let outcome = *self.outcome.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.run.log.trace_call(self.op, &self.target, outcome, self.began.elapsed());
    }
}

impl Call<'_> {
    /// Does the call's work, as [`Run::timed`].
    async fn timed<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, HostError> {
        self.comes_to("interrupted");
        let done = self.run.timed(self.op, work).await;
        self.comes_to(done.as_ref().map_or_else(HostError::case, |_| "ok"));
        done
    }

    fn comes_to(&self, outcome: &'static str) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}

impl Run {
    /// Does the call's work within the time that a host call may take; not before it is certain that the job is
    /// still this run's.
    async fn timed<T>(&self, op: &'static str, work: impl Future<Output = Result<T, Error>>) -> Result<T, HostError> {
        let limit = self.host_call_limit;
        let held = async {
            self.lease.confirmed().await;
            work.await
        };
        match tokio::time::timeout(limit, held).await {
            Ok(done) => Ok(done?),
            Err(_) if !self.lease.holds() => Err(HostError::Unconfirmed { op, limit }),
            Err(_) => Err(HostError::TimedOut { op, limit }),
        }
    }
}
