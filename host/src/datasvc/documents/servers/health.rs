//! What checks of servers came to, and the jobs that check them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::to_raw_value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::Caller;
use crate::datasvc::documents::commands::SERVER;
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{HostId, JobId, ServerName};
use crate::datasvc::ground::sql::json_column;
use crate::datasvc::jobs::job::{Enqueued, JobStatus};

/// What jobs that check servers are called.
pub const CHECK: &str = "check";

/// How many servers a job checks that is made by the clock.
const SERVERS_OF_A_JOB: i64 = 100;
/// How long a job may take.
const TIME: Duration = Duration::from_secs(3600);

/// Result of the last check of a server.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ServerHealth)]
pub struct Health {
    /// When it was checked.
    #[serde(with = "time::serde::rfc3339")]
    pub checked_at: OffsetDateTime,
    /// The job that did it.
    pub job_id: JobId,
    /// Whether it could be reached, and runs commands.
    pub reachable: bool,
    /// Why it could not be reached.
    pub message: Option<String>,
    /// The family of its operating system: `unix` or `windows`.
    pub os: Option<String>,
    /// The operating system, as it says itself.
    #[schema(example = "Linux")]
    pub system: Option<String>,
    /// The version of git; null if there is no git.
    #[schema(example = "2.39.5")]
    pub git_version: Option<String>,
    /// The login shell of who runs commands.
    #[schema(example = "/bin/bash")]
    pub shell: Option<String>,
    /// By how many seconds its clock is ahead of that of the host which checked it.
    pub clock_difference_in_seconds: Option<f64>,
}

json_column!(Health);

impl DataSvc {
    /// Makes the job that checks a server.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Denied`] without the server among the caller's.
    pub async fn enqueue_check(&self, caller: &Caller, server: &ServerName) -> Result<Enqueued> {
        caller.require_use(server)?;
        let mut transaction = self.pool.begin().await?;
        let host = sqlx::query_scalar!(
            r#"select host_id as "host: HostId" from servers where name = $1 for no key update"#,
            server.as_str()
        );
        let host =
            host.fetch_optional(&mut *transaction).await?.ok_or_else(|| Error::not_found(Noun::Server, server))?;
        let job_id = self.insert_check(&mut transaction, Some(caller), std::slice::from_ref(server), host).await?;
        transaction.commit().await?;
        Ok(Enqueued { job_id, status: JobStatus::Queued, claim: None })
    }

    /// Makes jobs that check the servers which were not asked to be checked for so long; each has servers that the same
    /// host can reach. How many servers that are.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn enqueue_checks_due(&self, after: Duration) -> Result<usize> {
        let mut checked = 0;
        loop {
            let mut transaction = self.pool.begin().await?;
            let due = sqlx::query!(
                r#"select name as "name: ServerName", host_id as "host: HostId" from servers
                   where check_asked_at is null or check_asked_at < now() - make_interval(secs => $1)
                   order by check_asked_at nulls first, name limit $2 for no key update skip locked"#,
                after.as_secs_f64(),
                SERVERS_OF_A_JOB
            )
            .fetch_all(&mut *transaction)
            .await?;
            if due.is_empty() {
                return Ok(checked);
            }
            let mut hosts: Vec<Option<HostId>> = due.iter().map(|server| server.host).collect();
            hosts.sort();
            hosts.dedup();
            for host in hosts {
                let servers = due.iter().filter(|server| server.host == host).map(|server| server.name.clone());
                let servers: Vec<_> = servers.collect();
                self.insert_check(&mut transaction, None, &servers, host).await?;
            }
            transaction.commit().await?;
            checked += due.len();
        }
    }

    /// Makes the job that checks servers, in this transaction.
    pub(super) async fn insert_check(
        &self,
        connection: &mut PgConnection,
        caller: Option<&Caller>,
        servers: &[ServerName],
        host: Option<HostId>,
    ) -> Result<JobId> {
        let job_id = self.new_job_id();
        let names: Vec<_> = servers.iter().map(|server| server.as_str().to_owned()).collect();
        sqlx::query!("update servers set check_asked_at = now() where name = any($1)", &names)
            .execute(&mut *connection)
            .await?;
        let data = to_raw_value(&json!({ "check": servers })).map_err(Error::internal)?;
        sqlx::query!(
            r#"insert into jobs (id, job_type, name, username, data, idempotent, timeout_ms, bound_to, created_at)
               values ($1, $2, $3, $4, $5::text::json, true, $6, $7, coalesce($8, now()))"#,
            job_id as _,
            SERVER,
            CHECK,
            caller.and_then(Caller::username).map(|name| name.as_str()),
            data.get(),
            i64::try_from(TIME.as_millis()).map_err(Error::internal)?,
            host as _,
            job_id.made_at()
        )
        .execute(connection)
        .await?;
        Ok(job_id)
    }

    /// Keeps what a check of a server came to, unless a later one was faster. Nothing is kept of a server that was removed.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn record_health(&self, server: &ServerName, health: &Health) -> Result<()> {
        sqlx::query!(
            r#"update servers set health = $2
               where name = $1 and (health is null or (health ->> 'job_id')::uuid <= $3)"#,
            server.as_str(),
            health as _,
            health.job_id as _
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
