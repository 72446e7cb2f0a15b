//! Builds and their packages. Archives are not looked at.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::super::upload::sha256;
use super::{Build as Held, Error, Host, Names, Package, Page, TIME, ask, change, key, object, page};
use crate::bindings::elita::plugin::builds as wit;

pub(crate) use wit::{Build, PackageFile};

pub(crate) fn get(application: &str, build: &str) -> Result<Build, Error> {
    ask("builds::get", |host| document(host, application, build))
}

pub(crate) fn list(application: &str, which: &Page) -> Result<Names, Error> {
    ask("builds::list", |host| {
        host.known(application)?;
        let of_it = host.builds.keys().filter(|(of, _)| of == application);
        Ok(page(of_it.map(|(_, name)| name.clone()), which))
    })
}

pub(crate) fn files(_: &str, _: &str, _: Option<&str>, _: &Page) -> Result<Names, Error> {
    panic!("`testing::Host` does not look into archives, and `builds::files` is not there in a test")
}

pub(crate) fn create(application: &str, build: &str, attributes: &str) -> Result<Build, Error> {
    ask("builds::create", |host| {
        host.known(application)?;
        if host.builds.contains_key(&key(application, build)) {
            return Err(Error::AlreadyExists(format!("build `{build}` already exists")));
        }
        let made = Held { attributes: Value::Object(object(attributes)?), packages: BTreeMap::new() };
        host.builds.insert(key(application, build), made);
        document(host, application, build)
    })
}

pub(crate) fn update(application: &str, build: &str, patch: &str) -> Result<Build, Error> {
    ask("builds::update", |host| {
        let held = host.builds.get_mut(&key(application, build)).ok_or_else(|| unknown(build))?;
        let mut changed = held.attributes.clone();
        change(&mut changed, patch)?;
        held.attributes = changed;
        document(host, application, build)
    })
}

pub(crate) fn delete(application: &str, build: &str) -> Result<(), Error> {
    ask("builds::delete", |host| host.builds.remove(&key(application, build)).map(drop).ok_or_else(|| unknown(build)))
}

/// A package that a hook writes.
#[derive(Debug)]
pub(crate) struct PackageWriter {
    build: String,
    name: String,
    file_type: String,
    /// `None`: it is finished.
    bytes: RefCell<Option<Vec<u8>>>,
}

impl PackageWriter {
    pub(crate) fn write(&self, more: &[u8]) -> Result<(), Error> {
        match &mut *self.bytes.borrow_mut() {
            Some(bytes) => {
                bytes.extend_from_slice(more);
                Ok(())
            }
            None => Err(finished()),
        }
    }

    pub(crate) fn finish(&self, expected: Option<&str>) -> Result<PackageFile, Error> {
        let bytes = self.bytes.take().ok_or_else(finished)?;
        if expected.is_some_and(|expected| expected != sha256(&bytes)) {
            return Err(Error::Invalid(format!("sha256: the file has {}", sha256(&bytes))));
        }
        let Self { build, name, file_type, .. } = self;
        let package = Package { file_type: file_type.clone(), bytes };
        ask("PackageWriter::finish", |host| {
            let uploaded = host.uploaded.clone().ok_or_else(|| not_in_a_hook(build))?;
            let held = host.builds.get_mut(&uploaded).ok_or_else(|| unknown(build))?;
            if held.packages.contains_key(name) {
                return Err(taken(name));
            }
            let file = described(build, name, &package);
            held.packages.insert(name.clone(), package.clone());
            host.added.insert(name.clone(), package);
            Ok(file)
        })
    }
}

pub(crate) fn add_package(application: &str, build: &str, name: &str, file_type: &str) -> Result<PackageWriter, Error> {
    ask("builds::add_package", |host| {
        if host.uploaded != Some(key(application, build)) {
            return Err(not_in_a_hook(build));
        }
        if name == "master" || !["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"].contains(&file_type) {
            return Err(Error::Invalid(format!("package `{name}` cannot be added as `{file_type}`")));
        }
        if host.builds.get(&key(application, build)).is_some_and(|held| held.packages.contains_key(name)) {
            return Err(taken(name));
        }
        Ok(PackageWriter {
            build: build.into(),
            name: name.into(),
            file_type: file_type.into(),
            bytes: RefCell::new(Some(Vec::new())),
        })
    })
}

pub(crate) fn read_package(
    application: &str,
    build: &str,
    name: &str,
    offset: u64,
    length: u32,
) -> Result<Vec<u8>, Error> {
    ask("builds::read_package", |host| {
        let package = host.builds.get(&key(application, build)).and_then(|held| held.packages.get(name));
        let Package { bytes, .. } =
            package.ok_or_else(|| Error::NotFound(format!("package `{name}` does not exist")))?;
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = begin.saturating_add(length as usize).min(bytes.len());
        Ok(bytes[begin..end].to_vec())
    })
}

fn document(host: &Host, application: &str, build: &str) -> Result<Build, Error> {
    let held = host.builds.get(&key(application, build)).ok_or_else(|| unknown(build))?;
    let packages: Vec<_> = held.packages.iter().map(|(name, package)| described(build, name, package)).collect();
    let master = packages.iter().find(|package| package.name == "master");
    Ok(Build {
        application: application.into(),
        name: build.into(),
        stored: master.is_some(),
        master_file: master.map(|package| package.filename.clone()),
        packages,
        attributes: held.attributes.to_string(),
        created_at: TIME.into(),
        updated_at: TIME.into(),
    })
}

fn described(build: &str, name: &str, package: &Package) -> PackageFile {
    PackageFile {
        name: name.into(),
        filename: package.filename(build, name),
        file_type: package.file_type.clone(),
        size_bytes: package.bytes.len() as u64,
        sha256: sha256(&package.bytes),
    }
}

fn unknown(build: &str) -> Error {
    Error::NotFound(format!("build `{build}` does not exist"))
}

fn not_in_a_hook(build: &str) -> Error {
    Error::Conflict(format!("no hook of build `{build}` runs; `testing::Upload` fires one"))
}

fn taken(name: &str) -> Error {
    Error::AlreadyExists(format!("package `{name}` already exists"))
}

fn finished() -> Error {
    Error::Conflict("the package is finished or has failed; begin another one".into())
}
