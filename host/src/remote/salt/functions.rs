//! Functions of Salt's own, for those who want Salt itself: `test.ping`, states.

use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::call::{Call, End};
use super::events::Return;
use super::jid::{jid_of, new_jid};
use super::{Salt, minion};
use crate::remote::report::{Outcome, Report, Seen};
use crate::remote::{ANSWER_WITHIN, CommandId, InvalidCommand, Target};

/// The longest call, in bytes of its arguments.
const MAX_ARGUMENTS_BYTES: usize = 512 * 1024;
/// How long a call may take.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// A call of an execution module's function.
#[derive(Clone, Debug)]
pub struct SaltFunction {
    /// Its module and name, such as `test.ping`.
    pub function: String,
    /// Its positional arguments.
    pub arguments: Vec<Value>,
    /// Its keyword arguments.
    pub keyword_arguments: Vec<(String, Value)>,
    /// How long it may take: from one second to a day. What runs longer is ended.
    pub timeout: Duration,
}

/// Whether a function may be called at all, whoever allows it: those that have other minions do something may not.
fn is_callable(function: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match function.split_once('.') {
        Some((module, name)) => is_word(module) && is_word(name) && !["publish", "peer"].contains(&module),
        None => false,
    }
}

impl SaltFunction {
    /// Makes sure that a minion gets what is asked for, and nothing else.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), InvalidCommand> {
        let Self { function, arguments, keyword_arguments, timeout } = self;
        let invalid = |what, reason: String| Err(InvalidCommand { what, reason });
        if !is_callable(function) {
            return invalid(
                "function",
                format!("`{function}` is not a function that can be called, such as `test.ping`"),
            );
        }
        for argument in arguments {
            match argument {
                Value::String(text) if is_read_anew(text) => {
                    let reason = format!(
                        "Salt reads the positional argument `{}` as something else than this text; give it as a keyword \
                         argument",
                        text.chars().take(100).collect::<String>()
                    );
                    return invalid("arguments", reason);
                }
                Value::Object(members) if members.contains_key("__kwarg__") => {
                    return invalid(
                        "arguments",
                        "Salt reads `__kwarg__` as keyword arguments; give them as those".into(),
                    );
                }
                _ => {}
            }
        }
        for (index, (name, _)) in keyword_arguments.iter().enumerate() {
            let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_name || name.starts_with("__") {
                return invalid("keyword-arguments", format!("`{name}` is not a name of a keyword argument"));
            }
            if keyword_arguments.iter().take(index).any(|(other, _)| other == name) {
                return invalid("keyword-arguments", format!("`{name}` is given twice"));
            }
        }
        let text = json!([arguments, keyword_arguments]).to_string();
        if text.len() > MAX_ARGUMENTS_BYTES {
            let reason = format!("they have {} bytes, and at most {MAX_ARGUMENTS_BYTES} are taken", text.len());
            return invalid("arguments", reason);
        }
        if arguments.iter().chain(keyword_arguments.iter().map(|(_, value)| value)).any(has_nul) {
            return invalid("arguments", "they must not contain NUL".into());
        }
        if *timeout < Duration::from_secs(1) || *timeout > MAX_TIMEOUT {
            return invalid("timeout", "a call has 1 to 86400 seconds".into());
        }
        Ok(())
    }

    fn runs_states(&self) -> bool {
        self.function.starts_with("state.")
    }
}

impl Salt {
    /// Calls a function on a server. What it returned is the standard output of its report, as JSON, if that is not more
    /// than `most` bytes. A job with this id is sent once.
    pub(in crate::remote) async fn function(
        &self,
        target: &Target,
        id: CommandId,
        asked: &SaltFunction,
        most: usize,
    ) -> Report {
        let Some(minion) = minion(target) else {
            return Report::no_response("the server is not one of the driver `salt`");
        };
        let began = Instant::now();
        let mut keyword_arguments: Map<String, Value> = asked.keyword_arguments.iter().cloned().collect();
        // States are run by one job at a time: a minion refuses others.
        let _lock = if asked.runs_states() {
            // Those that others run are waited for.
            keyword_arguments.entry("queue").or_insert(json!(true));
            Some(self.lock_states(&minion).await)
        } else {
            None
        };
        // It is never closed.
        let _place = self.0.minions.acquire().await;
        let call = Call {
            jid: jid_of(id.0),
            function: asked.function.clone(),
            arguments: asked.arguments.clone(),
            keyword_arguments,
            within: asked.timeout,
        };
        let mut end = End::Unheard;
        self.0.call(&call, vec![minion], false, |_, is| end = is).await;
        let late = matches!(end, End::Late);
        let report = said(end, most, asked.timeout);
        if late {
            self.end_function(target, id).await;
        }
        Report { duration_in_seconds: Some(began.elapsed().as_secs_f64()), ..report }
    }

    /// What became of a function that was perhaps called. Waits while it runs, no longer than this.
    pub(in crate::remote) async fn look_for_function(
        &self,
        target: &Target,
        id: CommandId,
        within: Duration,
        most: usize,
    ) -> Seen {
        let Some(minion) = minion(target) else { return Seen::NotDone };
        let (jid, function) = (jid_of(id.0), String::new());
        let call = Call { jid, function, arguments: Vec::new(), keyword_arguments: Map::new(), within };
        let mut end = End::Unheard;
        self.0.call(&call, vec![minion], true, |_, is| end = is).await;
        match end {
            End::Unheard => Seen::NotDone,
            End::Late => {
                self.end_function(target, id).await;
                Seen::Done(said(End::Late, most, within))
            }
            end => Seen::Done(said(end, most, within)),
        }
    }

    /// Ends a function's job with all that it has started. Nothing is returned of it.
    pub(in crate::remote) async fn end_function(&self, target: &Target, id: CommandId) {
        let Some(minion) = minion(target) else { return };
        let jid = jid_of(id.0);
        let call = Call {
            jid: new_jid(),
            function: "saltutil.kill_job".into(),
            arguments: vec![json!(jid)],
            keyword_arguments: Map::new(),
            within: ANSWER_WITHIN,
        };
        if let Err(error) = self.0.publish(&call, &[minion]).await {
            tracing::warn!("the Salt job {jid} is to end and could not be ended: {}", error.why());
        }
    }

    /// The lock of a minion's states.
    async fn lock_states(&self, minion: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut states = self.0.states.lock().unwrap_or_else(PoisonError::into_inner);
            states.retain(|_, lock| lock.strong_count() > 0);
            match states.get(minion).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::new(tokio::sync::Mutex::new(()));
                    states.insert(minion.to_owned(), Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }
}

fn said(end: End, most: usize, timeout: Duration) -> Report {
    match end {
        End::Returned(Return { r#return: value, retcode, success }) => {
            let is_ok = retcode.unwrap_or(0) == 0 && success.unwrap_or(true);
            let retcode = retcode.unwrap_or(i64::from(!is_ok));
            let report = Report::returned(if is_ok { Outcome::Ok } else { Outcome::Failed }, retcode);
            let text = value.to_string();
            let message = if value == "VALUE_TRIMMED" {
                "what it returned is more than the Salt master lets through (`max_event_size`)".to_owned()
            } else if text.len() > most {
                format!("what it returned is more than the {most} bytes that are kept of it")
            } else {
                return Report { stdout: text, ..report };
            };
            Report { truncated: true, message: Some(message), ..report }
        }
        End::NotSent(why) => Report::no_response(why),
        End::Silent { ran: false } => Report::no_response("the minion does not answer"),
        End::Silent { ran: true } => Report::unknown("it began, and the minion does not answer"),
        End::NotRunning | End::Unheard => Report::unknown("the minion does not run it, and has not returned anything"),
        End::Late => {
            let message = format!("it was ended at its deadline of {} s", timeout.as_secs());
            let report = Report::unknown(message);
            Report { outcome: Outcome::Failed, timed_out: true, ..report }
        }
        End::Unclear(why) => Report::unknown(why),
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(members) => members.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether Salt makes something else of a positional argument than this text: `name=value` becomes a keyword argument, and
/// the rest is read as YAML. What it might is refused, too.
fn is_read_anew(text: &str) -> bool {
    let starts_plain = text.starts_with(|c: char| c.is_alphabetic() || "/_.".contains(c));
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || " /_.,@%+-:".contains(c));
    if text.is_empty() {
        return false;
    }
    let trimmed = text.trim();
    let words = ["null", "true", "false", "yes", "no", "on", "off", "none", "y", "n", ".inf", ".nan"];
    !starts_plain
        || !is_plain
        || trimmed != text
        || words.contains(&text.to_lowercase().as_str())
        || text.contains(": ")
        || text.ends_with(':')
        || text.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_positional_argument_that_salt_reads_anew_is_refused() {
        for text in [
            "a=b",
            "1:30",
            "0x10",
            "null",
            "None",
            "true",
            "{a: b}",
            "[a]",
            "|",
            "#",
            ">",
            "!",
            "1",
            "-1",
            ".5",
            "a: b",
            "a:",
            " a",
            "a ",
            "& x",
            "*x",
            "'a'",
            "\"a\"",
            "16",
            "1_000",
            "yes",
            "2026-01-01",
            "~",
            "%x",
            "a #b",
            "@a",
        ] {
            assert!(is_read_anew(text), "{text}");
        }
        for text in ["", "web", "/srv/shop", "a-b", "web.init", "a b c", "user@host", "http://x/y", "nginx,curl"] {
            assert!(!is_read_anew(text), "{text}");
        }
    }

    #[test]
    fn what_has_other_minions_do_something_is_never_called() {
        assert!(is_callable("test.ping") && is_callable("state.apply") && is_callable("file.file_exists"));
        for function in
            ["publish.publish", "publish.runner", "peer.x", "test", "test.", ".ping", "a.b.c", "te*t.ping", ""]
        {
            assert!(!is_callable(function), "{function}");
        }
    }
}
