//! What clients were promised and shown, and what was done to the servers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::types::Uuid;
use time::OffsetDateTime;

use super::plan::Fault;

/// Where it is written down. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<Notes>>);

/// All that was written down.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) acknowledged: Vec<Acknowledgement>,
    /// The ends of jobs that clients were told of.
    pub(crate) ends: Vec<(Uuid, String)>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) blows: Vec<Blow>,
    /// When Postgres was back.
    pub(crate) returns: Vec<OffsetDateTime>,
    /// How often clients were refused, and why.
    pub(crate) refusals: BTreeMap<String, u64>,
}

/// A 202.
pub(crate) struct Acknowledgement {
    pub(crate) key: String,
    pub(crate) job: Uuid,
    pub(crate) door: String,
    pub(crate) at: OffsetDateTime,
    pub(crate) action: Action,
    pub(crate) steps: u64,
}

/// The actions of the plugin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Not idempotent.
    Once,
    /// Idempotent.
    Again,
}

impl Action {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Once => "Once",
            Self::Again => "Again",
        }
    }
}

/// What a client saw that followed a job.
pub(crate) struct Stream {
    pub(crate) job: Uuid,
    /// Numbers and data.
    pub(crate) entries: Vec<(i64, serde_json::Value)>,
    /// The job's status at its end, if the client was told of it.
    pub(crate) end: Option<String>,
    /// What was wrong with it on the way.
    pub(crate) faults: Vec<String>,
}

/// Something that was done to the servers or to Postgres.
pub(crate) struct Blow {
    pub(crate) at: OffsetDateTime,
    /// None: all faults are over.
    pub(crate) fault: Option<Fault>,
    /// The server's name, and what it held, if that is to be taken over.
    pub(crate) host: String,
    pub(crate) held: Vec<(Uuid, i64)>,
}

impl Journal {
    pub(crate) fn note(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn refused(&self, why: String) {
        *self.note().refusals.entry(why).or_default() += 1;
    }

    /// All of it, once nobody writes any more.
    pub(crate) fn take(&self) -> Notes {
        std::mem::take(&mut *self.note())
    }
}
