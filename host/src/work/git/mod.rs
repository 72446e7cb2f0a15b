//! Git repositories: made and removed by jobs, committed to, read and served.

mod adopt;
mod bringing;
pub(in crate::work) mod commits;
mod history;
mod providers;
pub(in crate::work) mod repos;
mod serve;
pub(in crate::work) mod sweep;
pub(in crate::work) mod trees;
pub(in crate::work) mod turn;
pub(in crate::work) mod upstream;

pub use self::adopt::adopt_repositories;
pub use self::history::{CommitsAsked, Compared};
pub(in crate::work) use self::serve::Places;
pub use self::serve::{GitReader, ServeError, ServedPart, ServedRepository};
pub use self::upstream::joined_authorities;

use super::Inner;
use crate::datasvc::{AppName, GitRepoName, GitRepoPlace, JobError, JobErrorCode};
use crate::git::{GitError, Repository};
use crate::remote::{Reach, Target};

impl Inner {
    /// Where a server clones a repository from.
    ///
    /// # Errors
    /// Why it cannot, and what to do.
    pub(in crate::work) fn url_for(
        &self,
        target: &Target,
        app: &AppName,
        repo: &GitRepoName,
        place: &GitRepoPlace,
    ) -> Result<String, String> {
        if place.host.is_none() {
            let has_secret = place.uri.is_ssh() || place.gitprovider.is_some();
            if has_secret && self.addresses.public.is_none() && matches!(target.reach, Reach::Salt { .. }) {
                let why = "servers of the driver `salt` fetch what they read the repository with from this one; start \
                           it with --public-url";
                return Err(why.into());
            }
            return Ok(place.uri.to_string());
        }
        let base = match (&self.addresses.public, &target.reach, &self.addresses.here) {
            (Some(public), _, _) => public.trim_end_matches('/'),
            (None, Reach::Local, Some(here)) => here,
            (None, ..) => {
                return Err("servers need an address at which they reach this one; start it with --public-url".into());
            }
        };
        Ok(format!("{base}/git/{app}/{repo}.git"))
    }

    /// A repository on this host's disk.
    fn local(&self, place: &GitRepoPlace) -> Option<Repository> {
        if place.host != Some(self.git_home.host) {
            return None;
        }
        Some(Repository::at(self.git.clone(), place.uri.path_on_host()?))
    }
}

/// Where servers reach this one.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// From everywhere, by the operator's word.
    pub public: Option<String>,
    /// From this machine itself.
    pub here: Option<String>,
}

/// Why a job that works with git fails, for whoever asked for it; what is the machine's fault is logged and not shown.
pub(in crate::work) fn failed(error: GitError) -> JobError {
    match error {
        GitError::Refused(why) => JobError::new(JobErrorCode::GitRefused, why),
        GitError::Upstream(why) => JobError::new(JobErrorCode::GitUnreachable, why),
        GitError::PushRefused { .. } => JobError::new(JobErrorCode::PushRefused, error.to_string()),
        full @ GitError::Full { .. } => {
            tracing::error!("{full}");
            let shown = "the server has no room for the files of git repositories; make room, and ask for it again";
            JobError::new(JobErrorCode::StorageFull, shown)
        }
        GitError::Moved { .. } => JobError::new(JobErrorCode::BranchMoved, error.to_string()),
        GitError::Gone | GitError::NoCommit(_) | GitError::TimedOut { .. } | GitError::TooOld(_) => {
            JobError::new(JobErrorCode::GitFailed, error.to_string())
        }
        fault @ (GitError::Missing(_)
        | GitError::Failed { .. }
        | GitError::TooMuch { .. }
        | GitError::Unexpected { .. }
        | GitError::Io(_)) => {
            let shown = JobError::new(JobErrorCode::GitFailed, "git failed on the server; the server's log says why");
            tracing::error!("git failed: {fault}");
            shown
        }
    }
}

/// As a part of a URL.
pub(in crate::work) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}
