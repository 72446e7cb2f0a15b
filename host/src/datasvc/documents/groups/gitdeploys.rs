//! Which gitdeploys a group deploys, and in which order.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::schema::AnyOf;
use utoipa::openapi::{Array, Ref, RefOr, Schema};
use utoipa::{PartialSchema as _, ToSchema};

use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::GitdeployName;
use crate::datasvc::ground::sql::json_column;

/// How many gitdeploys a group may have.
const MAX_GITDEPLOYS: usize = 100;

/// The gitdeploys of a group.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum GroupGitdeploys {
    /// All at once.
    Unordered(Vec<GitdeployName>),
    /// Stage by stage; what is in one stage is deployed at once.
    Ordered(Vec<Vec<GitdeployName>>),
}

json_column!(GroupGitdeploys);

impl utoipa::PartialSchema for GroupGitdeploys {
    fn schema() -> RefOr<Schema> {
        let list = || Array::builder().min_items(Some(1)).max_items(Some(MAX_GITDEPLOYS)).unique_items(true);
        let names = || list().items(Ref::from_schema_name(GitdeployName::name()));
        let description = "A list of names, which are deployed at once, or a list of stages in their order, which are \
                           lists of names; each name once";
        AnyOf::builder().item(names()).item(list().items(names())).description(Some(description)).into()
    }
}

impl ToSchema for GroupGitdeploys {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((GitdeployName::name().into_owned(), GitdeployName::schema()));
    }
}

impl<'de> Deserialize<'de> for GroupGitdeploys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut names, mut stages) = (Vec::new(), Vec::new());
        for item in Vec::<Item>::deserialize(deserializer)? {
            match item {
                Item::Name(name) => names.push(name),
                Item::Stage(stage) => stages.push(stage),
            }
        }
        match (names, stages) {
            (names, stages) if stages.is_empty() => Ok(Self::Unordered(names)),
            (names, stages) if names.is_empty() => Ok(Self::Ordered(stages)),
            _ => Err(D::Error::custom("this is a list of names or a list of stages; it cannot mix them")),
        }
    }
}

/// What is in the list that a client gives.
enum Item {
    Name(GitdeployName),
    Stage(Vec<GitdeployName>),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or a stage, which is a list of names")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Item, E> {
        GitdeployName::try_from(name.to_owned()).map(Item::Name).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = items.next_element()? {
            names.push(name);
        }
        Ok(Item::Stage(names))
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
    /// [`Error::Invalid`] if there is no gitdeploy, too many, an empty stage, or one that is there twice.
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
            Some(twice) => invalid(format!("gitdeploy `{twice}` is listed twice")),
            None => Ok(()),
        }
    }

    /// The names, and for each the number of its stage, in their order: columns of `group_gitdeploys`.
    pub(super) fn columns(&self) -> (Vec<String>, Vec<i32>) {
        let numbered = (0..).zip(self.stages());
        numbered.flat_map(|(stage, names)| names.iter().map(move |name| (name.to_string(), stage))).unzip()
    }
}
