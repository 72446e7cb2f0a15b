//! What has happened since a moment: states of jobs, changes of documents, plugins. All of it is read from the rows
//! themselves, so that nothing is lost when nobody listens, and nothing has to be written for it.
//!
//! Times of rows are those at which their transactions began, and they may be seen later. So the last seconds are read
//! again and again, and what was told already is left out.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;
use time::{Duration, OffsetDateTime};

use super::plugins::PluginState;
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::access::sight::visible;
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::{AppName, JobId, PluginName};
use crate::datasvc::jobs::job::{Job, JobStatus};
use crate::datasvc::jobs::lookup::documents;

/// How long after its time a row may be seen: one of a job, which a single statement writes, and one of a change, whose
/// transaction may have waited for others.
const JOBS_SEEN_AFTER: Duration = Duration::seconds(3);
const CHANGES_SEEN_AFTER: Duration = Duration::seconds(30);
/// How many states of jobs are looked at, and how many events are read, at a time. If there are more, that is said.
const MAX_STATES: i64 = 20_000;
const MAX_EVENTS: usize = 1_000;

/// Something that has happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A job is in another state, or was asked to stop.
    Job(Box<Job>),
    /// A document was created, changed or removed.
    Document(ChangedDocument),
    /// A plugin is in another state, or another version of it is active.
    Plugin(ChangedPlugin),
}

/// A document that was created, changed or removed.
#[derive(Clone, Debug, Serialize)]
pub struct ChangedDocument {
    /// What was done, such as `builds.update`.
    pub operation: String,
    /// The application that it was done to, or in; null for what belongs to none.
    pub application: Option<String>,
    /// What it was done to, by its name or id.
    pub name: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}

/// A plugin that changed.
#[derive(Clone, Debug, Serialize)]
pub struct ChangedPlugin {
    /// Its name.
    pub name: PluginName,
    /// Where it stands.
    pub state: PluginState,
    /// The number of its active version.
    pub version: i32,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The applications that it has registered something for.
    #[serde(skip)]
    pub applications: Vec<String>,
}

/// What tells events apart.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum EventKey {
    /// A job in a state, and whether it was asked to stop.
    Job(JobId, JobStatus, bool),
    /// A change, by its number.
    Change(i64),
    /// A plugin at a time.
    Plugin(PluginName, OffsetDateTime),
}

/// Events, those of each kind in their order.
#[derive(Debug, Default)]
pub struct Events {
    /// Those that were not known.
    pub items: Vec<(EventKey, Event)>,
    /// Up to which time of the database these are all.
    pub until: Option<OffsetDateTime>,
    /// Whether there are more, which are left out.
    pub is_cut: bool,
}

impl Event {
    /// The applications that it is about.
    fn applications(&self) -> &[String] {
        match self {
            Self::Job(_) => &[],
            Self::Document(document) => document.application.as_slice(),
            Self::Plugin(plugin) => &plugin.applications,
        }
    }

    /// Whether the caller may see it, who may read these applications.
    fn is_for(&self, caller: &Caller, readable: &HashSet<String>) -> bool {
        match self {
            Self::Job(job) => match &job.application {
                Some(application) => readable.contains(application.as_str()),
                None => job.is_for(caller),
            },
            Self::Document(_) | Self::Plugin(_) => self.applications().iter().any(|name| readable.contains(name)),
        }
    }

    /// Whether it is about this application.
    pub fn is_of(&self, application: &AppName) -> bool {
        match self {
            Self::Job(job) => job.application.as_ref() == Some(application),
            Self::Document(document) => document.application.as_deref() == Some(application.as_str()),
            Self::Plugin(plugin) => plugin.applications.iter().any(|name| name == application.as_str()),
        }
    }
}

/// Those of these events that the caller may see.
///
/// # Errors
/// [`crate::datasvc::Error::Throttled`] if too many compare patterns already.
pub async fn visible_events<'e>(caller: &Caller, events: &'e [Event]) -> Result<Vec<&'e Event>> {
    if caller.may_globally(Permission::Read) {
        return Ok(events.iter().collect());
    }
    // Each name is compared once, however much has happened.
    let mut names = BTreeSet::new();
    for event in events {
        names.extend(event.applications().iter().map(String::as_str));
        if let Event::Job(job) = event {
            names.extend(job.application.as_ref().map(AppName::as_str));
        }
    }
    let names = names.into_iter().filter_map(|name| AppName::parse(name).ok()).collect();
    let may = |caller: &Caller, name: &AppName| caller.may(Permission::Read, name);
    let readable = visible(caller, names, may).await?;
    let readable = readable.into_iter().map(|name| name.to_string()).collect();
    Ok(events.iter().filter(|event| event.is_for(caller, &readable)).collect())
}

impl DataSvc {
    /// What has happened since this time of the database and is not known, and perhaps what happened just before.
    /// Without a time nothing, but what may still be seen late, so that it is known.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn events(&self, since: Option<OffsetDateTime>, known: &HashSet<EventKey>) -> Result<Events> {
        self.lists
            .run(async |connection| {
                let now = sqlx::query_scalar!(r#"select now() as "now!""#).fetch_one(&mut *connection).await?;
                let since = since.unwrap_or(now);
                let mut events = Events { until: Some(now), ..Events::default() };
                let from = since - JOBS_SEEN_AFTER;
                let states = sqlx::query!(
                    r#"(select id as "id!: JobId", status as "status!: JobStatus",
                            cancel_requested_at is not null as "stops!" from jobs where id >= $1 order by id limit $3)
                       union (select id, status, cancel_requested_at is not null from jobs
                            where completed_at >= $2 order by completed_at limit $3)
                       union (select id, status, cancel_requested_at is not null from jobs
                            where status = 'running' and (started_at >= $2 or cancel_requested_at >= $2) limit $3)
                       order by 1 limit $3"#,
                    JobId::from_time(from) as _,
                    from,
                    MAX_STATES
                )
                .fetch_all(&mut *connection)
                .await?;
                events.is_cut |= states.len() as i64 == MAX_STATES;
                let states = states.into_iter().map(|row| EventKey::Job(row.id, row.status, row.stops));
                let new: HashSet<_> = states.filter(|key| !known.contains(key)).take(MAX_EVENTS + 1).collect();
                events.is_cut |= new.len() > MAX_EVENTS;
                let mut ids: Vec<_> = new.iter().filter_map(EventKey::job).take(MAX_EVENTS).collect();
                ids.sort_unstable_by(|one, other| other.cmp(one));
                let mut jobs = if ids.is_empty() { Vec::new() } else { documents(connection, &ids, false).await? };
                events.is_cut |= jobs.len() < ids.len();
                jobs.reverse();
                events.items.extend(jobs.into_iter().map(|job| {
                    let key = EventKey::Job(job.job_id, job.status, job.cancel_requested_at.is_some());
                    (key, Event::Job(Box::new(job)))
                }));
                let from = since - CHANGES_SEEN_AFTER;
                let changes = sqlx::query!(
                    "select id, operation, application, name, at from audit where at >= $1 order by at, id limit $2",
                    from,
                    MAX_EVENTS as i64
                )
                .fetch_all(&mut *connection)
                .await?;
                events.is_cut |= changes.len() == MAX_EVENTS;
                events.items.extend(changes.into_iter().filter_map(|row| {
                    let document =
                        ChangedDocument { operation: row.operation, application: row.application, name: row.name, at: row.at };
                    Some((EventKey::Change(row.id), Event::Document(document))).filter(|(key, _)| !known.contains(key))
                }));
                let plugins = sqlx::query_as!(
                    ChangedPlugin,
                    r#"select name as "name: PluginName", state as "state: PluginState", version, updated_at as at,
                           array(select application from plugin_actions where plugin = plugins.name
                               union select application from plugin_hooks where plugin = plugins.name) as "applications!"
                       from plugins where updated_at >= $1 order by updated_at, name limit $2"#,
                    from,
                    MAX_EVENTS as i64
                )
                .fetch_all(&mut *connection)
                .await?;
                events.items.extend(plugins.into_iter().filter_map(|plugin| {
                    let key = EventKey::Plugin(plugin.name.clone(), plugin.at);
                    Some((key, Event::Plugin(plugin))).filter(|(key, _)| !known.contains(key))
                }));
                Ok(events)
            })
            .await
    }
}

impl EventKey {
    fn job(&self) -> Option<JobId> {
        match self {
            Self::Job(id, ..) => Some(*id),
            Self::Change(_) | Self::Plugin(..) => None,
        }
    }
}
