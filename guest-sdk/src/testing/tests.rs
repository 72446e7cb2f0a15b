use std::io::{Read as _, Write as _};

use super::*;
use crate::Plugin;
use crate::prelude::*;

fn pack(call: &HookCall) -> Result<Value> {
    let build: hooks::BuildUploadSuccess = call.parameters()?;
    let mut master = Vec::new();
    build.open("master")?.read_to_end(&mut master)?;
    let mut writer = builds::add_package(&call.application, &build.build_name, "copy", &build.file_type)?;
    writer.write_all(&master)?;
    let added = writer.finish()?;
    log::info!("copied {} bytes", added.size_bytes);
    let mut read = Vec::new();
    builds::read_package(&call.application, &build.build_name, "copy").read_to_end(&mut read)?;
    jobs::progress(100, "copied")?;
    Ok(json!({ "same": read == master, "sha256": added.sha256 == build.packages["master"].sha256 }))
}

fn plugin() -> Plugin {
    Plugin::new().hook("shop", "BUILD_UPLOAD_SUCCESS", pack)
}

#[test]
fn a_hook_finds_its_files_and_adds_a_package() {
    let fired = Upload::new("shop", "1", "zip", vec![7; 1_000_000]).fire(&plugin());
    assert_eq!(fired.result.unwrap(), json!({ "same": true, "sha256": true }));
    assert_eq!(fired.added["copy"], Package { file_type: "zip".into(), bytes: vec![7; 1_000_000] });
    assert_eq!(fired.entries, [json!({ "status": "copied", "progress": 100 })]);
    assert_eq!(fired.log, [(Level::Info, "copied 1000000 bytes".to_owned())]);
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let fired = Upload::new("shop", "1", "zip", "a").package("copy", "zip", "b").fire(&plugin());
    assert_eq!(fired.result.unwrap_err().code(), Some(crate::Code::AlreadyExists));
    assert!(fired.added.is_empty());
}

#[test]
fn any_hook_can_be_fired() {
    let diff = |call: &HookCall| Ok(call.parameters::<Value>()?["commit"].clone());
    let plugin = Plugin::new().hook("shop", "GITDEPLOY_COMMIT_DIFF", diff);
    let call = HookCall::new("shop", "GITDEPLOY_COMMIT_DIFF", json!({ "commit": "5c1d0a" }));
    assert_eq!(fire(&plugin, &call).result.unwrap(), "5c1d0a");
}

#[test]
fn an_action_finds_documents_and_leaves_some() {
    let mut host = Host::new()
        .application("shop", json!({ "owner": "ada" }))
        .build("shop", "1", json!({ "a": { "b": 1 } }))
        .action("shop", "Deploy", json!({ "on": 3 }))
        .response("http://chat/hook", 201, "thanks");
    let answers = host.run(|| -> Result<Value> {
        builds::update("shop", "1", &json!({ "attributes": { "a": { "b": null, "c": 2 } } }))?;
        builds::create("shop", "2", &json!({}))?;
        let names: Vec<_> = builds::list("shop")?.collect::<Result<_>>()?;
        let job = jobs::get(&actions::run("shop", "Deploy", &[("build", "2")])?)?;
        jobs::progress(50, "half of it")?;
        let sent = http::post("http://chat/hook").body("deployed").send()?;
        Ok(json!({
            "owner": applications::get("shop")?.attributes["owner"],
            "names": names,
            "job": [job.status, job.result],
            "progress": jobs::standing(&jobs::current())?.progress,
            "log": jobs::tail(&jobs::current(), 5)?.len(),
            "sent": [sent.status(), &*sent.text()],
        }))
    });
    let progress = json!({ "percent": 50, "status": "half of it", "seq": 1, "at": "2026-01-01T00:00:00.000Z" });
    assert_eq!(
        answers.unwrap(),
        json!({
            "owner": "ada",
            "names": ["1", "2"],
            "job": ["succeeded", { "on": 3 }],
            "progress": progress,
            "log": 1,
            "sent": [201, "thanks"],
        })
    );
    assert_eq!(host.build_attributes("shop", "1"), Some(json!({ "a": { "c": 2 } })));
    assert_eq!((&*host.started()[0].action, &*host.sent()[0].body), ("Deploy", &b"deployed"[..]));
}

#[test]
fn what_is_not_there_is_answered_as_on_a_server() {
    let codes = Host::new().application("shop", json!({})).cancelled().run(|| {
        [
            builds::get("shop", "1").unwrap_err().code(),
            builds::create("blog", "1", &json!({})).unwrap_err().code(),
            builds::update("shop", "1", &json!({})).unwrap_err().code(),
            actions::run("shop", "Deploy", &[]).unwrap_err().code(),
            jobs::get("f434540d-5bfd-46b5-9045-12e8cecf47b3").unwrap_err().code(),
            jobs::progress(101, "more than all").unwrap_err().code(),
            http::get("http://elsewhere/").send().unwrap_err().code(),
            applications::create("shop", &json!({})).unwrap_err().code(),
        ]
    });
    use crate::Code::{AlreadyExists, Denied, Invalid, NotFound};
    assert_eq!(codes, [NotFound, NotFound, NotFound, NotFound, NotFound, Invalid, Denied, AlreadyExists].map(Some));
}

#[test]
#[should_panic(expected = "`jobs::append` is a function of the host, and there is none in a test")]
fn a_call_of_the_host_without_one_says_so() {
    jobs::append("a").unwrap();
}

#[test]
#[should_panic(
    expected = "`servers::list` is a function of the host, and `elita_plugin::testing::Host` does not have it"
)]
fn a_call_of_what_a_test_does_not_have_says_so() {
    Host::new().run(|| servers::list().map(drop)).unwrap();
}

#[test]
fn a_host_is_there_again_after_a_panic() {
    let mut host = Host::new();
    let inner = std::panic::catch_unwind(|| Host::new().run(|| panic!("jammed")));
    host.run(|| jobs::append("still here")).unwrap();
    assert_eq!((inner.is_err(), host.entries()), (true, &[json!("still here")][..]));
}

#[test]
fn servers_answer_as_the_test_says() {
    let windows = |called: &Called| match &*called.function {
        "operating_systems" => Answer::ok().stdout("Windows"),
        "run_script" => Answer::exit(3).stdout("some of it").stderr("no space left"),
        _ => Answer::unknown("the connection broke"),
    };
    let mut host = Host::new()
        .server("web1", |_| Answer::ok())
        .server("web2", windows)
        .server("web3", |_| Answer::no_response("it cannot be reached"));
    let servers = ["web1", "web2", "web3"];
    host.run(|| -> Result<()> {
        let systems = remote::operating_systems(&servers)?;
        let told: Vec<_> = systems.iter().map(|system| (system.os, system.name.as_deref())).collect();
        assert_eq!(
            told,
            [(Some(remote::Os::Unix), Some("Linux")), (Some(remote::Os::Windows), Some("Windows")), (None, None)]
        );
        let script = remote::Command::script("df").directory("/srv").stdin("in").env("LANG", "C").secret("key");
        let reports = remote::run(&servers, &script)?;
        let told: Vec<_> = reports.iter().map(|report| (report.outcome, report.exit_code, &*report.stdout)).collect();
        use remote::Outcome::{Failed, NoResponse, Ok as Done, Unknown};
        assert_eq!(told, [(Done, Some(0), ""), (Failed, Some(3), "some of it"), (NoResponse, None, "")]);
        let pulled = remote::git_pull(&["web2"], "/srv", &remote::Pull::default())?;
        assert_eq!((pulled[0].outcome, pulled[0].message.as_deref()), (Unknown, Some("the connection broke")));
        assert_eq!(remote::ping(&["web1"], None)?[0].stdout, "Linux");
        Ok(())
    })
    .unwrap();
    let functions: Vec<_> = host.called().iter().map(|called| &*called.function).collect();
    assert_eq!(functions, ["operating_systems", "run_script", "git_pull", "ping"]);
    assert_eq!((&*host.called()[1].command(), host.called()[1].servers.len()), ("df", 3));
    let options = json!({
        "script": "df", "shell": "sh", "directory": "/srv", "environment": { "LANG": "C" }, "stdin": "in", "secrets": ["key"],
    });
    assert_eq!(host.called()[1].arguments, options);
}

#[test]
fn what_no_server_can_be_asked_for_is_answered_as_on_a_server() {
    let host = || Host::new().build("shop", "1", json!({})).server("web1", |_| Answer::ok());
    let package = remote::Content::package("shop", "1", "master");
    let codes = host().run(|| {
        [
            remote::touch(&["web2"], "/srv/a").unwrap_err().code(),
            remote::touch(&["web1", "web1"], "/srv/a").unwrap_err().code(),
            remote::touch(&["web1"], "srv/a").unwrap_err().code(),
            remote::delete_directory(&["web1"], "/srv/../etc").unwrap_err().code(),
            remote::push_file(&["web1"], &package, "/srv/a", None).unwrap_err().code(),
        ]
    });
    use crate::Code::{Conflict, Invalid, NotFound};
    assert_eq!(codes, [NotFound, Invalid, Invalid, Invalid, NotFound].map(Some));
    let cancelled = host().cancelled().run(|| remote::touch(&["web1"], "/srv/a").unwrap_err().code());
    assert_eq!(cancelled, Some(Conflict));
}

#[test]
#[should_panic(
    expected = "`salt::highstate` is a function of the host, and `elita_plugin::testing::Host` does not have it"
)]
fn salt_is_not_there_in_a_test() {
    Host::new().run(|| salt::highstate(&["web1"], None)).unwrap();
}
