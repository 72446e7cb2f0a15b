//! Users and their passwords. The first form: one administrator, made on the first start.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

use super::DataSvc;
use super::error::{Error, Result};
use super::ids::UserName;
use super::permissions::Permissions;

/// The first user's name.
const ADMINISTRATOR: &str = "admin";

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
    async fn hash(&self, password: String) -> Result<String> {
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

impl DataSvc {
    /// Makes the administrator if there is no user yet, with this password; true if it was made.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn ensure_administrator(&self, password: &str) -> Result<bool> {
        if self.has_users().await? {
            return Ok(false);
        }
        let hash = self.passwords.hash(password.to_owned()).await?;
        let permissions = serde_json::to_value(Permissions::administrator()).map_err(Error::internal)?;
        // Several servers may start on a new database at once: the first one's password holds.
        let made = sqlx::query!(
            "insert into users (name, password_hash, permissions) values ($1, $2, $3) on conflict (name) do nothing",
            ADMINISTRATOR,
            hash,
            permissions
        )
        .execute(&self.pool)
        .await?;
        Ok(made.rows_affected() == 1)
    }

    /// Whether the first start is over.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn has_users(&self) -> Result<bool> {
        Ok(sqlx::query_scalar!(r#"select exists (select from users) as "exists!""#).fetch_one(&self.pool).await?)
    }

    /// Whether this is the user's password. Says no, and takes as long, when there is no such user.
    pub(super) async fn password_is_right(&self, username: &UserName, password: String) -> Result<bool> {
        let hash = sqlx::query_scalar!("select password_hash from users where name = $1", username.as_str())
            .fetch_optional(&self.pool)
            .await?;
        self.passwords.verify(password, hash).await
    }
}
