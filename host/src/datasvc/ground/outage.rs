//! What to do while the database is away: ask again.

use std::time::Duration;

use super::error::{Error, Result};

/// How long to wait before the database is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// What the data services answer once the database is there, however long that takes.
///
/// # Errors
/// Whatever they answer but [`Error::Unavailable`].
pub async fn patiently<T, A: Future<Output = Result<T>>>(ask: impl Fn() -> A) -> Result<T> {
    loop {
        match ask().await {
            Err(Error::Unavailable(_)) => tokio::time::sleep(RETRY).await,
            answer => return answer,
        }
    }
}
