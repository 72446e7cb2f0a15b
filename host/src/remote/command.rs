//! What is to be done on a server.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The longest argument, value of the environment and path, in bytes: what a Linux kernel takes as one argument.
const MAX_ARGUMENT_BYTES: usize = 128 * 1024 - 1;
/// The longest command, with its environment, in bytes.
const MAX_COMMAND_BYTES: usize = 1024 * 1024;
/// The longest script, in bytes.
const MAX_SCRIPT_BYTES: usize = 1024 * 1024;
/// The longest input, in bytes. What is larger is sent in pieces.
pub(super) const MAX_INPUT_BYTES: usize = 8 * 1024 * 1024;
/// How much output of each kind is kept at most, in bytes.
const MAX_OUTPUT_BYTES: usize = 1024 * 1024;
/// How long a command may take.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// A command for a server.
#[derive(Clone, Debug)]
pub struct Command {
    /// What runs.
    pub program: Program,
    /// Where it runs: an absolute path, or one that begins with `~/`. `None`: the home of who runs it.
    pub directory: Option<String>,
    /// What is added to its environment.
    pub environment: Vec<(String, String)>,
    /// Its standard input, at most 8 MiB. It begins once all of it is there.
    pub input: Bytes,
    /// How long it may take: from one second to a day. After that it is ended with all that it has started.
    pub timeout: Duration,
    /// How many bytes are kept of its standard output, and as many of its standard error: at most 1 MiB. What comes
    /// after that is thrown away.
    pub output_bytes: usize,
    /// What must not be shown in its report.
    pub secrets: Vec<String>,
}

/// What runs on a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Program {
    /// A program with its arguments, as they are: no shell is involved.
    Arguments {
        /// The program and its arguments, at least one.
        command: Vec<String>,
    },
    /// A script.
    Script {
        /// Its text.
        script: String,
        /// What reads it.
        shell: Shell,
    },
}

/// What reads a script.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shell {
    /// `/bin/sh`.
    Sh,
    /// PowerShell; where the server does not run Windows, `pwsh`.
    Powershell,
}

/// What is wrong with a command, whatever server it is for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct InvalidCommand {
    /// Which part of it, as in requests.
    pub what: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Command {
    /// A program with its arguments, with a minute's time and 64 KiB of each output.
    pub fn new(arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::of(Program::Arguments { command: arguments.into_iter().map(Into::into).collect() })
    }

    /// A script for `/bin/sh`, likewise.
    pub fn script(script: impl Into<String>) -> Self {
        Self::of(Program::Script { script: script.into(), shell: Shell::Sh })
    }

    /// This, likewise.
    pub fn of(program: Program) -> Self {
        Self {
            program,
            directory: None,
            environment: Vec::new(),
            input: Bytes::new(),
            timeout: Duration::from_secs(60),
            output_bytes: 64 * 1024,
            secrets: Vec::new(),
        }
    }

    /// In this directory.
    #[must_use]
    pub fn within(self, directory: impl Into<String>) -> Self {
        Self { directory: Some(directory.into()), ..self }
    }

    /// With this variable in its environment.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With this standard input.
    #[must_use]
    pub fn reading(self, input: impl Into<Bytes>) -> Self {
        Self { input: input.into(), ..self }
    }

    /// With this much time.
    #[must_use]
    pub fn for_at_most(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// With this text shown nowhere.
    #[must_use]
    pub fn hiding(mut self, secret: impl Into<String>) -> Self {
        self.secrets.push(secret.into());
        self
    }

    /// Makes sure that a server can be asked for it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), InvalidCommand> {
        let Self { program, directory, environment, input, timeout, output_bytes, secrets: _ } = self;
        let of_environment = environment.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        match program {
            Program::Arguments { command } => {
                if command.first().is_none_or(String::is_empty) {
                    return invalid("command", "it needs at least the name of a program");
                }
                for argument in command {
                    check_text("command", argument, MAX_ARGUMENT_BYTES)?;
                }
                let length = of_environment + command.iter().map(String::len).sum::<usize>();
                if length > MAX_COMMAND_BYTES {
                    return invalid(
                        "command",
                        &format!("it has {length} bytes, and at most {MAX_COMMAND_BYTES} are taken"),
                    );
                }
            }
            Program::Script { script, .. } => check_text("script", script, MAX_SCRIPT_BYTES)?,
        }
        if let Some(directory) = directory {
            check_path("cwd", directory)?;
        }
        for (name, value) in environment {
            let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            if !starts_well || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return invalid("environment", "a name is of `A-Z a-z 0-9 _` and does not begin with a digit");
            }
            check_text("environment", value, MAX_ARGUMENT_BYTES)?;
        }
        if input.len() > MAX_INPUT_BYTES {
            return invalid("input", &format!("it has {} bytes, and at most {MAX_INPUT_BYTES} are taken", input.len()));
        }
        if *timeout < Duration::from_secs(1) || *timeout > MAX_TIMEOUT {
            return invalid("timeout", "a command has 1 to 86400 seconds");
        }
        if *output_bytes > MAX_OUTPUT_BYTES {
            return invalid("output", &format!("at most {MAX_OUTPUT_BYTES} bytes are kept of an output"));
        }
        Ok(())
    }
}

/// Makes sure that a path says where it is: it is absolute or begins with `~/`, is not the root, and does not go up.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_path(what: &'static str, path: &str) -> Result<(), InvalidCommand> {
    check_text(what, path, 4096)?;
    if !path.starts_with('/') && path != "~" && !path.starts_with("~/") && drive_of(path).is_none() {
        return invalid(what, "a path is absolute, or begins with `~/`");
    }
    if path.split(['/', '\\']).any(|name| name == "..") {
        return invalid(what, "a path does not have `..` in it");
    }
    Ok(())
}

/// The drive that a path of Windows begins with, such as `C:`.
pub(super) fn drive_of(path: &str) -> Option<&str> {
    let is_drive = matches!(path.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    is_drive.then(|| &path[..2])
}

fn check_text(what: &'static str, text: &str, most: usize) -> Result<(), InvalidCommand> {
    if text.contains('\0') {
        return invalid(what, "it must not contain NUL: no program can be given one");
    }
    if text.len() > most {
        return invalid(what, &format!("this has {} bytes, and at most {most} are taken", text.len()));
    }
    Ok(())
}

pub(super) fn invalid<T>(what: &'static str, reason: &str) -> Result<T, InvalidCommand> {
    Err(InvalidCommand { what, reason: reason.to_owned() })
}
