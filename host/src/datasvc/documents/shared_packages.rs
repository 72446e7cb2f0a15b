//! Packages that are equal are stored once in an application: those that come later refer to the bytes of the first.
//!
//! A package may refer to bytes only while another build has them, whose row is locked until the reference is there.
//! What a build leaves behind is removed by what no build has any more, also in the folders of others.

use sqlx::PgConnection;

use super::builds::{FileLocation, KeptPackage, KeptPackages};
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::{AppName, JobId};

/// Files in the folder of an upload, each with the run that has stored it.
pub type FilesOfUpload = (JobId, Vec<(Option<i64>, String)>);

/// A file that was written for a package that refers to an equal one.
#[derive(Clone, Debug)]
pub struct Superfluous {
    /// Where it is.
    pub written: FileLocation,
    /// Where the equal one is.
    pub equal: FileLocation,
    /// How long each is, in bytes.
    pub size_bytes: u64,
}

/// A build whose row is locked, with the upload that it is stored by.
pub(super) struct Sharer<'a> {
    pub(super) application: &'a AppName,
    pub(super) build: &'a str,
    pub(super) upload: JobId,
}

impl Sharer<'_> {
    /// Has all of its packages refer to equal ones, where there are any.
    pub(super) async fn share_all(&self, connection: &mut PgConnection, packages: &mut KeptPackages) -> Result<()> {
        let mut own = KeptPackages::default();
        for (name, mut package) in std::mem::take(&mut packages.0) {
            self.share(connection, &own, &mut package).await?;
            own.0.insert(name, package);
        }
        *packages = own;
        Ok(())
    }

    /// Has a package refer to an equal one of these, or of another build.
    pub(super) async fn share(
        &self,
        connection: &mut PgConnection,
        own: &KeptPackages,
        package: &mut KeptPackage,
    ) -> Result<()> {
        let location = match location_of_equal(own, package, self.upload) {
            Some(location) => Some(location),
            None => self.location_in_others(connection, package).await?,
        };
        package.at = location.filter(|location| *location != package.location(self.upload));
        Ok(())
    }

    async fn location_in_others(
        &self,
        connection: &mut PgConnection,
        package: &KeptPackage,
    ) -> Result<Option<FileLocation>> {
        // One that somebody removes or adds packages to at this moment is not waited for: two such would wait for each
        // other.
        let equal = sqlx::query!(
            r#"select upload as "upload!: JobId", packages as "packages: KeptPackages" from builds
               where application = $1 and name <> $2 and stored and upload is not null
                   and jsonb_path_query_array(packages::jsonb, '$.*.sha256') ? $3
               limit 1 for key share skip locked"#,
            self.application.as_str(),
            self.build,
            package.file.sha256
        );
        let equal = equal.fetch_optional(connection).await?;
        Ok(equal.and_then(|build| location_of_equal(&build.packages, package, build.upload)))
    }
}

/// Where the bytes of one of these are that is equal.
fn location_of_equal(packages: &KeptPackages, to: &KeptPackage, upload: JobId) -> Option<FileLocation> {
    let is_equal = |other: &&KeptPackage| {
        let (one, other) = (&to.file, &other.file);
        (&one.sha256, one.size_bytes, one.file_type) == (&other.sha256, other.size_bytes, other.file_type)
    };
    packages.0.values().find(is_equal).map(|equal| equal.location(upload))
}

impl DataSvc {
    /// What builds have of the folders of these uploads, each of which may be nothing. Left out are uploads that a job
    /// works on.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::datasvc::Error::Unavailable).
    pub async fn files_in_use(&self, uploads: &[JobId]) -> Result<Vec<FilesOfUpload>> {
        let rows = sqlx::query!(
            r#"select folder.id as "upload!: JobId", used.run as "run?", used.filename as "filename?"
               from unnest($1::uuid[]) as folder (id) left join lateral (
                   select (package.value ->> 'run')::bigint as run, package.value ->> 'filename' as filename
                   from builds, json_each(packages) as package
                   where upload = folder.id and stored and package.value -> 'at' is null
                   union
                   select (package.value #>> '{at,run}')::bigint, package.value #>> '{at,filename}'
                   from builds, json_each(packages) as package
                   where stored and jsonb_path_query_array(packages::jsonb, '$.*.at.upload') ? folder.id::text
                       and package.value #>> '{at,upload}' = folder.id::text
               ) as used on true
               where not exists (select from jobs where jobs.id = folder.id and status in ('queued', 'running'))
               order by folder.id"#,
            uploads as _
        );
        let mut used: Vec<FilesOfUpload> = Vec::new();
        for row in rows.fetch_all(&self.pool).await? {
            let file = row.filename.map(|filename| (row.run, filename));
            match used.last_mut() {
                Some((upload, files)) if *upload == row.upload => files.extend(file),
                _ => used.push((row.upload, file.into_iter().collect())),
            }
        }
        Ok(used)
    }
}

impl KeptPackage {
    /// The file that was written for it, if it refers to another one.
    pub(super) fn superfluous(&self, upload: JobId) -> Option<Superfluous> {
        let (written, size_bytes) = (self.written(upload), self.file.size_bytes);
        self.at.clone().map(|equal| Superfluous { written, equal, size_bytes })
    }
}

impl KeptPackages {
    /// The folders in which its files may be, of a build that was stored by this upload.
    pub(super) fn folders(&self, upload: Option<JobId>) -> Vec<JobId> {
        let others = self.0.values().filter_map(|package| Some(package.at.as_ref()?.upload));
        let mut folders: Vec<JobId> = upload.into_iter().chain(others).collect();
        folders.sort_unstable();
        folders.dedup();
        folders
    }

    /// The files that were written for its packages and are not needed, because those refer to equal ones.
    pub fn superfluous(&self, upload: JobId) -> Vec<Superfluous> {
        self.0.values().filter_map(|package| package.superfluous(upload)).collect()
    }
}
