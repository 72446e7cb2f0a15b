//! Servers with a POSIX shell: what they are sent, and what they answer.
//!
//! A driver opens a session, in which `/bin/sh` reads one line from standard input and runs it as a script. The line
//! depends on nothing but the script, whatever the login shell is, and the command's input comes behind it. What the
//! script answers are lines that begin with a mark of this session alone, so that nothing a shell or a program prints
//! is taken for it.

use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use super::command::{Command, Program, Shell};
use super::quote::{on_one_line, quoted};
use super::report::{Report, Seen};
use super::system::{Os, System};
use super::{ANSWER_WITHIN, CommandId, Driver, Target};

const COMMON: &str = include_str!("common.sh");
const WRAPPER: &str = include_str!("wrapper.sh");
const LOOK: &str = include_str!("look.sh");
const STOP: &str = include_str!("stop.sh");
const FORGET: &str = include_str!("forget.sh");

/// What a session runs: it reads a script from the first line of its input.
pub(super) const SESSION: &str = r#"IFS= read -r s; eval "$(printf %b "$s")""#;

/// How long a command has to end when it is asked to, in seconds, before it is killed.
pub(super) const GRACE_SECONDS: u64 = 2;
/// What may come beside the output that is kept: banners, and our own lines.
const NOISE_BYTES: usize = 256 * 1024;
/// How long to wait before a command is sent again that has not begun: connections are refused where many come at once.
const RETRIES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(2)];
/// How often a server is looked at again that does not answer, with longer and longer pauses: for half a minute.
const LOOKS: u32 = 7;
/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What opens sessions.
pub(super) trait Sessions: Send + Sync {
    /// A session on the server, for a command or for a look at one.
    ///
    /// # Errors
    /// Why there is none.
    fn open(&self, target: &Target, is_command: bool) -> impl Future<Output = Result<Session, OpenError>> + Send;

    /// Where a path of the server is.
    fn path_of(&self, target: &Target, path: &str) -> String;
}

/// A process whose standard input and output are those of [`SESSION`] on the server.
pub(super) struct Session {
    pub(super) command: tokio::process::Command,
    /// Its place among the sessions that a server lets through, for as long as it lasts.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

/// Where the script that runs a command has its environment from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Environment {
    /// From itself.
    Script,
    /// From the beginning of the input, where [`environment`] is.
    Input,
}

/// Why there is no session.
#[derive(Clone, Debug)]
pub(super) struct OpenError {
    why: String,
    /// Whether it may be there the next time.
    may_pass: bool,
}

impl OpenError {
    /// One that may not be there the next time.
    pub(super) fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), may_pass: true }
    }

    /// Why.
    pub(super) fn into_reason(self) -> String {
        self.why
    }

    /// One that stays until somebody does something.
    pub(super) fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), may_pass: false }
    }
}

/// What a server is asked for.
struct Asked<'a> {
    is_command: bool,
    script: &'a str,
    input: &'a [u8],
    within: Duration,
}

/// A driver for servers with a POSIX shell.
pub(super) struct Posix<S>(pub(super) S);

/// What a session answered.
enum Answer {
    /// There was none: the session was not opened, or was cut off before it said anything.
    Nothing(OpenError),
    /// It has begun the command, and was cut off.
    Begun,
    /// The command had begun before.
    Known,
    /// The command never began.
    Absent,
    /// The command cannot begin, and why.
    Refused(String),
    /// It did what there was to do.
    Done,
    /// The command has ended.
    Ended(Report),
    /// The command has begun, and nobody can say what became of it.
    Lost(Report),
}

impl<S: Sessions> Driver for Posix<S> {
    fn run<'a>(&'a self, target: &'a Target, id: CommandId, command: &'a Command) -> BoxFuture<'a, Report> {
        async move {
            let began = Instant::now();
            let within = command.timeout + Duration::from_secs(GRACE_SECONDS) + ANSWER_WITHIN;
            let directory = command.directory.as_deref().map(|directory| self.0.path_of(target, directory));
            let script = wrapper(id, command, directory.as_deref(), Environment::Script);
            let asked = Asked { is_command: true, script: &script, input: &command.input, within };
            // It runs once, however often it is sent.
            let mut answer = self.ask(target, &asked, command).await;
            for pause in RETRIES {
                match &answer {
                    Answer::Nothing(OpenError { may_pass: true, .. }) => tokio::time::sleep(jittered(pause)).await,
                    _ => break,
                }
                answer = self.ask(target, &asked, command).await;
            }
            let report = match answer {
                Answer::Ended(report) | Answer::Lost(report) => report,
                Answer::Nothing(OpenError { why, may_pass: false }) => Report::no_response(why),
                Answer::Nothing(OpenError { why, may_pass: true }) => self.unless_begun(target, id, command, why).await,
                Answer::Refused(why) => Report::no_response(format!("the server did not begin the command: {why}")),
                Answer::Begun | Answer::Known => self.found(target, id, command).await,
                Answer::Absent | Answer::Done => Report::unknown("the server gave an answer that makes no sense"),
            };
            Report { duration_in_seconds: Some(began.elapsed().as_secs_f64()), ..report }
        }
        .boxed()
    }

    fn look<'a>(&'a self, target: &'a Target, id: CommandId, command: &'a Command) -> BoxFuture<'a, Seen> {
        self.look_again(target, id, command, LOOKS).boxed()
    }

    fn stop<'a>(&'a self, target: &'a Target, id: CommandId) -> BoxFuture<'a, ()> {
        async move {
            let asked = Asked { is_command: false, script: &stopping(id), input: &[], within: ANSWER_WITHIN };
            self.ask(target, &asked, &Command::new(["true"])).await;
        }
        .boxed()
    }

    fn forget<'a>(&'a self, target: &'a Target, id: CommandId) -> BoxFuture<'a, ()> {
        async move {
            let asked = Asked { is_command: false, script: &forgetting(&[id]), input: &[], within: ANSWER_WITHIN };
            self.ask(target, &asked, &Command::new(["true"])).await;
        }
        .boxed()
    }

    fn system<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<System, String>> {
        async move {
            let (id, command) = (CommandId::new(), Command::new(["uname", "-s"]).for_at_most(ANSWER_WITHIN));
            let report = self.run(target, id, &command).await;
            self.forget(target, id).await;
            match report.is_ok() {
                true => Ok(System { os: Os::Unix, name: report.stdout.trim().to_owned() }),
                false => Err(report.why()),
            }
        }
        .boxed()
    }
}

impl<S: Sessions> Posix<S> {
    /// What became of a command that has begun.
    async fn found(&self, target: &Target, id: CommandId, command: &Command) -> Report {
        match self.look_again(target, id, command, LOOKS).await {
            Seen::Done(report) => report,
            Seen::NotDone => Report::unknown("the command started, but the server has no record of it"),
        }
    }

    /// The same of one that was sent, and of which the server said nothing: it may have begun after all.
    async fn unless_begun(&self, target: &Target, id: CommandId, command: &Command, why: String) -> Report {
        match self.look_again(target, id, command, 1).await {
            Seen::Done(report) if report.exit_code.is_some() => report,
            Seen::Done(_) | Seen::NotDone => Report::no_response(why),
        }
    }

    async fn look_again(&self, target: &Target, id: CommandId, command: &Command, times: u32) -> Seen {
        let within = command.timeout + Duration::from_secs(GRACE_SECONDS) + ANSWER_WITHIN;
        let (deadline, mut pause) = (Instant::now() + within, Duration::from_millis(500));
        let mut last = String::from("the server was not asked");
        for _ in 0..times {
            let left = deadline.saturating_duration_since(Instant::now());
            let asked =
                Asked { is_command: false, script: &looking(id, command.output_bytes), input: &[], within: left };
            match self.ask(target, &asked, command).await {
                Answer::Ended(report) | Answer::Lost(report) => return Seen::Done(report),
                Answer::Absent => return Seen::NotDone,
                Answer::Nothing(OpenError { why, .. }) | Answer::Refused(why) => last = why,
                Answer::Begun | Answer::Known | Answer::Done => last = "the server's answer makes no sense".into(),
            }
            tokio::time::sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        Seen::Done(Report::unknown(format!(
            "the command may have begun, and what became of it could not be seen: {last}"
        )))
    }

    /// Has the server run a script of ours, and reads its answer.
    async fn ask(&self, target: &Target, asked: &Asked<'_>, command: &Command) -> Answer {
        let Asked { is_command, script, input, within } = *asked;
        let mark = format!("elita-{}", Uuid::new_v4().simple());
        let session = match self.0.open(target, is_command).await {
            Ok(session) => session,
            Err(why) => return Answer::Nothing(why),
        };
        let script = format!("n={mark} apart=\ninput_() {{ head -c \"$len\"; }}\n{script}");
        match tokio::time::timeout(within, exchange(session, &script, input, command)).await {
            Ok(Ok(output)) => answer(&mark, &output, command),
            Ok(Err(error)) => Answer::Nothing(OpenError::passing(format!("the session could not be opened: {error}"))),
            // It may have begun: a look tells.
            Err(_) => Answer::Begun,
        }
    }
}

/// The script that runs a command.
///
/// It needs `n`, the mark of its answers; `apart`, which is not empty if a mark is to be between the two outputs; and
/// `input_`, which writes the command's input. `directory` is where the server has that of the command.
pub(super) fn wrapper(id: CommandId, command: &Command, directory: Option<&str>, from: Environment) -> String {
    let Command { program, directory: _, environment: _, input, timeout, output_bytes, secrets: _ } = command;
    let mut within = String::new();
    if let Some(directory) = directory {
        let directory = shell_path(directory);
        within += &format!("cd -- {directory} || exit 1\n");
    } else {
        within += "cd -- \"$HOME\" || exit 1\n";
    }
    let (statements, mut len) = (environment(command), input.len());
    match from {
        Environment::Input if !statements.is_empty() => {
            len += statements.len();
            // One read of a file gives all of it, and nothing of what comes behind.
            within += &format!("eval \"$(dd bs={} count=1 2>/dev/null)\"\n", statements.len());
        }
        Environment::Script | Environment::Input => within += &statements,
    }
    let (written, runs) = match program {
        Program::Arguments { command } => {
            let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
            (":".to_owned(), words.join(" "))
        }
        Program::Script { script, shell: Shell::Sh } => {
            (format!("printf %s {} > \"$d/script\"", quoted(script)), "/bin/sh \"$d/script\"".to_owned())
        }
        Program::Script { script, shell: Shell::Powershell } => (
            format!("printf %s {} > \"$d/script.ps1\"", quoted(script)),
            "pwsh -NoLogo -NoProfile -NonInteractive -File \"$d/script.ps1\"".to_owned(),
        ),
    };
    let (limit, cap) = (timeout.as_secs().max(1), output_bytes + 1);
    let settings = format!("len={len} cap={cap} limit={limit}");
    let functions = format!("write_script_() {{ {written}; }}\ncommand_() {{\n{within}in_group_ {runs}\n}}\n");
    head(id, &format!("{settings}\n{functions}{WRAPPER}"))
}

/// What sets a command's environment, in `sh`.
pub(super) fn environment(command: &Command) -> String {
    let statements = command.environment.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value)));
    statements.collect()
}

/// The script that looks what became of a command.
pub(super) fn looking(id: CommandId, output_bytes: usize) -> String {
    head(id, &format!("cap={}\n{LOOK}", output_bytes + 1))
}

/// The script that ends a command.
pub(super) fn stopping(id: CommandId) -> String {
    head(id, STOP)
}

/// The script that removes what is kept of commands.
pub(super) fn forgetting(ids: &[CommandId]) -> String {
    let all: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let first = ids.first().copied().unwrap_or_else(CommandId::new);
    head(first, &format!("ids='{}'\n{FORGET}", all.join(" ")))
}

/// A script about a command.
fn head(id: CommandId, rest: &str) -> String {
    let id = id.0.simple();
    format!("base=\"$HOME/.elita/commands\" id={id} grace={GRACE_SECONDS}\n{COMMON}{rest}")
}

/// Between half of it and one and a half.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + rand::random::<f64>())
}

/// A path as a word of `sh`; `~` is the home of who runs it.
fn shell_path(path: &str) -> String {
    match path.strip_prefix('~') {
        Some("") => "\"$HOME\"".into(),
        Some(rest) => format!("\"$HOME\"{}", quoted(rest)),
        None => quoted(path),
    }
}

/// Sends a script with its input, and reads what comes.
async fn exchange(mut session: Session, script: &str, input: &[u8], command: &Command) -> std::io::Result<Output> {
    let mut child = session.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let writing = async {
        let Some(mut stdin) = stdin else { return };
        let mut line = on_one_line(script);
        line.push(b'\n');
        // Where the session ends before it has read all, its answer says why.
        if stdin.write_all(&line).await.is_ok() {
            let _ = stdin.write_all(input).await;
        }
        let _ = stdin.shutdown().await;
    };
    let most = 2 * (command.output_bytes + 1) + NOISE_BYTES;
    let ((), stdout, stderr) = tokio::join!(writing, read_up_to(stdout, most), read_up_to(stderr, NOISE_BYTES));
    Ok(Output { status: child.wait().await?, stdout, stderr })
}

/// All that comes, and of it no more than this is kept.
async fn read_up_to(from: Option<impl AsyncRead + Unpin>, most: usize) -> Vec<u8> {
    let (mut kept, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
    let Some(mut from) = from else { return kept };
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let room = most.saturating_sub(kept.len());
        kept.extend_from_slice(&piece[..length.min(room)]);
    }
    kept
}

/// Reads an answer. The last line of ours counts.
fn answer(mark: &str, output: &Output, command: &Command) -> Answer {
    let mut last = None;
    let mut rest = &output.stdout[..];
    while let Some((words, behind)) = next_line(mark, rest) {
        rest = behind;
        let numbers: Vec<usize> = words.split(' ').skip(1).filter_map(|word| word.parse().ok()).collect();
        last = Some(match words.split(' ').next().unwrap_or_default() {
            "start" => Answer::Begun,
            "known" => Answer::Known,
            "absent" => Answer::Absent,
            "refused" => Answer::Refused(words.trim_start_matches("refused ").to_owned()),
            "stopped" | "forgotten" => Answer::Done,
            kind @ ("end" | "lost") => {
                let [code, late, out, err] = numbers[..] else { return Answer::Begun };
                // Cut off before all of it had come.
                let Some(output) = behind.get(..out.saturating_add(err)) else { return Answer::Begun };
                let (stdout, stderr) = output.split_at(out);
                return if kind == "end" {
                    let report = Report::ended(i32::try_from(code).unwrap_or(i32::MAX), late == 1, command);
                    Answer::Ended(report.with_output(stdout, stderr, command))
                } else {
                    let why = "it started, but its result was lost on the server";
                    Answer::Lost(Report::unknown(why).with_output(stdout, stderr, command))
                };
            }
            _ => continue,
        });
    }
    last.unwrap_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.trim().chars().take(500).collect();
        Answer::Nothing(OpenError::passing(if said.is_empty() {
            format!("the session ended without an answer ({})", output.status)
        } else {
            said
        }))
    })
}

/// The next line of ours, without its mark, and what is behind it.
pub(super) fn next_line<'a>(mark: &str, bytes: &'a [u8]) -> Option<(&'a str, &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark.as_bytes())?;
    let line = &bytes[at + mark.len()..];
    let end = line.iter().position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&line[..end]).ok()?.trim_start(), &line[end + 1..]))
}

#[cfg(test)]
mod tests;
