//! How a run can end badly, from the trap that wasmtime reports to a sentence for the plugin's author.

use std::time::Duration;

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::{I32Exit, ResourceTableError};
use wasmtime_wasi_http::FieldMapError;

use super::host::http::MAX_FIELDS_BYTES;
use super::limits::Limits;

/// How many frames of a backtrace are kept.
const MAX_FRAMES: usize = 50;

/// How much of a function's name is kept.
const MAX_NAME_CHARS: usize = 300;

/// A limit that a run has passed. Thrown through the guest, which ends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the run passed a limit: {self:?}")]
pub(super) enum Exceeded {
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
    fn code(self) -> &'static str {
        match self {
            Self::Cpu => "cpu-limit-exceeded",
            Self::Memory => "memory-limit-exceeded",
            Self::Tables => "table-limit-exceeded",
            Self::Handles => "handle-limit-exceeded",
            Self::HostCall => "host-call-limit-exceeded",
            Self::Log => "log-limit-exceeded",
            Self::Fields => "http-fields-limit-exceeded",
            Self::Stack => "stack-limit-exceeded",
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
    /// Stable, in kebab-case: which limit, or what else.
    pub code: &'static str,
    /// A sentence for the plugin's author.
    pub message: String,
    /// What the plugin gave with its failure.
    pub details: Option<Box<serde_json::Value>>,
    /// The plugin's backtrace, innermost frame first.
    pub trace: Option<Vec<String>>,
}

impl RunError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: without_nul(&message.into()), details: None, trace: None }
    }

    /// A fault of the host. Its cause goes to the server's log, not to the job.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!("a run ended by a fault of the host: {cause:#}");
        Self::new("internal", "the run ended by a fault of the host; its log says which")
    }

    fn exceeded(limit: Exceeded, limits: &Limits) -> Self {
        Self::new(limit.code(), limit.sentence(limits))
    }

    /// The run did not end in time.
    pub(super) fn timed_out(limit: Duration) -> Self {
        Self::new("time-limit-exceeded", format!("the plugin was stopped at its time limit of {limit:?}"))
    }

    /// What a trap means. `stderr` is the end of what the plugin wrote there, where Rust leaves a panic's message.
    pub(super) fn from_trap(error: &wasmtime::Error, limits: &Limits, stderr: &str) -> Self {
        let mut run_error = match passed_limit(error) {
            Some(limit) => Self::exceeded(limit, limits),
            None => match (error.downcast_ref::<Trap>(), error.downcast_ref::<I32Exit>()) {
                (Some(trap), _) => match panic_message(stderr) {
                    Some(message) => Self::new("panic", format!("the plugin panicked: {message}")),
                    None => Self::new("trap", with_stderr(format!("the plugin trapped: {}", reason(*trap)), stderr)),
                },
                (None, Some(I32Exit(status))) => Self::new(
                    "exit",
                    // WASI passes on whether it was 0, and not the number itself.
                    with_stderr(
                        format!(
                            "the plugin exited{} instead of returning",
                            if *status == 0 { "" } else { " with a failure" }
                        ),
                        stderr,
                    ),
                ),
                (None, None) => Self::new("trap", format!("the plugin was stopped: {}", error.root_cause())),
            },
        };
        run_error.trace = error.downcast_ref::<WasmBacktrace>().map(frames);
        run_error
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
    Some(format!("{message} ({place})"))
}

/// What wasmtime calls it, after `wasm trap: `.
fn reason(trap: Trap) -> String {
    let text = trap.to_string();
    text.strip_prefix("wasm trap: ").map_or_else(|| text.clone(), str::to_owned)
}

/// What a guest made up may contain a NUL, which Postgres takes in no text.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Other languages leave a traceback on stderr, which says more than the trap.
fn with_stderr(sentence: String, stderr: &str) -> String {
    let stderr = stderr.trim();
    if stderr.is_empty() { sentence } else { format!("{sentence}\n{stderr}") }
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let names = backtrace.frames().iter().map(|frame| match frame.symbols().first().and_then(|symbol| symbol.name()) {
        Some(name) => name.to_owned(),
        None => match frame.func_name() {
            Some(name) => name.to_owned(),
            None => format!("function {}", frame.func_index()),
        },
    });
    let names = names.map(|name| format!("{:#}", rustc_demangle::demangle(&name)));
    names.take(MAX_FRAMES).map(|name| without_nul(&name).chars().take(MAX_NAME_CHARS).collect()).collect()
}
