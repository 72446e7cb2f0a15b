//! What comes of a command.

use serde::{Deserialize, Serialize};

use super::command::Command;

/// What a command came to on one server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ended with exit code 0.
    Ok,
    /// It ended with another exit code or by a signal, also where it was ended at its deadline.
    Failed,
    /// It was not begun: the server could not be reached, or could not begin it.
    NoResponse,
    /// It began, and nobody can say what became of it. It may have done its work, or a part.
    Unknown,
}

impl Outcome {
    /// As in documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::NoResponse => "no-response",
            Self::Unknown => "unknown",
        }
    }
}

/// What a command came to on one server, with its output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// In a word.
    pub outcome: Outcome,
    /// The exit code; that of one that was ended by a signal is 128 and its number. On Windows it is shown as a signed
    /// number. Null if it did not end.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it, as far as its exit code tells.
    pub signal: Option<i32>,
    /// Whether it was ended at its deadline.
    pub timed_out: bool,
    /// Its standard output as text; bytes that are not UTF-8 are U+FFFD.
    pub stdout: String,
    /// Its standard error, likewise.
    pub stderr: String,
    /// Whether there was more output than is kept.
    pub truncated: bool,
    /// Why it did not end, or was ended, in a sentence.
    pub message: Option<String>,
    /// How long it took, as seen from here.
    pub duration_in_seconds: Option<f64>,
    /// Whether somebody else has fetched its input, which the server was to fetch: what is in it is in other hands.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub input_exposed: bool,
}

/// What a look at the server says of a command that may have begun.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// It has ended, or nobody can say what became of it.
    Done(Report),
    /// It did not begin, and may run.
    NotDone,
}

impl Report {
    /// One that did not begin, for this reason.
    pub fn no_response(why: impl Into<String>) -> Self {
        Self::without_end(Outcome::NoResponse, why.into())
    }

    /// One that did not begin, since somebody else has fetched its input.
    pub(super) fn exposed() -> Self {
        let why = "somebody else has fetched its input from the one-time URL before the server did; replace what is \
                   secret in it";
        Self { input_exposed: true, ..Self::no_response(why) }
    }

    /// One that was done by looking, and said this.
    pub fn ok(said: impl Into<String>) -> Self {
        let ok = Self::without_end(Outcome::Ok, String::new());
        Self { exit_code: Some(0), stdout: said.into(), message: None, ..ok }
    }

    /// One that returned this code.
    pub(super) fn returned(outcome: Outcome, code: i64) -> Self {
        let report = Self::without_end(outcome, String::new());
        Self { exit_code: Some(i32::try_from(code).unwrap_or(i32::MAX)), message: None, ..report }
    }

    /// One that was ended before it was done, for this reason.
    pub fn ended_early(why: impl Into<String>) -> Self {
        Self::without_end(Outcome::Failed, why.into())
    }

    /// One of which nobody can say what became of it, for this reason.
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::without_end(Outcome::Unknown, why.into())
    }

    fn without_end(outcome: Outcome, why: String) -> Self {
        Self {
            outcome,
            exit_code: None,
            signal: None,
            timed_out: false,
            stdout: String::new(),
            stderr: String::new(),
            truncated: false,
            message: Some(why),
            duration_in_seconds: None,
            input_exposed: false,
        }
    }

    /// One that has ended with this exit code, as a shell says it.
    pub(super) fn ended(exit_code: i32, timed_out: bool, command: &Command) -> Self {
        let signal = (129..=192).contains(&exit_code).then(|| exit_code - 128);
        let message = timed_out.then(|| {
            format!("it was ended at its deadline of {} s, with all that it had started", command.timeout.as_secs())
        });
        Self {
            outcome: if exit_code == 0 && !timed_out { Outcome::Ok } else { Outcome::Failed },
            exit_code: Some(exit_code),
            signal,
            timed_out,
            stdout: String::new(),
            stderr: String::new(),
            truncated: false,
            message,
            duration_in_seconds: None,
            input_exposed: false,
        }
    }

    /// With this output, of which one byte more was kept than may be shown if there was more.
    pub(super) fn with_output(self, stdout: &[u8], stderr: &[u8], command: &Command) -> Self {
        let most = command.output_bytes;
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned();
        let truncated = stdout.len() > most || stderr.len() > most;
        Self { stdout: text(stdout), stderr: text(stderr), truncated, ..self }
    }

    /// Without the command's secrets.
    pub(super) fn masked(mut self, command: &Command) -> Self {
        for secret in command.secrets.iter().filter(|secret| !secret.is_empty()) {
            for text in [Some(&mut self.stdout), Some(&mut self.stderr), self.message.as_mut()].into_iter().flatten() {
                *text = text.replace(secret, "***");
            }
        }
        self
    }

    /// Whether it ended with exit code 0.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// What went wrong, in a sentence for people: the message, or the exit code with the end of the standard error.
    pub fn why(&self) -> String {
        match (&self.message, self.exit_code) {
            (Some(message), _) => message.clone(),
            (None, Some(code)) => {
                let said = self.stderr.trim_end().lines().next_back().unwrap_or_default();
                let said: String = said.chars().take(300).collect();
                if said.is_empty() { format!("exit code {code}") } else { format!("exit code {code}: {said}") }
            }
            (None, None) => self.outcome.as_str().to_owned(),
        }
    }
}
