//! Working copies of gitdeploys on Salt minions, by a real master: what they read repositories with is seen by nobody who
//! sees what Salt does.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::commits::{committed, upload, with_gitdeploy};
use crate::harness::{Client, Program, Salt, Setup, TestHost, create_minion, eventually};
use crate::ssh_copies::{CommandLines, ended, files_with, with_server};
use crate::upstreams::over_ssh;

const WEB: &str = "/app/shop/gitdeploys/web";

/// With an address at which minions reach the server, and Salt's settings.
fn reachable(setup: Setup) -> Setup {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let here = format!("127.0.0.1:{port}");
    setup.flag("--listen", &here).flag("--public-url", format!("http://{here}"))
}

/// Has a server `m1`, and the gitdeploy `web` at a path of its own below the home of that minion.
async fn with_minion(host: &TestHost, salt: &Salt, what: &str) -> PathBuf {
    create_minion(host, "m1").await;
    let path = salt.home("m1").join(format!("{what}-{}", std::process::id()));
    let patched = host.client.patch(WEB, &json!({ "location": { "path": path } })).await;
    assert_eq!(patched.status, 200, "{patched}");
    path
}

async fn on(client: &Client, task: &str, servers: &[&str]) -> Value {
    let accepted = client.post(WEB, &json!({ task: true, "servers": servers })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    ended(client, &accepted.body).await
}

/// A text, and how it looks in Base64, wherever it begins in what is encoded.
fn spellings(secret: &str) -> Vec<String> {
    let encoded = (0..3).map(|skipped| {
        let part = &secret.as_bytes()[skipped..];
        STANDARD_NO_PAD.encode(&part[..part.len() / 3 * 3])
    });
    std::iter::once(secret.to_owned()).chain(encoded).collect()
}

#[tokio::test]
async fn a_build_reaches_a_minion_and_its_token_is_seen_nowhere() {
    let shared = Salt::shared().await;
    let host = with_gitdeploy(reachable(shared.salt.settings(Setup::default())), &json!({})).await;
    let path = with_minion(&host, shared.salt, "token").await;
    let events = shared.salt.listen().await;
    let job = on(&host.client, "initialize", &["m1"]).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let credentials = std::fs::read_to_string(path.join(".git/elita/credentials")).unwrap();
    let token = credentials.split([':', '@']).nth(2).unwrap().to_owned();
    assert!(token.len() > 30, "{credentials}");

    upload(&host, "1", &[("a", "one"), ("b/c", "x")]).await;
    let commit = committed(&host, "1").await["commit"].clone();
    let job = on(&host.client, "pull", &["m1"]).await;
    assert_eq!(job["result"]["servers"]["m1"]["head"], commit, "{job:#}");
    assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "one");
    upload(&host, "2", &[("a", "two")]).await;
    committed(&host, "2").await;
    let job = on(&host.client, "pull", &["m1"]).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "two");
    assert!(!path.join("b").exists());
    let job = on(&host.client, "deinitialize", &["m1"]).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert!(!path.exists());

    let heard = events.text();
    assert!(heard.contains("/once/"), "{heard}");
    for spelling in spellings(&token) {
        assert!(!heard.contains(&spelling), "{heard}");
        let files = shared.salt.files_with(&spelling);
        assert!(files.is_empty(), "{files:?}");
    }
}

#[tokio::test]
async fn a_repositorys_key_reaches_a_minion_and_is_in_no_command_line_job_cache_event_log_or_audit_entry() {
    let shared = Salt::shared().await;
    let (host, repos) = over_ssh(reachable(shared.salt.settings(Setup::default()))).await;
    let path = with_minion(&host, shared.salt, "key").await;
    upload(&host, "1", &[("a", "one")]).await;
    committed(&host, "1").await;
    let stopped = host.stop().await;
    let flags = stopped.all_flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).chain(["--log", "trace,h2=info"]).collect();
    let mut program = Program::serve(&flags);
    let (_, client) = program.ready(&stopped.database.token).await;
    let (watch, events) = (CommandLines::watch(), shared.salt.listen().await);
    let mut told = Vec::new();
    for task in ["initialize", "pull", "deinitialize"] {
        let job = on(&client, task, &["m1"]).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        if task == "initialize" {
            let key = std::fs::read_to_string(path.join(".git/elita/key")).unwrap();
            assert_eq!(key.trim(), include_str!("keypairs/canary").trim());
        }
        let id = job["job_id"].as_str().unwrap();
        for query in ["results=true", "steps=true", "trace=true"] {
            told.push(client.get(&format!("/job/{id}?{query}")).await.body.to_string());
        }
    }
    assert!(!path.exists());
    told.push(client.get("/global/audit").await.body.to_string());
    told.push(client.get(WEB).await.body.to_string());
    let lines = watch.end();
    assert!(lines.iter().any(|line| line.contains("/bin/sh")), "no command was seen: {lines:?}");
    assert!(!lines.iter().any(|line| line.contains("/once/")), "the URL is in a command line: {lines:?}");
    told.extend(lines);
    program.signal(Signal::TERM);
    let (_, log) = program.ended().await;
    assert!(log.contains("TRACE"), "the log has no details");
    told.push(log);
    let heard = events.text();
    assert!(heard.contains("/once/"), "{heard}");
    told.push(heard);
    let key = include_str!("keypairs/canary");
    for line in key.lines().filter(|line| !line.starts_with("-----")) {
        for spelling in spellings(line) {
            for text in &told {
                assert!(!text.contains(&spelling), "{text}");
            }
            let files = shared.salt.files_with(&spelling);
            assert!(files.is_empty(), "{files:?}");
        }
    }
    drop(repos);
}

#[tokio::test]
async fn a_plugins_secret_in_the_environment_reaches_a_minion_and_is_seen_nowhere() {
    let shared = Salt::shared().await;
    let grants = "servers = ['m1', 'web1']\ninterfaces = ['remote']";
    let plugged = || Setup::default().plugins(&["on-servers"]).granting("on-servers", grants);
    let host = reachable(shared.salt.settings(plugged().switch("--local-servers"))).start().await;
    host.create_application("commands").await;
    create_minion(&host, "m1").await;
    let sshd = with_server(&host).await;
    let call = async |host: &TestHost, call: Value| {
        let accepted = host.client.post("/app/commands/actions/Do", &json!({ "call": call.to_string() })).await;
        ended(&host.client, &accepted.body).await
    };
    let secret = "canary-in-the-environment's $(value)";
    // It is not printed: what a command prints, a master sees.
    let script = "[ \"$KEY\" = \"$(cat)\" ] && [ \"$OTHER\" = 'a b' ] && printf %s \"$KEY\" | wc -c";
    let asked = json!({ "function": "run-script", "servers": ["m1", "web1"], "script": script, "text": secret,
        "environment": [["KEY", secret], ["OTHER", "a b"]], "secret": secret });
    let (watch, events) = (CommandLines::watch(), shared.salt.listen().await);
    let job = call(&host, asked).await;
    for report in job["result"].as_array().unwrap_or_else(|| panic!("{job:#}")) {
        let said = report["stdout"].as_str().unwrap().trim();
        assert_eq!((&report["outcome"], said), (&json!("ok"), &*secret.len().to_string()), "{job:#}");
    }
    let mut told = watch.end();
    assert!(told.iter().any(|line| line.contains("/bin/sh")), "no command was seen: {told:?}");
    let within = host.client.get(&format!("/job?parent={}", job["job_id"].as_str().unwrap())).await;
    for id in within.items("job_id") {
        for query in ["results=true", "steps=true", "trace=true"] {
            told.push(host.client.get(&format!("/job/{id}?{query}")).await.body.to_string());
        }
    }
    told.push(host.client.get("/global/audit").await.body.to_string());
    let heard = events.text();
    assert!(heard.contains("/once/"), "{heard}");
    told.push(heard);
    for part in ["canary-in-the-environment", "$(value)"] {
        for spelling in spellings(part) {
            assert!(!told.iter().any(|text| text.contains(&spelling)), "{told:?}");
            let mut files = shared.salt.files_with(&spelling);
            files.extend(files_with(&sshd.home, &spelling));
            assert!(files.is_empty(), "{files:?}");
        }
    }

    // Where the master would see it, nothing is sent.
    let in_words = json!({ "function": "run", "servers": ["m1"], "command": ["echo", secret], "secret": secret });
    let in_environment = json!({ "function": "run", "servers": ["m1"], "command": ["true"],
        "environment": [["KEY", secret]], "secret": secret });
    let elsewhere = shared.salt.settings(plugged()).start().await;
    elsewhere.create_application("commands").await;
    create_minion(&elsewhere, "m1").await;
    for (host, asked, why) in
        [(&host, in_words, "in the environment or the input"), (&elsewhere, in_environment, "--public-url")]
    {
        let job = call(host, asked).await;
        let report = &job["result"][0];
        assert_eq!(report["outcome"], "no-response", "{job:#}");
        assert!(report["message"].as_str().unwrap().contains(why), "{job:#}");
    }
    assert!(!events.text().contains("canary-in"), "{}", events.text());
}

#[tokio::test]
async fn a_key_that_somebody_else_fetches_first_is_said_to_be_exposed_and_an_old_url_is_good_for_nothing() {
    let alone = Salt::alone().await;
    let (host, repos) = over_ssh(reachable(alone.salt.settings(Setup::default()))).await;
    let path = with_minion(&host, alone.salt, "thief").await;
    upload(&host, "1", &[("a", "one")]).await;
    committed(&host, "1").await;

    // The minion is slower than who listens to the master's events.
    let (job, url) = begun_on_a_frozen_minion(&host, alone.salt).await;
    let thieves = (0..10).map(|_| reqwest::Client::new().post(&url).send());
    let mut taken = Vec::new();
    for answer in futures_util::future::join_all(thieves).await {
        let answer = answer.unwrap();
        taken.push((answer.status().as_u16(), answer.text().await.unwrap()));
    }
    taken.sort();
    assert_eq!(taken.iter().filter(|(status, _)| *status == 410).count(), 9, "{taken:?}");
    assert!(taken[0].0 == 200 && taken[0].1.contains("PRIVATE KEY"), "{taken:?}");
    alone.salt.signal_program("m1", Signal::CONT);
    let job = ended(&host.client, &job).await;
    let on_server = &job["error"]["details"]["servers"]["m1"];
    assert_eq!((&job["status"], &on_server["code"]), (&json!("failed"), &json!("key-exposed")), "{job:#}");
    let why = on_server["message"].as_str().unwrap();
    assert!(why.contains("replace the keypair of git repository `site`"), "{why}");
    let audit = host.client.get("/global/audit?operation=gitdeploys.key-exposed").await.body;
    let entry = &audit["items"][0];
    assert_eq!((&entry["name"], &entry["job_id"]), (&json!("web"), &job["job_id"]), "{audit:#}");
    assert!(entry["after"]["advice"].as_str().unwrap().contains("replace the keypair"), "{audit:#}");
    assert!(!path.exists());

    // After its minute it is good for nothing, and nobody has it.
    let (job, url) = begun_on_a_frozen_minion(&host, alone.salt).await;
    let mut connection = host.database.connect().await;
    let older = "update handovers set made_at = made_at - interval '61 seconds'";
    sqlx::query(older).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(reqwest::Client::new().post(&url).send().await.unwrap().status(), 404);
    alone.salt.signal_program("m1", Signal::CONT);
    let job = ended(&host.client, &job).await;
    let on_server = &job["error"]["details"]["servers"]["m1"];
    assert_eq!(on_server["outcome"], "no-response", "{job:#}");
    assert!(on_server["message"].as_str().unwrap().contains("not valid any more"), "{job:#}");

    let job = on(&host.client, "initialize", &["m1"]).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "one");
    drop(repos);
}

/// The job that initializes, while its minion does nothing, and the URL that only the minion is to use.
async fn begun_on_a_frozen_minion(host: &TestHost, salt: &Salt) -> (Value, String) {
    let events = salt.listen().await;
    salt.signal_program("m1", Signal::STOP);
    let accepted = host.client.post(WEB, &json!({ "initialize": true, "servers": ["m1"] })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    let url = eventually("the URL", async || {
        let text = events.text();
        let (_, rest) = text.split_once("url=http")?;
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "/:._-".contains(c)))?;
        Some(format!("http{}", &rest[..end]))
    })
    .await;
    (accepted.body, url)
}

#[tokio::test]
async fn what_minions_need_a_public_url_for_is_refused_without_one() {
    let shared = Salt::shared().await;
    for by_ssh in [false, true] {
        let setup = shared.salt.settings(Setup::default());
        let (host, _repos) = match by_ssh {
            true => {
                let (host, repos) = over_ssh(setup).await;
                (host, Some(repos))
            }
            false => (with_gitdeploy(setup, &json!({})).await, None),
        };
        with_minion(&host, shared.salt, "refused").await;
        let refused = host.client.post(WEB, &json!({ "initialize": true, "servers": ["m1"] })).await;
        assert_eq!(refused.fault(), (422, "/servers"), "{refused}");
        assert!(refused.body["detail"].as_str().unwrap().contains("--public-url"), "{refused}");
    }
}

#[tokio::test]
async fn a_file_of_several_pieces_reaches_a_minion_with_and_without_a_public_url() {
    let shared = Salt::shared().await;
    for is_reachable in [true, false] {
        let setup = shared.salt.settings(Setup::default()).plugins(&["on-servers"]);
        let setup = setup.granting("on-servers", "servers = ['m*']\ninterfaces = ['remote']");
        let host = if is_reachable { reachable(setup).start().await } else { setup.start().await };
        create_minion(&host, "m1").await;
        host.create_application("commands").await;
        let text = "0123456789abcdef".repeat(40_000);
        let path = shared.salt.home("m1").join(format!("pushed-{}-{is_reachable}", std::process::id()));
        let call = json!({ "function": "push-file", "servers": ["m1"], "path": path, "text": text });
        let accepted = host.client.post("/app/commands/actions/Do", &json!({ "call": call.to_string() })).await;
        assert_eq!(accepted.status, 202, "{accepted}");
        let job = ended(&host.client, &accepted.body).await;
        assert_eq!(job["result"][0]["outcome"], "ok", "{job:#}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
