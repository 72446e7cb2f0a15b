//! Jobs: asked for, queued, claimed, logged, ended, looked at and removed.
//!
//! What a job does is a name and a JSON document here, which the engine understands. Two kinds of work are known by their
//! names: an action has a plugin, and an upload may be seen by who may only upload.

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
