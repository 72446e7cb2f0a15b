//! Asking many jobs to stop at once: all that match a filter.

use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::error::JobError;
use super::job::{Job, JobStatus, JobType};
use super::log::SOURCE_HOST;
use super::lookup::{described, may_read};
use super::queue::TAKEN;
use crate::datasvc::DataSvc;
use crate::datasvc::access::audit::AuditedTransaction;
use crate::datasvc::access::caller::Caller;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{AppName, JobId};
use crate::datasvc::ground::page::NamePattern;
use crate::datasvc::ground::sql::OnConstraint;

/// How many jobs one request stops.
const MAX_AT_ONCE: i64 = 1_000;

/// Which jobs to stop, of those that are queued or running. What is `None` filters nothing.
#[derive(Clone, Debug, Default)]
pub struct CancelFilter {
    /// Those in one of these states.
    pub statuses: Vec<JobStatus>,
    /// Those of one of these applications.
    pub applications: Vec<AppName>,
    /// Those with a name that matches.
    pub name: Option<NamePattern>,
    /// This job, and all that come of it.
    pub root: Option<JobId>,
    /// Those that this job has started itself.
    pub parent: Option<JobId>,
    /// Those created at this time or later.
    pub since: Option<OffsetDateTime>,
    /// Those created before this time.
    pub until: Option<OffsetDateTime>,
}

/// What became of the jobs that were to stop.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct CancelledJobs {
    /// How many were queued, and have ended.
    pub cancelled: u64,
    /// How many run, and were told to stop.
    pub stopping: u64,
    /// Whether there may be more of them: the same request goes on.
    pub more: bool,
    /// Those that have ended.
    #[serde(skip)]
    pub ended: Vec<(JobId, JobType)>,
}

/// Jobs that take the same permission to stop.
#[derive(Clone, Debug)]
pub struct JobLane {
    /// The application they belong to. `None`: the installation.
    pub application: Option<AppName>,
    /// What kind of work they are.
    pub job_type: JobType,
    /// What they are called.
    pub name: String,
    /// Who asked for them, of those of the installation.
    pub username: Option<String>,
}

impl JobLane {
    /// That of a job.
    pub(super) fn of(job: &Job) -> Self {
        let username = job.username.clone().filter(|_| job.application.is_none());
        let (job_type, name) = (job.job_type.clone(), job.name.clone());
        Self { application: job.application.clone(), job_type, name, username }
    }

    /// The application they belong to.
    ///
    /// # Errors
    /// [`Error::Internal`] if they are jobs of the installation.
    pub fn application(&self) -> Result<&AppName> {
        let missing = || Error::internal(format!("jobs named `{}` belong to no application", self.name));
        self.application.as_ref().ok_or_else(missing)
    }
}

impl CancelFilter {
    fn check(&self) -> Result<()> {
        let Self { statuses, applications, name, root, parent, since, until } = self;
        if let Some(ended) = statuses.iter().find(|status| status.is_final()) {
            let reason =
                format!("jobs that are `queued` or `running` can be stopped, and not `{}` ones", ended.as_str());
            return Err(Error::invalid("status", reason));
        }
        let is_open = applications.is_empty() && name.is_none() && root.is_none() && parent.is_none();
        if is_open && since.is_none() && until.is_none() && statuses.is_empty() {
            let reason =
                "say which jobs are to stop, by `application`, `name`, `status`, `root`, `parent`, `since` or `until`";
            return Err(Error::invalid("", reason));
        }
        Ok(())
    }

    fn statuses_as_text(&self) -> Option<Vec<String>> {
        let all = || self.statuses.iter().map(|status| status.as_str().to_owned());
        (!self.statuses.is_empty()).then(|| all().collect())
    }

    fn applications_as_text(&self) -> Option<Vec<String>> {
        (!self.applications.is_empty()).then(|| self.applications.iter().map(AppName::to_string).collect())
    }

    /// For the record, as it was asked for.
    fn document(&self) -> Value {
        let Self { statuses: _, applications: _, name, root, parent, since, until } = self;
        let (since, until) = (since.map(|since| since.to_string()), until.map(|until| until.to_string()));
        let name = name.as_ref().map(NamePattern::as_str);
        let (status, application) = (self.statuses_as_text(), self.applications_as_text());
        let (status, application) = (status.map(|all| all.join(",")), application.map(|all| all.join(",")));
        let mut document = json!({ "status": status, "application": application, "name": name, "root": root,
            "parent": parent, "since": since, "until": until });
        if let Some(members) = document.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        document
    }
}

impl DataSvc {
    /// Asks all jobs to stop that match, of those that the caller may stop: at most a thousand at once. Those that are
    /// queued have ended when this returns; those that run are told, and stopped after a while. `may` says which the caller
    /// may stop.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the filter leaves everything open; [`Error::Denied`] if there are such jobs but the caller
    /// may not stop any of them.
    pub async fn cancel_jobs(
        &self,
        caller: &Caller,
        filter: &CancelFilter,
        may: impl Fn(&JobLane) -> Result<()>,
    ) -> Result<CancelledJobs> {
        filter.check()?;
        let seen = self.lanes_to_cancel(filter).await?.into_iter();
        let seen: Vec<_> = seen
            .filter(|lane| {
                may_read(caller, lane.application.as_ref(), lane.username.as_deref(), lane.job_type.as_str())
            })
            .collect();
        let refused = seen.iter().find_map(|lane| may(lane).err());
        let allowed: Vec<_> = seen.into_iter().filter(|lane| may(lane).is_ok()).collect();
        match refused {
            Some(refused) if allowed.is_empty() => return Err(refused),
            _ if allowed.is_empty() => return Ok(CancelledJobs::default()),
            _ => {}
        }
        let stopped = loop {
            match self.cancel_some(caller, filter, &allowed).await {
                // The former holder of one has just recorded an entry.
                Err(Error::Conflict { reason }) if reason == TAKEN => {}
                other => break other?,
            }
        };
        self.recorder.changed(stopped.iter().map(|(id, ..)| *id).collect());
        Ok(CancelledJobs::of(&stopped))
    }

    /// What the jobs that match are.
    async fn lanes_to_cancel(&self, filter: &CancelFilter) -> Result<Vec<JobLane>> {
        let CancelFilter { statuses: _, applications: _, name, root, parent, since, until } = filter;
        let lanes = sqlx::query_as!(
            JobLane,
            r#"select distinct nullif(application, '') as "application: AppName", job_type as "job_type: JobType",
                   name, case application when '' then username end as "username"
               from jobs
               where status in ('queued', 'running')
                   and ($1::text[] is null or status = any($1))
                   and ($2::text[] is null or application = any($2))
                   and ($3::text is null or name like $3)
                   and ($4::uuid is null or root = $4 or id = $4)
                   and ($5::uuid is null or parent = $5)
                   and ($6::timestamptz is null or created_at >= $6)
                   and ($7::timestamptz is null or created_at < $7)"#,
            filter.statuses_as_text() as _,
            filter.applications_as_text() as _,
            name.as_ref().map(NamePattern::like),
            *root as _,
            *parent as _,
            *since,
            *until
        );
        self.reads.run(async |connection| Ok(lanes.fetch_all(connection).await?)).await
    }

    async fn cancel_some(
        &self,
        caller: &Caller,
        filter: &CancelFilter,
        lanes: &[JobLane],
    ) -> Result<Vec<(JobId, JobType, JobStatus)>> {
        let CancelFilter { statuses: _, applications: _, name, root, parent, since, until } = filter;
        let error = JobError::cancelled(&described(caller));
        let error = serde_json::to_value(&error).map_err(Error::internal)?;
        let mut change = self.change(caller, "jobs.cancel-matching").await?;
        let rows = sqlx::query!(
            r#"with chosen as (
                   select jobs.id from jobs
                       join unnest($7::text[], $8::text[], $9::text[], $14::text[])
                           as allowed (application, job_type, name, username)
                           on allowed.application = jobs.application
                               and allowed.job_type = jobs.job_type and allowed.name = jobs.name
                               and (jobs.application <> '' or allowed.username is not distinct from jobs.username)
                   where (status = 'queued' or status = 'running' and cancel_requested_at is null)
                       and ($1::text[] is null or status = any($1))
                       and ($2::text[] is null or jobs.application = any($2))
                       and ($3::text is null or jobs.name like $3)
                       and ($4::uuid is null or root = $4 or jobs.id = $4)
                       and ($5::uuid is null or parent = $5)
                       and ($6::timestamptz is null or created_at >= $6)
                       and ($15::timestamptz is null or created_at < $15)
                   order by jobs.id desc limit $10 for update of jobs skip locked
               ), cancelled as (
                   update jobs set cancel_requested_at = coalesce(cancel_requested_at, now()),
                       cancel_requested_by = coalesce(cancel_requested_by, $11), updated_at = now(),
                       status = case status when 'queued' then 'cancelled' else status end,
                       fence = fence + (status = 'queued')::int,
                       completed_at = case status when 'queued' then now() end,
                       error = case status when 'queued' then $12::json end
                   from chosen where jobs.id = chosen.id
                   returning jobs.id, jobs.job_type, jobs.status
               ), noted as (
                   insert into job_entries (job_id, seq, source, data)
                   select id, 1 + (select coalesce(max(seq), 0) from job_entries where job_id = cancelled.id), $13,
                       json_build_object('status', 'cancelled', 'error', $12::json)
                   from cancelled where status = 'cancelled'
               )
               select id as "id: JobId", job_type as "job_type: JobType", status as "status: JobStatus" from cancelled"#,
            filter.statuses_as_text() as _,
            filter.applications_as_text() as _,
            name.as_ref().map(NamePattern::like),
            *root as _,
            *parent as _,
            *since,
            &lanes.iter().map(|lane| lane.application.as_ref().map_or("", AppName::as_str).to_owned()).collect::<Vec<_>>(),
            &lanes.iter().map(|lane| lane.job_type.as_str().to_owned()).collect::<Vec<_>>(),
            &lanes.iter().map(|lane| lane.name.clone()).collect::<Vec<_>>(),
            MAX_AT_ONCE,
            caller.username().map(|name| name.as_str()),
            error,
            SOURCE_HOST,
            &lanes.iter().map(|lane| lane.username.clone()).collect::<Vec<_>>() as _,
            *until
        )
        .fetch_all(&mut *change)
        .await
        .on_constraint("job_entries_pkey", || Error::conflict(TAKEN))?;
        let stopped: Vec<_> = rows.into_iter().map(|row| (row.id, row.job_type, row.status)).collect();
        record(change, filter, &stopped).await?;
        Ok(stopped)
    }
}

/// One entry says what was asked, and of how many jobs; each job's log says it of that job.
async fn record(
    change: AuditedTransaction<'_>,
    filter: &CancelFilter,
    stopped: &[(JobId, JobType, JobStatus)],
) -> Result<()> {
    if stopped.is_empty() {
        return change.rollback().await;
    }
    let asked = filter.document();
    let what = filter.root.or(filter.parent).map(|job| job.to_string());
    let what = what.or_else(|| Some(filter.name.as_ref()?.as_str().to_owned())).unwrap_or_else(|| "jobs".into());
    let application = filter.applications.first().filter(|_| filter.applications.len() == 1);
    change.updated(application, &what, &asked, &CancelledJobs::of(stopped)).await
}

impl CancelledJobs {
    fn of(stopped: &[(JobId, JobType, JobStatus)]) -> Self {
        let ended = stopped.iter().filter(|(_, _, status)| status.is_final());
        let cancelled = ended.clone().count();
        Self {
            cancelled: cancelled as u64,
            stopping: (stopped.len() - cancelled) as u64,
            more: i64::try_from(stopped.len()).is_ok_and(|count| count >= MAX_AT_ONCE),
            ended: ended.map(|(id, job_type, _)| (*id, job_type.clone())).collect(),
        }
    }
}
