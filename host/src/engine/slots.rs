//! The capacity that this server has for running jobs: all in all, for each plugin and for each action. And which
//! applications had their turn, so that the next claim is fair.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::datasvc::{AppName, Claim, Digest, PluginName, Room, RunningLane, Served};

/// How many applications' turns are remembered. One that is forgotten comes first.
const MAX_SERVED: usize = 1000;

/// Which action, or which of the host's own jobs, runs in a slot.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Lane {
    /// `None`: the host does the work itself.
    pub(super) plugin: Option<PluginName>,
    /// `None`: the installation.
    pub(super) application: Option<AppName>,
    pub(super) name: String,
}

impl Lane {
    pub(super) fn of(claim: &Claim) -> Self {
        let plugin = claim.plugin.as_ref().map(|plugin| plugin.name.clone());
        Self { plugin, application: claim.application.clone(), name: claim.name.clone() }
    }
}

/// How much may run at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlotLimits {
    pub(super) all: usize,
    /// Of the host's own jobs, so that those which wait for something else leave capacity for plugins.
    pub(super) own: usize,
    /// How many of those are one application's.
    pub(super) own_per_application: usize,
    /// How many of those are the installation's, which wait for servers for as long as those take.
    pub(super) own_of_installation: usize,
    pub(super) per_plugin: usize,
    pub(super) per_action: usize,
}

/// The slots of this server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Slots {
    limits: SlotLimits,
    state: Arc<Mutex<State>>,
    /// Told when a slot is free for which a job waits.
    freed: Arc<Notify>,
    /// Told whenever a job leaves its slot, or a claim has ended.
    changed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    taken: usize,
    running: HashMap<Lane, usize>,
    /// The jobs of each application that have lent their slot, because they wait for something else.
    lent: HashMap<Option<AppName>, usize>,
    /// How many of those wait to have it back before they go on.
    coming_back: usize,
    /// When each application's last job was taken; grows with every job.
    served: HashMap<Option<AppName>, i64>,
    clock: i64,
    /// While a claim is in progress, no other task takes a slot.
    claiming: bool,
    /// Whether jobs may be waiting in the queue, which come before new ones.
    backlog: bool,
    /// Whether no more jobs are taken, because the server stops or leaves them to others.
    closed: bool,
}

/// The slot of a job that waits for something else, lent to others until this is dropped. Then more than there are may
/// be taken, for a while.
pub struct Lent {
    slots: Slots,
    lane: Lane,
    is_back: bool,
}

/// The place of a running job; free again when this is dropped.
pub(super) struct Slot {
    slots: Slots,
    lane: Lane,
}

impl Slots {
    pub(super) fn new(limits: SlotLimits) -> Self {
        Self { limits, state: Arc::default(), freed: Arc::default(), changed: Arc::default() }
    }

    /// A slot for a new job that would run at once. `None` while others wait in the queue.
    pub(super) fn take(&self, lane: Lane) -> Option<Slot> {
        let mut state = self.lock();
        if state.closed || state.claiming || state.backlog || !self.has_room(&state, &lane) {
            state.backlog = true;
            return None;
        }
        Some(self.occupy(&mut state, lane))
    }

    /// A slot for a job that another one waits for, whose own serves for both: more than there are may be taken.
    pub(super) fn share(&self, lane: Lane) -> Slot {
        self.occupy(&mut self.lock(), lane)
    }

    /// What can be claimed now, if anything can. A claim is then under way until [`Slots::claimed`].
    pub(super) fn room(&self, ready: Vec<Digest>, kinds: Vec<String>) -> Option<Room> {
        let mut state = self.lock();
        if state.closed || self.free(&state) == 0 {
            // Whoever asks has reason to: it is to be told when there is room.
            state.backlog = true;
            return None;
        }
        (state.claiming, state.backlog) = (true, false);
        let mut running_in: HashMap<&Option<AppName>, i32> = HashMap::new();
        for (lane, count) in &state.running {
            *running_in.entry(&lane.application).or_default() += small(*count);
        }
        let mut own_in: HashMap<&Option<AppName>, i32> = HashMap::new();
        for (lane, count) in state.running.iter().filter(|(lane, _)| lane.plugin.is_none()) {
            *own_in.entry(&lane.application).or_default() += small(*count);
        }
        for (application, count) in &state.lent {
            *running_in.entry(application).or_default() += small(*count);
            *own_in.entry(application).or_default() += small(*count);
        }
        let served = state.served.iter().map(|(application, last)| Served {
            application: application.clone(),
            running: running_in.get(application).copied().unwrap_or(0),
            last: *last,
        });
        let running = state.running.iter().map(|(lane, count)| RunningLane {
            plugin: lane.plugin.clone(),
            application: lane.application.clone(),
            name: lane.name.clone(),
            count: small(*count),
        });
        Some(Room {
            jobs: self.free(&state),
            own: self.limits.own,
            own_per_application: self.limits.own_per_application,
            own_of_installation: self.limits.own_of_installation,
            own_running: own_in.into_iter().map(|(application, count)| (application.clone(), count)).collect(),
            per_plugin: self.limits.per_plugin,
            per_action: self.limits.per_action,
            applications: served.collect(),
            running: running.collect(),
            ready,
            kinds: Some(kinds),
        })
    }

    /// Ends a claim: a slot for each job. As long as there were any, there may be more.
    pub(super) fn claimed(&self, claims: Vec<Claim>) -> Vec<(Claim, Slot)> {
        let mut state = self.lock();
        state.claiming = false;
        self.changed.notify_waiters();
        let slots = claims.into_iter().map(|claim| {
            let slot = self.occupy(&mut state, Lane::of(&claim));
            (claim, slot)
        });
        let slots: Vec<_> = slots.collect();
        let is_limited = state.running.keys().any(|lane| !self.has_room(&state, lane));
        state.backlog |= !slots.is_empty() || is_limited;
        slots
    }

    /// Lends the slot of a job to others.
    pub(super) fn lend(&self, claim: &Claim) -> Lent {
        let lane = Lane::of(claim);
        let mut state = self.lock();
        *state.lent.entry(lane.application.clone()).or_default() += 1;
        state.leave(&lane);
        self.tell_freed(&state);
        Lent { slots: self.clone(), lane, is_back: false }
    }

    /// Waits until a job that lent its slot, and came back to one too many, has one of its own. It comes before those
    /// in the queue. As many guests fit in memory as there are slots.
    pub(super) async fn fit(&self, claim: &Claim) {
        {
            let state = self.lock();
            if !state.claiming && state.taken <= self.limits.all {
                return;
            }
        }
        let mut lent = self.lend(claim);
        let _waiting = Waiting::new(self);
        loop {
            // First, so that no change is missed.
            let changed = self.changed.notified();
            if lent.come_back() {
                return;
            }
            changed.await;
        }
    }

    /// Takes no more jobs.
    pub(super) fn close(&self) {
        self.lock().closed = true;
    }

    /// Waits until a slot is free that a waiting job may have.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn has_room(&self, state: &State, lane: &Lane) -> bool {
        let of_plugin: usize =
            state.running.iter().filter(|(other, _)| other.plugin == lane.plugin).map(|(_, count)| count).sum();
        let of_action = state.running.get(lane).copied().unwrap_or(0);
        let per_plugin = if lane.plugin.is_some() { self.limits.per_plugin } else { self.limits.own };
        self.free(state) > 0 && of_plugin < per_plugin && of_action < self.limits.per_action
    }

    fn occupy(&self, state: &mut State, lane: Lane) -> Slot {
        state.taken += 1;
        state.clock += 1;
        if state.served.len() >= MAX_SERVED {
            let forget = state.clock - MAX_SERVED as i64 / 2;
            state.served.retain(|_, last| *last > forget);
        }
        state.served.insert(lane.application.clone(), state.clock);
        *state.running.entry(lane.clone()).or_default() += 1;
        Slot { slots: self.clone(), lane }
    }

    fn free(&self, state: &State) -> usize {
        self.limits.all.saturating_sub(state.taken + state.coming_back)
    }

    fn tell_freed(&self, state: &State) {
        self.changed.notify_waiters();
        if state.backlog || state.claiming {
            self.freed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.lock();
        state.leave(&self.lane);
        self.slots.tell_freed(&state);
    }
}

impl Lent {
    /// Takes the slot back, if one is free. While a claim is under way, nobody knows.
    fn come_back(&mut self) -> bool {
        let mut state = self.slots.lock();
        if state.claiming || state.taken >= self.slots.limits.all {
            return false;
        }
        state.take_back(&self.lane);
        self.is_back = true;
        true
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if !self.is_back {
            self.slots.lock().take_back(&self.lane);
        }
    }
}

/// A job that waits to have its slot back, for as long as it does.
struct Waiting<'s>(&'s Slots);

impl<'s> Waiting<'s> {
    fn new(slots: &'s Slots) -> Self {
        slots.lock().coming_back += 1;
        Self(slots)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.coming_back -= 1;
        self.0.tell_freed(&state);
    }
}

impl State {
    /// A job has its slot again that it has lent.
    fn take_back(&mut self, lane: &Lane) {
        if let Some(count) = self.lent.get_mut(&lane.application) {
            *count -= 1;
            if *count == 0 {
                self.lent.remove(&lane.application);
            }
        }
        self.taken += 1;
        *self.running.entry(lane.clone()).or_default() += 1;
    }

    /// A job no longer has a slot.
    fn leave(&mut self, lane: &Lane) {
        self.taken -= 1;
        if let Some(count) = self.running.get_mut(lane) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(lane);
            }
        }
    }
}

fn small(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
