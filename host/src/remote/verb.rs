//! What a plugin asks for, whatever the operating system of a server is.

use bytes::Bytes;
use serde::Serialize;

use super::command::{Command, InvalidCommand, Program, check_path};
use super::files::check_file;
use super::git::GitVerb;
use super::mask::masked;
use super::system::Os;
use super::{Remote, Target};

/// How much of a command is kept with its job, in characters.
const SHOWN_CHARS: usize = 500;

/// What is to be done on a server. As JSON it is what people may see of it: without what is read or written, without
/// the environment, and without what looks like a secret.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verb")]
pub enum Verb {
    /// Looks whether it can be reached, and what runs there.
    Ping,
    /// Runs a program or a script.
    Run {
        /// What runs.
        #[serde(rename = "command", serialize_with = "shown")]
        program: Program,
        /// Where it runs: an absolute path, or one that begins with `~/`. `None`: the home of who runs it.
        cwd: Option<String>,
        /// What is added to its environment.
        #[serde(skip)]
        environment: Vec<(String, String)>,
        /// Its standard input.
        #[serde(skip)]
        input: Bytes,
    },
    /// Makes a directory, and those that it is in.
    CreateDirectory {
        /// Where.
        path: String,
    },
    /// Removes a directory with all that is in it.
    DeleteDirectory {
        /// Where.
        path: String,
    },
    /// Removes a file.
    DeleteFile {
        /// Where.
        path: String,
    },
    /// Makes an empty file, or gives one that is there the current time.
    Touch {
        /// Where.
        path: String,
    },
    /// Adds to the end of a file.
    AppendToFile {
        /// Where.
        path: String,
        /// What.
        #[serde(skip)]
        bytes: Bytes,
    },
    /// Works on a working copy of git.
    #[serde(untagged)]
    Git {
        /// What git does.
        #[serde(flatten)]
        git: GitVerb,
        /// Where the working copy is.
        path: String,
    },
}

impl Verb {
    /// Its name, as plugins call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Run { program: Program::Arguments { .. }, .. } => "run",
            Self::Run { program: Program::Script { .. }, .. } => "run-script",
            Self::CreateDirectory { .. } => "create-directory",
            Self::DeleteDirectory { .. } => "delete-directory",
            Self::DeleteFile { .. } => "delete-file",
            Self::Touch { .. } => "touch",
            Self::AppendToFile { .. } => "append-to-file",
            Self::Git { git, .. } => git.name(),
        }
    }

    /// Where it is done, if that is at one place.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Ping | Self::Run { .. } => None,
            Self::CreateDirectory { path }
            | Self::DeleteDirectory { path }
            | Self::DeleteFile { path }
            | Self::Touch { path }
            | Self::AppendToFile { path, .. }
            | Self::Git { path, .. } => Some(path),
        }
    }

    /// Whether the command for it depends on what runs on the server.
    pub fn depends_on_system(&self) -> bool {
        !matches!(self, Self::Run { .. })
    }

    /// Makes sure that a server can be asked for it, whatever runs there.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), InvalidCommand> {
        match self {
            Self::Ping => Ok(()),
            Self::Run { program, cwd, environment, input } => {
                let command = Command::of(program.clone());
                Command { directory: cwd.clone(), environment: environment.clone(), input: input.clone(), ..command }
                    .check()
            }
            Self::CreateDirectory { path }
            | Self::DeleteDirectory { path }
            | Self::DeleteFile { path }
            | Self::Touch { path }
            | Self::AppendToFile { path, .. } => check_file(path),
            Self::Git { git, path } => {
                check_path("path", path)?;
                git.check()
            }
        }
    }

    /// The command for it. That of a ping does nothing.
    ///
    /// # Errors
    /// If this server cannot be asked for it.
    pub fn command(&self, remote: &Remote, target: &Target, os: Os) -> Result<Command, InvalidCommand> {
        let files = remote.files(target, os);
        match self {
            Self::Ping => Ok(Command::new(["true"])),
            Self::Run { program, cwd, environment, input } => Ok(Command {
                directory: cwd.clone(),
                environment: environment.clone(),
                input: input.clone(),
                ..Command::of(program.clone())
            }),
            Self::CreateDirectory { path } => files.create_directory(path),
            Self::DeleteDirectory { path } => files.delete_directory(path),
            Self::DeleteFile { path } => files.delete_file(path),
            Self::Touch { path } => files.touch(path),
            Self::AppendToFile { path, bytes } => files.append(path, bytes),
            Self::Git { git, path } => git.command(&files, path),
        }
    }
}

impl Program {
    /// For people, without what looks like a secret, and not all of what is long.
    pub fn shown(&self) -> String {
        let text = match self {
            Self::Arguments { command } => masked(&command.join(" ")),
            Self::Script { script, .. } => masked(script),
        };
        text.chars().take(SHOWN_CHARS).collect()
    }
}

fn shown<S: serde::Serializer>(program: &Program, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&program.shown())
}
