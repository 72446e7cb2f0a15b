//! Lists of jobs, from a table that may hold millions: the newest first, or the oldest.
//!
//! Each list goes along an index, which is chosen here and not by Postgres (`way`). If several places of the index have
//! to be read, such as one for each application, their first jobs are merged, so that no later ones are read (`look`).
//! Jobs are compared by their ranks, so that all of this is the same for both orders (`rank`).
//! The other filters are applied to the jobs that were found. No request reads more than a few thousand jobs: if few
//! jobs match, a page may be short, and says where to continue.

mod look;
mod rank;
mod way;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::postgres::PgConnection;
use time::OffsetDateTime;

use self::look::{MatchingJobs, Seen};
use self::rank::Rank;
use self::way::Way;
use super::job::{Job, JobStatus, JobType};
use super::lookup::documents;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::access::sight::visible;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{AppName, JobId};
use crate::datasvc::ground::page::{Listed, NamePattern, Page, TimeOrder};

/// Up to how many jobs of a state are counted.
const COUNTED: i64 = 10_000;
/// How many characters the end of an id has that stands for all of it.
const SUFFIX_LENGTH: std::ops::RangeInclusive<usize> = 4..=36;

const ALL_STATUSES: [JobStatus; 6] = [
    JobStatus::Queued,
    JobStatus::Running,
    JobStatus::Succeeded,
    JobStatus::Failed,
    JobStatus::Cancelled,
    JobStatus::Lost,
];

/// Which jobs to list. What is `None` or empty filters nothing.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// These ones.
    pub ids: Vec<JobId>,
    /// Queued and running ones, or those that have ended.
    pub active: Option<bool>,
    /// Those in one of these states.
    pub statuses: Vec<JobStatus>,
    /// Those of one of these applications.
    pub applications: Vec<AppName>,
    /// Those with a name that matches.
    pub name: Option<NamePattern>,
    /// Those that do one of these.
    pub types: Vec<JobType>,
    /// Those that run this plugin.
    pub plugin: Option<String>,
    /// Those that this user asked for.
    pub username: Option<String>,
    /// Those that this job has started.
    pub parent: Option<JobId>,
    /// Those whose ids end like this.
    pub id_suffix: Option<String>,
    /// Those created at this time or later.
    pub since: Option<OffsetDateTime>,
    /// Those created before this time.
    pub until: Option<OffsetDateTime>,
    /// Which come first.
    pub order: TimeOrder,
}

/// How many jobs there are in each state, of those that a filter lets through whatever their state. More than 10,000 of
/// a state are not counted.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobCounts(BTreeMap<&'static str, i64>);

/// A filter that was weighed against what the caller may see.
#[derive(Debug)]
struct Wanted {
    /// `None`: of all, whether they have one or not.
    applications: Option<Vec<String>>,
    /// Whose jobs of the installation are wanted beside those of `applications`.
    own: Option<String>,
    /// `None`: in any.
    statuses: Option<Vec<&'static str>>,
    filter: JobFilter,
}

impl DataSvc {
    /// The jobs that the caller may read and the filter lets through, in its order; with `details` also what was asked
    /// and what came of it. A page may be short, and even empty, though more come after it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the page begins after something that is not a job id, or if `id_suffix` is not valid.
    pub async fn jobs(&self, caller: &Caller, filter: &JobFilter, details: bool, page: &Page) -> Result<Listed<Job>> {
        let after = page.after_as(JobId::parse)?.map(|id| Rank::of(id, filter.order));
        let wanted = self.wanted(caller, filter).await?;
        self.lists
            .run(async |connection| {
                let MatchingJobs { mut ids, horizon } = wanted.look(connection, after, page.fetch()).await?;
                let (found, limit) = (ids.len() as i64, page.fetch() - 1);
                ids.truncate(usize::try_from(limit).map_err(Error::internal)?);
                let jobs = if ids.is_empty() { Vec::new() } else { documents(connection, &ids, details).await? };
                // Those at the end may be left out for the length of the others.
                let is_cut = found > limit || jobs.last().map(|job| job.job_id) != ids.last().copied();
                let last = jobs.last().map(|job| job.job_id);
                let next = if is_cut { last.or(ids.last().copied()) } else { horizon };
                Ok(Listed { items: jobs, next: next.map(|id| id.to_string()) })
            })
            .await
    }

    /// How many jobs there are in each state, whatever states the filter names.
    ///
    /// # Errors
    /// Those of [`DataSvc::jobs`].
    pub async fn job_counts(&self, caller: &Caller, filter: &JobFilter) -> Result<JobCounts> {
        let filter = JobFilter { active: None, statuses: Vec::new(), ..filter.clone() };
        let mut wanted = self.wanted(caller, &filter).await?;
        self.lists
            .run(async |connection| {
                let mut counts = BTreeMap::new();
                for status in ALL_STATUSES {
                    wanted.statuses = Some(vec![status.as_str()]);
                    let MatchingJobs { ids, .. } = wanted.look(connection, None, COUNTED).await?;
                    counts.insert(status.as_str(), ids.len() as i64);
                }
                Ok(JobCounts(counts))
            })
            .await
    }

    async fn wanted(&self, caller: &Caller, filter: &JobFilter) -> Result<Wanted> {
        if let Some(suffix) = &filter.id_suffix {
            let known = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
            if !SUFFIX_LENGTH.contains(&suffix.len()) || !suffix.bytes().all(known) {
                return Err(Error::invalid("id_suffix", "the end of an id has 4 to 36 of `0-9 a-f -`"));
            }
        }
        let named: BTreeSet<_> = filter.applications.iter().map(AppName::to_string).collect();
        let applications = match self.readable_applications(caller).await? {
            readable if named.is_empty() => readable,
            None => Some(named.into_iter().collect()),
            Some(readable) => Some(readable.into_iter().filter(|name| named.contains(name)).collect()),
        };
        let is_active = |status: JobStatus| filter.active.is_none_or(|active| active != status.is_final());
        let statuses = (!filter.statuses.is_empty() || filter.active.is_some()).then(|| {
            let named = |status: &JobStatus| filter.statuses.is_empty() || filter.statuses.contains(status);
            let all = ALL_STATUSES.into_iter().filter(|status| named(status) && is_active(*status));
            all.map(JobStatus::as_str).collect()
        });
        let own = caller.username().filter(|_| applications.is_some() && filter.applications.is_empty());
        Ok(Wanted { applications, own: own.map(ToString::to_string), statuses, filter: filter.clone() })
    }

    /// The applications whose jobs the caller may see; `None` means all jobs.
    async fn readable_applications(&self, caller: &Caller) -> Result<Option<Vec<String>>> {
        if caller.may_globally(Permission::Read) {
            return Ok(None);
        }
        let names = sqlx::query_scalar!(r#"select name as "name: AppName" from applications order by name"#);
        let names = self.lists.run(async |connection| Ok(names.fetch_all(connection).await?)).await?;
        let may = |caller: &Caller, name: &AppName| caller.may(Permission::Read, name);
        let readable = visible(caller, names, may).await?;
        Ok(Some(readable.into_iter().map(|name| name.to_string()).collect()))
    }
}

impl Wanted {
    /// The first of them after that job, at most so many: those of applications, and the caller's own of the
    /// installation.
    async fn look(&self, connection: &mut PgConnection, after: Option<Rank>, limit: i64) -> Result<MatchingJobs> {
        if !self.filter.ids.is_empty() {
            return self.look_for_ids(connection, after, limit).await;
        }
        if let Some(suffix) = self.filter.id_suffix.as_deref() {
            return self.look_for_suffix(connection, suffix, after, limit).await;
        }
        let of_applications = self.look_at_applications(connection, after, limit).await?;
        let Some(way) = self.own_way() else { return Ok(of_applications) };
        if self.statuses.as_ref().is_some_and(Vec::is_empty) {
            return Ok(of_applications);
        }
        let own = self.look_along(connection, &way, after, way.first_look(limit)).await?;
        let order = self.filter.order;
        Ok(of_applications.merged(own.into_matching(order, limit), order, limit))
    }

    /// There may be two indexes to go along. A look at each shows which one leads further with the same work.
    async fn look_at_applications(
        &self,
        connection: &mut PgConnection,
        after: Option<Rank>,
        limit: i64,
    ) -> Result<MatchingJobs> {
        let order = self.filter.order;
        let none = |empty: Option<bool>| empty.unwrap_or(false);
        if none(self.applications.as_ref().map(Vec::is_empty)) || none(self.statuses.as_ref().map(Vec::is_empty)) {
            return Ok(MatchingJobs { ids: Vec::new(), horizon: None });
        }
        let mut furthest: Option<(Way, Seen)> = None;
        for way in self.ways() {
            let seen = self.look_along(connection, &way, after, way.first_look(limit)).await?;
            if seen.is_enough(limit) {
                return Ok(seen.into_matching(order, limit));
            }
            let is_good = seen.shows_most() || way.is_promising(limit, seen.matching());
            if furthest.as_ref().is_none_or(|(_, other)| seen.horizon < other.horizon) {
                furthest = Some((way, seen));
            }
            if is_good {
                break;
            }
        }
        let Some((way, mut seen)) = furthest else { return Ok(MatchingJobs { ids: Vec::new(), horizon: None }) };
        let more = way.second_look(limit, seen.matching());
        if more > 0 {
            seen.extend(self.look_along(connection, &way, seen.horizon, more).await?);
        }
        Ok(seen.into_matching(order, limit))
    }
}
