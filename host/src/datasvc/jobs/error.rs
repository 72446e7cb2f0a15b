//! Why a job ended without a result.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::error;

use crate::errors::chain;

#[cfg(test)]
mod tests;

codes! {
    /// Why a job, a step or a hook failed, for programs. A code never changes its text or its meaning.
    pub enum JobErrorCode {
        /// The action returned or threw an error, or it waited for something that can never happen.
        ActionFailed = "action-failed",
        /// A hook returned or threw an error, or it waited for something that can never happen.
        HookFailed = "hook-failed",
        /// The plugin panicked, or an exception reached the end of its program.
        Panic = "panic",
        /// WebAssembly stopped the plugin, for example at `abort()` or at a division by zero.
        Trap = "trap",
        /// The plugin ended its program instead of returning.
        Exit = "exit",
        /// What the plugin returned is not JSON that can be stored.
        InvalidResult = "invalid-result",
        /// The job's component is missing, damaged, or cannot be compiled.
        PluginUnavailable = "plugin-unavailable",
        /// The job's row in the database is damaged, so that it cannot be run.
        Unreadable = "unreadable",
        /// The plugin used more processor time than `--plugin-cpu-ms`.
        CpuLimitExceeded = "cpu-limit-exceeded",
        /// The run took longer than its action declares, or than `--plugin-timeout-seconds`.
        TimeLimitExceeded = "time-limit-exceeded",
        /// The plugin needed more memory than `--plugin-memory-mib`.
        MemoryLimitExceeded = "memory-limit-exceeded",
        /// The plugin's tables needed more elements than `--plugin-table-elements`.
        TableLimitExceeded = "table-limit-exceeded",
        /// The plugin had more handles open than `--plugin-handles`, or `--plugin-file-handles` in a hook with files.
        HandleLimitExceeded = "handle-limit-exceeded",
        /// The plugin's calls needed more stack than `--plugin-stack-kib`.
        StackLimitExceeded = "stack-limit-exceeded",
        /// One call to the host, or the result, had more data than `--plugin-host-call-kib`.
        HostCallLimitExceeded = "host-call-limit-exceeded",
        /// The plugin made HTTP headers of more than 32 KiB.
        HttpFieldsLimitExceeded = "http-fields-limit-exceeded",
        /// The plugin logged or printed more than `--plugin-log-kib` or `--plugin-log-lines`.
        LogLimitExceeded = "log-limit-exceeded",
        /// A user or a plugin asked for the job to stop.
        Cancelled = "cancelled",
        /// The server stopped while the job ran, and the job may not be run twice; it may be half done.
        Lost = "lost",
        /// The server stopped in the middle of this step or hook, which is not run twice; it may be half done.
        Interrupted = "interrupted",
        /// Servers stopped again and again while they worked on the job; it is not tried again.
        TooManyAttempts = "too-many-attempts",
        /// Something else changed meanwhile: the build no longer waits for this upload, or another server has the job.
        Conflict = "conflict",
        /// The upload did not end within `--upload-seconds`.
        TimedOut = "timed-out",
        /// The file could not be fetched from its URL.
        FetchFailed = "fetch-failed",
        /// The uploaded file is no longer in the store.
        FileMissing = "file-missing",
        /// The file is not a valid archive of its type, or exceeds a limit of archives.
        InvalidArchive = "invalid-archive",
        /// No file in the archive belongs to one of the packages.
        EmptyPackage = "empty-package",
        /// What the job works with was removed, such as the package map of the upload or a server of the command.
        NotFound = "not-found",
        /// Git failed, or a git repository is not where it was.
        GitFailed = "git-failed",
        /// The package holds something that a git repository cannot hold.
        GitRefused = "git-refused",
        /// Somebody else changed the branch of a git repository while it was committed to; nothing was pushed.
        BranchMoved = "branch-moved",
        /// A git repository that is kept elsewhere cannot be reached, or does not take its keypair or credentials.
        GitUnreachable = "git-unreachable",
        /// A git provider did not make a git repository, or did not remove it; the message has its reason.
        GitProviderRefused = "git-provider-refused",
        /// A git repository that is kept elsewhere does not take the commit; the message has its reason.
        PushRefused = "push-refused",
        /// Who asked for the job may not do this any more, or their token has ended.
        NotAllowed = "not-allowed",
        /// The work failed on some of the servers; `details` says on which, and why.
        ServersFailed = "servers-failed",
        /// What the plan of the deployment depends on has changed since it was agreed to.
        PlanChanged = "plan-changed",
        /// What the deployment needs is not there any more.
        PlanFailed = "plan-failed",
        /// The store has no space left.
        StorageFull = "storage-full",
        /// The store does not answer, or refuses the server.
        StorageUnavailable = "storage-unavailable",
        /// What a step of the job returned is longer than 1 MiB.
        OutcomeTooLarge = "outcome-too-large",
        /// The service failed; its log says why.
        Internal = "internal",
    }
}

impl fmt::Display for JobErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a job ended without a result.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JobError {
    /// Stable, in kebab-case. What each code means is in the operating guide, under "Why a job failed".
    // A text, because the row may be from a newer server, which may have more codes than [`JobErrorCode`].
    #[schema(example = "action-failed")]
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// What the plugin gave with its failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    pub details: Option<Box<RawValue>>,
    /// Where in the plugin it happened, line by line: the traceback of its language, or wasm's, innermost frame first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Vec<String>>,
}

impl JobError {
    /// One without details.
    pub fn new(code: JobErrorCode, message: impl Into<String>) -> Self {
        Self { code: code.to_string(), message: message.into(), details: None, trace: None }
    }

    /// What a job ends with that someone has stopped. `who` is who asked for that.
    pub fn cancelled(who: &str) -> Self {
        Self::new(JobErrorCode::Cancelled, format!("{who} asked for it to stop"))
    }

    /// What a job ends with that cannot be run, because `what` of its row cannot be read. It is logged here.
    pub fn unreadable(what: &str) -> Self {
        error!("a job's row is damaged: {what}");
        Self::new(JobErrorCode::Unreadable, format!("the job cannot be run, because its row is damaged: {what}"))
    }

    /// As it is stored. What cannot be read of it is shown as it is.
    pub(in crate::datasvc) fn from_row(stored: &RawValue) -> Self {
        serde_json::from_str(stored.get()).unwrap_or_else(|_| Self {
            details: serde_json::from_str(stored.get()).ok(),
            ..Self::new(JobErrorCode::Unreadable, "why the job ended cannot be read; the details are what is stored")
        })
    }

    /// A fault of the service: `what` went wrong and its cause are logged here, and not shown.
    pub fn internal(what: &str, cause: &(dyn std::error::Error + 'static)) -> Self {
        error!(error = chain(cause), "{what}");
        Self::new(JobErrorCode::Internal, "the service failed; the server's log says why")
    }
}
