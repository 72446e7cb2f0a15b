//! Repositories that others keep: how they are reached, and the copy that each host has of them. The copy is a bare
//! repository in `git/mirrors`, which may be removed at any time: what is committed is upstream as soon as its job says so.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedMutexGuard, Semaphore};

use super::failed;
use super::repos::FIRST_BRANCH;
use crate::datasvc::{AppName, Error, GitRepoName, GitRepoPlace, GitUri, JobError, JobErrorCode, patiently};
use crate::engine::StepResult;
use crate::git::{CommitId, Git, GitError, Repository, Upstream};
use crate::outbound::{Reach, RequestPermit, is_inside};
use crate::remote::{LentSsh, SshKeys};
use crate::work::Inner;

/// How long fetching a branch, or pushing one, may take.
pub(super) const WITHIN: Duration = Duration::from_secs(1800);
/// How long the addresses of a host may take to be found.
const LOOKUP_WITHIN: Duration = Duration::from_secs(10);
/// How many repositories are fetched from or pushed to at a time.
const AT_A_TIME: usize = 16;

/// What this host has of repositories that others keep.
pub(in crate::work) struct Upstreams {
    directory: PathBuf,
    /// The certificate authorities that are trusted, if not those of the machine.
    authorities: Option<PathBuf>,
    permits: Arc<Semaphore>,
    /// One at a time works on each copy.
    turns: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
}

impl Upstreams {
    pub(in crate::work) fn new(git: &Path, authorities: Option<PathBuf>) -> Self {
        let permits = Arc::new(Semaphore::new(AT_A_TIME));
        Self { directory: git.join("mirrors"), authorities, permits, turns: Mutex::default() }
    }

    /// The name of the copy of a repository. Another URI is another repository.
    pub(in crate::work) fn name(application: &AppName, repo: &GitRepoName, uri: &GitUri) -> String {
        let digest = Sha256::digest(format!("{application}/{repo} {uri}"));
        let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{digits}.git")
    }

    async fn turn(&self, path: &Path) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            turns.entry(path.to_owned()).or_default().clone()
        };
        turn.lock_owned().await
    }
}

/// A repository as jobs work on it.
pub(in crate::work) enum Home {
    /// It is on this host's disk, and nowhere else.
    Own(Repository),
    /// Others keep it.
    Mirror(Mirror),
}

/// This host's copy of a repository that others keep.
pub(in crate::work) struct Mirror {
    pub(super) repository: Repository,
    application: AppName,
    name: GitRepoName,
    place: GitRepoPlace,
}

/// What a repository is reached with, for as long as this lives.
pub(super) struct Reached {
    pub(super) upstream: Upstream,
    ssh: Option<LentSsh>,
}

impl Home {
    pub(super) fn repository(&self) -> &Repository {
        match self {
            Self::Own(repository) | Self::Mirror(Mirror { repository, .. }) => repository,
        }
    }
}

impl Inner {
    /// A repository for a job that works on it.
    pub(in crate::work) async fn home(&self, application: &AppName, repo: &GitRepoName) -> StepResult<Home> {
        let place = patiently(|| self.svc.git_repo_for_work(application, repo)).await;
        let place = place.map_err(|error| unusable(&error))?;
        place.must_be_ready(repo).map_err(|error| unusable(&error))?;
        match (self.local(&place), place.host) {
            (Some(repository), _) => Ok(Home::Own(repository)),
            (None, Some(host)) => {
                let message = format!("git repository `{repo}` is on the disk of host {host}, and not on this one");
                Err(JobError::new(JobErrorCode::GitFailed, message))
            }
            (None, None) => Ok(Home::Mirror(self.mirror(application, repo, place))),
        }
    }

    pub(super) fn mirror(&self, application: &AppName, repo: &GitRepoName, place: GitRepoPlace) -> Mirror {
        let path = self.upstreams.directory.join(Upstreams::name(application, repo, &place.uri));
        let repository = Repository::at(self.git.clone(), path);
        Mirror { repository, application: application.clone(), name: repo.clone(), place }
    }

    /// Keeps others on this host from working on the copy. What is on this host's disk only has the job's lock.
    pub(super) async fn turn(&self, home: &Home) -> Option<OwnedMutexGuard<()>> {
        match home {
            Home::Own(_) => None,
            Home::Mirror(mirror) => Some(self.upstreams.turn(mirror.repository.path()).await),
        }
    }

    /// Brings a branch to what it is upstream, where others keep the repository. The caller has the turn.
    pub(super) async fn fetch(&self, home: &Home, branch: &str) -> StepResult<()> {
        let Home::Mirror(mirror) = home else { return Ok(()) };
        mirror.repository.make(FIRST_BRANCH).await.map_err(failed)?;
        mirror.repository.clean().await.map_err(failed)?;
        let reached = self.reach(mirror).await?;
        let fetched = mirror.repository.fetch(&reached.upstream, branch, WITHIN).await;
        fetched.map_err(failed)?;
        self.keep_host_key(mirror, &reached).await
    }

    /// Makes sure that a repository can be read, before servers are sent there.
    pub(in crate::work) async fn contact(&self, mirror: &Mirror) -> StepResult<()> {
        let reached = self.reach(mirror).await?;
        mirror.repository.contact(&reached.upstream).await.map_err(failed)?;
        self.keep_host_key(mirror, &reached).await
    }

    /// Pushes a commit. It is there when this returns, also where it was there before.
    pub(super) async fn push(&self, mirror: &Mirror, branch: &str, commit: &CommitId) -> StepResult<()> {
        let reached = self.reach(mirror).await?;
        let repository = &mirror.repository;
        match repository.push(&reached.upstream, branch, commit, WITHIN).await {
            Err(GitError::Moved { .. }) => {}
            pushed => return pushed.map_err(failed),
        }
        // An earlier try may have pushed it, and somebody else something after it.
        let tip = repository.fetch(&reached.upstream, branch, WITHIN).await.map_err(failed)?;
        match tip {
            Some(tip) if repository.contains(&tip, commit).await.map_err(failed)? => Ok(()),
            Some(_) | None => Err(moved(branch)),
        }
    }

    /// What a repository is reached with now.
    async fn reach(&self, mirror: &Mirror) -> StepResult<Reached> {
        let Mirror { application, place: GitRepoPlace { uri, host_key, .. }, .. } = mirror;
        let Some((host, port)) = uri.server() else {
            return Err(unreachable("its URI is a path on another machine"));
        };
        let permit = Arc::clone(&self.upstreams.permits).acquire_owned().await;
        let permit = permit.map_err(|_| unreachable("this server stops"))?;
        let permit = RequestPermit::new(format!("application {application}"), permit);
        let hosts = self.svc.git_hosts();
        let reach = Reach::PublicAnd(&hosts);
        let found = self.outbound.addresses(&host, port, reach, LOOKUP_WITHIN, &permit).await;
        let address = found.map_err(unreachable)?.first().copied();
        let address: IpAddr = address.ok_or_else(|| unreachable("its host has no address"))?;
        if uri.is_ssh() {
            let keys = self.keys_of(mirror).await?;
            let ssh = LentSsh::new(address, host_key.as_deref(), keys.as_ref()).await.map_err(unreachable)?;
            let upstream = Upstream::by_ssh(uri.as_str(), ssh.command());
            return Ok(Reached { upstream, ssh: Some(ssh) });
        }
        let url = uri.url().ok_or_else(|| unreachable("its URI is not a URL"))?;
        if url.scheme() == "git" {
            return Ok(Reached { upstream: Upstream::by_git((&host, port, address), url.path()), ssh: None });
        }
        let authorization = self
            .login_of(mirror)
            .await?
            .map(|(username, password)| format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))));
        let authorities = self.upstreams.authorities.as_deref();
        let upstream = Upstream::by_http(uri.as_str(), (&host, port, address), authorization.as_deref(), authorities);
        Ok(Reached { upstream, ssh: None })
    }

    /// The keypair that a repository is reached with.
    pub(in crate::work) async fn keys_of(&self, mirror: &Mirror) -> StepResult<Option<SshKeys>> {
        let Some(name) = &mirror.place.keypair else { return Ok(None) };
        let keys = patiently(|| self.svc.unsealed_keypair(name)).await.map_err(|error| unusable(&error))?;
        Ok(Some(SshKeys { private: keys.private, public: keys.public }))
    }

    /// The username and the password that a repository is reached with over HTTPS; over HTTP only within the operator's
    /// network.
    pub(in crate::work) async fn login_of(&self, mirror: &Mirror) -> StepResult<Option<(String, String)>> {
        let GitRepoPlace { uri, gitprovider: Some(provider), .. } = &mirror.place else { return Ok(None) };
        let access = patiently(|| self.svc.provider_access(provider)).await.map_err(|error| unusable(&error))?;
        let Some((username, password)) = access.login() else { return Ok(None) };
        if uri.as_str().starts_with("http:") && !is_inside(uri.as_str(), &self.svc.git_hosts()) {
            return Err(unreachable("credentials are sent by `https` only; change its `uri`"));
        }
        Ok(Some((username.to_owned(), password.to_owned())))
    }

    /// Keeps the key that an SSH host has shown at its first contact. Where somebody else was faster with another one,
    /// nothing that came is used.
    async fn keep_host_key(&self, mirror: &Mirror, reached: &Reached) -> StepResult<()> {
        let Some(key) = reached.ssh.as_ref().and_then(LentSsh::shown_key) else { return Ok(()) };
        let Mirror { application, name, place, .. } = mirror;
        let kept = patiently(|| self.svc.pin_git_host_key(application, name, &place.uri, &key)).await;
        match kept.map_err(|error| unusable(&error))? == key {
            true => Ok(()),
            false => Err(unreachable("its SSH host has shown two keys at its first contact")),
        }
    }
}

impl Mirror {
    /// Where it is, and what it is reached with.
    pub(in crate::work) fn place(&self) -> &GitRepoPlace {
        &self.place
    }
}

/// The certificate authorities of the machine, and those of a file, in one file: git takes one.
///
/// # Errors
/// If a file cannot be read or written.
pub fn joined_authorities(file: &Path, git: &Path) -> std::io::Result<PathBuf> {
    const OF_MACHINES: [&str; 3] =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    let own = std::fs::read(file)?;
    let mut all = OF_MACHINES.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
    all.push(b'\n');
    all.extend(own);
    std::fs::create_dir_all(git)?;
    let joined = git.join("authorities.pem");
    std::fs::write(&joined, all)?;
    Ok(joined)
}

pub(super) fn moved(branch: &str) -> JobError {
    let message = format!(
        "somebody else has changed the branch `{branch}` after it was fetched and before it was pushed; nothing was \
         pushed. Commit the build again"
    );
    JobError::new(JobErrorCode::BranchMoved, message)
}

fn unreachable(why: impl std::fmt::Display) -> JobError {
    JobError::new(JobErrorCode::GitUnreachable, format!("the git repository cannot be reached: {why}"))
}

pub(super) fn unusable(error: &Error) -> JobError {
    match error {
        Error::NotFound { .. } => JobError::new(JobErrorCode::NotFound, error.to_string()),
        Error::Conflict { reason } => JobError::new(JobErrorCode::Conflict, reason.as_str()),
        fault => JobError::internal("a git repository cannot be worked on because of an internal error", fault),
    }
}

impl Upstreams {
    /// Removes the copies of repositories that are no longer among these.
    pub(in crate::work) async fn remove_others(&self, git: &Git, kept: &[String]) -> Result<usize, GitError> {
        let mut entries = match tokio::fs::read_dir(&self.directory).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        let mut removed = 0;
        while let Some(entry) = entries.next_entry().await? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".git") && !kept.contains(&name) {
                let _turn = self.turn(&entry.path()).await;
                Repository::at(git.clone(), entry.path()).remove().await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
