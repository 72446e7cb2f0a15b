//! Uploads: how the file of a build becomes a job, and how that job gives the build its files.
//!
//! An uploaded file is stored under the id of the job that will process it, before that job is created. A build knows
//! the id of its upload. While that job is queued or running, no other upload can begin. A stored file is never
//! replaced.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use sqlx::{Connection as _, PgConnection};

use super::build_files;
use super::builds::{BuildFiles, KeptPackages};
use super::file_url::FileUrl;
use super::shared_packages::Sharer;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, Digest, JobId, PackageMapName};
use crate::datasvc::jobs::claim::Claim;
pub use crate::datasvc::jobs::job::UPLOAD;
use crate::datasvc::jobs::job::{Enqueued, JobStatus};
use crate::datasvc::jobs::queue::no_longer_held;

/// What kind of archive a file is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String")]
pub enum FileType {
    /// A zip archive, also one of Java.
    #[serde(rename = "zip")]
    Zip,
    /// A tar archive as it is.
    #[serde(rename = "tar")]
    Tar,
    /// A tar archive, compressed by gzip.
    #[serde(rename = "tar.gz")]
    TarGz,
    /// A tar archive, compressed by bzip2.
    #[serde(rename = "tar.bz2")]
    TarBz2,
    /// A tar archive, compressed by xz.
    #[serde(rename = "tar.xz")]
    TarXz,
    /// A tar archive, compressed by zstd.
    #[serde(rename = "tar.zst")]
    TarZst,
}

/// How types are called, and how names of files end. Those of several parts come before their ends.
const NAMES: [(&str, FileType); 19] = [
    ("zip", FileType::Zip),
    ("jar", FileType::Zip),
    ("war", FileType::Zip),
    ("ear", FileType::Zip),
    ("tar.gz", FileType::TarGz),
    ("tgz", FileType::TarGz),
    ("taz", FileType::TarGz),
    ("tar.bz2", FileType::TarBz2),
    ("tbz2", FileType::TarBz2),
    ("tbz", FileType::TarBz2),
    ("tb2", FileType::TarBz2),
    ("tar.xz", FileType::TarXz),
    ("txz", FileType::TarXz),
    ("tar.zst", FileType::TarZst),
    ("tar.zstd", FileType::TarZst),
    ("tzst", FileType::TarZst),
    // What `cargo package` and `gem build` write.
    ("crate", FileType::TarGz),
    ("gem", FileType::Tar),
    ("tar", FileType::Tar),
];

impl FileType {
    /// As it is called in the documents, or at the end of a file's name, such as `tgz`; in capitals, too.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not one of them.
    pub fn parse(name: &str) -> Result<Self> {
        Self::try_from(name.to_owned()).map_err(|reason| Error::invalid("file_type", reason))
    }

    /// What the name of a file says. `None`: nothing.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let ends = |end: &str| name.strip_suffix(end).is_some_and(|begin| begin.ends_with('.'));
        NAMES.iter().find(|(end, _)| ends(end)).map(|(_, file_type)| *file_type)
    }

    /// As in the documents, and at the end of file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::TarBz2 => "tar.bz2",
            Self::TarXz => "tar.xz",
            Self::TarZst => "tar.zst",
        }
    }
}

impl TryFrom<String> for FileType {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let known = NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        known.map(|(_, file_type)| *file_type).ok_or_else(|| {
            format!("`{name:.40}` is not one of `zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz` and `tar.zst`")
        })
    }
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A file for a build, as it is asked for and kept with its job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Upload {
    /// The build that it is for.
    pub build_name: BuildName,
    /// What it says it is.
    pub file_type: FileType,
    /// What it is called in the store.
    pub filename: String,
    /// By which packages are made of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package_map: Option<PackageMapName>,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: UploadSource,
}

/// Where an uploaded file comes from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UploadSource {
    /// A client sent it: it is in the store.
    Sent {
        /// Its length in bytes.
        size_bytes: u64,
        /// Its SHA-256, 64 hexadecimal digits in lower case.
        sha256: String,
    },
    /// The server is to get it.
    Fetched {
        /// From where.
        indirect_url: FileUrl,
    },
}

impl Upload {
    /// The name of a build's file: it says nothing that a client chose beside the build's own name, and so is safe in
    /// every directory.
    pub fn filename(build: &BuildName, file_type: FileType) -> String {
        format!("{build}.{file_type}")
    }
}

/// What a build has when it is stored.
#[derive(Clone, Debug)]
pub struct StoredBuild {
    /// The name of the uploaded file.
    pub master_file: String,
    /// Its packages; `master` is the uploaded file.
    pub packages: KeptPackages,
    /// The paths in `master`.
    pub files: BuildFiles,
}

/// What an upload has given its build, without the paths.
#[derive(Clone, Debug)]
pub struct BuildAsStored {
    /// The name of the uploaded file.
    pub master_file: String,
    /// Its packages; `master` is the uploaded file.
    pub packages: KeptPackages,
    /// How many paths are in `master`.
    pub file_count: u32,
}

/// An upload on its way into the queue.
struct NewUpload<'a> {
    caller: &'a Caller,
    application: &'a AppName,
    job_id: JobId,
    upload: &'a Upload,
    timeout: Duration,
    idempotency: Option<&'a (String, Digest)>,
}

/// Whether a build may get a file.
struct UploadState {
    stored: bool,
    /// Whether an upload of it is queued or running.
    uploading: bool,
}

impl DataSvc {
    /// Whether a file may be uploaded for a build, before it is sent. With a key that the caller has used before, the
    /// request may be the same one again: then nothing is in its way until that is known. With `create` the build may be
    /// missing.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the build or the package map; [`Error::Conflict`] if the build is stored, or another
    /// upload of it goes on; [`Error::Denied`] without the permission to upload to the application.
    pub async fn check_upload(
        &self,
        caller: &Caller,
        application: &AppName,
        build: &BuildName,
        package_map: Option<&PackageMapName>,
        key: Option<&str>,
        create: bool,
    ) -> Result<()> {
        caller.require(Permission::Upload, application)?;
        let looking = sqlx::query!(
            r#"select stored as "stored?",
                   exists (select from jobs where jobs.id = upload and status in ('queued', 'running')) as "uploading!",
                   exists (select from package_maps where application = $1 and name = $3) as "has_map!",
                   exists (select from jobs where username = $4 and idempotency_key = $5) as "knows_key!"
               from applications left join builds on builds.application = applications.name and builds.name = $2
               where applications.name = $1"#,
            application.as_str(),
            build.as_str(),
            package_map.map(PackageMapName::as_str),
            caller.username().map(|name| name.as_str()),
            key
        );
        let known = self.reads.run(async |connection| Ok(looking.fetch_optional(connection).await?)).await?;
        let known = known.ok_or_else(|| Error::not_found(Noun::Application, application))?;
        if known.stored.is_none() && !create {
            return Err(Error::not_found(Noun::Build, build));
        }
        if known.knows_key {
            return Ok(());
        }
        match package_map {
            Some(map) if !known.has_map => Err(Error::not_found(Noun::PackageMap, map)),
            _ => UploadState { stored: known.stored.unwrap_or(false), uploading: known.uploading }.check(build),
        }
    }

    /// Makes the job of an upload durable, and its build wait for it.
    ///
    /// # Errors
    /// Those of [`DataSvc::check_upload`]; [`Error::KeyReused`] if the idempotency key came with another request.
    pub async fn enqueue_upload(
        &self,
        caller: &Caller,
        application: &AppName,
        job_id: JobId,
        upload: &Upload,
        timeout: Duration,
        idempotency: Option<(String, Digest)>,
    ) -> Result<Enqueued> {
        caller.require(Permission::Upload, application)?;
        let new = NewUpload { caller, application, job_id, upload, timeout, idempotency: idempotency.as_ref() };
        if self.reads.run(async |connection| new.insert(self, connection).await).await? {
            return Ok(Enqueued { job_id, status: JobStatus::Queued, claim: None });
        }
        let found = match idempotency {
            Some((key, fingerprint)) => self.enqueued_before(caller, &key, fingerprint).await?,
            None => None,
        };
        found.ok_or_else(|| Error::not_found(Noun::Application, application))
    }

    /// Gives a build what its upload has made of its file. To do it again changes nothing. Returns the packages as the build
    /// has them: those that were equal to stored ones refer to these.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn store_build(&self, claim: &Claim, stored: &StoredBuild) -> Result<KeptPackages> {
        let StoredBuild { master_file, packages, files } = stored;
        let application = claim.application()?;
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        let known = sqlx::query!(
            r#"select stored, packages as "packages: KeptPackages" from builds
               where application = $1 and name = $2 and upload = $3 for update"#,
            application.as_str(),
            claim.name,
            claim.job_id as _
        );
        let known = known
            .fetch_optional(&mut *transaction)
            .await?
            .ok_or_else(|| Error::conflict(format!("build `{}` no longer waits for this upload", claim.name)))?;
        if known.stored {
            return Ok(known.packages);
        }
        let mut packages = packages.clone();
        let sharer = Sharer { application, build: &claim.name, upload: claim.job_id };
        sharer.share_all(&mut transaction, &mut packages).await?;
        sqlx::query!(
            "update builds set stored = true, master_file = $3, packages = $4, file_count = $5,
                 revision = nextval('revisions'), updated_at = now()
             where application = $1 and name = $2",
            application.as_str(),
            claim.name,
            master_file,
            &packages as _,
            i32::try_from(files.0.len()).map_err(Error::internal)?
        )
        .execute(&mut *transaction)
        .await?;
        build_files::replace(&mut transaction, application, &claim.name, files).await?;
        transaction.commit().await?;
        Ok(packages)
    }

    /// What the build of an upload has, if an earlier run of the upload has stored it: the name of the uploaded file,
    /// the packages, and how many paths there are in it.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn stored_build(&self, claim: &Claim) -> Result<Option<BuildAsStored>> {
        let found = sqlx::query!(
            r#"select master_file as "master_file!", packages as "packages: KeptPackages", file_count
               from builds where application = $1 and name = $2 and upload = $3 and stored"#,
            claim.application()?.as_str(),
            claim.name,
            claim.job_id as _
        );
        let found = found.fetch_optional(&self.pool).await?;
        Ok(found.map(|row| BuildAsStored {
            master_file: row.master_file,
            packages: row.packages,
            file_count: row.file_count.unsigned_abs(),
        }))
    }

    /// Makes a build stop waiting for an upload that has failed. Returns whether the upload's files are orphaned then:
    /// a build that has them keeps them.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held: then they are for another run of the job.
    pub async fn give_up_upload(&self, claim: &Claim) -> Result<bool> {
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        let freed = sqlx::query!("update builds set upload = null where upload = $1 and not stored", claim.job_id as _)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(freed.rows_affected() > 0)
    }
}

impl UploadState {
    fn check(&self, build: &BuildName) -> Result<()> {
        match self {
            Self { stored: true, .. } => {
                Err(Error::conflict(format!("build `{build}` is stored, and what is stored is never replaced")))
            }
            Self { uploading: true, .. } => {
                Err(Error::conflict(format!("another upload of build `{build}` goes on; wait until it has ended")))
            }
            Self { stored: false, uploading: false } => Ok(()),
        }
    }
}

impl NewUpload<'_> {
    /// Says whether it was made: otherwise its application does not exist, or its idempotency key does.
    async fn insert(&self, svc: &DataSvc, connection: &mut PgConnection) -> Result<bool> {
        let Self { caller, application, job_id, upload, timeout, idempotency } = self;
        let data = to_raw_value(upload).map_err(Error::internal)?;
        let (key, fingerprint) = idempotency.map(|(key, print)| (key.as_str(), print.as_bytes())).unzip();
        let mut transaction = connection.begin().await?;
        // The row lock on the application keeps it from being deleted under the new job.
        let inserted = sqlx::query!(
            r#"insert into jobs (id, job_type, name, application, username, data, idempotent, timeout_ms,
                                 idempotency_key, idempotency_fingerprint, created_at)
               select $1, $2, $3, applications.name, $5, $6::text::json, true, $7, $8, $9, coalesce($10, now())
               from applications where applications.name = $4 for key share of applications
               on conflict (username, idempotency_key) where idempotency_key is not null do nothing"#,
            job_id as _,
            UPLOAD,
            upload.build_name.as_str(),
            application.as_str(),
            caller.username().map(|name| name.as_str()),
            data.get(),
            i64::try_from(timeout.as_millis()).map_err(Error::internal)?,
            key,
            fingerprint,
            // As in the id, so that what is listed by one is in the order of the other.
            job_id.made_at()
        )
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        svc.hold_storage(&mut transaction).await?;
        self.be_awaited(&mut transaction).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Becomes the upload of its build: of several that come at once the first.
    async fn be_awaited(&self, connection: &mut PgConnection) -> Result<()> {
        let (application, build) = (self.application.as_str(), &self.upload.build_name);
        // On its own, so that the next statement sees the jobs of those that had the lock before.
        sqlx::query!("select from builds where application = $1 and name = $2 for update", application, build.as_str())
            .fetch_optional(&mut *connection)
            .await?
            .ok_or_else(|| Error::not_found(Noun::Build, build))?;
        let package_map = self.upload.package_map.as_ref();
        let known = sqlx::query!(
            r#"select stored,
                   exists (select from jobs where jobs.id = upload and status in ('queued', 'running')) as "uploading!",
                   exists (select from package_maps where application = $1 and name = $3) as "has_map!"
               from builds where application = $1 and name = $2"#,
            application,
            build.as_str(),
            package_map.map(PackageMapName::as_str)
        )
        .fetch_one(&mut *connection)
        .await?;
        UploadState { stored: known.stored, uploading: known.uploading }.check(build)?;
        if let Some(map) = package_map.filter(|_| !known.has_map) {
            return Err(Error::not_found(Noun::PackageMap, map));
        }
        sqlx::query!(
            "update builds set upload = $3, uploaded_at = now(), uploaded_by = $4, uploaded_with = $5
             where application = $1 and name = $2",
            application,
            build.as_str(),
            self.job_id as _,
            self.caller.username().map(|name| name.as_str()),
            self.caller.token() as _
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Makes sure that the claim is held until the transaction ends.
pub(in crate::datasvc) async fn hold(connection: &mut PgConnection, claim: &Claim) -> Result<()> {
    sqlx::query!(
        "select from jobs where id = $1 and fence = $2 and status = 'running' for share",
        claim.job_id as _,
        claim.fence
    )
    .fetch_optional(connection)
    .await?
    .map(|_| ())
    .ok_or_else(|| no_longer_held(claim.job_id))
}
