//! Places that several share, such as the uploads of all applications, or the commands of all users: the one with the
//! fewest comes next, and none has more than half.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::datasvc::AppName;
use crate::engine::Run;

/// Some places. `K` is who takes them. Cheap to clone.
pub(super) struct Turns<K: Who = Option<AppName>> {
    places: usize,
    state: Arc<Mutex<State<K>>>,
}

/// Who takes places.
pub(super) trait Who: Clone + Eq + Hash {}

impl<K: Clone + Eq + Hash> Who for K {}

struct State<K: Who> {
    taken: HashMap<K, usize>,
    /// In the order in which they came.
    waiting: Vec<(K, oneshot::Sender<Turn<K>>)>,
}

/// A place of somebody; free again when this is dropped.
pub(super) struct Turn<K: Who = Option<AppName>> {
    turns: Turns<K>,
    who: K,
    /// Whether it is a place, and not one that nobody waits for any more.
    counts: bool,
}

impl<K: Who> Clone for Turns<K> {
    fn clone(&self) -> Self {
        Self { places: self.places, state: self.state.clone() }
    }
}

impl<K: Who> Turns<K> {
    pub(super) fn new(places: usize) -> Self {
        let state = State { taken: HashMap::new(), waiting: Vec::new() };
        Self { places, state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a place.
    pub(super) async fn take(&self, who: &K) -> Turn<K> {
        loop {
            // Whoever asks is served or kept waiting.
            if let Ok(turn) = self.ask(who).await {
                return turn;
            }
        }
    }

    fn ask(&self, who: &K) -> oneshot::Receiver<Turn<K>> {
        let (ready, turn) = oneshot::channel();
        let mut state = self.lock();
        state.waiting.push((who.clone(), ready));
        self.serve(&mut state);
        turn
    }

    /// Gives free places to those that wait.
    fn serve(&self, state: &mut State<K>) {
        state.waiting.retain(|(_, ready)| !ready.is_closed());
        while state.taken.values().sum::<usize>() < self.places {
            let taken = |who: &K| state.taken.get(who).copied().unwrap_or(0);
            let next = state.waiting.iter().enumerate().map(|(place, (who, _))| (taken(who), place));
            let Some((_, place)) = next.filter(|(taken, _)| *taken < self.places.div_ceil(2)).min() else { return };
            let (who, ready) = state.waiting.remove(place);
            *state.taken.entry(who.clone()).or_default() += 1;
            let turn = Turn { turns: self.clone(), who, counts: true };
            if let Err(mut unwanted) = ready.send(turn) {
                unwanted.counts = false;
                state.give_back(&unwanted.who);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    /// Waits for a place for a job, which is its application's. Others may have the job's slot until then.
    pub(super) async fn take_for(&self, run: &Run) -> Turn {
        let _lent = run.lend_slot();
        self.take(&run.claim.application).await
    }
}

impl<K: Who> State<K> {
    fn give_back(&mut self, who: &K) {
        if let Some(taken) = self.taken.get_mut(who) {
            *taken -= 1;
            if *taken == 0 {
                self.taken.remove(who);
            }
        }
    }
}

impl<K: Who> Drop for Turn<K> {
    fn drop(&mut self) {
        if self.counts {
            let mut state = self.turns.lock();
            state.give_back(&self.who);
            self.turns.serve(&mut state);
        }
    }
}

#[cfg(test)]
mod tests;
