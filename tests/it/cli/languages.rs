//! What `elita plugin new` makes in each language, as it is: built by the lines that it prints, looked at by `check`,
//! loaded into a server by `dev`, and run.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::io::{AsyncBufReadExt as _, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::authoring::said;
use super::with_widgets;
use crate::harness::{Elita, TestHost, elita, project_root};

#[tokio::test]
async fn the_python_template_runs_as_it_is() {
    runs_as_it_is("python", "\"hello, stranger called Ada\"\n").await;
}

#[tokio::test]
async fn the_javascript_template_runs_as_it_is() {
    runs_as_it_is("javascript", "\"hello, stranger called Ada\"\n").await;
}

#[tokio::test]
async fn the_go_template_runs_as_it_is() {
    runs_as_it_is("go", "\"hello, stranger called Ada\"\n").await;
}

#[tokio::test]
async fn the_c_template_runs_as_it_is_and_is_built_again_when_it_changes() {
    let (_host, elita, new) = runs_as_it_is("c", "\"hello, stranger called Ada\"\n").await;
    let (_developing, mut notes, mut lines) = new.developing();
    said(&mut notes, "watching for changes").await;
    let source = new.folder.join("plugin.c");
    let text = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, text.replace("hello, stranger", "good evening, stranger")).unwrap();
    said(&mut notes, "✓ c is in force, version 2").await;
    let ran = elita.run(&["run", "my_application", "C", "name=Ada"]).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "\"good evening, stranger called Ada\"\n"), "{ran}");
    said(&mut lines, "\"good evening, stranger called Ada\"").await;
}

/// A plugin that was made, and where it goes.
struct New {
    /// What `new` has printed to be done before `elita plugin dev`.
    prepare: String,
    folder: PathBuf,
    home: PathBuf,
    plugins: PathBuf,
    variables: Vec<(&'static str, String)>,
}

async fn runs_as_it_is(language: &str, expected: &str) -> (TestHost, Elita, New) {
    let (host, elita) = with_widgets().await;
    let made = elita.run(&["plugin", "new", language, "--lang", language]).await;
    let typed: Vec<_> = made.stderr.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let [prepare @ .., "elita plugin dev"] = &typed[..] else { panic!("{made}") };
    let new = New {
        prepare: prepare.join(" && "),
        folder: elita.home().join(language),
        home: elita.home().to_owned(),
        plugins: host.plugin_dir().to_owned(),
        variables: vec![("ELITA_SERVER", host.client.base().to_owned()), ("ELITA_TOKEN", host.database.token.clone())],
    };
    let line = format!("{} && elita plugin dev --once --dir {}", new.prepare, new.plugins.display());
    let built = new.shell(&line).await;
    assert!(built.contains(&format!("✓ {language} is in force, version 1")), "{built}");

    let file = std::fs::read_to_string(new.folder.join("plugin.toml")).unwrap();
    let file = file.lines().find_map(|line| line.strip_prefix("file = \"")?.strip_suffix('"')).unwrap();
    let checked = elita.run(&["plugin", "check", new.folder.join(file).to_str().unwrap()]).await;
    assert_eq!(checked.code, 0, "{checked}");
    assert!(checked.stdout.contains("hook\tmy_application BUILD_UPLOAD_SUCCESS\t"), "{checked}");

    let action = language[..1].to_uppercase() + &language[1..];
    let ran = elita.run(&["run", "my_application", &action, "name=Ada"]).await;
    assert_eq!((ran.code, &*ran.stdout), (0, expected), "{ran}");
    (host, elita, new)
}

impl New {
    /// Does something in a shell, in the home of this person, and returns what is to be seen.
    async fn shell(&self, line: &str) -> String {
        let ended = tokio::time::timeout(Duration::from_secs(600), self.bash(line).output()).await;
        let output = ended.expect("it ends").unwrap();
        let seen = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{line}\n{seen}");
        seen
    }

    /// `elita plugin dev`, once all is prepared.
    fn developing(&self) -> (Child, Lines<BufReader<ChildStderr>>, Lines<BufReader<ChildStdout>>) {
        let line = format!("{} && exec elita plugin dev --dir {}", self.prepare, self.plugins.display());
        let mut child = self.bash(&line).spawn().unwrap();
        let notes = BufReader::new(child.stderr.take().unwrap()).lines();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        (child, notes, lines)
    }

    /// With `elita` on the path, and, if this machine has no Node.js, the one that `scripts/polyglot` installs.
    fn bash(&self, line: &str) -> Command {
        let (built, node) = (elita(), project_root().join("target/polyglot/venv/bin"));
        let path = std::env::var("PATH").unwrap();
        let mut bash = Command::new("bash");
        bash.args(["-ec", line]).current_dir(&self.home).envs(self.variables.iter().map(|(name, value)| (name, value)));
        bash.env("PATH", format!("{}:{path}:{}", built.parent().unwrap().display(), node.display()));
        bash.stdin(std::process::Stdio::null()).kill_on_drop(true);
        bash.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        bash
    }
}
