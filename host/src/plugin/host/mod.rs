//! The wasm door: one file for each imported interface, each function of which parses, calls and converts.

mod jobs;
mod log;

use std::time::Duration;

use super::bindings::elita::plugin::types;
use super::error::Exceeded;
use super::instance::{GuestState, Run};
use crate::datasvc::Error;

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
            Error::TooLarge { .. } | Error::LogFull { .. } => types::Error::LimitExceeded(message),
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

impl GuestState {
    /// The run that this call belongs to.
    ///
    /// # Errors
    /// [`HostError::WhileRegistering`] if there is none.
    fn run(&self, op: &'static str) -> Result<&Run, HostError> {
        self.run.as_ref().ok_or(HostError::WhileRegistering { op })
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
