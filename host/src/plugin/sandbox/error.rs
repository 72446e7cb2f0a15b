//! How a run can end badly, from the trap that wasmtime reports to a sentence for the plugin's author.

use std::borrow::Cow;
use std::time::Duration;

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::{I32Exit, ResourceTableError};
use wasmtime_wasi_http::FieldMapError;

use super::http::MAX_FIELDS_BYTES;
use super::limits::Limits;
use crate::datasvc::{JobErrorCode, Json};

#[cfg(test)]
mod tests;

/// How many lines of a trace are kept. What is in the middle goes: one end of it says where the failure was, the other
/// how the plugin got there, and languages differ in which is which.
const MAX_TRACE_LINES: usize = 100;

/// How much of a panic's message is kept.
const MAX_PANIC_CHARS: usize = 4096;

/// How much of a line is kept.
const MAX_LINE_CHARS: usize = 300;

/// What JavaScript's runtime says of a promise that nothing is left to settle, before it traps.
const JAVASCRIPT_NEVER: &str = "(call) event loop error";
/// The same for the plugin's author, as the helper module for Python says it.
const NEVER: &str = "it waits for something that can never happen, so it would never end";

/// A limit that a run has passed. Thrown through the guest, which ends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the run passed a limit: {self:?}")]
pub(crate) enum Exceeded {
    Cpu,
    Memory,
    Tables,
    Handles,
    HostCall,
    Log,
    Fields,
    Stack,
}

impl Exceeded {
    fn code(self) -> JobErrorCode {
        match self {
            Self::Cpu => JobErrorCode::CpuLimitExceeded,
            Self::Memory => JobErrorCode::MemoryLimitExceeded,
            Self::Tables => JobErrorCode::TableLimitExceeded,
            Self::Handles => JobErrorCode::HandleLimitExceeded,
            Self::HostCall => JobErrorCode::HostCallLimitExceeded,
            Self::Log => JobErrorCode::LogLimitExceeded,
            Self::Fields => JobErrorCode::HttpFieldsLimitExceeded,
            Self::Stack => JobErrorCode::StackLimitExceeded,
        }
    }

    fn sentence(self, limits: &Limits) -> String {
        match self {
            Self::Cpu => format!("the plugin used more than {} ms of processor time", limits.cpu_ms),
            Self::Memory => format!("the plugin needed more than {} MiB of memory", limits.memory_mib),
            Self::Tables => format!("the plugin's tables needed more than {} elements", limits.table_elements),
            Self::Handles => format!("the plugin had more than {} handles open", limits.handles),
            Self::HostCall => format!(
                "the plugin handed more than {} KiB to the host at once, in a call or as its result",
                limits.host_call_kib
            ),
            Self::Log => format!(
                "the plugin wrote more than {} KiB or {} lines to the log, stdout and stderr",
                limits.log_kib, limits.log_lines
            ),
            Self::Fields => {
                format!("the plugin made HTTP headers of more than {} KiB", MAX_FIELDS_BYTES / 1024)
            }
            Self::Stack => format!("the plugin's calls went deeper than {} KiB of stack", limits.stack_kib),
        }
    }
}

/// Why a run ended without a result.
#[derive(Clone, Debug)]
pub struct RunError {
    /// Which limit it passed, or what else happened.
    pub code: JobErrorCode,
    /// A sentence for the plugin's author.
    pub message: String,
    /// What the plugin gave with its failure.
    pub details: Option<Json>,
    /// Where in the plugin it happened, line by line: the traceback of its language, or wasm's, innermost frame first.
    pub trace: Option<Vec<String>>,
}

impl RunError {
    pub(crate) fn new(code: JobErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: without_nul(&message.into()), details: None, trace: None }
    }

    /// A fault of the host. Its cause goes to the server's log, not to the job.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!("a run ended by a fault of the host: {cause:#}");
        Self::new(JobErrorCode::Internal, "the run ended by a fault of the host; its log says which")
    }

    fn exceeded(limit: Exceeded, limits: &Limits) -> Self {
        Self::new(limit.code(), limit.sentence(limits))
    }

    /// The run did not end in time.
    pub(crate) fn timed_out(limit: Duration) -> Self {
        Self::new(JobErrorCode::TimeLimitExceeded, format!("the plugin was stopped at its time limit of {limit:?}"))
    }

    /// What a trap means. `stderr` is the end of what the plugin wrote there, where Rust leaves a panic's message, and
    /// other languages a traceback.
    pub(crate) fn from_trap(error: &wasmtime::Error, limits: &Limits, stderr: &str) -> Self {
        let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
        let frames = frames.iter().map(String::as_str);
        let stderr = stderr.trim();
        if let Some(limit) = passed_limit(error) {
            return Self::exceeded(limit, limits).traced(frames);
        }
        let trap = error.downcast_ref::<Trap>();
        if trap.is_some()
            && let Some((traceback, message)) = exception(stderr)
        {
            return Self::panic(&kept(message)).traced(traceback.lines());
        }
        if trap.is_some()
            && let Some(message) = panic_message(stderr)
        {
            return Self::panic(&message).traced(frames);
        }
        if let Some((message, goroutines)) = go_panic(stderr) {
            return Self::panic(&kept(message)).traced(goroutines.lines());
        }
        if trap.is_some() && stderr.contains(JAVASCRIPT_NEVER) {
            return Self::new(JobErrorCode::ActionFailed, NEVER);
        }
        let (code, sentence) = match (trap, error.downcast_ref::<I32Exit>()) {
            (Some(trap), _) => (JobErrorCode::Trap, format!("the plugin trapped: {}", reason(*trap))),
            // WASI passes on whether the status was 0, and not the number itself.
            (None, Some(I32Exit(0))) => (JobErrorCode::Exit, "the plugin exited instead of returning".into()),
            (None, Some(I32Exit(_))) => {
                (JobErrorCode::Exit, "the plugin exited with a failure instead of returning".into())
            }
            (None, None) => (JobErrorCode::Trap, format!("the plugin was stopped: {}", error.root_cause())),
        };
        // What else it wrote is for operators, and in the job's trace.
        Self::new(code, with_last_line(sentence, stderr)).traced(frames)
    }

    fn panic(message: &str) -> Self {
        Self::new(JobErrorCode::Panic, format!("the plugin panicked: {message}"))
    }

    /// With what is to be kept of a trace.
    pub(crate) fn traced<'a>(self, lines: impl Iterator<Item = &'a str>) -> Self {
        Self { trace: trace(lines), ..self }
    }
}

fn passed_limit(error: &wasmtime::Error) -> Option<Exceeded> {
    if let Some(limit) = error.downcast_ref::<Exceeded>() {
        return Some(*limit);
    }
    if let Some(Trap::StackOverflow) = error.downcast_ref::<Trap>() {
        return Some(Exceeded::Stack);
    }
    if let Some(ResourceTableError::Full) = error.downcast_ref::<ResourceTableError>() {
        return Some(Exceeded::Handles);
    }
    if let Some(FieldMapError::TotalSizeTooBig | FieldMapError::TooManyFields) = error.downcast_ref::<FieldMapError>() {
        return Some(Exceeded::Fields);
    }
    // wasmtime keeps the types of these errors to itself.
    error.chain().find_map(|cause| match cause.to_string() {
        text if text.contains("fuel allocated for hostcalls") => Some(Exceeded::HostCall),
        text if text.contains("store handle limit exceeded") => Some(Exceeded::Handles),
        _ => None,
    })
}

/// The message of a Rust panic: what follows the line `thread '…' panicked at src/lib.rs:1:2:`.
fn panic_message(stderr: &str) -> Option<String> {
    let (_, panic) = stderr.rsplit_once("panicked at ")?;
    let (place, message) = panic.split_once(":\n")?;
    let message = message.split("\nnote: ").next().unwrap_or(message).trim();
    Some(format!("{} ({place})", kept(message)))
}

/// What is kept of a panic's message.
fn kept(message: &str) -> Cow<'_, str> {
    match message.char_indices().nth(MAX_PANIC_CHARS) {
        Some((end, _)) => format!("{}…", &message[..end]).into(),
        None => message.into(),
    }
}

/// What Go says before it exits: a message, and the stacks of its goroutines after an empty line.
fn go_panic(stderr: &str) -> Option<(&str, &str)> {
    let begin = |kind: &str| match stderr.rfind(&format!("\n{kind}")) {
        Some(line_end) => Some(line_end + 1),
        None => stderr.starts_with(kind).then_some(0),
    };
    let told = &stderr[begin("panic: ").max(begin("fatal error: "))?..];
    let (message, _) = told.split_once("\n\ngoroutine ")?;
    Some((message.strip_prefix("panic: ").unwrap_or(message), told[message.len()..].trim_start()))
}

/// The traceback of a Python exception that nothing caught, and its last line, which says what it was. What follows is
/// a panic of the interpreter's own.
fn exception(stderr: &str) -> Option<(&str, &str)> {
    let traceback = &stderr[stderr.find("Traceback (most recent call last):\n")?..];
    let traceback = traceback.split("\nthread '").next().unwrap_or(traceback).trim_end();
    Some((traceback, traceback.lines().last()?))
}

/// What wasmtime calls it, after `wasm trap: `.
fn reason(trap: Trap) -> String {
    let text = trap.to_string();
    text.strip_prefix("wasm trap: ").map_or_else(|| text.clone(), str::to_owned)
}

/// A text from a guest may contain a NUL, which Postgres does not accept in texts.
pub(crate) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// What was written last says more than the trap, which most languages end with whatever went wrong.
fn with_last_line(sentence: String, stderr: &str) -> String {
    match stderr.lines().last() {
        Some(line) => format!("{sentence}; the last it wrote to stderr: {line}"),
        None => sentence,
    }
}

/// What is kept of a trace; nothing of an empty one.
fn trace<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Vec<String>> {
    let mut lines: Vec<String> = lines.map(|line| without_nul(line).chars().take(MAX_LINE_CHARS).collect()).collect();
    if let Some(excess @ 1..) = lines.len().checked_sub(MAX_TRACE_LINES) {
        let left_out = format!("… {} more …", excess + 1);
        lines.splice(MAX_TRACE_LINES / 2..MAX_TRACE_LINES / 2 + excess + 1, [left_out]);
    }
    if lines.is_empty() { None } else { Some(lines) }
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let names = backtrace.frames().iter().map(|frame| match frame.symbols().first().and_then(|symbol| symbol.name()) {
        Some(name) => name.to_owned(),
        None => match frame.func_name() {
            Some(name) => name.to_owned(),
            None => format!("function {}", frame.func_index()),
        },
    });
    names.map(|name| format!("{:#}", rustc_demangle::demangle(&name))).collect()
}
