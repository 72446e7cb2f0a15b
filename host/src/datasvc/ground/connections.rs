//! Connections for statements that have to answer soon.
//!
//! The pool checks each connection that is returned, which is one more round trip for every statement. So a few
//! connections are not returned between two statements, as long as they are used all the time.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use tokio::time::{Instant, timeout_at};

use super::error::{Error, Result};

/// How long a statement may take whose caller has to know soon whether the database is there.
const DEADLINE: Duration = Duration::from_secs(6);
/// A connection that was idle for longer is asked whether it still works before it is used.
pub(in crate::datasvc) const TRUSTED_IDLE: Duration = Duration::from_secs(2);

/// A pool, and the connections of it that are at hand. Cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::datasvc) struct Connections {
    pool: PgPool,
    at_hand: Arc<Mutex<Vec<AtHand>>>,
    /// How many may be: the others are for who asks the pool.
    most: u32,
}

#[derive(Debug)]
struct AtHand {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

impl Connections {
    pub(in crate::datasvc) fn of(pool: PgPool, most: u32) -> Self {
        Self { pool, at_hand: Arc::default(), most }
    }

    /// For statements that may take longer.
    pub(in crate::datasvc) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Waits for an answer no longer than until it would be useless: a database that hangs is as good as away. The
    /// connection is closed then, as it is when the caller is dropped.
    pub(in crate::datasvc) async fn run<T>(
        &self,
        statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + DEADLINE;
        let connection = match self.take() {
            Some(connection) => connection,
            None => timeout_at(deadline, self.pool.acquire()).await.map_err(|_| hangs())??,
        };
        // Whoever waits for the answer may hang up: then the statement is of no use to anyone.
        let mut used = InUse(Some(connection));
        let answer = match &mut used.0 {
            Some(connection) => timeout_at(deadline, statement(connection)).await,
            None => return Err(hangs()),
        };
        match answer {
            Ok(answer) => {
                if let (Some(connection), true) = (used.0.take(), answer.is_ok()) {
                    self.keep(connection);
                }
                answer
            }
            Err(_) => Err(hangs()),
        }
    }

    /// Closes all, once what runs is done.
    pub(in crate::datasvc) async fn close(&self) {
        let closed = self.pool.close();
        drop(mem::take(&mut *self.lock()));
        closed.await;
    }

    /// The one that was used last, so that those that are not needed grow old.
    fn take(&self) -> Option<PoolConnection<Postgres>> {
        let mut at_hand = self.lock();
        let old = at_hand.iter().take_while(|kept| kept.since.elapsed() > TRUSTED_IDLE).count();
        at_hand.drain(..old);
        at_hand.pop().map(|kept| kept.connection)
    }

    fn keep(&self, connection: PoolConnection<Postgres>) {
        let mut at_hand = self.lock();
        if at_hand.len() < self.most as usize && !self.pool.is_closed() {
            at_hand.push(AtHand { connection, since: Instant::now() });
        }
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Vec<AtHand>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection with a statement under way. If nobody waits for that any more the connection is closed, by which
/// Postgres knows; it would be waited for before anyone else could have it.
struct InUse(Option<PoolConnection<Postgres>>);

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

fn hangs() -> Error {
    Error::Unavailable(Arc::new(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}
