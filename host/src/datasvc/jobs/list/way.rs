//! Along which index to look for jobs.

use std::collections::BTreeSet;

use super::Wanted;
use crate::datasvc::ground::page::NamePattern;
use crate::datasvc::jobs::job::{ACTION, JobStatus, JobType};

/// How many jobs one request reads, give or take a few, if not all that it finds are wanted: of all jobs, which are in
/// the table as they are in the index; of one place of another index; of several places, whose jobs are found first.
const OF_ALL: i64 = 4_000;
const OF_ONE_PLACE: i64 = 2_000;
const OF_PLACES: i64 = 600;
/// How many pages are read at first, in case most of them are wanted.
const AT_FIRST: i64 = 5;
/// From how many applications on it is worth a try whether their jobs are most of the newest.
const MANY_PLACES: usize = 50;

/// The index to look along.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Along {
    Ids,
    Applications,
    Statuses,
    ApplicationsAndStatuses,
    Name,
    Parent,
    Types,
    /// A user's own of the installation.
    Own,
}

/// How to look for jobs.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) along: Along,
    /// What the index begins with: pairs of an application and something else, one of which may be empty.
    pub(super) places: Vec<(String, String)>,
    /// Whether all that is found there is wanted.
    pub(super) is_exact: bool,
}

impl Way {
    /// How many jobs to look at first, if so many are wanted.
    pub(super) fn first_look(&self, limit: i64) -> i64 {
        match self.places.len() {
            _ if self.is_exact => limit,
            1 => (AT_FIRST * limit).min(self.most(limit)),
            // To find out which jobs they are is the greater part of the work.
            _ => self.most(limit),
        }
    }

    /// How many jobs to look at then, if so many have been found.
    pub(super) fn second_look(&self, limit: i64, found: i64) -> i64 {
        if self.is_exact { limit - found } else { self.most(limit) - self.first_look(limit) }
    }

    /// Whether the second look is likely to find what is missing, by what the first one has found.
    pub(super) fn is_promising(&self, limit: i64, found: i64) -> bool {
        found * self.most(limit) >= 2 * limit * self.first_look(limit)
    }

    fn most(&self, limit: i64) -> i64 {
        let most = match self {
            Self { along: Along::Ids, .. } => OF_ALL,
            Self { places, .. } if places.len() == 1 => OF_ONE_PLACE,
            Self { .. } => OF_PLACES,
        };
        most.max(2 * limit)
    }
}

impl Wanted {
    /// Along the caller's own jobs of the installation, if those are wanted.
    pub(super) fn own_way(&self) -> Option<Way> {
        let own = self.own.as_ref().filter(|_| self.filter.parent.is_none())?;
        Some(Way { along: Along::Own, places: vec![(String::new(), own.clone())], is_exact: false })
    }

    /// The indexes in which there may be the least to look at. The second one is for callers who may see only little of
    /// what is in the first one.
    pub(super) fn ways(&self) -> Vec<Way> {
        let (along, places) = self.without_applications();
        let (with_applications, of_applications) = self.with_applications(along, &places);
        let is_exact = |along| self.is_all_of(along);
        let without = Way { along, places, is_exact: is_exact(along) };
        if along == Along::Parent || of_applications.is_empty() {
            return vec![without];
        }
        let with = Way { along: with_applications, places: of_applications, is_exact: is_exact(with_applications) };
        let is_best = with.is_exact || along == Along::Ids;
        if is_best && with.places.len() <= MANY_PLACES { vec![with] } else { vec![without, with] }
    }

    fn without_applications(&self) -> (Along, Vec<(String, String)>) {
        let filter = &self.filter;
        let word = |word: &str| (String::new(), word.to_owned());
        if let Some(parent) = filter.parent {
            (Along::Parent, vec![word(&parent.to_string())])
        } else if let Some(statuses) = self.statuses_without(&[JobStatus::Succeeded]) {
            (Along::Statuses, statuses.iter().map(|status| word(status)).collect())
        } else if !filter.types.is_empty() && !filter.types.iter().any(|kind| kind.as_str() == ACTION) {
            let types: BTreeSet<_> = filter.types.iter().map(JobType::as_str).collect();
            (Along::Types, types.into_iter().map(word).collect())
        } else if let Some(name) = filter.name.as_ref().and_then(NamePattern::exact) {
            (Along::Name, vec![word(name)])
        } else {
            (Along::Ids, vec![word("")])
        }
    }

    /// No places if all applications are wanted.
    fn with_applications(&self, along: Along, words: &[(String, String)]) -> (Along, Vec<(String, String)>) {
        let applications = self.applications.iter().flatten();
        let has_ended = self.statuses_without(&[JobStatus::Queued, JobStatus::Running]).is_some();
        if along == Along::Statuses && has_ended {
            let places = applications.flat_map(|app| words.iter().map(|(_, status)| (app.clone(), status.clone())));
            (Along::ApplicationsAndStatuses, places.collect())
        } else {
            (Along::Applications, applications.map(|app| (app.clone(), String::new())).collect())
        }
    }

    /// The states that are wanted, if these are not among them.
    fn statuses_without(&self, others: &[JobStatus]) -> Option<&Vec<&'static str>> {
        let other = |status: &&str| others.iter().any(|other| other.as_str() == *status);
        self.statuses.as_ref().filter(|all| !all.iter().any(other))
    }

    /// Whether all jobs are wanted that are found like that.
    fn is_all_of(&self, along: Along) -> bool {
        use Along::{Applications, ApplicationsAndStatuses, Name, Parent, Statuses, Types};
        let Self { applications, own: _, statuses, filter } = self;
        (applications.is_none() || matches!(along, Applications | ApplicationsAndStatuses))
            && (statuses.is_none() || matches!(along, Statuses | ApplicationsAndStatuses))
            && (filter.name.is_none() || along == Name)
            && filter.username.is_none()
            && (filter.parent.is_none() || along == Parent)
            && (filter.types.is_empty() || along == Types)
            && filter.plugin.is_none()
    }
}
