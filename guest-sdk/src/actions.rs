//! The actions that plugins offer, this one's and those of others.
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! let job = actions::run("my_application", "DeleteWidgets", &[("testing", "true"), ("count", "3")])?;
//! log::info!("job {job} is {:?}", jobs::get(&job)?.status);
//! # Ok(())
//! # }
//! ```

use serde::Serialize;

use crate::host::actions as wit;
use crate::{Names, Result};

/// An action.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Action {
    /// Unique within the application.
    pub name: String,
    /// The plugin that offers it.
    pub plugin: String,
    /// What it does, in a sentence.
    pub description: String,
    /// What has to be in every request.
    pub parameters: Vec<Parameter>,
    /// Whether it may be run again when the host dies while it runs.
    pub idempotent: bool,
    /// Wall-clock limit of a run in seconds, if it asks for one.
    pub timeout_seconds: Option<u32>,
}

/// A parameter that has to be in every request of an action.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Parameter {
    /// Unique within the action.
    pub name: String,
    /// Describes the value for people, such as `integer`.
    pub r#type: String,
    /// What it is for.
    pub description: String,
}

/// An action of an application.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound); [`Denied`](crate::Code::Denied) where the plugin may not read the application.
pub fn get(application: &str, action: &str) -> Result<Action> {
    let wit::Action { name, plugin, description, parameters, idempotent, timeout_seconds } =
        wit::get(application, action)?;
    let parameter = |wit::Parameter { name, type_, description }| Parameter { name, r#type: type_, description };
    let parameters = parameters.into_iter().map(parameter).collect();
    Ok(Action { name, plugin, description, parameters, idempotent, timeout_seconds })
}

/// The names of an application's actions, in order, read page by page.
///
/// # Errors
/// Those of [`get`].
pub fn list(application: &str) -> Result<Names> {
    let application = application.to_owned();
    Names::read(move |page| wit::list(&application, page))
}

/// Starts an action, as a new job that runs beside this one, and returns its id at once.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) if a declared parameter is missing; [`LimitExceeded`](crate::Code::LimitExceeded)
/// if this job is nested eight deep already (a job that a job has started, and so on), if this run has started 100
/// jobs, or if the job that a user asked for has led to 1,000 jobs (unless the operator has set another limit);
/// [`Conflict`](crate::Code::Conflict) if this job was asked to stop; and those of [`get`].
pub fn run(application: &str, action: &str, parameters: &[(&str, &str)]) -> Result<String> {
    let owned: Vec<_> = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Ok(wit::run(application, action, &owned)?)
}
