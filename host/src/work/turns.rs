//! Places that uploads of all applications share: the application with the fewest comes next, and none has more than
//! half.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::datasvc::AppName;

/// Some places. Cheap to clone.
#[derive(Clone)]
pub(super) struct Turns {
    places: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    taken: HashMap<Option<AppName>, usize>,
    /// In the order in which they came.
    waiting: Vec<(Option<AppName>, oneshot::Sender<Turn>)>,
}

/// A place of an application; free again when this is dropped.
pub(super) struct Turn {
    turns: Turns,
    application: Option<AppName>,
    /// Whether it is a place, and not one that nobody waits for any more.
    counts: bool,
}

impl Turns {
    pub(super) fn new(places: usize) -> Self {
        Self { places, state: Arc::default() }
    }

    /// Waits for a place.
    pub(super) async fn take(&self, application: &Option<AppName>) -> Turn {
        loop {
            // Whoever asks is served or kept waiting.
            if let Ok(turn) = self.ask(application).await {
                return turn;
            }
        }
    }

    fn ask(&self, application: &Option<AppName>) -> oneshot::Receiver<Turn> {
        let (ready, turn) = oneshot::channel();
        let mut state = self.lock();
        state.waiting.push((application.clone(), ready));
        self.serve(&mut state);
        turn
    }

    /// Gives free places to those that wait.
    fn serve(&self, state: &mut State) {
        state.waiting.retain(|(_, ready)| !ready.is_closed());
        while state.taken.values().sum::<usize>() < self.places {
            let taken = |application: &Option<AppName>| state.taken.get(application).copied().unwrap_or(0);
            let next = state.waiting.iter().enumerate().map(|(place, (application, _))| (taken(application), place));
            let Some((_, place)) = next.filter(|(taken, _)| *taken < self.places.div_ceil(2)).min() else { return };
            let (application, ready) = state.waiting.remove(place);
            *state.taken.entry(application.clone()).or_default() += 1;
            let turn = Turn { turns: self.clone(), application, counts: true };
            if let Err(mut unwanted) = ready.send(turn) {
                unwanted.counts = false;
                state.give_back(&unwanted.application);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn give_back(&mut self, application: &Option<AppName>) {
        if let Some(taken) = self.taken.get_mut(application) {
            *taken -= 1;
            if *taken == 0 {
                self.taken.remove(application);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.counts {
            let mut state = self.turns.lock();
            state.give_back(&self.application);
            self.turns.serve(&mut state);
        }
    }
}

#[cfg(test)]
mod tests;
