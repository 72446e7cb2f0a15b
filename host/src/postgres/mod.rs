//! The embedded Postgres: a private server under the data directory, for those who bring none.
//!
//! [`Embedded`] is all that the rest of Elita sees. Behind it, in the order in which they act: `home` and `account`
//! (where the database lives and who runs it), `binaries` (Postgres' programs), `cluster` (its files), `runtime_dir`
//! (its socket), `postmaster` with `pid_file` (one run of the server) and `supervisor` (one run after another).
//!
//! Connecting to the server, the pool and the migrations are not here: they are the same for every Postgres.

mod account;
mod binaries;
mod cluster;
mod error;
mod home;
mod pid_file;
mod postmaster;
mod runtime_dir;
mod supervisor;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep};

use self::cluster::{Cluster, NAME};
pub use self::error::Error;
use self::postmaster::Postmaster;
use crate::data_dir::DataDir;

/// How long processes of a server that was killed may take to notice.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(20);

/// A private Postgres server under the data directory.
///
/// It is started again when it ends unasked. It stops with [`stop`](Self::stop), and by itself when the value is
/// dropped or the process ends, even if that is killed.
#[derive(Debug)]
pub struct Embedded {
    url: String,
    stop: oneshot::Sender<()>,
    supervisor: JoinHandle<()>,
}

impl Embedded {
    /// Starts the server and returns once it accepts connections. On first use the database is made; a server that
    /// an earlier Elita has left running is stopped first.
    ///
    /// # Errors
    /// Each [`Error`] says what an operator can do about it.
    pub async fn start(data_dir: &DataDir) -> Result<Self, Error> {
        let (path, host_id, former) = (data_dir.path().to_owned(), data_dir.host_id(), data_dir.former_host_id());
        let prepared = spawn_blocking(move || Cluster::prepare(&path, host_id, former)).await;
        let cluster = prepared.expect("preparing a cluster does not panic")?;
        let postmaster = first_postmaster(&cluster).await?;
        let url = cluster.runtime_dir.url(NAME, NAME);
        let (stop, asked_to_stop) = oneshot::channel();
        let supervisor = tokio::spawn(supervisor::supervise(cluster, postmaster, asked_to_stop));
        Ok(Self { url, stop, supervisor })
    }

    /// The database's URL. It holds for as long as the value lives, across restarts of the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends all sessions, stops the server and waits until it is gone. Takes a moment, and half a minute at most.
    pub async fn stop(self) {
        // It is gone already if its supervisor is.
        let _ = self.stop.send(());
        let _ = self.supervisor.await;
    }
}

async fn first_postmaster(cluster: &Cluster) -> Result<Postmaster, Error> {
    let deadline = Instant::now() + ORPHAN_PATIENCE;
    loop {
        let mut postmaster = Postmaster::spawn(cluster).await?;
        match postmaster.ready(cluster).await {
            Ok(()) => return Ok(postmaster),
            Err(Error::StillBusy { .. }) if Instant::now() < deadline => sleep(Duration::from_millis(200)).await,
            Err(error) => return Err(error),
        }
    }
}
