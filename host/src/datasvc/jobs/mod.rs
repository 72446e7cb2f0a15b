//! Jobs: asked for, queued, claimed, logged, ended, looked at and removed.
//!
//! Knows no kind of work: what a job does is a name and a JSON document here.

pub(super) mod cancel;
pub(super) mod claim;
pub(super) mod error;
pub(super) mod heads;
pub(super) mod intake;
pub(super) mod job;
pub(super) mod lease;
pub(super) mod list;
pub(super) mod log;
pub(super) mod lookup;
pub(super) mod own;
pub(super) mod peers;
pub(super) mod progress;
pub(super) mod queue;
pub(super) mod recorder;
pub(super) mod retention;
pub(super) mod standing;
pub(super) mod steps;
pub(super) mod trace;
pub(super) mod wakes;
