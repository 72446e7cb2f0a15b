//! What plugins do on servers. Each call is a job of the installation, within the job that the plugin runs in, which
//! waits for it: so it is in the audit before it begins, each server is a durable step, and where this server dies,
//! another one finds out what became of the commands that had begun. It begins no others then, since nobody waits for
//! them any more.
//!
//! What is read and written, and the environment, are with the call only, and in no row.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::Work;
use super::commands::{
    CommandStep, OUTPUT_BYTES, SERVERS_AT_A_TIME, internal, job_time, output_bytes, target_of, tell,
};
use super::push::{File, Push};
use crate::datasvc::{
    Caller, Error, Interface, JobError, JobId, NewCommand, Permission, PluginName, Result, ServerName, patiently,
};
use crate::engine::{Engine, Journal, Run, Seen as Found, StepResult};
use crate::plugin::{Asking, OnServers, What};
use crate::remote::{
    Command, CommandId, InvalidCommand, Os, Outcome, Reach, Remote, Report, SaltFunction, Seen, System, Target, Verb,
    masked,
};

/// How long something may take on a server unless its call says otherwise, in seconds.
const TIMEOUT_SECONDS: u32 = 60;
/// The `verb` of functions of Salt.
const SALT: &str = "salt-command";
/// How much of the arguments of one is shown, in characters.
const SHOWN_CHARS: usize = 500;
/// How often it is looked whether the waiting job is asked to stop.
const LOOK: Duration = Duration::from_millis(250);
/// How many servers are named in the entry of the waiting job that did not end well.
const NAMED: usize = 10;

/// What was asked by a plugin: the `data` of its job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ByPlugin {
    /// The plugin.
    plugin: PluginName,
    /// The servers.
    servers: Vec<ServerName>,
    /// What people may see of it. Its `verb` is in the names of the steps.
    asked: Value,
    /// How many seconds it may take on a server.
    timeout: u32,
    /// How much is kept of each output, in bytes.
    output_bytes: usize,
}

impl ByPlugin {
    fn verb(&self) -> &str {
        self.asked["verb"].as_str().unwrap_or("run")
    }

    fn whose(&self) -> &str {
        self.plugin.as_str()
    }

    /// What a look at a server needs to know.
    fn looked_for(&self) -> Command {
        let command = Command::new(["true"]).for_at_most(Duration::from_secs(self.timeout.into()));
        Command { output_bytes: self.output_bytes, ..command }
    }
}

/// What is done now for plugins that wait here, by job.
#[derive(Default)]
pub(super) struct AskedByPlugins(Mutex<HashMap<JobId, Handed>>);

/// What the job of a call is given by the call.
struct Handed {
    targets: Vec<Target>,
    what: Task,
    secrets: Vec<String>,
    answer: oneshot::Sender<BTreeMap<String, Report>>,
}

/// What is done on each server.
pub(super) enum Task {
    Verb(Verb),
    Salt(SaltFunction),
    Push(Push),
}

/// Ends a job whose caller does not wait any more.
struct EndsWithCall<'a>(&'a Engine, JobId);

impl Drop for EndsWithCall<'_> {
    fn drop(&mut self) {
        self.0.stop_within(self.1);
    }
}

impl Work {
    /// Does something on servers for a plugin, and waits for what it comes to on each.
    ///
    /// # Errors
    /// Those of [`crate::plugin::Effects::on_servers`].
    pub(super) async fn on_servers(&self, asking: &Asking<'_>, asked: OnServers) -> Result<Vec<Report>> {
        let OnServers { operation, servers, what, timeout_seconds, output_bytes: output, secrets } = asked;
        let Caller::Plugin { name, .. } = asking.caller else {
            return Err(Error::internal("a user has no job that waits"));
        };
        if (asking.is_cancelled)() {
            return Err(Error::conflict("the job was asked to stop, and begins nothing on servers"));
        }
        let targets = self.0.svc.command_targets(asking.caller, &servers).await?;
        let targets: Vec<Target> = targets.iter().map(target_of).collect();
        for target in &targets {
            let why_not = |why| Error::invalid("servers", format!("server `{}`: {why}", target.name));
            self.0.remote.check(target).map_err(why_not)?;
        }
        if let (What::Salt(_), Some(other)) =
            (&what, targets.iter().find(|target| !matches!(target.reach, Reach::Salt { .. })))
        {
            let why = format!("server `{}` is of the driver `{}`, not `salt`", other.name, other.reach.driver());
            return Err(Error::invalid("servers", why));
        }
        let task = self.task(asking.caller, what).await?;
        let by_plugin = ByPlugin {
            plugin: name.clone(),
            asked: task.shown()?,
            timeout: timeout_seconds.unwrap_or(TIMEOUT_SECONDS),
            output_bytes: output_bytes(servers.len(), output.map_or(OUTPUT_BYTES, |bytes| bytes as usize)),
            servers,
        };
        by_plugin.looked_for().check().map_err(invalid)?;
        let new = NewCommand {
            operation,
            servers: by_plugin.servers.clone(),
            audited: json!({ "servers": by_plugin.servers, "asked": by_plugin.asked, "timeout": by_plugin.timeout }),
            data: to_raw_value(&by_plugin).map_err(Error::internal)?,
            timeout: job_time(by_plugin.servers.len(), Duration::from_secs(by_plugin.timeout.into())),
            idempotency: None,
            within: Some((asking.parent, self.0.engine.worker())),
        };
        let (answer, answered) = oneshot::channel();
        let job = self.begin(asking.caller, new, Handed { targets, what: task, secrets, answer }).await?;
        let reports = self.wait(asking, job, answered).await?;
        let entry = summary(&by_plugin, job, &reports);
        if let Err(problem) = asking.log.note(&entry) {
            tracing::warn!("what a plugin did on servers could not be noted: {problem}");
        }
        let missing = || Report::no_response("it was not begun");
        Ok(by_plugin.servers.iter().map(|name| reports.get(name.as_str()).cloned().unwrap_or_else(missing)).collect())
    }

    /// What runs on servers: those that were not asked lately are asked by a ping.
    ///
    /// # Errors
    /// Those of [`Work::on_servers`].
    pub(super) async fn systems(
        &self,
        asking: &Asking<'_>,
        servers: Vec<ServerName>,
    ) -> Result<Vec<std::result::Result<System, String>>> {
        let targets = self.0.svc.command_targets(asking.caller, &servers).await?;
        let targets: Vec<Target> = targets.iter().map(target_of).collect();
        let unknown = servers.iter().zip(&targets).filter(|(_, target)| self.0.remote.known_system(target).is_none());
        let unknown: Vec<ServerName> = unknown.map(|(name, _)| name.clone()).collect();
        let mut asked = HashMap::new();
        if !unknown.is_empty() {
            let ping = OnServers {
                operation: "remote.operating-systems",
                servers: unknown.clone(),
                what: What::Verb(Verb::Ping),
                timeout_seconds: None,
                output_bytes: None,
                secrets: Vec::new(),
            };
            asked.extend(unknown.into_iter().zip(self.on_servers(asking, ping).await?));
        }
        let found = servers.iter().zip(&targets).map(|(name, target)| {
            let why = || asked.get(name).map_or_else(|| "it was not asked".to_owned(), Report::why);
            self.0.remote.known_system(target).ok_or_else(why)
        });
        Ok(found.collect())
    }

    async fn task(&self, caller: &Caller, what: What) -> Result<Task> {
        match what {
            What::Salt(function) => {
                caller.require_salt_function(&function.function)?;
                function.check().map_err(invalid)?;
                Ok(Task::Salt(function))
            }
            What::Verb(verb) => {
                caller.require_interface(Permission::Write, Interface::Remote)?;
                verb.check().map_err(invalid)?;
                Ok(Task::Verb(verb))
            }
            What::Push { content, path, mode } => {
                caller.require_interface(Permission::Write, Interface::Remote)?;
                let file = File::of(self, caller, content).await?;
                Push::new(file, path, mode).map(Task::Push).map_err(invalid)
            }
        }
    }

    /// Makes the job, and begins it. Whoever asks may go away meanwhile: then it ends.
    async fn begin(&self, caller: &Caller, new: NewCommand, handed: Handed) -> Result<JobId> {
        let (work, caller) = (self.clone(), caller.clone());
        let beginning = async move {
            let enqueued = work.0.svc.enqueue_command(&caller, &new).await?;
            let claim = enqueued.claim.ok_or_else(|| Error::internal("a job within another one was not claimed"))?;
            if handed.answer.is_closed() {
                // It runs, and finds nothing to begin.
                work.0.engine.start_within(claim);
                return Ok(enqueued.job_id);
            }
            work.0.asked_by_plugins.lock().insert(enqueued.job_id, handed);
            work.0.engine.start_within(claim);
            Ok::<_, Error>(enqueued.job_id)
        };
        self.0.engine.detached(beginning).await
    }

    async fn wait(
        &self,
        asking: &Asking<'_>,
        job: JobId,
        mut answered: oneshot::Receiver<BTreeMap<String, Report>>,
    ) -> Result<BTreeMap<String, Report>> {
        let ends = EndsWithCall(&self.0.engine, job);
        loop {
            tokio::select! {
                reports = &mut answered => {
                    return reports.map_err(|_| {
                        Error::conflict(format!("what became of this on the servers is in job `{job}`, which has ended early"))
                    });
                }
                () = tokio::time::sleep(LOOK) => {
                    if (asking.is_cancelled)() {
                        ends.0.stop_within(job);
                    }
                }
            }
        }
    }

    /// The job of a call: does what was asked where the call waits here, and otherwise looks what became of it.
    pub(super) async fn work_for_plugin(&self, run: &Run, asked: &ByPlugin) -> StepResult<BTreeMap<String, Report>> {
        // The slot of the waiting job serves for this one.
        let _lent = run.lend_slot();
        let handed = self.0.asked_by_plugins.lock().remove(&run.claim.job_id);
        let journal = run.journal().await?;
        let looking = async {
            if let Some(handed) = &handed {
                return Ok(handed.targets.clone());
            }
            let found = patiently(|| self.0.svc.targets_for_work(&asked.servers)).await;
            Ok(found.map_err(|error| internal(&error))?.iter().map(target_of).collect())
        };
        let targets: Vec<Target> = journal.repeatable("look up servers", looking).await?;
        let (journal, handed_ref) = (&journal, handed.as_ref());
        let doing = stream::iter(targets).map(|target| async move {
            let report = match handed_ref {
                Some(handed) => self.do_on(run, journal, asked, handed, &target).await?,
                None => self.settle(run, journal, asked, &target).await?,
            };
            Ok((target.name, report))
        });
        let ended: Vec<StepResult<(String, Report)>> = doing.buffer_unordered(SERVERS_AT_A_TIME).collect().await;
        let reports = ended.into_iter().collect::<StepResult<BTreeMap<_, _>>>()?;
        if let Some(handed) = handed {
            // Nobody may wait any more.
            let _ = handed.answer.send(reports.clone());
        }
        match run.cancel.is_requested() {
            true => Err(JobError::cancelled("the job that this is for")),
            false => Ok(reports),
        }
    }

    async fn do_on(
        &self,
        run: &Run,
        journal: &Journal<'_>,
        asked: &ByPlugin,
        handed: &Handed,
        target: &Target,
    ) -> StepResult<Report> {
        if run.cancel.is_requested() {
            return Ok(Report::no_response("it was not begun, because the job was asked to stop"));
        }
        let (remote, within) = (&self.0.remote, Duration::from_secs(asked.timeout.into()));
        let (step, what) = (format!("{} {}", asked.verb(), target.name), &*handed.what.words());
        let os = match &handed.what {
            Task::Verb(Verb::Ping) => {
                let ping = async {
                    let report = match in_time(within, remote.ask_system(target)).await {
                        Ok(system) => Report::ok(system.name),
                        Err(why) => Report::no_response(why),
                    };
                    tell(run, target, what, &report);
                    Ok(report)
                };
                return journal.repeatable(&step, ping).await;
            }
            // Its minion is asked by Salt itself.
            Task::Salt(_) => Os::Unix,
            Task::Verb(verb) if !verb.depends_on_system() => Os::Unix,
            Task::Verb(_) | Task::Push(_) => match in_time(within, remote.system(target)).await {
                Ok(system) => system.os,
                Err(why) => return Ok(refused(run, target, what, &why)),
            },
        };
        match &handed.what {
            Task::Salt(function) => self.call_salt(run, journal, asked, target, function).await,
            Task::Verb(verb) => match verb.command(remote, target, os) {
                Ok(command) => {
                    let (output_bytes, secrets) = (asked.output_bytes, handed.secrets.clone());
                    let command = Command { timeout: within, output_bytes, secrets, ..command };
                    self.step_of(
                        run,
                        journal,
                        CommandStep { name: &step, target, command: &command, what, whose: asked.whose(), stops: true },
                        None,
                    )
                    .await
                }
                Err(why) => Ok(refused(run, target, what, &why.to_string())),
            },
            Task::Push(push) => {
                let work = async |id: &CommandId| {
                    let report = push.send(self, run, target, os, *id, &asked.looked_for()).await;
                    tell(run, target, what, &report);
                    Ok((*id, report))
                };
                let look = async |_: &CommandId| Ok(Found::NotDone);
                let (id, report) = journal.inspected(&step, CommandId::new, work, look).await?;
                self.forget(run, target, id, &report);
                Ok(report)
            }
        }
    }

    /// Calls a function of Salt, as a durable step.
    async fn call_salt(
        &self,
        run: &Run,
        journal: &Journal<'_>,
        asked: &ByPlugin,
        target: &Target,
        function: &SaltFunction,
    ) -> StepResult<Report> {
        let (step, remote) = (format!("{} {}", asked.verb(), target.name), &self.0.remote);
        let work = async |id: &CommandId| {
            let report = salt_until(run.cancel.requested(), remote, target, *id, function, asked.output_bytes).await;
            tell(run, target, &function.function, &report);
            Ok((*id, report))
        };
        let (_, report) =
            journal.inspected(&step, CommandId::new, work, async |_: &CommandId| Ok(Found::NotDone)).await?;
        Ok(report)
    }

    /// Finds out what became of something on a server that another host had begun. What had not begun is not done.
    async fn settle(&self, run: &Run, journal: &Journal<'_>, asked: &ByPlugin, target: &Target) -> StepResult<Report> {
        let (step, command) = (format!("{} {}", asked.verb(), target.name), asked.looked_for());
        let work = async |id: &CommandId| {
            let why = "it was not begun: the server of Elita that ran the plugin has ended";
            self.clean_up(target, &asked.asked, *id).await;
            Ok((*id, refused(run, target, asked.verb(), why)))
        };
        let is_salt = asked.verb() == SALT;
        let look = async |id: &CommandId| {
            let seen = if is_salt {
                self.0.remote.look_for_salt(target, *id, command.timeout, asked.output_bytes).await
            } else {
                self.0.remote.look(target, *id, &command).await
            };
            match seen {
                Seen::Done(report) => {
                    tell(run, target, asked.verb(), &report);
                    Ok(Found::Done((*id, report)))
                }
                Seen::NotDone => Ok(Found::NotDone),
            }
        };
        let (id, report) = match asked.verb() {
            // It changes nothing, and nobody waits for it.
            "ping" => return Ok(Report::no_response("nobody waits for it any more")),
            _ => journal.inspected(&step, CommandId::new, work, look).await?,
        };
        if !is_salt {
            self.forget(run, target, id, &report);
        }
        Ok(report)
    }

    /// Has a server forget a command whose report is on record, before the job ends. One that is not known to have ended
    /// is not forgotten: it may still run, and must not begin.
    pub(super) fn forget(&self, run: &Run, target: &Target, id: CommandId, report: &Report) {
        if report.exit_code.is_none() {
            return;
        }
        let (remote, target) = (self.0.remote.clone(), target.clone());
        let is_salt = matches!(target.reach, Reach::Salt { .. });
        let forgetting = async move { remote.forget(&target, id).await };
        if is_salt {
            // All at the same time, which is one job of Salt.
            run.at_the_end(forgetting);
        } else {
            let forgetting = tokio::spawn(forgetting);
            run.at_the_end(async move { drop(forgetting.await) });
        }
    }
}

impl AskedByPlugins {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Handed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    /// What people may see of it.
    fn shown(&self) -> Result<Value> {
        match self {
            Self::Verb(verb) => {
                let mut shown = serde_json::to_value(verb).map_err(Error::internal)?;
                // A script is another one than a program.
                shown["verb"] = json!(verb.name());
                Ok(shown)
            }
            Self::Salt(SaltFunction { function, arguments, keyword_arguments, .. }) => {
                let arguments: String = masked(&json!([arguments, keyword_arguments]).to_string());
                let arguments: String = arguments.chars().take(SHOWN_CHARS).collect();
                Ok(json!({ "verb": SALT, "function": function, "arguments": arguments }))
            }
            Self::Push(push) => Ok(push.shown()),
        }
    }

    /// The same in a line.
    fn words(&self) -> Arc<str> {
        match self {
            Self::Verb(Verb::Run { program, .. }) => program.shown().into(),
            Self::Verb(verb) => match verb.path() {
                Some(path) => format!("{} {path}", verb.name()).into(),
                None => verb.name().into(),
            },
            Self::Salt(function) => function.function.as_str().into(),
            Self::Push(push) => format!("push-file {}", push.path()).into(),
        }
    }
}

/// What a server says of itself, if it does so in time.
async fn in_time(
    within: Duration,
    asking: impl Future<Output = std::result::Result<System, String>>,
) -> std::result::Result<System, String> {
    match tokio::time::timeout(within, asking).await {
        Ok(system) => system,
        Err(_) => Err(format!("it did not answer within {} s", within.as_secs())),
    }
}

/// What did not begin, said in the log.
fn refused(run: &Run, target: &Target, what: &str, why: &str) -> Report {
    let report = Report::no_response(why);
    tell(run, target, what, &report);
    report
}

/// The entry of the waiting job's log.
fn summary(asked: &ByPlugin, job: JobId, reports: &BTreeMap<String, Report>) -> Value {
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for report in reports.values() {
        *outcomes.entry(report.outcome.as_str()).or_default() += 1;
    }
    let not_ok = reports.iter().filter(|(_, report)| report.outcome != Outcome::Ok);
    let not_ok: Vec<_> = not_ok
        .take(NAMED)
        .map(|(server, report)| json!({ "server": server, "outcome": report.outcome, "message": report.why() }))
        .collect();
    let mut entry = json!({ "status": "done on servers", "asked": asked.asked, "job_id": job, "outcomes": outcomes });
    if !not_ok.is_empty() {
        entry["not_ok"] = json!(not_ok);
    }
    entry
}

pub(super) fn invalid(InvalidCommand { what, reason }: InvalidCommand) -> Error {
    Error::invalid(what, reason)
}

/// Calls a function of Salt, and ends it where the job is asked to stop.
pub(in crate::work) async fn salt_until(
    stop: impl Future<Output = ()>,
    remote: &Remote,
    target: &Target,
    id: CommandId,
    function: &SaltFunction,
    most_bytes: usize,
) -> Report {
    tokio::select! {
        report = remote.salt(target, id, function, most_bytes) => report,
        () = stop => {
            // Nothing would be returned of it.
            remote.end_salt(target, id).await;
            Report::ended_early("it was ended, because the job was asked to stop")
        }
    }
}
