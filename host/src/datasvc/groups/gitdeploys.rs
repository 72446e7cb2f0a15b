//! Which gitdeploys a group deploys, and in which order.

use std::collections::BTreeSet;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::datasvc::error::{Error, Result};
use crate::datasvc::ids::GitdeployName;
use crate::datasvc::sql::json_column;

/// How many gitdeploys a group may have.
const MAX_GITDEPLOYS: usize = 100;

/// The gitdeploys of a group.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum GroupGitdeploys {
    /// All at once.
    Unordered(Vec<GitdeployName>),
    /// Stage by stage; what is in one stage is deployed at once.
    Ordered(Vec<Vec<GitdeployName>>),
}

json_column!(GroupGitdeploys);

impl<'de> Deserialize<'de> for GroupGitdeploys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let items = Vec::<Value>::deserialize(deserializer)?;
        if items.iter().all(Value::is_string) {
            serde_json::from_value(Value::Array(items)).map(Self::Unordered).map_err(D::Error::custom)
        } else if items.iter().all(Value::is_array) {
            serde_json::from_value(Value::Array(items)).map(Self::Ordered).map_err(D::Error::custom)
        } else {
            Err(D::Error::custom(
                "this is a list of names, or a list of stages, which are lists of names; it cannot mix them",
            ))
        }
    }
}

impl GroupGitdeploys {
    /// Whether there are stages.
    pub fn is_ordered(&self) -> bool {
        matches!(self, Self::Ordered(_))
    }

    /// The stages in their order; what is not ordered is one.
    pub fn stages(&self) -> &[Vec<GitdeployName>] {
        match self {
            Self::Unordered(gitdeploys) => std::slice::from_ref(gitdeploys),
            Self::Ordered(stages) => stages,
        }
    }

    /// # Errors
    /// [`Error::Invalid`] if there is none, too many, an empty stage, or one that is there twice.
    pub(super) fn check(&self) -> Result<()> {
        let invalid = |reason: String| Err(Error::invalid("gitdeploys", reason));
        let all: Vec<_> = self.stages().iter().flatten().collect();
        if all.is_empty() {
            return invalid("a group has at least one gitdeploy".into());
        }
        if let Some(empty) = self.stages().iter().position(Vec::is_empty) {
            return invalid(format!("stage {} has no gitdeploy", empty + 1));
        }
        if all.len() > MAX_GITDEPLOYS {
            return invalid(format!("a group has at most {MAX_GITDEPLOYS} gitdeploys, not {}", all.len()));
        }
        let mut seen = BTreeSet::new();
        match all.into_iter().find(|gitdeploy| !seen.insert(*gitdeploy)) {
            Some(twice) => invalid(format!("gitdeploy `{twice}` is there twice")),
            None => Ok(()),
        }
    }

    /// The names, and for each the number of its stage, in their order: columns of `group_gitdeploys`.
    pub(super) fn columns(&self) -> (Vec<String>, Vec<i32>) {
        let numbered = (0..).zip(self.stages());
        numbered.flat_map(|(stage, names)| names.iter().map(move |name| (name.to_string(), stage))).unzip()
    }
}
