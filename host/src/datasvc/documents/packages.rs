//! Packages that plugins add to a build, while the job of its upload fires its hooks.

use serde_json::json;

use super::builds::{FileLocation, KeptPackage, KeptPackages, PackageFile};
use super::package_maps::MASTER;
use super::shared_packages::{Sharer, Superfluous};
use super::uploads::hold;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, JobId, PackageName};
use crate::datasvc::jobs::claim::Claim;

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
    /// Whether a package may be added, before it is written; how large the uploaded file is, if so. `claim` is that of the
    /// job that the plugin runs in.
    ///
    /// # Errors
    /// [`Error::Invalid`] for `master`; [`Error::AlreadyExists`]; [`Error::Conflict`] unless the job is the upload of
    /// the build, and goes on; [`Error::TooMany`]; [`Error::Denied`] without write permission on the application.
    pub async fn check_package(&self, caller: &Caller, claim: &Claim, new: &NewPackage) -> Result<u64> {
        new.check(caller)?;
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        let packages = sqlx::query_scalar!(
            r#"select packages as "packages: KeptPackages" from builds
               where application = $1 and name = $2 and upload = $3 and stored"#,
            new.application.as_str(),
            new.build.as_str(),
            claim.job_id as _
        )
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.rollback().await?;
        let packages = packages.ok_or_else(|| new.not_now())?;
        new.check_room(&packages)?;
        let master = packages.0.iter().find(|(name, _)| name.as_str() == MASTER);
        Ok(master.map_or(0, |(_, kept)| kept.file.size_bytes))
    }

    /// Gives a build a package whose file is in the store, put there by this run of the job. All packages but the uploaded
    /// file may be `together` so many bytes. Returns the file as a superfluous one, if the package refers to an equal
    /// one.
    ///
    /// # Errors
    /// Those of [`DataSvc::check_package`]; [`Error::TooLarge`] if they would be more.
    pub async fn add_package(
        &self,
        caller: &Caller,
        claim: &Claim,
        new: &NewPackage,
        file: &PackageFile,
        together: u64,
    ) -> Result<Option<Superfluous>> {
        new.check(caller)?;
        let mut transaction = self.change(caller, "builds.add-package").await?;
        hold(&mut transaction, claim).await?;
        let packages = sqlx::query_scalar!(
            r#"select packages as "packages: KeptPackages" from builds
               where application = $1 and name = $2 and upload = $3 and stored for update"#,
            new.application.as_str(),
            new.build.as_str(),
            claim.job_id as _
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let mut packages = packages.ok_or_else(|| new.not_now())?;
        new.check_room(&packages)?;
        let others = packages.0.iter().filter(|(name, _)| name.as_str() != MASTER);
        let sum = others.map(|(_, kept)| kept.file.size_bytes).fold(file.size_bytes, u64::saturating_add);
        if sum > together {
            return Err(NewPackage::too_large(sum, together));
        }
        let mut package = KeptPackage::new(file.clone(), Some(claim.fence));
        let sharer = Sharer { application: &new.application, build: new.build.as_str(), upload: claim.job_id };
        sharer.share(&mut transaction, &packages, &mut package).await?;
        let superfluous = package.superfluous(claim.job_id);
        packages.0.insert(new.name.clone(), package);
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
        transaction.updated(Some(&new.application), &new.build, &before, &after).await?;
        Ok(superfluous)
    }

    /// A package of a build for a job that works with it, whoever asked for that, and where its file is stored.
    ///
    /// # Errors
    /// [`Error::NotFound`], also while the build has no file.
    pub async fn package_for_work(
        &self,
        application: &AppName,
        build: &BuildName,
        package: &PackageName,
    ) -> Result<(PackageFile, FileLocation)> {
        let found = sqlx::query!(
            r#"select packages as "packages: KeptPackages", case when stored then upload end as "upload: JobId"
               from builds where application = $1 and name = $2"#,
            application.as_str(),
            build.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Noun::Build, build))?;
        let kept = found.packages.0.into_iter().find_map(|(found, kept)| (found == *package).then_some(kept));
        let (kept, upload) = kept.zip(found.upload).ok_or_else(|| Error::not_found(Noun::Package, package))?;
        let location = kept.location(upload);
        Ok((kept.file, location))
    }
}

impl NewPackage {
    /// Why a package is refused with which all of its build would be so large.
    pub fn too_large(bytes: u64, together: u64) -> Error {
        let [actual, limit] = [bytes, together].map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        Error::TooLarge { what: "the sum of the build's packages", actual, limit }
    }

    fn check(&self, caller: &Caller) -> Result<()> {
        caller.require(Permission::Write, &self.application)?;
        if self.name.as_str() == MASTER {
            return Err(Error::invalid("name", format!("`{MASTER}` is the uploaded file, which stays as it is")));
        }
        Ok(())
    }

    fn check_room(&self, packages: &KeptPackages) -> Result<()> {
        if packages.0.contains_key(&self.name) {
            return Err(Error::already_exists(Noun::Package, &self.name));
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
