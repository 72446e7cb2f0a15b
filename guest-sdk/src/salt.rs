//! Salt itself, for servers of the driver `salt`. The operator grants a plugin the interface `salt`, the servers, and the
//! functions that it may call: `test.ping` alone, unless there is a list.
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//! use elita_plugin::salt::Function;
//!
//! # fn example() -> Result<()> {
//! let servers = ["server01"];
//! let pinged = salt::salt_command(&servers, &Function::new("test.ping"))?;
//! log::info!("{}: {:?}", pinged[0].server, pinged[0].value);
//!
//! let exists = Function::new("file.file_exists").named("path", "/etc/shop.conf");
//! salt::salt_command(&servers, &exists)?;
//!
//! salt::run_sls(&servers, "web.nginx", Some(300))?;
//! # Ok(())
//! # }
//! ```
//!
//! Each function returns once all servers have ended, and has a [`MinionReturn`] for each, in the order in which they were
//! given. Errors of all functions are [`Denied`](crate::Code::Denied) without the grants, also of the function;
//! [`NotFound`](crate::Code::NotFound); [`Invalid`](crate::Code::Invalid) for servers of other drivers and for arguments
//! that Salt would read as something else; and [`LimitExceeded`](crate::Code::LimitExceeded), since each call is one of
//! the jobs that may come of one.

use serde::Serialize;
use serde_json::Value;

use crate::Result;
use crate::host::salt as wit;
use crate::remote::Outcome;

/// A function of an execution module, with its arguments. The master keeps them: they are not for secrets.
#[derive(Clone, Debug)]
pub struct Function {
    function: String,
    arguments: Vec<String>,
    named: Vec<(String, String)>,
    timeout_seconds: Option<u32>,
}

impl Function {
    /// Without arguments.
    pub fn new(function: impl Into<String>) -> Self {
        Self { function: function.into(), arguments: Vec::new(), named: Vec::new(), timeout_seconds: None }
    }

    /// With a positional argument. A text that Salt would read as something else, such as `a=b` or `1:30`, is refused: it
    /// can be [named](Self::named).
    #[must_use]
    pub fn argument(mut self, value: impl Into<Value>) -> Self {
        self.arguments.push(value.into().to_string());
        self
    }

    /// With a keyword argument, which arrives as it is.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.named.push((name.into(), value.into().to_string()));
        self
    }

    /// With so many seconds, 1 to 86400, and not 60.
    #[must_use]
    pub fn timeout(mut self, seconds: u32) -> Self {
        self.timeout_seconds = Some(seconds);
        self
    }
}

/// What a function returned on a minion.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MinionReturn {
    /// The server.
    pub server: String,
    /// In a word: [`Ok`](Outcome::Ok) if it returned, and did what it should.
    pub outcome: Outcome,
    /// What it returned. `None` if it did not, or if that is more than is kept.
    pub value: Option<Value>,
    /// Salt's return code: 0 if it did what it should; of states, 2 if one failed.
    pub retcode: Option<i32>,
    /// Whether it was ended at its deadline.
    pub timed_out: bool,
    /// Why there is no value, in a sentence.
    pub message: Option<String>,
}

impl MinionReturn {
    /// Whether it returned, and did what it should.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }
}

/// Calls a function.
///
/// # Errors
/// Those of [all functions](self).
pub fn salt_command(servers: &[impl AsRef<str>], function: &Function) -> Result<Vec<MinionReturn>> {
    let Function { function, arguments, named, timeout_seconds } = function;
    returned(wit::salt_command(&names(servers), function, arguments, named, *timeout_seconds))
}

/// Applies an SLS, such as `web.nginx`. On a minion states are applied one after the other.
///
/// # Errors
/// Those of [all functions](self).
pub fn run_sls(servers: &[impl AsRef<str>], sls: &str, timeout_seconds: Option<u32>) -> Result<Vec<MinionReturn>> {
    returned(wit::run_sls(&names(servers), sls, timeout_seconds))
}

/// Applies what the master's top file says for each minion.
///
/// # Errors
/// Those of [all functions](self).
pub fn highstate(servers: &[impl AsRef<str>], timeout_seconds: Option<u32>) -> Result<Vec<MinionReturn>> {
    returned(wit::highstate(&names(servers), timeout_seconds))
}

fn names(servers: &[impl AsRef<str>]) -> Vec<String> {
    servers.iter().map(|server| server.as_ref().to_owned()).collect()
}

fn returned(
    answer: Result<Vec<wit::MinionReturn>, crate::bindings::elita::plugin::types::Error>,
) -> Result<Vec<MinionReturn>> {
    let mut returned = Vec::new();
    for wit::MinionReturn { server, outcome, value, retcode, timed_out, message } in answer? {
        let outcome = match outcome {
            wit::Outcome::Ok => Outcome::Ok,
            wit::Outcome::Failed => Outcome::Failed,
            wit::Outcome::NoResponse => Outcome::NoResponse,
            wit::Outcome::Unknown => Outcome::Unknown,
        };
        let value = value.map(|text| serde_json::from_str(&text)).transpose()?;
        returned.push(MinionReturn { server, outcome, value, retcode, timed_out, message });
    }
    Ok(returned)
}
