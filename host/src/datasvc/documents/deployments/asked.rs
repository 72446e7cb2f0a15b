//! What a deployment is asked to do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::batches::{Batch, Target};
use crate::datasvc::ground::error::{Fault, Faults, Result};
use crate::datasvc::ground::ids::{BuildName, EnvironmentName, GitdeployName, GroupName, JobId, ServerName};
use crate::datasvc::ground::sql::json_column;

/// The longest pause, in seconds.
const MAX_PAUSE_SECONDS: u32 = 86_400;
/// How many names of a kind may be given.
const MAX_NAMES: usize = 1000;

/// A deployment, as it is asked for and kept with its job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeploymentAsked {
    /// The build that is deployed.
    pub build_name: BuildName,
    /// Where it goes.
    pub scope: DeploymentScope,
    /// How.
    pub options: DeploymentOptions,
    /// The hash of the plan that was agreed to: only that one is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// Where a build goes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeploymentScope {
    /// These gitdeploys on these servers, at once.
    Manual {
        /// The servers.
        servers: Vec<ServerName>,
        /// The gitdeploys.
        gitdeploys: Vec<GitdeployName>,
    },
    /// The servers of these groups in these environments, in batches.
    Groups {
        /// The environments.
        environments: Vec<EnvironmentName>,
        /// The groups.
        groups: Vec<GroupName>,
    },
    /// Some targets of an earlier deployment.
    Again(Again),
}

/// What is done of an earlier deployment, or taken back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Again {
    /// That deployment.
    pub of: JobId,
    /// Whether it is taken back. Otherwise it is gone on with.
    pub is_rollback: bool,
    /// The targets.
    pub batches: Vec<Batch>,
    /// The targets of that one which have the other build and keep it.
    pub left_out: Vec<Target>,
    /// The environments that were asked for. `None`: it was a manual one.
    pub environments: Option<Vec<EnvironmentName>>,
    /// The same of groups.
    pub groups: Option<Vec<GroupName>>,
}

/// How a build is deployed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeploymentOptions {
    /// Maximum number of parts into which a rolling group's servers are divided.
    #[schema(minimum = 1)]
    pub rolling_divisor: u32,
    /// Seconds between two batches.
    #[schema(maximum = 86400)]
    pub rolling_pause: u32,
    /// Seconds to wait before the next stage.
    #[schema(maximum = 86400)]
    pub ordered_pause: u32,
    /// How many servers may fail, over the whole deployment, before it stops.
    pub max_failures: u32,
    /// Whether servers that do not answer are left out, and are not failures.
    pub skip_unreachable: bool,
}

json_column!(DeploymentOptions);

impl Default for DeploymentOptions {
    fn default() -> Self {
        Self { rolling_divisor: 2, rolling_pause: 0, ordered_pause: 0, max_failures: 0, skip_unreachable: false }
    }
}

/// Options as they are given; what is not given is as in [`DeploymentOptions::default`].
#[derive(Clone, Copy, Debug, Default)]
pub struct GivenOptions {
    /// Maximum number of parts into which a rolling group's servers are divided.
    pub rolling_divisor: Option<u32>,
    /// Seconds between two batches.
    pub rolling_pause: Option<u32>,
    /// Seconds to wait before the next stage.
    pub ordered_pause: Option<u32>,
    /// How many servers may fail.
    pub max_failures: Option<u32>,
    /// Whether servers that do not answer are left out.
    pub skip_unreachable: bool,
}

impl GivenOptions {
    /// The options of a deployment there.
    ///
    /// # Errors
    /// [`Error::Faults`](crate::datasvc::Error::Faults) for what has no meaning in a manual deployment.
    pub fn of(self, scope: &DeploymentScope) -> Result<DeploymentOptions> {
        let mut faults = Faults::default();
        if let DeploymentScope::Manual { .. } = scope {
            for (field, given) in [
                ("rolling_divisor", self.rolling_divisor.is_some()),
                ("rolling_pause", self.rolling_pause.is_some()),
                ("ordered_pause", self.ordered_pause.is_some()),
            ] {
                if given {
                    faults.add(field, "a manual deployment is one batch, so that this has no meaning for it");
                }
            }
        }
        faults.check()?;
        let defaults = DeploymentOptions::default();
        Ok(DeploymentOptions {
            rolling_divisor: self.rolling_divisor.unwrap_or(defaults.rolling_divisor),
            rolling_pause: self.rolling_pause.unwrap_or(defaults.rolling_pause),
            ordered_pause: self.ordered_pause.unwrap_or(defaults.ordered_pause),
            max_failures: self.max_failures.unwrap_or(defaults.max_failures),
            skip_unreachable: self.skip_unreachable,
        })
    }
}

impl DeploymentOptions {
    /// Adds what cannot be.
    pub(super) fn check(&self, faults: &mut Faults) {
        if self.rolling_divisor == 0 {
            faults.add("rolling_divisor", "it is a whole number from 1");
        }
        for (field, pause) in [("rolling_pause", self.rolling_pause), ("ordered_pause", self.ordered_pause)] {
            if pause > MAX_PAUSE_SECONDS {
                faults.add(field, format!("a pause is 0 to {MAX_PAUSE_SECONDS} seconds"));
            }
        }
    }

    /// How long to wait after a batch, in seconds.
    pub fn pause_after(&self, batch: &Batch) -> u32 {
        if batch.ordered_gitdeploy { self.ordered_pause } else { self.rolling_pause }
    }
}

impl DeploymentScope {
    /// Whether it is a group deployment, in which the `AUTO_DEPLOYMENT` hooks fire.
    pub fn is_of_groups(&self) -> bool {
        match self {
            Self::Manual { .. } => false,
            Self::Groups { .. } => true,
            Self::Again(Again { groups, .. }) => groups.is_some(),
        }
    }

    /// What the hooks call its target.
    pub fn target(&self) -> serde_json::Value {
        match self {
            Self::Manual { servers, gitdeploys } => {
                serde_json::json!({ "servers": servers, "gitdeploys": gitdeploys })
            }
            Self::Groups { environments, groups } => {
                serde_json::json!({ "groups": groups, "environments": environments })
            }
            Self::Again(Again { environments, groups, .. }) => {
                serde_json::json!({ "groups": groups, "environments": environments })
            }
        }
    }
}

/// Names as they were given: each once, in their order. Adds what cannot be.
pub(super) fn distinct<'a, T: Ord + Clone>(field: &'static str, names: &'a [T], faults: &mut Faults) -> Vec<&'a T> {
    if names.is_empty() || names.len() > MAX_NAMES {
        faults.push(Fault { field: field.into(), reason: format!("name 1 to {MAX_NAMES}") });
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    names.iter().filter(|name| seen.insert((*name).clone())).collect()
}
