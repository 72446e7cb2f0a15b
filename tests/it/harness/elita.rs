//! The client, as somebody at a terminal or a script runs it.

use std::collections::VecDeque;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::TestHost;
use super::program::elita;

/// Somebody with a folder of their own for settings, and a token for one server.
pub(crate) struct Elita {
    home: TempDir,
    folder: PathBuf,
    variables: Vec<(String, String)>,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Elita {
    /// Somebody without settings, and without a server.
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let variables = vec![("HOME".into(), home.path().display().to_string()), ("TZ".into(), "UTC".into())];
        Self { folder: home.path().to_owned(), home, variables }
    }

    /// The administrator of a server.
    pub(crate) fn of(host: &TestHost) -> Self {
        Self::at(host.client.base(), &host.database.token)
    }

    /// Somebody with this token at this server.
    pub(crate) fn at(url: &str, token: &str) -> Self {
        Self::new().with("ELITA_SERVER", url).with("ELITA_TOKEN", token)
    }

    /// With this variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.into(), value.into()));
        self
    }

    /// In another folder than the home.
    pub(crate) fn in_folder(self, folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..self }
    }

    /// The home folder, which commands run in unless another one is named.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs a command as a script does, to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, "").await
    }

    /// The same with something on standard input.
    pub(crate) async fn run_with(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = self.start(arguments);
        let mut stdin = child.stdin.take().unwrap();
        // A command that does not read it may have ended.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        Said::of(child).await
    }

    /// Starts a command, and does not wait for it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let mut command = Command::new(elita());
        command.args(arguments).env_clear().envs(self.variables.iter().cloned());
        command.env("PATH", std::env::var_os("PATH").unwrap()).current_dir(&self.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// Runs a command on a terminal of 100 columns, types something, and returns what is to be seen and the exit code.
    pub(crate) async fn on_terminal(&self, arguments: &[&str], typed: &str) -> (String, i32) {
        self.answering_on_terminal(arguments, ("", typed)).await
    }

    /// The same, where something is typed once something else is to be seen.
    pub(crate) async fn answering_on_terminal(&self, arguments: &[&str], typed: (&str, &str)) -> (String, i32) {
        let program = elita().display().to_string();
        let words: Vec<&str> = std::iter::once(&*program).chain(arguments.iter().copied()).collect();
        self.shell_on_terminal(&words, &[typed]).await
    }

    /// The same with any program. Each thing is typed once another one is to be seen.
    pub(crate) async fn shell_on_terminal(&self, words: &[&str], typed: &[(&str, &str)]) -> (String, i32) {
        let mut command = CommandBuilder::new(words[0]);
        command.args(&words[1..]);
        command.env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap());
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command.env("TERM", "xterm");
        command.env("PWD", &self.folder);
        command.cwd(&self.folder);
        let typed = typed.iter().map(|(seen, typed)| ((*seen).to_owned(), (*typed).to_owned())).collect();
        tokio::task::spawn_blocking(move || on_terminal(command, typed)).await.unwrap()
    }
}

/// Runs a command on a terminal to its end.
fn on_terminal(command: CommandBuilder, typed: VecDeque<(String, String)>) -> (String, i32) {
    let size = PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 };
    let terminal = native_pty_system().openpty(size).unwrap();
    let mut child = terminal.slave.spawn_command(command).unwrap();
    drop(terminal.slave);
    let (mut reader, mut writer) =
        (terminal.master.try_clone_reader().unwrap(), terminal.master.take_writer().unwrap());
    let (mut seen, mut piece, mut typed) = (Vec::new(), [0; 4096], typed);
    loop {
        let now = String::from_utf8_lossy(&seen).into_owned();
        while let Some((_, keys)) = typed.pop_front_if(|(wanted, _)| now.contains(&**wanted)) {
            writer.write_all(keys.as_bytes()).unwrap();
        }
        // Once all have closed the other end, reading fails.
        match reader.read(&mut piece) {
            Ok(read @ 1..) => seen.extend_from_slice(&piece[..read]),
            Ok(0) | Err(_) => break,
        }
    }
    let code = child.wait().unwrap().exit_code();
    (String::from_utf8(seen).unwrap().replace("\r\n", "\n"), code.cast_signed())
}

impl Said {
    /// What a child said, once it has ended.
    pub(crate) async fn of(child: Child) -> Self {
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or(-1);
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl fmt::Display for Said {
    /// As a snapshot shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}--- stderr\n{}--- code {}", self.stdout, self.stderr, self.code)
    }
}
