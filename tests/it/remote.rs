//! What plugins do on servers: by a component that calls what it is told to.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rand::RngExt as _;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Setup, TestHost, eventually};
use crate::hooks;
use crate::uploads::zip;

const GRANTS: &str = "servers = ['web*']\ninterfaces = ['remote']";

/// A host with a plugin that may send commands to its servers `web1` and `web2`, and not to `db`.
async fn with_plugin() -> TestHost {
    granted(GRANTS).await
}

async fn granted(grants: &str) -> TestHost {
    let setup = Setup::default().switch("--local-servers").plugins(&["on-servers"]);
    let host = setup.granting("on-servers", grants).start().await;
    host.create_application("commands").await;
    for name in ["web1", "web2", "db"] {
        let new = json!({ "name": name, "environment": "test", "driver": "local" });
        assert_eq!(host.client.post("/server", &new).await.status, 201);
    }
    host
}

/// The job of the plugin's action for a call.
async fn job_of(host: &TestHost, call: &Value) -> Value {
    let id = begin(host, "Do", call).await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    job
}

async fn begin(host: &TestHost, action: &str, call: &Value) -> String {
    let path = format!("/app/commands/actions/{action}");
    let reply = host.client.post(&path, &json!({ "call": call.to_string() })).await;
    assert_eq!(reply.status, 202, "{reply}");
    reply.body["job_id"].as_str().unwrap().to_owned()
}

/// What a function answered.
async fn call(host: &TestHost, call: Value) -> Value {
    job_of(host, &call).await["result"].clone()
}

/// The report of `web1`, which is the only one.
async fn on_web1(host: &TestHost, mut asked: Value) -> Value {
    asked["servers"] = json!(["web1"]);
    let reports = call(host, asked).await;
    assert_eq!(reports.as_array().map(Vec::len), Some(1), "{reports:#}");
    reports[0].clone()
}

/// The same of one that has to be `ok`.
async fn ok(host: &TestHost, asked: Value) -> Value {
    let report = on_web1(host, asked.clone()).await;
    assert_eq!(report["outcome"], "ok", "{asked:#}\n{report:#}");
    report
}

/// The directory that is the root of a server.
async fn root(host: &TestHost, server: &str) -> PathBuf {
    let reports = call(host, json!({ "function": "run", "servers": [server], "command": ["pwd"] })).await;
    reports[0]["stdout"].as_str().unwrap().trim().into()
}

/// The jobs that a job has made.
async fn jobs_within(host: &TestHost, parent: &str) -> Vec<Value> {
    let listed = host.client.get(&format!("/job?parent={parent}")).await;
    listed.body["items"].as_array().unwrap_or_else(|| panic!("{listed}")).clone()
}

#[tokio::test]
async fn a_plugin_removes_a_directory_on_servers_and_has_a_report_of_each_in_their_order() {
    let host = with_plugin().await;
    for server in ["web1", "web2"] {
        let made = json!({ "function": "create-directory", "servers": [server], "path": "/opt/foobar/deep" });
        assert_eq!(call(&host, made).await[0]["outcome"], "ok");
    }
    let asked = json!({ "function": "delete-directory", "servers": ["web2", "web1"], "path": "/opt/foobar" });
    let job = job_of(&host, &asked).await;
    let reports = job["result"].as_array().unwrap();
    let told: Vec<_> = reports.iter().map(|report| (&report["server"], &report["outcome"])).collect();
    assert_eq!(told, [(&json!("web2"), &json!("ok")), (&json!("web1"), &json!("ok"))], "{job:#}");
    for server in ["web1", "web2"] {
        let opt = root(&host, server).await.join("opt");
        assert!(opt.exists() && !opt.join("foobar").exists());
    }

    // The call is a job of its own, with a step for each server, and says in the log of both what came of it.
    let id = job["job_id"].as_str().unwrap();
    let [within] = &jobs_within(&host, id).await[..] else { panic!("one job was expected") };
    let within =
        host.client.get(&format!("/job/{}?steps=true&results=true", within["job_id"].as_str().unwrap())).await.body;
    assert_eq!((&within["status"], &within["job_type"]), (&json!("succeeded"), &json!("server")), "{within:#}");
    let asked = json!({ "verb": "delete-directory", "path": "/opt/foobar" });
    assert_eq!((&within["data"]["plugin"], &within["data"]["asked"]), (&json!("on-servers"), &asked), "{within:#}");
    let mut steps: Vec<_> = within["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["name"].as_str().unwrap(), step["kind"].as_str().unwrap()))
        .collect();
    steps[1..].sort_unstable();
    let expected = [
        ("look up servers", "repeatable"),
        ("delete-directory web1", "inspected"),
        ("delete-directory web2", "inspected"),
    ];
    assert_eq!(steps, expected);
    let entries = within["job_data"].as_array().unwrap();
    let ended = entries.iter().find(|entry| entry["data"]["server"] == "web1").unwrap();
    assert_eq!(
        (&ended["data"]["command"], &ended["data"]["driver"]),
        (&json!("delete-directory /opt/foobar"), &json!("local"))
    );
    let noted = job["job_data"].as_array().unwrap().iter().find(|entry| entry["data"]["status"] == "done on servers");
    let noted = noted.unwrap_or_else(|| panic!("{job:#}"));
    assert_eq!((&noted["source"], &noted["data"]["outcomes"]), (&json!("host"), &json!({ "ok": 2 })), "{noted:#}");

    // And it is in the audit, in the plugin's name.
    let audit = host.client.get("/global/audit?operation=remote.delete-directory").await;
    let entry = &audit.body["items"][0];
    assert_eq!((&entry["plugin"], &entry["after"]["asked"]["asked"]), (&json!("on-servers"), &asked), "{audit}");
}

#[tokio::test]
async fn each_function_that_works_on_files_does_what_it_says() {
    let host = with_plugin().await;
    let root = root(&host, "web1").await;
    ok(&host, json!({ "function": "create-directory", "path": "/srv/it's $HOME/a" })).await;
    ok(&host, json!({ "function": "create-directory", "path": "/srv/it's $HOME/a" })).await;
    let directory = root.join("srv/it's $HOME/a");
    assert!(directory.is_dir());
    ok(&host, json!({ "function": "touch", "path": "/srv/it's $HOME/a/-rf" })).await;
    assert_eq!(std::fs::read(directory.join("-rf")).unwrap(), b"");
    for text in ["one\n", "two\0\\n"] {
        ok(&host, json!({ "function": "append-to-file", "path": "/srv/it's $HOME/a/-rf", "text": text })).await;
    }
    assert_eq!(std::fs::read(directory.join("-rf")).unwrap(), b"one\ntwo\0\\n");
    ok(&host, json!({ "function": "delete-file", "path": "/srv/it's $HOME/a/-rf" })).await;
    ok(&host, json!({ "function": "delete-file", "path": "/srv/it's $HOME/a/-rf" })).await;
    assert!(!directory.join("-rf").exists());

    // A link, or a file, is not removed as if it were a directory.
    std::os::unix::fs::symlink(&directory, root.join("link")).unwrap();
    for path in ["/link", "/srv/file"] {
        ok(&host, json!({ "function": "touch", "path": "/srv/file" })).await;
        let refused = on_web1(&host, json!({ "function": "delete-directory", "path": path })).await;
        assert_eq!((&refused["outcome"], &refused["exit_code"]), (&json!("failed"), &json!(1)), "{refused:#}");
        assert!(refused["stderr"].as_str().unwrap().contains("is not a directory"), "{refused:#}");
    }
    assert!(directory.is_dir());
    ok(&host, json!({ "function": "delete-directory", "path": "~/srv" })).await;
    ok(&host, json!({ "function": "delete-directory", "path": "~/srv" })).await;
    assert!(!root.join("srv").exists());

    let home = on_web1(
        &host,
        json!({ "function": "run-script", "script": "pwd; cat; echo $A", "directory": "~/.elita",
        "text": "input\n", "environment": [["A", "b c"]], "output-bytes": 1000 }),
    )
    .await;
    assert!(home["stdout"].as_str().unwrap().ends_with("/.elita\ninput\nb c\n"), "{home:#}");
}

#[tokio::test]
async fn what_would_be_done_to_all_there_is_is_refused_before_anything_is_sent() {
    let host = with_plugin().await;
    for path in [
        "/",
        "//",
        "/.",
        "/./",
        "~",
        "~/",
        "~/.",
        "",
        "opt",
        "./opt",
        "/opt/..",
        "/opt/../..",
        "~user",
        "C:\\",
        "C:/",
        "C:\\a\\..",
        "/a\0b",
    ] {
        for function in ["delete-directory", "create-directory", "delete-file", "touch", "append-to-file", "push-file"]
        {
            let refused = call(&host, json!({ "function": function, "servers": ["web1"], "path": path })).await;
            assert_eq!(refused["error"]["code"], "Invalid", "{function} {path:?}: {refused:#}");
        }
    }
    // Nothing of that became a job.
    let jobs = host.client.get("/job?name=command").await;
    assert_eq!(jobs.body["items"].as_array().map(Vec::len), Some(0), "{jobs}");
    // What only Windows has is for each server to say.
    let other = on_web1(&host, json!({ "function": "touch", "path": "C:\\foobar" })).await;
    assert_eq!(other["outcome"], "no-response", "{other:#}");
    assert!(other["message"].as_str().unwrap().contains("does not run Windows"), "{other:#}");
}

#[tokio::test]
async fn a_plugin_reaches_no_server_that_it_was_not_granted_whatever_it_calls_it() {
    let host = with_plugin().await;
    let asking = |servers: Value| json!({ "function": "run", "servers": servers, "command": ["touch", "reached"] });
    for servers in [json!(["db"]), json!(["web1", "db"]), json!(["localhost"])] {
        let refused = call(&host, asking(servers.clone())).await;
        assert_eq!(refused["error"]["code"], "Denied", "{servers}: {refused:#}");
    }
    let names = [
        "*",
        "web*",
        "web?",
        "web[12]",
        "G@os:*",
        "G@os:Linux",
        "E@web.*",
        "web1,db",
        "-oProxyCommand=touch x",
        "--help",
        "",
        ".",
        "..",
        "../db",
        "web1/../db",
        "web1 db",
        "web1\ndb",
        "web1\0",
        "web1;id",
        "$(id)",
        "WEB1\u{202e}",
        "web1@db",
        "root@web1",
        "N@all",
        "not web1",
        "web1 or db",
        "_global",
    ];
    for name in names {
        let refused = call(&host, asking(json!([name]))).await;
        assert_eq!(refused["error"]["code"], "Invalid", "{name:?}: {refused:#}");
    }
    for servers in [json!([]), json!(["web1", "web1"])] {
        assert_eq!(call(&host, asking(servers)).await["error"]["code"], "Invalid");
    }
    assert_eq!(call(&host, asking(json!(["web9"]))).await["error"]["code"], "NotFound");
    for function in ["ping", "operating-systems", "delete-directory", "push-file", "git-pull", "git-clone"] {
        let asked =
            json!({ "function": function, "servers": ["db"], "path": "/a", "url": "https://example.com/a.git" });
        assert_eq!(call(&host, asked).await["error"]["code"], "Denied", "{function}");
    }
    let jobs = host.client.get("/job?name=command").await;
    assert_eq!(jobs.body["items"].as_array().map(Vec::len), Some(0), "{jobs}");

    // The servers alone are not enough, nor is the interface.
    for grants in ["servers = ['*']", "interfaces = ['remote']", "servers = ['*']\ninterfaces = ['servers']"] {
        let host = granted(grants).await;
        let refused = call(&host, asking(json!(["web1"]))).await;
        assert_eq!(refused["error"]["code"], "Denied", "{grants}: {refused:#}");
    }
}

#[tokio::test]
async fn what_runs_on_servers_is_told_and_one_that_is_away_does_not_matter_to_the_others() {
    let host = with_plugin().await;
    let away = json!({ "name": "web-away", "environment": "test", "driver": "ssh", "connection": { "host": "127.0.0.1", "port": 1 } });
    assert_eq!(host.client.post("/server", &away).await.status, 201);
    let servers = json!(["web-away", "web1"]);
    let systems = call(&host, json!({ "function": "operating-systems", "servers": servers })).await;
    assert_eq!((&systems[1]["os"], &systems[1]["name"]), (&json!("unix"), &json!("Linux")), "{systems:#}");
    assert_eq!(systems[0]["os"], Value::Null, "{systems:#}");
    assert!(systems[0]["message"].as_str().is_some_and(|message| message.contains("refused")), "{systems:#}");
    let pings = call(&host, json!({ "function": "ping", "servers": servers, "timeout": 30 })).await;
    assert_eq!((&pings[0]["outcome"], &pings[1]["outcome"]), (&json!("no-response"), &json!("ok")), "{pings:#}");
    // What was said is kept: nobody asks again.
    let before = jobs_of_servers(&host).await;
    call(&host, json!({ "function": "operating-systems", "servers": ["web1"] })).await;
    assert_eq!(jobs_of_servers(&host).await, before);
    let touched = call(&host, json!({ "function": "touch", "servers": servers, "path": "/a" })).await;
    assert_eq!((&touched[0]["outcome"], &touched[1]["outcome"]), (&json!("no-response"), &json!("ok")), "{touched:#}");
}

async fn jobs_of_servers(host: &TestHost) -> usize {
    host.client.get("/job?name=command").await.body["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_package_of_a_build_is_pushed_in_pieces_and_is_there_as_a_whole() {
    let host = with_plugin().await;
    let mut noise = vec![0; 9_500_000];
    rand::rng().fill(&mut noise[..]);
    hooks::ended(&host, "commands", "1", zip("noise", &noise)).await;
    let build = host.client.get("/app/commands/builds/1").await.body;
    let master = &build["packages"]["master"];
    assert!(master["size_bytes"].as_u64().unwrap() > 2 * 4 * 1024 * 1024, "{build:#}");
    let root = root(&host, "web1").await;
    std::fs::write(root.join("release.zip"), "an older one").unwrap();
    let push = json!({ "function": "push-file", "path": "/release.zip", "package": ["commands", "1", "master"], "mode": 0o640 });
    ok(&host, push.clone()).await;
    let summed = std::process::Command::new("sha256sum").arg(root.join("release.zip")).output().unwrap().stdout;
    assert!(summed.starts_with(master["sha256"].as_str().unwrap().as_bytes()), "{build:#}");
    assert_eq!(std::fs::metadata(root.join("release.zip")).unwrap().permissions().mode() & 0o7777, 0o640);

    // Bytes, also none at all; and nothing is left beside them.
    ok(&host, json!({ "function": "push-file", "path": "/few", "text": "a\nb", "mode": 0o4755 })).await;
    ok(&host, json!({ "function": "push-file", "path": "/none" })).await;
    assert_eq!(std::fs::read(root.join("few")).unwrap(), b"a\nb");
    assert_eq!(std::fs::read(root.join("none")).unwrap(), b"");
    assert_eq!(std::fs::metadata(root.join("few")).unwrap().permissions().mode() & 0o7777, 0o4755);
    let refused = on_web1(&host, json!({ "function": "push-file", "path": "/missing/few", "text": "a" })).await;
    assert_eq!(refused["outcome"], "failed", "{refused:#}");
    ok(&host, json!({ "function": "create-directory", "path": "/taken" })).await;
    let refused = on_web1(&host, json!({ "function": "push-file", "path": "/taken", "text": "a" })).await;
    assert_eq!(
        (&refused["outcome"], &refused["stderr"].as_str().unwrap().contains("is a directory")),
        (&json!("failed"), &true),
        "{refused:#}"
    );
    let left: Vec<_> =
        std::fs::read_dir(&root).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.contains(".elita-")), "{left:?}");

    // A build that it may not read is none of its business.
    host.create_application("secret").await;
    hooks::ended(&host, "secret", "1", zip("a", b"b")).await;
    let refused =
        on_web1_refused(&host, json!({ "function": "push-file", "path": "/x", "package": ["secret", "1", "master"] }))
            .await;
    assert_eq!(refused["error"]["code"], "Denied", "{refused:#}");
    let refused = on_web1_refused(
        &host,
        json!({ "function": "push-file", "path": "/x", "package": ["commands", "9", "master"] }),
    )
    .await;
    assert_eq!(refused["error"]["code"], "NotFound", "{refused:#}");
    let refused = on_web1_refused(&host, json!({ "function": "push-file", "path": "/x", "mode": 0o10000 })).await;
    assert_eq!(refused["error"]["code"], "Invalid", "{refused:#}");
}

async fn on_web1_refused(host: &TestHost, mut asked: Value) -> Value {
    asked["servers"] = json!(["web1"]);
    call(host, asked).await
}

#[tokio::test]
async fn a_working_copy_is_cloned_changed_and_brought_forward() {
    let host = with_plugin().await;
    let root = root(&host, "web1").await;
    let script = "set -e; git init -q -b main --bare origin.git; git clone -q origin.git other 2>/dev/null; cd other
        git config user.name o; git config user.email o@example.com
        echo one > file; git add file; git commit -qm one; git push -q origin main; git checkout -q -b side; git push -q origin side";
    ok(&host, json!({ "function": "run-script", "script": script })).await;
    let url = root.join("origin.git").display().to_string();
    let git = |function: &str| json!({ "function": function, "path": "/srv/copy" });
    let with = |function: &str, members: Value| {
        let mut asked = git(function);
        asked.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        asked
    };
    ok(&host, with("git-clone", json!({ "url": url, "branch": "main" }))).await;
    let copy = root.join("srv/copy");
    assert_eq!(std::fs::read(copy.join("file")).unwrap(), b"one\n");
    ok(&host, with("git-set-user", json!({ "text": "Ada Lovelace", "url": "ada@example.com" }))).await;
    ok(&host, git("git-set-autocrlf")).await;
    ok(&host, with("git-set-push-url", json!({ "url": "ssh://git@example.com/a.git" }))).await;
    let nothing = ok(&host, with("git-commit", json!({ "text": "nothing" }))).await;
    assert_eq!(nothing["stdout"], "there is nothing to commit\n");

    // `core.autocrlf` is `input` now: what is committed has other ends of lines than the file.
    std::fs::write(copy.join("own"), "own\r\n").unwrap();
    ok(&host, git("git-add-all")).await;
    ok(&host, with("git-commit", json!({ "text": "It's \"mine\"; $HOME\n\nfor é" }))).await;
    std::fs::write(copy.join("file"), "changed").unwrap();
    ok(&host, git("git-discard-changes")).await;
    assert_eq!(std::fs::read(copy.join("file")).unwrap(), b"one\n");

    ok(&host, json!({ "function": "run-script", "script": "cd other && git checkout -q main && echo two > file && git commit -qam two && git push -q origin main" })).await;
    ok(&host, with("git-pull", json!({ "branch": "main", "favor": "theirs" }))).await;
    assert_eq!(std::fs::read(copy.join("file")).unwrap(), b"two\n");
    let log = ok(&host, json!({ "function": "run", "directory": "/srv/copy", "command": ["git", "log", "--format=%an <%ae> %B", "-1", "HEAD^1"] })).await;
    assert_eq!(log["stdout"], "Ada Lovelace <ada@example.com> It's \"mine\"; $HOME\n\nfor é\n\n", "{log:#}");
    let own =
        json!({ "function": "run", "directory": "/srv/copy", "command": ["git", "cat-file", "blob", "HEAD:own"] });
    assert_eq!(ok(&host, own).await["stdout"], "own\n");
    assert_eq!(std::fs::read(copy.join("own")).unwrap(), b"own\r\n");
    let settings = ok(&host, json!({ "function": "run-script", "directory": "/srv/copy", "script": "git config core.autocrlf; git remote get-url --push origin" })).await;
    assert_eq!(settings["stdout"], "input\nssh://git@example.com/a.git\n");
    ok(&host, with("git-checkout", json!({ "text": "side" }))).await;
    let missing = on_web1(&host, with("git-checkout", json!({ "text": "nowhere" }))).await;
    assert_eq!(missing["outcome"], "failed", "{missing:#}");

    for asked in [
        with("git-clone", json!({ "url": "ext::sh -c touch% reached" })),
        with("git-clone", json!({ "url": "ext::sh" })),
        with("git-clone", json!({ "url": "--upload-pack=touch" })),
        with("git-clone", json!({ "url": url, "branch": "--orphan" })),
        with("git-checkout", json!({ "text": "--force" })),
        with("git-checkout", json!({ "text": "a b" })),
        with("git-commit", json!({ "text": " " })),
        with("git-set-user", json!({ "text": "a\nb", "url": "c" })),
        with("git-pull", json!({ "branch": "-f" })),
    ] {
        let refused = on_web1_refused(&host, asked.clone()).await;
        assert_eq!(refused["error"]["code"], "Invalid", "{asked:#}: {refused:#}");
    }
}

#[tokio::test]
async fn secrets_of_a_call_are_in_no_row_and_no_reply() {
    let host = with_plugin().await;
    let canary = "canary-5f1c";
    let asked = json!({ "function": "run-script", "servers": ["web1"], "script": "cat; echo $KEY; echo x", "text": canary,
        "environment": [["KEY", canary]], "secret": canary });
    let id = begin(&host, "Do", &asked).await;
    let job = host.ended_job(&id).await;
    assert_eq!(job["result"][0]["stdout"], "******\nx\n", "{job:#}");
    let [within] = &jobs_within(&host, &id).await[..] else { panic!("one job was expected") };
    let path = format!("/job/{}?steps=true&results=true", within["job_id"].as_str().unwrap());
    let (within, audit) = (host.client.get(&path).await, host.client.get("/global/audit").await);
    assert!(!within.body.to_string().contains(canary), "{within}");
    assert!(!audit.body.to_string().contains(canary), "{audit}");
    let pushed = json!({ "function": "push-file", "servers": ["web1"], "path": "/key", "text": canary });
    let id = begin(&host, "Do", &pushed).await;
    host.ended_job(&id).await;
    for job in jobs_within(&host, &id).await {
        let path = format!("/job/{}?steps=true&results=true", job["job_id"].as_str().unwrap());
        assert!(!host.client.get(&path).await.body.to_string().contains(canary));
    }
}

#[tokio::test]
async fn where_the_waiting_job_is_stopped_what_runs_on_its_servers_is_ended() {
    let host = with_plugin().await;
    let mark = format!("{}", 2_000_000 + std::process::id());
    let asked = json!({ "function": "run-script", "servers": ["web1", "web2"], "script": format!("echo on; sleep {mark} & sleep {mark}"), "timeout": 600 });
    let id = begin(&host, "Do", &asked).await;
    eventually("the commands to run", async || (running(&mark) >= 4).then_some(())).await;
    let stopped = host.client.post(&format!("/job/{id}?cancel=true"), &json!({})).await;
    assert!(stopped.status < 300, "{stopped}");
    let job = host.ended_job(&id).await;
    eventually("the commands to end", async || (running(&mark) == 0).then_some(())).await;
    // The plugin was told, and said it.
    assert_eq!(job["result"][0]["outcome"], "failed", "{job:#}");
    assert_eq!(job["result"][0]["stdout"], "on\n", "{job:#}");

    // The same where its time is over.
    let asked = json!({ "function": "run", "servers": ["web1"], "command": ["sleep", mark], "timeout": 600 });
    let host = {
        drop(host);
        Setup::default()
            .switch("--local-servers")
            .flag("--plugin-timeout-seconds", 3)
            .plugins(&["on-servers"])
            .granting("on-servers", GRANTS)
            .start()
            .await
    };
    host.create_application("commands").await;
    let new = json!({ "name": "web1", "environment": "test", "driver": "local" });
    assert_eq!(host.client.post("/server", &new).await.status, 201);
    let job = host.ended_job(&begin(&host, "Do", &asked).await).await;
    assert_eq!(job["error"]["code"], "time-limit-exceeded", "{job:#}");
    eventually("the command to end", async || (running(&mark) == 0).then_some(())).await;
}

/// How many processes have this as an argument.
fn running(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| line.split('\0').any(|argument| argument == mark)).count()
}

#[tokio::test]
async fn plugins_that_wait_for_servers_do_not_wait_for_each_others_places() {
    let setup = Setup::default().switch("--local-servers").flag("--plugin-runs", 2).plugins(&["on-servers"]);
    let host = setup.granting("on-servers", GRANTS).start().await;
    host.create_application("commands").await;
    let new = json!({ "name": "web1", "environment": "test", "driver": "local" });
    assert_eq!(host.client.post("/server", &new).await.status, 201);
    let asked = json!({ "function": "run", "servers": ["web1"], "command": ["echo", "x"], "times": 3 });
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(begin(&host, "Do", &asked).await);
    }
    for id in ids {
        let job = host.ended_job(&id).await;
        assert_eq!(job["result"][0]["stdout"], "x\n", "{job:#}");
        assert_eq!(jobs_within(&host, &id).await.len(), 3);
    }
}

#[tokio::test]
async fn a_host_that_is_killed_while_a_plugin_waits_finds_out_what_became_of_it_and_begins_nothing_more() {
    let stopped = with_plugin().await.stop().await;
    let mut doomed = stopped.start_program();
    let (_, client) = doomed.ready(&stopped.database.token).await;
    let asked = json!({ "function": "run-script", "servers": ["web1"], "script": "echo x >> runs; sleep 3; echo done", "times": 2 });
    let reply = client.post("/app/commands/actions/Do", &json!({ "call": asked.to_string() })).await;
    let id = reply.body["job_id"].as_str().unwrap().to_owned();
    let within = eventually("the command to begin", async || {
        let listed = client.get(&format!("/job?parent={id}")).await.body;
        let within = listed["items"][0]["job_id"].as_str()?.to_owned();
        let steps = client.get(&format!("/job/{within}?steps=true")).await.body["steps"].clone();
        let is_running = |step: &Value| step["name"] == "run-script web1" && step["state"] == "running";
        steps.as_array()?.iter().any(is_running).then_some(within)
    })
    .await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    doomed.signal(Signal::KILL);
    doomed.ended().await;

    let host = stopped.start().await;
    let job = host.ended_job(&within).await;
    assert_eq!((&job["status"], &job["attempt"]), (&json!("succeeded"), &json!(2)), "{job:#}");
    assert_eq!(job["result"]["web1"]["stdout"], "done\n", "{job:#}");
    assert_eq!(host.ended_job(&id).await["status"], "lost");
    let runs = host.client.post("/server/web1/command", &json!({ "command": ["cat", "runs"] })).await;
    let runs = host.ended_job(runs.body["job_id"].as_str().unwrap()).await;
    assert_eq!(runs["result"]["web1"]["stdout"], "x\n", "it ran once: {runs:#}");
}
