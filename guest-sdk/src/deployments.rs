//! Deployments: builds that go to servers, in batches.
//!
//! ```no_run
//! use elita_plugin::deployments::{Intention, NewDeployment};
//! use elita_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! let new = NewDeployment::to_groups("1.42", ["production"], ["front"]).rolling_pause(30);
//! let plan = deployments::plan("shop", &Intention::Start(new.clone()))?;
//! log::info!("{} batches", plan.document["batches"].as_array().map_or(0, Vec::len));
//! // Exactly this, or nothing.
//! let id = deployments::start("shop", &new, Some(plan.hash.as_str()))?;
//! log::info!("{:?}", deployments::get("shop", &id)?.status);
//! deployments::cancel("shop", &id)?;
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::host::deployments as wit;
use crate::{Names, Result};

/// A deployment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Deployment {
    /// Its id, which is that of its job, too.
    pub id: String,
    /// The application that it is of.
    pub application: String,
    /// The build that is deployed.
    pub build_name: String,
    /// Where it stands.
    pub status: Status,
    /// All of it, as REST clients see it: among others `plan`, `progress`, `commits`, `summary` and `error`.
    pub document: Value,
    /// When it was asked for. Times are RFC 3339, UTC.
    pub created_at: String,
    /// When it ended.
    pub completed_at: Option<String>,
}

/// Where a deployment stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has not begun yet.
    Created,
    /// It goes on.
    Running,
    /// All servers have the build.
    Complete,
    /// It failed, on some servers or before it touched any.
    Error,
    /// Someone stopped it.
    Cancelled,
}

/// What a deployment would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// Of all that it depends on: it is another one where something of that has changed.
    pub hash: String,
    /// All of it, as REST clients see it: among others `batches`, `commits`, `before` and `warnings`.
    pub document: Value,
}

/// Where a build goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// The servers of groups, in batches.
    Groups {
        /// The environments whose servers it goes to.
        environments: Vec<String>,
        /// The groups.
        groups: Vec<String>,
    },
    /// Each of the gitdeploys on each of the servers, at once.
    Manual {
        /// The servers.
        servers: Vec<String>,
        /// The gitdeploys.
        gitdeploys: Vec<String>,
    },
}

/// A deployment that is to be started.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct NewDeployment {
    /// The build.
    pub build_name: String,
    /// Where it goes.
    pub scope: Scope,
    /// Maximum number of parts into which a rolling group's servers are divided: 2 unless it is given.
    pub rolling_divisor: Option<u32>,
    /// Seconds between two batches.
    pub rolling_pause: Option<u32>,
    /// Seconds to wait before the next stage.
    pub ordered_pause: Option<u32>,
    /// How many servers may fail, over the whole deployment, before it stops.
    pub max_failures: Option<u32>,
    /// Whether servers that do not answer are left out, and are not failures.
    pub skip_unreachable: bool,
}

/// What is to be planned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Intention {
    /// A new deployment.
    Start(NewDeployment),
    /// What the deployment of this id has not done.
    Resume(String),
    /// What was there before the deployment of this id.
    Rollback(String),
}

impl NewDeployment {
    fn new(build_name: impl Into<String>, scope: Scope) -> Self {
        Self {
            build_name: build_name.into(),
            scope,
            rolling_divisor: None,
            rolling_pause: None,
            ordered_pause: None,
            max_failures: None,
            skip_unreachable: false,
        }
    }

    /// A build for the servers of groups in these environments, in batches.
    pub fn to_groups<E: Into<String>, G: Into<String>>(
        build_name: impl Into<String>,
        environments: impl IntoIterator<Item = E>,
        groups: impl IntoIterator<Item = G>,
    ) -> Self {
        let scope = Scope::Groups { environments: strings(environments), groups: strings(groups) };
        Self::new(build_name, scope)
    }

    /// A build for servers: each of the gitdeploys on each of them, at once.
    pub fn to_servers<S: Into<String>, G: Into<String>>(
        build_name: impl Into<String>,
        servers: impl IntoIterator<Item = S>,
        gitdeploys: impl IntoIterator<Item = G>,
    ) -> Self {
        let scope = Scope::Manual { servers: strings(servers), gitdeploys: strings(gitdeploys) };
        Self::new(build_name, scope)
    }

    /// The same with the servers of a rolling group split in so many runs, at most. Not for servers by hand.
    #[must_use]
    pub fn rolling_divisor(mut self, runs: u32) -> Self {
        self.rolling_divisor = Some(runs);
        self
    }

    /// The same with so many seconds between two batches. Not for servers by hand.
    #[must_use]
    pub fn rolling_pause(mut self, seconds: u32) -> Self {
        self.rolling_pause = Some(seconds);
        self
    }

    /// The same with so many seconds to wait before the next stage. Not for servers by hand.
    #[must_use]
    pub fn ordered_pause(mut self, seconds: u32) -> Self {
        self.ordered_pause = Some(seconds);
        self
    }

    /// The same with so many servers that may fail before it stops.
    #[must_use]
    pub fn max_failures(mut self, servers: u32) -> Self {
        self.max_failures = Some(servers);
        self
    }

    /// The same with servers that do not answer left out: they are not failures.
    #[must_use]
    pub fn skip_unreachable(mut self) -> Self {
        self.skip_unreachable = true;
        self
    }
}

/// A deployment.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound); [`Denied`](crate::Code::Denied) where the plugin may not read the application.
pub fn get(application: &str, deployment: &str) -> Result<Deployment> {
    let wit::Deployment { id, application, build_name, status, document, created_at, completed_at } =
        wit::get(application, deployment)?;
    let status = match status {
        wit::Status::Created => Status::Created,
        wit::Status::Running => Status::Running,
        wit::Status::Complete => Status::Complete,
        wit::Status::Error => Status::Error,
        wit::Status::Cancelled => Status::Cancelled,
    };
    let document = serde_json::from_str(&document)?;
    Ok(Deployment { id, application, build_name, status, document, created_at, completed_at })
}

/// The ids of an application's deployments, newest first, read page by page.
///
/// # Errors
/// Those of [`get`].
pub fn list(application: &str) -> Result<Names> {
    let application = application.to_owned();
    Names::read(move |page| wit::list(&application, page))
}

/// What a deployment would do. Nothing is changed.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) names all that is missing or does not fit; [`Denied`](crate::Code::Denied) where a
/// server is not granted to the plugin, or it may not write to the application; [`Conflict`](crate::Code::Conflict) where a
/// deployment cannot be gone on with or taken back, and why; and those of [`get`].
pub fn plan(application: &str, intention: &Intention) -> Result<Plan> {
    let intention = match intention {
        Intention::Start(new) => wit::Intention::Start(into_wit(new)),
        Intention::Resume(id) => wit::Intention::Resume(id.clone()),
        Intention::Rollback(id) => wit::Intention::Rollback(id.clone()),
    };
    let wit::DeploymentPlan { hash, document } = wit::plan(application, &intention)?;
    Ok(Plan { hash, document: serde_json::from_str(&document)? })
}

/// Deploys a build, by a job, whose id is returned. With the hash of a plan, another plan is not done.
///
/// One that is started in a hook of a deployment to the same git repository begins once that deployment has ended.
///
/// # Errors
/// [`Conflict`](crate::Code::Conflict) if something has changed since the plan was made;
/// [`LimitExceeded`](crate::Code::LimitExceeded) if too many jobs have started one another; and those of [`plan`].
pub fn start(application: &str, new: &NewDeployment, plan: Option<&str>) -> Result<String> {
    Ok(wit::start(application, &into_wit(new), plan)?)
}

/// Asks for a deployment to stop: after the running batch, and at once in a pause. A hook can stop the deployment that it
/// runs in.
///
/// # Errors
/// [`Conflict`](crate::Code::Conflict) if it has ended; [`Denied`](crate::Code::Denied) where the plugin may not write to
/// the application; and those of [`get`].
pub fn cancel(application: &str, deployment: &str) -> Result<()> {
    Ok(wit::cancel(application, deployment)?)
}

/// Does what a deployment has not done, as a new one, by a job, whose id is returned.
///
/// # Errors
/// Those of [`start`].
pub fn resume(application: &str, deployment: &str, plan: Option<&str>) -> Result<String> {
    Ok(wit::resume(application, deployment, plan)?)
}

/// Puts back what was there before on the servers that a deployment has touched, as a new one, by a job, whose id is
/// returned.
///
/// # Errors
/// Those of [`start`].
pub fn rollback(application: &str, deployment: &str, plan: Option<&str>) -> Result<String> {
    Ok(wit::rollback(application, deployment, plan)?)
}

fn into_wit(new: &NewDeployment) -> wit::NewDeployment {
    let NewDeployment {
        build_name,
        scope,
        rolling_divisor,
        rolling_pause,
        ordered_pause,
        max_failures,
        skip_unreachable,
    } = new.clone();
    let scope = match scope {
        Scope::Groups { environments, groups } => wit::Scope::Groups(wit::GroupScope { environments, groups }),
        Scope::Manual { servers, gitdeploys } => wit::Scope::Manual(wit::ManualScope { servers, gitdeploys }),
    };
    let options = wit::Options { rolling_divisor, rolling_pause, ordered_pause, max_failures, skip_unreachable };
    wit::NewDeployment { build_name, scope, options }
}

fn strings<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    names.into_iter().map(Into::into).collect()
}
