//! Jobs of the host's own work: how one comes into the queue.

use std::time::Duration;

use sqlx::PgConnection;

use super::job::{Enqueued, JobStatus, Json, Parent};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::Caller;
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{AppName, Digest, HostId, JobId};

/// A job of the host's own work, on its way into the queue.
#[derive(Clone, Debug)]
pub struct NewOwnJob {
    /// Its id.
    pub job_id: JobId,
    /// Its kind of work.
    pub kind: &'static str,
    /// What it is called.
    pub name: String,
    /// The application that it belongs to.
    pub application: AppName,
    /// What was asked.
    pub data: Json,
    /// How long it may take.
    pub timeout: Duration,
    /// The only host that can run it. `None`: any can.
    pub bound_to: Option<HostId>,
    /// The job that asks for it, if it is one.
    pub parent: Option<Parent>,
    /// The client's key and what its request was.
    pub idempotency: Option<(String, Digest)>,
}

impl NewOwnJob {
    /// Puts it into the queue; false: its application does not exist, or its idempotency key does.
    pub(in crate::datasvc) async fn insert(&self, connection: &mut PgConnection, caller: &Caller) -> Result<bool> {
        let (key, fingerprint) = self.idempotency.as_ref().map(|(key, print)| (key.as_str(), print.as_bytes())).unzip();
        // The row lock on the application keeps it from being deleted under the new job.
        let inserted = sqlx::query!(
            r#"insert into jobs (id, job_type, name, application, username, data, idempotent, timeout_ms,
                                 idempotency_key, idempotency_fingerprint, created_at, parent, depth, root,
                                 bound_to)
               select $1, $2, $3, applications.name, $5, $6::text::json, true, $7, $8, $9, coalesce($10, now()),
                   $11, $12, $13, $14
               from applications where applications.name = $4 for key share of applications
               on conflict (username, idempotency_key) where idempotency_key is not null do nothing"#,
            self.job_id as _,
            self.kind,
            self.name,
            self.application.as_str(),
            caller.username().map(|name| name.as_str()),
            self.data.get(),
            i64::try_from(self.timeout.as_millis()).map_err(Error::internal)?,
            key,
            fingerprint,
            // As in the id, so that what is listed by one is in the order of the other.
            self.job_id.made_at(),
            self.parent.map(|parent| parent.job_id) as _,
            self.parent.map_or(0, |parent| parent.depth + 1),
            self.parent.map(|parent| parent.root) as _,
            self.bound_to as _
        )
        .execute(connection)
        .await?;
        Ok(inserted.rows_affected() > 0)
    }
}

impl DataSvc {
    /// Makes a job of the host's own work durable. Who calls this has made sure that the caller may ask for it.
    ///
    /// # Errors
    /// [`Error::NotFound`] without its application; [`Error::KeyReused`] if the idempotency key came with another
    /// request; [`Error::Throttled`] if too much was asked for; [`Error::TooMany`] if too many jobs have come of one.
    pub async fn enqueue_own(&self, caller: &Caller, job: &NewOwnJob) -> Result<Enqueued> {
        self.check_own(caller, job).await?;
        if self.reads.run(async |connection| job.insert(connection, caller).await).await? {
            return Ok(Enqueued { job_id: job.job_id, status: JobStatus::Queued, claim: None });
        }
        self.own_before(caller, job).await
    }

    /// Counts what is asked for, and the jobs that have come of the one that asks for it.
    ///
    /// # Errors
    /// [`Error::Throttled`]; [`Error::TooMany`].
    pub(in crate::datasvc) async fn check_own(&self, caller: &Caller, job: &NewOwnJob) -> Result<()> {
        self.count_asked(caller, &job.application, job.data.get().len())?;
        match &job.parent {
            Some(parent) => self.check_descendants(parent).await,
            None => Ok(()),
        }
    }

    /// The job that the request of a new one has made before, which is why that was not inserted.
    ///
    /// # Errors
    /// Those of [`DataSvc::enqueue_own`].
    pub(in crate::datasvc) async fn own_before(&self, caller: &Caller, job: &NewOwnJob) -> Result<Enqueued> {
        let found = match &job.idempotency {
            Some((key, fingerprint)) => self.enqueued_before(caller, key, *fingerprint).await?,
            None => None,
        };
        found.ok_or_else(|| Error::not_found(Noun::Application, &job.application))
    }
}
