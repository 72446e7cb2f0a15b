//! What `docs/plugin-languages.md` says of each language: a component tries it. `languages.rs` has what Python does, and
//! JavaScript's `fetch`.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::{Answer, Outside, Setup, TestHost, plugin_file, project_root};
use crate::hooks;
use crate::uploads::zip;

/// What a component found out in two runs.
async fn found(file: &str, application: &str) -> [Value; 2] {
    let outside = Outside::new(Answer::hello()).await;
    let grant = format!("http = [\"127.0.0.1:{}\"]", outside.port());
    let host = Setup::default().plugin("works", plugin_file(file)).granting("works", &grant).start().await;
    host.create_application(application).await;
    let first = run(&host, application, outside.port()).await;
    [first, run(&host, application, outside.port()).await]
}

async fn run(host: &TestHost, application: &str, port: u16) -> Value {
    let job = host.run_action(application, "Works", &format!("url=http://127.0.0.1:{port}/")).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    job["result"].clone()
}

/// Random numbers are new in each run, clocks are right, time passes, and the time zone is UTC.
fn assert_clocks_and_random_numbers([one, other]: &[Value; 2], pause: u64) {
    assert_ne!(one["random"], other["random"], "{one:#}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(one["clock"].as_u64().unwrap().abs_diff(now) < 600, "{one:#}");
    assert!(one["slept"].as_u64().unwrap() >= pause, "{one:#}");
}

/// None of these works, for these reasons.
fn assert_refused(found: &Value, refused: &[(&str, &str)]) {
    for (what, why) in refused {
        let said = found[*what].as_str().unwrap_or_else(|| panic!("{what}: {found:#}"));
        assert!(said.contains(why), "{what}: {found:#}");
    }
    assert_eq!(found["environment"], json!([]), "{found:#}");
}

#[tokio::test]
async fn in_rust_works_what_the_guide_says() {
    let both = found("works", "works").await;
    assert_clocks_and_random_numbers(&both, 60);
    assert_eq!(both[0]["http"], "hello");
    let refused = [
        ("other_http", "Permission denied"),
        ("write", "No such file"),
        ("list", "No such file"),
        ("thread", "Not supported"),
        ("process", "not supported"),
        ("socket", "Permission denied"),
    ];
    assert_refused(&both[0], &refused);
}

#[tokio::test]
async fn in_go_works_what_the_guide_says() {
    let both = found("works-go", "works").await;
    assert_clocks_and_random_numbers(&both, 60);
    let [one, _] = &both;
    // Nothing is of when it was built, and goroutines take turns.
    assert!(one["begun"].as_u64().unwrap() < 60_000, "{one:#}");
    assert_eq!((&one["together"], &one["offset"], &one["berlin"]), (&json!(true), &json!(0), &json!(14)), "{one:#}");
    let refused = [
        ("other_http", "Connection refused"),
        ("write", "Bad file number"),
        ("list", "Bad file number"),
        ("process", "not found"),
        ("socket", "Connection refused"),
    ];
    assert_refused(one, &refused);
}

#[tokio::test]
async fn in_c_works_what_the_guide_says() {
    let both = found("works-c", "works").await;
    assert_clocks_and_random_numbers(&both, 60);
    assert_eq!(both[0]["offset"], 0);
    let refused = [("write", "No such file"), ("list", "No such file"), ("thread", "temporarily unavailable")];
    assert_refused(&both[0], &refused);
}

#[tokio::test]
async fn what_a_plugin_in_c_has_printed_is_there_when_it_traps() {
    let host = Setup::default().plugin("works", plugin_file("works-c")).start().await;
    host.create_application("works").await;
    let job = host.run_action("works", "Trap", "").await;
    assert_eq!(job["error"]["code"], "trap", "{job:#}");
    let path = format!("/job/{}?trace=true", job["job_id"].as_str().unwrap());
    let trace = host.client.get(&path).await.body["trace"].to_string();
    assert!(trace.contains("about to trap"), "{trace}");
}

#[tokio::test]
async fn in_javascript_works_what_the_guide_says() {
    let both = found("fetch-javascript", "my_application").await;
    assert_clocks_and_random_numbers(&both, 100);
    let [one, other] = &both;
    // What is at the top of a module is of when it was built.
    assert_eq!(one["built"], other["built"], "{one:#}");
    assert_eq!((&one["together"], &one["offset"]), (&json!(true), &json!(0)), "{one:#}");
    assert_eq!(
        one["absent"],
        json!(["Intl", "process", "require", "XMLHttpRequest", "WebSocket", "Worker"]),
        "{one:#}"
    );
    // Another time zone is passed over.
    assert_eq!(one["berlin"], "Wed Jul  1 12:00:00 2026");
}

#[tokio::test]
async fn a_hook_reads_the_files_of_a_build_and_cannot_write() {
    for file in ["works", "works-python", "works-go", "works-c"] {
        let host = Setup::default().plugin("works", plugin_file(file)).start().await;
        host.create_application("works").await;
        let job = hooks::ended(&host, "works", "1", zip("a", b"b")).await;
        let result = &hooks::fired(&job, "works")["result"];
        assert_eq!(result["first"], "PK", "{file}: {job:#}");
        let said = result["write"].as_str().unwrap().to_lowercase();
        assert!(["not permitted", "permission", "read-only"].iter().any(|why| said.contains(why)), "{file}: {said}");
    }
}

/// What the tools of a language say of a plugin that cannot be built; `scripts/polyglot` has tried.
fn refused(name: &str) -> String {
    let file = project_root().join("target/plugins/polyglot").join(name).with_extension("refused");
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn what_the_guide_says_cannot_be_built_is_refused_for_that_reason() {
    for (name, why) in [
        ("node-form-javascript", "Error loading module \"crypto\""),
        ("random-javascript", "'get-random-bytes'"),
        ("native-javascript", "No loader is configured for \".node\" files: press.node"),
        ("cgo-go", "build constraints exclude all Go files"),
        ("sockets-c", "undeclared function 'fork'"),
    ] {
        let said = refused(name);
        assert!(said.contains(why), "{name}: {said}");
    }
}

#[test]
fn the_guide_has_the_sizes_of_components() {
    let guide = std::fs::read_to_string(project_root().join("docs/plugin-authors.md")).unwrap();
    let row = guide.lines().find(|line| line.starts_with("| size of the component |")).unwrap();
    let told: Vec<f64> = row.split(" MB").filter_map(|cell| cell.rsplit(' ').next()?.parse().ok()).collect();
    let files = ["widgets", "c", "go", "javascript", "python"];
    assert_eq!(told.len(), files.len(), "{row}");
    for (file, told) in files.into_iter().zip(told) {
        let megabytes = std::fs::metadata(plugin_file(file)).unwrap().len() as f64 / 1e6;
        assert!((0.5..1.5).contains(&(megabytes / told)), "{file} has {megabytes} MB, and not {told}");
    }
    let languages = std::fs::read_to_string(project_root().join("docs/plugin-languages.md")).unwrap();
    for (file, before) in [("works-python", "The component is "), ("works-go", "make a component of ")] {
        let told = languages.split_once(before).unwrap().1.split(' ').next().unwrap().parse::<f64>().unwrap();
        let megabytes = std::fs::metadata(plugin_file(file)).unwrap().len() as f64 / 1e6;
        assert!((0.8..1.2).contains(&(megabytes / told)), "{file} has {megabytes} MB, and not {told}");
    }
}
