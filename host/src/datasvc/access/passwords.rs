//! Passwords: argon2id, off the async threads and bounded.

use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::datasvc::ground::error::{Error, Result};
use crate::shares::{Place, Shares, network};

/// How many passwords are hashed at a time. Each takes 19 MiB and a core while it lasts.
const MAX_HASHING: usize = 2;
/// How many more may wait for their turn; that takes a second or two.
const MAX_WAITING: usize = 64;
/// When to come back for who does not fit.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// argon2id, off the async threads and bounded.
#[derive(Debug)]
pub(in crate::datasvc) struct PasswordHasher {
    /// By address: if too many wait, the address that has the most of them loses some.
    places: Arc<Shares<IpAddr>>,
    slots: Arc<Semaphore>,
    threads: mpsc::Sender<Work>,
}

/// Leave to hash one password, now.
pub(in crate::datasvc) struct Turn {
    threads: mpsc::Sender<Work>,
    _place: Place<IpAddr>,
    _slot: OwnedSemaphorePermit,
}

type Work = Box<dyn FnOnce() + Send>;

impl PasswordHasher {
    pub(in crate::datasvc) fn new() -> Self {
        let slots = Arc::new(Semaphore::new(MAX_HASHING));
        Self { places: Shares::new(MAX_HASHING + MAX_WAITING), slots, threads: start_threads() }
    }

    /// Waits until there is capacity for this address.
    ///
    /// # Errors
    /// [`Error::Throttled`] if too many wait already.
    pub(in crate::datasvc) async fn turn(&self, from: Option<IpAddr>) -> Result<Turn> {
        let too_many = || Error::Throttled {
            reason: "too many passwords are checked at this moment; try again in a few seconds".into(),
            retry_after: RETRY_AFTER,
        };
        let (ousted, told) = oneshot::channel();
        let from = network(from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let place = self.places.take(from, 1, move || ousted.send(()).unwrap_or_default()).ok_or_else(too_many)?;
        let slot = tokio::select! {
            slot = self.slots.clone().acquire_owned() => slot.map_err(Error::internal)?,
            Ok(()) = told => return Err(too_many()),
        };
        Ok(Turn { threads: self.threads.clone(), _place: place, _slot: slot })
    }

    /// The password's hash as a PHC string, with a salt of its own.
    ///
    /// # Errors
    /// Those of [`PasswordHasher::turn`].
    pub(in crate::datasvc) async fn hash(&self, from: Option<IpAddr>, password: String) -> Result<String> {
        let turn = self.turn(from).await?;
        turn.run(move || Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string()))
            .await?
            .map_err(Error::internal)
    }
}

impl Turn {
    /// Whether this is the password of that hash. Takes as long when there is no hash to compare with.
    pub(in crate::datasvc) async fn verify(self, password: String, hash: Option<String>) -> Result<bool> {
        self.run(move || match hash.as_deref().map(PasswordHash::new) {
            Some(Ok(hash)) => Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()),
            Some(Err(error)) => Err(Error::internal(error)),
            None => Argon2::default().hash_password(password.as_bytes()).map(|_| false).map_err(Error::internal),
        })
        .await?
    }

    async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (done, result) = oneshot::channel();
        let threads = self.threads.clone();
        // The turn goes along: the work goes on when the client has gone.
        let work = move || {
            let _turn = self;
            let _ = done.send(work());
        };
        threads.send(Box::new(work)).map_err(|_| Error::internal("the threads that hash passwords are gone"))?;
        result.await.map_err(Error::internal)
    }
}

/// Starts the threads that hash, which end when nobody can send them work any more. They are always the same: the
/// allocator keeps what a thread has freed, and on many threads that adds up.
fn start_threads() -> mpsc::Sender<Work> {
    let (threads, work) = mpsc::channel::<Work>();
    let work = Arc::new(Mutex::new(work));
    for _ in 0..MAX_HASHING {
        let work = Arc::clone(&work);
        let next = move || work.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let hash_all = move || {
            while let Ok(work) = next() {
                // Who waits for it learns of a panic by being told nothing.
                let _ = catch_unwind(AssertUnwindSafe(work));
            }
        };
        let thread = thread::Builder::new().name("passwords".into()).spawn(hash_all);
        thread.expect("a server that starts can start threads");
    }
    threads
}
