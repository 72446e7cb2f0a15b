//! Package maps: which files of a build each of its packages holds.
//!
//! ```no_run
//! use elita_plugin::package_maps::PackageRule;
//! use elita_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! let web = PackageRule::new("web", ["web/**", "LICENSE"]).remove_prefix("web/").prefix("htdocs/");
//! let api = PackageRule::new("api", ["api/**"]);
//! package_maps::create("my_application", "split", &[web, api], &json!({}))?;
//! package_maps::update("my_application", "split", &json!({ "packages": { "api": null } }))?;
//! for package in package_maps::get("my_application", "split")?.packages {
//!     log::info!("{}: {:?}", package.name, package.patterns);
//! }
//! package_maps::delete("my_application", "split")?;
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::host::package_maps as wit;
use crate::{Names, Result};

/// A package map.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PackageMap {
    /// Its application.
    pub application: String,
    /// Unique within the application.
    pub name: String,
    /// By name.
    pub packages: Vec<PackageRule>,
    /// What users keep with it, an object.
    pub attributes: Value,
    /// When it was made. Times are RFC 3339, UTC.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

/// What is in a package, and under which paths.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PackageRule {
    /// The package's name, unique within the map.
    pub name: String,
    /// Globs of the paths in the uploaded file.
    pub patterns: Vec<String>,
    /// What is removed, once, from the beginning of each path that begins with it.
    pub remove_prefix: Option<String>,
    /// What is put before each path after that.
    pub prefix: Option<String>,
}

impl PackageRule {
    /// A package of the files that match one of 1 to 100 patterns: globs of paths in the uploaded file, from its root
    /// on. `*` stays within a directory, `**` does not. The name `master` is taken, by the uploaded file itself.
    pub fn new<P: Into<String>>(name: impl Into<String>, patterns: impl IntoIterator<Item = P>) -> Self {
        let patterns = patterns.into_iter().map(Into::into).collect();
        Self { name: name.into(), patterns, remove_prefix: None, prefix: None }
    }

    /// The same with this removed, once, from the beginning of each path that begins with it.
    #[must_use]
    pub fn remove_prefix(self, prefix: impl Into<String>) -> Self {
        Self { remove_prefix: Some(prefix.into()), ..self }
    }

    /// The same with this put before each path, after the other prefix was removed.
    #[must_use]
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: Some(prefix.into()), ..self }
    }
}

/// A package map.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound); [`Denied`](crate::Code::Denied) where the plugin may not read the application.
pub fn get(application: &str, package_map: &str) -> Result<PackageMap> {
    from_wit(wit::get(application, package_map)?)
}

/// The names of an application's package maps, in order, read page by page.
///
/// # Errors
/// Those of [`get`].
pub fn list(application: &str) -> Result<Names> {
    let application = application.to_owned();
    Names::read(move |page| wit::list(&application, page))
}

/// Makes a package map of 1 to 100 packages. `attributes` serializes to an object of at most 64 KiB.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) if the rules of a package are not valid;
/// [`AlreadyExists`](crate::Code::AlreadyExists); and those of [`get`].
pub fn create(
    application: &str,
    package_map: &str,
    packages: &[PackageRule],
    attributes: &impl Serialize,
) -> Result<PackageMap> {
    let packages: Vec<_> = packages.iter().cloned().map(into_wit).collect();
    from_wit(wit::create(application, package_map, &packages, &serde_json::to_string(attributes)?)?)
}

/// Changes a package map by a JSON merge patch: `{"packages": {"web": {"patterns": ["web/**"]}}}` changes one package
/// or adds it, null removes one.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for anything but `packages` and `attributes`, and those of [`get`].
pub fn update(application: &str, package_map: &str, change: &impl Serialize) -> Result<PackageMap> {
    from_wit(wit::update(application, package_map, &serde_json::to_string(change)?)?)
}

/// Removes a package map. Builds that were packaged by it keep their packages.
///
/// # Errors
/// Those of [`get`].
pub fn delete(application: &str, package_map: &str) -> Result<()> {
    Ok(wit::delete(application, package_map)?)
}

fn into_wit(rule: PackageRule) -> wit::PackageRule {
    let PackageRule { name, patterns, remove_prefix, prefix } = rule;
    wit::PackageRule { name, patterns, remove_prefix, prefix }
}

fn from_wit(map: wit::PackageMap) -> Result<PackageMap> {
    let wit::PackageMap { application, name, packages, attributes, created_at, updated_at } = map;
    let packages = packages.into_iter().map(|rule| {
        let wit::PackageRule { name, patterns, remove_prefix, prefix } = rule;
        PackageRule { name, patterns, remove_prefix, prefix }
    });
    Ok(PackageMap {
        application,
        name,
        packages: packages.collect(),
        attributes: serde_json::from_str(&attributes)?,
        created_at,
        updated_at,
    })
}
