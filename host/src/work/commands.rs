//! Commands for servers: how they are asked for, the job that runs them, and the durable step that runs one, which
//! other work uses, too.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::Work;
use super::checks::Check;
use super::remote::ByPlugin;
use crate::datasvc::{
    Caller, CommandTarget, Connection, DataSvc, Digest, Enqueued, Error, JobError, JobErrorCode, JobLane, KeypairName,
    NewCommand, Outcome, Permission, Result, SERVER, SaltConnection, ServerName, SshConnection, patiently,
};
use crate::engine::{Journal, Kind, Run, Seen, StepResult};
use crate::remote::{
    self, Command, CommandId, Handovers, Keyring, Program, Reach, Report, Seat, SshHost, SshKeys, SshReach, Target,
    together,
};

/// How long a command may take unless its request says otherwise, in seconds.
const TIMEOUT_SECONDS: u32 = 300;
/// How many servers of a job run its command at the same time.
pub(super) const SERVERS_AT_A_TIME: usize = 32;
/// How many servers of the driver `salt` get their command by one job of Salt.
const MINIONS_AT_A_TIME: usize = 100;
/// How much is kept of each output of a server, in bytes.
pub(super) const OUTPUT_BYTES: usize = 64 * 1024;
/// The same of all servers of a job together.
const ALL_OUTPUT_BYTES: usize = 4 * 1024 * 1024;
/// And of a server at least.
const LEAST_OUTPUT_BYTES: usize = 1024;
/// How much of an output is in one entry of the log, in bytes: with all that has to be escaped it is an entry.
const ENTRY_BYTES: usize = 8 * 1024;

/// How much is kept of each output of a server where a job is for so many, in bytes, and at most this.
pub(super) fn output_bytes(servers: usize, most: usize) -> usize {
    most.min((ALL_OUTPUT_BYTES / 2 / servers.max(1)).max(LEAST_OUTPUT_BYTES))
}

/// How long a job may take that is for so many servers, if each has so much time.
pub(super) fn job_time(servers: usize, each: Duration) -> Duration {
    let turns = u32::try_from(servers.div_ceil(SERVERS_AT_A_TIME)).unwrap_or(u32::MAX);
    (each + Duration::from_secs(60)) * turns
}

/// A durable step that is a command.
pub(super) struct CommandStep<'a> {
    /// Its name, unique in its job.
    pub(super) name: &'a str,
    /// The server.
    pub(super) target: &'a Target,
    /// The command.
    pub(super) command: &'a Command,
    /// What people see of it.
    pub(super) what: &'a str,
    /// The user or the plugin that it is for: of all of those, the one with the fewest comes next.
    pub(super) whose: &'a str,
    /// Whether it is ended where someone asks for the job to stop.
    pub(super) stops: bool,
}

/// A command for servers, as it is asked for and kept with its job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommandRequest {
    /// The servers that it is for.
    pub servers: Vec<ServerName>,
    /// What runs.
    #[serde(flatten)]
    pub program: Program,
    /// Where it runs: an absolute path, or one that begins with `~/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// How many seconds it may take on a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
}

impl CommandRequest {
    fn command(&self) -> Command {
        Command {
            directory: self.cwd.clone(),
            timeout: self.timeout(),
            output_bytes: output_bytes(self.servers.len(), OUTPUT_BYTES),
            ..Command::of(self.program.clone())
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.unwrap_or(TIMEOUT_SECONDS).into())
    }
}

impl Work {
    /// Makes a job of a command for servers. Its result has a report for each server. It is durable when this returns.
    /// `operation` is what asks for it, for the audit.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::enqueue_command`]; [`Error::Invalid`] for what no server can be asked for.
    pub async fn submit_command(
        &self,
        caller: &Caller,
        operation: &'static str,
        request: CommandRequest,
        idempotency: Option<(String, Digest)>,
    ) -> Result<Enqueued> {
        let command = request.command();
        command.check().map_err(|invalid| Error::invalid(invalid.what, invalid.reason))?;
        for target in self.0.svc.command_targets(caller, &request.servers).await? {
            let target = target_of(&target);
            let why_not = |why| Error::invalid("servers", format!("server `{}`: {why}", target.name));
            self.0.remote.check(&target).map_err(why_not)?;
            let checked = self.0.remote.check_command(&target, &command);
            checked.map_err(|invalid| Error::invalid(invalid.what, invalid.reason))?;
        }
        let new = NewCommand {
            operation,
            audited: json!({ "servers": request.servers, "command": request.program.shown(), "cwd": request.cwd,
                "timeout": request.timeout }),
            data: to_raw_value(&request).map_err(Error::internal)?,
            timeout: job_time(request.servers.len(), request.timeout()),
            servers: request.servers,
            idempotency,
            within: None,
        };
        let enqueued = self.0.svc.enqueue_command(caller, &new).await?;
        self.0.engine.tell_queued();
        Ok(enqueued)
    }

    /// Runs a command on a server as a durable step of a job: it runs once, also where this server dies meanwhile. Says
    /// in the job's log what it came to. Where someone asks for the job to stop, the command is ended if it `stops`.
    ///
    /// # Errors
    /// Those of the journal. What the command comes to is never an error.
    pub(super) async fn command_step(
        &self,
        (run, journal): (&Run, &Journal<'_>),
        step: &str,
        target: &Target,
        (command, stops): (&Command, bool),
        seat: Option<Seat>,
    ) -> StepResult<Report> {
        let (what, whose) = (&*command.program.shown(), run.claim.username.as_deref().unwrap_or_default());
        self.step_of(run, journal, CommandStep { name: step, target, command, what, whose, stops }, seat).await
    }

    /// The same of a command that people see in other words. With a seat, it is sent together with those of other servers.
    pub(super) async fn step_of(
        &self,
        run: &Run,
        journal: &Journal<'_>,
        step: CommandStep<'_>,
        seat: Option<Seat>,
    ) -> StepResult<Report> {
        let CommandStep { name, target, command, what, whose, stops } = step;
        let whose = whose.to_owned();
        let remote = &self.0.remote;
        let (new_id, seat) = (seat.as_ref().map_or_else(CommandId::new, Seat::id), Mutex::new(seat));
        let take_seat = || seat.lock().unwrap_or_else(PoisonError::into_inner).take();
        let work = async |id: &CommandId| {
            let seat = take_seat().filter(|seat| seat.id() == *id);
            // Who has many that last long does not keep those of others from running. Salt has places of its own.
            let _turn = match target.reach {
                Reach::Salt { .. } => None,
                Reach::Local | Reach::Ssh(_) => tokio::select! {
                    turn = self.0.command_turns.take(&whose) => Some(turn),
                    () = stop_asked(run, stops) => {
                        let report = Report::no_response("it was not begun, because the job was asked to stop");
                        tell(run, target, what, &report);
                        return Ok((*id, report));
                    }
                },
            };
            let running = async {
                match seat {
                    Some(seat) => remote.run_together(target, seat, command).await,
                    None => remote.run(target, *id, command).await,
                }
            };
            tokio::pin!(running);
            let report = tokio::select! {
                report = &mut running => report,
                () = stop_asked(run, stops) => {
                    let (report, ()) = tokio::join!(running, remote.stop(target, *id));
                    report
                }
            };
            tell(run, target, what, &report);
            Ok((*id, report))
        };
        let look = async |id: &CommandId| {
            // The others do not wait for it.
            drop(take_seat());
            match remote.look(target, *id, command).await {
                remote::Seen::Done(report) => {
                    tell(run, target, what, &report);
                    Ok(Seen::Done((*id, report)))
                }
                remote::Seen::NotDone => Ok(Seen::NotDone),
            }
        };
        let (id, report) = journal.inspected(name, || new_id, work, look).await?;
        self.forget(run, target, id, &report);
        Ok(report)
    }
}

/// Waits until someone asks for the job to stop; for ever, where what it does is brought to its end.
pub(super) async fn stop_asked(run: &Run, stops: bool) {
    if stops { run.cancel.requested().await } else { std::future::pending().await }
}

/// Says what a command came to on a server: its output in pieces, then the rest.
pub(super) fn tell(run: &Run, target: &Target, what: &str, report: &Report) {
    let server = &target.name;
    for (stream, text) in [("stdout", &report.stdout), ("stderr", &report.stderr)] {
        let mut rest = &text[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.floor_char_boundary(ENTRY_BYTES));
            run.note(&json!({ "server": server, stream: piece }));
            rest = behind;
        }
    }
    let Report { outcome, exit_code, signal, timed_out, stdout: _, stderr: _, truncated, message, .. } = report;
    run.note(&json!({
        "status": outcome,
        "server": server,
        "driver": target.reach.driver(),
        "command": what,
        "exit_code": exit_code,
        "signal": signal,
        "timed_out": timed_out,
        "truncated": truncated,
        "message": message,
        "duration_in_seconds": report.duration_in_seconds,
    }));
}

/// How commands reach a server.
pub(super) fn target_of(target: &CommandTarget) -> Target {
    let reach = match &target.connection {
        Connection::Local(_) => Reach::Local,
        Connection::Ssh(ssh) => Reach::Ssh(Box::new(SshReach {
            host: ssh_host(&target.name, ssh),
            jump: target.jump.as_ref().and_then(|(name, connection)| match connection {
                Connection::Ssh(ssh) => Some(ssh_host(name, ssh)),
                Connection::Local(_) | Connection::Salt(_) => None,
            }),
            sudo: ssh.sudo,
        })),
        Connection::Salt(SaltConnection { minion }) => Reach::Salt { minion: minion.clone() },
    };
    Target { name: target.name.to_string(), reach }
}

fn ssh_host(server: &ServerName, ssh: &SshConnection) -> SshHost {
    let SshConnection { host, port, user, host_key: _, keypair, jump: _, sudo: _ } = ssh;
    SshHost {
        server: server.to_string(),
        host: host.clone(),
        port: *port,
        user: user.clone(),
        keypair: keypair.as_ref().map(ToString::to_string),
    }
}

/// The keys that the database has.
pub struct StoredKeys(pub DataSvc);

impl Keyring for StoredKeys {
    fn keypair<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<SshKeys, String>> {
        async move {
            let name = KeypairName::parse(name).map_err(|error| error.to_string())?;
            let keys = self.0.unsealed_keypair(&name).await.map_err(|error| error.to_string())?;
            Ok(SshKeys { private: keys.private, public: keys.public })
        }
        .boxed()
    }

    fn host_key<'a>(&'a self, server: &'a str) -> BoxFuture<'a, Result<Option<String>, String>> {
        async move {
            let server = ServerName::parse(server).map_err(|error| error.to_string())?;
            self.0.host_key(&server).await.map_err(|error| error.to_string())
        }
        .boxed()
    }

    fn pin<'a>(&'a self, server: &'a str, key: String) -> BoxFuture<'a, Result<String, String>> {
        async move {
            let server = ServerName::parse(server).map_err(|error| error.to_string())?;
            self.0.pin_host_key(&server, &key).await.map_err(|error| error.to_string())
        }
        .boxed()
    }
}

/// What servers fetch once from this installation.
pub struct StoredHandovers {
    /// Where it is kept.
    pub svc: DataSvc,
    /// Where servers reach this one.
    pub public_url: String,
}

impl Handovers for StoredHandovers {
    fn hand_over<'a>(&'a self, server: &'a str, content: &'a [u8]) -> BoxFuture<'a, Result<String, String>> {
        async move {
            let secret = self.svc.hand_over(server, content).await;
            let secret = secret.map_err(|error| format!("its input could not be kept for the server: {error}"))?;
            Ok(format!("{}/once/{secret}", self.public_url.trim_end_matches('/')))
        }
        .boxed()
    }
}

/// What such a job was asked: its `data`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Asked {
    /// By a plugin, in another job.
    ByPlugin(ByPlugin),
    /// A check of servers.
    Check(Check),
    /// By a user.
    Command(CommandRequest),
}

/// The kind of work that runs commands on servers.
pub(super) struct Commands(pub(super) Work);

impl Kind for Commands {
    const NAME: &'static str = SERVER;

    type Asked = Asked;

    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()> {
        match (caller.username(), &lane.username) {
            (Some(name), Some(own)) if name.as_str() == own => Ok(()),
            _ => caller.require_global(Permission::Write),
        }
    }

    async fn run(&self, run: &Run, asked: Asked) -> Outcome {
        let done = match asked {
            Asked::ByPlugin(asked) => self.0.work_for_plugin(run, &asked).await.map(|reports| to_raw_value(&reports)),
            Asked::Check(asked) => self.0.check(run, &asked).await.map(|health| to_raw_value(&health)),
            Asked::Command(request) => self.command(run, &request).await.map(|reports| to_raw_value(&reports)),
        };
        match done {
            Ok(Ok(result)) => Outcome::Succeeded(result),
            Ok(Err(error)) => Outcome::Failed(internal(&error)),
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

impl Commands {
    /// Runs the command on each server: a report by server.
    async fn command(&self, run: &Run, request: &CommandRequest) -> StepResult<BTreeMap<String, Report>> {
        let journal = run.journal().await?;
        let targets: Vec<Target> = journal.repeatable("look up servers", self.targets(run, request)).await?;
        let command = request.command();
        // Commands take no place of others while they wait for servers.
        let _lent = run.lend_slot();
        let (journal, command) = (&journal, &command);
        let one = |target: Target, seat: Option<Seat>| async move {
            if run.cancel.is_requested() {
                return Err(JobError::cancelled("someone"));
            }
            let step = format!("command {}", target.name);
            let report = self.0.command_step((run, journal), &step, &target, (command, true), seat).await?;
            Ok((target.name, report))
        };
        let (minions, others): (Vec<_>, Vec<_>) =
            targets.into_iter().partition(|target| matches!(target.reach, Reach::Salt { .. }));
        let others = stream::iter(others).map(|target| one(target, None)).buffer_unordered(SERVERS_AT_A_TIME);
        // How many minions are at work at a time is for their driver to say.
        let tables = minions.chunks(MINIONS_AT_A_TIME).map(|minions| {
            let seats = together(CommandId::new(), minions.len()).into_iter().map(Some);
            minions.iter().cloned().zip(seats)
        });
        let minions = tables.flatten().map(|(target, seat)| one(target, seat)).collect::<FuturesUnordered<_>>();
        let ended: Vec<StepResult<(String, Report)>> = stream::select(others, minions).collect().await;
        let reports = ended.into_iter().collect::<StepResult<BTreeMap<_, _>>>()?;
        match run.cancel.is_requested() {
            true => Err(JobError::cancelled("someone")),
            false => Ok(reports),
        }
    }

    /// The servers, if whoever asked may still send commands to them.
    async fn targets(&self, run: &Run, request: &CommandRequest) -> StepResult<Vec<Target>> {
        let svc = &self.0.0.svc;
        let requester = patiently(|| svc.requester(run.claim.job_id)).await.map_err(|error| internal(&error))?;
        let ended = || {
            let message = "the token of this request expired before the command started; ask for it again";
            JobError::new(JobErrorCode::NotAllowed, message)
        };
        let requester = requester.ok_or_else(ended)?;
        let found = patiently(|| svc.command_targets(&requester, &request.servers)).await;
        let found = found.map_err(|error| match error {
            Error::Denied { reason } => JobError::new(JobErrorCode::NotAllowed, reason),
            Error::NotFound { .. } => JobError::new(JobErrorCode::NotFound, error.to_string()),
            error => internal(&error),
        })?;
        Ok(found.iter().map(target_of).collect())
    }
}

pub(super) fn internal(cause: &(dyn std::error::Error + 'static)) -> JobError {
    JobError::internal("a command for servers failed because of an internal error", cause)
}
