//! Why an action or a hook failed.

use serde_json::Value;

use crate::bindings::elita::plugin::types::Error as WitError;
use crate::bindings::exports::elita::plugin::handler::Failure;

#[cfg(test)]
mod tests;

/// What functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an action or a hook failed: a sentence for whoever looks at the job, and details if they help.
///
/// `?` makes one of every [`std::error::Error`], of a `String` and of a `&str`:
///
/// ```
/// use elita_plugin::prelude::*;
///
/// fn half(text: &str) -> Result<u32> {
///     let number: u32 = text.parse()?;
///     if number % 2 == 1 {
///         return Err(Error::new("odd numbers have no half").with_details(json!({ "number": number })));
///     }
///     Ok(number / 2)
/// }
///
/// assert_eq!(half("8").unwrap(), 4);
/// assert_eq!(half("eight").unwrap_err().to_string(), "invalid digit found in string");
/// ```
#[derive(Clone, Debug)]
pub struct Error {
    message: String,
    details: Option<Value>,
    code: Option<Code>,
}

impl Error {
    /// A failure with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), details: None, code: None }
    }

    /// A failure that is an answer of the host.
    pub(crate) fn coded(code: Code, message: impl Into<String>) -> Self {
        Self { code: Some(code), ..Self::new(message) }
    }

    /// Adds details, which are kept in the job's error.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// Why the host did not do what it was asked. `None`: the failure is not an answer of the host.
    ///
    /// ```no_run
    /// use elita_plugin::prelude::*;
    /// use elita_plugin::Code;
    ///
    /// # fn example(id: &str) -> Result<()> {
    /// match jobs::get(id) {
    ///     Ok(job) => log::info!("{} is {:?}", job.name, job.status),
    ///     Err(error) if error.code() == Some(Code::NotFound) => log::info!("there is no job {id}"),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn code(&self) -> Option<Code> {
        self.code
    }

    /// The details that were added.
    pub fn details(&self) -> Option<&Value> {
        self.details.as_ref()
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// Why the host did not do what it was asked, for a plugin that wants to act on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Code {
    /// Nothing by that name, or nothing that this plugin may see.
    NotFound,
    /// The name is taken; nothing was overwritten.
    AlreadyExists,
    /// An argument that cannot be right.
    Invalid,
    /// Not granted to this plugin.
    Denied,
    /// Something else is in the way, or changed meanwhile.
    Conflict,
    /// A part of the system is away; the same call may work later.
    Unavailable,
    /// The call's deadline passed; what it started may still be going on.
    TimedOut,
    /// More than one call may carry.
    LimitExceeded,
    /// Anything else.
    Other,
}

impl Code {
    /// The code's name in the WIT package, such as `not-found`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed-out",
            Self::LimitExceeded => "limit-exceeded",
            Self::Other => "other",
        }
    }
}

// `Error` is not a `std::error::Error` itself: this conversion would then cover it, too, and collide with the
// one that the standard library has for every type to itself.
impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Self {
        let error = error.into();
        match host_answer(&*error) {
            Some(answer) => Self::from_host(answer.clone()),
            None => Self::new(with_causes(&*error)),
        }
    }
}

impl Error {
    fn from_host(answer: WitError) -> Self {
        let (code, message) = match answer {
            WitError::NotFound(message) => (Code::NotFound, message),
            WitError::AlreadyExists(message) => (Code::AlreadyExists, message),
            WitError::Invalid(message) => (Code::Invalid, message),
            WitError::Denied(message) => (Code::Denied, message),
            WitError::Conflict(message) => (Code::Conflict, message),
            WitError::Unavailable(message) => (Code::Unavailable, message),
            WitError::TimedOut(message) => (Code::TimedOut, message),
            WitError::LimitExceeded(message) => (Code::LimitExceeded, message),
            WitError::Other(message) => (Code::Other, message),
        };
        Self::coded(code, message)
    }
}

/// The host's answer, also where it came while a package was read or written.
fn host_answer<'e>(error: &'e (dyn std::error::Error + Send + Sync + 'static)) -> Option<&'e WitError> {
    let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    within.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref())
}

/// `reading the list: line 3: not a number`.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    message
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // A failure that was expected says all by its message; a panic's trace is taken by the host.
        Self { message: error.message, details: error.details.map(|details| details.to_string()), trace: None }
    }
}
