//! Compiling, in a process of its own: this program, started with [`child::COMMAND`]. What a component costs to be
//! compiled is bounded there, whatever it is made of, and what goes wrong ends that process and nothing else.
//!
//! The child gets the component on its standard input and writes the compiled form to its standard output, which is a
//! file beside the finished ones. When its input ends it does, too: so it does not outlive its server.

mod child;

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};

use crate::plugin::sandbox::limits::Limits;

pub use self::child::compile_if_told;

/// How many times its processor time a component may take by the clock, on a machine that has much else to do.
const WALL_CLOCK: u32 = 10;
/// Processor time of the first try of a small component, in seconds. What takes longer waits among the large ones then.
const FIRST_SECONDS: u32 = 10;
/// How much of what the child writes to stderr is read.
const MAX_STDERR_BYTES: u64 = 64 * 1024;

/// Why there is no compiled form.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompileError {
    /// The component is at fault: it would be the same the next time.
    #[error("{0}")]
    Refused(String),
    /// It takes longer than it may.
    #[error("{0}")]
    TooSlow(String),
    /// The compiler did not come to an end with it, and it is not clear whose fault that was.
    #[error("{0}")]
    Ended(String),
    /// The machine is at fault: another time it may work.
    #[error("the compiler could not be run: {0}")]
    Io(#[from] std::io::Error),
}

/// How components are compiled on this server.
#[derive(Clone, Debug)]
pub(super) struct Compiler {
    program: PathBuf,
    costs: Costs,
}

/// What compiling a component may cost.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Costs {
    /// Processor time, in seconds.
    seconds: u32,
    /// Memory, in MiB.
    mib: u32,
}

/// That a component could not be compiled, as it is remembered in a file.
#[derive(Deserialize, Serialize)]
struct Refused {
    reason: String,
    /// Under other limits it is tried again.
    under: Costs,
}

impl Compiler {
    pub(super) fn new(limits: &Limits) -> Self {
        // The link leads to what runs, also when an upgrade has put another file in its place.
        let program = limits.compiler.clone().unwrap_or_else(|| "/proc/self/exe".into());
        Self { program, costs: Costs { seconds: limits.compile_seconds, mib: limits.compile_mib } }
    }

    /// What compiling a component may cost on this host.
    pub(super) fn costs(&self) -> Costs {
        self.costs
    }

    /// The same for the first try of one that others should not have to wait for.
    pub(super) fn first_costs(&self) -> Costs {
        Costs { seconds: self.costs.seconds.min(FIRST_SECONDS), ..self.costs }
    }

    /// Compiles a component to a file, which is there whole or not at all.
    pub(super) async fn compile(&self, component: Bytes, to: &Path, costs: Costs) -> Result<(), CompileError> {
        let directory = to.parent().unwrap_or(Path::new("."));
        let made = NamedTempFile::new_in(directory)?;
        let mut child = self.start(component.len(), made.reopen()?.into(), costs)?;
        let ended = tokio::time::timeout(costs.wall_clock(), attend(&mut child, component)).await;
        match ended {
            // Dropping the child kills it.
            Err(_) => return Err(CompileError::TooSlow(costs.too_slow())),
            Ok(ended) => outcome(costs, ended?)?,
        }
        let to = to.to_owned();
        let kept = tokio::task::spawn_blocking(move || {
            made.as_file().sync_all()?;
            made.persist(to).map_err(|problem| problem.error)
        });
        kept.await.map_err(std::io::Error::other)??;
        Ok(())
    }

    fn start(&self, bytes: usize, to: Stdio, costs: Costs) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg(child::COMMAND).args(child::flags(bytes, costs));
        command.env_clear().current_dir("/").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(to).stderr(Stdio::piped()).spawn()
    }

    /// Why the component whose compiled form would be in this file could not be compiled, if that is known.
    pub(super) fn refused_before(&self, compiled: &Path) -> Option<String> {
        let text = std::fs::read(refused_file(compiled)).ok()?;
        let Refused { reason, under } = serde_json::from_slice(&text).ok()?;
        (under == self.costs).then_some(reason)
    }

    /// Remembers why it could not.
    pub(super) fn remember(&self, compiled: &Path, reason: &str) {
        let refused = Refused { reason: reason.to_owned(), under: self.costs };
        let kept = serde_json::to_vec(&refused).map_err(std::io::Error::from);
        let kept = kept.and_then(|text| {
            let mut file = NamedTempFile::new_in(compiled.parent().unwrap_or(Path::new(".")))?;
            std::io::Write::write_all(&mut file, &text)?;
            file.persist(refused_file(compiled)).map_err(|problem| problem.error)
        });
        // Then it is tried again after the next start, and nothing else is worse.
        if let Err(problem) = kept {
            tracing::warn!("it could not be noted that a component cannot be compiled: {problem}");
        }
    }
}

impl Costs {
    fn wall_clock(self) -> Duration {
        Duration::from_secs(u64::from(self.seconds)) * WALL_CLOCK
    }

    fn too_slow(self) -> String {
        format!("compiling it takes more than {} s of processor time, which is this host's limit", self.seconds)
    }

    fn too_large(self) -> String {
        format!("compiling it takes more than {} MiB of memory, which is this host's limit", self.mib)
    }
}

/// What came of a child with these limits.
fn outcome(costs: Costs, (status, stderr): (ExitStatus, String)) -> Result<(), CompileError> {
    if status.success() {
        return Ok(());
    }
    let stderr = stderr.trim();
    let refused = |reason| Err(CompileError::Refused(reason));
    match (status.code(), status.signal()) {
        (Some(code), _) if code == i32::from(child::REFUSED) => refused(stderr.to_owned()),
        // The child could not read or write.
        (Some(1), _) => Err(std::io::Error::other(stderr.to_owned()).into()),
        (_, Some(signal)) if signal == Signal::XCPU.as_raw() => Err(CompileError::TooSlow(costs.too_slow())),
        _ if stderr.contains("memory allocation of ") => refused(costs.too_large()),
        _ => {
            tracing::warn!("a component ended the compiler ({status}): {stderr}");
            let reason = format!("the compiler ended with it ({status}); the server's log says more");
            Err(CompileError::Ended(reason))
        }
    }
}

fn refused_file(compiled: &Path) -> PathBuf {
    compiled.with_extension("refused")
}

/// Hands the child its component, and says how it ended.
async fn attend(child: &mut Child, component: Bytes) -> std::io::Result<(ExitStatus, String)> {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let said = async {
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            stderr.take(MAX_STDERR_BYTES).read_to_end(&mut said).await?;
        }
        std::io::Result::Ok(String::from_utf8_lossy(&said).into_owned())
    };
    // The input stays open until it has ended.
    let (_open, said, status) = tokio::join!(hand_over(stdin, component), said, child.wait());
    Ok((status?, said?))
}

/// A child that ends before it has read everything says why in another way.
async fn hand_over(stdin: Option<ChildStdin>, component: Bytes) -> Option<ChildStdin> {
    let mut stdin = stdin?;
    stdin.write_all(&component).await.ok()?;
    Some(stdin)
}

/// Whether this is how the program is called by itself.
fn is_called_so(argument: Option<&OsStr>) -> bool {
    argument.is_some_and(|argument| argument == child::COMMAND)
}
