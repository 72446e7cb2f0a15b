//! What servers are sent for what a plugin asks for. There is no Windows here: what one is sent is a snapshot, which people
//! have read.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use elita::remote::{
    Command, Favor, GitVerb, Keyring, Os, Piece, Program, Pull, Reach, Remote, Shell, Ssh, SshKeys, Target, Verb,
    check_file,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::commits::with_gitdeploy;
use crate::harness::{FakeSalt, Setup, create_minion, salt_settings};

struct NoKeys;

impl Keyring for NoKeys {
    fn keypair<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<SshKeys, String>> {
        async { Err("there are none".to_owned()) }.boxed()
    }

    fn host_key<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<String>, String>> {
        async { Ok(None) }.boxed()
    }

    fn pin<'a>(&'a self, _: &'a str, key: String) -> BoxFuture<'a, Result<String, String>> {
        async { Ok(key) }.boxed()
    }
}

fn remote() -> Remote {
    Remote::new(None, Ssh::new(Arc::new(NoKeys)).unwrap(), None, 1)
}

fn target() -> Target {
    Target { name: "web1".into(), reach: Reach::Salt { minion: "web1".into() } }
}

fn verbs() -> Vec<Verb> {
    let path = || "/opt/foo bar".to_owned();
    let git = |git| Verb::Git { git, path: path() };
    let url = || "https://git.example.com/a.git".to_owned();
    vec![
        Verb::CreateDirectory { path: path() },
        Verb::DeleteDirectory { path: path() },
        Verb::DeleteFile { path: "C:\\foo\\bar.txt".into() },
        Verb::Touch { path: "~/foo".into() },
        Verb::AppendToFile { path: path(), bytes: b"a\0\xff\n".to_vec().into() },
        git(GitVerb::Clone { url: url(), branch: None }),
        git(GitVerb::Clone { url: url(), branch: Some("main".into()) }),
        git(GitVerb::Checkout { reference: "v1".into() }),
        git(GitVerb::DiscardChanges),
        git(GitVerb::AddAll),
        git(GitVerb::Commit { message: "It's \"done\"".into() }),
        git(GitVerb::SetUser { name: "Ada".into(), email: "ada@example.com".into() }),
        git(GitVerb::SetAutocrlf { value: "true" }),
        git(GitVerb::SetPushUrl { url: url() }),
        git(GitVerb::Pull(Pull::default())),
        git(GitVerb::Pull(Pull {
            remote: None,
            branch: Some("main".into()),
            favor: Some(Favor::Theirs),
            patience: true,
            ignore_all_space: true,
        })),
    ]
}

/// A command, as text.
fn sent(name: &str, command: &Command) -> String {
    let Command { program, environment, input, .. } = command;
    let Program::Script { script, shell: Shell::Powershell } = program else { panic!("{name} is not for PowerShell") };
    let environment: Vec<_> = environment.iter().map(|(name, value)| format!("  {name}={value}\n")).collect();
    let input = String::from_utf8_lossy(input);
    let input = if input.is_empty() { String::new() } else { format!("  input: {input}\n") };
    format!("## {name}\n{}{input}\n{script}\n", environment.concat())
}

#[tokio::test]
async fn what_windows_is_sent_is_what_was_read() {
    let (remote, target) = (remote(), target());
    let mut all: Vec<_> =
        verbs().iter().map(|verb| sent(verb.name(), &verb.command(&remote, &target, Os::Windows).unwrap())).collect();
    let files = remote.files(&target, Os::Windows);
    let piece = |offset, bytes: Vec<u8>| Piece { offset, bytes: bytes.into() };
    all.push(sent("push-file, a piece", &files.send("/opt/a", "7f3c", &piece(8, b"b".to_vec())).unwrap()));
    all.push(sent("push-file, its end", &files.put("/opt/a", "7f3c", "01ab", 0o644).unwrap()));
    all.push(sent("push-file, given up", &files.discard("/opt/a", "7f3c").unwrap()));
    let all = all.concat();
    insta::assert_snapshot!(all);
}

/// What a minion gets that runs Windows: it is asked with `/bin/sh` first, says that it does not have it, and is then
/// asked with PowerShell.
#[tokio::test]
async fn a_minion_with_windows_gets_commands_by_powershell() {
    let fake = FakeSalt::start().await;
    let host = salt_settings(Setup::default().flag("--server-check-seconds", 0), &fake.url()).start().await;
    create_minion(&host, "windows1").await;
    let run = async |body: Value| {
        let accepted = host.client.post("/server/windows1/command", &body).await;
        let job = host.ended_job(accepted.body["job_id"].as_str().unwrap_or_else(|| panic!("{accepted}"))).await;
        job["result"]["windows1"].clone()
    };
    let words = ["git", "commit", "-m", "It's \"done\" 100%\\", ""];
    for body in [
        json!({ "command": words, "cwd": "/opt/foo bar", "timeout": 5 }),
        json!({ "script": "exit 0", "shell": "powershell" }),
    ] {
        let report = run(body).await;
        assert_eq!((&report["outcome"], &report["stdout"]), (&json!("ok"), &json!("I am windows1\n")), "{report:#}");
    }
    for (body, why) in [
        (json!({ "script": "exit 0" }), "has no `sh`"),
        (json!({ "command": ["/bin/sh", "-c", "exit 0"] }), "has no `/bin/sh`"),
    ] {
        let report = run(body).await;
        assert_eq!(report["outcome"], "no-response", "{report:#}");
        assert!(report["message"].as_str().unwrap().contains(why), "{report:#}");
    }
    // What is a signal elsewhere is an exit code here, and one may have all its 32 bits.
    for (code, shown) in [("130", 130), ("3221225477", -1_073_741_819), ("4294967295", -1)] {
        let report = run(json!({ "command": ["exit", code] })).await;
        let expected = (&json!("failed"), &json!(shown), &Value::Null);
        assert_eq!((&report["outcome"], &report["exit_code"], &report["signal"]), expected, "{report:#}");
    }

    let jobs = fake.jobs("cmd.run_all");
    assert!(fake.commands().len() <= 1, "it is asked once whether it has a shell");
    let job =
        jobs.iter().find(|job| job["kwarg"]["stdin"].as_str().is_some_and(|stdin| asked(stdin)["program"] == "git"));
    let kwarg = &job.unwrap()["kwarg"];
    assert_eq!((&kwarg["python_shell"], &kwarg["cmd"][0]), (&json!(false), &json!("powershell.exe")));
    let words: Vec<_> = kwarg["cmd"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let (start, words) = words.split_last().unwrap();
    let start: Vec<u16> =
        STANDARD.decode(start).unwrap().chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    insta::assert_snapshot!(format!("{}\n\n{}", words.join(" "), String::from_utf16(&start).unwrap()));
    let asks = asked(kwarg["stdin"].as_str().unwrap());
    // As programs of Windows take it apart.
    assert_eq!(asks["arguments"], r#"commit -m "It's \"done\" 100%\\" """#);
    assert_eq!((&asks["directory"], &asks["limit"]), (&json!("/opt/foo bar"), &json!(5)), "{asks:#}");
}

/// What is asked in this standard input; null if it is for `/bin/sh`.
fn asked(stdin: &str) -> Value {
    let line = stdin.lines().nth(1).unwrap_or_default();
    STANDARD.decode(line).ok().and_then(|asked| serde_json::from_slice(&asked).ok()).unwrap_or_default()
}

#[tokio::test]
async fn no_gitdeploy_is_initialized_on_a_server_that_runs_windows() {
    let fake = FakeSalt::start().await;
    let setup = salt_settings(Setup::default().flag("--server-check-seconds", 0), &fake.url());
    let host = with_gitdeploy(setup.flag("--public-url", "https://elita.example.com"), &json!({})).await;
    let new = json!({ "name": "windows1", "environment": "test", "driver": "salt" });
    let created = host.client.post("/server", &new).await;
    assert_eq!(created.status, 201, "{created}");
    host.ended_job(created.body["check_job"].as_str().unwrap()).await;
    let asked = json!({ "initialize": true, "servers": ["windows1"] });
    let refused = host.client.post("/app/shop/gitdeploys/web", &asked).await;
    assert_eq!(refused.fault(), (422, "/servers"), "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("it runs Windows"), "{refused}");
}

#[tokio::test]
async fn what_is_given_reaches_no_script() {
    let (remote, target) = (remote(), target());
    for os in [Os::Unix, Os::Windows] {
        let evil = "$(touch x)`'; touch x #";
        for verb in [
            Verb::DeleteDirectory { path: format!("/{evil}") },
            Verb::Git { git: GitVerb::Commit { message: evil.into() }, path: format!("/{evil}") },
            Verb::Git { git: GitVerb::SetUser { name: evil.into(), email: evil.into() }, path: format!("/{evil}") },
        ] {
            let command = verb.command(&remote, &target, os).unwrap();
            let Program::Script { script, .. } = &command.program else { panic!("it is a script") };
            assert!(!script.contains("touch x"), "{script}");
            assert!(command.environment.iter().any(|(_, value)| value.contains(evil)));
        }
    }
}

#[test]
fn people_see_neither_input_nor_environment_nor_passwords() {
    let run = Verb::Run {
        program: Program::Arguments { command: vec!["mysql".into(), "--password=hunter2".into()] },
        cwd: None,
        environment: vec![("KEY".into(), "hunter3".into())],
        input: b"hunter4".to_vec().into(),
    };
    let git = GitVerb::Clone { url: "https://ada:hunter5@git.example.com/a.git".into(), branch: None };
    let clone = Verb::Git { git, path: "/srv/a".into() };
    let shown = serde_json::to_string(&[run, clone]).unwrap();
    assert_eq!(
        shown,
        r#"[{"verb":"run","command":"mysql --password=***","cwd":null},{"verb":"git-clone","url":"https://ada:***@git.example.com/a.git","branch":null,"path":"/srv/a"}]"#
    );
}

#[tokio::test]
async fn windows_is_asked_for_no_path_that_it_reads_otherwise() {
    let (remote, target) = (remote(), target());
    let on = |path: &str, os| Verb::DeleteDirectory { path: path.into() }.command(&remote, &target, os);
    // Without the dots and spaces that Windows leaves away, the first ones are the drive.
    for path in ["/ ", "C:\\...", "C:\\. ", "~/ ", "/a/.. /b", "/a.", "/a /b", "C:\\a:b", "/a*", "/a\"b", "/a\tb"] {
        assert!(on(path, Os::Windows).is_err(), "{path}");
        if !path.starts_with('C') {
            assert!(on(path, Os::Unix).is_ok(), "{path}");
        }
    }
    for path in ["/a", "~/a b", "C:\\a\\.b", "D:/a/./b.c"] {
        assert!(on(path, Os::Windows).is_ok(), "{path}");
    }
}

#[test]
fn a_path_is_never_all_there_is() {
    for path in ["/", "//", "/.", "~", "~/", "~/./", "C:\\", "c:/", "D:\\.\\"] {
        assert!(check_file(path).is_err(), "{path}");
    }
    for path in ["/a", "~/a", "C:\\a", "/~", "/a/."] {
        assert!(check_file(path).is_ok(), "{path}");
    }
}
