//! What the other groups are built on: names and ids, errors, pages, patterns, patches, revisions, and the connections to
//! Postgres.
//!
//! Has the names of all nouns, no rule of any of them, and knows none of the other groups.

pub(super) mod aside;
pub(super) mod attributes;
pub(super) mod clock;
pub(super) mod connections;
pub(super) mod error;
pub(super) mod glob;
pub(super) mod ids;
pub(super) mod numbers;
pub(super) mod outage;
pub(super) mod page;
pub(super) mod patch;
pub(super) mod pointer;
pub(super) mod pooler;
pub(super) mod revision;
pub(super) mod seconds;
pub(super) mod sql;
pub(super) mod wording;
pub(super) mod words;
