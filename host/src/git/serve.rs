//! Serving a repository to git clients, to read only: `git upload-pack`, streamed both ways.

use std::ffi::OsStr;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::command::{Running, tail};
use super::{GitError, Repository};

/// How much is sent at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// The longest `Git-Protocol` that is handed on, in bytes.
const MAX_PROTOCOL_BYTES: usize = 256;

/// What a client gets, as git makes it. It ends with an error if git does not end well, so that nobody takes half of it
/// for all. What still runs is killed when it is dropped.
pub type Served = BoxStream<'static, io::Result<Bytes>>;

struct Serving {
    running: Running,
    stdout: ChildStdout,
    complaint: JoinHandle<String>,
    /// What comes of the client, on its way into git.
    input: Option<AbortOnDropHandle<()>>,
}

impl Repository {
    /// Which branches there are, as the first thing that a client asks.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn advertise(&self, protocol: Option<&str>) -> Result<Served, GitError> {
        self.upload_pack(&["--strict", "--stateless-rpc", "--advertise-refs"], protocol, None::<stream::Empty<_>>).await
    }

    /// What a client asks for in `asked`, which is handed on as it comes.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn serve(
        &self,
        protocol: Option<&str>,
        asked: impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    ) -> Result<Served, GitError> {
        self.upload_pack(&["--strict", "--stateless-rpc"], protocol, Some(asked)).await
    }

    async fn upload_pack(
        &self,
        options: &[&str],
        protocol: Option<&str>,
        asked: Option<impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static>,
    ) -> Result<Served, GitError> {
        self.must_exist().await?;
        let mut arguments: Vec<_> = options.iter().map(OsStr::new).collect();
        arguments.push(self.path.as_os_str());
        let mut call = self.git.call("upload-pack", &arguments).in_repository(&self.path).within(Duration::MAX);
        if let Some(protocol) = protocol.filter(|text| is_protocol(text)) {
            call = call.variable("GIT_PROTOCOL", OsStr::new(protocol));
        }
        let call = if asked.is_some() { call.with_input() } else { call };
        let mut running = call.start()?;
        let stdout = running.child.stdout.take().ok_or(GitError::Gone)?;
        let complaint = tokio::spawn(tail(running.child.stderr.take()));
        let input = asked.zip(running.child.stdin.take());
        let input = input.map(|(asked, stdin)| AbortOnDropHandle::new(tokio::spawn(hand_on(asked, stdin))));
        let serving = Serving { running, stdout, complaint, input };
        Ok(stream::unfold(Some(serving), next).boxed())
    }
}

/// Only what git understands by it: `version=2`, perhaps with others.
fn is_protocol(text: &str) -> bool {
    text.len() <= MAX_PROTOCOL_BYTES
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b':' | b'-' | b'.'))
}

/// What breaks off is not ended: git would take it for all that was asked.
async fn hand_on(mut asked: impl Stream<Item = io::Result<Bytes>> + Unpin, mut stdin: ChildStdin) {
    while let Some(piece) = asked.next().await {
        let Ok(piece) = piece else { return std::future::pending().await };
        if stdin.write_all(&piece).await.is_err() {
            return;
        }
    }
}

async fn next(serving: Option<Serving>) -> Option<(io::Result<Bytes>, Option<Serving>)> {
    let mut serving = serving?;
    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
    match serving.stdout.read_buf(&mut chunk).await {
        Ok(0) => {}
        Ok(_) => return Some((Ok(chunk.freeze()), Some(serving))),
        Err(error) => return Some((Err(error), None)),
    }
    drop(serving.input.take());
    match serving.running.wait().await {
        Ok(status) if status.success() => None,
        Ok(status) => {
            let complaint = serving.complaint.await.unwrap_or_default();
            tracing::warn!("git upload-pack ended with {status}: {complaint}");
            Some((Err(io::Error::other("git upload-pack failed")), None))
        }
        Err(error) => Some((Err(io::Error::other(error)), None)),
    }
}
