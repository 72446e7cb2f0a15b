//! Commands as Salt carries them: the same scripts as for other servers with a POSIX shell, as standard input of
//! `cmd.run_all`, and the answers of these scripts in what that returns.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::call::End;
use super::events::Return;
use crate::remote::command::{Command, Program};
use crate::remote::quote::quoted;
use crate::remote::report::Report;
use crate::remote::sh::{Environment, SESSION, next_line};
use crate::remote::{CommandId, InvalidCommand};

/// How much of each output is kept at most, in bytes. Whatever is in it, both are less than the megabyte that a master
/// lets through.
pub(super) const MAX_OUTPUT_BYTES: usize = 128 * 1024;
/// How much is kept where a master lets less through.
pub(super) const LEAST_OUTPUT_BYTES: usize = 4 * 1024;
/// The longest command with its input, in bytes: salt-api takes a megabyte, with all that has to be escaped.
const MAX_COMMAND_BYTES: usize = 512 * 1024;
/// What a master puts in the place of a return that is too long.
const TRIMMED: &str = "VALUE_TRIMMED";
/// How a minion begins to say that it cannot start a program.
const CANNOT_RUN: &str = "ERROR: Unable to run command";

/// Input that is longer is handed over, where that can be, in bytes.
const LONG_INPUT_BYTES: usize = 64 * 1024;
/// What a minion says of input that was fetched before it came for it.
const USED_UP: &str = "used-up";

/// What comes before each script. A minion that runs as a service may have no home.
const BEFORE: &str = r#"[ -n "$HOME" ] || eval "HOME=~$(id -un)"
export HOME
apart=1
"#;
/// Input that comes behind the script, as text.
const DECODE: &str =
    "input_() { if command -v base64 >/dev/null 2>&1; then base64 -d; else openssl base64 -d -A; fi; }\n";
/// Input that is handed over.
const FETCH: &str = include_str!("fetch.sh");

/// How a minion gets a command's input.
#[derive(Clone, Copy, Debug)]
pub(super) enum Input<'a> {
    /// The command has no input.
    None,
    /// As part of the job of Salt; all who may see the job see it.
    Sent(&'a [u8]),
    /// By a URL, at which it is once, behind the environment.
    HandedOver(&'a str),
}

impl<'a> Input<'a> {
    /// That of a command, which was perhaps handed over.
    pub(super) fn of(command: &'a Command, url: Option<&'a str>) -> Self {
        match url {
            Some(url) => Self::HandedOver(url),
            None if command.input.is_empty() => Self::None,
            None => Self::Sent(&command.input),
        }
    }

    /// Where the environment of the command is then.
    pub(super) fn environment(self) -> Environment {
        match self {
            Self::HandedOver(_) => Environment::Input,
            Self::None | Self::Sent(_) => Environment::Script,
        }
    }
}

/// What a script answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// The command has ended.
    Ended(Report),
    /// It has begun, and nobody can say what became of it.
    Lost(Report),
    /// It never began.
    Absent,
    /// It cannot begin, and why.
    Refused(String),
    /// It has not begun, since somebody else has fetched its input.
    Exposed,
    /// It had begun before, or its answer is too long for the master: a look tells.
    Known,
    /// The minion has no `/bin/sh` to run it, or cannot start it, and what it says.
    Impossible(String),
    /// There is no answer, and what the minion says instead.
    Nothing(String),
}

/// Makes sure that Salt can carry a command. `hands_over`: whether minions can be handed over what others must not see,
/// or what is long.
pub(super) fn check(command: &Command, hands_over: bool) -> Result<(), InvalidCommand> {
    let Command { program, directory: _, environment, input, .. } = command;
    let (what, program) = match program {
        Program::Arguments { command } => ("command", command.iter().map(String::len).sum::<usize>()),
        Program::Script { script, .. } => ("script", script.len()),
    };
    if is_in_the_open(command) {
        let reason =
            "it has a secret in it, which a Salt master would keep; give it in the environment or the input".into();
        return Err(InvalidCommand { what, reason });
    }
    if is_confidential(command) && !hands_over {
        let what = if carries(command, &command.input) { "input" } else { "environment" };
        let reason = "it has a secret in it, which a Salt master would keep; with --public-url servers fetch what has \
                      secrets, once"
            .into();
        return Err(InvalidCommand { what, reason });
    }
    let apart = match hands_over && is_to_be_handed_over(command) {
        true => 0,
        false => environment.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() + input.len() * 4 / 3,
    };
    let length = program + apart;
    if length > MAX_COMMAND_BYTES {
        let reason = format!(
            "with its input it has {length} bytes, and for a server of the driver `salt` at most {MAX_COMMAND_BYTES} are taken"
        );
        return Err(InvalidCommand { what, reason });
    }
    Ok(())
}

/// Whether the environment and the input are not to be sent with the job.
pub(super) fn is_to_be_handed_over(command: &Command) -> bool {
    command.input.len() > LONG_INPUT_BYTES || is_confidential(command)
}

/// Whether there is a secret in the environment or the input. A master keeps what it sends, and shows it to all who read
/// its events.
pub(super) fn is_confidential(command: &Command) -> bool {
    carries(command, &command.input) || command.environment.iter().any(|(_, value)| carries(command, value.as_bytes()))
}

/// Whether there is a secret in what every master sees.
fn is_in_the_open(command: &Command) -> bool {
    let of_program = match &command.program {
        Program::Arguments { command } => &command[..],
        Program::Script { script, .. } => std::slice::from_ref(script),
    };
    of_program.iter().chain(&command.directory).any(|text| carries(command, text.as_bytes()))
}

/// Whether there is a secret of a command in some part of it.
fn carries(command: &Command, part: &[u8]) -> bool {
    command.secrets.iter().any(|secret| !secret.is_empty() && contains(part, secret.as_bytes()))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The keyword arguments of `cmd.run_all` that run a script about a command.
pub(super) fn arguments(id: CommandId, script: &str, input: Input<'_>) -> Map<String, Value> {
    let input_ = match input {
        Input::None => String::new(),
        Input::Sent(_) => DECODE.to_owned(),
        Input::HandedOver(url) => format!("url={}\n{FETCH}", quoted(url)),
    };
    let mut stdin = on_one_line(&format!("n={}\n{BEFORE}{input_}{script}", mark(id)));
    stdin.push('\n');
    if let Input::Sent(input) = input {
        stdin += &STANDARD.encode(input);
        stdin.push('\n');
    }
    let arguments = json!({
        "cmd": ["/bin/sh", "-c", SESSION],
        // Otherwise only the first word of a list is run.
        "python_shell": false,
        "rstrip": false,
        "stdin": stdin,
        "stdin_raw_newlines": true,
        "reset_system_locale": false,
        // What it comes to is in the answer, and nothing is said of it in the minion's log.
        "ignore_retcode": true,
        "output_loglevel": "quiet",
    });
    match arguments {
        Value::Object(arguments) => arguments,
        _ => Map::new(),
    }
}

/// Whether a minion has no `/bin/sh`, and so runs Windows.
pub(super) fn has_no_shell(end: &End) -> bool {
    match end {
        End::Returned(Return { r#return: Value::String(said), .. }) => said.starts_with(CANNOT_RUN),
        _ => false,
    }
}

/// Reads what a minion returned of a script.
pub(super) fn answer(id: CommandId, returned: &Return, command: &Command) -> Answer {
    let text = |name: &str| returned.r#return.get(name).and_then(Value::as_str);
    let Some(stdout) = text("stdout") else {
        return match &returned.r#return {
            Value::String(said) if said == TRIMMED => Answer::Known,
            Value::String(said) if said.starts_with(CANNOT_RUN) => Answer::Impossible(said.chars().take(500).collect()),
            Value::String(said) => Answer::Nothing(said.chars().take(500).collect()),
            other => Answer::Nothing(other.to_string().chars().take(500).collect()),
        };
    };
    let mark = mark(id);
    let mut last = None;
    let mut rest = stdout.as_bytes();
    while let Some((words, behind)) = next_line(&mark, rest) {
        rest = behind;
        let numbers: Vec<usize> = words.split(' ').skip(1).filter_map(|word| word.parse().ok()).collect();
        last = match words.split(' ').next().unwrap_or_default() {
            "absent" => Some(Answer::Absent),
            "known" | "start" => Some(Answer::Known),
            "refused" => Some(match words.trim_start_matches("refused ") {
                USED_UP => Answer::Exposed,
                why => Answer::Refused(why.to_owned()),
            }),
            kind @ ("end" | "exit" | "lost") => {
                let ([code, late, out, err], Some((stdout, stderr))) = (&numbers[..], outputs(&mark, behind)) else {
                    return Answer::Known;
                };
                let most = command.output_bytes;
                let report = match kind {
                    "end" => Report::ended(i32::try_from(*code).unwrap_or(i32::MAX), *late == 1, command),
                    // As Windows has it: of 32 bits, and often with the highest one set.
                    "exit" => {
                        let code = u32::try_from(*code).unwrap_or(u32::MAX).cast_signed();
                        Report { signal: None, ..Report::ended(code, *late == 1, command) }
                    }
                    _ => Report::unknown("it started, but its result was lost on the server"),
                };
                let report = Report {
                    stdout: shortened(stdout, *out > most),
                    stderr: shortened(stderr, *err > most),
                    truncated: *out > most || *err > most,
                    ..report
                };
                return if kind == "lost" { Answer::Lost(report) } else { Answer::Ended(report) };
            }
            _ => continue,
        };
    }
    last.unwrap_or_else(|| match (stdout, text("stderr").map(str::trim)) {
        (TRIMMED, _) => Answer::Known,
        (_, Some(said)) if !said.is_empty() => Answer::Nothing(said.chars().take(500).collect()),
        _ => Answer::Nothing("the minion gave no answer".into()),
    })
}

/// The two outputs, between marks: their lengths are not those on the server, as Salt replaces what is no UTF-8.
fn outputs<'a>(mark: &str, behind: &'a [u8]) -> Option<(&'a str, &'a str)> {
    let text = std::str::from_utf8(behind).ok()?;
    let (text, _) = text.rsplit_once(&format!("{mark} done\n"))?;
    text.split_once(&format!("{mark} err\n"))
}

/// Without the one character more that shows that there was more.
fn shortened(text: &str, is_cut: bool) -> String {
    let mut text = text.to_owned();
    if is_cut {
        text.pop();
    }
    text
}

/// The mark of a command's answers, which the command itself does not know.
pub(super) fn mark(id: CommandId) -> String {
    let digest = Sha256::digest(format!("answers of {}", id.0).as_bytes());
    digest[..16].iter().fold(String::from("elita-"), |mark, byte| mark + &format!("{byte:02x}"))
}

/// On one line, as `printf %b` reads it. No shell but that one sees it: so it is not much longer than the script.
fn on_one_line(script: &str) -> String {
    script.replace('\\', r"\\").replace('\n', r"\n")
}

#[cfg(test)]
mod tests;
