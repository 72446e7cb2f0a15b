//! Lists of jobs, newest first, from a table that may hold millions.
//!
//! Each list reads one index, which is chosen here and not by Postgres: the index of the filter that leaves the fewest
//! jobs. If several parts of the index have to be read, such as one for each application, their newest jobs are merged.
//! The other filters are applied to the jobs that were found. No request reads more than a few thousand jobs: if few
//! jobs match, a page may be short, and says where to continue.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::postgres::PgConnection;
use time::OffsetDateTime;

use super::lookup::{ACTION, Job, JobStatus, JobType, documents};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{AppName, JobId};
use crate::datasvc::ground::page::{Listed, Page};

/// How many jobs one request looks at, give or take a few, if not all that it finds are wanted.
const LOOKED_AT: i64 = 4_000;
/// The same where only their ids are looked at.
const IDS_LOOKED_AT: i64 = 20_000;
/// Of each place of an index at least so many.
const LOOKED_AT_OF_EACH: i64 = 10;
/// From how many places of an index on it is worth a try whether the newest jobs of all are enough.
const MANY_PLACES: usize = 50;
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
    /// Queued and running ones, or those that have ended.
    pub active: Option<bool>,
    /// Those in one of these states.
    pub statuses: Vec<JobStatus>,
    /// Those of one of these applications.
    pub applications: Vec<AppName>,
    /// Those of this name.
    pub name: Option<String>,
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
}

/// How many jobs there are in each state, of those that a filter lets through whatever their state. More than 10,000 of
/// a state are not counted.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct JobCounts(BTreeMap<&'static str, i64>);

/// Along which index to look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Along {
    Ids,
    Suffix,
    Applications,
    Statuses,
    ApplicationsAndStatuses,
    Name,
    Parent,
    Types,
}

impl Along {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ids => "ids",
            Self::Suffix => "suffix",
            Self::Applications => "applications",
            Self::Statuses => "statuses",
            Self::ApplicationsAndStatuses => "applications and statuses",
            Self::Name => "name",
            Self::Parent => "parent",
            Self::Types => "types",
        }
    }
}

/// A filter that was weighed against what the caller may see.
#[derive(Debug)]
struct Wanted {
    /// `None`: of all, whether they have one or not.
    applications: Option<Vec<String>>,
    /// `None`: in any.
    statuses: Option<Vec<&'static str>>,
    filter: JobFilter,
}

/// How to look for jobs.
#[derive(Debug)]
struct Way {
    along: Along,
    /// What the index begins with: pairs of an application and something else, one of which may be empty.
    places: Vec<(String, String)>,
    /// Whether all that is found there is wanted.
    is_exact: bool,
    /// How many jobs to look at in each place.
    look_at: i64,
}

/// The jobs that a look has found.
struct MatchingJobs {
    ids: Vec<JobId>,
    /// Up to where all was looked at, if that is not everything.
    horizon: Option<JobId>,
}

impl DataSvc {
    /// The jobs that the caller may read and the filter lets through, newest first; with `details` also what was asked
    /// and what came of it. A page may be short, and even empty, though more come after it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the page begins after something that is not a job id, or if `id_suffix` is not valid.
    pub async fn jobs(&self, caller: &Caller, filter: &JobFilter, details: bool, page: &Page) -> Result<Listed<Job>> {
        let after = page.after_as(JobId::parse)?;
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
        Ok(Wanted { applications, statuses, filter: filter.clone() })
    }

    /// The applications whose jobs the caller may see; `None` means all jobs.
    async fn readable_applications(&self, caller: &Caller) -> Result<Option<Vec<String>>> {
        if caller.may_globally(Permission::Read) {
            return Ok(None);
        }
        let names = sqlx::query_scalar!(r#"select name as "name: AppName" from applications order by name"#);
        let names = self.lists.run(async |connection| Ok(names.fetch_all(connection).await?)).await?;
        let readable = names.into_iter().filter(|name| caller.may(Permission::Read, name));
        Ok(Some(readable.map(|name| name.to_string()).collect()))
    }
}

impl Wanted {
    /// The newest of them before that job, at most so many.
    async fn look(&self, connection: &mut PgConnection, after: Option<JobId>, limit: i64) -> Result<MatchingJobs> {
        let none = |empty: Option<bool>| empty.unwrap_or(false);
        if none(self.applications.as_ref().map(Vec::is_empty)) || none(self.statuses.as_ref().map(Vec::is_empty)) {
            return Ok(MatchingJobs { ids: Vec::new(), horizon: None });
        }
        let way = self.way(limit);
        if way.places.len() > MANY_PLACES {
            // Who may read many applications reads most of what is new.
            let statuses = self.statuses.iter().flatten().map(|status| (String::new(), (*status).to_owned()));
            let (along, places) = match way.along {
                Along::ApplicationsAndStatuses => (Along::Statuses, statuses.collect()),
                _ => (Along::Ids, anywhere()),
            };
            let newest = Way { along, places, is_exact: false, look_at: 5 * limit };
            let found = self.look_along(&newest, connection, after, limit).await?;
            if found.ids.len() as i64 == limit {
                return Ok(found);
            }
        }
        self.look_along(&way, connection, after, limit).await
    }

    /// Along which index there is the least to look at.
    fn way(&self, limit: i64) -> Way {
        let filter = &self.filter;
        let applications = || self.applications.iter().flatten();
        let without = |others: &[JobStatus]| {
            let other = |status: &&str| others.iter().any(|other| other.as_str() == *status);
            self.statuses.as_ref().filter(|all| !all.iter().any(other))
        };
        let rare = without(&[JobStatus::Succeeded]);
        let troubled = without(&[JobStatus::Succeeded, JobStatus::Queued, JobStatus::Running]);
        let word = |word: &str| (String::new(), word.to_owned());
        let (along, places) = if filter.id_suffix.is_some() && filter.since.is_none() && filter.until.is_none() {
            (Along::Suffix, anywhere())
        } else if let Some(parent) = filter.parent {
            (Along::Parent, vec![word(&parent.to_string())])
        } else if let (Some(statuses), true) = (troubled, self.applications.is_some()) {
            let places = applications().flat_map(|app| statuses.iter().map(|status| (app.clone(), (*status).into())));
            (Along::ApplicationsAndStatuses, places.collect())
        } else if let Some(statuses) = rare {
            (Along::Statuses, statuses.iter().map(|status| word(status)).collect())
        } else if !filter.types.is_empty() && !filter.types.iter().any(|kind| kind.as_str() == ACTION) {
            let types: BTreeSet<_> = filter.types.iter().map(JobType::as_str).collect();
            (Along::Types, types.into_iter().map(word).collect())
        } else if let Some(name) = &filter.name {
            (Along::Name, vec![word(name)])
        } else if self.applications.is_some() {
            (Along::Applications, applications().map(|app| (app.clone(), String::new())).collect::<Vec<_>>())
        } else {
            (Along::Ids, anywhere())
        };
        let is_exact = self.is_all_of(along);
        let budget = if along == Along::Suffix { IDS_LOOKED_AT } else { LOOKED_AT.max(2 * limit) };
        let look_at = if is_exact { limit } else { (budget / places.len() as i64).max(LOOKED_AT_OF_EACH) };
        Way { along, places, is_exact, look_at }
    }

    /// Whether all jobs are wanted that are found like that.
    fn is_all_of(&self, along: Along) -> bool {
        use Along::{Applications, ApplicationsAndStatuses, Name, Parent, Statuses, Types};
        let Self { applications, statuses, filter } = self;
        (applications.is_none() || matches!(along, Applications | ApplicationsAndStatuses))
            && (statuses.is_none() || matches!(along, Statuses | ApplicationsAndStatuses))
            && (filter.name.is_none() || along == Name)
            && filter.username.is_none()
            && (filter.parent.is_none() || along == Parent)
            && (filter.types.is_empty() || along == Types)
            && filter.plugin.is_none()
            && filter.id_suffix.is_none()
    }

    async fn look_along(
        &self,
        way: &Way,
        connection: &mut PgConnection,
        after: Option<JobId>,
        limit: i64,
    ) -> Result<MatchingJobs> {
        let filter = &self.filter;
        let (applications, words): (Vec<_>, Vec<_>) = way.places.iter().cloned().unzip();
        let types: Vec<_> = filter.types.iter().map(|kind| kind.as_str().to_owned()).collect();
        let statuses: Option<Vec<String>> =
            self.statuses.as_ref().map(|all| all.iter().map(|status| (*status).to_owned()).collect());
        let are_places = matches!(way.along, Along::Applications | Along::ApplicationsAndStatuses);
        let applications_left = self.applications.as_ref().filter(|_| !are_places);
        // All that bounds a look along an index is there always, so that it is a bound of the index for Postgres, too.
        let first = filter.since.map_or(JobId::first(), JobId::before);
        let end = [after, filter.until.map(JobId::after)].into_iter().flatten().min().unwrap_or(JobId::last());
        let rows = sqlx::query!(
            r#"with places as (
                   select app, word, place from unnest($1::text[], $2::text[]) with ordinality as p (app, word, place)
               ), floor as (
                   -- Of many applications those with the newest jobs fill the page: no older ones are looked at.
                   select coalesce(
                       (select newest.id from places cross join lateral (
                            select id from jobs where application = places.app and id < $5 order by id desc limit 1
                        ) as newest
                        where $3 = 'applications' and $8 and $9::timestamptz is null and $10::timestamptz is null
                        order by newest.id desc offset $7::bigint - 1 limit 1),
                       $4) as id
               ), seen as (
                   select id, name, status, application, job_type, plugin, username, parent,
                       row_number() over (order by id desc) as nth
                   from (
                       select * from jobs where $3 = 'ids' and id < $5 and id >= $4
                           and ($9::timestamptz is null or created_at >= $9)
                           and ($10::timestamptz is null or created_at < $10)
                       order by id desc limit $6
                   ) as of_place
                   union all
                   -- All ids are compared before any job is looked at.
                   select jobs.id, name, status, application, job_type, plugin, username, parent, nth from (
                       select id, row_number() over (order by id desc) as nth from jobs
                       where $3 = 'suffix' and id < $5 and id >= $4 order by id desc limit $6
                   ) as of_place join jobs on jobs.id = of_place.id
                   where nth = $6 or right(of_place.id::text, length($18)) = $18
                   union all
                   select of_place.* from places cross join lateral (
                       select id, name, status, application, job_type, plugin, username, parent,
                           row_number() over (order by id desc) as nth
                       from jobs
                       where application = places.app and id < $5 and id >= (select id from floor)
                           and ($9::timestamptz is null or created_at >= $9)
                           and ($10::timestamptz is null or created_at < $10)
                       order by application desc, id desc limit $6
                   ) as of_place where $3 = 'applications'
                   union all
                   select of_place.* from places cross join lateral (
                       select id, name, status, application, job_type, plugin, username, parent,
                           row_number() over (order by id desc) as nth
                       from jobs
                       where status = places.word and status <> 'succeeded' and id < $5 and id >= $4
                           and ($9::timestamptz is null or created_at >= $9)
                           and ($10::timestamptz is null or created_at < $10)
                       order by status desc, id desc limit $6
                   ) as of_place where $3 = 'statuses'
                   union all
                   select of_place.* from places cross join lateral (
                       select id, name, status, application, job_type, plugin, username, parent,
                           row_number() over (order by id desc) as nth
                       from jobs
                       where application = places.app and status = places.word
                           and status in ('failed', 'cancelled', 'lost') and id < $5 and id >= $4
                           and ($9::timestamptz is null or created_at >= $9)
                           and ($10::timestamptz is null or created_at < $10)
                       order by application desc, status desc, id desc limit $6
                   ) as of_place where $3 = 'applications and statuses'
                   union all
                   select of_place.* from places cross join lateral (
                       select id, name, status, application, job_type, plugin, username, parent,
                           row_number() over (order by id desc) as nth
                       from jobs
                       where name = places.word and id < $5 and id >= $4
                           and ($9::timestamptz is null or created_at >= $9)
                           and ($10::timestamptz is null or created_at < $10)
                       order by name desc, id desc limit $6
                   ) as of_place where $3 = 'name'
                   union all
                   select of_place.* from places cross join lateral (
                       select id, name, status, application, job_type, plugin, username, parent,
                           row_number() over (order by id desc) as nth
                       from jobs
                       where parent = places.word::uuid and id < $5 and id >= $4
                           and ($9::timestamptz is null or created_at >= $9)
                           and ($10::timestamptz is null or created_at < $10)
                       order by parent desc, id desc limit $6
                   ) as of_place where $3 = 'parent'
                   union all
                   select of_place.* from places cross join lateral (
                       select id, name, status, application, job_type, plugin, username, parent,
                           row_number() over (order by id desc) as nth
                       from jobs
                       where job_type = places.word and job_type <> 'action' and id < $5 and id >= $4
                           and ($9::timestamptz is null or created_at >= $9)
                           and ($10::timestamptz is null or created_at < $10)
                       order by job_type desc, id desc limit $6
                   ) as of_place where $3 = 'types'
               ), horizon as (
                   -- Where a place was not looked through to its end; up to there all places were.
                   select (select id from seen where nth = $6 order by id desc limit 1) as id
               )
               select wanted.id as "id?: JobId", horizon.id as "horizon?: JobId"
               from horizon left join lateral (
                   select id from seen
                   where id >= coalesce(horizon.id, $4)
                       and ($11::text is null or name = $11)
                       and ($12::text[] is null or status = any($12))
                       and ($13::text[] is null or application = any($13))
                       and ($14::text[] is null or job_type = any($14))
                       and ($15::text is null or plugin = $15)
                       and ($16::text is null or username = $16)
                       and ($17::uuid is null or parent = $17)
                       and ($18::text is null or right(id::text, length($18)) = $18)
                   order by id desc limit $7
               ) as wanted on true order by wanted.id desc"#,
            &applications,
            &words,
            way.along.as_str(),
            first as _,
            end as _,
            way.look_at,
            limit,
            way.is_exact,
            filter.since,
            filter.until,
            filter.name,
            statuses as _,
            applications_left as _,
            Some(types).filter(|types| !types.is_empty()) as _,
            filter.plugin,
            filter.username,
            filter.parent as _,
            filter.id_suffix.as_ref().map(|suffix| suffix.to_ascii_lowercase())
        )
        .fetch_all(connection)
        .await?;
        let horizon = rows.first().and_then(|row| row.horizon);
        Ok(MatchingJobs { ids: rows.into_iter().filter_map(|row| row.id).collect(), horizon })
    }
}

/// The one place of an index that begins with nothing else.
fn anywhere() -> Vec<(String, String)> {
    vec![(String::new(), String::new())]
}
