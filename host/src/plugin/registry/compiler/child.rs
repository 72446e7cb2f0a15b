//! The process that compiles one component. It knows nothing of the server but its limits.

use std::ffi::OsString;
use std::io::{ErrorKind, Read as _, Write as _};
use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, Rlimit, nice, setrlimit};

use super::{Costs, is_called_so};
use crate::plugin::engine;

/// The command for the child processes of this program. It is not for users.
pub(super) const COMMAND: &str = "compile-component";
/// The exit status where the component cannot be compiled; stderr says why.
pub(super) const REFUSED: u8 = 3;
/// For how long it is told to end before it is ended, in seconds of processor time.
const GRACE_SECONDS: u64 = 5;
/// Requests and runs come first.
const NICENESS: i32 = 5;

/// Its command line.
#[derive(Debug, Parser)]
struct Arguments {
    /// The length of the component.
    #[arg(long)]
    bytes: usize,
    /// Processor time in seconds.
    #[arg(long)]
    seconds: u32,
    /// Memory in MiB.
    #[arg(long)]
    mib: u32,
}

/// The command line for a component of so many bytes.
pub(super) fn flags(bytes: usize, costs: Costs) -> [String; 3] {
    let Costs { seconds, mib } = costs;
    [format!("--bytes={bytes}"), format!("--seconds={seconds}"), format!("--mib={mib}")]
}

/// Compiles a component, if that is what the program was started for. To be called before anything else is done.
pub fn compile_if_told(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if !is_called_so(arguments.next().as_deref()) {
        return None;
    }
    let arguments = match Arguments::try_parse_from([COMMAND.into()].into_iter().chain(arguments)) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    Some(match compile(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem:#}");
            problem.downcast_ref::<std::io::Error>().map_or(ExitCode::from(REFUSED), |_| ExitCode::FAILURE)
        }
    })
}

fn compile(arguments: &Arguments) -> wasmtime::Result<()> {
    limit(arguments)?;
    let mut component = vec![0; arguments.bytes];
    std::io::stdin().read_exact(&mut component)?;
    end_with_the_input()?;
    let compiled = engine::new_compiler()?.precompile_component(&component)?;
    Ok(std::io::stdout().write_all(&compiled)?)
}

/// Bounds what this process may use. Of memory that is what it can write to, and not address space, of which an
/// allocator reserves more than it ever uses.
fn limit(arguments: &Arguments) -> std::io::Result<()> {
    let bytes = u64::from(arguments.mib) << 20;
    let seconds = u64::from(arguments.seconds);
    setrlimit(Resource::Data, Rlimit { current: Some(bytes), maximum: Some(bytes) })?;
    setrlimit(Resource::Cpu, Rlimit { current: Some(seconds), maximum: Some(seconds + GRACE_SECONDS) })?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    nice(NICENESS)?;
    Ok(())
}

/// The server closes this process' input when it no longer wants the result, or has ended itself.
fn end_with_the_input() -> std::io::Result<()> {
    let watch = || loop {
        match std::io::stdin().read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => std::process::exit(1),
        }
    };
    std::thread::Builder::new().name("elita-input".into()).stack_size(64 * 1024).spawn(watch)?;
    Ok(())
}
