//! A way to Postgres, or to a server, that can be cut.

use sqlx::postgres::PgConnectOptions;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, copy_bidirectional, join, split};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use super::postgres::Database;

/// Where it leads.
#[derive(Clone)]
enum End {
    Postgres(Box<PgConnectOptions>),
    Server(SocketAddr),
}

/// A way over a port of this machine. Everything that is connected through it loses its connection when it is cut, and
/// finds nobody there until it is mended.
pub(crate) struct Cable {
    url: String,
    end: End,
    port: SocketAddr,
    /// What a connection brings from the other end before it breaks, in bytes.
    brings: Arc<AtomicU64>,
    forwarding: JoinHandle<()>,
}

impl Cable {
    /// One to this database.
    pub(crate) async fn to(database: &Database) -> Self {
        let options = PgConnectOptions::from_str(&database.url).unwrap();
        Self::lay(End::Postgres(Box::new(options)), |port| through(&database.url, port)).await
    }

    /// One to the server at this address.
    pub(crate) async fn to_server(address: SocketAddr) -> Self {
        Self::lay(End::Server(address), |port| format!("http://{port}")).await
    }

    async fn lay(end: End, url: impl FnOnce(SocketAddr) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap();
        let brings = Arc::new(AtomicU64::new(u64::MAX));
        let forwarding = tokio::spawn(forward(listener, end.clone(), brings.clone()));
        Self { url: url(port), end, port, brings, forwarding }
    }

    /// Has each connection that is made from now on break when it has brought so much.
    pub(crate) fn break_after(&self, bytes: u64) {
        self.brings.store(bytes, Ordering::Relaxed);
    }

    /// The URL of its other end, through it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Cuts it.
    pub(crate) fn cut(&self) {
        self.forwarding.abort();
    }

    /// Has it lead to another server, once it is mended.
    pub(crate) fn lead_to(&mut self, address: SocketAddr) {
        self.end = End::Server(address);
    }

    /// Makes it whole again.
    pub(crate) async fn mend(&mut self) {
        // The port is free once what was cut has ended.
        let _ = (&mut self.forwarding).await;
        let listener = TcpListener::bind(self.port).await.unwrap();
        self.forwarding = tokio::spawn(forward(listener, self.end.clone(), self.brings.clone()));
    }
}

/// The same URL with another address, and without the directory of a socket.
fn through(url: &str, port: SocketAddr) -> String {
    let (server, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = server.split_once("://").unwrap();
    let (authority, database) = rest.split_once('/').unwrap();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let kept: Vec<_> = query.split('&').filter(|parameter| !parameter.starts_with("host=")).collect();
    format!("{scheme}://{user}@{port}/{database}?{}", kept.join("&"))
}

/// Passes on what comes in until this is dropped, and all connections with it.
async fn forward(listener: TcpListener, end: End, brings: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let brings = brings.load(Ordering::Relaxed);
        match &end {
            End::Server(address) => {
                connections.spawn(pass_on(client, TcpStream::connect(address).await.unwrap(), brings));
            }
            End::Postgres(to) => match to.get_socket() {
                Some(directory) => {
                    let socket = directory.join(format!(".s.PGSQL.{}", to.get_port()));
                    connections.spawn(pass_on(client, UnixStream::connect(socket).await.unwrap(), brings));
                }
                None => {
                    let server = TcpStream::connect((to.get_host(), to.get_port())).await.unwrap();
                    connections.spawn(pass_on(client, server, brings));
                }
            },
        }
    }
}

async fn pass_on(mut client: TcpStream, server: impl AsyncRead + AsyncWrite + Unpin, brings: u64) {
    let (from_server, to_server) = split(server);
    let mut server = join(from_server.take(brings), to_server);
    // However it ends, the other side notices.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
