//! Capacity that many share, such as the connections of a server. One of them may use all of it until others need some.
//! Then it is taken from those that hold the most, so that heavy use affects only the one who causes it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Room of so many units, shared by whoever `K` tells apart.
pub struct Shares<K> {
    capacity: usize,
    in_use: Mutex<SharesInUse<K>>,
    /// Somebody has left.
    freed: Notify,
}

/// What is in use of the capacity, by key.
struct SharesInUse<K> {
    total: usize,
    next_id: u64,
    by: HashMap<K, Share>,
}

/// What one of them holds.
#[derive(Default)]
struct Share {
    units: usize,
    /// By their ids, which count up, so that the newest comes last.
    places: BTreeMap<u64, Holder>,
}

struct Holder {
    units: usize,
    ousted: Box<dyn FnOnce() + Send>,
}

/// Some of the room, until it is dropped or taken away.
pub struct Place<K: Clone + Eq + Hash> {
    shares: Arc<Shares<K>>,
    key: K,
    id: u64,
}

impl<K> fmt::Debug for Shares<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash> Shares<K> {
    /// Room of so many units.
    pub fn new(capacity: usize) -> Arc<Self> {
        let in_use = SharesInUse { total: 0, next_id: 0, by: HashMap::new() };
        Arc::new(Self { capacity, in_use: Mutex::new(in_use), freed: Notify::new() })
    }

    /// Takes a place of so many units. If there is no capacity left, it is taken from the key that holds the most: from
    /// its largest place, or the newest of these. The `ousted` of that place is called. `None`: nobody holds more than
    /// this one would.
    pub fn take(self: &Arc<Self>, key: K, units: usize, ousted: impl FnOnce() + Send + 'static) -> Option<Place<K>> {
        let (id, out) = {
            let mut in_use = self.lock();
            let out = in_use.make_room(self.capacity, &key, units)?;
            let id = in_use.next_id;
            in_use.next_id += 1;
            in_use.total += units;
            let share = in_use.by.entry(key.clone()).or_default();
            share.units += units;
            share.places.insert(id, Holder { units, ousted: Box::new(ousted) });
            (id, out)
        };
        out.into_iter().for_each(|ousted| ousted());
        Some(Place { shares: Arc::clone(self), key, id })
    }

    /// The same, and waits for capacity if all of it is in use.
    pub async fn wait(self: &Arc<Self>, key: K, units: usize, ousted: impl Fn() + Clone + Send + 'static) -> Place<K> {
        loop {
            let freed = self.freed.notified();
            if let Some(place) = self.take(key.clone(), units, ousted.clone()) {
                return place;
            }
            freed.await;
        }
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, SharesInUse<K>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> SharesInUse<K> {
    /// Makes so many more units available for this key. Returns the functions that tell those who lose theirs.
    fn make_room(&mut self, capacity: usize, key: &K, units: usize) -> Option<Vec<Box<dyn FnOnce() + Send>>> {
        let mut out = Vec::new();
        let mine = self.by.get(key).map_or(0, |share| share.units);
        while self.total + units > capacity {
            let others = self.by.iter().filter(|(other, _)| *other != key);
            let (heaviest, share) = others.max_by_key(|(_, share)| share.units)?;
            if mine + units >= share.units {
                return None;
            }
            let (largest, _) = share.places.iter().max_by_key(|(id, holder)| (holder.units, **id))?;
            let (heaviest, largest) = (heaviest.clone(), *largest);
            out.extend(self.remove(&heaviest, largest).map(|holder| holder.ousted));
        }
        Some(out)
    }

    fn remove(&mut self, key: &K, id: u64) -> Option<Holder> {
        let share = self.by.get_mut(key)?;
        let holder = share.places.remove(&id)?;
        share.units -= holder.units;
        self.total -= holder.units;
        if share.places.is_empty() {
            self.by.remove(key);
        }
        Some(holder)
    }
}

impl<K: Clone + Eq + Hash> Place<K> {
    /// Takes so many units more. False: there is no capacity left, or the place was taken away.
    #[must_use]
    pub fn grow(&self, units: usize) -> bool {
        let out = {
            let mut in_use = self.shares.lock();
            let Some(out) = in_use.make_room(self.shares.capacity, &self.key, units) else { return false };
            let share = in_use.by.get_mut(&self.key);
            let Some(share) = share.filter(|share| share.places.contains_key(&self.id)) else { return false };
            share.units += units;
            if let Some(holder) = share.places.get_mut(&self.id) {
                holder.units += units;
            }
            in_use.total += units;
            out
        };
        out.into_iter().for_each(|ousted| ousted());
        true
    }
}

impl<K: Clone + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        // One that was taken away is no longer there. What it would tell is dropped outside the lock.
        let left = self.shares.lock().remove(&self.key, self.id);
        if left.is_some() {
            self.shares.freed.notify_one();
        }
    }
}

/// Whom an address counts for: of IPv6, who has one address has all of the network (`/64`).
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}
