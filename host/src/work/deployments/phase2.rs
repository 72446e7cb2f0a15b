//! Phase 2: servers pull what was committed, batch by batch.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::Deploying;
use super::ending::{must_go_on, with_who};
use crate::datasvc::{
    Batch, CommandTarget, DeployedCommit, DeploymentPlan, Gitdeploy, GitdeployName, JobError, JobErrorCode, ServerName,
    Target, TargetOutcome, TargetState, patiently,
};
use crate::engine::StepResult;
use crate::work::gitdeploys::servers::{Known, OnEach, OnServer, Pulled, Task, not_recorded};
use crate::work::hooks::Fired;

/// How many gitdeploys on servers are worked on at a time.
const TARGETS_AT_A_TIME: usize = 32;
/// How many servers a message names.
const MAX_NAMED: usize = 5;

/// What all targets came to.
#[derive(Default)]
pub(super) struct Worked {
    /// Those that failed, as the job's error names them.
    pub(super) failure: Option<JobError>,
}

/// The servers so far.
#[derive(Default)]
struct Servers {
    /// Something was done there.
    reached: BTreeSet<ServerName>,
    /// They did not answer, and are left out.
    unreached: BTreeSet<ServerName>,
    /// Something failed there: the first thing that did.
    failed: BTreeMap<ServerName, String>,
    succeeded: bool,
}

/// Works through the batches. `fired` gets what the hooks came to.
pub(super) async fn work(
    deploying: &Deploying<'_>,
    plan: &DeploymentPlan,
    gitdeploys: &BTreeMap<GitdeployName, Gitdeploy>,
    commits: &[DeployedCommit],
    fired: &mut Vec<Fired>,
) -> StepResult<Worked> {
    let (run, journal, asked) = (deploying.run, deploying.journal, deploying.asked);
    let (mut servers, count) = (Servers::default(), plan.batches.len());
    for (number, batch) in plan.batches.iter().enumerate() {
        let told = format!("batch {} of {count}", number + 1);
        must_go_on(deploying, &format!("check before batch {}", number + 1), &batch.servers).await?;
        if let Some(hooks) = &deploying.hooks {
            let fired_now = hooks.begin(deploying, plan, number).await;
            let failure = fired_now.iter().find_map(Fired::failure).cloned();
            fired.extend(fired_now);
            if let Some(failure) = failure {
                let message = format!(
                    "a hook AUTO_DEPLOYMENT_BATCH_BEGIN failed, so that {told} has not begun: {}",
                    failure.message
                );
                return Err(JobError::new(JobErrorCode::HookFailed, message));
            }
        }
        let begun = patiently(|| deploying.kind.work.0.svc.begin_batch(&run.claim, number, &told)).await;
        begun.map_err(|error| not_recorded(&error))?;
        run.note(&json!({ "status": "batch", "batch": number + 1, "batches": count, "servers": batch.servers.len() }));
        {
            let _lent = run.lend_slot();
            let known = Known::of(&deploying.kind.work, run, Some(&plan.build_name), &batch.targets).await?;
            let pulling = Pulling { deploying, gitdeploys, commits, plan, known };
            pulling.batch(number, batch, &mut servers).await?;
        }
        let allowed = usize::try_from(asked.options.max_failures).unwrap_or(usize::MAX);
        if servers.failed.len() > allowed {
            return Err(servers.failure(&told, number + 1 < count));
        }
        if let Some(hooks) = &deploying.hooks {
            fired.extend(hooks.done(deploying, plan, number).await);
        }
        let pause = asked.options.pause_after(batch);
        if number + 1 < count && pause > 0 {
            deploying.is_on(&format!("pause of {pause} seconds after {told}")).await?;
            let _lent = run.lend_slot();
            let step = format!("pause after batch {}", number + 1);
            let pausing = journal.pause(&step, Duration::from_secs(pause.into()));
            if let Err(failure) = pausing.await {
                return Err(with_who(deploying, failure).await);
            }
        }
    }
    let failure = match servers {
        Servers { ref failed, .. } if !failed.is_empty() => Some(servers.failure("all batches", false)),
        Servers { succeeded: false, .. } => {
            let message = "no server was reached, so that nothing was deployed";
            Some(JobError::new(JobErrorCode::ServersFailed, message))
        }
        _ => None,
    };
    Ok(Worked { failure })
}

/// The gitdeploys as they were when the deployment began.
pub(super) async fn gitdeploys(
    deploying: &Deploying<'_>,
    plan: &DeploymentPlan,
) -> StepResult<BTreeMap<GitdeployName, Gitdeploy>> {
    let svc = &deploying.kind.work.0.svc;
    let mut found = BTreeMap::new();
    for planned in &plan.gitdeploys {
        let read = patiently(|| svc.gitdeploy_for_work(deploying.application, &planned.name)).await;
        match read {
            Ok(gitdeploy) => {
                let (options, actions) = (planned.options.clone(), planned.actions.clone());
                found.insert(planned.name.clone(), Gitdeploy { options, actions, ..gitdeploy });
            }
            // Its targets say so.
            Err(crate::datasvc::Error::NotFound { .. }) => {}
            Err(problem) => return Err(not_recorded(&problem)),
        }
    }
    Ok(found)
}

impl Servers {
    fn failure(&self, told: &str, stops: bool) -> JobError {
        let named: Vec<_> = self.failed.keys().take(MAX_NAMED).map(|server| format!("`{server}`")).collect();
        let more = self.failed.len().saturating_sub(named.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let first = self.failed.values().next().map(String::as_str).unwrap_or_default();
        let rest = if stops { "; later batches were not begun" } else { "" };
        let message = format!("{} failed in {told}{rest}: {first}", named.join(", ") + &more);
        JobError::new(JobErrorCode::ServersFailed, message)
    }
}

/// A batch that is being worked on.
struct Pulling<'a> {
    deploying: &'a Deploying<'a>,
    plan: &'a DeploymentPlan,
    gitdeploys: &'a BTreeMap<GitdeployName, Gitdeploy>,
    commits: &'a [DeployedCommit],
    known: Known,
}

impl Pulling<'_> {
    /// Brings all servers of a batch to the commits. What fails on one does not keep others from being finished.
    async fn batch(&self, number: usize, batch: &Batch, servers: &mut Servers) -> StepResult<()> {
        let svc = &self.deploying.kind.work.0.svc;
        let found = patiently(|| svc.targets_for_work(&batch.servers)).await;
        let found: Vec<CommandTarget> = found.map_err(|error| not_recorded(&error))?;
        let found: BTreeMap<_, _> = found.iter().map(|target| (&target.name, target)).collect();
        let (known, reachable) = (&*servers, &found);
        let working = stream::iter(batch.targets.clone()).map(|target| async move {
            if let Some(left_out) = self.left_out(known, &target) {
                self.end(number, &target, &left_out).await?;
                return Ok((target, None));
            }
            let on_server = match reachable.get(&target.server) {
                Some(server) => self.pull(server, &target).await?,
                None => OnServer::refused("gone", "the server was removed, or has another name now"),
            };
            if !on_server.is_unreached {
                self.end(number, &target, &outcome(&on_server)).await?;
            }
            Ok((target, Some(on_server)))
        });
        let ended: Vec<StepResult<(Target, Option<OnServer>)>> =
            working.buffer_unordered(TARGETS_AT_A_TIME).collect().await;
        let ended = ended.into_iter().collect::<StepResult<Vec<_>>>()?;
        for (target, on_server) in &ended {
            let Some(on_server) = on_server.as_ref().filter(|on_server| !on_server.is_unreached) else { continue };
            servers.reached.insert(target.server.clone());
            servers.succeeded |= on_server.is_ok();
            if !on_server.is_ok() {
                servers.fail(target, on_server);
            }
        }
        for (target, on_server) in &ended {
            let Some(on_server) = on_server.as_ref().filter(|on_server| on_server.is_unreached) else { continue };
            let skips = self.deploying.asked.options.skip_unreachable && !servers.reached.contains(&target.server);
            if skips {
                servers.unreached.insert(target.server.clone());
                let skipped = TargetOutcome { state: TargetState::Skipped, ..outcome(on_server) };
                self.end(number, target, &skipped).await?;
            } else {
                servers.fail(target, on_server);
                self.end(number, target, &outcome(on_server)).await?;
            }
        }
        Ok(())
    }

    /// What is not tried on a server after what has happened there in earlier batches.
    fn left_out(&self, servers: &Servers, target: &Target) -> Option<TargetOutcome> {
        let (code, message) = if servers.unreached.contains(&target.server) {
            ("no-response", "the server did not answer in an earlier batch")
        } else if servers.failed.contains_key(&target.server) {
            ("failed-before", "an earlier batch has failed on this server")
        } else {
            return None;
        };
        let (code, message) = (Some(code.to_owned()), Some(message.to_owned()));
        Some(TargetOutcome { state: TargetState::Skipped, code, message, head: None })
    }

    async fn pull(&self, server: &CommandTarget, target: &Target) -> StepResult<OnServer> {
        let (kind, run, journal) = (self.deploying.kind, self.deploying.run, self.deploying.journal);
        let Some(gitdeploy) = self.gitdeploys.get(&target.gitdeploy) else {
            return Ok(OnServer::refused("gone", format!("gitdeploy `{}` was removed", target.gitdeploy)));
        };
        let location = &gitdeploy.location;
        let made =
            self.commits.iter().find(|made| made.gitrepo == location.gitrepo && made.branch == location.default_branch);
        let Some(made) = made else {
            return Ok(OnServer::refused("gone", "the gitdeploy has another git repository or another branch now"));
        };
        let mut planned = self.plan.commits.iter();
        let planned = planned.find(|planned| planned.gitrepo == made.gitrepo && planned.branch == made.branch);
        let pulled = Pulled {
            commit: made.commit.clone(),
            build: Some(self.plan.build_name.clone()),
            package: planned.map(|planned| planned.package.clone()),
        };
        let steps_of = format!("{} on ", target.gitdeploy);
        let task = Task::Pull(pulled.clone());
        let each = OnEach { work: &kind.work, run, journal, gitdeploy, task, steps_of: &steps_of, stops: false };
        each.pull(server, &pulled, &self.known).await
    }

    /// Records what a target came to, and says so in the log.
    async fn end(&self, number: usize, target: &Target, outcome: &TargetOutcome) -> StepResult<()> {
        let (kind, run) = (self.deploying.kind, self.deploying.run);
        let recorded = patiently(|| kind.work.0.svc.end_target(&run.claim, target, outcome)).await;
        recorded.map_err(|error| not_recorded(&error))?;
        let TargetOutcome { state, code, message, head } = outcome;
        run.note(&json!({
            "status": state, "batch": number + 1, "server": target.server, "gitdeploy": target.gitdeploy,
            "code": code, "message": message, "head": head,
        }));
        Ok(())
    }
}

impl Servers {
    fn fail(&mut self, target: &Target, on_server: &OnServer) {
        let why = on_server.message.as_deref().unwrap_or_default();
        let told = format!("gitdeploy `{}`: {why}", target.gitdeploy);
        self.failed.entry(target.server.clone()).or_insert(told);
    }
}

fn outcome(on_server: &OnServer) -> TargetOutcome {
    TargetOutcome {
        state: if on_server.is_ok() { TargetState::Succeeded } else { TargetState::Failed },
        code: on_server.code.clone(),
        message: on_server.message.clone(),
        head: on_server.head.clone(),
    }
}
