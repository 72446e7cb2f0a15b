//! Builds: what CI uploads and deployments put on servers. Here they are records; a build has files once one was
//! uploaded for it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::uploads::FileType;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Kind, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, JobId, PackageName};
use crate::datasvc::ground::page::{AgeCursor, Listed, Order, Page};
use crate::datasvc::ground::patch::Patch;
use crate::datasvc::ground::revision::{Expected, Revision};
use crate::datasvc::ground::sql::{OnConstraint as _, json_column};

/// A build.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Build {
    /// Unique within the application.
    pub build_name: BuildName,
    /// The application it is of.
    pub application: AppName,
    /// The same, by the name that it had first.
    pub app_name: AppName,
    /// Whether its file was uploaded.
    pub stored: bool,
    /// The name of that file.
    pub master_file: Option<String>,
    /// Its packages. `master` is the uploaded file.
    #[schema(value_type = BTreeMap<String, PackageFile>)]
    pub packages: Packages,
    /// How many files and directories are in `master`; their paths are listed at `…/files`.
    pub file_count: i32,
    /// What users keep with it.
    pub attributes: Attributes,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
    /// This version of it.
    #[serde(skip)]
    pub revision: Revision,
}

/// The packages of a build by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Packages(pub BTreeMap<PackageName, PackageFile>);

/// A package of a build.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PackageFile {
    /// The file's name.
    pub filename: String,
    /// What kind of archive it is.
    pub file_type: FileType,
    /// The file's length in bytes.
    pub size_bytes: u64,
    /// The file's SHA-256, 64 hexadecimal digits in lower case.
    pub sha256: String,
}

/// A package with what is known of its file beside what users see.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptPackage {
    /// What users see.
    #[serde(flatten)]
    pub file: PackageFile,
    /// Which run of the upload stored it, by the number of its claim; null: a client sent it, before any run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// Where its bytes are, if it refers to those of an equal package; null: where they were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<FileLocation>,
}

/// Where in the store a file of an upload is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct FileLocation {
    /// The upload whose folder it is in.
    pub upload: JobId,
    /// Which run of it has stored it; null: a client sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<i64>,
    /// What it is called there.
    pub filename: String,
}

impl KeptPackage {
    /// A package whose file is written by a run of the upload, or before any.
    pub fn new(file: PackageFile, run: Option<i64>) -> Self {
        Self { file, run, at: None }
    }

    /// Where its bytes are, if this is the upload that its build is stored by.
    pub fn location(&self, upload: JobId) -> FileLocation {
        self.at.clone().unwrap_or_else(|| self.written(upload))
    }

    /// Where its own file was written.
    pub(super) fn written(&self, upload: JobId) -> FileLocation {
        FileLocation { upload, run: self.run, filename: self.file.filename.clone() }
    }
}

/// The packages of a build by name, as they are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct KeptPackages(pub BTreeMap<PackageName, KeptPackage>);

impl KeptPackages {
    /// What users see of them.
    pub fn shown(&self) -> Packages {
        Packages(self.0.iter().map(|(name, kept)| (name.clone(), kept.file.clone())).collect())
    }

    /// Where their files are, of a build that is stored by this upload, and what they are called.
    pub fn files(&self, upload: JobId) -> Vec<(FileLocation, String)> {
        self.0.values().map(|kept| (kept.location(upload), kept.file.filename.clone())).collect()
    }
}

/// Paths of files in a build.
#[derive(Clone, Debug, Default)]
pub struct BuildFiles(pub Vec<String>);

json_column!(Packages);
json_column!(KeptPackages);

/// Which builds to list, and in which order.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuildFilter {
    /// `true`: builds that have a file; `false`: builds that do not have one.
    pub stored: Option<bool>,
    /// Those created at this time or later.
    pub since: Option<OffsetDateTime>,
    /// Those created before this time.
    pub until: Option<OffsetDateTime>,
    /// Which come first.
    pub order: Order,
}

/// What can be changed of a build.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BuildChange)]
pub struct Change {
    #[serde(default)]
    attributes: Attributes,
}

impl DataSvc {
    /// Makes a build, of which nothing is stored yet.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`]; [`Error::NotFound`] without the application; [`Error::Denied`] without write
    /// permission on it.
    pub async fn create_build(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &BuildName,
        attributes: &Attributes,
    ) -> Result<Build> {
        caller.require(Permission::Write, application)?;
        self.create_build_as(caller, application, name, attributes).await
    }

    /// The same for who may do that.
    async fn create_build_as(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &BuildName,
        attributes: &Attributes,
    ) -> Result<Build> {
        let mut transaction = self.change(caller, "builds.create").await?;
        let created = sqlx::query_as!(
            Build,
            r#"insert into builds (application, name, attributes) values ($1, $2, $3)
               returning name as "build_name: BuildName", application as "application: AppName", application as "app_name: AppName", stored, master_file,
                   packages as "packages: Packages", file_count, attributes as "attributes: Attributes",
                   created_at, updated_at, revision as "revision: Revision""#,
            application.as_str(),
            name.as_str(),
            attributes as _
        )
        .fetch_one(&mut *transaction)
        .await;
        let build = created.on_constraints(&[
            ("builds_pkey", &|| Error::already_exists(Kind::Build, name)),
            ("builds_application_fkey", &|| Error::not_found(Kind::Application, application)),
        ])?;
        transaction.created(Some(application), name, &build).await?;
        Ok(build)
    }

    /// Makes a build for an upload unless it is there.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the application; [`Error::Denied`] without the permission to upload to it.
    pub async fn ensure_build(&self, caller: &Caller, application: &AppName, name: &BuildName) -> Result<()> {
        caller.require(Permission::Upload, application)?;
        match self.create_build_as(caller, application, name, &Attributes::default()).await {
            Ok(_) | Err(Error::AlreadyExists { .. }) => Ok(()),
            Err(problem) => Err(problem),
        }
    }

    /// One build.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without read permission on the application.
    pub async fn build(&self, caller: &Caller, application: &AppName, name: &BuildName) -> Result<Build> {
        caller.require(Permission::Read, application)?;
        sqlx::query_as!(
            Build,
            r#"select name as "build_name: BuildName", application as "application: AppName", application as "app_name: AppName", stored, master_file,
                   packages as "packages: Packages", file_count, attributes as "attributes: Attributes",
                   created_at, updated_at, revision as "revision: Revision"
               from builds where application = $1 and name = $2"#,
            application.as_str(),
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Kind::Build, name))
    }

    /// A package of a build, and where its file is stored.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the build, or the package; [`Error::Denied`] without read permission on the
    /// application.
    pub async fn build_package(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &BuildName,
        package: &PackageName,
    ) -> Result<(PackageFile, FileLocation)> {
        caller.require(Permission::Read, application)?;
        let found = sqlx::query!(
            r#"select packages as "packages: KeptPackages", case when stored then upload end as "upload: JobId"
               from builds where application = $1 and name = $2"#,
            application.as_str(),
            name.as_str()
        )
        .fetch_optional(&self.pool)
        .await?
        .ok_or_else(|| Error::not_found(Kind::Build, name))?;
        let kept = found.packages.0.into_iter().find_map(|(found, kept)| (found == *package).then_some(kept));
        let (kept, upload) = kept.zip(found.upload).ok_or_else(|| Error::not_found(Kind::Package, package))?;
        let location = kept.location(upload);
        Ok((kept.file, location))
    }

    /// The builds of an application that the filter lets through, in the order of the page.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the application; [`Error::Denied`] without read permission on it; [`Error::Invalid`]
    /// if the page begins after what this list has not given.
    pub async fn builds(
        &self,
        caller: &Caller,
        application: &AppName,
        filter: BuildFilter,
        page: &Page,
    ) -> Result<Listed<Build>> {
        caller.require(Permission::Read, application)?;
        let listed = match filter.order {
            Order::Name => self.builds_by_name(application, filter, page).await?,
            Order::Newest | Order::Oldest => self.builds_by_age(application, filter, page).await?,
        };
        self.exists_if_empty(application, &listed).await?;
        Ok(listed)
    }

    async fn builds_by_name(&self, application: &AppName, filter: BuildFilter, page: &Page) -> Result<Listed<Build>> {
        let rows = sqlx::query_as!(
            Build,
            r#"select name as "build_name: BuildName", application as "application: AppName", application as "app_name: AppName", stored, master_file,
                   packages as "packages: Packages", file_count, attributes as "attributes: Attributes",
                   created_at, updated_at, revision as "revision: Revision"
               from builds
               where application = $1 and ($2::text is null or name > $2) and ($4::boolean is null or stored = $4)
                   and ($5::text is null or name like $5)
                   and ($6::timestamptz is null or created_at >= $6) and ($7::timestamptz is null or created_at < $7)
               order by name limit $3"#,
            application.as_str(),
            page.after(),
            page.fetch(),
            filter.stored,
            page.like(),
            filter.since,
            filter.until
        );
        self.reads
            .run(async |connection| page.gather(rows.fetch(connection), |build| build.build_name.to_string()).await)
            .await
    }

    async fn builds_by_age(&self, application: &AppName, filter: BuildFilter, page: &Page) -> Result<Listed<Build>> {
        let (at, name) = page.after_as(AgeCursor::parse)?.map(AgeCursor::into_parts).unzip();
        let rows = sqlx::query_as!(
            Build,
            r#"select name as "build_name: BuildName", application as "application: AppName", application as "app_name: AppName", stored, master_file,
                   packages as "packages: Packages", file_count, attributes as "attributes: Attributes",
                   created_at, updated_at, revision as "revision: Revision"
               from builds
               where application = $1 and ($2::timestamptz is null
                       or case when $7 then (created_at, name) < ($2, $3) else (created_at, name) > ($2, $3) end)
                   and ($5::boolean is null or stored = $5) and ($6::text is null or name like $6)
                   and ($8::timestamptz is null or created_at >= $8) and ($9::timestamptz is null or created_at < $9)
               order by case when $7 then created_at end desc, case when $7 then name end desc, created_at, name limit $4"#,
            application.as_str(),
            at,
            name,
            page.fetch(),
            filter.stored,
            page.like(),
            filter.order == Order::Newest,
            filter.since,
            filter.until
        );
        self.reads
            .run(async |connection| {
                page.gather(rows.fetch(connection), |build| {
                    AgeCursor::of(build.created_at, build.build_name.as_str()).to_string()
                })
                .await
            })
            .await
    }

    /// Changes the attributes of a build.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on the application; [`Error::Changed`] if it
    /// is another version than expected; [`Error::Invalid`] and [`Error::Conflict`] for what the patch cannot do.
    pub async fn update_build(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &BuildName,
        patch: &Patch,
        expected: &Expected,
    ) -> Result<Build> {
        caller.require(Permission::Write, application)?;
        let mut transaction = self.change(caller, "builds.update").await?;
        let build = locked(&mut transaction, application, name).await?;
        expected.check(build.revision, Kind::Build, name)?;
        let Change { attributes } = patch.apply(&build, &Change { attributes: build.attributes.clone() }).await?;
        let updated = sqlx::query_as!(
            Build,
            r#"update builds set attributes = $3, revision = nextval('revisions'), updated_at = now()
               where application = $1 and name = $2
               returning name as "build_name: BuildName", application as "application: AppName", application as "app_name: AppName", stored, master_file,
                   packages as "packages: Packages", file_count, attributes as "attributes: Attributes",
                   created_at, updated_at, revision as "revision: Revision""#,
            application.as_str(),
            name.as_str(),
            attributes as _
        )
        .fetch_one(&mut *transaction)
        .await?;
        transaction.updated(Some(application), name, &build, &updated).await?;
        Ok(updated)
    }

    /// Removes a build. Returns the uploads in whose folders something may be left that no build has.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without write permission on the application; [`Error::Changed`] if it
    /// is another version than expected; [`Error::Conflict`] while an upload of it goes on, or a deployment needs it.
    pub async fn delete_build(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &BuildName,
        expected: &Expected,
    ) -> Result<Vec<JobId>> {
        caller.require(Permission::Write, application)?;
        let mut transaction = self.change(caller, "builds.delete").await?;
        let build = locked(&mut transaction, application, name).await?;
        expected.check(build.revision, Kind::Build, name)?;
        let need = sqlx::query!(
            r#"select reason, needed_by, count(*) over () - 1 as "more!" from build_needs
               where application = $1 and build = $2 order by reason, needed_by limit 1"#,
            application.as_str(),
            name.as_str()
        );
        if let Some(need) = need.fetch_optional(&mut *transaction).await? {
            let more = if need.more == 0 { String::new() } else { format!(" and {} more", need.more) };
            let (what, whose) = (need.reason, need.needed_by);
            return Err(Error::conflict(format!(
                "build `{name}` is needed: {what} `{whose}`{more}; wait until it is not"
            )));
        }
        let gone = sqlx::query!(
            r#"delete from builds where application = $1 and name = $2
                   and not exists (select from jobs where jobs.id = upload and status in ('queued', 'running'))
               returning upload as "upload: JobId", packages as "packages: KeptPackages""#,
            application.as_str(),
            name.as_str()
        )
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| Error::conflict(format!("an upload of build `{name}` goes on; wait until it has ended")))?;
        transaction.deleted(Some(application), name, &build).await?;
        Ok(gone.packages.folders(gone.upload))
    }
}

/// One build, locked against changes.
async fn locked(connection: &mut PgConnection, application: &AppName, name: &BuildName) -> Result<Build> {
    sqlx::query_as!(
        Build,
        r#"select name as "build_name: BuildName", application as "application: AppName", application as "app_name: AppName", stored, master_file,
               packages as "packages: Packages", file_count, attributes as "attributes: Attributes",
               created_at, updated_at, revision as "revision: Revision"
           from builds where application = $1 and name = $2 for update"#,
        application.as_str(),
        name.as_str()
    )
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| Error::not_found(Kind::Build, name))
}
