//! From a host's name to a connection: looked up once, and connected to an address that was checked.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::destination::{Host, Reach, Target};
use super::error::Error;
use super::tls;

/// How many names are looked up at the same time. The system's resolver takes a thread for each and cannot be stopped,
/// so that lookups which nobody waits for any more would pile up.
const LOOKUPS: usize = 64;
/// How many of them may be for the same sender, so that one whose names hang leaves turns for others.
const LOOKUPS_OF_ONE: usize = LOOKUPS / 4;

/// Finds the addresses of a name.
pub(super) type Resolve =
    Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>> + Send + Sync>;

/// Allows its sender one request, of the number that it may have under way. It is given back when the request and the
/// lookup for it have ended, however early the sender gives up.
#[derive(Clone)]
pub struct RequestPermit(Arc<Taken>);

struct Taken {
    sender: String,
    _permit: OwnedSemaphorePermit,
}

impl RequestPermit {
    /// One of the sender with this name.
    pub fn new(sender: impl Into<String>, permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(Taken { sender: sender.into(), _permit: permit }))
    }
}

/// A connection, with TLS or without.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Makes connections.
pub(super) struct Connector {
    resolve: Resolve,
    lookups: Arc<Semaphore>,
    /// Those of each sender that has a lookup under way or waiting.
    lookups_of: Mutex<HashMap<String, Arc<Semaphore>>>,
    tls: TlsConnector,
}

impl Connector {
    pub(super) fn new(resolve: Resolve, tls: TlsConnector) -> Self {
        Self { resolve, lookups: Arc::new(Semaphore::new(LOOKUPS)), lookups_of: Mutex::default(), tls }
    }

    /// Connects to one of the target's addresses that the reach includes.
    ///
    /// # Errors
    /// [`Error`] if there is no such address, or no address answers until `deadline`.
    pub(super) async fn connect(
        &self,
        target: &Target,
        reach: &Reach<'_>,
        permit: &RequestPermit,
        deadline: Instant,
    ) -> Result<Box<dyn Stream>, Error> {
        let to = || target.to_string();
        let addresses = self.find(target, reach, permit, deadline).await?;
        let stream = connect_to_first(target, &addresses, deadline).await?;
        if !target.tls {
            return Ok(Box::new(stream));
        }
        let name = tls::server_name(&target.host)?;
        match timeout_at(deadline, self.tls.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(cause)) => Err(Error::tls(to(), cause)),
            Err(_) => Err(Error::ConnectTimedOut { to: to() }),
        }
    }

    /// The target's addresses that the reach includes, at least one.
    ///
    /// # Errors
    /// [`Error`] if there is none.
    pub(super) async fn find(
        &self,
        target: &Target,
        reach: &Reach<'_>,
        permit: &RequestPermit,
        deadline: Instant,
    ) -> Result<Vec<IpAddr>, Error> {
        let to = || target.to_string();
        let found = timeout_at(deadline, self.addresses(&target.host, permit))
            .await
            .map_err(|_| Error::LookupTimedOut { to: to() })?
            .map_err(|cause| Error::NotFound { to: to(), cause })?;
        // The same address may be spelled in several ways, and only this one was checked.
        let addresses = found.into_iter().map(|address| address.to_canonical());
        let addresses: Vec<_> = addresses.filter(|&address| reach.includes_at(target, address)).collect();
        if addresses.is_empty() { Err(Error::Prohibited { to: to() }) } else { Ok(addresses) }
    }

    async fn addresses(&self, host: &Host, permit: &RequestPermit) -> io::Result<Vec<IpAddr>> {
        let name = match host {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Name(name) => name.clone(),
        };
        let share = self.lookups_of(&permit.0.sender).acquire_owned().await.map_err(io::Error::other)?;
        let turn = self.lookups.clone().acquire_owned().await.map_err(io::Error::other)?;
        let held = (share, turn, permit.clone());
        let lookup = (self.resolve)(name);
        // On its own, because it holds its turn and its permit until it has really ended.
        let looked_up = tokio::spawn(async move {
            let found = lookup.await;
            drop(held);
            found
        });
        looked_up.await.map_err(io::Error::other)?
    }

    /// The turns of this sender.
    fn lookups_of(&self, sender: &str) -> Arc<Semaphore> {
        let mut lookups_of = self.lookups_of.lock().unwrap_or_else(PoisonError::into_inner);
        // Who looks something up, or waits to, holds a second reference.
        lookups_of.retain(|_, lookups| Arc::strong_count(lookups) > 1);
        lookups_of.entry(sender.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(LOOKUPS_OF_ONE))).clone()
    }
}

/// The system's resolver.
pub(super) fn system_resolver() -> Resolve {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// Tries one after the other, each for its share of the time.
async fn connect_to_first(target: &Target, addresses: &[IpAddr], deadline: Instant) -> Result<TcpStream, Error> {
    let to = target.to_string();
    let mut failed = Error::Prohibited { to: to.clone() };
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / u32::try_from(left).unwrap_or(u32::MAX);
        failed = match timeout_at(now + share, TcpStream::connect((*address, target.port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(cause)) => Error::Unreachable { to: to.clone(), cause },
            Err(_) => Error::ConnectTimedOut { to: to.clone() },
        };
    }
    Err(failed)
}
