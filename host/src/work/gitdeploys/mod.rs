//! Gitdeploys: the kind of work that commits packages for them, and works on their copies on servers.

mod access;
mod drift;
pub(in crate::work) mod servers;

use std::time::Duration;

use serde_json::json;
use serde_json::value::to_raw_value;

use self::servers::{OnEach, OnServers, Pulled, Task, not_recorded, some_failed, succeeded};
use super::Work;
use super::git::commits::{Commits, Committed, PackageCommit};
use super::git::turn::RepoTurn;
use super::hooks::{Fired, Hooks, PlannedHook};
use crate::datasvc::{
    AppName, BuildName, Caller, CommandTarget, Digest, Enqueued, Error, GITDEPLOY, Gitdeploy, GitdeployName,
    GitdeployWork, HostId, JobError, JobErrorCode, JobLane, Json, NewOwnJob, Outcome, PackageName, Parent, Permission,
    Result, ServerName, ServersAsked, patiently,
};
use crate::engine::{Journal, Kind, Run, StepResult};
use crate::remote::Os;

/// The hook that fires after a commit, before anybody else sees it.
pub(in crate::work) const GITDEPLOY_COMMIT_DIFF: &str = "GITDEPLOY_COMMIT_DIFF";

/// The hooks around work on servers, and what was done then.
struct Around {
    before: &'static str,
    after: &'static str,
    done: &'static str,
}

const INIT: Around = Around { before: "GITDEPLOY_INIT_PRE", after: "GITDEPLOY_INIT_POST", done: "initialized" };
const DEINIT: Around = Around { before: "GITDEPLOY_DEINIT_PRE", after: "GITDEPLOY_DEINIT_POST", done: "deinitialized" };

/// How long such a job may take.
const WITHIN: Duration = Duration::from_secs(4 * 3600);

impl Work {
    /// Makes a job that commits the package of a build to a gitdeploy's repository. The job is durable when this
    /// returns.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::gitdeploy_to_commit`]; [`Error::KeyReused`].
    pub async fn commit_gitdeploy(
        &self,
        caller: &Caller,
        application: &AppName,
        gitdeploy: &GitdeployName,
        build: &BuildName,
        idempotency: Option<(String, Digest)>,
    ) -> Result<Enqueued> {
        let svc = &self.0.svc;
        let found = svc.gitdeploy_to_commit(caller, application, gitdeploy, build).await?;
        let place = svc.git_repo_for_work(application, &found.location.gitrepo).await?;
        let asked = GitdeployWork::Commit { gitdeploy: gitdeploy.clone(), build_name: build.clone() };
        self.enqueue_gitdeploy(caller, &found, &asked, place.host, idempotency, None).await
    }

    /// Makes a job that works on a gitdeploy on servers. The job is durable when this returns.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::gitdeploy_on_servers`] and
    /// [`crate::datasvc::DataSvc::enqueue_initializing`];
    /// [`Error::Invalid`] if the repository is on another host than servers of the driver `local`, or if there is no
    /// address at which servers reach it; [`Error::KeyReused`].
    pub async fn gitdeploy_on_servers(
        &self,
        caller: &Caller,
        application: &AppName,
        gitdeploy: &GitdeployName,
        task: ServersTask,
        servers: &ServersAsked,
        origin: (Option<(String, Digest)>, Option<Parent>),
    ) -> Result<Enqueued> {
        let (svc, (idempotency, parent)) = (&self.0.svc, origin);
        if let Some(parent) = &parent {
            parent.check()?;
        }
        let (found, servers) = svc.gitdeploy_on_servers(caller, application, gitdeploy, servers).await?;
        let repo = &found.location.gitrepo;
        let place = svc.git_repo_for_work(application, repo).await?;
        let gitdeploy = gitdeploy.clone();
        let host = match task {
            ServersTask::Deinitialize => servers.host,
            ServersTask::Initialize | ServersTask::Pull => match (place.host, servers.host) {
                (Some(of_repo), Some(of_servers)) if of_repo != of_servers => {
                    let rule =
                        format!("git repository `{repo}` is on another host than these servers of the driver `local`");
                    return Err(Error::invalid("servers", rule));
                }
                (of_repo, of_servers) => of_repo.or(of_servers),
            },
        };
        let asked = match task {
            ServersTask::Initialize => {
                svc.may_hand_over(caller, &place).await?;
                for target in svc.targets_for_work(&servers.servers).await? {
                    let target = super::commands::target_of(&target);
                    let why = |why: String| Error::invalid("servers", format!("server `{}`: {why}", target.name));
                    self.0.remote.check(&target).map_err(|reason| why(reason.to_owned()))?;
                    if self.0.remote.known_system(&target).is_some_and(|system| system.os == Os::Windows) {
                        return Err(why("it runs Windows, and working copies are not made there".into()));
                    }
                    self.0.url_for(&target, application, repo, &place).map_err(why)?;
                }
                GitdeployWork::Initialize { gitdeploy, servers: servers.servers }
            }
            ServersTask::Deinitialize => GitdeployWork::Deinitialize { gitdeploy, servers: servers.servers },
            ServersTask::Pull => GitdeployWork::Pull { gitdeploy, servers: servers.servers },
        };
        self.enqueue_gitdeploy(caller, &found, &asked, host, idempotency, parent).await
    }

    async fn enqueue_gitdeploy(
        &self,
        caller: &Caller,
        gitdeploy: &Gitdeploy,
        asked: &GitdeployWork,
        bound_to: Option<HostId>,
        idempotency: Option<(String, Digest)>,
        parent: Option<Parent>,
    ) -> Result<Enqueued> {
        let job = NewOwnJob {
            job_id: self.0.svc.new_job_id(),
            kind: GITDEPLOY,
            name: gitdeploy.name.to_string(),
            application: gitdeploy.application.clone(),
            data: to_raw_value(asked).map_err(Error::internal)?,
            timeout: WITHIN,
            bound_to,
            parent,
            idempotency,
        };
        let enqueued = match asked {
            GitdeployWork::Initialize { servers, .. } => {
                self.0.svc.enqueue_initializing(caller, &job, gitdeploy, servers).await?
            }
            GitdeployWork::Commit { .. } | GitdeployWork::Deinitialize { .. } | GitdeployWork::Pull { .. } => {
                self.0.svc.enqueue_own(caller, &job).await?
            }
        };
        self.0.engine.tell_queued();
        Ok(enqueued)
    }
}

/// What is done with a gitdeploy on servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServersTask {
    /// A working copy is made on each.
    Initialize,
    /// It is removed from each.
    Deinitialize,
    /// It is brought to what was committed last.
    Pull,
}

/// The kind of work.
pub(super) struct Gitdeploys {
    pub(super) work: Work,
    pub(super) hooks: Hooks,
}

impl Kind for Gitdeploys {
    const NAME: &'static str = GITDEPLOY;

    type Asked = GitdeployWork;

    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()> {
        caller.require(Permission::Write, lane.application()?)
    }

    async fn run(&self, run: &Run, asked: GitdeployWork) -> Outcome {
        let worked = match asked {
            GitdeployWork::Commit { gitdeploy, build_name } => self.commit(run, &gitdeploy, build_name).await,
            GitdeployWork::Initialize { gitdeploy, servers } => {
                self.between_hooks(run, &gitdeploy, &servers, Task::Initialize, &INIT).await
            }
            GitdeployWork::Deinitialize { gitdeploy, servers } => {
                self.between_hooks(run, &gitdeploy, &servers, Task::Deinitialize, &DEINIT).await
            }
            GitdeployWork::Pull { gitdeploy, servers } => self.pull(run, &gitdeploy, &servers).await,
        };
        match worked {
            Ok(result) => Outcome::Succeeded(result),
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

impl Gitdeploys {
    /// From the package to the hooks that look at its commit.
    async fn commit(&self, run: &Run, name: &GitdeployName, build: BuildName) -> StepResult<Json> {
        let (work, journal) = (&self.work.0, run.journal().await?);
        let hook = self.hooks.plan(run, &journal, GITDEPLOY_COMMIT_DIFF).await?;
        let gitdeploy = self.settled(run, &journal, name).await?;
        let asked = PackageCommit {
            repo: gitdeploy.location.gitrepo.clone(),
            branch: gitdeploy.location.default_branch.clone(),
            build,
            package: gitdeploy.package.clone(),
            gitignore: gitdeploy.options.gitignore.clone(),
            gitdeploys: vec![name.clone()],
        };
        let turn = RepoTurn::take(work, run, &asked.repo).await?;
        let commits = Commits { work, run, journal: &journal };
        let committed = commits.commit(&asked).await?;
        let fired =
            tell_commit(&self.hooks, (run, &journal), &commits, (&asked, &[gitdeploy]), &hook, &committed).await?;
        commits.publish(&asked, &committed).await?;
        turn.give_back().await;
        let result = json!({
            "gitrepo": asked.repo,
            "branch": asked.branch,
            "build_name": asked.build,
            "package": asked.package,
            "commit": committed.commit,
            "is_new": committed.is_new,
            "hooks": fired,
        });
        to_raw_value(&result).map_err(|error| JobError::internal("a result is not JSON", &error))
    }

    /// Works on servers between two hooks. Where the first one fails, nothing is done; the second one hears of the servers
    /// on which it succeeded, if there are any.
    async fn between_hooks(
        &self,
        run: &Run,
        name: &GitdeployName,
        servers: &[ServerName],
        task: Task,
        around: &Around,
    ) -> StepResult<Json> {
        let journal = run.journal().await?;
        let before = self.hooks.plan(run, &journal, around.before).await?;
        let after = self.hooks.plan(run, &journal, around.after).await?;
        let gitdeploy = self.settled(run, &journal, name).await?;
        let targets = settled_targets(&self.work, &journal, servers).await?;
        if matches!(task, Task::Initialize) {
            let reserving = patiently(|| self.work.0.svc.reserve_places(&run.claim, &gitdeploy, servers)).await;
            reserving.map_err(|error| not_recorded(&error))?;
        }
        let parameters = json!({ "server_list": servers, "gitdeploy": gitdeploy });
        let mut fired = self.hooks.fire(run, &journal, &before, &parameters, None).await;
        if let Some(failure) = fired.iter().find_map(Fired::failure) {
            let message = format!("a hook {} failed, so that nothing was done: {}", around.before, failure.message);
            return Err(JobError::new(JobErrorCode::HookFailed, message));
        }
        let each =
            OnEach { work: &self.work, run, journal: &journal, gitdeploy: &gitdeploy, task, steps_of: "", stops: true };
        let worked = each.work(servers, targets).await?;
        let reached = succeeded(&worked);
        if !reached.is_empty() {
            // With the servers on which it is initialized by now.
            let parameters = json!({ "server_list": reached, "gitdeploy": self.gitdeploy(run, name).await? });
            fired.extend(self.hooks.fire(run, &journal, &after, &parameters, None).await);
        }
        let result = json!({ "servers": worked, "hooks": fired });
        ended(name, around.done, &worked, result)
    }

    /// Has servers pull what was committed last.
    async fn pull(&self, run: &Run, name: &GitdeployName, servers: &[ServerName]) -> StepResult<Json> {
        let (work, journal) = (&self.work.0, run.journal().await?);
        let gitdeploy = self.settled(run, &journal, name).await?;
        let targets = settled_targets(&self.work, &journal, servers).await?;
        let looking = async {
            let commits = Commits { work, run, journal: &journal };
            let newest = commits.newest(&gitdeploy.location.gitrepo, &gitdeploy.location.default_branch).await?;
            let nothing = || {
                let message = "nothing was committed to the branch yet; commit a build first";
                JobError::new(JobErrorCode::NotFound, message)
            };
            let newest = newest.ok_or_else(nothing)?;
            let build = newest.build_name.and_then(|build| BuildName::parse(build).ok());
            let package = newest.package.and_then(|package| PackageName::parse(package).ok());
            Ok(Pulled { commit: newest.commit, build, package })
        };
        // The same commit for all servers, also where this server dies meanwhile.
        let pulled: Pulled = journal.repeatable("look up the commit", looking).await?;
        let task = Task::Pull(pulled.clone());
        let each =
            OnEach { work: &self.work, run, journal: &journal, gitdeploy: &gitdeploy, task, steps_of: "", stops: true };
        let worked = each.work(servers, targets).await?;
        let result = json!({ "commit": pulled.commit, "build_name": pulled.build, "servers": worked });
        ended(name, "pulled", &worked, result)
    }

    /// The gitdeploy as it is when the job begins: it stays the same where another server continues.
    async fn settled(&self, run: &Run, journal: &Journal<'_>, name: &GitdeployName) -> StepResult<Gitdeploy> {
        let looking = async {
            let mut found = self.gitdeploy(run, name).await?;
            // They change under way, and may be more than an outcome has room for.
            found.servers.0.clear();
            Ok(found)
        };
        let settled: Gitdeploy = journal.repeatable("look up the gitdeploy", looking).await?;
        Ok(Gitdeploy { servers: self.gitdeploy(run, name).await?.servers, ..settled })
    }

    async fn gitdeploy(&self, run: &Run, name: &GitdeployName) -> StepResult<Gitdeploy> {
        let application = run.claim.application().map_err(|error| not_recorded(&error))?;
        let found = patiently(|| self.work.0.svc.gitdeploy_for_work(application, name)).await;
        found.map_err(|error| not_recorded(&error))
    }
}

/// How the servers are reached when the job begins. One that was removed is left out.
async fn settled_targets(work: &Work, journal: &Journal<'_>, servers: &[ServerName]) -> StepResult<Vec<CommandTarget>> {
    let looking = async {
        let found = patiently(|| work.0.svc.targets_for_work(servers)).await;
        found.map_err(|error| not_recorded(&error))
    };
    journal.repeatable("look up servers", looking).await
}

/// Tells the log and the plugins of a commit. What they make of it undoes nothing.
pub(in crate::work) async fn tell_commit(
    hooks: &Hooks,
    (run, journal): (&Run, &Journal<'_>),
    commits: &Commits<'_>,
    (asked, gitdeploys): (&PackageCommit, &[Gitdeploy]),
    hook: &PlannedHook,
    committed: &Committed,
) -> StepResult<Vec<Fired>> {
    let Committed { commit, is_new, changed, .. } = committed;
    if !is_new {
        let message = "the branch has this content already, so that nothing is committed";
        run.note(&json!({ "status": "unchanged", "commit": commit, "message": message }));
        return Ok(Vec::new());
    }
    run.note(&json!({ "status": "committed", "commit": commit, "changed_files": changed }));
    let mut fired = Vec::new();
    if !hook.fires() {
        return Ok(fired);
    }
    let (changes, has_more) = commits.changes(asked, committed).await?;
    for gitdeploy in gitdeploys {
        let parameters = json!({
            "files": changes.iter().map(|change| &change.path).collect::<Vec<_>>(),
            "changes": changes,
            "more": has_more,
            "gitdeploy": gitdeploy,
            "gitrepo": asked.repo,
            "build_name": asked.build,
            "commit": commit,
        });
        fired.extend(hooks.fire_of(run, journal, hook, gitdeploy.name.as_str(), &parameters, None).await);
    }
    Ok(fired)
}

/// How a job ends that has worked on servers: well only if it went well on all of them.
fn ended(name: &GitdeployName, done: &str, worked: &OnServers, result: serde_json::Value) -> StepResult<Json> {
    if succeeded(worked).len() < worked.len() {
        return Err(some_failed(name, done, worked, result));
    }
    to_raw_value(&result).map_err(|error| JobError::internal("a result is not JSON", &error))
}
