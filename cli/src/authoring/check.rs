//! `elita plugin check`: what a server would say of a plugin's file, without a server.
//!
//! A plugin is somebody's code. So it is looked at in a process of its own, without an environment, in a sandbox without
//! files, with a bound on its processor time, and what is compiled there is kept nowhere.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Checked;
use crate::Host;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::nouns::plugin::registered;
use crate::output::{Output, visible};

/// The longest that a look may take: most of it is for the compiler.
const WITHIN: Duration = Duration::from_secs(180);
/// The same in processor time, of all threads together.
const CPU_SECONDS: u64 = 300;
/// What a file may have, in bytes: much more than any server takes. And what may be written while it is looked at.
const MOST_BYTES: u64 = 1 << 30;
/// Settings of a server that its plugins' limits come from: those are passed on, so that a check may have the same.
const LIMITS: &str = "ELITA_PLUGIN_";

/// Check a plugin's file as a server would
///
/// Is it a component, for this version of the interface, importing only what is offered; does it compile; what does it
/// register? The limits are those of a server, with its defaults or the variables ELITA_PLUGIN_….
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The files
    #[arg(required_unless_present = "inside", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Look at what comes from standard input, in this process.
    #[arg(long, hide = true)]
    inside: bool,
}

/// What the inner process says.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Accepted(Checked),
    Refused(String),
}

impl Check {
    pub(crate) async fn run(self, host: &Host, output: &Output) -> Result<Code> {
        if self.inside {
            return inside(host, output);
        }
        let mut code = Code::Done;
        for file in &self.files {
            let verdict = look_at(file).await?;
            if matches!(verdict, Verdict::Refused(_)) {
                code = Code::Failed;
            }
            print(output, file, &verdict);
        }
        Ok(code)
    }
}

fn print(output: &Output, file: &Path, verdict: &Verdict) {
    let shown = file.display().to_string();
    if output.json {
        let mut document = json!({ "file": shown });
        match verdict {
            Verdict::Accepted(checked) => document["accepted"] = json!(checked),
            Verdict::Refused(reason) => document["refused"] = json!(reason),
        }
        return output.document(&document);
    }
    match verdict {
        Verdict::Refused(reason) => output.line(format!("{} {shown}: {}", red("✗"), visible(reason))),
        Verdict::Accepted(_) if output.quiet => output.line(shown),
        Verdict::Accepted(checked) => {
            output.line(format!("{} {shown}: a server would take it", green("✓")));
            registered(output, &json!({ "actions": checked.actions, "hooks": checked.hooks }));
            let own = checked.imports.iter().filter(|import| import.starts_with("elita:")).cloned();
            let own: Vec<_> = own.map(|import| import.trim_start_matches("elita:plugin/").to_owned()).collect();
            output.line(format!("imports  {}", own.join(", ")));
        }
    }
}

fn red(mark: &str) -> impl std::fmt::Display {
    console::style(mark).red()
}

fn green(mark: &str) -> impl std::fmt::Display {
    console::style(mark).green()
}

/// Has a file looked at, in a process of its own.
async fn look_at(file: &Path) -> Result<Verdict> {
    let failed = |error: std::io::Error| Failure::usage(format!("the check cannot be started: {error}"));
    let length = std::fs::metadata(file).map_err(|error| Failure::file("read", file, &error))?.len();
    if length > MOST_BYTES {
        return Ok(Verdict::Refused(format!("it has {length} bytes, which is more than any server takes")));
    }
    let bytes = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args(["plugin", "check", "--inside"])
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(LIMITS)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut input = child.stdin.take();
    let write = async {
        if let Some(input) = &mut input {
            // One that ends before it has read all has said why, or has died: both show below.
            let _ = input.write_all(&bytes).await;
        }
        drop(input);
    };
    let looked = async { tokio::join!(write, child.wait_with_output()).1 };
    let Ok(looked) = tokio::time::timeout(WITHIN, looked).await else {
        return Ok(Verdict::Refused(format!("it takes more than {} s to compile and register", WITHIN.as_secs())));
    };
    let looked = looked.map_err(failed)?;
    match serde_json::from_slice(&looked.stdout) {
        Ok(verdict) => Ok(verdict),
        Err(_) => Ok(Verdict::Refused(format!("looking at it ended with {}", looked.status))),
    }
}

/// In the inner process: looks at what comes from standard input.
fn inside(host: &Host, output: &Output) -> Result<Code> {
    confine();
    let mut bytes = Vec::new();
    let read = std::io::stdin().take(MOST_BYTES).read_to_end(&mut bytes);
    read.map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    let check = host.check;
    // The engine has a runtime of its own, which cannot be inside this one.
    let verdict = match std::thread::spawn(move || check(&bytes)).join() {
        Ok(Ok(checked)) => Verdict::Accepted(checked),
        Ok(Err(reason)) => Verdict::Refused(reason),
        Err(_) => Verdict::Refused("the host could not read it".into()),
    };
    output.line(json!(verdict).to_string());
    let _ = std::io::stdout().flush();
    Ok(Code::Done)
}

/// Bounds what this process may use: time, and what it writes. The engine keeps pictures of memories in files without a
/// name, so that it writes some.
fn confine() {
    for (resource, limit) in [(Resource::Cpu, CPU_SECONDS), (Resource::Fsize, MOST_BYTES), (Resource::Core, 0)] {
        // Where a limit cannot be set, the engine's own ones still hold.
        let _ = setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) });
    }
}
