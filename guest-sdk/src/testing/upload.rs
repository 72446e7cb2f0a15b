//! Fires hooks, and keeps what came of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::Host;
use crate::log::Level;
use crate::{HookCall, Plugin, Result};

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

impl Package {
    /// The name of its file.
    pub(super) fn filename(&self, build: &str, name: &str) -> String {
        match name {
            "master" => format!("{build}.{}", self.file_type),
            _ => format!("{build}-{name}.{}", self.file_type),
        }
    }
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

    /// Runs the plugin's hook, on a host of its own.
    ///
    /// # Panics
    /// If the files cannot be written to a temporary directory.
    pub fn fire(&self, plugin: &Plugin) -> Fired {
        self.fire_on(&mut Host::new(), plugin)
    }

    /// Runs the plugin's hook on a host that has more than this build, or that is looked at afterwards.
    ///
    /// # Panics
    /// If the files cannot be written to a temporary directory.
    pub fn fire_on(&self, host: &mut Host, plugin: &Plugin) -> Fired {
        let directory = TempDir::new().expect("a temporary directory can be made");
        let mut packages = serde_json::Map::new();
        for (name, package) in &self.packages {
            let filename = package.filename(&self.build, name);
            let Package { file_type, bytes } = package;
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
        let master = &self.packages["master"];
        let parameters = json!({
            "build_name": self.build,
            "storage_dir": directory.path(),
            "filename": master.filename(&self.build, "master"),
            "file_type": master.file_type,
            "packages": packages,
        });
        host.store(&self.application, &self.build, &self.packages);
        let call = HookCall::new(&self.application, "BUILD_UPLOAD_SUCCESS", parameters);
        let fired = run(plugin, &call, host);
        host.uploaded = None;
        fired
    }
}

/// Runs a plugin's hook with these parameters: any hook, and no files.
pub fn fire(plugin: &Plugin, call: &HookCall) -> Fired {
    run(plugin, call, &mut Host::new())
}

fn run(plugin: &Plugin, call: &HookCall, host: &mut Host) -> Fired {
    let (entries, lines) = (host.entries.len(), host.log.len());
    let result = host.run(|| plugin.run_hook(call)).and_then(|text| Ok(serde_json::from_str(&text)?));
    Fired {
        result,
        entries: host.entries[entries..].to_vec(),
        log: host.log[lines..].to_vec(),
        added: std::mem::take(&mut host.added),
    }
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
