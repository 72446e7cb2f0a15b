//! Old builds are removed: by a job that somebody asks for, or that the server makes by an application's own rule.
//!
//! A job looks at all builds, the newest first, and removes those that nothing keeps, some at a time. What it has removed
//! is in the audit: a job that another server goes on with tells of that, too.

use std::time::Duration;

use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::sync::watch;
use tracing::{info, warn};

use super::Work;
use crate::datasvc::{
    AppName, BuildName, BuildRetention, Caller, Digest, Enqueued, Error, JobError, JobErrorCode, JobLane, Json,
    JudgedBuild, Judging, Outcome, PRUNE, Permission, Prune, Result, patiently,
};
use crate::engine::{Kind, Run, StepResult, jittered};

/// How long such a job may take.
const TIME: Duration = Duration::from_secs(24 * 3600);
/// How many builds are removed by one transaction.
const REMOVED_AT_ONCE: usize = 50;
/// How many builds of each list are told in the result.
const TOLD: usize = 1000;

impl Work {
    /// Makes the job that removes builds.
    ///
    /// # Errors
    /// Those of [`DataSvc::enqueue_prune`](crate::datasvc::DataSvc::enqueue_prune).
    pub async fn submit_prune(
        &self,
        caller: &Caller,
        application: &AppName,
        prune: Prune,
        idempotency: Option<(String, Digest)>,
    ) -> Result<Enqueued> {
        let enqueued = self.0.svc.enqueue_prune(caller, application, prune, TIME, idempotency).await?;
        self.0.engine.tell_queued();
        Ok(enqueued)
    }
}

/// Makes jobs by the rules of applications, so often, until the server stops.
pub async fn apply_rules(work: Work, every: Duration, mut stop: watch::Receiver<bool>) {
    let applying = async {
        loop {
            tokio::time::sleep(jittered(every)).await;
            match work.0.svc.enqueue_prunes_by_rule(TIME).await {
                Ok(0) => {}
                Ok(jobs) => {
                    info!("{jobs} jobs remove old builds, by the rules of their applications");
                    work.0.engine.tell_queued();
                }
                Err(problem) => warn!("the rules for old builds could not be applied: {problem}"),
            }
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = applying => {}
    }
}

/// The kind of work that removes builds.
pub(super) struct Prunes(pub(super) Work);

impl Kind for Prunes {
    const NAME: &'static str = PRUNE;

    type Asked = Prune;

    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()> {
        caller.require(Permission::Write, lane.application()?)
    }

    async fn run(&self, run: &Run, Prune { rule, dry_run }: Prune) -> Outcome {
        let job = Job { work: &self.0, run, rule };
        let pruned = tokio::select! {
            pruned = tokio::time::timeout(run.claim.timeout, job.prune(dry_run)) => pruned.unwrap_or_else(|_| {
                Err(JobError::new(JobErrorCode::TimedOut, "not all builds were looked at in time"))
            }),
            () = run.cancel.requested() => Err(JobError::cancelled("someone")),
        };
        match pruned {
            Ok(result) => Outcome::Succeeded(result),
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

/// A job, as its run works with it.
struct Job<'a> {
    work: &'a Work,
    run: &'a Run,
    rule: BuildRetention,
}

/// What has become of the builds.
#[derive(Default)]
struct Told {
    removable: Vec<BuildName>,
    bytes: u64,
    kept: Vec<serde_json::Value>,
    kept_count: usize,
}

impl Job<'_> {
    /// The job's result.
    async fn prune(&self, dry_run: bool) -> StepResult<Json> {
        let mut told = self.judge().await?;
        let mut removed = std::mem::take(&mut told.removable);
        if !dry_run {
            // The oldest first, so that a job that is stopped leaves the newer ones.
            removed.reverse();
            for some in removed.chunks(REMOVED_AT_ONCE) {
                self.remove(some).await?;
            }
            let done = patiently(|| self.work.0.svc.pruned_builds(self.run.claim.job_id)).await;
            let done = done.map_err(|error| internal(&error))?;
            if removed.iter().any(|build| done.iter().all(|done| done.build != *build)) {
                // Some were needed after all: by what?
                told = self.judge().await?;
            }
            told.bytes = done.iter().map(|build| build.bytes).fold(0, u64::saturating_add);
            removed = done.into_iter().map(|build| build.build).collect();
        }
        let result = json!({
            "dry_run": dry_run,
            "removed": removed.iter().take(TOLD).collect::<Vec<_>>(),
            "removed_count": removed.len(),
            "removed_bytes": told.bytes,
            "kept": told.kept,
            "kept_count": told.kept_count,
        });
        to_raw_value(&result).map_err(|error| internal(&error))
    }

    /// Looks at all builds, the newest first.
    async fn judge(&self) -> StepResult<Told> {
        let application = self.run.claim.application().map_err(|error| internal(&error))?;
        let (mut judging, mut told) = (Judging::default(), Told::default());
        loop {
            let judged = patiently(|| self.work.0.svc.judge_builds(application, self.rule, &judging)).await;
            let (judged, further) = judged.map_err(|error| internal(&error))?;
            if judged.is_empty() {
                return Ok(told);
            }
            judging = further;
            judged.into_iter().for_each(|build| told.add(build));
        }
    }

    /// Removes some builds, and then their files: files that are left without a row are orphaned, and removed later.
    async fn remove(&self, builds: &[BuildName]) -> StepResult<()> {
        let removing = patiently(|| self.work.0.svc.prune_builds(&self.run.claim, self.rule, builds)).await;
        let uploads = removing.map_err(|error| match error {
            Error::Conflict { reason } => JobError::new(JobErrorCode::Conflict, reason),
            problem => internal(&problem),
        })?;
        self.work.0.remove_unused_files(&uploads).await;
        self.run.note(&json!({ "status": "removing", "builds": builds }));
        Ok(())
    }
}

impl Told {
    fn add(&mut self, JudgedBuild { build, bytes, reasons, held_by, more_holders }: JudgedBuild) {
        if reasons.is_empty() {
            self.removable.push(build);
            self.bytes = self.bytes.saturating_add(bytes);
            return;
        }
        self.kept_count += 1;
        if self.kept.len() >= TOLD {
            return;
        }
        let mut kept = json!({ "build": build, "reasons": reasons });
        if !held_by.is_empty() {
            kept["held_by"] = json!(held_by);
        }
        if more_holders > 0 {
            kept["more_holders"] = json!(more_holders);
        }
        self.kept.push(kept);
    }
}

/// A fault of the service, which is logged here and not shown.
fn internal(cause: &(dyn std::error::Error + 'static)) -> JobError {
    JobError::internal("builds could not be removed because of an internal error", cause)
}
