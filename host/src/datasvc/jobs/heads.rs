//! Where the queued jobs of each lane begin, for when it takes long to find that.
//!
//! Rows of jobs that have left the queue stay in its index while any transaction is open that began before they left. They
//! are the oldest, so that each claim would read all of them again. When claims take long, the lanes are looked at
//! once, and for some time claims begin with the jobs that were found, and with those that have been queued since. A job
//! that is queued again meanwhile may wait until the next look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::claim::Claim;
use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::JobId;

/// A claim that takes this long may have read many dead rows. Others take some milliseconds.
const LONG: Duration = Duration::from_millis(20);
/// How many times as long as a look takes its result is used, so that looks take a tenth of the time at most.
const USED_FOR: u32 = 10;
/// For how long it is used at most.
const MOST: Duration = Duration::from_secs(5);
/// How much older than a look a job may be that it did not see, because its transaction was not committed.
const UNSEEN: Duration = Duration::from_secs(2);

/// What the last look has found. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::datasvc) struct Heads(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    /// Whether it took long to claim without knowing, or to look.
    is_slow: bool,
}

#[derive(Debug)]
struct Known {
    /// The oldest queued job of each lane: none before it is queued.
    lanes: HashMap<Lane, JobId>,
    since: JobId,
    until: Instant,
}

/// An application, a plugin (`''`: the host itself) and a name.
type Lane = (String, String, String);

/// The same for `claim.sql`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct KnownHeads {
    lanes: Vec<Head>,
    /// Jobs with this id or a greater one may be of other lanes.
    since: JobId,
}

#[derive(Clone, Debug, Serialize)]
struct Head {
    application: String,
    plugin: String,
    name: String,
    first: JobId,
}

impl Heads {
    /// What is known now, if it is of use.
    fn known(&self) -> Option<KnownHeads> {
        let state = self.lock();
        let known = state.known.as_ref().filter(|known| known.until > Instant::now())?;
        let lanes = known.lanes.iter().map(|((application, plugin, name), first)| Head {
            application: application.clone(),
            plugin: plugin.clone(),
            name: name.clone(),
            first: *first,
        });
        Some(KnownHeads { lanes: lanes.collect(), since: known.since })
    }

    /// A claim that did not know took so long.
    pub(super) fn claim_took(&self, time: Duration) {
        self.lock().is_slow = time >= LONG;
    }

    /// These were claimed: what is left of their lanes begins with them.
    pub(super) fn claimed(&self, claims: &[Claim]) {
        let mut state = self.lock();
        let Some(known) = state.known.as_mut() else { return };
        for claim in claims {
            let plugin = claim.plugin.as_ref().map(|plugin| plugin.name.to_string()).unwrap_or_default();
            let lane =
                (claim.application.as_ref().map(ToString::to_string).unwrap_or_default(), plugin, claim.name.clone());
            let first = known.lanes.entry(lane).or_insert(claim.job_id);
            *first = (*first).max(claim.job_id);
        }
    }

    /// A look took so long and has found this. What took no time is looked for by each claim again.
    fn looked(&self, since: JobId, took: Duration, lanes: impl Iterator<Item = (Lane, JobId)>) {
        let is_slow = took >= LONG / 2;
        let until = Instant::now() + MOST.min(took * USED_FOR);
        let known = is_slow.then(|| Known { lanes: lanes.collect(), since, until });
        *self.lock() = State { known, is_slow };
    }

    /// Jobs were queued again, which may be older than what is known.
    pub(super) fn forget(&self) {
        self.lock().known = None;
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DataSvc {
    /// Where the lanes begin, if that is not found anew by each claim.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::datasvc::Error::Unavailable).
    pub(super) async fn known_heads(&self) -> Result<Option<KnownHeads>> {
        let known = self.heads.known();
        if known.is_some() || !self.heads.lock().is_slow {
            return Ok(known);
        }
        let since = JobId::from_time(self.clock.now() - UNSEEN);
        let began = Instant::now();
        let looking = sqlx::query!(
            r#"with recursive lanes as (
                   (select application, plugin, name, id from jobs
                    where status = 'queued' order by application, plugin, name, id limit 1)
                   union all
                   select next.* from lanes cross join lateral (
                       select application, plugin, name, id from jobs
                       where status = 'queued' and (application, plugin, name) > (lanes.application, lanes.plugin, lanes.name)
                       order by application, plugin, name, id limit 1
                   ) as next
               )
               select application as "application!", plugin as "plugin!", name as "name!", id as "id!: JobId"
               from lanes where application is not null"#
        );
        let rows = self.engine.run(async |connection| Ok(looking.fetch_all(connection).await?)).await?;
        self.heads.looked(
            since,
            began.elapsed(),
            rows.into_iter().map(|row| ((row.application, row.plugin, row.name), row.id)),
        );
        Ok(self.heads.known())
    }
}
