//! Until when a worker's claims hold for certain, by what the worker itself knows. After that, another server may
//! have taken over its jobs.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::queue::TIME_TO_LIVE;

/// How long before the end of its claims a worker stops to rely on them.
const MARGIN: Duration = Duration::from_secs(1);

/// What a run asks before it does something that others see. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lease(watch::Receiver<Instant>);

/// What the heartbeat writes.
#[derive(Debug)]
pub struct LeaseKeeper(watch::Sender<Instant>);

impl Lease {
    /// One that does not hold yet, and its keeper.
    pub fn new() -> (LeaseKeeper, Self) {
        let (sender, receiver) = watch::channel(Instant::now());
        (LeaseKeeper(sender), Self(receiver))
    }

    /// Whether the claims hold.
    pub fn holds(&self) -> bool {
        Instant::now() < *self.0.borrow()
    }

    /// Waits until they do. A worker whose claims were given away drops their runs before it confirms the rest.
    pub async fn confirmed(&self) {
        let mut until = self.0.clone();
        // Without a keeper nobody will ever confirm it.
        if until.wait_for(|until| Instant::now() < *until).await.is_err() {
            std::future::pending().await
        }
    }
}

impl LeaseKeeper {
    /// The database did not answer a heartbeat: until it does, nobody begins what others see.
    pub fn doubt(&self) {
        let _ = self.0.send(Instant::now());
    }

    /// The database has confirmed the claims, in answer to a heartbeat that was sent then.
    pub fn confirm(&self, sent: Instant) {
        let _ = self.0.send(sent + TIME_TO_LIVE - MARGIN);
    }
}
