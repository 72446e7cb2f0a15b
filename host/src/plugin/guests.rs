//! The threads that guests run on: their own, so that a guest that computes keeps no request waiting.

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, JoinSet};

/// A runtime of its own. It ends, with all that runs on it, when this is dropped.
pub(super) struct Guests(Option<Runtime>);

impl Guests {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self(Some(Builder::new_multi_thread().thread_name("elita-guest").enable_all().build()?)))
    }

    /// Runs `work` there. It is dropped if this is dropped before its end.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        let runtime = self.0.as_ref().expect("the runtime is taken only when this is dropped");
        let mut running = JoinSet::new();
        running.spawn_on(work, runtime.handle());
        running.join_next().await.expect("one task was spawned")
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
