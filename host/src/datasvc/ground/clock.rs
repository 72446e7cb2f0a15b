//! What time it is.
//!
//! Times of rows are the database's. Between two heartbeats this server calculates them by its own monotonic clock, so
//! a wrong wall clock of this server has no effect. Ids of jobs, which give the order of the queue, never decrease,
//! even if the database's clock is set back, and over all servers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use uuid::{ContextV7, Timestamp, Uuid};

use super::ids::JobId;
use crate::datasvc::DataSvc;

/// By how much a clock has to be put back for that to be noticed. Less is what two clocks differ by anyway.
const PUT_BACK: Duration = Duration::from_secs(1);

/// An answer that takes longer tells the time badly.
const WELL_KNOWN: Duration = Duration::from_millis(5);

/// The time, as far as this server knows it. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::datasvc) struct Clock(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    database: Reckoned,
    /// What was the earlier one of the database's clock and this machine's when they were first compared.
    steady: Option<Reckoned>,
    /// The time that ids are made of. The database's; but where that was put back, it goes on as if nothing had happened,
    /// on every server alike.
    ids_time: Option<Reckoned>,
    ids: ContextV7,
}

/// A time that was known then.
#[derive(Clone, Copy, Debug)]
struct Reckoned {
    at: OffsetDateTime,
    then: Instant,
}

impl Reckoned {
    fn now(self) -> OffsetDateTime {
        self.at + self.then.elapsed()
    }
}

impl Clock {
    /// One that goes by this machine's until the database has been asked.
    pub(in crate::datasvc) fn new() -> Self {
        let database = Reckoned { at: OffsetDateTime::now_utc(), then: Instant::now() };
        Self(Arc::new(Mutex::new(Known { database, steady: None, ids_time: None, ids: ContextV7::new() })))
    }

    /// The database has said what time it is, and which job is the newest, in answer to a question of then. Tells
    /// whether the time is now known well; where it is not, it is worth asking again.
    ///
    /// An answer is as old as it took at most, so what is reckoned from it is never ahead of the database, but may be
    /// behind. What was reckoned from a faster answer stays, as long as this one does not contradict it.
    pub(in crate::datasvc) fn learn(&self, asked: Instant, at: OffsetDateTime, newest: Option<JobId>) -> bool {
        let mut known = self.lock();
        let then = Instant::now();
        let took = then.duration_since(asked);
        let closer = |time: OffsetDateTime| if (at..=at + took).contains(&time) { time } else { at };
        let (reckoned, known_before) = (known.database.now(), known.steady.is_some());
        let database = closer(reckoned);
        known.database = Reckoned { at: database, then };
        known.steady.get_or_insert(Reckoned { at: at.min(OffsetDateTime::now_utc()), then });
        let ids_time = known.ids_time.map_or(at, Reckoned::now);
        let ids_time = if ids_time - at > PUT_BACK { ids_time } else { closer(ids_time) };
        // An id holds whole milliseconds, and two of the same one are in any order.
        let newest = newest.and_then(JobId::made_at).map(|made| made + Duration::from_millis(1));
        known.ids_time = Some(Reckoned { at: ids_time.max(newest.unwrap_or(ids_time)), then });
        took < WELL_KNOWN || known_before && database == reckoned
    }

    /// The database's time.
    pub(in crate::datasvc) fn now(&self) -> OffsetDateTime {
        self.lock().database.now()
    }

    /// The time that has come by every clock that is known here: the database's, this machine's, and the monotonic one
    /// since the others were first looked at. What is removed for its age is old by this one, so that no step of one
    /// of them removes what is young.
    pub(in crate::datasvc) fn settled(&self) -> OffsetDateTime {
        let known = self.lock();
        let earlier = known.database.now().min(OffsetDateTime::now_utc());
        known.steady.map_or(earlier, |steady| earlier.min(steady.now()))
    }

    /// An id after all that this server has made or seen.
    pub(in crate::datasvc) fn job_id(&self) -> JobId {
        let known = self.lock();
        let time = known.ids_time.unwrap_or(known.database).now();
        let seconds = u64::try_from(time.unix_timestamp()).unwrap_or(0);
        Uuid::new_v7(Timestamp::from_unix(&known.ids, seconds, time.nanosecond())).into()
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DataSvc {
    /// An id for a new job: after those of all jobs that this server knows of.
    pub fn new_job_id(&self) -> JobId {
        self.clock.job_id()
    }

    /// The database's time, as exact as it is in rows.
    pub fn now(&self) -> OffsetDateTime {
        let now = self.clock.now();
        now.replace_microsecond(now.microsecond()).unwrap_or(now)
    }

    /// The time by which things are old enough to be removed.
    pub fn settled_time(&self) -> OffsetDateTime {
        self.clock.settled()
    }
}

#[cfg(test)]
mod tests;
