//! A bare repository: made, read, cleaned and removed.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::command::tail;
use super::{Git, GitError, Tree};

/// How long a tree may take to be listed.
const LIST_WITHIN: Duration = Duration::from_secs(60);
/// How long what changes a repository as a whole may take.
const MAINTAIN_WITHIN: Duration = Duration::from_secs(600);
/// How many packs a repository may have before they are put together.
const MOST_PACKS: usize = 20;
/// The same of objects in files of their own.
const MOST_LOOSE: usize = 4096;
/// How much git answers where it has little to say, in bytes.
const SHORT: usize = 64 * 1024;
/// The same of a list of branches.
const MANY: usize = 16 * 1024 * 1024;
/// What a killed writer leaves in the directory of packs, and elsewhere in the repository.
const LEFT_PACK: &str = "tmp_";
const LEFT_CRASH: &str = "fast_import_crash_";

/// The id of a commit: 40 hexadecimal digits, lower case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommitId(String);

impl CommitId {
    /// Takes an id as git prints it.
    pub fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A bare repository on this machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(super) git: Git,
    pub(super) path: PathBuf,
}

impl Repository {
    /// The repository in this directory, which may not be there.
    pub fn at(git: Git, path: impl Into<PathBuf>) -> Self {
        Self { git, path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a repository.
    pub async fn exists(&self) -> bool {
        tokio::fs::try_exists(self.path.join("HEAD")).await.unwrap_or(false)
    }

    /// Makes the repository, which has no commit then. It is there as a whole or not at all; to make it again changes
    /// nothing.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn make(&self, branch: &str) -> Result<(), GitError> {
        if self.exists().await {
            return Ok(());
        }
        let parent = self.path.parent().ok_or(GitError::Gone)?.to_owned();
        let unfinished = self.path.with_extension("making");
        tokio::fs::create_dir_all(&parent).await?;
        remove_directory(&unfinished).await?;
        let branch = format!("--initial-branch={branch}");
        let arguments = ["--bare", "--quiet", "--template=", &branch, "--"].map(OsStr::new);
        let mut arguments = arguments.to_vec();
        arguments.push(unfinished.as_os_str());
        self.git.call("init", &arguments).output(SHORT).await?;
        // What is served by programs that git starts by itself is not reached by settings of a call.
        let settings = "[core]\n\tbigFileThreshold = 1m\n[gc]\n\tauto = 0\n[receive]\n\tautogc = false\n[uploadpack]\n\tallowFilter = true\n";
        let file = unfinished.join("config");
        let mut config = tokio::fs::read(&file).await?;
        config.extend_from_slice(settings.as_bytes());
        tokio::fs::write(&file, config).await?;
        sync(&unfinished).await?;
        tokio::fs::rename(&unfinished, &self.path).await?;
        sync_directory(&parent).await?;
        Ok(())
    }

    /// Removes it; it is gone as a whole, and then its files are. To remove it again changes nothing.
    ///
    /// # Errors
    /// [`GitError::Io`].
    pub async fn remove(&self) -> Result<(), GitError> {
        let doomed = self.path.with_extension("removing");
        remove_directory(&doomed).await?;
        match tokio::fs::rename(&self.path, &doomed).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed?,
        }
        remove_directory(&doomed).await
    }

    /// The commit that a branch is at. `None`: there is no such branch.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn tip(&self, branch: &str) -> Result<Option<CommitId>, GitError> {
        self.must_exist().await?;
        let reference = format!("refs/heads/{branch}");
        let arguments = ["--format=%(objectname) %(refname)", &reference].map(OsStr::new);
        let said = self.git.call("for-each-ref", &arguments).in_repository(&self.path).output(MANY).await?;
        // Asked for `a`, git also tells of `a/b`.
        let said = String::from_utf8_lossy(&said);
        let of_branch = |line: &str| line.strip_suffix(&reference)?.strip_suffix(' ').and_then(CommitId::parse);
        Ok(said.lines().find_map(of_branch))
    }

    /// The commit that a branch or an id stands for. `None`: there is none.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn resolve(&self, name: &str) -> Result<Option<CommitId>, GitError> {
        if let Some(tip) = self.tip(name).await? {
            return Ok(Some(tip));
        }
        let Some(id) = CommitId::parse(name) else { return Ok(None) };
        let object = format!("{id}^{{commit}}");
        let arguments = ["--verify", "--quiet", "--end-of-options", &object].map(OsStr::new);
        match self.git.call("rev-parse", &arguments).in_repository(&self.path).output(SHORT).await {
            Ok(_) => Ok(Some(id)),
            Err(GitError::Failed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The files and links of a commit.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn tree(&self, commit: &CommitId) -> Result<Tree, GitError> {
        let arguments = ["-r", "-z", "--full-tree", commit.as_str()].map(OsStr::new);
        let mut running = self.git.call("ls-tree", &arguments).in_repository(&self.path).start()?;
        let stdout = running.child.stdout.take().ok_or(GitError::Gone)?;
        let stderr = running.child.stderr.take();
        let reading = async {
            let (mut tree, mut stdout, mut record) = (Tree::default(), BufReader::new(stdout), Vec::new());
            while stdout.read_until(0, &mut record).await? > 0 {
                record.pop_if(|byte| *byte == 0);
                tree.parse_record(&record)?;
                record.clear();
            }
            Ok::<_, GitError>(tree)
        };
        let work = async {
            let (tree, complaint) = tokio::join!(reading, tail(stderr));
            running.ended(complaint).await?;
            tree
        };
        let late = GitError::TimedOut { what: "ls-tree", within: LIST_WITHIN };
        tokio::time::timeout(LIST_WITHIN, work).await.unwrap_or(Err(late))
    }

    /// Removes what killed writers have left: locks of branches, packs and reports. The caller holds the repository's
    /// own lock, so that nobody writes.
    ///
    /// # Errors
    /// [`GitError::Io`].
    pub async fn clean(&self) -> Result<(), GitError> {
        self.must_exist().await?;
        let path = self.path.clone();
        let cleaned = tokio::task::spawn_blocking(move || {
            remove_matching(&path, &|name| {
                name.starts_with(LEFT_CRASH) || matches!(name, "packed-refs.lock" | "HEAD.lock" | "config.lock")
            })?;
            remove_matching(&path.join("objects/pack"), &|name| name.starts_with(LEFT_PACK))?;
            remove_locks(&path.join("refs"))
        });
        Ok(cleaned.await.map_err(std::io::Error::other)??)
    }

    /// Puts packs and loose objects together where there are many of them, so that commits and clones stay quick. Whoever
    /// calls this is the only one that works on the repository.
    ///
    /// # Errors
    /// [`GitError`].
    pub async fn maintain(&self) -> Result<(), GitError> {
        let objects = self.path.join("objects");
        let is_due = tokio::task::spawn_blocking(move || -> std::io::Result<bool> {
            let packs = count(&objects.join("pack"), |name| name.ends_with(".pack"))?;
            // Names are hashes: one directory of 256 stands for all.
            Ok(packs > MOST_PACKS || count(&objects.join("17"), |_| true)? > MOST_LOOSE / 256)
        });
        if !is_due.await.map_err(std::io::Error::other)?? {
            return Ok(());
        }
        let arguments = ["-d", "-q", "--geometric=2", "--write-midx"].map(OsStr::new);
        let call = self.git.call("repack", &arguments).in_repository(&self.path).within(MAINTAIN_WITHIN);
        call.output(SHORT).await.map(drop)
    }

    pub(super) async fn must_exist(&self) -> Result<(), GitError> {
        if self.exists().await { Ok(()) } else { Err(GitError::Gone) }
    }
}

async fn remove_directory(path: &Path) -> Result<(), GitError> {
    match tokio::fs::remove_dir_all(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn sync_directory(path: &Path) -> Result<(), GitError> {
    Ok(tokio::fs::File::open(path).await?.sync_all().await?)
}

/// Makes a new repository durable: its few files and directories.
async fn sync(path: &Path) -> Result<(), GitError> {
    fn all(path: &Path) -> std::io::Result<()> {
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                all(&entry.path())?;
            } else {
                std::fs::File::open(entry.path())?.sync_all()?;
            }
        }
        std::fs::File::open(path)?.sync_all()
    }
    let path = path.to_owned();
    Ok(tokio::task::spawn_blocking(move || all(&path)).await.map_err(std::io::Error::other)??)
}

/// How many entries of a directory have such a name; none, if it does not exist.
fn count(directory: &Path, is_counted: impl Fn(&str) -> bool) -> std::io::Result<usize> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut counted = 0;
    for entry in entries {
        counted += usize::from(entry?.file_name().to_str().is_some_and(&is_counted));
    }
    Ok(counted)
}

fn remove_matching(directory: &Path, is_left: &dyn Fn(&str) -> bool) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name().to_str().is_some_and(is_left) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A branch's name never ends with `.lock`.
fn remove_locks(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_locks(&entry.path())?;
        } else if entry.file_name().to_str().is_some_and(|name| name.ends_with(".lock")) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
