//! The parameters of the hooks that Elita fires.
//!
//! Hook names are an open set: a hook without a struct here is read into one's own, or into a JSON value, by
//! [`HookCall::parameters`](crate::HookCall::parameters). Fields that are not listed here are ignored.
//!
//! ```
//! use elita_plugin::prelude::*;
//!
//! fn count_changes(call: &HookCall) -> Result<usize> {
//!     let diff: hooks::GitdeployCommitDiff = call.parameters()?;
//!     Ok(diff.files.len())
//! }
//!
//! let call = HookCall::new(
//!     "my_application",
//!     "GITDEPLOY_COMMIT_DIFF",
//!     json!({ "files": ["index.html"], "changes": [], "gitdeploy": { "name": "web" }, "commit": "5c1d0a" }),
//! );
//! assert_eq!(count_changes(&call).unwrap(), 1);
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// The hook of [`BuildUploadSuccess`].
pub const BUILD_UPLOAD_SUCCESS: &str = "BUILD_UPLOAD_SUCCESS";

/// `BUILD_UPLOAD_SUCCESS`: a build is stored and packaged.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct BuildUploadSuccess {
    /// The build's name.
    pub build_name: String,
    /// A directory that the hook can read, with the build's files.
    pub storage_dir: String,
    /// The master package's file in it.
    pub filename: String,
    /// `zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz` or `tar.zst`.
    pub file_type: String,
    /// The build's packages by name, `master` among them.
    pub packages: BTreeMap<String, Package>,
}

impl BuildUploadSuccess {
    /// Opens a package's file, `master` or another one. It is read as it is needed: nothing of it has to be in memory.
    ///
    /// ```no_run
    /// use std::io::Read as _;
    ///
    /// use elita_plugin::prelude::*;
    ///
    /// fn first_bytes(call: &HookCall) -> Result<Vec<u8>> {
    ///     let build: hooks::BuildUploadSuccess = call.parameters()?;
    ///     let mut first = vec![0; 4];
    ///     build.open("master")?.read_exact(&mut first)?;
    ///     Ok(first)
    /// }
    /// ```
    ///
    /// # Errors
    /// The build has no such package; its file cannot be opened.
    pub fn open(&self, package: &str) -> Result<File> {
        let path = self.path(package)?;
        File::open(&path).map_err(|error| Error::new(format!("{} cannot be opened: {error}", path.display())))
    }

    /// Where a package's file is.
    ///
    /// # Errors
    /// The build has no such package.
    pub fn path(&self, package: &str) -> Result<PathBuf> {
        let found = self.packages.get(package);
        let found =
            found.ok_or_else(|| Error::new(format!("build `{}` has no package `{package}`", self.build_name)))?;
        Ok(Path::new(&self.storage_dir).join(&found.filename))
    }
}

/// A package of a build.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct Package {
    /// Its file.
    pub filename: String,
    /// `zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz` or `tar.zst`.
    pub file_type: String,
    /// The file's size.
    pub size_bytes: u64,
    /// The file's SHA-256, in hexadecimal.
    pub sha256: String,
}

/// `GITDEPLOY_INIT_PRE`, `GITDEPLOY_INIT_POST`, `GITDEPLOY_DEINIT_PRE` and `GITDEPLOY_DEINIT_POST`: a gitdeploy
/// is put on servers, or removed from them.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct GitdeployServers {
    /// The servers' names; in the `_POST` hooks those where it went well.
    pub server_list: Vec<String>,
    /// The gitdeploy.
    pub gitdeploy: Gitdeploy,
}

/// `GITDEPLOY_COMMIT_DIFF`: a package was committed, and is about to be pushed.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct GitdeployCommitDiff {
    /// The changed files' paths, relative to the root of the repository; at most 2000.
    pub files: Vec<String>,
    /// What changed in each of them.
    pub changes: Vec<FileChange>,
    /// Whether further files have changed.
    #[serde(default)]
    pub more: bool,
    /// The gitdeploy.
    pub gitdeploy: Gitdeploy,
    /// The name of the repository.
    #[serde(default)]
    pub gitrepo: String,
    /// The build that was committed.
    #[serde(default)]
    pub build_name: String,
    /// The commit's id.
    pub commit: String,
}

/// What changed in one file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct FileChange {
    /// The file's path, relative to the root of the repository.
    pub path: String,
    /// What happened to it.
    pub status: String,
    /// Whether it is not a text file, or is longer than 1 MiB; then its lines are not counted.
    #[serde(default)]
    pub binary: bool,
    /// Lines added. `None`: they are not counted.
    pub insertions: Option<u64>,
    /// Lines removed. `None`: they are not counted.
    pub deletions: Option<u64>,
}

/// A gitdeploy: what is deployed where, through which repository.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
#[non_exhaustive]
pub struct Gitdeploy {
    /// Its name.
    pub name: String,
    /// The package that it deploys.
    pub package: String,
    /// Where it deploys to.
    pub location: GitdeployLocation,
    /// The servers it is initialized on.
    pub servers: Vec<InitializedServer>,
    /// Whatever its owner keeps with it.
    pub attributes: Map<String, Value>,
}

/// A server that a gitdeploy is initialized on.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
#[non_exhaustive]
pub struct InitializedServer {
    /// Its name.
    pub server: String,
    /// The build that was last deployed there.
    pub deployed_build: Option<String>,
}

/// Where a gitdeploy deploys to.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
#[non_exhaustive]
pub struct GitdeployLocation {
    /// The directory on the servers.
    pub path: String,
    /// The name of the repository.
    pub gitrepo: String,
    /// The branch that is deployed.
    pub default_branch: String,
}

/// `AUTO_DEPLOYMENT_START`: a group deployment is about to begin.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct AutoDeploymentStart {
    /// The deployment's id.
    pub deployment_id: String,
    /// The build that is deployed.
    pub build: String,
    /// What it is deployed to.
    pub target: Target,
    /// What will be deployed together, in order.
    pub batches: Vec<Batch>,
}

/// `AUTO_DEPLOYMENT_BATCH_BEGIN` and `AUTO_DEPLOYMENT_BATCH_DONE`: around each batch of a group deployment.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct AutoDeploymentBatch {
    /// The deployment's id.
    pub deployment_id: String,
    /// The build that is deployed.
    pub build: String,
    /// The batch's number, from 0.
    pub batch_number: u32,
    /// How many there are.
    pub batch_count: u32,
    /// The batch.
    pub batch: Batch,
    /// All of them.
    pub batches: Vec<Batch>,
}

/// `AUTO_DEPLOYMENT_COMPLETE`: the last batch of a group deployment is done.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct AutoDeploymentComplete {
    /// The deployment's id.
    pub deployment_id: String,
    /// The build that was deployed.
    pub build: String,
    /// What it was deployed to.
    pub target: Target,
    /// What was deployed together, in order.
    pub batches: Vec<Batch>,
    /// The deployment's document.
    pub deployment: Value,
}

/// `AUTO_DEPLOYMENT_FAILED`: a group deployment ended before its last batch was done.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct AutoDeploymentFailed {
    /// The deployment's id.
    pub deployment_id: String,
    /// The build that was to be deployed.
    pub build: String,
    /// What it was to be deployed to.
    pub target: Target,
    /// What was to be deployed together, in order.
    pub batches: Vec<Batch>,
    /// The deployment's document.
    pub deployment: Value,
    /// Why it ended.
    pub error: Value,
}

/// What a group deployment deploys to.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
#[non_exhaustive]
pub struct Target {
    /// Names of groups.
    pub groups: Vec<String>,
    /// Names of environments.
    pub environments: Vec<String>,
}

/// What a group deployment deploys together.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct Batch {
    /// Names of servers.
    pub servers: Vec<String>,
    /// Names of gitdeploys.
    pub gitdeploys: Vec<String>,
    /// Whether it is a stage of an ordered group, with another one to follow.
    pub ordered_gitdeploy: bool,
    /// Which gitdeploy goes to which server.
    #[serde(default)]
    pub targets: Vec<BatchTarget>,
}

/// A gitdeploy that goes to a server.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[non_exhaustive]
pub struct BatchTarget {
    /// The server's name.
    pub server: String,
    /// The gitdeploy's name.
    pub gitdeploy: String,
}
