//! The HTTP server: connections are accepted, bounded in number and time, and let go in an orderly way.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;
use tracing::{debug, info, warn};

use super::client::ClientAddress;

/// How many connections are open at a time; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 2000;
/// How long a request's head may take to arrive, and how long a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests that have begun may go on once the server stops.
const DRAIN: Duration = Duration::from_secs(10);
/// How many header fields HTTP/1 reads before it gives up with a bare 431. It has room for more than `front` takes,
/// whose 431 says what is wrong.
const MAX_HEADERS: usize = 200;
/// How much of a head is read before it is refused with 431. It has room for the longest URI that can be told apart
/// from long header fields, and so be refused with 414.
const MAX_HEAD_BYTES: usize = 256 * 1024;
/// How many header bytes HTTP/2 takes.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;
/// How many requests run at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// How often a silent HTTP/2 client is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long to wait before accepting again when the process cannot, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves connections until `stop` becomes true, and then until those that are busy are done
/// or [`DRAIN`] is over. The listener is closed first.
pub async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let for_connections = stop.clone();
    tokio::select! {
        () = accept_all(&listener, router, &for_connections, &mut connections) => {}
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
    stop: &watch::Receiver<bool>,
    connections: &mut JoinSet<()>,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // The semaphore is never closed, so that this ends with the task.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let (stream, client) = accepted(listener).await;
        let connection = connection(stream, client, router.clone(), stop.clone());
        connections.spawn(async move {
            connection.await;
            drop(slot);
        });
        reap(connections);
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

/// Serves one connection until it ends, or until it is idle once the server stops.
async fn connection(stream: TcpStream, client: ClientAddress, router: Router, mut stop: watch::Receiver<bool>) {
    // Without it small replies wait for the client's acknowledgement of the one before; a socket that cannot do it
    // is only slower.
    let _ = stream.set_nodelay(true);
    let asked = AtomicBool::new(false);
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(client);
        asked.store(true, Ordering::Relaxed);
        let reply = router.clone().oneshot(request.map(Body::new));
        async move { Ok::<_, Infallible>(reply.await.unwrap_or_else(|never| match never {})) }
    });
    let builder = builder();
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // hyper's own timeout begins once it knows the version, and its HTTP/2 has none: this covers the first request.
    let mut first_request = pin!(sleep(HEADER_TIMEOUT));
    let (mut watched, mut stopping) = (true, false);
    loop {
        tokio::select! {
            ended = serving.as_mut() => {
                if let Err(error) = ended {
                    debug!(error, "a connection ended early");
                }
                return;
            }
            () = first_request.as_mut(), if watched => {
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
                watched = false;
            }
            () = stopped(&mut stop), if !stopping => {
                serving.as_mut().graceful_shutdown();
                stopping = true;
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(HEADER_TIMEOUT);
    builder
}

/// Waits until the server is to stop: for ever, if nobody is left to say so.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}
