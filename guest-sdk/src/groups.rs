//! Groups: which gitdeploys are deployed together, and to which servers.
//!
//! ```no_run
//! use elita_plugin::groups::NewGroup;
//! use elita_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! let new = NewGroup::ordered([vec!["api"], vec!["web", "assets"]]).rolling_deploy(true).description("the shop");
//! groups::create("my_application", "shop", &new, &json!({}))?;
//! groups::update("my_application", "shop", &json!({ "gitdeploys": ["api", "web"] }))?;
//! for name in groups::list("my_application")? {
//!     let name = name?;
//!     let everywhere = groups::get("my_application", &name)?.servers;
//!     let in_production = groups::get_in("my_application", &name, &["production"])?.servers;
//!     log::info!("{name}: {} of {} in production", in_production.len(), everywhere.len());
//! }
//! groups::delete("my_application", "shop")?;
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::host::groups as wit;
use crate::{Names, Result};

/// A group.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Group {
    /// Its application.
    pub application: String,
    /// Unique within the application.
    pub name: String,
    /// Its gitdeploys.
    pub gitdeploys: Gitdeploys,
    /// Whether a deployment goes to its servers in several batches.
    pub rolling_deploy: bool,
    /// What it is for.
    pub description: String,
    /// What users keep with it, an object.
    pub attributes: Value,
    /// The names of the servers on which all of its gitdeploys are initialized, in order.
    pub servers: Vec<String>,
    /// When it was made. Times are RFC 3339, UTC.
    pub created_at: String,
    /// When it last changed. A change of its servers does not count.
    pub updated_at: String,
}

/// The names of a group's gitdeploys.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Gitdeploys {
    /// All are deployed at once.
    Unordered(Vec<String>),
    /// They are deployed stage by stage; those of one stage at once.
    Ordered(Vec<Vec<String>>),
}

/// What a new group needs.
#[derive(Clone, Debug, PartialEq)]
pub struct NewGroup {
    gitdeploys: Gitdeploys,
    rolling_deploy: bool,
    description: String,
}

impl NewGroup {
    /// A group whose gitdeploys are deployed at once.
    pub fn unordered<G: Into<String>>(gitdeploys: impl IntoIterator<Item = G>) -> Self {
        Self::of(Gitdeploys::Unordered(gitdeploys.into_iter().map(Into::into).collect()))
    }

    /// A group whose gitdeploys are deployed stage by stage.
    pub fn ordered<S: IntoIterator<Item: Into<String>>>(stages: impl IntoIterator<Item = S>) -> Self {
        let stages = stages.into_iter().map(|stage| stage.into_iter().map(Into::into).collect());
        Self::of(Gitdeploys::Ordered(stages.collect()))
    }

    fn of(gitdeploys: Gitdeploys) -> Self {
        Self { gitdeploys, rolling_deploy: false, description: String::new() }
    }

    /// The same, and whether a deployment goes to its servers in several batches.
    #[must_use]
    pub fn rolling_deploy(self, rolling_deploy: bool) -> Self {
        Self { rolling_deploy, ..self }
    }

    /// The same, and what it is for: at most 4 KiB.
    #[must_use]
    pub fn description(self, description: impl Into<String>) -> Self {
        Self { description: description.into(), ..self }
    }
}

/// A group, with its servers in all environments.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound); [`Denied`](crate::Code::Denied) where the plugin may not read the application.
pub fn get(application: &str, group: &str) -> Result<Group> {
    from_wit(wit::get(application, group, &[])?)
}

/// A group, with its servers in these environments; in all, if none is named.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for what is not an environment's name, and those of [`get`].
pub fn get_in(application: &str, group: &str, environments: &[&str]) -> Result<Group> {
    let environments: Vec<_> = environments.iter().copied().map(String::from).collect();
    from_wit(wit::get(application, group, &environments)?)
}

/// The names of an application's groups, in order, read page by page.
///
/// # Errors
/// Those of [`get`].
pub fn list(application: &str) -> Result<Names> {
    let application = application.to_owned();
    Names::read(move |page| wit::list(&application, page))
}

/// Makes a group of one gitdeploy or more, each of which is there once. `attributes` serializes to an object of at most
/// 64 KiB.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for gitdeploys that do not exist or are there twice;
/// [`AlreadyExists`](crate::Code::AlreadyExists); and those of [`get`].
pub fn create(application: &str, group: &str, new: &NewGroup, attributes: &impl Serialize) -> Result<Group> {
    let NewGroup { gitdeploys, rolling_deploy, description } = new.clone();
    let new = wit::NewGroup {
        gitdeploys: match gitdeploys {
            Gitdeploys::Unordered(names) => wit::Gitdeploys::Unordered(names),
            Gitdeploys::Ordered(stages) => wit::Gitdeploys::Ordered(stages),
        },
        rolling_deploy,
        description,
    };
    from_wit(wit::create(application, group, &new, &serde_json::to_string(attributes)?)?)
}

/// Changes a group by a JSON merge patch: `{"gitdeploys": ["web"]}` replaces them, and `[["web"], ["api"]]` makes
/// stages.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for anything but `gitdeploys`, `rolling_deploy`, `description` and `attributes`,
/// and those of [`create`] and [`get`].
pub fn update(application: &str, group: &str, change: &impl Serialize) -> Result<Group> {
    from_wit(wit::update(application, group, &serde_json::to_string(change)?)?)
}

/// Removes a group. Its gitdeploys and its servers stay.
///
/// # Errors
/// Those of [`get`].
pub fn delete(application: &str, group: &str) -> Result<()> {
    Ok(wit::delete(application, group)?)
}

fn from_wit(group: wit::Group) -> Result<Group> {
    let wit::Group {
        application,
        name,
        gitdeploys,
        rolling_deploy,
        description,
        attributes,
        servers,
        created_at,
        updated_at,
    } = group;
    Ok(Group {
        application,
        name,
        gitdeploys: match gitdeploys {
            wit::Gitdeploys::Unordered(names) => Gitdeploys::Unordered(names),
            wit::Gitdeploys::Ordered(stages) => Gitdeploys::Ordered(stages),
        },
        rolling_deploy,
        description,
        attributes: serde_json::from_str(&attributes)?,
        servers,
        created_at,
        updated_at,
    })
}
