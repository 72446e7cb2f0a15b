//! Hooks: what plugins do when an upload has been stored, and what they cannot do.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use insta::assert_json_snapshot;
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::harness::{Answer, Client, Outside, Setup, TestHost, eventually, plugin_file};
use crate::uploads::{files_in, id, put, zip};

const APPLICATION: &str = "hostile";

#[tokio::test]
async fn a_hook_that_fails_is_recorded_and_undoes_nothing() {
    let setup = Setup::default().plugin("a-hostile", hostile()).plugin("b-hostile", hostile());
    let host = with_application(setup).await;
    let job = upload(&host, "fail").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_json_snapshot!(job["result"]["hooks"], { "[].digest" => "[digest]" }, @r#"
    [
      {
        "hook": "BUILD_UPLOAD_SUCCESS",
        "plugin": "a-hostile",
        "digest": "[digest]",
        "error": {
          "code": "hook-failed",
          "message": "this build is not to my taste",
          "details": {
            "taste": "salty"
          }
        }
      },
      {
        "hook": "BUILD_UPLOAD_SUCCESS",
        "plugin": "b-hostile",
        "digest": "[digest]",
        "error": {
          "code": "hook-failed",
          "message": "this build is not to my taste",
          "details": {
            "taste": "salty"
          }
        }
      }
    ]
    "#);
    assert_eq!(build(&host, "fail").await["stored"], true);
}

#[tokio::test]
async fn a_hook_that_panics_does_not_keep_the_next_one_from_running() {
    let setup = Setup::default().plugin("a-hostile", hostile()).plugins(&["build-notes"]);
    let host = with_application(setup).await;
    create(&host, "my_application").await;
    let job = upload(&host, "panic").await;
    let error = &fired(&job, "a-hostile")["error"];
    assert_eq!(error["code"], "panic", "{job:#}");
    assert!(error["message"].as_str().unwrap().contains("the press is jammed"), "{job:#}");
    let job = ended(&host, "my_application", "1", zip("a", b"b")).await;
    assert_eq!(fired(&job, "build-notes")["result"], Value::Null, "{job:#}");
}

#[tokio::test]
async fn a_hook_finds_the_files_of_its_build_under_their_names() {
    let host = with_application(Setup::default().plugin("hostile", hostile())).await;
    let map = json!({ "name": "web", "packages": { "web": { "patterns": ["**"] } } });
    assert_eq!(host.client.post("/app/hostile/packagemaps", &map).await.status, 201);
    create_build(&host, APPLICATION, "1").await;
    let path = "/app/hostile/builds/1/file?file_type=zip&package_map=web";
    let job = host.ended_job(id(&put(&host.client, path, zip("a", b"b")).await)).await;
    let result = json!({ "build": "1", "files": ["1-web.zip", "1.zip"] });
    assert_eq!(fired(&job, "hostile")["result"], result, "{job:#}");
    eventually("the view to go", async || views(&host).is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_hook_cannot_change_what_it_reads() {
    let host = with_application(Setup::default().plugin("hostile", hostile())).await;
    let job = upload(&host, "change-files").await;
    let outcomes = fired(&job, "hostile")["result"].as_object().unwrap();
    assert_eq!(outcomes.len(), 16, "{job:#}");
    for (attempt, outcome) in outcomes {
        assert!(["not-permitted", "read-only"].contains(&outcome.as_str().unwrap()), "{attempt}: {outcome}");
    }
    let stored = host.client.get("/app/hostile/builds/change-files/packages/master").await;
    assert_eq!(stored.status, 200);
    let names = names_below(&upload_folder(&host, &job));
    assert_eq!(names, ["change-files.zip", "change-files.zip.tree"]);
    assert_eq!(std::fs::read(upload_folder(&host, &job).join("change-files.zip")).unwrap(), zip("a", b"b"));
}

#[tokio::test]
async fn a_hook_cannot_leave_its_directory() {
    let host = with_application(Setup::default().plugin("hostile", hostile())).await;
    let job = upload(&host, "leave").await;
    let result = &fired(&job, "hostile")["result"];
    for (attempts, count) in [("open", 7), ("others", 5)] {
        let outcomes = result[attempts].as_object().unwrap_or_else(|| panic!("{job:#}"));
        assert_eq!(outcomes.len(), count, "{result:#}");
        for (attempt, outcome) in outcomes {
            assert!(["not-permitted", "no-entry"].contains(&outcome.as_str().unwrap()), "{attempt}: {outcome}");
        }
    }
}

#[tokio::test]
async fn a_link_in_the_directory_leads_nowhere() {
    let host = with_application(Setup::default().plugin("hostile", hostile())).await;
    let job = begin(&host, "follow-link").await;
    let view = waiting_view(&host, &job).await;
    std::os::unix::fs::symlink("/etc", view.join("folder")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", view.join("link")).unwrap();
    let job = host.ended_job(&job).await;
    let outcomes = &fired(&job, "hostile")["result"];
    for attempt in ["open", "look", "read", "open in the directory", "look in the directory"] {
        assert_eq!(outcomes[attempt], "not-permitted", "{attempt}: {job:#}");
    }
    assert_ne!(outcomes["link"], "ok", "{job:#}");
    assert_ne!(outcomes["open the link"], "ok", "{job:#}");
}

#[tokio::test]
async fn an_operation_goes_on_with_the_versions_that_it_began_with() {
    let setup = Setup::default().plugin("a-hostile", hostile()).plugin("b-hostile", hostile());
    let host = with_application(setup).await;
    let digest = host.settled_plugin("b-hostile").await["digest"].clone();
    let job = begin(&host, "follow-link").await;
    let first = waiting_view(&host, &job).await;
    std::fs::copy(plugin_file("register-two"), host.plugin_dir().join("b-hostile.new")).unwrap();
    std::fs::rename(host.plugin_dir().join("b-hostile.new"), host.plugin_dir().join("b-hostile.wasm")).unwrap();
    host.plugin("b-hostile", |plugin| plugin["version"] == 2).await;

    std::os::unix::fs::symlink("/etc/passwd", first.join("link")).unwrap();
    let second = eventually("the second hook to wait", async || {
        let job = host.client.get(&format!("/job/{job}?results=true")).await.body;
        let waits = |entry: &Value| entry["source"] == "b-hostile" && entry["data"]["status"] == "waiting";
        job["job_data"].as_array()?.iter().any(waits).then(|| views(&host).pop().unwrap())
    })
    .await;
    std::os::unix::fs::symlink("/etc/passwd", host.storage_dir().join("views").join(second).join("link")).unwrap();
    let job = host.ended_job(&job).await;
    let fired = fired(&job, "b-hostile");
    assert_eq!((&fired["digest"], &fired["result"]["open"]), (&digest, &json!("not-permitted")), "{job:#}");
}

#[tokio::test]
async fn a_hook_that_opens_too_many_files_is_stopped() {
    let setup = Setup::default().plugin("hostile", hostile()).flag("--plugin-file-handles", 20);
    let host = with_application(setup).await;
    let job = upload(&host, "open-many").await;
    let error = &fired(&job, "hostile")["error"];
    assert_eq!(error["code"], "handle-limit-exceeded", "{job:#}");
    assert!(error["message"].as_str().unwrap().contains("more than 20 handles"), "{job:#}");
}

#[tokio::test]
async fn a_hook_that_sleeps_is_stopped_at_its_time_limit() {
    let setup = Setup::default().plugin("hostile", hostile()).flag("--plugin-timeout-seconds", 1);
    let host = with_application(setup).await;
    let job = upload(&host, "sleep").await;
    assert_eq!(fired(&job, "hostile")["error"]["code"], "time-limit-exceeded", "{job:#}");
    assert_eq!(job["status"], "succeeded", "{job:#}");
}

#[tokio::test]
async fn a_hook_whose_server_dies_does_not_run_again() {
    let stopped = with_application(Setup::default().plugin("hostile", hostile())).await.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let job = begin_by(&client, "follow-link").await;
    waiting_view_of(&stopped.storage_dir(), &client, &job).await;
    program.signal(Signal::KILL);
    program.ended().await;
    let host = stopped.start().await;
    let job = host.ended_job(&job).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(fired(&job, "hostile")["error"]["code"], "interrupted", "{job:#}");
    let entries = job["job_data"].as_array().unwrap();
    assert_eq!(entries.iter().filter(|entry| entry["source"] == "hostile").count(), 1, "{job:#}");
}

#[tokio::test]
async fn two_gigabytes_are_read_without_more_memory() {
    let setup = Setup::default().plugin("hostile", hostile()).flag("--plugin-cpu-ms", 100_000);
    let stopped = with_application(setup).await.stop().await;
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let job = begin_by(&client, "read-huge").await;
    let view = waiting_view_of(&stopped.storage_dir(), &client, &job).await;
    let before = program.peak_memory_kib();
    let huge = File::create(view.join("huge.new")).unwrap();
    huge.set_len(2 << 30).unwrap();
    std::fs::rename(view.join("huge.new"), view.join("huge")).unwrap();
    let job = ended_by(&client, &job).await;
    assert_eq!(fired(&job, "hostile")["result"], json!({ "read": 2_u64 << 30 }), "{job:#}");
    let grown = program.peak_memory_kib() - before;
    assert!(grown < 64 * 1024, "reading 2 GiB took {grown} KiB more");
    program.signal(Signal::TERM);
    program.ended().await;
}

#[tokio::test]
async fn a_package_is_added_where_it_may_be_and_nowhere_else() {
    let host = with_application(Setup::default().plugin("hostile", hostile())).await;
    create(&host, "shop").await;
    create_build(&host, APPLICATION, "another").await;
    let map = json!({ "name": "web", "packages": { "web": { "patterns": ["**"] } } });
    assert_eq!(host.client.post("/app/hostile/packagemaps", &map).await.status, 201);
    create_build(&host, APPLICATION, "packages").await;
    let path = "/app/hostile/builds/packages/file?file_type=zip&package_map=web";
    let job = host.ended_job(id(&put(&host.client, path, zip("a", b"b")).await)).await;
    assert_json_snapshot!(fired(&job, "hostile")["result"], @r#"
    {
      "another application": "denied",
      "another build": "conflict",
      "another type": "invalid",
      "master": "invalid",
      "no build": "conflict",
      "no name": "invalid",
      "read another application": "denied",
      "read another build": "not-found",
      "read what is not there": "not-found",
      "taken": "already-exists"
    }
    "#);
    assert_packages(&host, &job, "packages", &["master", "web"]).await;
}

#[tokio::test]
async fn a_package_that_is_not_what_it_is_said_to_be_is_refused() {
    let host = with_application(Setup::default().plugin("hostile", hostile())).await;
    let job = upload(&host, "lies").await;
    assert_json_snapshot!(fired(&job, "hostile")["result"], @r#"
    {
      "another digest": "invalid",
      "another type": "invalid",
      "cut off": "invalid",
      "no archive": "invalid",
      "no digest": "invalid",
      "nothing": "invalid",
      "the truth": "ok",
      "the truth again": "already-exists"
    }
    "#);
    assert_packages(&host, &job, "lies", &["master", "truth"]).await;
    let added = &build(&host, "lies").await["packages"]["truth"];
    assert_eq!(added["filename"], "lies-truth.zip");
    assert_eq!(added["sha256"], build(&host, "lies").await["packages"]["master"]["sha256"]);
}

#[tokio::test]
async fn a_package_that_is_left_leaves_nothing() {
    let host = with_application(Setup::default().plugin("hostile", hostile())).await;
    let job = upload(&host, "dropped").await;
    assert_eq!(fired(&job, "hostile")["result"], "left", "{job:#}");
    assert_packages(&host, &job, "dropped", &["master"]).await;
}

#[tokio::test]
async fn a_package_without_end_is_stopped_and_leaves_nothing() {
    let setup = Setup::default().plugin("hostile", hostile()).flag("--plugin-package-mib", 8);
    let host = with_application(setup.flag("--plugin-cpu-ms", 500)).await;
    let job = upload(&host, "never-ends").await;
    assert_eq!(fired(&job, "hostile")["error"]["code"], "cpu-limit-exceeded", "{job:#}");
    assert_packages(&host, &job, "never-ends", &["master"]).await;
}

#[tokio::test]
async fn all_packages_of_a_run_count_against_one_limit() {
    let setup = Setup::default().plugin("hostile", hostile()).flag("--plugin-package-mib", 8);
    let host = with_application(setup).await;
    let job = upload(&host, "too-large").await;
    let result = json!({ "first": "limit-exceeded", "second": "limit-exceeded" });
    assert_eq!(fired(&job, "hostile")["result"], result, "{job:#}");
    assert_packages(&host, &job, "too-large", &["master"]).await;
}

#[tokio::test]
async fn packages_that_plugins_add_count_among_all_of_their_build() {
    let host = with_application(Setup::default().plugin("hostile", hostile())).await;
    let job = upload(&host, "too-large").await;
    // Of a small file they are at most 16 MiB together, long before a run has written as much as it may.
    let result = json!({ "first": "limit-exceeded", "second": "limit-exceeded" });
    assert_eq!(fired(&job, "hostile")["result"], result, "{job:#}");
    assert_packages(&host, &job, "too-large", &["master"]).await;
}

#[tokio::test]
async fn few_packages_are_open_at_a_time() {
    let host = with_application(Setup::default().plugin("hostile", hostile())).await;
    let job = upload(&host, "many-packages").await;
    let at_once = ["ok", "ok", "ok", "ok", "limit-exceeded", "limit-exceeded"];
    let result = json!({ "at once": at_once, "afterwards": "ok" });
    assert_eq!(fired(&job, "hostile")["result"], result, "{job:#}");
    assert_packages(&host, &job, "many-packages", &["master"]).await;
}

#[tokio::test]
async fn a_package_is_finished_once_and_not_by_another_job() {
    let setup = Setup::default().plugin("hostile", hostile()).plugins(&["misbehave"]);
    let host = with_application(setup).await;
    let job = upload(&host, "again").await;
    let result = &fired(&job, "hostile")["result"];
    assert_json_snapshot!(result, { ".started" => "[id]" }, @r#"
    {
      "finish": "ok",
      "finish again": "conflict",
      "finish nothing": "invalid",
      "started": "[id]",
      "write after it": "conflict",
      "write after that": "conflict"
    }
    "#);
    let added = json!({ "add": "conflict", "read": zip("a", b"b").len() });
    let started = host.ended_job(result["started"].as_str().unwrap()).await;
    assert_eq!(started["result"], added, "{started:#}");
    let later = host.run_action(APPLICATION, "AddPackage", "build=again").await;
    assert_eq!(later["result"], added, "{later:#}");
    assert_packages(&host, &job, "again", &["copy", "master"]).await;
}

#[tokio::test]
async fn what_an_interrupted_writer_has_left_is_swept_once_it_is_old() {
    let host = with_application(Setup::default().plugin("hostile", hostile())).await;
    let job = upload(&host, "1").await;
    // The upload was long ago.
    let (began, folder) = ("01890000-0000-7000-8000-000000000002", upload_folder(&host, &job));
    let long_since = folder.with_file_name(began);
    std::fs::rename(&folder, &long_since).unwrap();
    let folder = long_since;
    let move_it = format!("update builds set upload = '{began}'");
    host.database.connect().await.execute(sqlx::AssertSqlSafe(move_it)).await.unwrap();
    let view = host.storage_dir().join("views/01890000-0000-7000-8000-000000000001");
    std::fs::create_dir_all(&view).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(25 * 3600);
    let run = folder.join("7");
    std::fs::create_dir_all(&run).unwrap();
    for stray in [folder.join("stray.part"), run.join("stray.zip"), run.join("stray.zip#1"), view.join("1.zip")] {
        std::fs::write(stray, "PK").unwrap();
    }
    for entry in files_in(&folder).into_iter().chain([run, folder.clone(), view]) {
        File::open(entry).unwrap().set_modified(long_ago).unwrap();
    }
    let host = host.restart().await;
    eventually("what is left to be swept", async || (names_in(&folder) == ["1.zip", "1.zip.tree"]).then_some(())).await;
    eventually("the old view to go", async || views(&host).is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_plugin_adds_a_manifest_of_digests() {
    let host = Setup::default().plugins(&["build-manifest"]).start().await;
    create(&host, "my_application").await;
    let job = ended(&host, "my_application", "124", zip("web/index.html", b"hello")).await;
    let result = &fired(&job, "build-manifest")["result"];
    assert_eq!((&result["files"], &result["package"]), (&json!(1), &json!("manifest")), "{job:#}");
    let shown = host.client.get("/app/my_application/builds/124").await.body;
    let package = &shown["packages"]["manifest"];
    assert_eq!((&package["filename"], &package["sha256"]), (&json!("124-manifest.tar.gz"), &result["sha256"]));
    let files = files_in(&upload_folder(&host, &job));
    let file = files.into_iter().find(|file| file.ends_with("124-manifest.tar.gz")).unwrap();
    let unpacked = std::process::Command::new("tar").arg("-xzOf").arg(file).output().unwrap();
    let manifest: Value = serde_json::from_slice(&unpacked.stdout).unwrap();
    assert_json_snapshot!(manifest["members"], @r#"
    [
      {
        "path": "web/index.html",
        "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "size_bytes": 5
      }
    ]
    "#);
}

#[tokio::test]
async fn a_plugin_tells_a_chat_of_a_build() {
    let mut chat = Outside::new(Answer::Keeps).await;
    let url = format!("http://127.0.0.1:{}/hooks/42", chat.port());
    let grants = format!("http = ['127.0.0.1:{}']", chat.port());
    let host = Setup::default().plugins(&["notify"]).granting("notify", &grants).start().await;
    create(&host, "my_application").await;
    let job = ended(&host, "my_application", "1", zip("a", b"b")).await;
    assert_eq!(fired(&job, "notify")["result"], json!({ "told": false }), "{job:#}");

    let change = json!({ "attributes": { "notify": { "url": url } } });
    assert_eq!(host.client.patch("/app/my_application", &change).await.status, 200);
    let job = ended(&host, "my_application", "2", zip("a", b"b")).await;
    assert_eq!(fired(&job, "notify")["result"], json!({ "told": true, "status": 200 }), "{job:#}");
    let [asked] = &chat.asked()[..] else { panic!("the chat was not asked once") };
    assert!(asked.starts_with("POST /hooks/42 "), "{asked}");
    assert!(asked.contains(r#""text":"Build 2 of my_application is there: master""#), "{asked}");
}

#[tokio::test]
async fn each_line_of_a_trace_names_its_plugin() {
    let setup = Setup::default().plugin("a-hostile", hostile()).plugin("b-hostile", hostile());
    let host = with_application(setup).await;
    let job = upload(&host, "dropped").await;
    let path = format!("/job/{}?trace=true", job["job_id"].as_str().unwrap());
    let shown = host.client.get(&path).await.body;
    let lines: Vec<_> =
        shown["trace"].as_array().unwrap().iter().map(|line| (&line["plugin"], &line["call"])).collect();
    let (a, b, add) = (json!("a-hostile"), json!("b-hostile"), json!("builds.add-package"));
    assert!(lines.contains(&(&a, &add)) && lines.contains(&(&b, &add)), "{shown:#}");
    let last_of_a = lines.iter().rposition(|(plugin, _)| **plugin == a);
    assert!(last_of_a < lines.iter().position(|(plugin, _)| **plugin == b), "{shown:#}");
}

fn hostile() -> PathBuf {
    plugin_file("hostile-hooks")
}

async fn with_application(setup: Setup) -> TestHost {
    let host = setup.start().await;
    create(&host, APPLICATION).await;
    host
}

async fn create(host: &TestHost, application: &str) {
    host.create_application(application).await;
}

async fn create_build(host: &TestHost, application: &str, name: &str) {
    let reply = host.client.post(&format!("/app/{application}/builds"), &json!({ "build_name": name })).await;
    assert_eq!(reply.status, 201, "{reply}");
}

/// Uploads a file for a new build, and returns the job once it has ended.
pub(crate) async fn ended(host: &TestHost, application: &str, build: &str, file: Vec<u8>) -> Value {
    create_build(host, application, build).await;
    let path = format!("/app/{application}/builds/{build}/file?file_type=zip");
    let accepted = put(&host.client, &path, file).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    host.ended_job(id(&accepted)).await
}

/// The same for the hostile plugin, which looks at the build's name.
async fn upload(host: &TestHost, build: &str) -> Value {
    ended(host, APPLICATION, build, zip("a", b"b")).await
}

/// The same without waiting for the job: its id.
async fn begin(host: &TestHost, build: &str) -> String {
    begin_by(&host.client, build).await
}

async fn begin_by(client: &Client, build: &str) -> String {
    let reply = client.post("/app/hostile/builds", &json!({ "build_name": build })).await;
    assert_eq!(reply.status, 201, "{reply}");
    let accepted = put(client, &format!("/app/hostile/builds/{build}/file?file_type=zip"), zip("a", b"b")).await;
    id(&accepted).to_owned()
}

async fn ended_by(client: &Client, job: &str) -> Value {
    eventually("the job to end", async || {
        let reply = client.get(&format!("/job/{job}?results=true")).await;
        (reply.body["completed_at"].is_string()).then_some(reply.body)
    })
    .await
}

/// What came of the hook of a plugin.
pub(crate) fn fired<'j>(job: &'j Value, plugin: &str) -> &'j Value {
    let hooks = job["result"]["hooks"].as_array().unwrap_or_else(|| panic!("no hooks: {job:#}"));
    let found = hooks.iter().find(|fired| fired["plugin"] == plugin);
    found.unwrap_or_else(|| panic!("nothing of {plugin}: {job:#}"))
}

async fn build(host: &TestHost, name: &str) -> Value {
    host.client.get(&format!("/app/hostile/builds/{name}")).await.body
}

/// The build has these packages, and their files, with what git would call their contents, are all that is in the store.
async fn assert_packages(host: &TestHost, job: &Value, name: &str, expected: &[&str]) {
    let shown = build(host, name).await;
    let packages = shown["packages"].as_object().unwrap();
    assert_eq!(packages.keys().collect::<Vec<_>>(), expected, "{shown:#}");
    // Packages that are equal to the upload have its file.
    let is_kept =
        |package: &&Value| package == &&packages["master"] || package["sha256"] != packages["master"]["sha256"];
    let kept = packages.values().filter(is_kept);
    let mut files: Vec<_> = kept.map(|package| package["filename"].as_str().unwrap()).collect();
    files.sort();
    let folder = upload_folder(host, job);
    eventually("nothing else to be in the store", async || {
        let (trees, names): (Vec<_>, Vec<_>) =
            names_below(&folder).into_iter().partition(|name| name.ends_with(".tree"));
        let are_of_files = trees.iter().all(|tree| files.contains(&tree.trim_end_matches(".tree")));
        (names == files && are_of_files).then_some(())
    })
    .await;
}

fn upload_folder(host: &TestHost, job: &Value) -> PathBuf {
    host.storage_dir().join("builds").join(job["job_id"].as_str().unwrap())
}

/// The directory of the hook that waits for something in it.
async fn waiting_view(host: &TestHost, job: &str) -> PathBuf {
    waiting_view_of(&host.storage_dir(), &host.client, job).await
}

async fn waiting_view_of(storage: &Path, client: &Client, job: &str) -> PathBuf {
    eventually("the hook to wait", async || {
        let shown = client.get(&format!("/job/{job}?results=true")).await.body;
        let entries = shown["job_data"].as_array()?;
        entries.iter().any(|entry| entry["data"]["status"] == "waiting").then_some(())
    })
    .await;
    let views = storage.join("views");
    views.join(names_in(&views).pop().unwrap())
}

fn views(host: &TestHost) -> Vec<String> {
    names_in(&host.storage_dir().join("views"))
}

/// The names of all files below a directory.
fn names_below(directory: &Path) -> Vec<String> {
    let files = files_in(directory).into_iter();
    let mut names: Vec<_> = files.map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
