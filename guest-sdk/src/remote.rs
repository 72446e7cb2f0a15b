//! Commands on servers, whatever they are reached by and whatever runs there. The operator grants a plugin the interface
//! `remote`, and the servers.
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//! use elita_plugin::remote::{Command, Content};
//!
//! # fn example() -> Result<()> {
//! let servers = ["server01", "server02"];
//! remote::all_ok(&remote::delete_directory(&servers, "/opt/foobar")?)?;
//!
//! let restart = Command::new(["systemctl", "restart", "shop"]).timeout(30);
//! for report in remote::run(&servers, &restart)? {
//!     log::info!("{}: {:?} {}", report.server, report.outcome, report.stdout);
//! }
//! let script = Command::script("df -h / | tail -1").env("LANG", "C");
//! remote::run(&["server01"], &script)?;
//!
//! let package = Content::package("my_application", "3.1.4", "master");
//! remote::push_file(&servers, &package, "/srv/shop/release.zip", Some(0o640))?;
//! # Ok(())
//! # }
//! ```
//!
//! Each function works on some servers at a time, returns once all have ended, and has a [`Report`] for each, in the
//! order in which they were given. What it comes to on a server is never an error of the call: [`all_ok`] makes one of it.
//! Errors of all functions are [`Denied`](crate::Code::Denied) without the grants, [`NotFound`](crate::Code::NotFound),
//! [`Invalid`](crate::Code::Invalid) for what no server can be asked for, [`Conflict`](crate::Code::Conflict) for
//! servers of the driver `local` that are on another host than this job, and
//! [`LimitExceeded`](crate::Code::LimitExceeded), since each call is one of the jobs that may come of one.

use serde::Serialize;

use crate::host::remote as wit;
use crate::{Error, Result};

/// What became of it on a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ended with exit code 0.
    Ok,
    /// It ended with another exit code, by a signal, or at its deadline.
    Failed,
    /// It was not begun: the server could not be reached, or could not begin it.
    NoResponse,
    /// It began, and nobody can say what became of it. It may have done its work, or a part; it is not run again.
    Unknown,
}

/// What became of it on a server, with its output.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The server.
    pub server: String,
    /// In a word.
    pub outcome: Outcome,
    /// That of a command which was ended by a signal is 128 and the signal's number. `None` if it did not end.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it, as far as its exit code tells.
    pub signal: Option<i32>,
    /// Whether it was ended at its deadline, with all that it had started. The output until then is kept.
    pub timed_out: bool,
    /// Text; bytes that are not UTF-8 are U+FFFD.
    pub stdout: String,
    /// Likewise.
    pub stderr: String,
    /// Whether there was more output than is kept.
    pub truncated: bool,
    /// Why it was not begun, or was ended, in a sentence.
    pub message: Option<String>,
    /// How long it took, in seconds.
    pub duration: Option<f64>,
}

impl Report {
    /// Whether it ended with exit code 0.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }
}

/// A family of operating systems.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Os {
    /// With a POSIX shell: Linux, the BSDs, macOS.
    Unix,
    /// Windows.
    Windows,
}

/// What runs on a server.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct System {
    /// The server.
    pub server: String,
    /// `None` if it could not be asked.
    pub os: Option<Os>,
    /// As it says itself: `Linux`, `Darwin`, `Windows`.
    pub name: Option<String>,
    /// Why it could not be asked.
    pub message: Option<String>,
}

/// A program with its arguments, or a script, and how it runs.
#[derive(Clone, Debug)]
pub struct Command {
    program: Program,
    options: wit::Options,
}

#[derive(Clone, Debug)]
enum Program {
    Arguments(Vec<String>),
    Script(String, wit::Shell),
}

impl Command {
    /// A program with its arguments: no shell is involved, and each argument arrives as it is.
    pub fn new(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::of(Program::Arguments(command.into_iter().map(Into::into).collect()))
    }

    /// A script for `/bin/sh`.
    pub fn script(script: impl Into<String>) -> Self {
        Self::of(Program::Script(script.into(), wit::Shell::Sh))
    }

    /// A script for PowerShell.
    pub fn powershell(script: impl Into<String>) -> Self {
        Self::of(Program::Script(script.into(), wit::Shell::Powershell))
    }

    fn of(program: Program) -> Self {
        let options = wit::Options {
            directory: None,
            environment: Vec::new(),
            stdin: Vec::new(),
            timeout_seconds: None,
            output_bytes: None,
            secrets: Vec::new(),
        };
        Self { program, options }
    }

    /// In this directory, and not in the home of who runs it.
    #[must_use]
    pub fn directory(mut self, path: impl Into<String>) -> Self {
        self.options.directory = Some(path.into());
        self
    }

    /// With this variable in its environment, which nobody sees in the job.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.environment.push((name.into(), value.into()));
        self
    }

    /// With this standard input, which nobody sees in the job.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.options.stdin = bytes.into();
        self
    }

    /// With so many seconds, 1 to 86400, and not 60.
    #[must_use]
    pub fn timeout(mut self, seconds: u32) -> Self {
        self.options.timeout_seconds = Some(seconds);
        self
    }

    /// Keeps so many bytes of each output, at most 1 MiB, and not 64 KiB.
    #[must_use]
    pub fn output_bytes(mut self, bytes: u32) -> Self {
        self.options.output_bytes = Some(bytes);
        self
    }

    /// With this text as `***` wherever it is in the output.
    #[must_use]
    pub fn secret(mut self, text: impl Into<String>) -> Self {
        self.options.secrets.push(text.into());
        self
    }
}

/// What a file has.
#[derive(Clone, Debug)]
pub struct Content(wit::Content);

impl Content {
    /// These bytes.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(wit::Content::Bytes(bytes.into()))
    }

    /// A package's file as it is, of a build that the plugin may read.
    pub fn package(application: impl Into<String>, build: impl Into<String>, package: impl Into<String>) -> Self {
        Self(wit::Content::BuildPackage(wit::BuildPackage {
            application: application.into(),
            build: build.into(),
            package: package.into(),
        }))
    }
}

/// How a working copy is brought forward.
#[derive(Clone, Debug, Default)]
pub struct Pull {
    /// `None`: the remote that the branch follows, and `origin` where `branch` is given.
    pub remote: Option<String>,
    /// `None`: the branch that the checked-out one follows.
    pub branch: Option<String>,
    /// `None`: where both sides have changed the same lines, it fails, and leaves the merge open.
    pub favor: Option<Favor>,
    /// Compares lines patiently.
    pub patience: bool,
    /// Passes over changes of white space.
    pub ignore_all_space: bool,
}

/// Whose lines count where both sides have changed them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Favor {
    /// Those of the working copy.
    Ours,
    /// Those that are pulled.
    Theirs,
}

/// What git does to the ends of lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Autocrlf {
    /// They are CRLF in the working copy.
    True,
    /// They stay as they are.
    False,
    /// They are LF in commits.
    Input,
}

/// Looks whether servers can be reached, and run commands. The standard output is the name of the system.
///
/// # Errors
/// Those of [all functions](self).
pub fn ping(servers: &[impl AsRef<str>], timeout_seconds: Option<u32>) -> Result<Vec<Report>> {
    reports(wit::ping(&names(servers), timeout_seconds))
}

/// What runs on servers. What a server says is kept for an hour.
///
/// # Errors
/// Those of [all functions](self).
pub fn operating_systems(servers: &[impl AsRef<str>]) -> Result<Vec<System>> {
    let systems = wit::operating_systems(&names(servers))?.into_iter().map(|system| {
        let wit::System { server, os, name, message } = system;
        let os = os.map(|os| match os {
            wit::Os::Unix => Os::Unix,
            wit::Os::Windows => Os::Windows,
        });
        System { server, os, name, message }
    });
    Ok(systems.collect())
}

/// Runs a command.
///
/// # Errors
/// Those of [all functions](self).
pub fn run(servers: &[impl AsRef<str>], command: &Command) -> Result<Vec<Report>> {
    let Command { program, options } = command;
    reports(match program {
        Program::Arguments(arguments) => wit::run(&names(servers), arguments, options),
        Program::Script(script, shell) => wit::run_script(&names(servers), script, *shell, options),
    })
}

/// Makes a directory, and those that it is in. If it is there, nothing happens.
///
/// # Errors
/// Those of [all functions](self).
pub fn create_directory(servers: &[impl AsRef<str>], path: &str) -> Result<Vec<Report>> {
    reports(wit::create_directory(&names(servers), path))
}

/// Removes a directory with all that is in it. If there is none, nothing happens; a link, or what is not a directory,
/// is [`Failed`](Outcome::Failed).
///
/// # Errors
/// Those of [all functions](self).
pub fn delete_directory(servers: &[impl AsRef<str>], path: &str) -> Result<Vec<Report>> {
    reports(wit::delete_directory(&names(servers), path))
}

/// Removes a file. If there is none, nothing happens.
///
/// # Errors
/// Those of [all functions](self).
pub fn delete_file(servers: &[impl AsRef<str>], path: &str) -> Result<Vec<Report>> {
    reports(wit::delete_file(&names(servers), path))
}

/// Makes an empty file, or gives one that is there the current time.
///
/// # Errors
/// Those of [all functions](self).
pub fn touch(servers: &[impl AsRef<str>], path: &str) -> Result<Vec<Report>> {
    reports(wit::touch(&names(servers), path))
}

/// Adds to the end of a file, which is made if there is none.
///
/// # Errors
/// Those of [all functions](self).
pub fn append_to_file(servers: &[impl AsRef<str>], path: &str, bytes: impl AsRef<[u8]>) -> Result<Vec<Report>> {
    reports(wit::append_to_file(&names(servers), path, bytes.as_ref()))
}

/// Writes a file in the place of one that is there: it is there as a whole or not at all. Its permissions are `0o644`
/// unless they are given.
///
/// # Errors
/// Those of [all functions](self), and those of reading a package.
pub fn push_file(servers: &[impl AsRef<str>], content: &Content, path: &str, mode: Option<u32>) -> Result<Vec<Report>> {
    reports(wit::push_file(&names(servers), &content.0, path, mode, None))
}

/// Clones a repository to `path`, and checks out the branch, or the one that is the repository's default.
///
/// # Errors
/// Those of [all functions](self).
pub fn git_clone(servers: &[impl AsRef<str>], url: &str, path: &str, branch: Option<&str>) -> Result<Vec<Report>> {
    reports(wit::git_clone(&names(servers), url, path, branch))
}

/// Checks out a branch, a tag or a commit of the working copy at `path`.
///
/// # Errors
/// Those of [all functions](self).
pub fn git_checkout(servers: &[impl AsRef<str>], path: &str, reference: &str) -> Result<Vec<Report>> {
    reports(wit::git_checkout(&names(servers), path, reference))
}

/// Has all tracked files as they were committed. Untracked ones stay.
///
/// # Errors
/// Those of [all functions](self).
pub fn git_discard_changes(servers: &[impl AsRef<str>], path: &str) -> Result<Vec<Report>> {
    reports(wit::git_discard_changes(&names(servers), path))
}

/// Stages all changes, also new files that are not ignored.
///
/// # Errors
/// Those of [all functions](self).
pub fn git_add_all(servers: &[impl AsRef<str>], path: &str) -> Result<Vec<Report>> {
    reports(wit::git_add_all(&names(servers), path))
}

/// Commits what is staged. If there is nothing, nothing happens, and it is [`Ok`](Outcome::Ok).
///
/// # Errors
/// Those of [all functions](self).
pub fn git_commit(servers: &[impl AsRef<str>], path: &str, message: &str) -> Result<Vec<Report>> {
    reports(wit::git_commit(&names(servers), path, message))
}

/// Sets who commits in the working copy.
///
/// # Errors
/// Those of [all functions](self).
pub fn git_set_user(servers: &[impl AsRef<str>], path: &str, name: &str, email: &str) -> Result<Vec<Report>> {
    reports(wit::git_set_user(&names(servers), path, name, email))
}

/// Sets what git does to the ends of lines in the working copy.
///
/// # Errors
/// Those of [all functions](self).
pub fn git_set_autocrlf(servers: &[impl AsRef<str>], path: &str, value: Autocrlf) -> Result<Vec<Report>> {
    let value = match value {
        Autocrlf::True => wit::Autocrlf::True,
        Autocrlf::False => wit::Autocrlf::False,
        Autocrlf::Input => wit::Autocrlf::Input,
    };
    reports(wit::git_set_autocrlf(&names(servers), path, value))
}

/// Sets where the remote `origin` of the working copy is pushed to.
///
/// # Errors
/// Those of [all functions](self).
pub fn git_set_push_url(servers: &[impl AsRef<str>], path: &str, url: &str) -> Result<Vec<Report>> {
    reports(wit::git_set_push_url(&names(servers), path, url))
}

/// Pulls into the branch that is checked out, by a merge where it has commits of its own.
///
/// # Errors
/// Those of [all functions](self).
pub fn git_pull(servers: &[impl AsRef<str>], path: &str, pull: &Pull) -> Result<Vec<Report>> {
    let Pull { remote, branch, favor, patience, ignore_all_space } = pull;
    let favor = favor.map(|favor| match favor {
        Favor::Ours => wit::Favor::Ours,
        Favor::Theirs => wit::Favor::Theirs,
    });
    let options = wit::PullOptions {
        remote: remote.clone(),
        branch: branch.clone(),
        favor,
        patience: *patience,
        ignore_all_space: *ignore_all_space,
    };
    reports(wit::git_pull(&names(servers), path, &options))
}

/// Makes a failure of reports that are not [`Ok`](Outcome::Ok), which names the servers.
///
/// # Errors
/// If there are any; its details are all the reports that are not.
pub fn all_ok(reports: &[Report]) -> Result<()> {
    let failed: Vec<_> = reports.iter().filter(|report| !report.is_ok()).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let servers: Vec<_> = failed.iter().map(|report| &*report.server).collect();
    let message = format!("{} of {} servers did not do it: {}", failed.len(), reports.len(), servers.join(", "));
    Err(Error::new(message).with_details(serde_json::to_value(&failed)?))
}

fn names(servers: &[impl AsRef<str>]) -> Vec<String> {
    servers.iter().map(|server| server.as_ref().to_owned()).collect()
}

fn reports(answer: Result<Vec<wit::Report>, crate::bindings::elita::plugin::types::Error>) -> Result<Vec<Report>> {
    let reports =
        answer?.into_iter().map(|report| {
            let wit::Report {
                server,
                outcome,
                exit_code,
                signal,
                timed_out,
                stdout,
                stderr,
                truncated,
                message,
                duration,
            } = report;
            let outcome = match outcome {
                wit::Outcome::Ok => Outcome::Ok,
                wit::Outcome::Failed => Outcome::Failed,
                wit::Outcome::NoResponse => Outcome::NoResponse,
                wit::Outcome::Unknown => Outcome::Unknown,
            };
            Report { server, outcome, exit_code, signal, timed_out, stdout, stderr, truncated, message, duration }
        });
    Ok(reports.collect())
}
