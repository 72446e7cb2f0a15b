//! Packages that plugins add to a build, while the job of its upload fires its hooks.

use serde_json::json;

use super::builds::{PackageFile, Packages};
use super::package_maps::MASTER;
use super::uploads::hold;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, JobId, PackageName};
use crate::datasvc::jobs::queue::Claim;

/// How many packages a build may have.
const MAX_PACKAGES: u32 = 200;

/// A package that a plugin wants to add to a build.
#[derive(Clone, Debug)]
pub struct NewPackage {
    /// The application that the build is of.
    pub application: AppName,
    /// The build.
    pub build: BuildName,
    /// What it is to be called.
    pub name: PackageName,
}

impl DataSvc {
    /// Whether a package may be added, before it is written. `claim` is that of the job that the plugin runs in.
    ///
    /// # Errors
    /// [`Error::Invalid`] for `master`; [`Error::AlreadyExists`]; [`Error::Conflict`] unless the job is the upload of
    /// the build, and goes on; [`Error::TooMany`]; [`Error::Denied`] without write permission on the application.
    pub async fn check_package(&self, caller: &Caller, claim: &Claim, new: &NewPackage) -> Result<()> {
        new.check(caller)?;
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        let packages = sqlx::query_scalar!(
            r#"select packages as "packages: Packages" from builds
               where application = $1 and name = $2 and upload = $3 and stored"#,
            new.application.as_str(),
            new.build.as_str(),
            claim.job_id as _
        )
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        new.check_room(&packages.ok_or_else(|| new.not_now())?)
    }

    /// Gives a build a package whose file is in the store.
    ///
    /// # Errors
    /// Those of [`DataSvc::check_package`].
    pub async fn add_package(
        &self,
        caller: &Caller,
        claim: &Claim,
        new: &NewPackage,
        file: &PackageFile,
    ) -> Result<()> {
        new.check(caller)?;
        let mut transaction = self.change(caller, "builds.add-package").await?;
        hold(&mut transaction, claim).await?;
        let packages = sqlx::query_scalar!(
            r#"select packages as "packages: Packages" from builds
               where application = $1 and name = $2 and upload = $3 and stored for update"#,
            new.application.as_str(),
            new.build.as_str(),
            claim.job_id as _
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let mut packages = packages.ok_or_else(|| new.not_now())?;
        new.check_room(&packages)?;
        packages.0.insert(new.name.clone(), file.clone());
        sqlx::query!(
            "update builds set packages = $3, revision = nextval('revisions'), updated_at = now()
             where application = $1 and name = $2",
            new.application.as_str(),
            new.build.as_str(),
            packages as _
        )
        .execute(&mut *transaction)
        .await?;
        let (before, after) = (json!({ "packages": {} }), json!({ "packages": { new.name.as_str(): file } }));
        transaction.updated(Some(&new.application), &new.build, &before, &after).await
    }

    /// Of these uploads those whose files a build has, with the names of the files. An upload that still goes on is not
    /// among them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn stored_files(&self, uploads: &[JobId]) -> Result<Vec<(JobId, Vec<String>)>> {
        let stored = sqlx::query!(
            r#"select upload as "upload!: JobId", packages as "packages: Packages" from builds where upload = any($1::uuid[]) and stored
                   and not exists (select from jobs where jobs.id = upload and status in ('queued', 'running'))"#,
            uploads as _
        );
        let stored = stored.fetch_all(&self.pool).await?;
        let filenames = |packages: Packages| packages.0.into_values().map(|file| file.filename).collect();
        Ok(stored.into_iter().map(|build| (build.upload, filenames(build.packages))).collect())
    }
}

impl NewPackage {
    fn check(&self, caller: &Caller) -> Result<()> {
        caller.require(Permission::Write, &self.application)?;
        if self.name.as_str() == MASTER {
            return Err(Error::invalid("name", format!("`{MASTER}` is the uploaded file, which stays as it is")));
        }
        Ok(())
    }

    fn check_room(&self, packages: &Packages) -> Result<()> {
        if packages.0.contains_key(&self.name) {
            return Err(Error::already_exists(Kind::Package, &self.name));
        }
        if packages.0.len() >= MAX_PACKAGES as usize {
            return Err(Error::TooMany { what: "packages of a build", limit: MAX_PACKAGES });
        }
        Ok(())
    }

    fn not_now(&self) -> Error {
        Error::conflict(format!(
            "packages are added to build `{}` by its hook BUILD_UPLOAD_SUCCESS only, while that runs",
            self.build
        ))
    }
}
