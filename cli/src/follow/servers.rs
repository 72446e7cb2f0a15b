//! What servers say, in the log of a command for them: each one's output as a whole, once the command has ended there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::output::{Output, visible};

/// The output of servers until it is printed. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ServerOutput {
    /// Whether their names stand in front.
    are_several: bool,
    /// Standard output and standard error by server.
    gathered: Arc<Mutex<BTreeMap<String, [String; 2]>>>,
}

impl ServerOutput {
    pub(crate) fn new(are_several: bool) -> Self {
        Self { are_several, gathered: Arc::default() }
    }

    /// Takes an entry of the log. Prints what a server has said once it has said all.
    pub(super) fn take(&self, output: &Output, entry: &Value) {
        let data = &entry["data"];
        let Some(server) = data["server"].as_str() else { return };
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, stream) in ["stdout", "stderr"].into_iter().enumerate() {
            if let Some(piece) = data[stream].as_str() {
                gathered.entry(server.to_owned()).or_default()[place] += piece;
            }
        }
        let Some(outcome) = data["status"].as_str().filter(|_| data.get("driver").is_some()) else { return };
        let [stdout, stderr] = gathered.remove(server).unwrap_or_default();
        self.print(output, server, &stdout, &stderr);
        if outcome != "ok" && !output.quiet {
            output.note(format!("{}: {}", visible(server), why(outcome, data)));
        }
        if data["truncated"] == true {
            output.note(format!("{}: there was more output than is kept", visible(server)));
        }
    }

    fn print(&self, output: &Output, server: &str, stdout: &str, stderr: &str) {
        let named = |line: &str| format!("{}  {}", visible(server), visible(line));
        if !self.are_several && !output.is_terminal {
            output.raw(stdout.as_bytes());
        } else {
            stdout.lines().for_each(|line| output.line(if self.are_several { named(line) } else { visible(line) }));
        }
        stderr.lines().for_each(|line| output.note(if self.are_several { named(line) } else { visible(line) }));
    }
}

/// What went wrong on a server, in a line.
fn why(outcome: &str, data: &Value) -> String {
    let message = data["message"].as_str().map(|message| format!(": {}", visible(message)));
    let code = data["exit_code"].as_i64().filter(|_| message.is_none()).map(|code| match data["signal"].as_i64() {
        Some(signal) => format!(" by signal {signal} (exit code {code})"),
        None => format!(" with exit code {code}"),
    });
    format!("{}{}{}", visible(outcome), code.unwrap_or_default(), message.unwrap_or_default())
}
