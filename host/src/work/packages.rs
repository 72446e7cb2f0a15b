//! Packages: the files of a build, for those who may have them.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::Work;
use super::upload::UploadError;
use crate::datasvc::{AppName, BuildName, Caller, FileLocation, PackageFile, PackageName, Result};
use crate::storage::{Storage, StorageError};

/// A package of a build, to be read.
pub struct StoredPackage {
    /// What it is.
    pub file: PackageFile,
    storage: Storage,
    location: FileLocation,
    /// Whether clients are sent to the store.
    lends: bool,
}

impl Work {
    /// A package of a build.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::build_package`].
    pub async fn package(
        &self,
        caller: &Caller,
        application: &AppName,
        build: &BuildName,
        package: &PackageName,
    ) -> Result<StoredPackage> {
        let work = &self.0;
        let (file, location) = work.svc.build_package(caller, application, build, package).await?;
        let (storage, lends) = (work.storage.clone(), work.uploads.lends);
        Ok(StoredPackage { file, storage, location, lends })
    }
}

impl StoredPackage {
    /// These bytes of it, as they are read. The stream ends with an error if they cannot be read to their end.
    ///
    /// # Errors
    /// [`UploadError::Away`]; [`UploadError::Store`].
    pub async fn read(
        &self,
        bytes: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, UploadError> {
        let FileLocation { upload, run, filename } = &self.location;
        Ok(self.storage.read_build_file((*upload).into(), *run, filename, bytes).await?)
    }

    /// Where a client can get it itself for some minutes, if clients are sent there.
    ///
    /// # Errors
    /// [`UploadError::Store`].
    pub async fn lent_url(&self) -> Result<Option<String>, UploadError> {
        if !self.lends {
            return Ok(None);
        }
        let FileLocation { upload, run, filename } = &self.location;
        Ok(self.storage.lent_url((*upload).into(), *run, filename).await?)
    }
}
