//! Whose turn it is to be compiled: of those that wait the smallest one's, so that none waits long for little.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How many components are compiled at a time. One uses all cores by itself where it can.
const PLACES: usize = 2;
/// Only one component of more than this is compiled at a time, so that small ones need not wait for large ones.
pub(super) const LARGE_BYTES: u64 = 1 << 20;

/// The places, and who waits for one.
#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    taken: usize,
    large_taken: usize,
    /// By size, and then in the order in which they came.
    waiting: BTreeSet<Waiting>,
    last_number: u64,
}

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Waiting {
    bytes: u64,
    number: u64,
}

impl Waiting {
    fn is_large(self) -> bool {
        is_large(self.bytes)
    }
}

/// Whether a component of this size has to wait for other large ones.
pub(super) fn is_large(bytes: u64) -> bool {
    bytes > LARGE_BYTES
}

impl Turns {
    /// Waits for a place for a component of this size. It is given up with what this returns.
    pub(super) async fn take(&self, bytes: u64) -> Turn<'_> {
        let waiter = self.enter(bytes);
        loop {
            let changed = self.changed.notified();
            if self.lock().take(waiter.waiting) {
                // There may be capacity for the next one, too.
                self.changed.notify_waiters();
                return Turn { turns: self, is_large: waiter.waiting.is_large() };
            }
            changed.await;
        }
    }

    fn enter(&self, bytes: u64) -> Waiter<'_> {
        let mut state = self.lock();
        state.last_number += 1;
        let waiting = Waiting { bytes, number: state.last_number };
        state.waiting.insert(waiting);
        Waiter { turns: self, waiting }
    }

    /// Nothing that holds the lock can leave a half-made change behind.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes a place for this one, if there is one and it is the first of those that fit.
    fn take(&mut self, wanting: Waiting) -> bool {
        let fits = |waiting: &&Waiting| !waiting.is_large() || self.large_taken == 0;
        if self.taken >= PLACES || self.waiting.iter().find(fits) != Some(&wanting) {
            return false;
        }
        self.waiting.remove(&wanting);
        self.taken += 1;
        self.large_taken += usize::from(wanting.is_large());
        true
    }
}

/// One that waits, until it has a place or is dropped.
struct Waiter<'t> {
    turns: &'t Turns,
    waiting: Waiting,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.turns.lock().waiting.remove(&self.waiting) {
            self.turns.changed.notify_waiters();
        }
    }
}

/// A place, until it is dropped.
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    is_large: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.turns.lock();
        state.taken -= 1;
        state.large_taken -= usize::from(self.is_large);
        drop(state);
        self.turns.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
