//! What minions that run Windows are sent: a script for PowerShell that does what the scripts for `/bin/sh` do elsewhere,
//! and gives the same answers.
//!
//! The script and what is asked of it come by standard input, as Base64. So nothing of a command is in a command line that
//! something could read anew; only its own arguments are, quoted as programs of Windows read them.

use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::call::{Call, End};
use super::jid::new_jid;
use super::shell::{Input, mark};
use super::{Request, Salt, bare, shown};
use crate::remote::command::{Command, Program, Shell};
use crate::remote::report::Report;
use crate::remote::sh::GRACE_SECONDS;
use crate::remote::{ANSWER_WITHIN, CommandId};

const SCRIPT: &str = include_str!("windows.ps1");
/// Reads three lines: the script, what is asked, and the input.
const START: &str = "$read = { [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String([Console]::In.ReadLine())) }\n\
                     $script = & $read\n$asked = & $read | ConvertFrom-Json\n$given = [Console]::In.ReadLine()\n\
                     . ([ScriptBlock]::Create($script))\n";

/// Has a command run.
///
/// # Errors
/// Why Windows cannot run it.
pub(super) fn running(id: CommandId, command: &Command, input: Input<'_>) -> Result<Map<String, Value>, String> {
    let Command { program, directory, environment: _, input: bytes, timeout, output_bytes, secrets: _ } = command;
    let is_apart = matches!(input, Input::HandedOver(_));
    let mut asked = json!({
        "request": "run",
        "directory": directory.as_deref().unwrap_or("~"),
        "environment": if is_apart { Vec::new() } else { variables(command) },
        "environment_bytes": if is_apart { environment(command).len() } else { 0 },
        "input_bytes": bytes.len(),
        "limit": timeout.as_secs().max(1),
        "cap": output_bytes + 1,
    });
    match program {
        Program::Arguments { command } => {
            let (program, arguments) = command.split_first().ok_or("it has no program")?;
            let end = program.to_ascii_lowercase();
            if end.ends_with(".bat") || end.ends_with(".cmd") {
                // `cmd` reads their arguments anew, and there is no quoting that holds for all of them.
                return Err("batch files cannot be given arguments safely; call it in a script for PowerShell".into());
            }
            if program.starts_with("/bin/") {
                return Err(format!("it runs Windows, which has no `{program}`"));
            }
            asked["program"] = json!(program);
            asked["arguments"] = json!(joined(arguments));
        }
        Program::Script { script, shell: Shell::Powershell } => asked["script"] = json!(script),
        Program::Script { shell: Shell::Sh, .. } => {
            return Err("it runs Windows, which has no `sh`; send a script for PowerShell".into());
        }
    }
    if let Input::HandedOver(url) = input {
        asked["url"] = json!(url);
    }
    let given = if let Input::Sent(bytes) = input { STANDARD.encode(bytes) } else { String::new() };
    Ok(arguments(id, asked, &given))
}

/// A command's environment, where it comes before its input.
fn environment(command: &Command) -> Vec<u8> {
    if command.environment.is_empty() { Vec::new() } else { json!(variables(command)).to_string().into_bytes() }
}

fn variables(command: &Command) -> Vec<Value> {
    command.environment.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

/// Looks what became of one.
pub(super) fn looking(id: CommandId, output_bytes: usize) -> Map<String, Value> {
    arguments(id, json!({ "request": "look", "cap": output_bytes + 1 }), "")
}

/// Ends one.
pub(super) fn stopping(id: CommandId) -> Map<String, Value> {
    arguments(id, json!({ "request": "stop" }), "")
}

/// Removes what is kept of some.
pub(super) fn forgetting(ids: &[CommandId]) -> Map<String, Value> {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    arguments(CommandId::new(), json!({ "request": "forget", "ids": ids }), "")
}

impl Salt {
    /// Whether a minion has said that it runs Windows.
    pub(super) fn runs_windows(&self, minion: &str) -> bool {
        self.0.windows.lock().unwrap_or_else(PoisonError::into_inner).contains(minion)
    }

    pub(super) fn note_windows(&self, minion: &str) {
        self.0.windows.lock().unwrap_or_else(PoisonError::into_inner).insert(minion.to_owned());
    }

    /// Runs a command on a minion with Windows, by a job of its own.
    pub(super) async fn run_on_windows(
        &self,
        id: CommandId,
        jid: String,
        server: &str,
        minion: String,
        command: &Command,
    ) -> Report {
        let url = match self.hand_over(command, server, environment(command)).await {
            Ok(url) => url,
            Err(why) => return Report::no_response(why),
        };
        let keyword_arguments = match running(id, command, Input::of(command, url.as_deref())) {
            Ok(arguments) => arguments,
            Err(why) => return Report::no_response(format!("the server cannot run this: {why}")),
        };
        let within = command.timeout + Duration::from_secs(GRACE_SECONDS) + ANSWER_WITHIN;
        let end = self.windows_call(jid, keyword_arguments, minion.clone(), within).await;
        self.report(id, minion, &bare(command), end).await
    }

    /// Asks a minion with Windows about a command.
    pub(super) async fn ask_windows(&self, request: Request, id: CommandId, minion: String, command: &Command) -> End {
        match request {
            Request::Look { is_cut } => {
                let within = command.timeout + ANSWER_WITHIN + Duration::from_secs(GRACE_SECONDS);
                let asked = looking(id, shown(command, is_cut).output_bytes);
                self.windows_call(new_jid(), asked, minion, within).await
            }
            Request::Stop => self.0.tell(stopping(id), &[minion]).await,
            // Its job is the same whatever runs it.
            Request::Follow => End::Unheard,
        }
    }

    async fn windows_call(
        &self,
        jid: String,
        keyword_arguments: Map<String, Value>,
        minion: String,
        within: Duration,
    ) -> End {
        let function = "cmd.run_all".to_owned();
        let call = Call { jid, function, arguments: Vec::new(), keyword_arguments, within };
        let mut end = End::Unheard;
        self.0.call(&call, vec![minion], false, |_, is| end = is).await;
        end
    }
}

/// The keyword arguments of `cmd.run_all`.
fn arguments(id: CommandId, mut asked: Value, given: &str) -> Map<String, Value> {
    asked["id"] = json!(id.to_string());
    asked["mark"] = json!(mark(id));
    let start: Vec<u8> = START.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let stdin = format!("{}\n{}\n{given}\n", STANDARD.encode(SCRIPT), STANDARD.encode(asked.to_string()));
    let arguments = json!({
        "cmd": ["powershell.exe", "-NoLogo", "-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Bypass",
            "-EncodedCommand", STANDARD.encode(start)],
        "python_shell": false,
        "rstrip": false,
        "stdin": stdin,
        "stdin_raw_newlines": true,
        "output_encoding": "utf-8",
        "ignore_retcode": true,
        "output_loglevel": "quiet",
    });
    match arguments {
        Value::Object(arguments) => arguments,
        _ => Map::new(),
    }
}

/// Arguments as one line, which programs of Windows take apart again (`CommandLineToArgvW`, and C's own start).
fn joined(arguments: &[String]) -> String {
    let quoted: Vec<_> = arguments.iter().map(|argument| quoted(argument)).collect();
    quoted.join(" ")
}

fn quoted(argument: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && c != '"';
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    let (mut quoted, mut backslashes) = (String::from("\""), 0);
    for c in argument.chars() {
        match c {
            '\\' => backslashes += 1,
            '"' => {
                // Those before a quotation mark stand for half of them, and one more makes the mark a plain one.
                quoted.push_str(&"\\".repeat(backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        quoted.push(c);
    }
    quoted.push_str(&"\\".repeat(backslashes));
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;

    /// As the C runtime of Microsoft says that it takes a command line apart.
    fn taken_apart(line: &str) -> Vec<String> {
        let (mut words, mut word, mut is_quoted, mut any) = (Vec::new(), String::new(), false, false);
        let chars: Vec<_> = line.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let backslashes = chars[at..].iter().take_while(|c| **c == '\\').count();
            at += backslashes;
            let next = chars.get(at).copied();
            if next == Some('"') {
                any = true;
                word.push_str(&"\\".repeat(backslashes / 2));
                if backslashes % 2 == 1 {
                    word.push('"');
                } else {
                    is_quoted = !is_quoted;
                }
                at += 1;
                continue;
            }
            word.push_str(&"\\".repeat(backslashes));
            any |= backslashes > 0;
            match next {
                Some(' ' | '\t') if !is_quoted => {
                    if any {
                        words.push(std::mem::take(&mut word));
                    }
                    any = false;
                }
                Some(c) => {
                    word.push(c);
                    any = true;
                }
                None => {}
            }
            at += 1;
        }
        if any {
            words.push(word);
        }
        words
    }

    #[test]
    fn arguments_are_taken_apart_as_they_were() {
        const PIECES: [&str; 14] = ["\"", "\\", "\\\\", " ", "\t", "a", "'", "%PATH%", "^", "&", "|", "\n", "é", "--"];
        let mut rng = rand::rng();
        for _ in 0..5000 {
            let some = |rng: &mut rand::rngs::ThreadRng| -> String {
                (0..rng.random_range(0..6)).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect()
            };
            let words: Vec<String> = (0..rng.random_range(0..5)).map(|_| some(&mut rng)).collect();
            assert_eq!(taken_apart(&joined(&words)), words, "{:?}", joined(&words));
        }
    }

    #[test]
    fn what_windows_cannot_run_is_refused() {
        for command in [Command::script("true"), Command::new(["deploy.bat", "x"]), Command::new(["C:\\deploy.CMD"])] {
            assert!(running(CommandId::new(), &command, Input::None).is_err(), "{command:?}");
        }
    }
}
