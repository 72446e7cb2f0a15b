//! Work that is too long for the threads that answer requests.

use tokio::task::spawn_blocking;

use super::error::{Error, Result};

/// That this is not a thread that answers requests. What may take long asks for it, so that it cannot be called elsewhere.
pub(in crate::datasvc) struct Aside(());

#[cfg(test)]
impl Aside {
    /// For tests, which nobody waits for.
    pub(in crate::datasvc) const IN_A_TEST: Self = Self(());
}

/// Does work beside the threads that answer requests, without waiting for a turn: work that is short and has a lock. How
/// much there is at a time is bounded by the connections to the database.
///
/// # Errors
/// [`Error::Internal`] if it panics.
pub(in crate::datasvc) async fn aside_at_once<T: Send + 'static>(
    work: impl FnOnce(&Aside) -> T + Send + 'static,
) -> Result<T> {
    spawn_blocking(|| work(&Aside(()))).await.map_err(Error::internal)
}

#[cfg(test)]
mod tests;
