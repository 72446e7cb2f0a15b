//! What is printed: the answer on standard output, everything else on standard error.
//!
//! A terminal gets tables, colours and ages; a pipe gets tabs, whole values and RFC 3339.

mod age;
mod table;
mod text;

use std::io::{IsTerminal as _, Write as _};

use console::Style;
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::exit::Code;
use crate::failure::{Failure, Result, without_number};
use crate::globals::{Color, Globals};

pub(crate) use self::table::{Cell, Table};
pub(crate) use self::text::{shown, visible};

/// How to print.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Whether standard output is a terminal.
    pub(crate) is_terminal: bool,
    /// Whether standard error is one.
    pub(crate) is_terminal_err: bool,
    /// Whether questions may be asked.
    pub(crate) may_ask: bool,
    offset: UtcOffset,
}

impl Output {
    pub(crate) fn new(globals: &Globals) -> Self {
        match globals.color {
            Color::Auto => {}
            Color::Always | Color::Never => {
                console::set_colors_enabled(globals.color == Color::Always);
                console::set_colors_enabled_stderr(globals.color == Color::Always);
            }
        }
        if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) && globals.color == Color::Auto {
            console::set_colors_enabled(false);
            console::set_colors_enabled_stderr(false);
        }
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let is_ci = std::env::var("CI").is_ok_and(|value| !matches!(&*value, "" | "0" | "false"));
        Self {
            json: globals.json,
            quiet: globals.quiet,
            is_terminal: stdout.is_terminal(),
            is_terminal_err: stderr.is_terminal(),
            may_ask: stdin.is_terminal() && stderr.is_terminal() && !globals.no_input && !is_ci,
            offset: local_offset(),
        }
    }

    /// A line of the answer.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        self.raw(text.as_ref().as_bytes());
        self.raw(b"\n");
    }

    /// Bytes of the answer. Where it cannot be written nothing is left to be done, and it was not done: whoever reads it
    /// may have seen enough, or the disk is full.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(Code::Unread as i32),
            Err(error) => {
                let failure = Failure::usage(format!(
                    "standard output cannot be written: {}",
                    without_number(&error.to_string())
                ));
                self.warn(failure.shown(self.json, false));
                std::process::exit(failure.code as i32);
            }
        }
    }

    /// A line about what goes on; not with `--quiet`.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.warn(text);
        }
    }

    /// A line that has to be seen.
    pub(crate) fn warn(&self, text: impl AsRef<str>) {
        // Without standard error it cannot be told.
        let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
    }

    /// A document of the API, as it is.
    pub(crate) fn document(&self, document: &Value) {
        match self.is_terminal {
            true => self.line(format!("{document:#}")),
            false => self.line(document.to_string()),
        }
    }

    /// Lines of names and values; with `--json` the document.
    pub(crate) fn details(&self, document: &Value, rows: Vec<(String, Cell)>) {
        if self.json {
            return self.document(document);
        }
        let mut table = Table::without_titles();
        for (name, value) in rows {
            table.row(vec![Cell::name(name), value]);
        }
        self.table(&table);
    }

    /// A table.
    pub(crate) fn table(&self, table: &Table) {
        self.raw(table.render(self).as_bytes());
    }

    /// A point in time as this reader wants it.
    pub(crate) fn time(&self, rfc3339: &str) -> String {
        match OffsetDateTime::parse(rfc3339, &Rfc3339) {
            Ok(at) if self.is_terminal => age::shown(at, OffsetDateTime::now_utc(), self.offset),
            _ => rfc3339.to_owned(),
        }
    }

    /// The time of day of an entry, to the millisecond.
    pub(crate) fn clock(&self, rfc3339: &str) -> String {
        let Ok(at) = OffsetDateTime::parse(rfc3339, &Rfc3339) else { return rfc3339.to_owned() };
        let (hour, minute, second) = at.to_offset(self.offset).to_hms();
        format!("{hour:02}:{minute:02}:{second:02}.{:03}", at.millisecond())
    }

    /// Says that a list goes on.
    pub(crate) fn more(&self, has_more: bool, shown: usize) {
        if has_more {
            self.warn(format!("there are more than these {shown}: --limit 0 shows all"));
        }
    }

    /// Asks whether to go on.
    ///
    /// # Errors
    /// If the answer is no, or nobody can be asked.
    pub(crate) fn confirm(&self, question: &str) -> Result<()> {
        if !self.may_ask {
            return Err(Failure::usage(format!("{question} There is no terminal to ask on")).hint("--yes"));
        }
        let answer = ask(&format!("{question} [y/N] "))?;
        if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::usage("nothing was done")) }
    }

    /// Asks for a text.
    ///
    /// # Errors
    /// If there is no terminal to ask on: then `flag` says how else to give it.
    pub(crate) fn ask(&self, prompt: &str, flag: &str) -> Result<String> {
        if !self.may_ask {
            return Err(missing(prompt, flag));
        }
        ask(&format!("{prompt}: "))
    }

    /// Asks for a secret, which is not shown.
    ///
    /// # Errors
    /// If there is no terminal to ask on: then `flag` says how else to give it.
    pub(crate) fn ask_secret(&self, prompt: &str, flag: &str) -> Result<String> {
        if !self.may_ask {
            return Err(missing(prompt, flag));
        }
        let terminal = console::Term::stderr();
        let read = terminal.write_str(&format!("{prompt}: ")).and_then(|()| terminal.read_secure_line());
        read.map_err(|error| Failure::usage(format!("cannot read it: {error}")))
    }
}

/// That of now: `time` tells it of programs with one thread only.
fn local_offset() -> UtcOffset {
    UtcOffset::from_whole_seconds(chrono::Local::now().offset().local_minus_utc()).unwrap_or(UtcOffset::UTC)
}

fn missing(prompt: &str, flag: &str) -> Failure {
    Failure::usage(format!("{} is missing, and there is no terminal to ask on", prompt.to_lowercase())).hint(flag)
}

fn ask(prompt: &str) -> Result<String> {
    // Not `Term::read_line`, which prints what the terminal has shown already when it was typed early.
    let mut answer = String::new();
    let read = console::Term::stderr().write_str(prompt).and_then(|()| std::io::stdin().read_line(&mut answer));
    read.map_err(|error| Failure::usage(format!("cannot read the answer: {error}")))?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}

/// The colours of a state. It is always beside its word.
pub(crate) fn style_of(state: &str) -> Style {
    match state {
        "succeeded" | "active" => Style::new().green(),
        "failed" | "lost" | "refused" => Style::new().red(),
        "running" | "compiling" => Style::new().cyan(),
        "cancelled" | "queued" => Style::new().yellow(),
        _ => Style::new(),
    }
}
