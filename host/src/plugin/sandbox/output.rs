//! What a guest writes for operators: the `log` interface, stdout and stderr. All of it goes to the server's log and to
//! the job's trace, line by line, within one budget for the run.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tracing::{debug, error, info, trace, warn};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::error::Exceeded;
use super::limits::Limits;
use crate::datasvc::{JobLog, PluginName};

/// The longest line; a longer one is broken.
const MAX_LINE_BYTES: usize = 8 * 1024;
/// How much of stderr's end is kept to explain a trap: a panic's message may be long.
const STDERR_TAIL_BYTES: usize = 64 * 1024;

/// How important a line is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug)]
enum Stream {
    Log(Level),
    Stdout,
    Stderr,
}

impl Stream {
    /// What it is called in a job's trace, and how important it is there.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Log(Level::Trace) => ("log", "trace"),
            Self::Log(Level::Debug) => ("log", "debug"),
            Self::Log(Level::Info) => ("log", "info"),
            Self::Log(Level::Warn) => ("log", "warn"),
            Self::Log(Level::Error) => ("log", "error"),
            Self::Stdout => ("stdout", "info"),
            Self::Stderr => ("stderr", "warn"),
        }
    }
}

/// The output of one run. Clones share it.
#[derive(Clone)]
pub(crate) struct Output {
    state: Arc<Mutex<State>>,
    /// None while the plugin is asked what it registers.
    job: Option<JobOutput>,
}

/// In whose trace the output is, and under whose name.
#[derive(Clone)]
pub(crate) struct JobOutput {
    pub(crate) log: JobLog,
    pub(crate) plugin: PluginName,
}

struct State {
    bytes_left: usize,
    lines_left: usize,
    stderr_tail: Vec<u8>,
}

impl Output {
    /// That of a run for this job, in whose trace it is, too.
    pub(crate) fn new(limits: &Limits, job: Option<JobOutput>) -> Self {
        let state =
            State { bytes_left: limits.log_bytes(), lines_left: limits.log_lines as usize, stderr_tail: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)), job }
    }

    /// Writes to the server's log. Every line of the message is a line of its own there.
    pub(crate) fn log(&self, level: Level, message: &str) -> Result<(), Exceeded> {
        for line in message.lines() {
            self.take(line.len() + 1, 1)?;
            self.write_line(Stream::Log(level), line);
        }
        Ok(())
    }

    pub(crate) fn stdout(&self) -> Pipe {
        Pipe { output: self.clone(), stream: Stream::Stdout }
    }

    pub(crate) fn stderr(&self) -> Pipe {
        Pipe { output: self.clone(), stream: Stream::Stderr }
    }

    /// The end of what was written to stderr.
    pub(crate) fn stderr_tail(&self) -> String {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let excess = state.stderr_tail.len().saturating_sub(STDERR_TAIL_BYTES);
        String::from_utf8_lossy(&state.stderr_tail[excess..]).into_owned()
    }

    fn take(&self, bytes: usize, lines: usize) -> Result<(), Exceeded> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes_left = state.bytes_left.checked_sub(bytes).ok_or(Exceeded::Log)?;
        state.lines_left = state.lines_left.checked_sub(lines).ok_or(Exceeded::Log)?;
        Ok(())
    }

    fn write_line(&self, stream: Stream, line: &str) {
        write_line(stream, line);
        if let Some(job) = &self.job {
            let (stream, level) = stream.names();
            job.log.trace_output(&job.plugin, stream, level, line);
        }
    }

    fn keep_tail(&self, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.stderr_tail.extend_from_slice(bytes);
        // Not each time, which would move all of it for every byte.
        if state.stderr_tail.len() > 2 * STDERR_TAIL_BYTES {
            let excess = state.stderr_tail.len() - STDERR_TAIL_BYTES;
            state.stderr_tail.drain(..excess);
        }
    }
}

/// The job and the plugin are fields of the span that the run is in. Control characters are escaped by the log's
/// own formatting of a field, so that a guest can fake no lines.
fn write_line(stream: Stream, text: &str) {
    match stream {
        Stream::Log(Level::Trace) => trace!(target: "plugin", text, "log"),
        Stream::Log(Level::Debug) => debug!(target: "plugin", text, "log"),
        Stream::Log(Level::Info) => info!(target: "plugin", text, "log"),
        Stream::Log(Level::Warn) => warn!(target: "plugin", text, "log"),
        Stream::Log(Level::Error) => error!(target: "plugin", text, "log"),
        Stream::Stdout => info!(target: "plugin", text, "stdout"),
        Stream::Stderr => warn!(target: "plugin", text, "stderr"),
    }
}

/// stdout or stderr of a run.
pub(crate) struct Pipe {
    output: Output,
    stream: Stream,
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 writes through this one, and that is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(PipeEnd { output: self.output.clone(), stream: self.stream, line: Vec::new() })
    }
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

/// A guest's handle of a [`Pipe`], with the line that is not yet complete.
struct PipeEnd {
    output: Output,
    stream: Stream,
    line: Vec<u8>,
}

impl PipeEnd {
    fn end_line(&mut self) -> Result<(), Exceeded> {
        self.output.take(0, 1)?;
        self.output.write_line(self.stream, &String::from_utf8_lossy(&self.line));
        self.line.clear();
        Ok(())
    }

    fn take_in(&mut self, bytes: &[u8]) -> Result<(), Exceeded> {
        self.output.take(bytes.len(), 0)?;
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line()?,
                _ => self.line.push(byte),
            }
            if self.line.len() >= MAX_LINE_BYTES {
                self.end_line()?;
            }
        }
        Ok(())
    }
}

impl OutputStream for PipeEnd {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if matches!(self.stream, Stream::Stderr) {
            self.output.keep_tail(&bytes);
        }
        self.take_in(&bytes).map_err(|limit| StreamError::Trap(limit.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_LINE_BYTES)
    }
}

#[async_trait]
impl Pollable for PipeEnd {
    async fn ready(&mut self) {}
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            // With the budget spent, the rest is dropped with the stream.
            let _ = self.end_line();
        }
    }
}
