//! Messages between servers, so that they need not wait until they poll again: by NOTIFY, never inside a transaction
//! that writes. If a message is lost, the only effect is a delay.

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgListener;
use tokio::sync::broadcast;

use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{JobId, WorkerId};

use super::recorder::Changed;

const CHANNEL: &str = "elita";

/// How many jobs a message names: Postgres takes 8000 bytes.
const MAX_NAMED: usize = 180;

/// What has happened on a server.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Wake {
    /// Which server it was.
    pub from: Option<WorkerId>,
    /// Jobs wait in the queue.
    pub queued: bool,
    /// Someone asked for jobs to stop.
    pub cancelled: bool,
    /// These jobs have new entries or have ended.
    pub changed: Vec<JobId>,
    /// Others have, too.
    pub changed_more: bool,
}

impl Wake {
    /// Anything may have happened.
    pub fn anything() -> Self {
        Self { queued: true, cancelled: true, changed_more: true, ..Self::default() }
    }
}

/// The messages of all servers, as they come in.
pub struct Wakes(PgListener);

impl DataSvc {
    /// Tells all servers.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn notify(&self, wake: &Wake) -> Result<()> {
        let mut wake = wake.clone();
        wake.changed_more |= wake.changed.len() > MAX_NAMED;
        wake.changed.truncate(MAX_NAMED);
        let payload = serde_json::to_string(&wake).map_err(Error::internal)?;
        let notify = sqlx::query!("select pg_notify($1, $2)", CHANNEL, payload);
        self.engine.run(async |connection| Ok(notify.execute(connection).await?)).await?;
        Ok(())
    }

    /// Listens to all servers, on a connection of its own.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn listen(&self) -> Result<Wakes> {
        let mut listener = PgListener::connect_with(self.engine.pool()).await?;
        listener.ignore_pool_close_event(true);
        listener.listen(CHANNEL).await?;
        Ok(Wakes(listener))
    }

    /// The jobs that this server changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<Changed> {
        self.recorder.changes()
    }
}

impl Wakes {
    /// The next message. After an interruption, in which some may have been lost, it is [`Wake::anything`].
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connection is lost; then it is time to listen anew.
    pub async fn next(&mut self) -> Result<Wake> {
        match self.0.try_recv().await? {
            Some(message) => Ok(serde_json::from_str(message.payload()).unwrap_or_else(|_| Wake::anything())),
            None => Ok(Wake::anything()),
        }
    }
}
