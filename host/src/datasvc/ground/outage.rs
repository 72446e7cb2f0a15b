//! What to do while the database is away: ask again, and say so once.

use std::error::Error as StdError;
use std::time::Duration;

use tracing::{info, warn};

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

/// Something that fails as long as the database is away, which is said once for each outage.
#[derive(Debug, Default)]
pub struct Outage {
    is_told: bool,
}

impl Outage {
    /// It has failed. Logs `what` goes wrong and why, unless that was said before in this outage.
    pub fn goes_on(&mut self, what: &str, problem: &(dyn StdError + 'static)) {
        if !std::mem::replace(&mut self.is_told, true) {
            warn!(error = problem, "{what}");
        }
    }

    /// It works. Logs `what` is so again, where an outage was told.
    pub fn is_over(&mut self, what: &str) {
        if std::mem::take(&mut self.is_told) {
            info!("{what}");
        }
    }
}
