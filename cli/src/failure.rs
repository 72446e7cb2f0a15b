//! Why a command did not do what it was asked to, in two lines: what, and what to do.

use serde_json::{Value, json};

use crate::exit::Code;

/// The result of everything that can end a command.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// What went wrong.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// A sentence without a full stop.
    pub(crate) what: String,
    /// What is wrong in detail, one a line.
    pub(crate) details: Vec<String>,
    /// What to do, if that is known.
    pub(crate) hint: Option<String>,
    /// The server's document, where the server refused.
    pub(crate) problem: Option<Box<Value>>,
    /// Whether an earlier try of the same request may have been carried out.
    pub(crate) may_have_arrived: bool,
}

impl Failure {
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), details: Vec::new(), hint: None, problem: None, may_have_arrived: false }
    }

    /// A command line that cannot be meant.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Code::Usage, what)
    }

    /// A file of this machine that cannot be read or written.
    pub(crate) fn file(doing: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let (why, hint) = match error.kind() {
            ErrorKind::NotFound => ("there is no such file".to_owned(), "check the path"),
            ErrorKind::IsADirectory => ("it is a folder, and a file is wanted".to_owned(), "a file in it"),
            ErrorKind::PermissionDenied => ("this user may not".to_owned(), "ls -l shows who may"),
            _ => (without_number(&error.to_string()).to_owned(), ""),
        };
        let failure = Self::new(Code::Usage, format!("cannot {doing} {}: {why}", path.display()));
        if hint.is_empty() { failure } else { failure.hint(hint) }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn details(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }

    /// The server's stable code for it, or nothing.
    pub(crate) fn problem_code(&self) -> &str {
        self.problem.as_ref().and_then(|problem| problem["code"].as_str()).unwrap_or_default()
    }

    /// The server's status, if it answered.
    pub(crate) fn status(&self) -> Option<u64> {
        self.problem.as_ref()?["status"].as_u64()
    }

    /// For programs: the server's document, or one like it.
    pub(crate) fn document(&self) -> Value {
        match &self.problem {
            Some(problem) => Value::clone(problem),
            None => json!({ "type": "about:blank", "title": "elita", "detail": self.what, "code": self.code_name() }),
        }
    }

    fn code_name(&self) -> &'static str {
        match self.code {
            Code::Usage => "usage",
            Code::NotAllowed => "not-logged-in",
            Code::Unreachable => "unreachable",
            Code::TimedOut => "timed-out",
            Code::Interrupted => "interrupted",
            Code::Done | Code::Failed | Code::Cancelled | Code::Refused | Code::Unread => "failed",
        }
    }

    /// For whoever reads standard error: a document for programs, or lines for people.
    pub(crate) fn shown(&self, json: bool, verbose: bool) -> String {
        if json { self.document().to_string() } else { self.text(verbose).trim_end().to_owned() }
    }

    /// For people. With `verbose` the request's id is in it.
    pub(crate) fn text(&self, verbose: bool) -> String {
        let mut text = format!("elita: {}\n", self.what);
        for detail in &self.details {
            text += &format!("  {detail}\n");
        }
        let id = self.problem.as_ref().and_then(|problem| problem["request_id"].as_str());
        if let Some(id) = id.filter(|_| verbose) {
            text += &format!("  request id {id}\n");
        }
        if let Some(hint) = &self.hint {
            text += &format!("try: {hint}\n");
        }
        text
    }
}

/// What an error of the system says, without its number.
pub(crate) fn without_number(text: &str) -> &str {
    text.split(" (os error").next().unwrap_or(text)
}
