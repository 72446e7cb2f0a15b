//! Commits: a package of a build becomes the tree of a branch. What the branch has already is not read.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::bringing::Bringing;
use super::failed;
use super::trees::{PackageTree, TreeReader};
use super::upstream::{Home, Mirror, moved, unusable};
use crate::datasvc::{
    AppName, BuildName, Commit, FileChange, FileLocation, GitRepoName, GitdeployName, JobError, JobErrorCode,
    PackageFile, PackageName, patiently,
};
use crate::engine::{Journal, Run, Seen, StepResult};
use crate::git::{CommitId, CommitText, Contents, GitError, Ignored, Repository, Tree, TreeChange};
use crate::storage::archive::{self, ArchiveLimits, ShownKind};
use crate::work::Inner;
use crate::work::archives::{StopOnDrop, kind};
use crate::work::upload::refused;

/// How long a commit may take.
const COMMIT_WITHIN: Duration = Duration::from_secs(3600);
/// How long it may take to find out which lines a commit has changed.
const DIFF_WITHIN: Duration = Duration::from_secs(300);
/// How often a commit is begun anew, because somebody else has changed the branch.
const TRIES: usize = 3;
/// The longest `.gitignore` that lines are added to, in bytes.
const MAX_GITIGNORE_BYTES: u64 = 1024 * 1024;
/// How many changed files a hook is told of.
const MAX_FILES: usize = 2000;
/// How many empty directories are named.
const MAX_NAMED: usize = 20;

/// A package that is to become the tree of a branch.
#[derive(Clone, Debug)]
pub(in crate::work) struct PackageCommit {
    pub(in crate::work) repo: GitRepoName,
    pub(in crate::work) branch: String,
    pub(in crate::work) build: BuildName,
    pub(in crate::work) package: PackageName,
    /// Lines at the end of the tree's `.gitignore`.
    pub(in crate::work) gitignore: Vec<String>,
    /// For which gitdeploys.
    pub(in crate::work) gitdeploys: Vec<GitdeployName>,
}

/// What a branch is at.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::work) struct Committed {
    /// The commit that the branch is at.
    pub(in crate::work) commit: String,
    /// Whether it was made now. Otherwise the branch had this tree already.
    pub(in crate::work) is_new: bool,
    /// How many paths it has changed.
    pub(in crate::work) changed: usize,
    /// By which the same commit is made again where it is to be pushed and this host does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
}

/// What has to be known of a commit to find it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Identity {
    id: Uuid,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    at: i64,
}

impl Identity {
    /// The line of its message that tells it from all others.
    fn line(&self) -> String {
        format!("Elita-Commit: {}", self.id)
    }
}

/// A package's file, and what it is as a tree.
struct Opened {
    file: PackageFile,
    location: FileLocation,
    tree: PackageTree,
}

/// Commits packages for a job, which has the repository for itself.
pub(in crate::work) struct Commits<'a> {
    pub(in crate::work) work: &'a Inner,
    pub(in crate::work) run: &'a Run,
    pub(in crate::work) journal: &'a Journal<'a>,
}

impl Commits<'_> {
    /// Has the branch get the package as its tree, in one commit, or none if it has that tree already. Where others keep
    /// the repository, the branch is fetched before, and only [`Commits::publish`] shows them the commit.
    pub(in crate::work) async fn commit(&self, asked: &PackageCommit) -> StepResult<Committed> {
        let (home, opened) = (self.home(&asked.repo).await?, self.open(asked).await?);
        let step = format!("commit {} {}", asked.repo, asked.branch);
        let committed = self.journal.inspected(
            &step,
            || Identity { id: Uuid::new_v4(), at: self.work.svc.settled_time().unix_timestamp() },
            async |identity| {
                let _turn = self.work.turn(&home).await;
                self.work.fetch(&home, &asked.branch).await?;
                self.write(home.repository(), asked, &opened, identity).await
            },
            async |identity| {
                let _turn = self.work.turn(&home).await;
                self.look(&home, asked, identity).await
            },
        );
        let committed = committed.await?;
        if let Home::Own(_) = home {
            self.record(asked, &committed).await?;
        }
        Ok(committed)
    }

    /// Pushes a commit to whoever keeps the repository, after the hooks that look at it. On this host's disk it is
    /// where it belongs already, and nothing happens.
    pub(in crate::work) async fn publish(&self, asked: &PackageCommit, committed: &Committed) -> StepResult<()> {
        let home = self.home(&asked.repo).await?;
        let Home::Mirror(mirror) = &home else { return Ok(()) };
        if committed.is_new {
            let step = format!("push {} {}", asked.repo, asked.branch);
            self.journal.repeatable(&step, self.push(&home, mirror, asked, committed)).await?;
        }
        self.record(asked, committed).await
    }

    async fn push(&self, home: &Home, mirror: &Mirror, asked: &PackageCommit, committed: &Committed) -> StepResult<()> {
        let commit = id_of(committed)?;
        let _turn = self.work.turn(home).await;
        let is_here = home.repository().exists().await && home.repository().has(&commit).await.map_err(failed)?;
        if !is_here {
            // Another host has made it. The same parent, tree and message are the same commit.
            let opened = self.open(asked).await?;
            self.work.fetch(home, &asked.branch).await?;
            let is_there = home.repository().has(&commit).await.map_err(failed)?;
            let identity = committed.identity.as_ref().ok_or_else(|| moved(&asked.branch))?;
            let again = match is_there {
                true => committed.commit.clone(),
                false => self.write(home.repository(), asked, &opened, identity).await?.commit,
            };
            if again != committed.commit {
                return Err(moved(&asked.branch));
            }
        }
        self.run.lease.confirmed().await;
        self.work.push(mirror, &asked.branch, &commit).await
    }

    async fn record(&self, asked: &PackageCommit, committed: &Committed) -> StepResult<()> {
        let recorded = patiently(|| {
            let branch = (&asked.repo, &*asked.branch);
            self.work.svc.record_commit(&self.run.claim, branch, &asked.build, &committed.commit)
        });
        recorded.await.map_err(|error| unusable(&error))
    }

    /// The files that a commit has changed: some of them, and whether there are more.
    pub(in crate::work) async fn changes(
        &self,
        repo: &GitRepoName,
        committed: &Committed,
    ) -> StepResult<(Vec<FileChange>, bool)> {
        let home = self.home(repo).await?;
        let found =
            home.repository().diff(None, &id_of(committed)?, None, MAX_FILES, DIFF_WITHIN).await.map_err(failed)?;
        Ok((found.items.into_iter().map(super::history::file_change).collect(), found.has_more))
    }

    /// The commit that a branch is at.
    pub(in crate::work) async fn newest(&self, repo: &GitRepoName, branch: &str) -> StepResult<Option<Commit>> {
        let home = self.home(repo).await?;
        let _turn = self.work.turn(&home).await;
        self.work.fetch(&home, branch).await?;
        let repository = home.repository();
        let Some(tip) = repository.tip(branch).await.map_err(failed)? else { return Ok(None) };
        let mut found = repository.log(&tip, false, 1).await.map_err(failed)?;
        Ok(found.items.pop().map(super::history::document))
    }

    fn application(&self) -> StepResult<&AppName> {
        self.run.claim.application().map_err(|error| unusable(&error))
    }

    async fn home(&self, repo: &GitRepoName) -> StepResult<Home> {
        self.work.home(self.application()?, repo).await
    }

    /// The package, once it is known what it is as a tree.
    async fn open(&self, asked: &PackageCommit) -> StepResult<Opened> {
        let PackageCommit { build, package, .. } = asked;
        let application = self.application()?;
        let found = patiently(|| self.work.svc.package_for_work(application, build, package)).await;
        let (file, location) = found.map_err(|error| unusable(&error))?;
        let tree = PackageTree::kept(&self.work.storage, &location).await;
        let tree = match tree.map_err(crate::work::builds::not_stored)? {
            Some(tree) => tree,
            None => {
                let reading = self.read_tree(&file, &location);
                let step = format!("read {build} {package}");
                let files: usize =
                    self.journal.repeatable(&step, async { reading.await.map(|tree| tree.tree.0.len()) }).await?;
                let again = PackageTree::kept(&self.work.storage, &location).await;
                match again.map_err(crate::work::builds::not_stored)? {
                    Some(tree) if tree.tree.0.len() == files => tree,
                    // What was kept has gone meanwhile.
                    _ => self.read_tree(&file, &location).await?,
                }
            }
        };
        for directory in tree.empty_directories.iter().take(MAX_NAMED) {
            let message = format!("the directory `{directory}` is empty, and git keeps no empty directories");
            self.run.note(&json!({ "status": "warning", "message": message }));
        }
        if let Some(more @ 1..) = tree.empty_directories.len().checked_sub(MAX_NAMED) {
            self.run.note(&json!({ "status": "warning", "message": format!("and {more} more empty directories") }));
        }
        Ok(Opened { file, location, tree })
    }

    /// Reads a package of which it was not found out before what it is as a tree.
    async fn read_tree(&self, package: &PackageFile, location: &FileLocation) -> StepResult<PackageTree> {
        let (file, kind) = (self.file(location).await?, kind(package.file_type));
        let turn = self.work.archives.turns.take_for(self.run).await;
        let work = move |limits: &_, stop: &_| {
            let mut reader = TreeReader::default();
            let contents =
                archive::inspect(file, kind, limits, stop, &mut |shown, content| reader.see(shown, content))?;
            Ok(reader.finish(contents.empty_directories))
        };
        let read = self.work.archives.work(turn, work).await;
        let tree = read.map_err(|error| JobError::internal("a package could not be read", &error))?.map_err(refused)?;
        tree.keep(&self.work.storage, location).await.map_err(crate::work::builds::not_stored)?;
        Ok(tree)
    }

    async fn file(&self, FileLocation { upload, run, filename }: &FileLocation) -> StepResult<File> {
        let file = self.work.storage.build_file((*upload).into(), *run, filename).await;
        file.map_err(crate::work::builds::not_stored)?.ok_or_else(|| {
            JobError::new(JobErrorCode::FileMissing, "the file of the package is no longer in the store")
        })
    }

    /// Whether an earlier run has made the commit.
    async fn look(&self, home: &Home, asked: &PackageCommit, identity: &Identity) -> StepResult<Seen<Committed>> {
        let repository = home.repository();
        if let (Home::Mirror(_), false) = (home, repository.exists().await) {
            // It was another host. What that one has committed and not pushed is made again.
            return Ok(Seen::NotDone);
        }
        let found = repository.find_by_line(&asked.branch, &identity.line()).await.map_err(failed)?;
        Ok(found.map_or(Seen::NotDone, |commit| {
            let (commit, identity) = (commit.to_string(), Some(identity.clone()));
            Seen::Done(Committed { commit, is_new: true, changed: 0, identity })
        }))
    }

    async fn write(
        &self,
        repository: &Repository,
        asked: &PackageCommit,
        opened: &Opened,
        identity: &Identity,
    ) -> StepResult<Committed> {
        repository.clean().await.map_err(failed)?;
        let mut tries = 1;
        loop {
            // A host that was frozen meanwhile may have lost the job, and with it the repository.
            self.run.lease.confirmed().await;
            match self.write_once(repository, asked, opened, identity).await? {
                Ok(committed) => return Ok(committed),
                Err(GitError::Moved { .. }) if tries < TRIES => tries += 1,
                Err(problem) => return Err(failed(problem)),
            }
        }
    }

    /// The inner error is git's.
    async fn write_once(
        &self,
        repository: &Repository,
        asked: &PackageCommit,
        opened: &Opened,
        identity: &Identity,
    ) -> StepResult<Result<Committed, GitError>> {
        let tip = repository.tip(&asked.branch).await.map_err(failed)?;
        let before = match &tip {
            Some(tip) => repository.tree(tip).await.map_err(failed)?,
            None => Tree::default(),
        };
        let mut after = opened.tree.tree.clone();
        let own = self.own_gitignore(asked, opened).await?;
        let ignored = Ignored::add(&mut after, own.as_deref(), &asked.gitignore).map_err(failed)?;
        let change = TreeChange::between(&before, &after).map_err(failed)?;
        if let (true, Some(tip)) = (change.is_empty(), &tip) {
            return Ok(Ok(Committed { commit: tip.to_string(), is_new: false, changed: 0, identity: None }));
        }
        let changed = change.paths();
        let text = self.text(asked, opened, identity);
        let file = self.file(&opened.location).await?;
        let turn = self.work.archives.turns.take_for(self.run).await;
        let bringing = Bringing {
            file,
            file_type: opened.file.file_type,
            limits: self.work.archives.limits,
            tree: opened.tree.tree.0.iter().map(|(path, entry)| (path.clone(), entry.blob)).collect(),
            ignored,
        };
        let stop = StopOnDrop::default();
        let stopped = stop.flag();
        let bring = move |contents: &mut Contents| {
            let _turn = turn;
            bringing.bring(contents, &stopped)
        };
        let made = repository.commit(&asked.branch, tip.as_ref(), change, text, COMMIT_WITHIN, bring).await;
        match made {
            Ok(Ok(commit)) => {
                self.maintain(repository).await;
                let identity = Some(identity.clone());
                Ok(Ok(Committed { commit: commit.to_string(), is_new: true, changed, identity }))
            }
            Ok(Err(problem)) => Err(refused(problem)),
            Err(problem) => Ok(Err(problem)),
        }
    }

    /// The content of the package's own `.gitignore`, if lines are to be added to it.
    async fn own_gitignore(&self, asked: &PackageCommit, opened: &Opened) -> StepResult<Option<Vec<u8>>> {
        const NAME: &str = ".gitignore";
        if asked.gitignore.is_empty() || !opened.tree.tree.0.contains_key(NAME.as_bytes()) {
            return Ok(None);
        }
        let (file, kind) = (self.file(&opened.location).await?, kind(opened.file.file_type));
        let turn = self.work.archives.turns.take_for(self.run).await;
        let work = move |limits: &ArchiveLimits, stop: &_| {
            let mut found = None;
            archive::read(file, kind, limits, stop, &mut |shown, content| {
                if shown.path == NAME && matches!(shown.kind, ShownKind::File { .. }) {
                    let mut bytes = Vec::new();
                    content.take(MAX_GITIGNORE_BYTES + 1).read_to_end(&mut bytes)?;
                    found = Some(bytes);
                }
                Ok(())
            })?;
            Ok(found)
        };
        let read = self.work.archives.work(turn, work).await;
        let found =
            read.map_err(|error| JobError::internal("a package could not be read", &error))?.map_err(refused)?;
        if found.as_ref().is_some_and(|bytes| bytes.len() as u64 > MAX_GITIGNORE_BYTES) {
            let why = "the package's `.gitignore` is longer than 1 MiB, so that the lines of the gitdeploy cannot be \
                       added to it";
            return Err(JobError::new(JobErrorCode::GitRefused, why));
        }
        Ok(found)
    }

    fn text(&self, asked: &PackageCommit, opened: &Opened, identity: &Identity) -> CommitText {
        let PackageCommit { build, package, gitdeploys, .. } = asked;
        let claim = &self.run.claim;
        let digest = &opened.file.sha256;
        let application = claim.application.as_ref().map_or("", AppName::as_str);
        let mut message = format!("Build {build} of {application}\n\nPackage {package}\n\n");
        message += &format!("Elita-Build: {build}\nElita-Package: {package}\nElita-Digest: sha256:{digest}\n");
        for gitdeploy in gitdeploys {
            message += &format!("Elita-Gitdeploy: {gitdeploy}\n");
        }
        message += &format!("Elita-Job: {}\n", claim.job_id);
        if let Some(username) = &claim.username {
            message += &format!("Elita-User: {username}\n");
        }
        message += &identity.line();
        message.push('\n');
        // Servers of an earlier version have recorded no time.
        let at = if identity.at > 0 { identity.at } else { self.work.svc.settled_time().unix_timestamp() };
        CommitText { message, at }
    }

    /// Keeps commits and clones quick. What goes wrong with it is not the commit's fault.
    async fn maintain(&self, repository: &Repository) {
        if let Err(problem) = repository.maintain().await {
            tracing::warn!("a git repository could not be put in order: {problem}");
        }
    }
}

fn id_of(committed: &Committed) -> StepResult<CommitId> {
    CommitId::parse(&committed.commit).ok_or_else(|| failed(GitError::NoCommit(committed.commit.clone())))
}
