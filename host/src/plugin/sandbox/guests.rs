//! The threads that guests run on: their own, so that a guest that computes keeps no request waiting.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinSet};

/// A runtime of its own. It ends, with all that runs on it, when this is dropped.
pub(crate) struct Guests(Option<Runtime>);

impl Guests {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self(Some(Builder::new_multi_thread().thread_name("elita-guest").enable_all().build()?)))
    }

    /// To spawn on them.
    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("the runtime is taken only when this is dropped").handle()
    }

    /// Runs `work` there. It is dropped if this is dropped before its end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        let mut running = JoinSet::new();
        running.spawn_on(work, self.handle());
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

/// A panic of the host, which is a fault of ours and not the end of the task that it happened in.
#[derive(Debug, thiserror::Error)]
#[error("the host panicked: {0}")]
pub(crate) struct Panicked(String);

/// Drives `work` to its end, also if that is a panic.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        // After a panic `work` is not looked at again.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(Panicked(message(&*payload)))),
        }
    })
    .await
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".into())
}
