//! Work that is too long for the threads that answer requests.

use tokio::task::spawn_blocking;

use super::error::{Error, Result};

/// Does work beside the threads that answer requests, without waiting for a turn: work that is short and has a lock. How
/// much there is at a time is bounded by the connections to the database.
///
/// # Errors
/// [`Error::Internal`] if it panics.
pub(in crate::datasvc) async fn aside_at_once<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    spawn_blocking(work).await.map_err(Error::internal)
}
