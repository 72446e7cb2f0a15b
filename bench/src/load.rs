//! The same request again and again, over many connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{Connection, Request};

/// Connections of every comparison under load, here and of the peers.
pub(crate) const CLIENTS: usize = 64;

/// Sends it over [`CLIENTS`] connections for so many seconds. Returns how many replies there were.
pub(crate) async fn load(address: SocketAddr, request: Request, seconds: u64) -> anyhow::Result<u64> {
    let request = Arc::new(request);
    let mut connections = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        connections.push(Connection::to(address).await?);
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut clients = JoinSet::new();
    for mut connection in connections {
        let request = request.clone();
        clients.spawn(async move {
            let mut replies = 0;
            while Instant::now() < until {
                connection.exchange(&request).await?;
                replies += 1;
            }
            anyhow::Ok(replies)
        });
    }
    let mut replies = 0;
    while let Some(of_one) = clients.join_next().await {
        replies += of_one??;
    }
    Ok(replies)
}
