//! Where a queued job stands: what runs beside it, and what comes before it.

use super::job::{Job, JobStatus};
use super::queue::TIME_TO_LIVE;
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::{ActionName, AppName, JobId};
use serde::Serialize;
use time::OffsetDateTime;

/// Up to how many jobs before one are counted.
const COUNTED: i64 = 1000;
/// Among how many of the newest jobs of a name, and of an application, the last run of an action is looked for.
const LOOKED_AT: i64 = 1000;

/// What a queued job shares servers with.
#[derive(Clone, Copy, Debug)]
pub struct JobStanding {
    /// How many servers run jobs.
    pub servers: i64,
    /// How many jobs run on all of them.
    pub running: i64,
    /// How many of its plugin; of the server's own work, how many of that.
    pub of_plugin: i64,
    /// How many of the server's own work are of its application.
    pub own_of_application: i64,
    /// How many of its action, or of the same name.
    pub of_action: i64,
    /// How many of the same action are queued before it, up to 1000.
    pub ahead: i64,
}

/// The newest job of an action.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LastRun {
    /// The job.
    pub job_id: JobId,
    /// Where it stands.
    pub status: JobStatus,
    /// Who asked for it.
    pub username: Option<String>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub completed_at: Option<OffsetDateTime>,
}

impl DataSvc {
    /// What a queued job shares servers with.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn job_standing(&self, job: &Job) -> Result<JobStanding> {
        let application = job.application.as_ref().map_or("", AppName::as_str);
        let plugin = job.plugin.as_ref().map_or("", |plugin| plugin.name.as_str());
        let asking = sqlx::query_as!(
            JobStanding,
            r#"select (select count(*) from workers
                    where runs_jobs and seen_at > now() - make_interval(secs => $5)) as "servers!",
                   count(*) as "running!",
                   count(*) filter (where plugin = $2) as "of_plugin!",
                   count(*) filter (where plugin = '' and application = $1) as "own_of_application!",
                   count(*) filter (where plugin = $2 and application = $1 and name = $3) as "of_action!",
                   (select count(*) from (
                       select from jobs where status = 'queued' and application = $1 and plugin = $2 and name = $3
                           and id < $4 limit $6
                   ) as before) as "ahead!"
               from jobs where status = 'running'"#,
            application,
            plugin,
            job.name,
            job.job_id as _,
            TIME_TO_LIVE.as_secs_f64(),
            COUNTED
        );
        self.reads.run(async |connection| Ok(asking.fetch_one(connection).await?)).await
    }

    /// The newest job of an action, if it is among the thousand newest of its application or of its name.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn last_run(&self, application: &AppName, action: &ActionName) -> Result<Option<LastRun>> {
        let asking = sqlx::query_as!(
            LastRun,
            r#"select id as "job_id!: JobId", status as "status!: JobStatus", username, created_at as "created_at!", completed_at
               from (
                   (select * from (select * from jobs where application = $1 order by id desc limit $3) as of_application
                    where name = $2 and job_type = 'action' order by id desc limit 1)
                   union all
                   (select * from (select * from jobs where name = $2 order by id desc limit $3) as of_name
                    where application = $1 and job_type = 'action' order by id desc limit 1)
               ) as newest
               order by id desc limit 1"#,
            application.as_str(),
            action.as_str(),
            LOOKED_AT
        );
        self.lists.run(async |connection| Ok(asking.fetch_optional(connection).await?)).await
    }
}
