//! A server's way to Postgres: a port of this machine that can be cut, or held up.

use std::io;
use std::path::PathBuf;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::random::Random;

/// In which state a cable is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// Passes everything on.
    Whole,
    /// What is connected loses its connection, and finds nobody there.
    Cut,
    /// What is sent arrives once it is whole again.
    Stalled,
    /// Postgres hears and acts, and its answers arrive once it is whole again: or never, if it is cut before.
    Mute,
    /// Some of what is sent comes late, so that answers overtake each other.
    Slow,
}

/// How long what comes late takes, in milliseconds, and how much does, in percent.
const LATE_MS: std::ops::Range<u64> = 200..600;
const LATE_PERCENT: usize = 12;

/// A way to Postgres' socket. It ends when this is dropped.
pub(crate) struct Cable {
    pub(crate) port: u16,
    state: watch::Sender<State>,
    forwarding: AbortHandle,
}

impl Cable {
    /// One to this socket.
    pub(crate) async fn to(socket: PathBuf) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let (state, seen) = watch::channel(State::Whole);
        let forwarding = tokio::spawn(forward(listener, socket, seen)).abort_handle();
        Ok(Self { port, state, forwarding })
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

async fn forward(listener: TcpListener, socket: PathBuf, state: watch::Receiver<State>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *state.borrow() == State::Cut {
            continue;
        }
        tokio::spawn(pass_on(client, socket.clone(), state.clone()));
    }
}

/// However it ends, both sides notice, because both connections are closed.
async fn pass_on(client: TcpStream, socket: PathBuf, mut state: watch::Receiver<State>) {
    let Ok(server) = UnixStream::connect(socket).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = copy(from_client, to_server, &[State::Stalled], state.clone()) => {}
        _ = copy(from_server, to_client, &[State::Stalled, State::Mute], state.clone()) => {}
        _ = state.wait_for(|state| *state == State::Cut) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    held_in: &[State],
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut random = Random::new(Random::new_seed());
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 || state.wait_for(|state| !held_in.contains(state)).await.is_err() {
            return Ok(());
        }
        if *state.borrow() == State::Slow && random.chance(LATE_PERCENT) {
            tokio::time::sleep(random.millis(LATE_MS)).await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}
