//! How much processor time a run has used: its own, not the time in which it waited for its turn.
//!
//! A guest runs on the stack of the poll that drives it, so the time its thread spends in these polls is what the
//! run costs, host calls included.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time of one run.
#[derive(Default)]
pub(crate) struct CpuMeter {
    /// Of the polls that are over, in nanoseconds.
    used: AtomicU64,
    /// The thread's clock when the present poll began, in nanoseconds.
    poll_began: AtomicU64,
}

impl CpuMeter {
    /// Drives `work` and counts what it costs.
    pub(crate) async fn count<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        std::future::poll_fn(|context| {
            self.poll_began.store(thread_clock(), Ordering::Relaxed);
            let polled = work.as_mut().poll(context);
            self.used.store(self.used_nanos(), Ordering::Relaxed);
            polled
        })
        .await
    }

    /// What the run has used so far. To be asked from within it.
    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_nanos())
    }

    fn used_nanos(&self) -> u64 {
        let this_poll = thread_clock().saturating_sub(self.poll_began.load(Ordering::Relaxed));
        self.used.load(Ordering::Relaxed) + this_poll
    }
}

/// What the current thread has used, in nanoseconds.
fn thread_clock() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
