//! Commands on servers, by SSH, by Salt or on this machine: one interface, whatever reaches the server.
//!
//! Knows servers by a name and how they are reached, and nothing of documents, jobs or users. A command has an id that
//! its caller makes and records before: on the server it runs once under that id, under its deadline there, and what it
//! came to is kept there until it is [forgotten](Remote::forget). So whoever lost sight of it, or takes over from a
//! server that has died, can [look](Remote::look).
//!
//! Start reading at [`Command`] (what is asked), [`Report`] (what comes of it) and `wrapper.sh` (what the server does).
//! `sh` makes the scripts and reads their answers, and `local`, `ssh` and `salt` are drivers. A [`Verb`] is what a plugin
//! asks for; [`Files`] and [`GitVerb`] make commands of it for the operating system of the server.

mod command;
mod files;
mod git;
mod inspect;
mod local;
mod mask;
mod quote;
mod report;
mod salt;
mod sh;
mod ssh;
mod system;
mod verb;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

pub use self::command::{Command, InvalidCommand, Program, Shell};
pub use self::files::{Files, Piece, check_file, check_mode};
pub use self::git::{Favor, GitVerb, Pull};
pub use self::inspect::Equipment;
pub use self::local::{LocalServers, LocalServersError};
pub use self::mask::masked;
pub use self::report::{Outcome, Report, Seen};
pub use self::salt::{Handovers, Salt, SaltFunction, SaltSettings, Seat, together};
pub use self::ssh::{Keyring, LentSsh, Ssh, SshHost, SshKeys, SshReach};
pub use self::system::{Os, System};
pub use self::verb::Verb;

/// How long a server may take to say what became of a command, or to end it, beside the command's own time.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How many servers are told at a time what to forget.
const FORGETTING_AT_A_TIME: usize = 32;

/// A server, and what it is reached by.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Its name, unique in this installation: letters, digits, `.`, `_` and `-`, beginning with a letter or a digit.
    pub name: String,
    /// How it is reached.
    pub reach: Reach,
}

/// How a server is reached.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "driver")]
pub enum Reach {
    /// It is a directory of this machine.
    Local,
    /// By the OpenSSH client.
    Ssh(Box<SshReach>),
    /// By a Salt master.
    Salt {
        /// The id of its minion.
        minion: String,
    },
}

impl Reach {
    /// The driver, as in documents.
    pub fn driver(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Ssh(_) => "ssh",
            Self::Salt { .. } => "salt",
        }
    }
}

/// The id of a command: on its server it runs once.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommandId(Uuid);

impl CommandId {
    /// One that no command has.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        // Its time makes the id of a job of Salt.
        Self(salt::uuid_of(salt::next_microsecond()))
    }
}

impl std::fmt::Display for CommandId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.simple().fmt(formatter)
    }
}

/// What reaches servers.
trait Driver: Send + Sync {
    /// Runs a command. Ends when the command does, at the latest some seconds after its deadline.
    fn run<'a>(&'a self, target: &'a Target, id: CommandId, command: &'a Command) -> BoxFuture<'a, Report>;

    /// What became of a command that may have begun. Waits while it goes on, at most for its time.
    fn look<'a>(&'a self, target: &'a Target, id: CommandId, command: &'a Command) -> BoxFuture<'a, Seen>;

    /// Ends a command, if it has begun, and keeps it from beginning. What runs it gets its report.
    fn stop<'a>(&'a self, target: &'a Target, id: CommandId) -> BoxFuture<'a, ()>;

    /// Removes what the server keeps of a command, whose report is safe elsewhere.
    fn forget<'a>(&'a self, target: &'a Target, id: CommandId) -> BoxFuture<'a, ()>;

    /// What runs on the server, which is asked now and does nothing else. Why it did not say.
    fn system<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<System, String>>;
}

/// Commands on servers. Cheap to clone.
#[derive(Clone)]
pub struct Remote(Arc<Inner>);

struct Inner {
    local: Option<sh::Posix<LocalServers>>,
    ssh: sh::Posix<Ssh>,
    salt: Option<Salt>,
    systems: system::KnownSystems,
    /// A permit is a command, but for those by Salt, which has places of its own.
    room: Semaphore,
    /// A permit is a server that is told what to forget. Servers of the driver `salt` need no permit.
    forgetting: Semaphore,
}

impl Remote {
    /// Reaches servers of the drivers `local` and `salt` if these are given, and runs so many commands at a time.
    pub fn new(local: Option<LocalServers>, ssh: Ssh, salt: Option<Salt>, at_a_time: usize) -> Self {
        Self(Arc::new(Inner {
            local: local.map(sh::Posix),
            ssh: sh::Posix(ssh),
            salt,
            systems: system::KnownSystems::default(),
            room: Semaphore::new(at_a_time),
            forgetting: Semaphore::new(FORGETTING_AT_A_TIME),
        }))
    }

    /// Whether a server can be reached at all with the settings that there are.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn check(&self, target: &Target) -> Result<(), &'static str> {
        self.driver(target).map(|_| ())
    }

    /// Whether a server can be asked for this command.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_command(&self, target: &Target, command: &Command) -> Result<(), InvalidCommand> {
        command.check()?;
        match target.reach {
            Reach::Salt { .. } => self.0.salt.as_ref().map_or(Ok(()), |salt| salt.check(command)),
            Reach::Local | Reach::Ssh(_) => Ok(()),
        }
    }

    /// Runs a command on a server, once. Other commands may have to end before it begins. It goes on where this is
    /// dropped: then [`Remote::look`] or [`Remote::stop`].
    pub async fn run(&self, target: &Target, id: CommandId, command: &Command) -> Report {
        let driver = match self.driver(target) {
            Ok(driver) => driver,
            Err(why) => return Report::no_response(why),
        };
        if let Err(InvalidCommand { what, reason }) = self.check_command(target, command) {
            return Report::no_response(format!("{what}: {reason}"));
        }
        let _room = self.room(target).await;
        driver.run(target, id, command).await.masked(command)
    }

    /// The same on a server of the driver `salt`, together with the others that have a seat at this table.
    pub async fn run_together(&self, target: &Target, seat: Seat, command: &Command) -> Report {
        if let Err(InvalidCommand { what, reason }) = self.check_command(target, command) {
            return Report::no_response(format!("{what}: {reason}"));
        }
        match self.salt_driver() {
            Ok(salt) => seat.run(salt, target, command).await.masked(command),
            Err(why) => Report::no_response(why),
        }
    }

    /// Calls a function of Salt on a server, once. What it returned is the standard output of its report, as JSON, if that
    /// is not more than `most` bytes. It goes on where this is dropped.
    pub async fn salt(&self, target: &Target, id: CommandId, function: &SaltFunction, most: usize) -> Report {
        if let Err(InvalidCommand { what, reason }) = function.check() {
            return Report::no_response(format!("{what}: {reason}"));
        }
        match self.salt_driver() {
            Ok(salt) => salt.function(target, id, function, most).await,
            Err(why) => Report::no_response(why),
        }
    }

    /// What became of a function of Salt that was perhaps called. Waits while it runs, no longer than this.
    pub async fn look_for_salt(&self, target: &Target, id: CommandId, within: Duration, most: usize) -> Seen {
        match self.salt_driver() {
            Ok(salt) => salt.look_for_function(target, id, within, most).await,
            Err(why) => Seen::Done(Report::unknown(why)),
        }
    }

    /// Ends a function of Salt with all that it has started. Nothing is returned of it then.
    pub async fn end_salt(&self, target: &Target, id: CommandId) {
        if let Ok(salt) = self.salt_driver() {
            salt.end_function(target, id).await;
        }
    }

    /// What became of a command that may have begun. Waits while it goes on.
    pub async fn look(&self, target: &Target, id: CommandId, command: &Command) -> Seen {
        let _room = self.room(target).await;
        match self.driver(target) {
            Ok(driver) => match driver.look(target, id, command).await {
                Seen::Done(report) => Seen::Done(report.masked(command)),
                Seen::NotDone => Seen::NotDone,
            },
            Err(why) => Seen::Done(Report::unknown(why)),
        }
    }

    /// Ends a command with all that it has started, or keeps it from beginning.
    pub async fn stop(&self, target: &Target, id: CommandId) {
        if let Ok(driver) = self.driver(target) {
            driver.stop(target, id).await;
        }
    }

    /// Has the server forget a command, once its report is on record. What is not forgotten goes after two days.
    pub async fn forget(&self, target: &Target, id: CommandId) {
        let _place = match target.reach {
            Reach::Salt { .. } => None,
            Reach::Local | Reach::Ssh(_) => self.0.forgetting.acquire().await.ok(),
        };
        if let Ok(driver) = self.driver(target) {
            driver.forget(target, id).await;
        }
    }

    /// Where a path of a server is for its commands: for a server of the driver `local` below its directory, otherwise
    /// where it says. `path` is absolute, or begins with `~/`.
    pub fn path(&self, target: &Target, path: &str) -> String {
        match (&target.reach, &self.0.local) {
            (Reach::Local, Some(sh::Posix(local))) => local.path(&target.name, path),
            _ => path.to_owned(),
        }
    }

    fn driver(&self, target: &Target) -> Result<&dyn Driver, &'static str> {
        match (&target.reach, &self.0.local) {
            (Reach::Local, Some(local)) => Ok(local),
            (Reach::Local, None) => {
                Err("servers of the driver `local` are turned off: this server has to be started with \
                                         --local-servers, or with --dev where --listen is a loopback address")
            }
            (Reach::Ssh(_), _) => Ok(&self.0.ssh),
            (Reach::Salt { .. }, _) => Ok(self.salt_driver()?),
        }
    }

    /// Whether servers of the driver `salt` can be handed over what is long.
    fn hands_over(&self) -> bool {
        self.0.salt.as_ref().is_some_and(Salt::hands_over)
    }

    fn salt_driver(&self) -> Result<&Salt, &'static str> {
        self.0.salt.as_ref().ok_or(
            "commands for servers of the driver `salt` go by a Salt master: this server has to be started with --salt-url",
        )
    }

    async fn room(&self, target: &Target) -> Option<SemaphorePermit<'_>> {
        match target.reach {
            Reach::Salt { .. } => None,
            // It is never closed.
            Reach::Local | Reach::Ssh(_) => self.0.room.acquire().await.ok(),
        }
    }
}
