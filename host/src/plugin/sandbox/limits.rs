//! What a plugin may use. Each limit has its unit in its name, and a hostile plugin in `tests/plugins`.

use std::path::PathBuf;
use std::time::Duration;

use wasmtime::ResourceLimiter;

use super::error::Exceeded;
use crate::datasvc::LogLimits;
use crate::outbound::RequestLimits;

/// The limits of every plugin, as settings of `elita serve`.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Plugin limits")]
pub struct Limits {
    /// Linear memory of a run in MiB, summed over all its memories.
    #[arg(long = "plugin-memory-mib", env = "ELITA_PLUGIN_MEMORY_MIB", default_value_t = 256, value_name = "MIB",
          value_parser = clap::value_parser!(u32).range(1..=4095))]
    pub memory_mib: u32,
    /// Table elements of a run, summed over all its tables.
    #[arg(
        long = "plugin-table-elements",
        env = "ELITA_PLUGIN_TABLE_ELEMENTS",
        default_value_t = 100_000,
        value_name = "COUNT"
    )]
    pub table_elements: u32,
    /// Maximum number of core instances, and of tables, of a component.
    #[arg(long = "plugin-instances", env = "ELITA_PLUGIN_INSTANCES", default_value_t = 64, value_name = "COUNT")]
    pub instances: u32,
    /// Memories of a component. Each takes 4 GiB of address space for every run that fits on this host.
    #[arg(long = "plugin-memories", env = "ELITA_PLUGIN_MEMORIES", default_value_t = 8, value_name = "COUNT")]
    pub memories: u32,
    /// Handles (streams, pollables and the like) that a run may have open.
    #[arg(long = "plugin-handles", env = "ELITA_PLUGIN_HANDLES", default_value_t = 1_000, value_name = "COUNT")]
    pub handles: u32,
    /// Handles that a run may have open if it has a directory to read: each open file is a file descriptor of the
    /// server.
    #[arg(
        long = "plugin-file-handles",
        env = "ELITA_PLUGIN_FILE_HANDLES",
        default_value_t = 100,
        value_name = "COUNT"
    )]
    pub file_handles: u32,
    /// Total size of the packages that a run may write for a build, in MiB.
    #[arg(long = "plugin-package-mib", env = "ELITA_PLUGIN_PACKAGE_MIB", default_value_t = 1_024, value_name = "MIB")]
    pub package_mib: u32,
    /// Size of the data of one host call, or of a run's result, in KiB.
    #[arg(
        long = "plugin-host-call-kib",
        env = "ELITA_PLUGIN_HOST_CALL_KIB",
        default_value_t = 1_024,
        value_name = "KIB"
    )]
    pub host_call_kib: u32,
    /// Total size of what a run may write to the server's log, stdout and stderr, in KiB.
    #[arg(long = "plugin-log-kib", env = "ELITA_PLUGIN_LOG_KIB", default_value_t = 256, value_name = "KIB")]
    pub log_kib: u32,
    /// Lines that a run may write to the server's log, stdout and stderr together.
    #[arg(long = "plugin-log-lines", env = "ELITA_PLUGIN_LOG_LINES", default_value_t = 10_000, value_name = "COUNT")]
    pub log_lines: u32,
    /// Entries that a plugin may add to a job's log; more are dropped, and counted.
    #[arg(long = "plugin-entries", env = "ELITA_PLUGIN_ENTRIES", default_value_t = 10_000, value_name = "COUNT")]
    pub entries: u32,
    /// Total size of these entries, in KiB; more are dropped, and counted.
    #[arg(long = "plugin-entries-kib", env = "ELITA_PLUGIN_ENTRIES_KIB", default_value_t = 16_384, value_name = "KIB")]
    pub entries_kib: u32,
    /// Jobs that one job of a user may start, directly and through the jobs that it started.
    #[arg(
        long = "plugin-descendants",
        env = "ELITA_PLUGIN_DESCENDANTS",
        default_value_t = 1_000,
        value_name = "COUNT"
    )]
    pub descendants: u32,
    /// Processor time of a run in milliseconds.
    #[arg(long = "plugin-cpu-ms", env = "ELITA_PLUGIN_CPU_MS", default_value_t = 10_000, value_name = "MS")]
    pub cpu_ms: u64,
    /// Wall-clock time of a run in seconds, for actions that do not declare a time.
    #[arg(
        long = "plugin-timeout-seconds",
        env = "ELITA_PLUGIN_TIMEOUT_SECONDS",
        default_value_t = 300,
        value_name = "SECONDS"
    )]
    pub timeout_seconds: u32,
    /// Wall-clock time of a run in seconds, whatever its action declares.
    #[arg(
        long = "plugin-max-timeout-seconds",
        env = "ELITA_PLUGIN_MAX_TIMEOUT_SECONDS",
        default_value_t = 3_600,
        value_name = "SECONDS"
    )]
    pub max_timeout_seconds: u32,
    /// How long one host call may take, in milliseconds.
    #[arg(
        long = "plugin-host-call-ms",
        env = "ELITA_PLUGIN_HOST_CALL_MS",
        default_value_t = 10_000,
        value_name = "MS"
    )]
    pub host_call_ms: u64,
    /// Outbound HTTP requests that a run may have in progress at the same time.
    #[arg(
        long = "plugin-http-requests",
        env = "ELITA_PLUGIN_HTTP_REQUESTS",
        default_value_t = 8,
        value_name = "COUNT"
    )]
    pub http_requests: u32,
    /// How long an outbound HTTP request may take, to the last byte of its response, in milliseconds.
    #[arg(long = "plugin-http-ms", env = "ELITA_PLUGIN_HTTP_MS", default_value_t = 60_000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(1..=24 * 3600 * 1000))]
    pub http_ms: u64,
    /// How long an outbound HTTP request may take to be connected, in milliseconds.
    #[arg(long = "plugin-http-connect-ms", env = "ELITA_PLUGIN_HTTP_CONNECT_MS", default_value_t = 10_000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(1..=24 * 3600 * 1000))]
    pub http_connect_ms: u64,
    /// Size of the body of an outbound HTTP request, in KiB.
    #[arg(
        long = "plugin-http-request-kib",
        env = "ELITA_PLUGIN_HTTP_REQUEST_KIB",
        default_value_t = 65_536,
        value_name = "KIB"
    )]
    pub http_request_kib: u32,
    /// Size of the body of the response to an outbound HTTP request, in KiB.
    #[arg(
        long = "plugin-http-response-kib",
        env = "ELITA_PLUGIN_HTTP_RESPONSE_KIB",
        default_value_t = 65_536,
        value_name = "KIB"
    )]
    pub http_response_kib: u32,
    /// How long registering may take, in milliseconds.
    #[arg(
        long = "plugin-registration-ms",
        env = "ELITA_PLUGIN_REGISTRATION_MS",
        default_value_t = 5_000,
        value_name = "MS"
    )]
    pub registration_ms: u64,
    /// Maximum number of actions, and of hooks, that a plugin may register.
    #[arg(
        long = "plugin-registrations",
        env = "ELITA_PLUGIN_REGISTRATIONS",
        default_value_t = 1_000,
        value_name = "COUNT"
    )]
    pub registrations: u32,
    /// Stack of a run in KiB.
    #[arg(long = "plugin-stack-kib", env = "ELITA_PLUGIN_STACK_KIB", default_value_t = 1_024, value_name = "KIB",
          value_parser = clap::value_parser!(u32).range(64..=8192))]
    pub stack_kib: u32,
    /// Size of a component's file in MiB.
    #[arg(long = "plugin-file-mib", env = "ELITA_PLUGIN_FILE_MIB", default_value_t = 64, value_name = "MIB")]
    pub file_mib: u32,
    /// Maximum number of functions of a component, which limits the time to compile it.
    #[arg(long = "plugin-functions", env = "ELITA_PLUGIN_FUNCTIONS", default_value_t = 200_000, value_name = "COUNT")]
    pub functions: u32,
    /// Processor time of compiling a component, in seconds.
    #[arg(long = "plugin-compile-seconds", env = "ELITA_PLUGIN_COMPILE_SECONDS", default_value_t = 120, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(1..=24 * 3600))]
    pub compile_seconds: u32,
    /// Memory that compiling a component may take, in MiB.
    #[arg(long = "plugin-compile-mib", env = "ELITA_PLUGIN_COMPILE_MIB", default_value_t = 2_048, value_name = "MIB",
          value_parser = clap::value_parser!(u32).range(16..))]
    pub compile_mib: u32,
    /// How long the server waits at its start for the plugins that are there, before it says that it is ready, in
    /// seconds.
    #[arg(long = "plugin-start-seconds", env = "ELITA_PLUGIN_START_SECONDS", default_value_t = 60, value_name = "SECONDS",
          value_parser = clap::value_parser!(u32).range(..=24 * 3600))]
    pub start_seconds: u32,
    /// The program that compiles components: this program, unless another one runs the server.
    #[arg(long = "plugin-compiler", env = "ELITA_PLUGIN_COMPILER", hide = true, value_name = "FILE")]
    pub compiler: Option<PathBuf>,
    /// Runs of one plugin at the same time on this host [default: as many as of all plugins].
    #[arg(
        long = "plugin-runs-per-plugin",
        env = "ELITA_PLUGIN_RUNS_PER_PLUGIN",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub runs_per_plugin: Option<u32>,
    /// Runs of one action at the same time on this host [default: as many as of all actions].
    #[arg(
        long = "plugin-runs-per-action",
        env = "ELITA_PLUGIN_RUNS_PER_ACTION",
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub runs_per_action: Option<u32>,
    /// Runs at the same time on this host.
    #[arg(long = "plugin-runs", env = "ELITA_PLUGIN_RUNS", default_value_t = 32, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
}

impl Limits {
    /// The wall-clock limit of a run whose action declared `declared_seconds`.
    pub fn run_timeout(&self, declared_seconds: Option<u32>) -> Duration {
        let seconds = declared_seconds.unwrap_or(self.timeout_seconds).min(self.max_timeout_seconds);
        Duration::from_secs(u64::from(seconds))
    }

    /// Those of a run that has a directory to read.
    pub(crate) fn with_files(&self) -> Self {
        Self { handles: self.handles.min(self.file_handles), ..self.clone() }
    }

    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_millis(self.cpu_ms)
    }

    pub(crate) fn host_call(&self) -> Duration {
        Duration::from_millis(self.host_call_ms)
    }

    /// What one outbound HTTP request may cost.
    pub(crate) fn http(&self) -> RequestLimits {
        let total = Duration::from_millis(self.http_ms);
        RequestLimits {
            connect: Duration::from_millis(self.http_connect_ms),
            first_byte: total,
            between_bytes: total,
            total,
            request_bytes: kib(self.http_request_kib) as u64,
            response_bytes: kib(self.http_response_kib) as u64,
        }
    }

    /// How long a start waits for the plugins that are there.
    pub fn start(&self) -> Duration {
        Duration::from_secs(self.start_seconds.into())
    }

    pub(crate) fn registration(&self) -> Duration {
        Duration::from_millis(self.registration_ms)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        mib(self.memory_mib)
    }

    pub(crate) fn file_bytes(&self) -> usize {
        mib(self.file_mib)
    }

    pub(crate) fn host_call_bytes(&self) -> usize {
        kib(self.host_call_kib)
    }

    pub(crate) fn package_bytes(&self) -> usize {
        mib(self.package_mib)
    }

    pub(crate) fn log_bytes(&self) -> usize {
        kib(self.log_kib)
    }

    /// What a plugin may add to a job's log.
    pub fn job_log(&self) -> LogLimits {
        LogLimits { entries: self.entries as usize, bytes: kib(self.entries_kib) }
    }

    pub(crate) fn stack_bytes(&self) -> usize {
        kib(self.stack_kib)
    }
}

fn kib(count: u32) -> usize {
    count as usize * 1024
}

fn mib(count: u32) -> usize {
    kib(count) * 1024
}

/// What a run's memories and tables have grown to. Growing past the limit ends the run.
pub(crate) struct Growth {
    memory_bytes: usize,
    memory_limit: usize,
    table_elements: usize,
    table_limit: usize,
}

impl Growth {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes: 0,
            memory_limit: limits.memory_bytes(),
            table_elements: 0,
            table_limit: limits.table_elements as usize,
        }
    }
}

impl ResourceLimiter for Growth {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let grown = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if grown > self.memory_limit {
            return Err(Exceeded::Memory.into());
        }
        self.memory_bytes = grown;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let grown = self.table_elements.saturating_add(desired.saturating_sub(current));
        if grown > self.table_limit {
            return Err(Exceeded::Tables.into());
        }
        self.table_elements = grown;
        Ok(true)
    }
}
