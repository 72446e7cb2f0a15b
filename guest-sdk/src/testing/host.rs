//! What stands for the host while a hook is tested. Each thread has its own, as tests run beside each other.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::Value;

use super::Package;
use crate::log::Level;

thread_local! {
    static HOST: RefCell<Option<Host>> = const { RefCell::new(None) };
}

/// What a hook finds, and what it has left.
#[derive(Default)]
pub(super) struct Host {
    application: String,
    build: String,
    packages: BTreeMap<String, Package>,
    pub(super) entries: Vec<Value>,
    pub(super) log: Vec<(Level, String)>,
    pub(super) added: BTreeMap<String, Package>,
}

impl Host {
    pub(super) fn of(application: &str, build: &str, packages: BTreeMap<String, Package>) -> Self {
        Self { application: application.into(), build: build.into(), packages, ..Self::default() }
    }

    /// Does the work as on this host.
    pub(super) fn during<T>(self, work: impl FnOnce() -> T) -> (T, Self) {
        let former = HOST.replace(Some(self));
        let guard = Restored(former);
        let done = work();
        let host = HOST.take().expect("it is there until the work is done");
        drop(guard);
        (done, host)
    }

    fn package(&self, name: &str) -> Option<&Package> {
        self.packages.get(name).or_else(|| self.added.get(name))
    }
}

/// Puts back what was there, also after a panic.
struct Restored(Option<Host>);

impl Drop for Restored {
    fn drop(&mut self) {
        HOST.set(self.0.take());
    }
}

/// Asks the host of this thread; without one `otherwise` is the answer: the function of the bindings, which panics.
fn ask<T>(of_host: impl FnOnce(&mut Host) -> T, otherwise: impl FnOnce() -> T) -> T {
    let is_there = HOST.with_borrow(Option::is_some);
    if is_there { HOST.with_borrow_mut(|host| of_host(host.as_mut().expect("it is there"))) } else { otherwise() }
}

pub(crate) mod jobs {
    use serde_json::json;

    use super::ask;
    use crate::bindings::elita::plugin::jobs as wit;
    use crate::bindings::elita::plugin::types::Error;

    pub(crate) use wit::{Entry, Job, JobStanding, ProgressMark, Status, before, entries, get, standing, tail};

    /// The longest entry, as on a server.
    const MAX_ENTRY_BYTES: usize = 64 * 1024;

    pub(crate) fn current() -> String {
        ask(|_| crate::calls::TEST_JOB.into(), wit::current)
    }

    pub(crate) fn cancel_requested() -> bool {
        ask(|_| false, wit::cancel_requested)
    }

    pub(crate) fn append(data: &str) -> Result<u64, Error> {
        let append = |host: &mut super::Host| {
            if data.len() > MAX_ENTRY_BYTES {
                return Err(Error::LimitExceeded(format!("an entry has at most {MAX_ENTRY_BYTES} bytes")));
            }
            host.entries.push(serde_json::from_str(data).map_err(|error| Error::Invalid(error.to_string()))?);
            Ok(host.entries.len() as u64)
        };
        ask(append, || wit::append(data))
    }

    pub(crate) fn progress(percent: u8, status: &str) -> Result<u64, Error> {
        let progress = |host: &mut super::Host| {
            if percent > 100 {
                return Err(Error::Invalid(format!("percent: {percent} is more than 100")));
            }
            host.entries.push(json!({ "status": status, "progress": percent }));
            Ok(host.entries.len() as u64)
        };
        ask(progress, || wit::progress(percent, status))
    }
}

pub(crate) mod log {
    use super::ask;
    use crate::bindings::elita::plugin::log as wit;

    pub(crate) use wit::Level;

    pub(crate) fn write(level: Level, message: &str) {
        ask(|host| host.log.push((level, message.into())), || wit::write(level, message));
    }
}

pub(crate) mod builds {
    use std::cell::RefCell;

    use super::super::{Package, sha256};
    use super::ask;
    use crate::bindings::elita::plugin::builds as wit;
    use crate::bindings::elita::plugin::types::Error;

    pub(crate) use wit::{Build, PackageFile, create, delete, files, get, list, update};

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
            let found = sha256(&bytes);
            if expected.is_some_and(|expected| expected != found) {
                return Err(Error::Invalid(format!("sha256: the file has {found}")));
            }
            let Self { build, name, file_type, .. } = self;
            let file = PackageFile {
                name: name.clone(),
                filename: format!("{build}-{name}.{file_type}"),
                file_type: file_type.clone(),
                size_bytes: bytes.len() as u64,
                sha256: found,
            };
            let add = |host: &mut super::Host| {
                if host.package(name).is_some() {
                    return Err(taken(name));
                }
                host.added.insert(name.clone(), Package { file_type: file_type.clone(), bytes });
                Ok(file)
            };
            ask(add, || panic!("the hook has ended, and package `{name}` with it"))
        }
    }

    pub(crate) fn add_package(
        application: &str,
        build: &str,
        name: &str,
        file_type: &str,
    ) -> Result<PackageWriter, Error> {
        let begin = |host: &mut super::Host| {
            if (&*host.application, &*host.build) != (application, build) {
                return Err(Error::Conflict(format!("no hook of build `{build}` runs")));
            }
            if name == "master" || !["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tar.zst"].contains(&file_type) {
                return Err(Error::Invalid(format!("package `{name}` cannot be added as `{file_type}`")));
            }
            if host.package(name).is_some() {
                return Err(taken(name));
            }
            Ok(PackageWriter {
                build: build.into(),
                name: name.into(),
                file_type: file_type.into(),
                bytes: RefCell::new(Some(Vec::new())),
            })
        };
        ask(begin, || panic!("packages are added by a hook; `testing::Upload::fire` runs one"))
    }

    pub(crate) fn read_package(
        application: &str,
        build: &str,
        name: &str,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, Error> {
        let read = |host: &mut super::Host| {
            let is_known = (&*host.application, &*host.build) == (application, build);
            let package = host.package(name).filter(|_| is_known);
            let Package { bytes, .. } =
                package.ok_or_else(|| Error::NotFound(format!("package `{name}` does not exist")))?;
            let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
            let end = begin.saturating_add(length as usize).min(bytes.len());
            Ok(bytes[begin..end].to_vec())
        };
        ask(read, || wit::read_package(application, build, name, offset, length))
    }

    fn taken(name: &str) -> Error {
        Error::AlreadyExists(format!("package `{name}` already exists"))
    }

    fn finished() -> Error {
        Error::Conflict("the package is finished or has failed; begin another one".into())
    }
}
