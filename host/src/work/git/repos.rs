//! The kind of work that makes git repositories at their providers, and removes them there.

use serde_json::json;
use serde_json::value::to_raw_value;
use tracing::warn;

use super::failed;
use super::providers::ProviderApi;
use crate::datasvc::{
    AppName, Caller, Claim, Enqueued, Error, Expected, GIT_REPO, GitRepo, GitRepoName, GitRepoState, GitRepoWork,
    GitUri, JobError, JobErrorCode, JobId, JobLane, JobStatus, Json, NewGitRepo, Outcome, Permission, Result,
    patiently,
};
use crate::engine::{Kind, Run, StepResult};
use crate::git::Repository;
use crate::work::Work;

/// The branch that a new repository begins with.
pub(super) const FIRST_BRANCH: &str = "master";

/// The kind of work.
pub(in crate::work) struct GitRepos(pub(in crate::work) Work);

impl Kind for GitRepos {
    const NAME: &'static str = GIT_REPO;

    type Asked = GitRepoWork;

    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()> {
        caller.require(Permission::Write, lane.application()?)
    }

    async fn run(&self, run: &Run, asked: GitRepoWork) -> Outcome {
        match self.work(run, asked).await {
            Ok(result) => Outcome::Succeeded(result),
            Err(failure) => Outcome::Failed(failure),
        }
    }

    async fn give_up(&self, claim: &Claim) {
        let asked: std::result::Result<GitRepoWork, _> = serde_json::from_str(claim.data.get());
        let state = match asked {
            Ok(GitRepoWork::Remove { .. }) => GitRepoState::Ready,
            Ok(GitRepoWork::Create { .. }) | Err(_) => GitRepoState::Failed,
        };
        if let Err(problem) = patiently(|| self.0.0.svc.settle_git_repo(claim, state)).await {
            warn!("what became of a git repository was not recorded: {problem}");
        }
    }

    async fn forget(&self, job: JobId) {
        if let Err(problem) = patiently(|| self.0.0.svc.unsettle_git_repo(job)).await {
            warn!("what became of a git repository was not recorded: {problem}");
        }
    }
}

impl GitRepos {
    async fn work(&self, run: &Run, asked: GitRepoWork) -> StepResult<Json> {
        let (journal, svc) = (run.journal().await?, &self.0.0.svc);
        let (step, uri, provider) = match &asked {
            GitRepoWork::Create { uri, provider } => ("create", uri, provider),
            GitRepoWork::Remove { uri, provider } => ("remove", uri, provider),
        };
        let working = async {
            if let Some(provider) = provider {
                let api = ProviderApi::open(&self.0.0, provider, run).await?;
                return match &asked {
                    GitRepoWork::Create { .. } => api.create(uri).await,
                    GitRepoWork::Remove { .. } => api.remove(uri).await,
                };
            }
            let repository = self.repository(uri)?;
            let done = match &asked {
                GitRepoWork::Create { .. } => repository.make(FIRST_BRANCH).await,
                GitRepoWork::Remove { .. } => repository.remove().await,
            };
            done.map_err(failed)
        };
        journal.repeatable(step, working).await?;
        let recording = async {
            match &asked {
                GitRepoWork::Create { .. } => svc.settle_git_repo(&run.claim, GitRepoState::Ready).await,
                GitRepoWork::Remove { .. } => svc.forget_git_repo(&run.claim).await,
            }
        };
        recording.await.map_err(|error| not_recorded(&error))?;
        to_raw_value(&json!({ "gitrepo": run.claim.name, "uri": uri }))
            .map_err(|error| JobError::internal("a result is not JSON", &error))
    }

    fn repository(&self, uri: &GitUri) -> StepResult<Repository> {
        let path = uri.path_on_host();
        let path =
            path.ok_or_else(|| JobError::new(JobErrorCode::GitFailed, "the repository is not on this server"))?;
        Ok(Repository::at(self.0.0.git.clone(), path))
    }
}

fn not_recorded(error: &Error) -> JobError {
    match error {
        Error::Conflict { reason } => JobError::new(JobErrorCode::Conflict, reason.as_str()),
        fault => JobError::internal("what became of a git repository was not recorded", fault),
    }
}

impl Work {
    /// Registers a git repository: one that exists already, or one that a job makes.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::create_git_repo`].
    pub async fn create_git_repo(&self, caller: &Caller, application: &AppName, new: &NewGitRepo) -> Result<GitRepo> {
        let repo = self.0.svc.create_git_repo(caller, application, new).await?;
        if repo.job_id.is_some() {
            self.0.engine.tell_queued();
        }
        Ok(repo)
    }

    /// Removes a git repository; `at_provider` also what is in it, by the job that is returned.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::delete_git_repo`].
    pub async fn delete_git_repo(
        &self,
        caller: &Caller,
        application: &AppName,
        name: &GitRepoName,
        at_provider: bool,
        expected: &Expected,
    ) -> Result<Option<Enqueued>> {
        let job = self.0.svc.delete_git_repo(caller, application, name, at_provider, expected).await?;
        let removing = job.map(|job_id| Enqueued { job_id, status: JobStatus::Queued, claim: None });
        if removing.is_some() {
            self.0.engine.tell_queued();
        }
        Ok(removing)
    }
}
