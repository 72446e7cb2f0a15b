//! Passwords: argon2id, off the async threads and bounded.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use super::error::{Error, Result};

/// How many passwords are hashed at a time. Each takes 19 MiB and a core while it lasts.
const MAX_HASHING: usize = 2;

/// argon2id, off the async threads and bounded.
#[derive(Debug)]
pub(super) struct PasswordHasher {
    slots: Arc<Semaphore>,
}

impl PasswordHasher {
    pub(super) fn new() -> Self {
        Self { slots: Arc::new(Semaphore::new(MAX_HASHING)) }
    }

    /// The password's hash as a PHC string, with a salt of its own.
    pub(super) async fn hash(&self, password: String) -> Result<String> {
        self.run(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(Error::internal)
    }

    /// Whether this is the password of that hash. Takes as long when there is no hash to compare with.
    pub(super) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool> {
        self.run(move || match hash.as_deref().map(PasswordHash::new) {
            Some(Ok(hash)) => Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
            Some(Err(error)) => Err(Error::internal(error)),
            None => Argon2::default().hash_password(password.as_bytes()).map(|_| false).map_err(Error::internal),
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let slot = self.slots.clone().acquire_owned().await.map_err(Error::internal)?;
        // The slot goes along: the work goes on when the client has gone.
        let work = move || {
            let _slot = slot;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)
    }
}
