//! What wakes the parts of this server, and of the others: new jobs, requests to stop, new entries.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tracing::debug;

use super::{Inner, RETRY};
use crate::datasvc::{JobId, Wake};

/// How much of what happens is told in one message: all within this time.
const COALESCE: Duration = Duration::from_millis(20);

/// What has happened and not yet been seen to.
#[derive(Default)]
pub(super) struct Signals {
    queued: Notify,
    cancelled: Notify,
    /// For the other servers.
    untold: Mutex<Wake>,
    has_untold: Notify,
    /// Whether there are any.
    pub(super) others: AtomicBool,
}

impl Signals {
    /// Waits until there are new jobs in the queue.
    pub(super) async fn queued(&self) {
        self.queued.notified().await;
    }

    /// Waits until someone has asked for a job to stop.
    pub(super) async fn cancelled(&self) {
        self.cancelled.notified().await;
    }

    /// There are new jobs in the queue, for any server with free capacity.
    pub(super) fn tell_queued(&self) {
        self.queued.notify_one();
        self.tell_others(|wake| wake.queued = true);
    }

    /// Someone has asked for a job to stop, which may run anywhere.
    pub(super) fn tell_cancelled(&self) {
        self.cancelled.notify_one();
        self.tell_others(|wake| wake.cancelled = true);
    }

    /// Tells other servers what they have not been told, without waiting for more; and that there may be jobs.
    pub(super) async fn tell_now(&self, engine: &Inner) {
        self.tell_others(|wake| wake.queued = true);
        self.send(engine).await;
    }

    fn tell_changed(&self, jobs: &[JobId]) {
        self.tell_others(|wake| {
            // The message names no more of them.
            if wake.changed.len() < 1000 {
                wake.changed.extend(jobs);
            } else {
                wake.changed_more = true;
            }
        });
    }

    fn tell_others(&self, what: impl FnOnce(&mut Wake)) {
        if self.others.load(Ordering::Relaxed) {
            what(&mut self.untold());
            self.has_untold.notify_one();
        }
    }

    async fn send(&self, engine: &Inner) {
        let mut wake = std::mem::take(&mut *self.untold());
        if !engine.settings.notify || wake == Wake::default() {
            return;
        }
        wake.from = Some(engine.worker);
        wake.changed.sort_unstable();
        wake.changed.dedup();
        if let Err(problem) = engine.svc.notify(&wake).await {
            debug!("other servers could not be told, and find out for themselves: {problem}");
        }
    }

    fn untold(&self) -> MutexGuard<'_, Wake> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the followers here and the other servers what happens here, until this is dropped.
pub(super) async fn tell(engine: Arc<Inner>) {
    let mut changes = engine.svc.changes();
    let note_changes = async {
        loop {
            match changes.recv().await {
                Ok(jobs) => {
                    engine.follow.changed(&jobs);
                    engine.signals.tell_changed(&jobs);
                }
                Err(RecvError::Lagged(_)) => {
                    engine.follow.anything_changed();
                    engine.signals.tell_others(|wake| wake.changed_more = true);
                }
                Err(RecvError::Closed) => return,
            }
        }
    };
    let send = async {
        loop {
            engine.signals.has_untold.notified().await;
            engine.signals.send(&engine).await;
            tokio::time::sleep(COALESCE).await;
        }
    };
    tokio::join!(note_changes, send);
}

/// Listens to what happens on other servers, until this is dropped.
pub(super) async fn listen(engine: Arc<Inner>) {
    if !engine.settings.notify {
        return;
    }
    loop {
        if let Ok(mut wakes) = engine.svc.listen().await {
            // What was told before is not told again.
            engine.hear(&Wake::anything());
            while let Ok(wake) = wakes.next().await {
                if wake.from != Some(engine.worker) {
                    engine.hear(&wake);
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

impl Inner {
    fn hear(&self, wake: &Wake) {
        if wake.queued {
            self.signals.queued.notify_one();
        }
        if wake.cancelled {
            self.signals.cancelled.notify_one();
        }
        if wake.changed_more {
            self.follow.anything_changed();
        } else {
            self.follow.changed(&wake.changed);
        }
    }
}
