//! Looks what there is on a server: the shell, git, and the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::command::{Command, Program, Shell};
use super::system::{Os, System};
use super::{CommandId, Remote, Target};

/// How long a look may take.
const WITHIN: Duration = Duration::from_secs(20);
/// How much is said of each thing, in characters.
const SAID_CHARS: usize = 200;

const UNIX: &str = r#"echo "time $(date -u +%s.%N 2>/dev/null)"
echo "seconds $(date -u +%s)"
echo "shell ${SHELL:-/bin/sh}"
echo "git $(git --version 2>/dev/null)"
"#;
const WINDOWS: &str = r#"$now = [DateTimeOffset]::UtcNow.ToUnixTimeMilliseconds()
'time ' + ($now / 1000).ToString([Globalization.CultureInfo]::InvariantCulture)
'shell PowerShell ' + $PSVersionTable.PSVersion
'git ' + $(try { & git --version } catch { '' })
"#;

/// What there is on a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Equipment {
    /// What runs there.
    pub system: System,
    /// The version of git; `None`: there is no git.
    pub git_version: Option<String>,
    /// The login shell of who runs commands; of Windows, PowerShell with its version.
    pub shell: Option<String>,
    /// By how many seconds its clock is ahead of ours; negative if it is behind.
    pub clock_difference: Option<f64>,
}

impl Remote {
    /// Looks what there is on a server. Nothing is changed there.
    ///
    /// # Errors
    /// Why it cannot be reached, or does not run commands, in a sentence.
    pub async fn inspect(&self, target: &Target) -> Result<Equipment, String> {
        match tokio::time::timeout(WITHIN, self.look_at(target)).await {
            Ok(looked) => looked,
            Err(_) => Err(format!("it did not answer within {} s", WITHIN.as_secs())),
        }
    }

    async fn look_at(&self, target: &Target) -> Result<Equipment, String> {
        // The connection is there after that: what follows measures the clock.
        let system = self.ask_system(target).await?;
        let (script, shell) = match system.os {
            Os::Unix => (UNIX, Shell::Sh),
            Os::Windows => (WINDOWS, Shell::Powershell),
        };
        let command = Command::of(Program::Script { script: script.to_owned(), shell }).for_at_most(WITHIN);
        let (id, before) = (CommandId::new(), now());
        let report = self.run(target, id, &command).await;
        let middle = f64::midpoint(before, now());
        self.forget(target, id).await;
        if !report.is_ok() {
            return Err(report.why());
        }
        let said = |what: &str| {
            let line = report.stdout.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
            line.map(|line| line.trim().chars().take(SAID_CHARS).collect::<String>()).filter(|line| !line.is_empty())
        };
        // Where `date` knows no parts of seconds, it is somewhere within that second.
        let time = said("time").and_then(|time| time.parse().ok());
        let time = time.or_else(|| said("seconds").and_then(|time| time.parse().ok()).map(|time: f64| time + 0.5));
        Ok(Equipment {
            system,
            git_version: said("git").map(|git| git.trim_start_matches("git version ").to_owned()),
            shell: said("shell"),
            // Adding zero makes -0 of no difference 0.
            clock_difference: time.map(|time: f64| ((time - middle) * 10.0).round() / 10.0 + 0.0),
        })
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
