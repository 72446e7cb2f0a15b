//! How a job ended, in words.

use serde_json::Value;

use crate::output::{Output, style_of, visible};
use crate::session::{short, text};

/// Lines of a plugin's backtrace that are shown.
const TRACE_LINES: usize = 12;

/// Says how a job ended, on standard error, and prints its result; with `--json` its document.
pub(crate) fn describe(output: &Output, job: &Value, prefix: Option<&str>) {
    if output.json {
        return output.line(job.to_string());
    }
    let prefix = prefix.map(|prefix| format!("{prefix}  ")).unwrap_or_default();
    output.note(format!("{prefix}{}", outcome_line(job)));
    if let Some(error) = job["error"].as_object() {
        if let Some(details) = error.get("details").filter(|details| !details.is_null()) {
            output.note(format!("{prefix}  details: {details}"));
        }
        let trace = error.get("trace").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for line in trace.iter().take(TRACE_LINES) {
            output.note(format!("{prefix}    {}", visible(line.as_str().unwrap_or_default())));
        }
        if trace.len() > TRACE_LINES {
            output.note(format!("{prefix}    … {} more lines", trace.len() - TRACE_LINES));
        }
        output.note(format!("{prefix}  log: elita log {}", short(text(job, "job_id"))));
    }
    if !job["result"].is_null() && !output.quiet {
        output.line(format!("{prefix}{}", spaced(&job["result"])));
    }
}

/// `✓ succeeded in 0.02 s`
pub(crate) fn outcome_line(job: &Value) -> String {
    let status = text(job, "status");
    let mark = match status {
        "succeeded" => "✓",
        "cancelled" => "■",
        _ => "✗",
    };
    let outcome = style_of(status).for_stderr().apply_to(format!("{mark} {status}"));
    let took = job["duration_in_seconds"].as_f64().map(|seconds| format!(" in {}", seconds_shown(seconds)));
    let why = job["error"]["message"].as_str().map(|message| format!(": {}", visible(message)));
    format!("{outcome}{}{}", took.unwrap_or_default(), why.unwrap_or_default())
}

/// Seconds with as many digits as say something.
pub(crate) fn seconds_shown(seconds: f64) -> String {
    match seconds {
        _ if seconds < 10.0 => format!("{seconds:.2} s"),
        _ if seconds < 600.0 => format!("{seconds:.0} s"),
        _ => format!("{:.0} min", seconds / 60.0),
    }
}

/// JSON on one line, with room to read it.
fn spaced(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), spaced(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{seconds_shown, spaced};
    use serde_json::json;

    #[test]
    fn results_are_json_that_can_be_read() {
        assert_eq!(spaced(&json!({ "a": [1, "b"], "c": null })), r#"{"a": [1, "b"], "c": null}"#);
        assert_eq!([seconds_shown(0.0236), seconds_shown(75.4), seconds_shown(7200.0)], ["0.02 s", "75 s", "120 min"]);
    }
}
