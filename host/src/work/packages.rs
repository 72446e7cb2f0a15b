//! Packages: the files of a build, for those who may have them.

use std::ops::Range;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use uuid::Uuid;

use super::Work;
use crate::datasvc::{AppName, BuildName, Caller, Error, KeptPackage, PackageFile, PackageName, Result};
use crate::storage::{Storage, StorageError};

/// A package of a build, to be read.
pub struct StoredPackage {
    /// What it is.
    pub file: PackageFile,
    storage: Storage,
    /// Where in the store it is.
    folder: Uuid,
    run: Option<i64>,
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
        let (KeptPackage { file, run }, upload) = work.svc.build_package(caller, application, build, package).await?;
        Ok(StoredPackage { file, storage: work.storage.clone(), folder: upload.into(), run })
    }
}

impl StoredPackage {
    /// These bytes of it, as they are read. The stream ends with an error if they cannot be read to their end.
    ///
    /// # Errors
    /// [`Error::Internal`] if the file cannot be opened.
    pub async fn read(&self, bytes: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, StorageError>>> {
        self.storage.read_build_file(self.folder, self.run, &self.file.filename, bytes).await.map_err(Error::internal)
    }
}
