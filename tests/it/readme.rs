//! The README, the guide for plugin authors and the one to the API do what they say: each of their commands is run, and
//! what they print is compared with what is shown.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::cli::drawn;
use crate::harness::{Client, Elita, elita, eventually, project_root, settled_plugin};

#[tokio::test]
async fn every_command_of_the_readme_works_and_prints_what_it_shows() {
    follow("README.md").await;
}

#[tokio::test]
async fn every_command_of_the_guide_for_plugin_authors_works_and_prints_what_it_shows() {
    follow("docs/plugin-authors.md").await;
}

#[tokio::test]
async fn every_request_of_the_guide_to_the_api_works_and_prints_what_it_shows() {
    follow("docs/rest.md").await;
}

/// Does what a document says, from its beginning to its end.
async fn follow(document: &str) {
    let place = Workspace::new();
    let up = Up::start(&place).await;

    let mut before = String::new();
    for step in steps(&std::fs::read_to_string(project_root().join(document)).unwrap()) {
        let (command, shown) = match step {
            Step::Write { path, text } => {
                place.write(&path, &text);
                continue;
            }
            Step::Command { command, shown } => (command, redacted(&shown)),
        };
        eventually(&format!("`{command}` to print what {document} shows"), async || {
            let (printed, success) = place.run(&up, &before, &command).await;
            let printed = redacted(&printed);
            if printed != shown {
                eprintln!("`{command}` prints\n{printed}\nand is to print\n{shown}");
            }
            (success && printed == shown).then_some(())
        })
        .await;
        // Where a plugin was put into its place, what comes next is about that.
        if let Some(name) = command.strip_prefix("mv ").and_then(|moved| moved.rsplit("/plugins/").next()) {
            settled_plugin(&place.client(&up), name.strip_suffix(".wasm").unwrap()).await;
        }
        // What later commands build on: a folder, an environment, a variable.
        let sets_a_variable =
            command.split_once('=').is_some_and(|(name, _)| name.bytes().all(|byte| byte.is_ascii_lowercase()));
        if sets_a_variable || ["cd ", ". ", "export "].iter().any(|beginning| command.starts_with(beginning)) {
            before = format!("{before}{command}\n");
        }
    }
    up.stop().await;
}

#[tokio::test]
async fn what_up_proposes_to_try_works_when_it_is_pasted() {
    let place = Workspace::new();
    let up = Up::start(&place).await;
    let pasted: Vec<_> = up.said.iter().filter_map(|line| line.strip_prefix("    ")).collect();
    assert!(pasted.len() >= 5, "{:?}", up.said);
    let output = place.bash(&pasted.join("\n")).await;
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("\tDeleteWidgets\t") && printed.contains("widgets\tactive\t1\t"), "{printed}");
    assert!(printed.contains(r#""name": "widgets""#), "{printed}");
    up.stop().await;
}

/// What a document says is to be done.
pub(crate) enum Step {
    /// A file, where the line before a block ends with its path, as in "and `hello/Cargo.toml`:".
    Write { path: String, text: String },
    /// A command of a `console` block, and what it shows as its output.
    Command { command: String, shown: String },
}

pub(crate) fn steps(document: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = document.lines();
    let mut before = "";
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            before = if line.is_empty() { before } else { line };
            continue;
        };
        let block = lines.by_ref().take_while(|line| *line != "```");
        if let Some(path) = before.strip_suffix("`:").and_then(|before| before.rsplit('`').next()) {
            steps.push(Step::Write { path: path.into(), text: block.map(|line| format!("{line}\n")).collect() });
        } else if language == "console" {
            steps.extend(commands(block));
        } else {
            block.for_each(drop);
        }
        before = "";
    }
    assert!(steps.iter().any(|step| matches!(step, Step::Command { .. })));
    steps
}

fn commands<'a>(block: impl Iterator<Item = &'a str>) -> Vec<Step> {
    let mut commands: Vec<Step> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push(Step::Command { command: command.into(), shown: String::new() }),
            (None, Some(Step::Command { shown, .. })) => *shown += &format!("{line}\n"),
            (None, _) => panic!("no command before {line}"),
        }
    }
    commands
}

/// A folder with a clone called `elita`, and beside it what a document says is to be made.
struct Workspace {
    directory: tempfile::TempDir,
}

impl Workspace {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(project_root(), directory.path().join("elita")).unwrap();
        Self { directory }
    }

    /// Writes a file, whose path is below the folder.
    fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("elita-data")
    }

    /// A client with the token that `up` has left here.
    fn client(&self, up: &Up) -> Client {
        let token = std::fs::read_to_string(self.data_dir().join("token")).unwrap();
        Client::new(up.url.strip_prefix("http://").unwrap().parse().unwrap(), token.trim())
    }

    /// Runs a command as if it were typed in the clone, after `before`. The clone's data directory and port are
    /// those of this test's server. What the client prints is what a terminal shows.
    async fn run(&self, up: &Up, before: &str, command: &str) -> (String, bool) {
        let script = format!("set -e\n{before}{command}\n");
        let script = script.replace("elita-data", self.data_dir().to_str().unwrap());
        let script = script.replace("http://127.0.0.1:2718", &up.url);
        if command.starts_with("elita ") && !command.contains("plugin-cargo") {
            let person = Elita::new().with("NO_COLOR", "1").in_folder(&self.directory.path().join("elita"));
            let variables = as_from_a_shell("bash");
            let variables =
                variables.as_std().get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)));
            let person = variables.fold(person, |person, (name, value)| person.with(name, value));
            let person = person.with("ELITA_DATA_DIR", self.data_dir().to_str().unwrap());
            let (seen, code) = person.shell_on_terminal(&["bash", "-c", &script], &[]).await;
            // Said once in each terminal, and each of these is a new one.
            let said: Vec<_> = drawn(&seen).lines().map(str::to_owned).collect();
            let said = said.into_iter().filter(|line| !line.starts_with("using the server on this machine"));
            return (said.map(|line| line + "\n").collect(), code == 0);
        }
        let output = self.bash(&script).await;
        (String::from_utf8(output.stdout).unwrap(), output.status.success())
    }

    async fn bash(&self, script: &str) -> Output {
        let mut bash = as_from_a_shell("bash");
        bash.arg("-c").arg(script).current_dir(self.directory.path().join("elita"));
        // The shell keeps the link's path, so that `..` is the folder of this test.
        bash.env("PWD", self.directory.path().join("elita")).env("ELITA_DATA_DIR", self.data_dir());
        bash.output().await.unwrap()
    }
}

/// `./justw up`, which runs until it is stopped.
struct Up {
    child: Child,
    /// What it has said until it had no more to say.
    said: Vec<String>,
    url: String,
}

impl Up {
    async fn start(place: &Workspace) -> Self {
        let mut command = as_from_a_shell(project_root().join("justw"));
        command.arg("up").current_dir(project_root()).stdout(Stdio::piped());
        command.env("ELITA_DATA_DIR", place.data_dir()).env("ELITA_LISTEN", "127.0.0.1:0").process_group(0);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut said = Vec::new();
        while !said.iter().any(|line: &String| line.contains("/global/plugins")) {
            said.push(lines.next_line().await.unwrap().expect("`./justw up` ended"));
        }
        let url = said.iter().find_map(|line| line.split_once(" is ready at ")).unwrap().1.to_owned();
        Self { child, said, url }
    }

    /// Stops it as Ctrl-C does, and waits until its server is gone.
    async fn stop(mut self) {
        self.interrupt();
        self.child.wait().await.unwrap();
        let client = Client::new(self.url.strip_prefix("http://").unwrap().parse().unwrap(), "");
        assert!(client.request(reqwest::Method::GET, "/health/live").send().await.is_err(), "the server still runs");
    }

    fn interrupt(&self) {
        if let Some(id) = self.child.id() {
            let group = rustix::process::Pid::from_raw(id.cast_signed()).unwrap();
            rustix::process::kill_process_group(group, Signal::INT).unwrap();
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.interrupt();
    }
}

/// A command without what cargo has put into the environment of this test, which would make it build all anew.
fn as_from_a_shell(program: impl AsRef<OsStr>) -> Command {
    let kept = ["PATH", "HOME", "USER", "TMPDIR", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
    let mut command = Command::new(program);
    command.env_clear().envs(kept.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    // As if somebody had installed it: `up` finds it there, and links nothing.
    let built = elita().parent().unwrap().display().to_string();
    command.env("PATH", format!("{built}:{}", std::env::var("PATH").unwrap()));
    command
}

/// What differs from run to run is replaced: ids, times, digests, durations.
pub(crate) fn redacted(text: &str) -> String {
    let is_varying = |word: &str| {
        let hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let uuid = word.len() == 36 && hex(word) || word.len() == 64 && hex(word);
        let short = word.strip_prefix('…').is_some_and(|id| id.len() == 8 && hex(id));
        let clock = word.len() == 12 && word.as_bytes()[2] == b':' && word.as_bytes()[8] == b'.';
        let number = word.contains('.') && word.parse::<f64>().is_ok();
        let time = word.starts_with("20") && word.ends_with('Z') && word.contains('T');
        let digest = word.strip_prefix("sha256:").is_some_and(hex);
        uuid || short || clock || number || time || digest
    };
    let mut redacted = String::new();
    for line in text.lines() {
        let line = match line.split_once("\"duration_in_seconds\": ") {
            Some((before, _)) => format!("{before}\"duration_in_seconds\": [seconds],"),
            None => line.to_owned(),
        };
        let words = line.split_inclusive(['"', '/', ' ']).map(|part| {
            let word = part.trim_end_matches(['"', '/', ' ']);
            if is_varying(word) { part.replace(word, "[varies]") } else { part.to_owned() }
        });
        redacted += &words.collect::<String>();
        redacted.push('\n');
    }
    redacted
}

#[test]
fn the_readme_links_to_files_that_are_there() {
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/ci.md",
        "docs/cli.md",
        "docs/install.md",
        "docs/operating.md",
        "docs/plugin-authors.md",
        "docs/plugin-languages.md",
        "docs/rest.md",
        "docs/adding-an-operation.md",
    ] {
        let path = project_root().join(document);
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = link.split('#').next().unwrap();
            let found = link.starts_with("http")
                || file.is_empty()
                || path.parent().unwrap_or(Path::new("")).join(file).exists();
            assert!(found, "{document} links to {link}");
        }
    }
}
