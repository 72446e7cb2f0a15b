//! What has been committed: the commits of a branch, and the files that differ between two of them.

use std::ffi::OsStr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use super::command::{Call, tail};
use super::{CommitId, GitError, Repository};

/// What stands for a tree with nothing in it.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
/// How many bytes of messages a page of commits has, give or take the last one.
const MAX_LOG_BYTES: usize = 1024 * 1024;
/// The longest record that is taken, in bytes.
const MAX_RECORD_BYTES: usize = 1024 * 1024;
/// How far back a commit is looked for by its message.
const SEARCHED: &str = "--max-count=2000";

/// A commit.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its id.
    pub id: CommitId,
    /// Those that it comes after.
    pub parents: Vec<CommitId>,
    /// The author.
    pub author: String,
    /// When it was made, in seconds since 1970.
    pub at: i64,
    /// The commit message.
    pub message: String,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileStatus {
    /// It is new.
    Added,
    /// Its content or its mode is another one.
    Modified,
    /// It is gone.
    Deleted,
    /// Changed between file and link.
    TypeChanged,
}

/// A file that differs.
#[derive(Clone, Debug)]
pub struct ChangedFile {
    /// Where it is.
    pub path: String,
    /// What became of it.
    pub status: FileStatus,
    /// How many lines came. `None`: it is binary, or longer than 1 MiB.
    pub insertions: Option<u64>,
    /// How many lines went.
    pub deletions: Option<u64>,
}

/// Some of a list.
#[derive(Clone, Debug)]
pub struct Part<T> {
    /// These.
    pub items: Vec<T>,
    /// Whether there are more after them.
    pub has_more: bool,
}

impl Repository {
    /// The commits up to this one, newest first; where a commit has several parents, along the first. With `beyond` the
    /// list begins after the commit.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn log(&self, commit: &CommitId, beyond: bool, limit: usize) -> Result<Part<LogEntry>, GitError> {
        let _place = self.git.place().await?;
        let count = format!("--max-count={}", limit + 1);
        let skip = format!("--skip={}", u8::from(beyond));
        let format = "--format=%H%n%P%n%an%n%at%n%B";
        let arguments =
            ["-z", "--first-parent", "--no-decorate", "--no-notes", "--no-show-signature", format, &count, &skip];
        let mut arguments = arguments.map(OsStr::new).to_vec();
        arguments.extend(["--end-of-options", commit.as_str()].map(OsStr::new));
        let (mut items, mut bytes, mut has_more) = (Vec::new(), 0, false);
        let call = self.git.call("log", &arguments).in_repository(&self.path);
        records(call, "log", |record| {
            if items.len() == limit || bytes > MAX_LOG_BYTES {
                has_more = true;
                return Ok(false);
            }
            bytes += record.len();
            items.push(entry(record)?);
            Ok(true)
        })
        .await?;
        Ok(Part { items, has_more })
    }

    /// The newest commit of a branch whose message has this line, among its last two thousand.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn find_by_line(&self, branch: &str, line: &str) -> Result<Option<CommitId>, GitError> {
        let Some(tip) = self.tip(branch).await? else { return Ok(None) };
        let arguments =
            ["-z", "--first-parent", "--no-show-signature", "--format=%H%n%B", SEARCHED, "--end-of-options"];
        let mut arguments = arguments.map(OsStr::new).to_vec();
        arguments.push(OsStr::new(tip.as_str()));
        let mut found = None;
        let call = self.git.call("log", &arguments).in_repository(&self.path).within(Duration::from_secs(60));
        records(call, "log", |record| {
            let text = String::from_utf8_lossy(record);
            let mut lines = text.lines();
            let id = lines.next().and_then(CommitId::parse);
            if lines.any(|own| own == line) {
                found = id;
            }
            Ok(found.is_none())
        })
        .await?;
        Ok(found)
    }

    /// The files that differ between two commits, by path. Without `before`, those that the commit changed itself.
    /// `after` is the path after which they are wanted.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn diff(
        &self,
        before: Option<&CommitId>,
        commit: &CommitId,
        after: Option<&str>,
        limit: usize,
        within: Duration,
    ) -> Result<Part<ChangedFile>, GitError> {
        let parent = match before {
            Some(_) => None,
            None => self.log(commit, false, 1).await?.items.pop().and_then(|entry| entry.parents.into_iter().next()),
        };
        let before = before.or(parent.as_ref()).map_or(EMPTY_TREE, CommitId::as_str);
        let options = ["-r", "-z", "--raw", "--numstat", "--no-renames", "--no-ext-diff", "--no-textconv"];
        let mut arguments = options.map(OsStr::new).to_vec();
        arguments.extend(["--end-of-options", before, commit.as_str()].map(OsStr::new));
        let _place = self.git.place().await?;
        let call = self.git.call("diff-tree", &arguments).in_repository(&self.path).within(within);
        let mut files = DiffFiles {
            after: after.map(str::as_bytes),
            limit,
            items: Vec::new(),
            has_more: false,
            status: None,
            counted: 0,
        };
        records(call, "diff-tree", |record| files.take(record)).await?;
        Ok(Part { items: files.items, has_more: files.has_more })
    }
}

/// The files of a diff as git tells of them: first all with their statuses, a record for that and one for the path,
/// then all with the counts of their lines.
struct DiffFiles<'a> {
    after: Option<&'a [u8]>,
    limit: usize,
    items: Vec<ChangedFile>,
    has_more: bool,
    /// That of the path which comes next.
    status: Option<FileStatus>,
    /// How many of the items have their counts.
    counted: usize,
}

impl DiffFiles<'_> {
    fn take(&mut self, record: &[u8]) -> Result<bool, GitError> {
        if let Some(status) = self.status.take() {
            self.take_path(record, status);
            return Ok(true);
        }
        if record.first() == Some(&b':') {
            let letter = record.rsplit(|byte| *byte == b' ').next().and_then(|word| word.first());
            self.status = Some(match letter {
                Some(b'A') => FileStatus::Added,
                Some(b'D') => FileStatus::Deleted,
                Some(b'T') => FileStatus::TypeChanged,
                _ => FileStatus::Modified,
            });
            return Ok(true);
        }
        self.take_counts(record)
    }

    fn take_path(&mut self, path: &[u8], status: FileStatus) {
        if self.after.is_some_and(|after| path <= after) {
            return;
        }
        if self.items.len() == self.limit {
            self.has_more = true;
            return;
        }
        let path = String::from_utf8_lossy(path).into_owned();
        self.items.push(ChangedFile { path, status, insertions: None, deletions: None });
    }

    fn take_counts(&mut self, record: &[u8]) -> Result<bool, GitError> {
        let text = String::from_utf8_lossy(record);
        let mut words = text.splitn(3, '\t');
        let (Some(insertions), Some(deletions), Some(path)) = (words.next(), words.next(), words.next()) else {
            return Err(GitError::unexpected("diff-tree", record));
        };
        if let Some(file) = self.items.get_mut(self.counted).filter(|file| file.path == path) {
            (file.insertions, file.deletions) = (insertions.parse().ok(), deletions.parse().ok());
            self.counted += 1;
        }
        Ok(self.counted < self.items.len())
    }
}

fn entry(record: &[u8]) -> Result<LogEntry, GitError> {
    let text = String::from_utf8_lossy(record);
    let mut lines = text.splitn(5, '\n');
    let mut line = || lines.next().ok_or_else(|| GitError::unexpected("log", record));
    let (id, parents, author, at, message) = (line()?, line()?, line()?, line()?, line()?);
    Ok(LogEntry {
        id: CommitId::parse(id).ok_or_else(|| GitError::unexpected("log", record))?,
        parents: parents.split(' ').filter_map(CommitId::parse).collect(),
        author: author.to_owned(),
        at: at.parse().map_err(|_| GitError::unexpected("log", record))?,
        message: message.trim_end().to_owned(),
    })
}

/// Runs a call that prints records with a NUL after each, until `take` wants no more.
async fn records(
    call: Call,
    what: &'static str,
    mut take: impl FnMut(&[u8]) -> Result<bool, GitError>,
) -> Result<(), GitError> {
    let within = call.time();
    let mut running = call.start()?;
    let stdout = running.child.stdout.take().ok_or(GitError::Gone)?;
    let stderr = running.child.stderr.take();
    let work = async {
        let reading = async {
            let (mut stdout, mut record) = (BufReader::new(stdout), Vec::new());
            while next(&mut stdout, &mut record, what).await? {
                if !take(&record)? {
                    return Ok(false);
                }
            }
            Ok::<_, GitError>(true)
        };
        let (read, complaint) = tokio::join!(reading, tail(stderr));
        // What is not wanted any more is not waited for: it ends at its next word.
        if read? { running.ended(complaint).await } else { Ok(()) }
    };
    tokio::time::timeout(within, work).await.unwrap_or(Err(GitError::TimedOut { what, within }))
}

/// Reads the next record, without its NUL. False: there are no more.
async fn next(
    stream: &mut BufReader<impl AsyncRead + Unpin>,
    record: &mut Vec<u8>,
    what: &'static str,
) -> Result<bool, GitError> {
    record.clear();
    loop {
        let available = stream.fill_buf().await?;
        if available.is_empty() {
            return Ok(!record.is_empty());
        }
        let end = available.iter().position(|byte| *byte == 0);
        record.extend_from_slice(&available[..end.unwrap_or(available.len())]);
        let used = end.map_or(available.len(), |end| end + 1);
        stream.consume(used);
        if record.len() > MAX_RECORD_BYTES {
            return Err(GitError::TooMuch { what, limit: MAX_RECORD_BYTES });
        }
        if end.is_some() {
            return Ok(true);
        }
    }
}
