//! The driver `salt`: minions of a Salt master, by its salt-api.
//!
//! A command is a job of Salt with the jid of its id, in which `cmd.run_all` runs the same script as other servers do: so
//! it runs once under its id, under its deadline there, and can be looked at by whoever takes over, also where the
//! master has forgotten it. One stream of events follows all jobs (`events`), and what it does not tell is asked for
//! (`call`). Servers that are to get the same command at the same time share a job ([`Together`]).

mod api;
mod call;
mod events;
mod functions;
mod jid;
mod shell;
mod together;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Map, json};
use tokio::sync::{Semaphore, oneshot};

pub use self::api::SaltSettings;
pub use self::functions::SaltFunction;
pub(super) use self::jid::{next_microsecond, uuid_of};
pub use self::together::{Seat, together};

use self::api::Api;
use self::call::{Call, End};
use self::events::Waiting;
use self::jid::{jid_of, new_jid};
use self::shell::{Answer, LEAST_OUTPUT_BYTES, MAX_OUTPUT_BYTES};
use super::command::Command;
use super::report::{Report, Seen};
use super::sh::{GRACE_SECONDS, forgetting, looking, stopping, wrapper};
use super::system::{Os, System};
use super::{ANSWER_WITHIN, CommandId, Driver, InvalidCommand, Reach, Target};

/// How many minions do something for us at a time; further ones wait.
const MINIONS_AT_A_TIME: usize = 500;
/// How long requests about one command are gathered, so that those for many minions become one.
const GATHER: Duration = Duration::from_millis(100);
/// The same for what is in no hurry.
const GATHER_SLOWLY: Duration = Duration::from_secs(2);

/// Minions of a Salt master. Cheap to clone.
#[derive(Clone)]
pub struct Salt(Arc<Inner>);

struct Inner {
    api: Arc<Api>,
    waiting: Arc<Waiting>,
    /// A permit is a look into the master's job cache.
    lookups: Semaphore,
    /// A permit is a minion.
    minions: Arc<Semaphore>,
    gathered: Mutex<HashMap<(Request, CommandId), Vec<Asked>>>,
    /// What runs states on a minion holds its lock.
    states: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// What is asked about a command that was sent.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Request {
    /// What became of its job.
    Follow,
    /// What the minion has on record of it; as much of its output as a master is certain to let through if it is cut.
    Look {
        is_cut: bool,
    },
    Stop,
    Forget,
}

struct Asked {
    minion: String,
    command: Command,
    tell: oneshot::Sender<End>,
}

impl Salt {
    /// Over this salt-api, which is reached when it is needed first.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: SaltSettings) -> Result<Self, String> {
        let (api, waiting) = (Arc::new(Api::new(settings)?), Arc::new(Waiting::default()));
        tokio::spawn(events::follow(api.clone(), Arc::downgrade(&waiting)));
        Ok(Self(Arc::new(Inner {
            api,
            waiting,
            lookups: Semaphore::new(1),
            minions: Arc::new(Semaphore::new(MINIONS_AT_A_TIME)),
            gathered: Mutex::default(),
            states: Mutex::default(),
        })))
    }

    /// Makes sure that a command can be carried.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(command: &Command) -> Result<(), InvalidCommand> {
        shell::check(command)
    }

    /// Runs one command on several minions, by one job, and tells each what it came to.
    async fn run_on(&self, id: CommandId, command: &Command, mut members: Vec<(String, oneshot::Sender<Report>)>) {
        let command = limited(command);
        let many = u32::try_from(members.len().min(MINIONS_AT_A_TIME)).unwrap_or(u32::MAX);
        // It is never closed.
        let Ok(mut places) = self.0.minions.clone().acquire_many_owned(many).await else { return };
        let began = Instant::now();
        members.retain(|(_, tell)| !tell.is_closed());
        let minions = members.iter().map(|(minion, _)| minion.clone()).collect();
        let mut members: HashMap<_, _> = members.into_iter().collect();
        let call = Call {
            jid: jid_of(id.0),
            function: "cmd.run_all".into(),
            arguments: Vec::new(),
            keyword_arguments: shell::arguments(
                id,
                &wrapper(id, &command, command.directory.as_deref()),
                &command.input,
            ),
            within: command.timeout + Duration::from_secs(GRACE_SECONDS) + ANSWER_WITHIN,
        };
        let command = Arc::new(bare(&command));
        self.0
            .call(&call, minions, false, |minion, end| {
                let (Some(tell), place) = (members.remove(&minion), places.split(1)) else { return };
                let (salt, command) = (self.clone(), command.clone());
                tokio::spawn(async move {
                    let report = salt.report(id, minion, &command, end).await;
                    let _ = tell.send(Report { duration_in_seconds: Some(began.elapsed().as_secs_f64()), ..report });
                    drop(place);
                });
            })
            .await;
    }

    /// What the end of a job says of its command, which was sent by us.
    async fn report(&self, id: CommandId, minion: String, command: &Command, end: End) -> Report {
        let why = match end {
            End::Returned(returned) => match shell::answer(id, &returned, command) {
                Answer::Ended(report) | Answer::Lost(report) => return report,
                Answer::Refused(why) => {
                    return Report::no_response(format!("the server did not begin the command: {why}"));
                }
                Answer::Impossible(said) => {
                    return Report::no_response(format!(
                        "the minion cannot run the command; it needs /bin/sh, which Windows does not have: {said}"
                    ));
                }
                Answer::Nothing(said) => format!("the minion did not run the command: {said}"),
                Answer::Known | Answer::Absent => "the minion did not begin the command".into(),
            },
            End::NotSent(why) => return Report::no_response(why),
            End::Silent { ran: false } => return Report::no_response("the minion does not answer"),
            End::NotRunning | End::Unheard => "the minion did not begin the command".into(),
            End::Silent { ran: true } => return Report::unknown("the command began, and the minion does not answer"),
            End::Late => return Report::unknown("it began, and the minion has not ended it in time"),
            End::Unclear(why) => return Report::unknown(why),
        };
        match self.look_there(id, minion.clone(), command).await {
            Seen::Done(report) => report,
            Seen::NotDone => {
                // Should it still come: it is not to begin then.
                self.ask(Request::Stop, id, minion, command, GATHER).await;
                Report::no_response(why)
            }
        }
    }

    /// What became of a command whose job was perhaps sent, by whoever that was.
    async fn look_for(&self, id: CommandId, minion: String, command: &Command) -> Seen {
        match self.ask(Request::Follow, id, minion.clone(), command, GATHER).await {
            End::Returned(returned) => match shell::answer(id, &returned, command) {
                Answer::Ended(report) | Answer::Lost(report) => return Seen::Done(report),
                Answer::Impossible(said) => return Seen::Done(Report::no_response(said)),
                Answer::Refused(_) | Answer::Nothing(_) | Answer::Known | Answer::Absent => {}
            },
            End::NotRunning | End::Unheard => {}
            End::Silent { .. } => {
                return Seen::Done(Report::unknown("the command may have begun, and the minion does not answer"));
            }
            End::Late => return Seen::Done(unseen("it has not ended, and its time is over")),
            End::NotSent(why) | End::Unclear(why) => return Seen::Done(unseen(&why)),
        }
        self.look_there(id, minion, command).await
    }

    /// What the minion itself has on record of a command.
    async fn look_there(&self, id: CommandId, minion: String, command: &Command) -> Seen {
        let mut why = String::from("the minion's answer makes no sense");
        for is_cut in [false, true] {
            match self.ask(Request::Look { is_cut }, id, minion.clone(), command, GATHER).await {
                End::Returned(returned) => match shell::answer(id, &returned, &shown(command, is_cut)) {
                    Answer::Ended(report) | Answer::Lost(report) => return Seen::Done(report),
                    Answer::Absent => return Seen::NotDone,
                    Answer::Nothing(said) | Answer::Refused(said) | Answer::Impossible(said) => why = said,
                    Answer::Known => {}
                },
                End::NotSent(said) | End::Unclear(said) => why = said,
                End::Unheard | End::NotRunning | End::Late | End::Silent { .. } => {
                    why = "the minion does not answer".into()
                }
            }
        }
        Seen::Done(unseen(&why))
    }

    /// Asks about a command; requests about the same one that come at about the same time are one job.
    async fn ask(&self, request: Request, id: CommandId, minion: String, command: &Command, gather: Duration) -> End {
        let (tell, told) = oneshot::channel();
        let asked = Asked { minion, command: bare(command), tell };
        let is_first = {
            let mut gathered = self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            let asked_before = gathered.entry((request, id)).or_default();
            asked_before.push(asked);
            asked_before.len() == 1
        };
        if is_first {
            let salt = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(gather).await;
                let asked = salt.0.gathered.lock().unwrap_or_else(PoisonError::into_inner).remove(&(request, id));
                salt.ask_all(request, id, asked.unwrap_or_default()).await;
            });
        }
        told.await.unwrap_or_else(|_| End::Unclear("the server stops".into()))
    }

    async fn ask_all(&self, request: Request, id: CommandId, asked: Vec<Asked>) {
        let Some(first) = asked.first() else { return };
        let command = first.command.clone();
        let (script, mut within) = match request {
            Request::Follow => (String::new(), command.timeout + ANSWER_WITHIN),
            Request::Look { is_cut } => {
                (looking(id, shown(&command, is_cut).output_bytes), command.timeout + ANSWER_WITHIN)
            }
            Request::Stop => (stopping(id), ANSWER_WITHIN),
            Request::Forget => (forgetting(id), ANSWER_WITHIN),
        };
        within += Duration::from_secs(GRACE_SECONDS);
        let is_sent = request == Request::Follow;
        let call = Call {
            jid: if is_sent { jid_of(id.0) } else { new_jid() },
            function: "cmd.run_all".into(),
            arguments: Vec::new(),
            keyword_arguments: if is_sent { Map::new() } else { shell::arguments(id, &script, &[]) },
            within,
        };
        let minions: Vec<_> = asked.iter().map(|asked| asked.minion.clone()).collect();
        let mut asked: HashMap<_, _> = asked.into_iter().map(|asked| (asked.minion, asked.tell)).collect();
        if let Request::Stop | Request::Forget = request {
            // What it comes to is not waited for: the command that is stopped says so itself.
            let sent = self.0.publish(&call, &minions).await;
            for (_, tell) in asked {
                let _ = tell.send(match &sent {
                    Ok(_) => End::Unheard,
                    Err(error) => End::NotSent(error.why().to_owned()),
                });
            }
            return;
        }
        self.0
            .call(&call, minions, is_sent, |minion, end| {
                if let Some(tell) = asked.remove(&minion) {
                    let _ = tell.send(end);
                }
            })
            .await;
    }
}

impl Driver for Salt {
    fn run<'a>(&'a self, target: &'a Target, id: CommandId, command: &'a Command) -> BoxFuture<'a, Report> {
        async move {
            let Some(seat) = together(id, 1).pop() else { return Report::no_response("there is no place for it") };
            seat.run(self, target, command).await
        }
        .boxed()
    }

    fn look<'a>(&'a self, target: &'a Target, id: CommandId, command: &'a Command) -> BoxFuture<'a, Seen> {
        async move {
            match minion(target) {
                Some(minion) => self.look_for(id, minion, &bare(command)).await,
                None => Seen::NotDone,
            }
        }
        .boxed()
    }

    fn stop<'a>(&'a self, target: &'a Target, id: CommandId) -> BoxFuture<'a, ()> {
        async move {
            let Some(minion) = minion(target) else { return };
            // The master may be away for a moment.
            for _ in 0..3 {
                match self.ask(Request::Stop, id, minion.clone(), &Command::new(["true"]), GATHER).await {
                    End::NotSent(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                    _ => return,
                }
            }
        }
        .boxed()
    }

    fn forget<'a>(&'a self, target: &'a Target, id: CommandId) -> BoxFuture<'a, ()> {
        async move {
            let Some(minion) = minion(target) else { return };
            self.ask(Request::Forget, id, minion, &Command::new(["true"]), GATHER_SLOWLY).await;
        }
        .boxed()
    }

    fn system<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<System, String>> {
        async move {
            let asked = SaltFunction {
                function: "grains.get".into(),
                arguments: vec![json!("kernel")],
                keyword_arguments: Vec::new(),
                timeout: ANSWER_WITHIN,
            };
            let report = self.function(target, CommandId::new(), &asked, LEAST_OUTPUT_BYTES).await;
            match serde_json::from_str::<String>(&report.stdout) {
                Ok(name) if report.is_ok() && !name.is_empty() => {
                    let os = if name == "Windows" { Os::Windows } else { Os::Unix };
                    Ok(System { os, name })
                }
                _ => Err(report.message.unwrap_or_else(|| "the minion does not say what it runs on".into())),
            }
        }
        .boxed()
    }
}

/// Which minion a server is.
fn minion(target: &Target) -> Option<String> {
    match &target.reach {
        Reach::Salt { minion } => Some(minion.clone()),
        Reach::Local | Reach::Ssh(_) => None,
    }
}

/// With no more output than Salt carries.
fn limited(command: &Command) -> Command {
    Command { output_bytes: command.output_bytes.min(MAX_OUTPUT_BYTES), ..command.clone() }
}

/// Only what is needed to read its answer: there may be one for each of thousands of minions.
fn bare(command: &Command) -> Command {
    let Command { timeout, output_bytes, secrets, .. } = command;
    let (timeout, secrets) = (*timeout, secrets.clone());
    limited(&Command { timeout, output_bytes: *output_bytes, secrets, ..Command::new(["true"]) })
}

fn shown(command: &Command, is_cut: bool) -> Command {
    let most = if is_cut { LEAST_OUTPUT_BYTES } else { command.output_bytes };
    Command { output_bytes: command.output_bytes.min(most), ..command.clone() }
}

fn unseen(why: &str) -> Report {
    Report::unknown(format!("the command may have begun, and what became of it could not be seen: {why}"))
}
