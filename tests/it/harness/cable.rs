//! A way to Postgres, or to a server, that can be cut.

use sqlx::postgres::PgConnectOptions;
use std::net::SocketAddr;
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
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
    forwarding: JoinHandle<()>,
}

impl Cable {
    /// One to this database.
    pub(crate) async fn to(database: &Database) -> Self {
        let options = PgConnectOptions::from_str(&database.url).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap();
        let end = End::Postgres(Box::new(options));
        let forwarding = tokio::spawn(forward(listener, end.clone()));
        Self { url: through(&database.url, port), end, port, forwarding }
    }

    /// One to the server at this address.
    pub(crate) async fn to_server(address: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap();
        let end = End::Server(address);
        let forwarding = tokio::spawn(forward(listener, end.clone()));
        Self { url: format!("http://{port}"), end, port, forwarding }
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
        self.forwarding = tokio::spawn(forward(listener, self.end.clone()));
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
async fn forward(listener: TcpListener, end: End) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        match &end {
            End::Server(address) => {
                connections.spawn(pass_on(client, TcpStream::connect(address).await.unwrap()));
            }
            End::Postgres(to) => match to.get_socket() {
                Some(directory) => {
                    let socket = directory.join(format!(".s.PGSQL.{}", to.get_port()));
                    connections.spawn(pass_on(client, UnixStream::connect(socket).await.unwrap()));
                }
                None => {
                    let server = TcpStream::connect((to.get_host(), to.get_port())).await.unwrap();
                    connections.spawn(pass_on(client, server));
                }
            },
        }
    }
}

async fn pass_on(mut client: TcpStream, mut server: impl AsyncRead + AsyncWrite + Unpin) {
    // However it ends, the other side notices.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
