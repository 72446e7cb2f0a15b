//! The packages of the imported interface `builds`: the resource that writes one, and reading one in pieces.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{Mutex, OwnedSemaphorePermit};
use wasmtime::component::Resource;

use super::{Call, HostError};
use crate::datasvc::{AppName, BuildName, Error, FileType, NewPackage, PackageFile, PackageName};
use crate::plugin::bindings::elita::plugin::builds;
use crate::plugin::effects::PackageWriter;
use crate::plugin::sandbox::instance::GuestState;

/// How many packages a run may write at a time. Each takes a few MiB of the server's memory.
pub(crate) const MAX_OPEN_PACKAGES: usize = 4;
/// How much of a package is read at a time.
const MAX_READ_BYTES: u32 = 1024 * 1024;

/// A guest's handle of a package that it writes.
#[expect(unreachable_pub, reason = "the bindings export it again")]
pub struct Package {
    /// Its application, its build and its name.
    target: [String; 3],
    /// `None`: it is finished, or has failed.
    open: Shared,
}

impl Package {
    fn name(&self) -> &str {
        let [_, _, name] = &self.target;
        name
    }
}

struct OpenPackage {
    writer: Box<dyn PackageWriter>,
    _place: OwnedSemaphorePermit,
}

impl builds::HostPackageWriter for GuestState {
    async fn write(&mut self, package: Resource<Package>, bytes: Vec<u8>) -> Result<(), HostError> {
        let (call, open) = self.call_package("builds.package-writer.write", &package)?;
        let mut open = open.lock().await;
        let Some(mut package) = open.take() else { return Err(no_longer_open().into()) };
        call.count_written(bytes.len())?;
        call.timed(package.writer.write(bytes.into())).await?;
        *open = Some(package);
        Ok(())
    }

    async fn finish(
        &mut self,
        package: Resource<Package>,
        sha256: Option<String>,
    ) -> Result<builds::PackageFile, HostError> {
        let name = self.table.get(&package)?.name().to_owned();
        let (call, open) = self.call_package("builds.package-writer.finish", &package)?;
        let Some(package) = open.lock().await.take() else { return Err(no_longer_open().into()) };
        Ok((name, call.lasting(package.writer.finish(sha256)).await?).into())
    }

    async fn drop(&mut self, package: Resource<Package>) -> wasmtime::Result<()> {
        self.table.delete(package)?;
        Ok(())
    }
}

/// A package that several calls may be about; null once it is finished.
type Shared = Arc<Mutex<Option<OpenPackage>>>;

impl GuestState {
    /// A call about an open package.
    fn call_package(&self, op: &'static str, package: &Resource<Package>) -> Result<(Call<'_>, Shared), HostError> {
        let Package { target, open } = self.table.get(package)?;
        let [application, build, name] = target;
        Ok((self.call(op, &[application, build, name])?, open.clone()))
    }

    pub(super) async fn begin_package(
        &mut self,
        target: [String; 3],
        file_type: &str,
    ) -> Result<Resource<Package>, HostError> {
        let [application, build, name] = &target;
        let call = self.call("builds.add-package", &[application, build, name])?;
        let new = NewPackage {
            application: AppName::parse(&**application)?,
            build: BuildName::parse(&**build)?,
            name: PackageName::parse(&**name)?,
        };
        let file_type = FileType::parse(file_type)?;
        let place = call.packages.clone().try_acquire_owned();
        let limit = MAX_OPEN_PACKAGES as u32;
        let _place = place.map_err(|_| Error::TooMany { what: "packages open at a time", limit })?;
        let writer = call.timed(call.effects.add_package(&call.caller, &call.claim, new, file_type)).await?;
        drop(call);
        let open = Arc::new(Mutex::new(Some(OpenPackage { writer, _place })));
        Ok(self.table.push(Package { target, open })?)
    }

    pub(super) async fn read_piece(
        &mut self,
        target: [String; 3],
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, HostError> {
        let [application, build, name] = target;
        let call = self.call("builds.read-package", &[&application, &build, &name])?;
        let (application, build) = (AppName::parse(application)?, BuildName::parse(build)?);
        let name = PackageName::parse(name)?;
        let length = length.min(MAX_READ_BYTES);
        let read = call.effects.read_package(&call.caller, application, build, name, offset, length);
        Ok(call.timed(read).await?.into())
    }
}

impl Call<'_> {
    /// Counts what a run writes, over all of its packages.
    fn count_written(&self, bytes: usize) -> Result<(), Error> {
        let limit = self.package_bytes_limit;
        let written = self.package_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if written > limit {
            return Err(Error::TooLarge { what: "what this run has written to packages", actual: written, limit });
        }
        Ok(())
    }
}

fn no_longer_open() -> Error {
    Error::conflict("the package is finished or has failed; begin another one")
}

impl From<(String, PackageFile)> for builds::PackageFile {
    fn from((name, file): (String, PackageFile)) -> Self {
        let PackageFile { filename, file_type, size_bytes, sha256 } = file;
        Self { name, filename, file_type: file_type.to_string(), size_bytes, sha256 }
    }
}
