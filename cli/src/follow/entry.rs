//! Entries of a log, as lines.

use serde_json::{Map, Value};

use super::servers::ServerOutput;
use crate::output::{Output, shown, visible};

/// How entries are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines {
    /// On standard output, where they are the answer; otherwise they are on standard error.
    pub(crate) are_answer: bool,
    /// Not at all.
    pub(crate) are_silent: bool,
    /// As JSON, one a line.
    pub(crate) raw: bool,
    /// With the whole time instead of the time of day.
    pub(crate) timestamps: bool,
    /// What stands in front of each, where several jobs are followed.
    pub(crate) prefix: Option<String>,
    /// Only those with this text.
    pub(crate) grep: Option<String>,
    /// Only what servers say, of the log of a command for them.
    pub(crate) of_servers: Option<ServerOutput>,
    /// Only those of this source.
    pub(crate) source: Option<String>,
}

impl Lines {
    pub(crate) fn print(&self, output: &Output, entry: &Value) {
        if self.are_silent {
            return;
        }
        if output.json {
            if self.is_wanted(entry, "") {
                output.line(entry.to_string());
            }
            return;
        }
        if let Some(servers) = &self.of_servers {
            return servers.take(output, entry);
        }
        let text = if self.raw { entry.to_string() } else { self.text(output, entry) };
        if !self.is_wanted(entry, &text) {
            return;
        }
        if self.are_answer { output.line(text) } else { output.note(text) }
    }

    fn is_wanted(&self, entry: &Value, text: &str) -> bool {
        let is_source = self.source.as_ref().is_none_or(|source| entry["source"] == **source);
        let has_text =
            self.grep.as_ref().is_none_or(|grep| text.contains(grep) || entry["data"].to_string().contains(grep));
        is_source && has_text
    }

    fn text(&self, output: &Output, entry: &Value) -> String {
        let at = entry["at"].as_str().unwrap_or_default();
        let at = if self.timestamps { at.to_owned() } else { output.clock(at) };
        let prefix = self.prefix.as_deref().map(|prefix| format!("{prefix}  ")).unwrap_or_default();
        let head = format!("{prefix}{at}  {}  ", visible(entry["source"].as_str().unwrap_or_default()));
        let indent = format!("\n{}", " ".repeat(console::measure_text_width(&head)));
        head + &said(&entry["data"]).replace('\n', &indent)
    }
}

/// What an entry says.
pub(super) fn said(data: &Value) -> String {
    match data {
        Value::Object(members) => match members.get("status") {
            Some(Value::String(status)) => status_and_rest(status, members),
            _ => data.to_string(),
        },
        Value::String(text) => visible(text.trim_end_matches('\n')),
        other => shown(other),
    }
}

/// `status`, then what else there is, then how far it is.
fn status_and_rest(status: &str, members: &Map<String, Value>) -> String {
    if let Some(message) = members.get("error").and_then(|error| error["message"].as_str()) {
        return format!("{}: {}", visible(status), visible(message));
    }
    let rest: Map<String, Value> = members
        .iter()
        .filter(|(name, value)| *name != "status" && !(*name == "progress" && value.is_number()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut text = visible(status);
    if !rest.is_empty() {
        text += &format!("  {}", Value::Object(rest));
    }
    if let Some(progress) = members.get("progress").filter(|progress| progress.is_number()) {
        text += &format!("  {progress} %");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::said;
    use serde_json::json;

    #[test]
    fn entries_are_shown_as_what_they_say() {
        assert_eq!(said(&json!({ "status": "starting", "progress": 0 })), "starting  0 %");
        assert_eq!(said(&json!({ "status": "greeting", "whom": "Ada" })), r#"greeting  {"whom":"Ada"}"#);
        let failed = json!({ "status": "failed", "error": { "code": "trap", "message": "unreachable" } });
        assert_eq!(said(&failed), "failed: unreachable");
        assert_eq!(said(&json!("two\nlines\n")), "two\nlines");
        assert_eq!(said(&json!({ "files": 3 })), r#"{"files":3}"#);
    }
}
