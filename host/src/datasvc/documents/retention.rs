//! Which builds of an application are kept, and how the others are removed: by a job, when somebody asks for it, or by
//! the application's own rule.
//!
//! A rule keeps the last builds, or the young ones. Beyond that, a build is held while it is pinned, deployed, in a git
//! repository, needed by a deployment, or uploaded: the view `build_holds` says so.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::builds::{Build, KeptPackages, Packages};
use super::uploads::hold;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::attributes::Attributes;
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, Digest, JobId};
use crate::datasvc::ground::revision::Revision;
use crate::datasvc::ground::seconds::Seconds;
use crate::datasvc::ground::sql::json_column;
use crate::datasvc::jobs::claim::Claim;
use crate::datasvc::jobs::job::{Enqueued, JobStatus, Json};

/// The kind of work of jobs that remove builds.
pub const PRUNE: &str = "prune";

/// The most builds that a rule keeps by their number.
const MAX_LAST: u32 = 1_000_000;
/// The longest time that a rule keeps them: a hundred years.
const MAX_SECONDS: u64 = 100 * 366 * 24 * 3600;
/// How many builds are looked at by one statement.
const LOOKED_AT: i64 = 500;
/// How many holders of a build are named.
const NAMED: usize = 5;

/// Which builds of an application are kept. A build is kept if either rule keeps it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "Members")]
pub struct BuildRetention {
    /// Number of newest builds with a file to keep, and all that are newer than these.
    #[schema(minimum = 1, maximum = 1_000_000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_last: Option<u32>,
    /// Those that were created within so many seconds; `90d` is understood, too.
    #[schema(minimum = 1, maximum = 3_162_240_000_u64)]
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_seconds: Option<u64>,
}

json_column!(BuildRetention);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    keep_last: Option<u32>,
    keep_seconds: Option<Seconds>,
}

impl TryFrom<Members> for BuildRetention {
    type Error = String;

    fn try_from(Members { keep_last, keep_seconds }: Members) -> Result<Self, String> {
        match (keep_last, keep_seconds) {
            (None, None) => Err("it says `keep_last`, `keep_seconds` or both".into()),
            (Some(last), _) if !(1..=MAX_LAST).contains(&last) => Err(format!("`keep_last` is 1 to {MAX_LAST}")),
            (_, Some(Seconds(seconds))) if !(1..=MAX_SECONDS).contains(&seconds) => {
                Err(format!("`keep_seconds` is 1 to {MAX_SECONDS}"))
            }
            (keep_last, keep_seconds) => {
                Ok(Self { keep_last, keep_seconds: keep_seconds.map(|Seconds(seconds)| seconds) })
            }
        }
    }
}

impl BuildRetention {
    /// # Errors
    /// [`Error::Invalid`] if neither is given, or one is out of its range.
    pub fn new(keep_last: Option<u32>, keep_seconds: Option<u64>) -> Result<Self> {
        Self::try_from(Members { keep_last, keep_seconds: keep_seconds.map(Seconds) })
            .map_err(|reason| Error::invalid("", reason))
    }

    /// Since when builds are young. `None`: none is kept for its age.
    fn young_since(self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        Some(now - Duration::from_secs(self.keep_seconds?))
    }

    fn last(self) -> Option<i64> {
        self.keep_last.map(i64::from)
    }
}

/// What a job that removes builds was asked, as it is kept with it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Prune {
    /// Which builds are kept.
    #[serde(flatten)]
    pub rule: BuildRetention,
    /// Whether it only says what would be removed.
    pub dry_run: bool,
}

/// A build that a rule was applied to.
#[derive(Clone, Debug)]
pub struct JudgedBuild {
    /// Its name.
    pub build: BuildName,
    /// Its packages together, in bytes.
    pub bytes: u64,
    /// Why it is kept. Empty: nothing keeps it.
    pub reasons: Vec<String>,
    /// Which things hold it, a few of them.
    pub held_by: Vec<String>,
    /// What holds it beyond those.
    pub more_holders: usize,
}

/// How far the builds of an application have been looked at.
#[derive(Clone, Debug, Default)]
pub struct Judging {
    after: Option<(OffsetDateTime, String)>,
    /// How many of them have a file.
    stored: i64,
}

/// A build that was removed.
#[derive(Clone, Debug)]
pub struct PrunedBuild {
    /// Its name.
    pub build: BuildName,
    /// Its packages together, in bytes.
    pub bytes: u64,
}

impl DataSvc {
    /// Makes the job durable that removes builds.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the application; [`Error::Denied`] without write permission on it;
    /// [`Error::KeyReused`].
    pub async fn enqueue_prune(
        &self,
        caller: &Caller,
        application: &AppName,
        prune: Prune,
        timeout: Duration,
        idempotency: Option<(String, Digest)>,
    ) -> Result<Enqueued> {
        caller.require(Permission::Write, application)?;
        let new = NewPrune { job_id: self.new_job_id(), application, prune, timeout, by: Some((caller, &idempotency)) };
        if self.reads.run(async |connection| new.insert(connection).await).await? {
            return Ok(Enqueued { job_id: new.job_id, status: JobStatus::Queued, claim: None });
        }
        let found = match &idempotency {
            Some((key, fingerprint)) => self.enqueued_before(caller, key, *fingerprint).await?,
            None => None,
        };
        found.ok_or_else(|| Error::not_found(Noun::Application, application))
    }

    /// Makes a job for each application whose own rule has builds to remove, unless one goes on. Returns how many.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn enqueue_prunes_by_rule(&self, timeout: Duration) -> Result<usize> {
        let rules = sqlx::query!(
            r#"select name as "name: AppName", retention as "retention!: BuildRetention"
               from applications where retention is not null"#
        );
        let mut made = 0;
        for row in rules.fetch_all(&self.pool).await? {
            let (application, rule) = (row.name, row.retention);
            if !self.has_to_prune(&application, rule).await? {
                continue;
            }
            let mut transaction = self.pool.begin().await?;
            // On its own, so that the next statement sees the job of a server that had the lock before.
            sqlx::query!("select from applications where name = $1 for no key update", application.as_str())
                .execute(&mut *transaction)
                .await?;
            let goes_on = sqlx::query_scalar!(
                r#"select exists (select from jobs where application = $1 and job_type = $2
                                  and status in ('queued', 'running')) as "goes_on!""#,
                application.as_str(),
                PRUNE
            );
            if goes_on.fetch_one(&mut *transaction).await? {
                continue;
            }
            let prune = Prune { rule, dry_run: false };
            let new = NewPrune { job_id: self.new_job_id(), application: &application, prune, timeout, by: None };
            made += usize::from(new.insert(&mut transaction).await?);
            transaction.commit().await?;
        }
        Ok(made)
    }

    /// Whether the rule keeps some build no longer, and nothing else holds it.
    async fn has_to_prune(&self, application: &AppName, rule: BuildRetention) -> Result<bool> {
        let found = sqlx::query_scalar!(
            r#"select exists (
                   select from builds
                   where application = $1
                       and ($2::bigint is null or (created_at, name) < (
                           select created_at, name from builds where application = $1 and stored
                           order by created_at desc, name desc offset $2 - 1 limit 1))
                       and ($3::timestamptz is null or created_at < $3)
                       and not exists (select from build_holds
                                       where build_holds.application = builds.application and build = builds.name)
               ) as "found!""#,
            application.as_str(),
            rule.last(),
            rule.young_since(self.settled_time())
        );
        Ok(found.fetch_one(&self.pool).await?)
    }

    /// The next builds, the newest first, and why each is kept; and how far it is then. Empty: there are no more.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn judge_builds(
        &self,
        application: &AppName,
        rule: BuildRetention,
        judging: &Judging,
    ) -> Result<(Vec<JudgedBuild>, Judging)> {
        let mut judging = judging.clone();
        let (before, name) = judging.after.clone().unzip();
        let rows = sqlx::query!(
            r#"select name as "name: BuildName", stored, created_at, packages as "packages: Packages",
                   reasons as "reasons!: Vec<String>", holders as "holders!: Vec<String>"
               from builds left join lateral (
                   select coalesce(array_agg(distinct reason), '{}') as reasons,
                       coalesce(array_agg(held_by order by held_by) filter (where held_by is not null), '{}') as holders
                   from build_holds
                   where build_holds.application = builds.application and build = builds.name
               ) as holds on true
               where application = $1 and ($2::timestamptz is null or (created_at, name) < ($2, $3))
               order by created_at desc, name desc limit $4"#,
            application.as_str(),
            before,
            name,
            LOOKED_AT
        )
        .fetch_all(&self.pool)
        .await?;
        let young_since = rule.young_since(self.settled_time());
        let mut judged = Vec::with_capacity(rows.len());
        for row in rows {
            let is_last = rule.last().is_some_and(|last| judging.stored < last);
            let is_young = young_since.is_some_and(|since| row.created_at >= since);
            judging.stored += i64::from(row.stored);
            judging.after = Some((row.created_at, row.name.to_string()));
            let by_rule = [("last", is_last), ("young", is_young)].into_iter().filter(|(_, keeps)| *keeps);
            let mut held_by = row.holders;
            let more_holders = held_by.len().saturating_sub(NAMED);
            held_by.truncate(NAMED);
            judged.push(JudgedBuild {
                reasons: by_rule.map(|(reason, _)| reason.to_owned()).chain(row.reasons).collect(),
                bytes: bytes(&row.packages),
                build: row.name,
                held_by,
                more_holders,
            });
        }
        Ok((judged, judging))
    }

    /// Removes those of these builds that nothing keeps by now, under the claim of the job. Returns the uploads in whose
    /// folders something may be left that no build has.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn prune_builds(&self, claim: &Claim, rule: BuildRetention, builds: &[BuildName]) -> Result<Vec<JobId>> {
        let names: Vec<_> = builds.iter().map(|build| build.as_str().to_owned()).collect();
        let mut transaction = self.pool.begin().await?;
        hold(&mut transaction, claim).await?;
        // On its own, and in one order everywhere: whoever begins to need a build waits for it, or is seen from now on.
        sqlx::query!(
            "select from builds where application = $1 and name = any($2) order by name for update",
            claim.application()?.as_str(),
            &names
        )
        .execute(&mut *transaction)
        .await?;
        let gone = self.removable(&mut transaction, claim, rule, &names).await?;
        let names: Vec<_> = gone.iter().map(|(build, _)| build.build_name.as_str().to_owned()).collect();
        let packages = sqlx::query_scalar!(
            r#"delete from builds where application = $1 and name = any($2)
               returning packages as "packages: KeptPackages""#,
            claim.application()?.as_str(),
            &names
        )
        .fetch_all(&mut *transaction)
        .await?;
        let documents = gone.iter().map(|(build, _)| to_raw_value(build).map_err(Error::internal));
        sqlx::query!(
            "insert into audit (operation, application, name, username, job_id, before)
             select 'builds.prune', $1, gone.name, $2, $3, document::json
             from unnest($4::text[], $5::text[]) as gone (name, document)",
            claim.application()?.as_str(),
            claim.username,
            claim.job_id as _,
            &names,
            &documents.map(|document| document.map(|json: Json| json.get().to_owned())).collect::<Result<Vec<_>>>()?
        )
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let uploads = gone.into_iter().filter_map(|(_, upload)| upload);
        let others = packages.iter().flat_map(|packages| packages.folders(None));
        Ok(uploads.chain(others).collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// Those of these builds that nothing keeps, with the uploads whose files they have.
    async fn removable(
        &self,
        connection: &mut PgConnection,
        claim: &Claim,
        rule: BuildRetention,
        names: &[String],
    ) -> Result<Vec<(Build, Option<JobId>)>> {
        let rows = sqlx::query!(
            r#"select name as "build_name: BuildName", application as "application: AppName", application as "app_name: AppName", stored, master_file,
                   packages as "packages: Packages", file_count, attributes as "attributes: Attributes",
                   created_at, updated_at, revision as "revision: Revision", upload as "upload: JobId"
               from builds
               where application = $1 and name = any($2)
                   and ($3::bigint is null or (created_at, name) < (
                       select created_at, name from builds where application = $1 and stored
                       order by created_at desc, name desc offset $3 - 1 limit 1))
                   and ($4::timestamptz is null or created_at < $4)
                   and not exists (select from build_holds
                                   where build_holds.application = builds.application and build = builds.name)
               order by created_at, name"#,
            claim.application()?.as_str(),
            names,
            rule.last(),
            rule.young_since(self.settled_time())
        )
        .fetch_all(connection)
        .await?;
        let removable = rows.into_iter().map(|row| {
            let build = Build {
                build_name: row.build_name,
                application: row.application,
                app_name: row.app_name,
                stored: row.stored,
                master_file: row.master_file,
                packages: row.packages,
                file_count: row.file_count,
                attributes: row.attributes,
                created_at: row.created_at,
                updated_at: row.updated_at,
                revision: row.revision,
            };
            (build, row.upload)
        });
        Ok(removable.collect())
    }

    /// What a job has removed so far, over all its runs.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn pruned_builds(&self, job: JobId) -> Result<Vec<PrunedBuild>> {
        let rows = sqlx::query!(
            r#"select name as "name: BuildName",
                   (select coalesce(sum((package.value ->> 'size_bytes')::bigint), 0)
                    from json_each(before -> 'packages') as package)::bigint as "bytes!"
               from audit where job_id = $1 and operation = 'builds.prune' order by id"#,
            job as _
        );
        let rows = rows.fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|row| PrunedBuild { build: row.name, bytes: row.bytes.unsigned_abs() }).collect())
    }
}

fn bytes(packages: &Packages) -> u64 {
    packages.0.values().map(|package| package.size_bytes).fold(0, u64::saturating_add)
}

/// A job on its way into the queue.
struct NewPrune<'a> {
    job_id: JobId,
    application: &'a AppName,
    prune: Prune,
    timeout: Duration,
    /// Who asks for it, and the key of the request. `None`: the application's rule does.
    by: Option<(&'a Caller, &'a Option<(String, Digest)>)>,
}

impl NewPrune<'_> {
    /// Says whether it was made: otherwise its application does not exist, or its idempotency key does.
    async fn insert(&self, connection: &mut PgConnection) -> Result<bool> {
        let data = to_raw_value(&self.prune).map_err(Error::internal)?;
        let username = self.by.and_then(|(caller, _)| caller.username()).map(|name| name.as_str());
        let idempotency = self.by.and_then(|(_, idempotency)| idempotency.as_ref());
        let (key, fingerprint) = idempotency.map(|(key, print)| (key.as_str(), print.as_bytes())).unzip();
        // The row lock on the application keeps it from being deleted under the new job.
        let inserted = sqlx::query!(
            r#"insert into jobs (id, job_type, name, application, username, data, idempotent, timeout_ms,
                                 idempotency_key, idempotency_fingerprint, created_at)
               select $1, $2, $2, applications.name, $4, $5::text::json, true, $6, $7, $8, coalesce($9, now())
               from applications where applications.name = $3 for key share of applications
               on conflict (username, idempotency_key) where idempotency_key is not null do nothing"#,
            self.job_id as _,
            PRUNE,
            self.application.as_str(),
            username,
            data.get(),
            i64::try_from(self.timeout.as_millis()).map_err(Error::internal)?,
            key,
            fingerprint,
            self.job_id.made_at()
        );
        Ok(inserted.execute(connection).await?.rows_affected() > 0)
    }
}
