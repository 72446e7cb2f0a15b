//! The functions that plugins import: one file for each interface. Each function parses, calls and converts.

mod actions;
mod applications;
mod builds;
mod deployments;
mod git_providers;
mod git_repos;
mod gitdeploys;
mod groups;
pub(super) mod http;
mod jobs;
mod log;
mod package_maps;
pub(crate) mod packages;
mod remote;
mod salt;
mod servers;

use std::ops::Deref;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use wasmtime_wasi::ResourceTableError;

use super::bindings::elita::plugin::types;
use super::json;
use super::sandbox::error::Exceeded;
use super::sandbox::instance::{GuestRun, GuestState};
use crate::datasvc::{Attributes, Error, Listed, Page, Patch, check_integers, plainly};

/// How many jobs a run may start.
const MAX_STARTED: u32 = 100;

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
    /// The guest has no such handle, or too many.
    #[error(transparent)]
    Handle(#[from] ResourceTableError),
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

/// A case of the guest's `error`: its name in `types.wit`, and what makes it of a message.
type Case = (&'static str, fn(String) -> types::Error);

const INVALID: Case = ("invalid", types::Error::Invalid);
const DENIED: Case = ("denied", types::Error::Denied);
const LIMIT_EXCEEDED: Case = ("limit-exceeded", types::Error::LimitExceeded);
const UNAVAILABLE: Case = ("unavailable", types::Error::Unavailable);

impl HostError {
    /// Which case it is for the guest.
    fn case(&self) -> Case {
        match self {
            Self::TimedOut { .. } => ("timed-out", types::Error::TimedOut),
            Self::Exceeded(_) | Self::Handle(_) => LIMIT_EXCEEDED,
            Self::WhileRegistering { .. } => DENIED,
            Self::Refused(error) => match error {
                Error::NotFound { .. } => ("not-found", types::Error::NotFound),
                Error::AlreadyExists { .. } => ("already-exists", types::Error::AlreadyExists),
                Error::Invalid { .. } | Error::Faults(_) | Error::MissingParameters { .. } => INVALID,
                Error::TooLarge { .. } | Error::TooMany { .. } | Error::LogFull { .. } | Error::Throttled { .. } => {
                    LIMIT_EXCEEDED
                }
                Error::Conflict { .. } | Error::Changed { .. } | Error::KeyReused { .. } => {
                    ("conflict", types::Error::Conflict)
                }
                Error::Denied { .. } | Error::WrongPassword | Error::InvalidToken => DENIED,
                Error::Unavailable(_) => UNAVAILABLE,
                Error::Internal(_) => ("other", types::Error::Other),
            },
        }
    }
}

impl types::Host for GuestState {
    fn convert_error(&mut self, error: HostError) -> wasmtime::Result<types::Error> {
        match &error {
            HostError::Exceeded(limit) => return Err((*limit).into()),
            HostError::Handle(ResourceTableError::Full) => return Err(Exceeded::Handles.into()),
            HostError::Handle(_) | HostError::WhileRegistering { .. } => return Err(error.into()),
            HostError::Refused(Error::Unavailable(cause)) => {
                tracing::warn!("a plugin's call found the database away: {cause}");
            }
            HostError::Refused(Error::Internal(cause)) => {
                tracing::error!("a plugin's call failed by a fault of the host: {cause}");
            }
            HostError::Refused(_) | HostError::TimedOut { .. } => {}
        }
        let (_, of_message) = error.case();
        Ok(of_message(error.to_string()))
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
    let json = json::parse(text).and_then(|json| check_integers(json.get()).map(|()| json));
    let json = json.map_err(|reason| Error::invalid(argument, reason))?;
    serde_json::from_str(json.get()).map_err(|error| Error::invalid(argument, plainly(&error.to_string())))
}

fn attributes(text: String) -> Result<Attributes, Error> {
    from_json("attributes", text)
}

/// A merge patch.
fn change(text: String) -> Result<Patch, Error> {
    from_json("change", text).map(Patch::of)
}

impl GuestState {
    /// The run that this call belongs to.
    ///
    /// # Errors
    /// [`HostError::WhileRegistering`] if there is no run.
    fn run(&self, op: &'static str) -> Result<&GuestRun, HostError> {
        self.run.as_ref().ok_or(HostError::WhileRegistering { op })
    }

    /// A call of the data services, about what has these names.
    ///
    /// # Errors
    /// [`HostError::WhileRegistering`].
    fn call(&self, op: &'static str, target: &[&str]) -> Result<Call<'_>, HostError> {
        let run = self.run(op)?;
        // Unless it gets to its work, its arguments cannot be right.
        let outcome = Mutex::new(INVALID.0);
        Ok(Call { run, op, target: target.join("/"), began: Instant::now(), outcome })
    }
}

/// A call of the data services. When it is over, however it ends, it is a line in the job's trace.
struct Call<'r> {
    run: &'r GuestRun,
    op: &'static str,
    target: String,
    began: Instant,
    outcome: Mutex<&'static str>,
}

impl Deref for Call<'_> {
    type Target = GuestRun;

    fn deref(&self) -> &GuestRun {
        self.run
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let outcome = *self.outcome.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.run.log.trace_call(&self.run.plugin, self.op, &self.target, outcome, self.began.elapsed());
    }
}

impl Call<'_> {
    /// Counts a job that the run starts.
    ///
    /// # Errors
    /// [`Error::Conflict`] once its job was asked to stop; [`Error::TooMany`] if it has started as many as it may.
    fn starts_a_job(&self) -> Result<(), Error> {
        if (self.cancel_requested)() {
            return Err(Error::conflict("the job was asked to stop, so it may not start other jobs"));
        }
        if self.started.fetch_add(1, Ordering::Relaxed) >= MAX_STARTED {
            return Err(Error::TooMany { what: "jobs started by one run", limit: MAX_STARTED });
        }
        Ok(())
    }

    /// Does the call's work, as [`GuestRun::timed`].
    async fn timed<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, HostError> {
        self.comes_to("interrupted");
        let done = self.run.timed(self.op, work).await;
        self.comes_to(done.as_ref().map_or_else(|error| error.case().0, |_| "ok"));
        done
    }

    /// The same, as [`GuestRun::lasting`].
    async fn lasting<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, HostError> {
        self.comes_to("interrupted");
        let done = self.run.lasting(work).await.map_err(HostError::from);
        self.comes_to(done.as_ref().map_or_else(|error| error.case().0, |_| "ok"));
        done
    }

    fn comes_to(&self, outcome: &'static str) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}

impl GuestRun {
    /// Does the call's work within the time that a host call may take. While the database is away that time stands
    /// still: a call begins only when it is certain that the job is still this run's, and one that is under way goes on
    /// as long as that is not known again.
    async fn timed<T>(&self, op: &'static str, work: impl Future<Output = Result<T, Error>>) -> Result<T, HostError> {
        let limit = self.host_call_limit;
        let mut work = pin!(work);
        self.lease.confirmed().await;
        loop {
            match tokio::time::timeout(limit, &mut work).await {
                Ok(done) => return Ok(done?),
                Err(_) if self.lease.holds() => return Err(HostError::TimedOut { op, limit }),
                Err(_) => self.lease.confirmed().await,
            }
        }
    }

    /// Does work that may take as long as the run, such as waiting for the database to take what was recorded before;
    /// not before it is certain that the job is still this run's.
    async fn lasting<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.lease.confirmed().await;
        work.await
    }
}
