//! A repository's lock: one job at a time works on a repository, on whatever host. It goes with the job: where the
//! host dies, the job takes it along to another one, and no other job commits in between.

use std::time::Duration;

use serde_json::json;
use tracing::warn;

use crate::datasvc::{Error, GitRepoLock, GitRepoName, JobError, JobErrorCode, patiently};
use crate::engine::{Run, StepResult};
use crate::work::Inner;

/// How often a repository is asked for that another job has.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// A repository that a job has for itself, until it gives it back or ends.
pub(in crate::work) struct RepoTurn<'a> {
    work: &'a Inner,
    run: &'a Run,
    repo: GitRepoName,
}

impl<'a> RepoTurn<'a> {
    /// Waits until no other job has the repository; the log says which one has.
    pub(in crate::work) async fn take(work: &'a Inner, run: &'a Run, repo: &GitRepoName) -> StepResult<Self> {
        let mut told = None;
        let _lent = run.lend_slot();
        loop {
            let locked = patiently(|| work.svc.lock_git_repo(&run.claim, repo)).await;
            match locked.map_err(|error| not_locked(&error))? {
                GitRepoLock::Taken => return Ok(Self { work, run, repo: repo.clone() }),
                GitRepoLock::HeldBy { job, name } => {
                    if told != Some(job) {
                        let message = format!("waits for job {job} (`{name}`), which works on git repository `{repo}`");
                        run.note(&json!({ "status": "waiting", "message": message, "waits_for": job }));
                        told = Some(job);
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_AGAIN) => {}
                () = run.cancel.requested() => return Err(JobError::cancelled("someone")),
            }
        }
    }

    /// Lets others have it.
    pub(in crate::work) async fn give_back(self) {
        if let Err(problem) = patiently(|| self.work.svc.unlock_git_repo(&self.run.claim, &self.repo)).await {
            // It is free as soon as the job has ended.
            warn!("a git repository was not given back early: {problem}");
        }
    }
}

fn not_locked(error: &Error) -> JobError {
    match error {
        Error::NotFound { .. } => JobError::new(JobErrorCode::NotFound, error.to_string()),
        Error::Conflict { reason } => JobError::new(JobErrorCode::Conflict, reason.as_str()),
        fault => JobError::internal("a git repository could not be locked", fault),
    }
}
