//! Fires hooks without a server, in `cargo test` on the author's machine.
//!
//! The hook's function runs as it would on a server: it finds the files of a build, its entries and lines of the log are
//! kept, and packages that it adds are there afterwards. Of the host's functions it can call those of
//! [`jobs`](crate::jobs) for the running job, [`log`](mod@crate::log), and those for the packages of the build in
//! [`builds`](crate::builds); the others panic.
//!
//! ```
//! use elita_plugin::prelude::*;
//! use elita_plugin::{Plugin, testing};
//!
//! fn count_bytes(call: &HookCall) -> Result<u64> {
//!     let build: hooks::BuildUploadSuccess = call.parameters()?;
//!     jobs::append(&json!({ "status": "counting", "build": build.build_name }))?;
//!     Ok(std::io::copy(&mut build.open("master")?, &mut std::io::sink())?)
//! }
//!
//! let plugin = Plugin::new().hook("my_application", "BUILD_UPLOAD_SUCCESS", count_bytes);
//! let upload = testing::Upload::new("my_application", "124-master", "zip", b"five!");
//! let fired = upload.fire(&plugin);
//! assert_eq!(fired.result.unwrap(), json!(5));
//! assert_eq!(fired.entries, [json!({ "status": "counting", "build": "124-master" })]);
//! ```

pub(crate) mod host;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use self::host::Host;
use crate::{HookCall, Plugin, Result};

pub use crate::log::Level;

/// An upload that has been stored, and fires `BUILD_UPLOAD_SUCCESS`.
#[derive(Clone, Debug)]
pub struct Upload {
    application: String,
    build: String,
    packages: BTreeMap<String, Package>,
}

/// A package of a build: what kind of archive it is, and its file.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Package {
    /// `zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz` or `tar.zst`.
    pub file_type: String,
    /// The file's content.
    pub bytes: Vec<u8>,
}

/// What came of a hook.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fired {
    /// What the hook returned.
    pub result: Result<Value>,
    /// What it added to the job's log.
    pub entries: Vec<Value>,
    /// What it wrote for operators.
    pub log: Vec<(Level, String)>,
    /// The packages that it added, by name. They are not looked at as archives, which a server does.
    pub added: BTreeMap<String, Package>,
}

impl Upload {
    /// One whose file has this content. What a server would refuse as an archive is taken here.
    pub fn new(
        application: impl Into<String>,
        build: impl Into<String>,
        file_type: impl Into<String>,
        bytes: impl Into<Vec<u8>>,
    ) -> Self {
        let upload = Self { application: application.into(), build: build.into(), packages: BTreeMap::new() };
        upload.package("master", file_type, bytes)
    }

    /// With a package that a package map has made.
    #[must_use]
    pub fn package(mut self, name: impl Into<String>, file_type: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        self.packages.insert(name.into(), Package { file_type: file_type.into(), bytes: bytes.into() });
        self
    }

    /// Runs the plugin's hook.
    ///
    /// # Panics
    /// If the files cannot be written to a temporary directory.
    pub fn fire(&self, plugin: &Plugin) -> Fired {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let mut packages = serde_json::Map::new();
        for (name, Package { file_type, bytes }) in &self.packages {
            let filename = self.filename(name, file_type);
            std::fs::write(directory.path().join(&filename), bytes).expect("the temporary directory can be written to");
            packages.insert(
                name.clone(),
                json!({
                    "filename": filename,
                    "file_type": file_type,
                    "size_bytes": bytes.len(),
                    "sha256": sha256(bytes),
                }),
            );
        }
        let file_type = &self.packages["master"].file_type;
        let parameters = json!({
            "build_name": self.build,
            "storage_dir": directory.path(),
            "filename": self.filename("master", file_type),
            "file_type": file_type,
            "packages": packages,
        });
        let call = HookCall::new(&self.application, "BUILD_UPLOAD_SUCCESS", parameters);
        run(plugin, &call, Host::of(&self.application, &self.build, self.packages.clone()))
    }

    fn filename(&self, package: &str, file_type: &str) -> String {
        match package {
            "master" => format!("{}.{file_type}", self.build),
            _ => format!("{}-{package}.{file_type}", self.build),
        }
    }
}

/// Runs a plugin's hook with these parameters: any hook, and no files.
pub fn fire(plugin: &Plugin, call: &HookCall) -> Fired {
    run(plugin, call, Host::default())
}

fn run(plugin: &Plugin, call: &HookCall, host: Host) -> Fired {
    let (result, host) = host.during(|| plugin.run_hook(call));
    let result = result.and_then(|text| Ok(serde_json::from_str(&text)?));
    let Host { entries, log, added, .. } = host;
    Fired { result, entries, log, added }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
