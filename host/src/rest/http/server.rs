//! The HTTP server: connections are accepted, bounded in number, and let go in an orderly way. What becomes of one is
//! in `connection`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::client::{ClientAddress, TrustedProxies};
use super::connection::Connections;
use super::tls::Tls;
use crate::shares::{Place, Shares};

/// How long requests that have begun may go on once the server stops.
const DRAIN: Duration = Duration::from_secs(10);
/// How many connections may wait for a place, beside those in the listener's queue.
const MAX_WAITING: usize = 256;
/// How long to wait before accepting again when the process cannot, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What is taken of clients, and for how long.
pub struct ServerSettings {
    /// Connections at a time; further ones wait in the listener's queue.
    pub connections: usize,
    /// Requests at a time.
    pub requests: usize,
    /// How long all replies may be together that are kept until their clients take them, in bytes.
    pub reply_bytes: usize,
    /// How long a TLS handshake may take, and how long a request's head.
    pub head_within: Duration,
    /// How long a connection may do nothing.
    pub idle_within: Duration,
    /// Whose word is taken for where requests come from.
    pub trusted_proxies: TrustedProxies,
    /// `None`: plain HTTP.
    pub tls: Option<Tls>,
}

/// Serves connections until `stop` becomes true, and then until those that are busy are done
/// or [`DRAIN`] is over. The listener is closed first.
pub async fn serve(listener: TcpListener, router: Router, settings: ServerSettings, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let for_connections = stop.clone();
    tokio::select! {
        () = accept_all(&listener, router, &settings, &for_connections, &mut connections) => {}
        () = keep_current(settings.tls.as_ref()) => {}
        () = stopped(&mut stop) => {}
    }
    drop(listener);
    reap(&mut connections);
    info!(open = connections.len(), "no longer accepting connections");
    if timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        warn!(dropped = connections.len(), "connections are dropped: their requests did not end in time");
    }
}

/// Accepts connections for ever.
async fn accept_all(
    listener: &TcpListener,
    router: Router,
    settings: &ServerSettings,
    stop: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let (slots, waiting) = (Shares::new(settings.connections), Shares::new(MAX_WAITING));
    let shared = Arc::new(Connections::new(router, settings));
    for number in 0.. {
        let (stream, peer) = accepted(listener).await;
        let whose = match settings.trusted_proxies.trusts(peer) {
            true => Whose::Proxied(number),
            false => Whose::Network(peer.network()),
        };
        // Without it small replies wait for the client's acknowledgement of the one before; a socket that cannot do it
        // is only slower.
        let _ = stream.set_nodelay(true);
        let (shared, mut stop) = (Arc::clone(&shared), stop.clone());
        let (slots, waiting, condemned) = (Arc::clone(&slots), Arc::clone(&waiting), Arc::new(Notify::new()));
        let (tls, head_within) = (settings.tls.as_ref().map(Tls::acceptor), settings.head_within);
        connections.spawn(async move {
            let slot = tokio::select! {
                slot = slot(&slots, &waiting, whose, &condemned) => slot,
                () = stopped(&mut stop) => None,
            };
            let Some(_slot) = slot else { return debug!("a connection was closed: too many wait for a place") };
            let told = Arc::clone(&condemned);
            let serving = async {
                match tls {
                    None => shared.serve(stream, peer, condemned, stop).await,
                    Some(tls) => match timeout(head_within, tls.accept(stream)).await {
                        Ok(Ok(stream)) => shared.serve(stream, peer, condemned, stop).await,
                        Ok(Err(error)) => debug!(%error, "a TLS handshake failed"),
                        Err(_) => debug!("a TLS handshake took too long"),
                    },
                }
            };
            tokio::select! {
                () = serving => {}
                () = told.notified() => debug!("a connection was closed: its address has more than its share"),
            }
        });
        reap(connections);
    }
}

/// Whom a connection counts for.
#[derive(Clone, Eq, Hash, PartialEq)]
enum Whose {
    Network(IpAddr),
    /// That of a proxy has clients of many addresses, and counts for itself.
    Proxied(u64),
}

/// A place among the connections that are served, if need be after some time among those that wait. None: too many
/// wait, and those of this address most. A place that is taken away condemns its connection.
async fn slot(
    slots: &Arc<Shares<Whose>>,
    waiting: &Arc<Shares<Whose>>,
    whose: Whose,
    condemned: &Arc<Notify>,
) -> Option<Place<Whose>> {
    let told = Arc::clone(condemned);
    let oust = move || told.notify_one();
    if let Some(slot) = slots.take(whose.clone(), 1, oust.clone()) {
        return Some(slot);
    }
    let _waits = waiting.take(whose.clone(), 1, oust.clone())?;
    tokio::select! {
        slot = slots.wait(whose, 1, oust) => Some(slot),
        () = condemned.notified() => None,
    }
}

/// Keeps the certificate current for ever, if there is one.
async fn keep_current(tls: Option<&Tls>) {
    match tls {
        Some(tls) => tls.keep_current().await,
        None => std::future::pending().await,
    }
}

/// Forgets the connections that have ended.
fn reap(connections: &mut JoinSet<()>) {
    while connections.try_join_next().is_some() {}
}

/// The next connection, and whose it is. What keeps the process from accepting is waited out.
async fn accepted(listener: &TcpListener) -> (TcpStream, ClientAddress) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, ClientAddress::of(peer)),
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                warn!(error = %error, "connections cannot be accepted for now");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether a connection failed before it was accepted, which says nothing about the next one.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Waits until the server is to stop: for ever, if nobody is left to say so.
pub(in crate::rest) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}
