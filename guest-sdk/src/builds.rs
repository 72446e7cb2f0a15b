//! Builds: what CI uploads and deployments put on servers.
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! builds::create("my_application", "124-master", &json!({}))?;
//! builds::update("my_application", "124-master", &json!({ "attributes": { "foo": "bar" } }))?;
//! for name in builds::list("my_application")? {
//!     log::info!("{}", builds::get("my_application", &name?)?.attributes["foo"]);
//! }
//! builds::delete("my_application", "123-master")?;
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::bindings::elita::plugin::builds as wit;
use crate::{Names, Result};

/// A build.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Build {
    /// The application it is of.
    pub application: String,
    /// Unique within the application.
    pub name: String,
    /// Whether its file was uploaded.
    pub stored: bool,
    /// The name of that file.
    pub master_file: Option<String>,
    /// By name. `master` is the uploaded file itself.
    pub packages: Vec<PackageFile>,
    /// What users keep with it, an object.
    pub attributes: Value,
    /// When it was made. Times are RFC 3339, UTC.
    pub created_at: String,
    /// When it last changed.
    pub updated_at: String,
}

/// A package of a build: a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PackageFile {
    /// Unique within the build.
    pub name: String,
    /// The file's name.
    pub filename: String,
    /// `zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz` or `tar.zst`.
    pub file_type: String,
    /// The file's length.
    pub size_bytes: u64,
    /// 64 hexadecimal digits, in lower case.
    pub sha256: String,
}

/// A build.
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound); [`Denied`](crate::Code::Denied) where the plugin may not read the application.
pub fn get(application: &str, build: &str) -> Result<Build> {
    from_wit(wit::get(application, build)?)
}

/// The names of an application's builds, in order, read page by page.
///
/// # Errors
/// Those of [`get`].
pub fn list(application: &str) -> Result<Names> {
    let application = application.to_owned();
    Names::read(move |page| wit::list(&application, page))
}

/// Makes a build, of which nothing is stored yet. `attributes` serializes to an object of at most 64 KiB.
///
/// # Errors
/// [`AlreadyExists`](crate::Code::AlreadyExists), and those of [`get`].
pub fn create(application: &str, build: &str, attributes: &impl Serialize) -> Result<Build> {
    from_wit(wit::create(application, build, &serde_json::to_string(attributes)?)?)
}

/// Changes a build by a JSON merge patch: `{"attributes": {"foo": "bar"}}` sets one attribute, null removes one.
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) for anything but the attributes, and those of [`get`].
pub fn update(application: &str, build: &str, change: &impl Serialize) -> Result<Build> {
    from_wit(wit::update(application, build, &serde_json::to_string(change)?)?)
}

/// Removes a build with its files.
///
/// # Errors
/// Those of [`get`]; [`Conflict`](crate::Code::Conflict) while an upload of it goes on.
pub fn delete(application: &str, build: &str) -> Result<()> {
    Ok(wit::delete(application, build)?)
}

fn from_wit(build: wit::Build) -> Result<Build> {
    let wit::Build { application, name, stored, master_file, packages, attributes, created_at, updated_at } = build;
    let packages = packages.into_iter().map(|package| {
        let wit::PackageFile { name, filename, file_type, size_bytes, sha256 } = package;
        PackageFile { name, filename, file_type, size_bytes, sha256 }
    });
    Ok(Build {
        application,
        name,
        stored,
        master_file,
        packages: packages.collect(),
        attributes: serde_json::from_str(&attributes)?,
        created_at,
        updated_at,
    })
}
