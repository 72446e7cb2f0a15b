//! How much may be changed and asked for in a given time. The audit keeps the documents of each change, and each job what
//! was asked, so somebody who changes a document or runs an action again and again would fill the disk. Both are counted
//! for the user or the plugin who does it, and for the application in which it is done, by each server.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::datasvc::ground::error::{Error, Result};

/// How many are remembered before those are forgotten that have all of theirs left.
const MAX_REMEMBERED: usize = 4_096;

/// Whose changes are counted.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(in crate::datasvc) enum Whose {
    User(String),
    Plugin(String),
    Application(String),
}

/// How many bytes of changed documents there may be at once, and in each second from then on.
struct Allowance {
    at_once: f64,
    per_second: f64,
}

const MIB: f64 = 1024.0 * 1024.0;
const OF_ONE: Allowance = Allowance { at_once: 32.0 * MIB, per_second: 0.25 * MIB };
const OF_AN_APPLICATION: Allowance = Allowance { at_once: 128.0 * MIB, per_second: MIB };

/// What everybody has used of their allowance.
#[derive(Debug, Default)]
pub(in crate::datasvc) struct Quotas(Mutex<HashMap<Whose, Used>>);

#[derive(Debug)]
struct Used {
    bytes: f64,
    at: Instant,
}

impl Whose {
    fn allowance(&self) -> Allowance {
        match self {
            Self::User(_) | Self::Plugin(_) => OF_ONE,
            Self::Application(_) => OF_AN_APPLICATION,
        }
    }
}

impl Used {
    /// How much of it still counts.
    fn now(&self, allowance: &Allowance) -> f64 {
        (self.bytes - self.at.elapsed().as_secs_f64() * allowance.per_second).max(0.0)
    }
}

impl Quotas {
    /// # Errors
    /// [`Error::Throttled`] if nothing is left at this moment.
    pub(in crate::datasvc) fn check(&self, whose: &Whose) -> Result<()> {
        let allowance = whose.allowance();
        let used = self.lock().get(whose).map_or(0.0, |used| used.now(&allowance));
        let over = used - allowance.at_once;
        if over < 0.0 {
            return Ok(());
        }
        let (whom, seconds) = match whose {
            Whose::User(name) => (format!("user `{name}`"), over / allowance.per_second),
            Whose::Plugin(name) => (format!("plugin `{name}`"), over / allowance.per_second),
            Whose::Application(name) => (format!("application `{name}`"), over / allowance.per_second),
        };
        let reason = format!("{whom} has changed or asked for too much in a short time; wait before going on");
        Err(Error::Throttled { reason, retry_after: Duration::from_secs_f64(seconds.max(1.0)) })
    }

    /// Counts a change of so many bytes.
    pub(in crate::datasvc) fn count(&self, whose: Whose, bytes: usize) {
        let allowance = whose.allowance();
        let mut used = self.lock();
        if used.len() >= MAX_REMEMBERED {
            used.retain(|whose, used| used.now(&whose.allowance()) > 0.0);
        }
        let before = used.get(&whose).map_or(0.0, |used| used.now(&allowance));
        used.insert(whose, Used { bytes: before + bytes as f64, at: Instant::now() });
    }

    /// Counts so many bytes for all of these, if each of them has something left.
    ///
    /// # Errors
    /// [`Error::Throttled`] if nothing is left at this moment.
    pub(in crate::datasvc) fn take(&self, whose: impl IntoIterator<Item = Whose> + Clone, bytes: usize) -> Result<()> {
        whose.clone().into_iter().try_for_each(|whose| self.check(&whose))?;
        whose.into_iter().for_each(|whose| self.count(whose, bytes));
        Ok(())
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, HashMap<Whose, Used>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
