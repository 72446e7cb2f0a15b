//! Working copies on servers: made, brought forward and removed. What a server does is a script; each is a durable step
//! of the job, for each server by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::access::Access;
use crate::datasvc::{
    BuildName, CommandTarget, Error, Gitdeploy, GitdeployName, JobError, JobErrorCode, PackageName, Provenance,
    PullCommand, PullScript, PullShell, PullStates, PulledOnServer, ServerName, Target as DeploymentTarget, owner,
    patiently,
};
use crate::engine::{Journal, Run, Seen as Found, StepResult};
use crate::remote::{Command, CommandId, Outcome, Program, Reach, Report, SaltFunction, Seen, Shell, Target};
use crate::work::Work;
use crate::work::commands::{stop_asked, target_of, tell};
use crate::work::git::upstream::Home;
use crate::work::remote::salt_until;

const INITIALIZE: &str = concat!(include_str!("common.sh"), include_str!("initialize.sh"));
const PULL: &str = concat!(include_str!("common.sh"), include_str!("pull.sh"));
const DEINITIALIZE: &str = concat!(include_str!("common.sh"), include_str!("deinitialize.sh"));

/// How long a script may take on a server.
const WITHIN: Duration = Duration::from_secs(3600);
/// The same of a command around a pull.
const COMMAND_WITHIN: Duration = Duration::from_secs(600);
/// How much of what states of Salt return is kept, in bytes.
const STATES_BYTES: usize = 64 * 1024;
/// How many servers of a job are worked on at a time.
const SERVERS_AT_A_TIME: usize = 32;
/// What a script's own refusals begin with.
const REFUSAL: &str = "elita: ";
/// The code of what did not happen for another reason than a script's own.
const FAILED: &str = "failed";

/// What the work came to on a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::work) struct OnServer {
    /// `ok`, `failed`, `no-response` or `unknown`.
    outcome: Outcome,
    /// Why not, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::work) code: Option<String>,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::work) message: Option<String>,
    /// The commit that the working copy is at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::work) head: Option<String>,
    /// Whether the server did not answer before anything was done there.
    #[serde(skip)]
    pub(in crate::work) is_unreached: bool,
}

/// By server.
pub(super) type OnServers = BTreeMap<String, OnServer>;

/// What is pulled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::work) struct Pulled {
    pub(in crate::work) commit: String,
    pub(in crate::work) build: Option<BuildName>,
    #[serde(default)]
    pub(in crate::work) package: Option<PackageName>,
}

/// What was looked up for all servers that are to pull, at the same time.
pub(in crate::work) struct Known {
    /// The commit that each target has pulled last. One that is not in it is not initialized.
    before: BTreeMap<DeploymentTarget, Option<String>>,
    /// Of the build, if the commit is one of Elita.
    provenance: Option<Provenance>,
}

impl Known {
    /// Looks it up for these targets.
    ///
    /// # Errors
    /// A fault of the service.
    pub(in crate::work) async fn of(
        work: &Work,
        run: &Run,
        build: Option<&BuildName>,
        targets: &[DeploymentTarget],
    ) -> StepResult<Self> {
        let svc = &work.0.svc;
        let looking = async || {
            let provenance = match build {
                Some(build) => Some(svc.provenance(&run.claim, build).await?),
                None => None,
            };
            Ok(Self { before: svc.pulled_commits(run.claim.application()?, targets).await?, provenance })
        };
        patiently(looking).await.map_err(|error| not_recorded(&error))
    }
}

/// What is done with a gitdeploy on each server.
#[derive(Clone, Debug)]
pub(in crate::work) enum Task {
    Initialize,
    Deinitialize,
    Pull(Pulled),
}

/// The same, with what was looked up for all servers.
enum Prepared<'a> {
    Initialize(Access),
    Deinitialize,
    Pull(&'a Pulled, Box<Known>),
}

impl OnServer {
    pub(super) fn of(report: &Report) -> Self {
        let head = report.stdout.lines().find_map(|line| line.strip_prefix("head ")).map(str::to_owned);
        if report.is_ok() {
            return Self { outcome: report.outcome, code: None, message: None, head, is_unreached: false };
        }
        let refusal = report.stderr.lines().find_map(|line| line.strip_prefix(REFUSAL)?.split_once(' '));
        let (code, message) = match refusal {
            Some((code, message)) => (code.to_owned(), message.to_owned()),
            None => (FAILED.to_owned(), report.why()),
        };
        let (code, message) = (Some(code), Some(message));
        Self { outcome: report.outcome, code, message, head: None, is_unreached: false }
    }

    pub(in crate::work) fn refused(code: &str, message: impl Into<String>) -> Self {
        let (code, message) = (Some(code.into()), Some(message.into()));
        Self { outcome: Outcome::Failed, code, message, head: None, is_unreached: false }
    }

    /// What a command around a pull comes to, if it has failed.
    fn around_a_pull(when: &str, place: usize, report: &Report) -> Option<Self> {
        if report.is_ok() {
            return None;
        }
        let message = format!("the {when} command {} failed: {}", place + 1, report.why());
        let is_unreached = report.outcome == Outcome::NoResponse && when == "prepull" && place == 0;
        Some(Self { outcome: report.outcome, is_unreached, ..Self::refused(when, message) })
    }

    pub(in crate::work) fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }
}

/// The servers on which it succeeded.
pub(super) fn succeeded(servers: &OnServers) -> Vec<&String> {
    servers.iter().filter(|(_, on_server)| on_server.is_ok()).map(|(server, _)| server).collect()
}

/// Work on the servers of a job.
pub(in crate::work) struct OnEach<'a> {
    pub(in crate::work) work: &'a Work,
    pub(in crate::work) run: &'a Run,
    pub(in crate::work) journal: &'a Journal<'a>,
    pub(in crate::work) gitdeploy: &'a Gitdeploy,
    pub(in crate::work) task: Task,
    /// What else the names of its steps have in them, where several gitdeploys are worked on.
    pub(in crate::work) steps_of: &'a str,
    /// Whether what runs on servers is stopped where someone asks for the job to stop.
    pub(in crate::work) stops: bool,
}

impl OnEach<'_> {
    /// Works on the servers, some at a time. What it comes to on one does not matter to the others.
    pub(super) async fn work(&self, servers: &[ServerName], found: Vec<CommandTarget>) -> StepResult<OnServers> {
        let gone = servers.iter().filter(|server| !found.iter().any(|target| target.name == **server));
        let refused = |server: &ServerName| (server.to_string(), OnServer::refused("gone", "the server was removed"));
        let mut worked: OnServers = gone.map(refused).collect();
        let prepared = self.prepare(&found).await?;
        let prepared = &prepared;
        // Servers are waited for without the place of others.
        let _lent = self.run.lend_slot();
        let working = stream::iter(found).map(|target| async move {
            if self.run.cancel.is_requested() {
                return Err(JobError::cancelled("someone"));
            }
            let on_server = self.on(&target, prepared).await?;
            let OnServer { outcome, code, message, head, is_unreached: _ } = &on_server;
            self.run.note(&json!({
                "status": outcome, "server": target.name, "code": code, "message": message, "head": head,
            }));
            Ok((target.name.to_string(), on_server))
        });
        let ended: Vec<StepResult<_>> = working.buffer_unordered(SERVERS_AT_A_TIME).collect().await;
        worked.extend(ended.into_iter().collect::<StepResult<Vec<_>>>()?);
        if self.run.cancel.is_requested() {
            return Err(JobError::cancelled("someone"));
        }
        Ok(worked)
    }

    async fn prepare(&self, servers: &[CommandTarget]) -> StepResult<Prepared<'_>> {
        match &self.task {
            Task::Initialize => Ok(Prepared::Initialize(self.access().await?)),
            Task::Deinitialize => Ok(Prepared::Deinitialize),
            Task::Pull(pulled) => {
                let gitdeploy = &self.gitdeploy.name;
                let targets = servers.iter().map(|server| target(&server.name, gitdeploy)).collect::<Vec<_>>();
                let known = Known::of(self.work, self.run, pulled.build.as_ref(), &targets).await?;
                Ok(Prepared::Pull(pulled, Box::new(known)))
            }
        }
    }

    async fn on(&self, server: &CommandTarget, prepared: &Prepared<'_>) -> StepResult<OnServer> {
        match prepared {
            Prepared::Initialize(access) => self.initialize(server, access).await,
            Prepared::Deinitialize => self.deinitialize(server).await,
            Prepared::Pull(pulled, known) => self.pull(server, pulled, known).await,
        }
    }

    /// What servers read the repository with. Where others keep it, it is read once before they are sent there.
    async fn access(&self) -> StepResult<Access> {
        let work = &self.work.0;
        let Gitdeploy { application, location, .. } = self.gitdeploy;
        match work.home(application, &location.gitrepo).await? {
            Home::Own(_) => Ok(Access::Token),
            Home::Mirror(mirror) => {
                self.journal.repeatable("ask the repository", work.contact(&mirror)).await?;
                let Home::Mirror(mirror) = work.home(application, &location.gitrepo).await? else {
                    return Ok(Access::Token);
                };
                work.access_of(&mirror).await
            }
        }
    }

    async fn initialize(&self, server: &CommandTarget, access: &Access) -> StepResult<OnServer> {
        let (svc, target) = (&self.work.0.svc, target_of(server));
        let Gitdeploy { application, name, location, options, .. } = self.gitdeploy;
        let place = patiently(|| svc.git_repo_for_work(application, &location.gitrepo)).await;
        let place = place.map_err(|error| not_recorded(&error))?;
        let url = match self.work.0.url_for(&target, application, &location.gitrepo, &place) {
            Ok(url) => url,
            Err(why) => return Ok(OnServer::refused("no-url", why)),
        };
        let contents = if options.autocrlf { "git" } else { "bytes" };
        let words = [&*location.default_branch, &url, contents, access.word()];
        let script = self.script(INITIALIZE, &target, &words);
        let step = format!("initialize {}", server.name);
        let report = self.step(&step, &target, &script, Some((&server.name, access))).await?;
        if report.input_exposed {
            return self.exposed(server, access).await;
        }
        let on_server = OnServer::of(&report);
        if on_server.is_ok() {
            let claim = &self.run.claim;
            let recorded =
                patiently(|| svc.record_initialized(claim, name, &server.name, on_server.head.as_deref())).await;
            recorded.map_err(|error| not_recorded(&error))?;
        }
        Ok(on_server)
    }

    /// Somebody else has what a server was to read the repository with.
    async fn exposed(&self, server: &CommandTarget, access: &Access) -> StepResult<OnServer> {
        let (svc, Gitdeploy { application, name, location, .. }) = (&self.work.0.svc, self.gitdeploy);
        let repo = &location.gitrepo;
        let advice = match access {
            Access::Open => return Ok(OnServer::refused(FAILED, "there is nothing that could be in other hands")),
            Access::Token => {
                let revoked = patiently(|| svc.revoke_git_token(application, name, &server.name)).await;
                revoked.map_err(|error| not_recorded(&error))?;
                "the token was revoked; initialize the gitdeploy on this server again".to_owned()
            }
            Access::Login(_) => format!("replace the credentials of the git provider of git repository `{repo}`"),
            Access::Key { .. } => format!("replace the keypair of git repository `{repo}`, here and at its host"),
        };
        let audited = patiently(|| svc.audit_exposed_key(&self.run.claim, name, &server.name, &advice)).await;
        audited.map_err(|error| not_recorded(&error))?;
        let what = "somebody else fetched the repository's key or token before the server did";
        Ok(OnServer::refused("key-exposed", format!("{what}: {advice}")))
    }

    async fn deinitialize(&self, server: &CommandTarget) -> StepResult<OnServer> {
        let (svc, target) = (&self.work.0.svc, target_of(server));
        let script = self.script(DEINITIALIZE, &target, &[]);
        let report = self.step(&format!("deinitialize {}", server.name), &target, &script, None).await?;
        let on_server = OnServer::of(&report);
        if on_server.is_ok() {
            let recorded =
                patiently(|| svc.record_deinitialized(&self.run.claim, &self.gitdeploy.name, &server.name)).await;
            recorded.map_err(|error| not_recorded(&error))?;
        }
        Ok(on_server)
    }

    /// Brings one server to a commit.
    pub(in crate::work) async fn pull(
        &self,
        server: &CommandTarget,
        Pulled { commit, build, package }: &Pulled,
        known: &Known,
    ) -> StepResult<OnServer> {
        let (svc, reached) = (&self.work.0.svc, target_of(server));
        let Gitdeploy { name, location, options, actions, .. } = self.gitdeploy;
        let Some(before) = known.before.get(&target(&server.name, name)) else {
            let why = format!("gitdeploy `{name}` is not initialized on this server");
            return Ok(OnServer::refused("not-initialized", why));
        };
        if let Some(failure) = self.commands(&reached, "prepull", &actions.prepull).await? {
            return Ok(failure);
        }
        let ignore_space = if options.ignore_whitespace { "yes" } else { "no" };
        let words = [
            &*location.default_branch,
            commit,
            options.favor.as_str(),
            ignore_space,
            before.as_deref().unwrap_or_default(),
            &self.run.claim.asked_at.elapsed().as_secs().to_string(),
        ];
        let script = self.script(PULL, &reached, &words);
        let step = format!("pull {}{}", self.steps_of, server.name);
        let report = self.step(&step, &reached, &script, None).await?;
        let mut on_server = OnServer::of(&report);
        if !on_server.is_ok() {
            on_server.is_unreached = report.outcome == Outcome::NoResponse && actions.prepull.is_empty();
            return Ok(on_server);
        }
        let pulled = PulledOnServer {
            gitdeploy: name,
            server: &server.name,
            build: build.as_ref(),
            package: package.as_ref(),
            commit,
            head: on_server.head.as_deref(),
        };
        let recorded = patiently(|| svc.record_pulled(&self.run.claim, pulled, known.provenance.as_ref())).await;
        recorded.map_err(|error| not_recorded(&error))?;
        Ok(self.commands(&reached, "postpull", &actions.postpull).await?.unwrap_or(on_server))
    }

    /// Runs the commands around a pull, one after the other. The first one that fails is what it comes to.
    async fn commands(&self, target: &Target, when: &str, commands: &[PullCommand]) -> StepResult<Option<OnServer>> {
        for (place, command) in commands.iter().enumerate() {
            let step = format!("{when} {} {}{}", place + 1, self.steps_of, target.name);
            let report = match program_of(command) {
                Ok(program) => {
                    let command = Command::of(program).within(self.gitdeploy.location.path.clone());
                    let command = command.for_at_most(COMMAND_WITHIN);
                    let command = (&command, self.stops);
                    self.work.command_step((self.run, self.journal), &step, target, command, None).await?
                }
                Err(states) => self.states(&step, target, states).await?,
            };
            if let Some(failed) = OnServer::around_a_pull(when, place, &report) {
                return Ok(Some(failed));
            }
        }
        Ok(None)
    }

    /// Applies states of Salt, as a durable step.
    async fn states(&self, step: &str, target: &Target, PullStates { sls }: &PullStates) -> StepResult<Report> {
        if !matches!(target.reach, Reach::Salt { .. }) {
            let why = "states of Salt are applied on servers of the driver `salt` only; use a command or a script here";
            return Ok(Report::ended_early(why));
        }
        let function = SaltFunction {
            function: "state.sls".into(),
            arguments: Vec::new(),
            // A keyword argument is never read as something else.
            keyword_arguments: vec![("mods".into(), json!(sls))],
            timeout: COMMAND_WITHIN,
        };
        let (run, remote) = (self.run, &self.work.0.remote);
        let what = format!("state.sls {sls}");
        let work = async |id: &CommandId| {
            let stop = stop_asked(run, self.stops);
            let report = salt_until(stop, remote, target, *id, &function, STATES_BYTES).await;
            tell(run, target, &what, &report);
            Ok(report)
        };
        let look = async |id: &CommandId| match remote.look_for_salt(target, *id, COMMAND_WITHIN, STATES_BYTES).await {
            Seen::Done(report) => {
                tell(run, target, &what, &report);
                Ok(Found::Done(report))
            }
            Seen::NotDone => Ok(Found::NotDone),
        };
        self.journal.inspected(step, CommandId::new, work, look).await
    }

    /// A script for the working copy, with what comes after its path and its owner.
    fn script(&self, script: &str, target: &Target, words: &[&str]) -> Command {
        let Gitdeploy { application, name, location, created_at, .. } = self.gitdeploy;
        let path = self.work.0.remote.path(target, &location.path);
        let owner = owner(application, name, *created_at);
        let words = words.iter().map(|word| (*word).to_owned());
        let all = ["/bin/sh", "-c", script, "elita", &path, &owner].map(str::to_owned).into_iter().chain(words);
        Command::new(all).for_at_most(WITHIN)
    }

    /// Runs a script as a durable step; `reader` is the server that is given what it reads the repository with.
    async fn step(
        &self,
        step: &str,
        target: &Target,
        script: &Command,
        reader: Option<(&ServerName, &Access)>,
    ) -> StepResult<Report> {
        let (run, remote) = (self.run, &self.work.0.remote);
        let work = async |id: &CommandId| {
            let command = match reader {
                Some((server, access)) => self.with_access(script, server, access).await?,
                None => script.clone(),
            };
            let running = remote.run(target, *id, &command);
            tokio::pin!(running);
            let report = tokio::select! {
                report = &mut running => report,
                () = stop_asked(run, self.stops) => {
                    let (report, ()) = tokio::join!(running, remote.stop(target, *id));
                    report
                }
            };
            Ok((*id, report))
        };
        let look = async |id: &CommandId| match remote.look(target, *id, script).await {
            Seen::Done(report) => Ok(Found::Done((*id, report))),
            Seen::NotDone => Ok(Found::NotDone),
        };
        let (id, report) = self.journal.inspected(step, CommandId::new, work, look).await?;
        self.work.forget(run, target, id, &report);
        Ok(report)
    }
}

impl OnEach<'_> {
    /// The script with what the server reads the repository with on its standard input. Where that is a token, it is a
    /// new one, and the one that the server had before is good for nothing then.
    async fn with_access(&self, script: &Command, server: &ServerName, access: &Access) -> StepResult<Command> {
        match access {
            Access::Open => return Ok(script.clone()),
            Access::Login(_) | Access::Key { .. } => return Ok(access.given_to(script.clone())),
            Access::Token => {}
        }
        let (svc, Gitdeploy { application, name, .. }) = (&self.work.0.svc, self.gitdeploy);
        let token = patiently(|| svc.make_git_token(application, name, server)).await;
        let token = token.map_err(|error| not_recorded(&error))?;
        Ok(script.clone().reading(format!("elita:{token}\n")).hiding(token))
    }
}

fn target(server: &ServerName, gitdeploy: &GitdeployName) -> DeploymentTarget {
    DeploymentTarget { server: server.clone(), gitdeploy: gitdeploy.clone() }
}

/// What runs for a command around a pull, unless that is states of Salt.
fn program_of(command: &PullCommand) -> Result<Program, &PullStates> {
    match command {
        PullCommand::Arguments(arguments) => Ok(Program::Arguments { command: arguments.clone() }),
        PullCommand::Script(PullScript { script, shell }) => {
            let shell = match shell {
                PullShell::Sh => Shell::Sh,
                PullShell::Powershell => Shell::Powershell,
            };
            Ok(Program::Script { script: script.clone(), shell })
        }
        PullCommand::States(states) => Err(states),
    }
}

/// Why a job fails that has no server to blame.
pub(in crate::work) fn not_recorded(error: &Error) -> JobError {
    match error {
        Error::Conflict { reason } => JobError::new(JobErrorCode::Conflict, reason.as_str()),
        Error::NotFound { .. } => JobError::new(JobErrorCode::NotFound, error.to_string()),
        fault => JobError::internal("a gitdeploy's job failed because of an internal error", fault),
    }
}

/// What a job ends with that has failed on some servers.
pub(super) fn some_failed(
    name: &GitdeployName,
    what: &str,
    servers: &OnServers,
    details: serde_json::Value,
) -> JobError {
    let failed: Vec<_> = servers.iter().filter(|(_, on_server)| !on_server.is_ok()).collect();
    let named: Vec<_> = failed.iter().take(5).map(|(server, _)| format!("`{server}`")).collect();
    let more = failed.len().saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let first = failed.first().and_then(|(_, on_server)| on_server.message.clone()).unwrap_or_default();
    let message = format!("gitdeploy `{name}` was not {what} on {}{more}: {first}", named.join(", "));
    JobError { details: to_raw_value(&details).ok(), ..JobError::new(JobErrorCode::ServersFailed, message) }
}
