//! One commit that gives a branch another tree: streamed to `git fast-import`, which makes it durable.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::command::tail;
use super::error::is_full;
use super::{BlobId, CommitId, GitError, Repository, TreeChange};

/// What git prints of a commit: its id.
const ANSWER_BYTES: u64 = 1024;
/// How much of a content is copied at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Whose commits these are.
const AUTHOR: &str = "Elita <elita@localhost>";

/// What a commit says of itself.
#[derive(Clone, Debug)]
pub struct CommitText {
    /// Its message, with trailers.
    pub message: String,
    /// When it is made, in seconds since 1970.
    pub at: i64,
}

/// Takes the contents that a change brings, on a thread that may block.
pub struct Contents {
    pipe: BufWriter<File>,
    wanted: BTreeSet<BlobId>,
}

impl Contents {
    /// Whether this content is still to be brought.
    pub fn wants(&self, blob: &BlobId) -> bool {
        self.wanted.contains(blob)
    }

    /// Whether any is.
    pub fn wants_more(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Brings a content of so many bytes. One that is not wanted is passed over, without being read.
    ///
    /// # Errors
    /// If it cannot be read, has another length, or git has ended.
    pub fn bring(&mut self, blob: &BlobId, size_bytes: u64, content: &mut dyn Read) -> io::Result<()> {
        if !self.wanted.remove(blob) {
            return Ok(());
        }
        write!(self.pipe, "blob\ndata {size_bytes}\n")?;
        let (mut left, mut chunk) = (size_bytes, vec![0; CHUNK_BYTES]);
        while left > 0 {
            let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let read = content.read(&mut chunk[..most])?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.pipe.write_all(&chunk[..read])?;
            left -= read as u64;
        }
        self.pipe.write_all(b"\n")
    }

    /// Writes the commit itself. Without it nothing has happened.
    fn commit(
        mut self,
        branch: &str,
        from: Option<&CommitId>,
        change: &TreeChange,
        CommitText { message, at }: &CommitText,
    ) -> io::Result<()> {
        let pipe = &mut self.pipe;
        write!(pipe, "commit refs/heads/{branch}\nmark :1\nauthor {AUTHOR} {at} +0000\n")?;
        write!(pipe, "committer {AUTHOR} {at} +0000\ndata {}\n{message}\n", message.len())?;
        if let Some(from) = from {
            writeln!(pipe, "from {from}")?;
        }
        // All that goes before all that comes: a file that becomes a directory would be lost otherwise.
        for path in &change.removed {
            pipe.write_all(b"D ")?;
            write_path(pipe, path)?;
        }
        for (path, entry) in &change.written {
            // The id is looked up among what was brought, so that a content which is not what it was taken for is
            // refused.
            write!(pipe, "M {} {} ", entry.mode.as_str(), entry.blob)?;
            write_path(pipe, path)?;
        }
        pipe.write_all(b"\nget-mark :1\ndone\n")?;
        pipe.flush()
    }
}

fn write_path(pipe: &mut impl Write, path: &[u8]) -> io::Result<()> {
    if path.first() != Some(&b'"') && !path.contains(&b'\n') {
        pipe.write_all(path)?;
        return pipe.write_all(b"\n");
    }
    pipe.write_all(b"\"")?;
    for byte in path {
        match byte {
            b'"' | b'\\' => pipe.write_all(&[b'\\', *byte])?,
            b'\n' => pipe.write_all(b"\\n")?,
            other => pipe.write_all(&[*other])?,
        }
    }
    pipe.write_all(b"\"\n")
}

impl Repository {
    /// Commits a change to a branch that is at `from`; without it the branch has no commit yet. `bring` runs on a thread
    /// of its own, and brings all contents that the change needs. The commit is durable when this returns.
    ///
    /// # Errors
    /// [`GitError::Moved`] if the branch is elsewhere by now, and others of git; the inner error is that of `bring`.
    pub async fn commit<E: Send + 'static>(
        &self,
        branch: &str,
        from: Option<&CommitId>,
        change: TreeChange,
        text: CommitText,
        within: Duration,
        bring: impl FnOnce(&mut Contents) -> Result<(), E> + Send + 'static,
    ) -> Result<Result<CommitId, E>, GitError> {
        self.must_exist().await?;
        let arguments = ["--quiet", "--done", "--date-format=raw"].map(OsStr::new);
        let call = self.git.call("fast-import", &arguments).in_repository(&self.path).with_input();
        let mut running = call.start()?;
        let stdin = running.child.stdin.take().ok_or(GitError::Gone)?.into_owned_fd()?;
        let stdout = running.child.stdout.take().ok_or(GitError::Gone)?;
        let stderr = running.child.stderr.take();
        let (branch_name, from) = (branch.to_owned(), from.cloned());
        let writing = tokio::task::spawn_blocking(move || {
            let pipe = BufWriter::with_capacity(CHUNK_BYTES, File::from(stdin));
            let mut contents = Contents { pipe, wanted: change.new_blobs().clone() };
            if let Err(problem) = bring(&mut contents) {
                return Ok(Err(problem));
            }
            if contents.wants_more() {
                let missing = contents.wanted.len();
                return Err(GitError::Refused(format!("{missing} contents of the package are not in its file")));
            }
            contents.commit(&branch_name, from.as_ref(), &change, &text)?;
            Ok(Ok(()))
        });
        let work = async {
            let mut answer = String::new();
            let mut stdout = stdout.take(ANSWER_BYTES);
            let (read, complaint, written) = tokio::join!(stdout.read_to_string(&mut answer), tail(stderr), writing);
            let status = running.wait().await?;
            let written = written.map_err(io::Error::other)?;
            if complaint.contains("Not updating refs/") {
                return Err(GitError::Moved { branch: branch.to_owned() });
            }
            if is_full(&complaint) {
                return Err(GitError::Full { what: "fast-import", message: complaint });
            }
            match written {
                // What stopped the stream is why git has failed, unless git ended first.
                Ok(Err(problem)) => return Ok(Err(problem)),
                Err(GitError::Refused(why)) => return Err(GitError::Refused(why)),
                Err(problem) if status.success() => return Err(problem),
                Ok(Ok(())) | Err(_) => {}
            }
            if !status.success() {
                let message = if complaint.is_empty() { status.to_string() } else { complaint };
                return Err(GitError::Failed { what: "fast-import", message });
            }
            read?;
            let id = CommitId::parse(answer.trim());
            id.map(Ok).ok_or_else(|| GitError::unexpected("fast-import", answer.as_bytes()))
        };
        tokio::time::timeout(within, work).await.unwrap_or(Err(GitError::TimedOut { what: "fast-import", within }))
    }
}
