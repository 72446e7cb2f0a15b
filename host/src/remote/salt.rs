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
mod windows;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, oneshot};

pub use self::api::SaltSettings;
pub use self::functions::SaltFunction;
pub(super) use self::jid::{next_microsecond, uuid_of};
pub use self::together::{Seat, together};

use self::api::Api;
use self::call::{Call, End};
use self::events::Waiting;
use self::jid::{jid_of, new_jid};
use self::shell::{Answer, Input, LEAST_OUTPUT_BYTES, MAX_OUTPUT_BYTES};
use self::together::Member;
use super::command::Command;
use super::report::{Report, Seen};
use super::sh::{GRACE_SECONDS, environment, forgetting, looking, stopping, wrapper};
use super::system::{Os, System};
use super::{ANSWER_WITHIN, CommandId, Driver, InvalidCommand, Reach, Target};

/// How many minions do something for us at a time; further ones wait.
const MINIONS_AT_A_TIME: usize = 500;
/// How long requests about one command are gathered, so that those for many minions become one.
const GATHER: Duration = Duration::from_millis(100);
/// How many commands are forgotten by one job of Salt.
const FORGOTTEN_AT_ONCE: usize = 500;
/// How often minions are told something whose answer is not waited for: the master may be away for a moment.
const TELLS: usize = 3;

/// What servers are given by a way of their own, which nobody sees who sees commands.
pub trait Handovers: Send + Sync + 'static {
    /// A URL at which the server of this name finds this, once and within a minute.
    fn hand_over<'a>(&'a self, server: &'a str, content: &'a [u8]) -> BoxFuture<'a, Result<String, String>>;
}

/// Minions of a Salt master. Cheap to clone.
#[derive(Clone)]
pub struct Salt(Arc<Inner>);

struct Inner {
    api: Arc<Api>,
    handovers: Option<Arc<dyn Handovers>>,
    waiting: Arc<Waiting>,
    /// A permit is a look into the master's job cache.
    lookups: Semaphore,
    /// A permit is a minion.
    minions: Arc<Semaphore>,
    gathered: Mutex<HashMap<(Request, CommandId), Vec<Asked>>>,
    /// What minions are to forget, by the next job that has them do so.
    forgotten: Mutex<Vec<Forgotten>>,
    /// Minions that have said that they run Windows.
    windows: Mutex<HashSet<String>>,
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
}

struct Asked {
    minion: String,
    command: Command,
    tell: oneshot::Sender<End>,
}

struct Forgotten {
    minion: String,
    id: CommandId,
    /// Dropped once the minion was told.
    _told: oneshot::Sender<()>,
}

impl Salt {
    /// Over this salt-api, which is reached when it is needed first. Without `handovers` no command has a secret in its
    /// input.
    ///
    /// # Errors
    /// What is wrong with the settings.
    pub fn new(settings: SaltSettings, handovers: Option<Arc<dyn Handovers>>) -> Result<Self, String> {
        let (api, waiting) = (Arc::new(Api::new(settings)?), Arc::new(Waiting::default()));
        tokio::spawn(events::follow(api.clone(), Arc::downgrade(&waiting)));
        Ok(Self(Arc::new(Inner {
            api,
            handovers,
            waiting,
            lookups: Semaphore::new(1),
            minions: Arc::new(Semaphore::new(MINIONS_AT_A_TIME)),
            gathered: Mutex::default(),
            forgotten: Mutex::default(),
            windows: Mutex::default(),
            states: Mutex::default(),
        })))
    }

    /// Makes sure that a command can be carried.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(&self, command: &Command) -> Result<(), InvalidCommand> {
        shell::check(command, self.hands_over())
    }

    /// Whether minions can be handed over what is long.
    pub(super) fn hands_over(&self) -> bool {
        self.0.handovers.is_some()
    }

    /// Runs one command on several minions, by one job, and tells each what it came to.
    async fn run_on(&self, id: CommandId, command: &Command, members: Vec<Member>) {
        let command = limited(command);
        let (windows, mut members): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| self.runs_windows(&member.minion));
        for member in windows {
            let (salt, command) = (self.clone(), command.clone());
            tokio::spawn(async move {
                let Ok(_place) = salt.0.minions.acquire().await else { return };
                let report = salt.run_on_windows(id, jid_of(id.0), &member.server, member.minion, &command).await;
                let _ = member.tell.send(report);
            });
        }
        if members.is_empty() {
            return;
        }
        let many = u32::try_from(members.len().min(MINIONS_AT_A_TIME)).unwrap_or(u32::MAX);
        // It is never closed.
        let Ok(mut places) = self.0.minions.clone().acquire_many_owned(many).await else { return };
        let began = Instant::now();
        members.retain(|member| !member.tell.is_closed());
        let url = match &members[..] {
            [one] => self.hand_over(&command, &one.server, environment(&command).into_bytes()).await,
            _ if shell::is_confidential(&command) => {
                Err("it has secrets for one server, and it was asked for several".into())
            }
            _ => Ok(None),
        };
        let url = match url {
            Ok(url) => url,
            Err(why) => {
                for member in members {
                    let _ = member.tell.send(Report::no_response(&*why));
                }
                return;
            }
        };
        let input = Input::of(&command, url.as_deref());
        let minions = members.iter().map(|member| member.minion.clone()).collect();
        let mut members: HashMap<_, _> = members.into_iter().map(|member| (member.minion.clone(), member)).collect();
        let call = Call {
            jid: jid_of(id.0),
            function: "cmd.run_all".into(),
            arguments: Vec::new(),
            keyword_arguments: shell::arguments(
                id,
                &wrapper(id, &command, command.directory.as_deref(), input.environment()),
                input,
            ),
            within: command.timeout + Duration::from_secs(GRACE_SECONDS) + ANSWER_WITHIN,
        };
        let command = Arc::new(command);
        self.0
            .call(&call, minions, false, |minion, end| {
                let (Some(member), place) = (members.remove(&minion), places.split(1)) else { return };
                let (salt, command) = (self.clone(), command.clone());
                tokio::spawn(async move {
                    let report = if shell::has_no_shell(&end) {
                        salt.note_windows(&minion);
                        salt.run_on_windows(id, new_jid(), &member.server, minion, &command).await
                    } else {
                        salt.report(id, minion, &bare(&command), end).await
                    };
                    let _ =
                        member.tell.send(Report { duration_in_seconds: Some(began.elapsed().as_secs_f64()), ..report });
                    drop(place);
                });
            })
            .await;
    }

    /// Hands a command's environment, as the server's script reads it, and its input over to its server, where they are not
    /// to be sent with the job: the URL.
    async fn hand_over(&self, command: &Command, server: &str, environment: Vec<u8>) -> Result<Option<String>, String> {
        match &self.0.handovers {
            Some(handovers) if shell::is_to_be_handed_over(command) => {
                let content = [&environment[..], &command.input].concat();
                handovers.hand_over(server, &content).await.map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// What the end of a job says of its command, which was sent by us.
    async fn report(&self, id: CommandId, minion: String, command: &Command, end: End) -> Report {
        let why = match end {
            End::Returned(returned) => match shell::answer(id, &returned, command) {
                Answer::Ended(report) | Answer::Lost(report) => return report,
                Answer::Refused(why) => {
                    return Report::no_response(format!("the server did not begin the command: {why}"));
                }
                Answer::Exposed => return Report::exposed(),
                Answer::Impossible(said) => {
                    return Report::no_response(format!(
                        "the minion cannot run the command; it needs /bin/sh, or PowerShell where it runs Windows: {said}"
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
                self.ask(Request::Stop, id, minion, command).await;
                Report::no_response(why)
            }
        }
    }

    /// What became of a command whose job was perhaps sent, by whoever that was.
    async fn look_for(&self, id: CommandId, minion: String, command: &Command) -> Seen {
        match self.ask(Request::Follow, id, minion.clone(), command).await {
            End::Returned(returned) => match shell::answer(id, &returned, command) {
                Answer::Ended(report) | Answer::Lost(report) => return Seen::Done(report),
                // It was to be run by PowerShell then.
                Answer::Impossible(_) => self.note_windows(&minion),
                Answer::Exposed => return Seen::Done(Report::exposed()),
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
            match self.ask(Request::Look { is_cut }, id, minion.clone(), command).await {
                End::Returned(returned) => match shell::answer(id, &returned, &shown(command, is_cut)) {
                    Answer::Ended(report) | Answer::Lost(report) => return Seen::Done(report),
                    Answer::Absent => return Seen::NotDone,
                    Answer::Nothing(said) | Answer::Refused(said) | Answer::Impossible(said) => why = said,
                    Answer::Known | Answer::Exposed => {}
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
    async fn ask(&self, request: Request, id: CommandId, minion: String, command: &Command) -> End {
        if self.runs_windows(&minion) && request != Request::Follow {
            return self.ask_windows(request, id, minion, command).await;
        }
        let end = self.ask_with_others(request, id, minion.clone(), command).await;
        if request != Request::Follow && shell::has_no_shell(&end) {
            self.note_windows(&minion);
            return self.ask_windows(request, id, minion, command).await;
        }
        end
    }

    async fn ask_with_others(&self, request: Request, id: CommandId, minion: String, command: &Command) -> End {
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
                tokio::time::sleep(GATHER).await;
                let asked = salt.0.gathered.lock().unwrap_or_else(PoisonError::into_inner).remove(&(request, id));
                salt.ask_all(request, id, asked.unwrap_or_default()).await;
            });
        }
        told.await.unwrap_or_else(|_| End::Unclear("the server stops".into()))
    }

    async fn ask_all(&self, request: Request, id: CommandId, asked: Vec<Asked>) {
        let Some(first) = asked.first() else { return };
        let command = first.command.clone();
        let minions: Vec<_> = asked.iter().map(|asked| asked.minion.clone()).collect();
        let mut asked: HashMap<_, _> = asked.into_iter().map(|asked| (asked.minion, asked.tell)).collect();
        let within = command.timeout + ANSWER_WITHIN + Duration::from_secs(GRACE_SECONDS);
        let (jid, keyword_arguments) = match request {
            Request::Follow => (jid_of(id.0), Map::new()),
            Request::Look { is_cut } => {
                let script = looking(id, shown(&command, is_cut).output_bytes);
                (new_jid(), shell::arguments(id, &script, Input::None))
            }
            Request::Stop => {
                let end = self.0.tell(shell::arguments(id, &stopping(id), Input::None), &minions).await;
                for (_, tell) in asked {
                    let _ = tell.send(end.clone());
                }
                return;
            }
        };
        let is_sent = request == Request::Follow;
        let call = Call { jid, function: "cmd.run_all".into(), arguments: Vec::new(), keyword_arguments, within };
        self.0
            .call(&call, minions, is_sent, |minion, end| {
                if let Some(tell) = asked.remove(&minion) {
                    let _ = tell.send(end);
                }
            })
            .await;
    }

    /// Has minions forget all that is to be forgotten by now.
    async fn forget_all(&self) {
        let mut forgotten = std::mem::take(&mut *self.0.forgotten.lock().unwrap_or_else(PoisonError::into_inner));
        forgotten.sort_by(|one, other| one.minion.cmp(&other.minion));
        let (windows, others): (Vec<_>, Vec<_>) =
            forgotten.into_iter().partition(|forgotten| self.runs_windows(&forgotten.minion));
        let some = windows.chunks(FORGOTTEN_AT_ONCE).map(|some| (some, true));
        for (some, runs_windows) in some.chain(others.chunks(FORGOTTEN_AT_ONCE).map(|some| (some, false))) {
            let ids: HashSet<_> = some.iter().map(|forgotten| forgotten.id).collect();
            let minions: HashSet<_> = some.iter().map(|forgotten| forgotten.minion.clone()).collect();
            let (ids, minions): (Vec<_>, Vec<_>) = (ids.into_iter().collect(), minions.into_iter().collect());
            let arguments = match runs_windows {
                true => windows::forgetting(&ids),
                false => shell::arguments(CommandId::new(), &forgetting(&ids), Input::None),
            };
            if let End::NotSent(why) = self.0.tell(arguments, &minions).await {
                tracing::warn!("what minions keep of {} commands stays for two days: {why}", ids.len());
            }
        }
    }
}

impl Inner {
    /// Has minions run a script whose answer is not waited for.
    async fn tell(&self, keyword_arguments: Map<String, Value>, minions: &[String]) -> End {
        let call = Call {
            jid: new_jid(),
            function: "cmd.run_all".into(),
            arguments: Vec::new(),
            keyword_arguments,
            within: ANSWER_WITHIN,
        };
        let mut last = String::new();
        for _ in 0..TELLS {
            match self.publish(&call, minions).await {
                Ok(_) => return End::Unheard,
                Err(error) => error.why().clone_into(&mut last),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        End::NotSent(last)
    }
}

impl Driver for Salt {
    fn run<'a>(&'a self, target: &'a Target, id: CommandId, command: &'a Command) -> BoxFuture<'a, Report> {
        async move {
            let Some(seat) = together(id, 1).pop() else { return Report::no_response("too many commands are running") };
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
            self.ask(Request::Stop, id, minion, &Command::new(["true"])).await;
        }
        .boxed()
    }

    fn forget<'a>(&'a self, target: &'a Target, id: CommandId) -> BoxFuture<'a, ()> {
        async move {
            let Some(minion) = minion(target) else { return };
            let (told, is_told) = oneshot::channel();
            let is_first = {
                let mut forgotten = self.0.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
                forgotten.push(Forgotten { minion, id, _told: told });
                forgotten.len() == 1
            };
            if is_first {
                let salt = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(GATHER).await;
                    salt.forget_all().await;
                });
            }
            // It is dropped then.
            let _ = is_told.await;
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
