//! Where a job stands in a list.

use crate::datasvc::ground::ids::JobId;
use crate::datasvc::ground::page::TimeOrder;

/// Where a job stands in a list, whichever order that has: of two, the one with the greater rank comes first.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(super) struct Rank(JobId);

impl Rank {
    /// No job comes later.
    pub(super) const LAST: Self = Self(JobId::FIRST);
    /// All jobs come later.
    pub(super) const BEFORE_ALL: Self = Self(JobId::LAST);

    pub(super) fn of(id: JobId, order: TimeOrder) -> Self {
        match order {
            TimeOrder::Newest => Self(id),
            TimeOrder::Oldest => Self(id.mirrored()),
        }
    }

    /// What it is the rank of.
    pub(super) fn id(self, order: TimeOrder) -> JobId {
        match order {
            TimeOrder::Newest => self.0,
            TimeOrder::Oldest => self.0.mirrored(),
        }
    }
}
