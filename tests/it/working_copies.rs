//! Working copies of gitdeploys on servers, by real git on servers of the driver `local`: made, brought forward and
//! removed.

use serde_json::{Value, json};

use crate::commits::{committed, git, repository, upload, with_gitdeploy};
use crate::harness::{Elita, Setup, TestHost};

const WEB: &str = "/app/shop/gitdeploys/web";

#[tokio::test]
async fn a_build_reaches_servers() {
    let host = with_servers(&["web1", "web2"], &json!({})).await;
    // Before anything was committed, as is usual.
    let job = on(&host, "initialize", &["web1", "web2"]).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!((&job["job_type"], &job["name"]), (&json!("gitdeploy"), &json!("web")));
    let nothing = on(&host, "pull", &["web1"]).await;
    assert_eq!(nothing["error"]["code"], "not-found", "{nothing:#}");

    upload(&host, "1", &[("a.txt", "one\r\n"), ("bin/run", "x"), (".gitattributes", "*.txt text eol=lf\n")]).await;
    let commit = committed(&host, "1").await["commit"].clone();
    let job = on(&host, "pull", &["web1", "web2"]).await;
    assert_eq!((&job["result"]["commit"], &job["result"]["build_name"]), (&commit, &json!("1")), "{job:#}");
    for server in ["web1", "web2"] {
        // Bit for bit, whatever the package says of line ends.
        assert_eq!(
            sh(&host, server, "od -c shop/a.txt | head -n 1; git -C shop status --short").await,
            "0000000   o   n   e  \\r  \\n"
        );
        assert_eq!(job["result"]["servers"][server]["head"], commit, "{job:#}");
        // The user's `umask` decides who may read it, and nobody else reads what the repository is read with.
        let modes =
            "touch new && mkdir newdir && stat -c %a new shop/a.txt newdir shop/bin shop/.git/elita; rm -r new*";
        let modes = sh(&host, server, modes).await;
        let [new, file, new_directory, directory, secrets] = modes.lines().collect::<Vec<_>>()[..] else {
            panic!("{modes}")
        };
        assert_eq!((file, directory, secrets), (new, new_directory, "700"), "{modes}");
    }
    let shown = host.client.get(WEB).await.body;
    let builds: Vec<_> = shown["servers"].as_array().unwrap().iter().map(|server| &server["deployed_build"]).collect();
    assert_eq!(builds, ["1", "1"], "{shown:#}");
    let said = Elita::of(&host).run(&["gitdeploy", "status", "shop", "web"]).await;
    assert!(said.code == 0 && said.stdout.contains("web1\t1\t"), "{said}");

    let job = on(&host, "deinitialize", &["web1", "web2"]).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(sh(&host, "web1", "ls").await, "");
    assert_eq!(host.client.get(WEB).await.body["servers"], json!([]));
}

#[tokio::test]
async fn commits_of_a_server_survive_and_other_changes_of_its_files_do_not() {
    let host = with_servers(&["web1"], &json!({})).await;
    upload(&host, "1", &[("a", "1"), ("b", "1")]).await;
    committed(&host, "1").await;
    assert_eq!(on(&host, "initialize", &["web1"]).await["status"], "succeeded");
    let own = "cd shop && echo own >own && git add own && git -c user.name=x -c user.email=x@y commit -qm own \
               && echo dirty >a && echo staged >s && git add s && echo kept >untracked";
    sh(&host, "web1", own).await;
    for build in ["2", "3"] {
        upload(&host, build, &[("a", build), ("c", build)]).await;
        committed(&host, build).await;
        let job = on(&host, "pull", &["web1"]).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        assert_eq!(
            sh(&host, "web1", "cd shop && cat a own untracked && ls").await,
            format!("{build}own\nkept\na\nc\nown\nuntracked")
        );
    }
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_pull_is_named_and_nothing_moves() {
    let host = with_servers(&["web1"], &json!({ "gitignore": ["*.conf"] })).await;
    upload(&host, "1", &[("a", "1")]).await;
    committed(&host, "1").await;
    on(&host, "initialize", &["web1"]).await;
    let head = sh(&host, "web1", "echo mine >shop/app.conf; git -C shop rev-parse HEAD").await;
    upload(&host, "2", &[("a", "2"), ("app.conf", "theirs")]).await;
    committed(&host, "2").await;
    let job = on(&host, "pull", &["web1"]).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("servers-failed")), "{job:#}");
    let server = &job["error"]["details"]["servers"]["web1"];
    assert_eq!(server["code"], "in-the-way", "{job:#}");
    assert!(server["message"].as_str().unwrap().contains("app.conf"), "{job:#}");
    assert_eq!(sh(&host, "web1", "cd shop; cat app.conf a; git rev-parse HEAD").await, format!("mine\n1{head}"));
    sh(&host, "web1", "rm shop/app.conf").await;
    assert_eq!(on(&host, "pull", &["web1"]).await["status"], "succeeded");

    // Another branch, and a history that was rewritten behind our back.
    sh(&host, "web1", "git -C shop checkout -q -b other").await;
    let job = on(&host, "pull", &["web1"]).await;
    assert_eq!(job["error"]["details"]["servers"]["web1"]["code"], "other-branch", "{job:#}");
    sh(&host, "web1", "git -C shop checkout -q master").await;
    let repo = repository(&host).await;
    git(&repo, &["update-ref", "refs/heads/master", "master^"]);
    upload(&host, "3", &[("a", "3")]).await;
    committed(&host, "3").await;
    let job = on(&host, "pull", &["web1"]).await;
    assert_eq!(job["error"]["details"]["servers"]["web1"]["code"], "rewritten", "{job:#}");
    assert_eq!(sh(&host, "web1", "cat shop/a").await, "2");
}

#[tokio::test]
async fn a_directory_that_is_not_the_gitdeploys_is_left_alone() {
    let host = with_servers(&["web1", "web2"], &json!({})).await;
    sh(&host, "web1", "mkdir shop && echo precious >shop/file").await;
    for task in ["initialize", "deinitialize"] {
        let job = on(&host, task, &["web1", "web2"]).await;
        let servers = &job["error"]["details"]["servers"];
        assert_eq!(
            (&servers["web1"]["code"], &servers["web2"]["outcome"]),
            (&json!("not-ours"), &json!("ok")),
            "{job:#}"
        );
        assert_eq!(sh(&host, "web1", "cat shop/file").await, "precious");
        let listed = host.client.get(WEB).await.body["servers"].as_array().unwrap().len();
        assert_eq!(listed, usize::from(task == "initialize"));
    }
}

#[tokio::test]
async fn what_was_initialized_already_is_initialized_again_with_another_token() {
    let host = with_servers(&["web1"], &json!({})).await;
    upload(&host, "1", &[("a", "1")]).await;
    committed(&host, "1").await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let job = on(&host, "initialize", &["web1"]).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        let credentials =
            sh(&host, "web1", "cat shop/.git/elita/credentials; ls -l shop/.git/elita/credentials | cut -c1-10").await;
        let (url, mode) = credentials.split_once('\n').unwrap();
        assert_eq!(mode, "-rw-------");
        let token = url.split_once("elita:").unwrap().1.split_once('@').unwrap().0.to_owned();
        // It is nowhere that others look.
        let audit = host.client.get("/global/audit").await;
        let config = sh(&host, "web1", "cat shop/.git/config").await;
        for text in [job.to_string(), audit.body.to_string(), config] {
            assert!(!text.contains(&token), "{text}");
        }
        tokens.push(token);
    }
    let refs = "/git/shop/site.git/info/refs?service=git-upload-pack";
    let ask = async |path: &str, token: &str| host.client.with_token(token).get(path).await.status;
    assert_eq!([ask_basic(&host, refs, &tokens[0]).await, ask_basic(&host, refs, &tokens[1]).await], [401, 200]);
    // It reads this repository, and nothing else.
    assert_eq!(ask("/app/shop", &tokens[1]).await, 401);
    assert_eq!(ask_basic(&host, "/git/shop/other.git/info/refs?service=git-upload-pack", &tokens[1]).await, 404);
    assert_eq!(on(&host, "pull", &["web1"]).await["status"], "succeeded");
    on(&host, "deinitialize", &["web1"]).await;
    assert_eq!(ask_basic(&host, refs, &tokens[1]).await, 401);
}

#[tokio::test]
async fn commands_around_a_pull_run_where_it_is() {
    let host = with_servers(&["web1"], &json!({})).await;
    let actions = json!({ "prepull": [["sh", "-c", "ls > ../before"]], "postpull": [["sh", "-c", "ls > ../after"]] });
    assert_eq!(host.client.patch(WEB, &json!({ "actions": actions })).await.status, 200);
    upload(&host, "1", &[("a", "1")]).await;
    on(&host, "initialize", &["web1"]).await;
    committed(&host, "1").await;
    assert_eq!(on(&host, "pull", &["web1"]).await["status"], "succeeded");
    assert_eq!(sh(&host, "web1", "cat before; echo -; cat after").await, "-\na");
    let failing = json!({ "actions": { "prepull": [["sh", "-c", "exit 7"]] } });
    assert_eq!(host.client.patch(WEB, &failing).await.status, 200);
    upload(&host, "2", &[("a", "2")]).await;
    committed(&host, "2").await;
    let job = on(&host, "pull", &["web1"]).await;
    assert_eq!(job["error"]["details"]["servers"]["web1"]["code"], "prepull", "{job:#}");
    assert_eq!(sh(&host, "web1", "cat shop/a").await, "1");
}

#[tokio::test]
async fn what_cannot_be_done_on_servers_is_refused_at_once() {
    let host = with_servers(&["web1"], &json!({})).await;
    on(&host, "initialize", &["web1"]).await;
    for (path, name) in [("/shop", "same"), ("/shop/below", "below"), ("/", "above")] {
        let location = json!({ "path": path, "gitrepo": "site" });
        let new = json!({ "name": name, "package": "master", "location": location });
        if host.client.post("/app/shop/gitdeploys", &new).await.status == 201 {
            let asked = json!({ "initialize": true, "servers": ["web1"] });
            let refused = host.client.post(&format!("/app/shop/gitdeploys/{name}"), &asked).await;
            assert_eq!(refused.status, 409, "{name}: {refused}");
        }
    }
    for (body, status) in [
        (json!({ "initialize": true, "servers": ["web9"] }), 404),
        (json!({ "initialize": true, "servers": [] }), 422),
        (json!({ "initialize": true, "glob": "db-*" }), 422),
        (json!({ "initialize": true }), 422),
        (json!({ "initialize": true, "pull": true, "servers": ["web1"] }), 422),
        (json!({ "initialize": true, "servers": ["web1"], "glob": "*" }), 422),
        (json!({ "pull": true, "servers": ["web1"], "build_name": "1" }), 422),
        (json!({ "commit": true, "build_name": "1", "servers": ["web1"] }), 422),
    ] {
        let refused = host.client.post(WEB, &body).await;
        assert_eq!(refused.status, status, "{body}: {refused}");
    }
    let asked = json!({ "pull": true, "servers": ["web1"] });
    let writer = host.guest(&json!({ "apps": { "shop": "read/write" }, "servers": ["db-*"] })).await;
    assert_eq!(writer.post(WEB, &asked).await.status, 403);
    assert_eq!(writer.post(WEB, &json!({ "pull": true, "glob": "*" })).await.status, 422);
    let moved = host.client.patch(WEB, &json!({ "location": { "default_branch": "main" } })).await;
    assert_eq!(moved.status, 409, "{moved}");
}

#[tokio::test]
async fn the_client_works_on_servers() {
    let host = with_servers(&["web1", "web2"], &json!({})).await;
    let elita = Elita::of(&host).with("ELITA_APP", "shop");
    for arguments in [
        &["gitdeploy", "init", "--app", "shop", "web", "web*"][..],
        &["gitdeploy", "deinit", "--app", "shop", "web", "web1", "web2"],
    ] {
        let said = elita.run(arguments).await;
        assert_eq!(said.code, 0, "{said}");
    }
    assert_eq!(host.client.get(WEB).await.body["servers"], json!([]));
}

/// The gitdeploy `web` of the path `/shop`, and these servers.
pub(crate) async fn with_servers(names: &[&str], options: &Value) -> TestHost {
    with_servers_on(Setup::default(), names, options).await
}

pub(crate) async fn with_servers_on(setup: Setup, names: &[&str], options: &Value) -> TestHost {
    let host = with_gitdeploy(setup.switch("--local-servers"), options).await;
    let there = json!({ "location": { "path": "/shop" } });
    assert_eq!(host.client.patch(WEB, &there).await.status, 200);
    for name in names {
        let new = json!({ "name": name, "environment": "test", "driver": "local" });
        assert_eq!(host.client.post("/server", &new).await.status, 201);
    }
    host
}

/// The job that does this with the gitdeploy on these servers, once it has ended.
pub(crate) async fn on(host: &TestHost, task: &str, servers: &[&str]) -> Value {
    let accepted = host.client.post(WEB, &json!({ task: true, "servers": servers })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    host.ended_job(accepted.body["job_id"].as_str().unwrap()).await
}

/// What a script prints on a server, in its home.
pub(crate) async fn sh(host: &TestHost, server: &str, script: &str) -> String {
    let body = json!({ "script": script });
    let accepted = host.client.post(&format!("/server/{server}/command"), &body).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    let job = host.ended_job(accepted.body["job_id"].as_str().unwrap()).await;
    job["result"][server]["stdout"].as_str().unwrap_or_else(|| panic!("{job:#}")).trim_end().to_owned()
}

pub(crate) async fn ask_basic(host: &TestHost, path: &str, token: &str) -> u16 {
    let client = host.client.anonymous();
    client.send(client.request(reqwest::Method::GET, path).basic_auth("elita", Some(token))).await.status
}
