//! The plugin directory, from a file to a plugin in force or to the reason why it is not.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::harness::{Setup, TestHost, core_module, eventually, plugin_file};

/// The exports that every plugin must have, with nothing in them.
const HOLLOW: &str = r#"(instance $hollow)
    (export "elita:plugin/registration@0.1.0" (instance $hollow))
    (export "elita:plugin/handler@0.1.0" (instance $hollow))"#;

// What is not a component

#[tokio::test]
async fn a_core_module_is_refused() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "suspect", core_module("(module)")).await;
    insta::assert_snapshot!(reason, @"this is a core module, not a component; build it for wasm32-wasip2, or wrap it with `wasm-tools component new`");
}

#[tokio::test]
async fn what_is_not_even_webassembly_is_refused() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "garbage", "#!/bin/sh\necho this is a shell script\n").await;
    insta::assert_snapshot!(reason, @r#"this is not a WebAssembly file: it does not begin with `\0asm`"#);
    let reason = refusal(&host, "empty", "").await;
    insta::assert_snapshot!(reason, @r#"this is not a WebAssembly file: it does not begin with `\0asm`"#);
}

#[tokio::test]
async fn a_component_that_ends_too_soon_is_refused() {
    let host = start(hostile()).await;
    let whole = bytes_of("raw");
    let reason = refusal(&host, "suspect", &whole[..whole.len() / 2]).await;
    assert!(reason.starts_with("this is not a valid component: unexpected end-of-file"), "{reason}");
}

#[tokio::test]
async fn a_precompiled_file_is_refused_even_if_this_host_compiled_it() {
    let host = start(hostile()).await;
    let digest = host.settled_plugin("misbehave").await["digest"].as_str().unwrap().replace("sha256:", "");
    let cache = host.plugin_dir().with_file_name("cache");
    let mut compiled =
        std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path().join(format!("{digest}.cwasm")));
    let compiled = compiled.find(|file| file.exists()).unwrap();
    let reason = refusal(&host, "suspect", std::fs::read(compiled).unwrap()).await;
    insta::assert_snapshot!(reason, @"this is a precompiled file (.cwasm); only components in their portable form are taken, so put the .wasm here");
}

// What asks for something else, or offers it

#[tokio::test]
async fn an_import_that_nobody_offers_is_named() {
    let host = start(hostile()).await;
    let reason =
        refusal(&host, "of-another-world", of_text(r#"(import "acme:database/query@1.0.0" (instance))"#)).await;
    insta::assert_snapshot!(reason, @"it imports `acme:database/query@1.0.0`, which this host does not offer");
    let reason = refusal(&host, "of-ours", of_text(r#"(import "elita:plugin/secrets@0.1.0" (instance))"#)).await;
    insta::assert_snapshot!(reason, @"it imports `elita:plugin/secrets@0.1.0`, which this host does not offer: build it with the WIT of this Elita, or update the server if the plugin's is newer");
    let reason = refusal(&host, "of-wasi", of_text(r#"(import "wasi:http/incoming-handler@0.2.3" (instance))"#)).await;
    insta::assert_snapshot!(reason, @"it imports `wasi:http/incoming-handler@0.2.3`, which this host does not offer");
}

#[tokio::test]
async fn another_version_of_wasi_is_refused_with_the_one_that_is_offered() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "suspect", of_text(r#"(import "wasi:cli/stdout@0.3.0" (instance))"#)).await;
    insta::assert_snapshot!(reason, @"it imports `wasi:cli/stdout@0.3.0`, and this host offers version 0.2 of WASI");
}

#[tokio::test]
async fn a_function_that_an_offered_interface_lacks_is_named() {
    let host = start(hostile()).await;
    let import = r#"(import "elita:plugin/jobs@0.1.0" (instance (export "steal" (func))))"#;
    let reason = refusal(&host, "suspect", of_text(&format!("{import}{HOLLOW}"))).await;
    insta::assert_snapshot!(reason, @"it cannot be used: it imports the function `steal` of `elita:plugin/jobs@0.1.0`, which this host does not offer: build it with the WIT of this Elita, or update the server if the plugin's is newer");
}

#[tokio::test]
async fn an_export_that_is_missing_is_named() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "no-exports", of_text("")).await;
    insta::assert_snapshot!(reason, @"it does not export `elita:plugin/registration@0.1.0`, as every plugin must");
    let half = r#"(instance $hollow) (export "elita:plugin/registration@0.1.0" (instance $hollow))"#;
    let reason = refusal(&host, "half-the-exports", of_text(half)).await;
    insta::assert_snapshot!(reason, @"it does not export `elita:plugin/handler@0.1.0`, as every plugin must");
}

#[tokio::test]
async fn a_function_that_an_export_lacks_is_named() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "suspect", of_text(HOLLOW)).await;
    insta::assert_snapshot!(reason, @"it cannot be used: instance export `elita:plugin/registration@0.1.0` does not have export `register-actions`");
}

#[tokio::test]
async fn a_plugin_for_another_version_of_the_wit_is_refused_with_both_versions() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "suspect", of_wit_version(b"@0.2.0")).await;
    insta::assert_snapshot!(reason, @"it was built for elita:plugin@0.2.0, and this host offers elita:plugin@0.1.0; build it with that WIT");
}

// What is too much

#[tokio::test]
async fn memories_that_the_sandbox_cannot_bound_are_refused() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "many", of_module(&"(memory 1)".repeat(100))).await;
    insta::assert_snapshot!(reason, @"it has more than 8 memories, which is this host's limit");
    let reason = refusal(&host, "shared", of_module("(memory 1 1 shared)")).await;
    insta::assert_snapshot!(reason, @"it has a shared memory; plugins are single-threaded");
    let reason = refusal(&host, "memory64", of_module("(memory i64 1)")).await;
    insta::assert_snapshot!(reason, @"it has a 64-bit memory; build it for wasm32");
    let reason = refusal(&host, "large", of_module("(memory 60000)")).await;
    insta::assert_snapshot!(reason, @"its memories begin with more than 256 MiB, which is this host's limit");
}

#[tokio::test]
async fn too_many_tables_are_refused() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "many", of_module(&"(table 1 funcref)".repeat(100))).await;
    insta::assert_snapshot!(reason, @"it has more than 64 tables, which is this host's limit");
    let reason = refusal(&host, "large", of_module("(table 1000000 funcref)")).await;
    insta::assert_snapshot!(reason, @"its tables begin with more than 100000 elements, which is this host's limit");
}

#[tokio::test]
async fn too_many_core_instances_are_refused_however_they_are_nested() {
    let host = start(hostile()).await;
    let module = "(core module $module)";
    let instances = "(core instance (instantiate $module))".repeat(100);
    let reason = refusal(&host, "flat", of_text(&format!("{module}{instances}{HOLLOW}"))).await;
    insta::assert_snapshot!(reason, @"it has more than 64 core instances, which is this host's limit");

    // Ten components of ten instances each: few to read, many to run.
    let instances = "(core instance (instantiate $module))".repeat(10);
    let components = "(instance (instantiate $component))".repeat(10);
    let nested = format!("(component $component {module}{instances}) {components}{HOLLOW}");
    let reason = refusal(&host, "nested", of_text(&nested)).await;
    insta::assert_snapshot!(reason, @"it cannot be used: The component transitively contains 100 core module instances, which exceeds the configured maximum of 64 in the pooling allocator");
}

#[tokio::test]
async fn components_that_instantiate_each_other_twice_are_refused_before_they_are_compiled() {
    let host = start(hostile()).await;
    // 40 components of a few bytes, which are 2^40 when they are written out.
    let doubling = |number: u32| {
        let twice = format!("(instance (instantiate $c{}))", number - 1).repeat(2);
        format!("(component $c{number} {twice})")
    };
    let nested: String = (1..=40).map(doubling).collect();
    let text = format!("(component $c0) {nested} (instance (instantiate $c40)) {HOLLOW}");
    let reason = refusal(&host, "suspect", of_text(&text)).await;
    insta::assert_snapshot!(reason, @"its nested components may make more than 64 instances, which is this host's limit");
}

#[tokio::test]
async fn a_component_of_too_many_functions_is_refused_before_it_is_compiled() {
    let host = start(hostile().flag("--plugin-functions", 5000)).await;
    let reason = refusal(&host, "suspect", of_module(&"(func)".repeat(5001))).await;
    insta::assert_snapshot!(reason, @"it has more than 5000 functions, which is this host's limit");
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_unread() {
    let host = start(hostile().flag("--plugin-file-mib", 1)).await;
    let reason = refusal(&host, "suspect", vec![0; (1 << 20) + 1]).await;
    insta::assert_snapshot!(reason, @"the file has 1048577 bytes, and at most 1048576 are taken");
}

// What registers badly

#[tokio::test]
async fn a_plugin_that_traps_while_it_registers_is_refused() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "suspect", bytes_of("register-traps")).await;
    insta::assert_snapshot!(reason, @"registering failed (trap): the plugin trapped: wasm `unreachable` instruction executed");
}

#[tokio::test]
async fn a_plugin_that_never_comes_back_from_registering_is_refused() {
    let host = start(hostile().flag("--plugin-registration-ms", 300)).await;
    let reason = refusal(&host, "loops", bytes_of("register-loops")).await;
    insta::assert_snapshot!(reason, @"registering failed (time-limit-exceeded): the plugin was stopped at its time limit of 300ms");
    let reason = refusal(&host, "sleeps", bytes_of("register-sleeps")).await;
    insta::assert_snapshot!(reason, @"registering failed (time-limit-exceeded): the plugin was stopped at its time limit of 300ms");
}

#[tokio::test]
async fn a_plugin_that_calls_the_host_while_it_registers_is_refused() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "suspect", bytes_of("register-calls-jobs")).await;
    insta::assert_snapshot!(reason, @"registering failed (trap): the plugin was stopped: it called jobs.append while it was registering; only WASI may be called then");
}

#[tokio::test]
async fn a_plugin_that_sends_a_request_while_it_registers_is_refused() {
    let host = start(hostile().granting("suspect", r#"http = ["127.0.0.1:1"]"#)).await;
    let reason = refusal(&host, "suspect", bytes_of("register-calls-http")).await;
    insta::assert_snapshot!(reason, @"registering failed (trap): the plugin was stopped: it called wasi:http/outgoing-handler.handle while it was registering; only WASI may be called then");
}

#[tokio::test]
async fn a_plugin_that_registers_an_action_twice_is_refused() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "suspect", bytes_of("register-duplicates")).await;
    insta::assert_snapshot!(reason, @"it registers action `Twice` of application `hostile` twice");
}

#[tokio::test]
async fn a_plugin_that_registers_a_name_which_no_url_can_have_is_refused() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "suspect", bytes_of("register-bad-names")).await;
    insta::assert_snapshot!(reason, @r#"it registers the name "delete/widgets": action: a name is 1 to 128 of `A-Z a-z 0-9 . _ -` and starts with a letter or a digit"#);
}

#[tokio::test]
async fn a_plugin_that_registers_thousands_of_actions_is_refused() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "suspect", bytes_of("register-many")).await;
    insta::assert_snapshot!(reason, @"it registers 10001 actions, and this host takes 1000");
}

#[tokio::test]
async fn a_timeout_beyond_all_bounds_is_no_reason_to_refuse_a_plugin() {
    let host = Setup::default().plugins(&["raw"]).start().await;
    let plugin = host.settled_plugin("raw").await;
    assert_eq!(plugin["actions"][0]["timeout_seconds"], i32::MAX, "{plugin:#}");
}

#[tokio::test]
async fn a_nul_in_a_components_names_is_made_visible() {
    let host = start(hostile()).await;
    let module = r#"(core module $module (import "be\00fore" "x" (func))) (core instance (instantiate $module))"#;
    let reason = refusal(&host, "suspect", of_text(&format!("{module}{HOLLOW}"))).await;
    insta::assert_snapshot!(reason, @"it cannot be used: failed to parse WebAssembly module: missing module instantiation argument named `be�fore` (at offset 0x3a)");
}

#[tokio::test]
async fn a_plugin_cannot_have_the_hosts_own_name() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "host", bytes_of("raw")).await;
    insta::assert_snapshot!(reason, @"a plugin cannot be called `host`, which is how the host signs its own entries");
}

// What gets in each other's way

#[tokio::test]
async fn of_two_plugins_with_the_same_action_the_first_stays_and_the_second_waits_for_its_end() {
    let host = start(hostile()).await;
    let reason = refusal(&host, "usurper", bytes_of("register-two")).await;
    insta::assert_snapshot!(reason, @"plugin `usurper` registers action `Echo` of application `hostile`, which plugin `misbehave` has registered already");
    assert_eq!(host.client.post_empty("/app/hostile/actions/Unique").await.status, 404);

    remove(&host, "misbehave");
    host.plugin("usurper", active).await;
    let job = host.run_action("hostile", "Echo", "").await;
    assert_eq!(job["result"], "register-two", "{job:#}");
    assert_eq!(job["plugin"]["name"], "usurper");
}

#[tokio::test]
async fn a_plugin_that_waits_for_an_action_gets_it_when_its_owner_no_longer_registers_it() {
    let host = start(hostile()).await;
    refusal(&host, "usurper", bytes_of("register-two")).await;
    put(&host, "misbehave", bytes_of("raw"));
    host.plugin("usurper", active).await;
    assert!(active(&host.settled_plugin("misbehave").await));
}

// What changes while the server runs

#[tokio::test]
async fn a_file_that_is_replaced_takes_effect_at_once_and_what_runs_ends_on_the_version_it_began_with() {
    let host = start(hostile().flag("--plugin-timeout-seconds", 10)).await;
    let first = host.settled_plugin("misbehave").await;
    let running = host.post_action("hostile", "Sleep", "").await;
    host.running_job(&running).await;

    put(&host, "misbehave", bytes_of("register-two"));
    let second = host.plugin("misbehave", |plugin| plugin["version"] == 2).await;
    assert_ne!(first["digest"], second["digest"]);
    let job = host.run_action("hostile", "Unique", "").await;
    assert_eq!(job["plugin"], json!({ "name": "misbehave", "digest": second["digest"] }));
    assert_eq!(job["status"], "succeeded", "{job:#}");

    let old = host.client.get(&format!("/job/{running}")).await.body;
    assert_eq!((&old["status"], &old["plugin"]["digest"]), (&json!("running"), &first["digest"]));
    assert_eq!(host.ended_job(&running).await["error"]["code"], "time-limit-exceeded");
}

#[tokio::test]
async fn a_job_that_waited_while_its_plugin_was_replaced_runs_on_the_version_it_was_made_for() {
    let host = start(hostile().flag("--plugin-runs", 1).flag("--plugin-timeout-seconds", 3)).await;
    let first = host.settled_plugin("misbehave").await;
    let running = host.post_action("hostile", "Sleep", "").await;
    host.running_job(&running).await;
    let waiting = host.post_action("hostile", "Echo", "said=before").await;

    put(&host, "misbehave", bytes_of("register-two"));
    host.plugin("misbehave", |plugin| plugin["version"] == 2).await;
    let job = host.ended_job(&waiting).await;
    assert_eq!(job["plugin"]["digest"], first["digest"]);
    assert_eq!(job["result"]["parameters"], json!([["said", "before"]]));
}

#[tokio::test]
async fn a_bad_file_over_a_good_one_leaves_the_good_version_active_and_says_why() {
    let host = start(hostile()).await;
    let before = host.settled_plugin("misbehave").await;
    assert_eq!(before["last_error"], Value::Null);

    put(&host, "misbehave", "oops");
    let after = host.plugin("misbehave", |plugin| plugin["last_error"].is_string()).await;
    insta::assert_snapshot!(after["last_error"].as_str().unwrap(), @r#"this is not a WebAssembly file: it does not begin with `\0asm`"#);
    for kept in ["state", "digest", "version", "actions"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
    assert_noop_works(&host).await;

    put(&host, "misbehave", bytes_of("misbehave"));
    host.plugin("misbehave", |plugin| plugin["last_error"].is_null()).await;
}

#[tokio::test]
async fn a_file_that_is_written_haltingly_is_taken_in_once_it_is_complete() {
    let host = start(hostile()).await;
    let whole = bytes_of("raw");
    let (half, rest) = whole.split_at(whole.len() / 2);
    let file = host.plugin_dir().join("slow.wasm");
    std::fs::write(&file, half).unwrap();
    host.plugin("slow", refused).await;

    let mut file = std::fs::File::options().append(true).open(file).unwrap();
    std::io::Write::write_all(&mut file, rest).unwrap();
    let plugin = host.plugin("slow", active).await;
    assert_eq!(plugin["last_error"], Value::Null);
}

#[tokio::test]
async fn a_file_that_goes_takes_its_plugin_and_its_actions_with_it() {
    let host = start(hostile().plugins(&["raw"])).await;
    remove(&host, "misbehave");
    gone(&host, "misbehave").await;
    eventually("its actions to be gone", async || {
        (host.client.post_empty("/app/hostile/actions/Noop").await.status == 404).then_some(())
    })
    .await;
    assert!(active(&host.settled_plugin("raw").await));
}

#[tokio::test]
async fn a_directory_that_cannot_be_read_for_a_while_takes_no_plugin_away() {
    let host = start(hostile().flag("--plugin-timeout-seconds", 1)).await;
    let before = host.settled_plugin("misbehave").await;
    let away = host.plugin_dir().with_file_name("away");
    std::fs::rename(host.plugin_dir(), &away).unwrap();
    // This takes a second, in which the directory is looked at.
    host.run_action("hostile", "Sleep", "").await;
    assert_eq!(host.client.get("/global/plugins/misbehave").await.body, before);
    std::fs::rename(away, host.plugin_dir()).unwrap();
    put(&host, "late", bytes_of("raw"));
    host.plugin("late", active).await;
    assert_eq!(host.client.get("/global/plugins/misbehave").await.body, before);
}

#[tokio::test]
async fn a_plugin_is_taken_in_while_all_runs_are_taken() {
    let host = start(hostile().flag("--plugin-runs", 1)).await;
    let running = host.post_action("hostile", "Sleep", "").await;
    host.running_job(&running).await;
    put(&host, "late", bytes_of("raw"));
    host.plugin("late", active).await;
    assert_eq!(host.client.get(&format!("/job/{running}")).await.body["status"], "running");
}

#[tokio::test]
async fn what_changed_while_the_server_was_away_is_seen_when_it_is_back() {
    let host = start(hostile().plugins(&["raw"])).await;
    remove(&host, "raw");
    put(&host, "misbehave", bytes_of("register-two"));
    let host = host.restart().await;
    gone(&host, "raw").await;
    host.plugin("misbehave", |plugin| plugin["version"] == 2).await;
}

#[tokio::test]
async fn a_restart_takes_nothing_in_again() {
    let host = start(hostile()).await;
    let before = host.settled_plugin("misbehave").await;
    let host = host.restart().await;
    // Files are taken in by name, so that this one's turn comes later.
    put(&host, "raw", bytes_of("raw"));
    host.plugin("raw", active).await;
    assert_noop_works(&host).await;
    assert_eq!(host.client.get("/global/plugins/misbehave").await.body, before);
}

// What is in force

#[tokio::test]
async fn actions_are_reachable_as_soon_as_their_application_exists() {
    let host = Setup::default().plugins(&["widgets"]).start().await;
    let action = "/app/my_application/actions/DeleteWidgets";
    assert_eq!(host.client.post_empty(&format!("{action}?testing=true&count=1")).await.status, 404);
    host.create_application("my_application").await;
    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
}

#[tokio::test]
async fn a_plugins_document_shows_what_it_registers_and_imports() {
    let host = Setup::default().plugins(&["build-notes", "widgets"]).start().await;
    let notes = host.settled_plugin("build-notes").await;
    insta::assert_json_snapshot!(notes["hooks"], @r#"
    [
      {
        "application": "my_application",
        "hooks": [
          "BUILD_UPLOAD_SUCCESS",
          "GITDEPLOY_COMMIT_DIFF"
        ]
      }
    ]
    "#);
    assert_eq!(notes["actions"], json!([]));
    assert!(notes["imports"].as_array().unwrap().contains(&json!("elita:plugin/jobs@0.1.0")), "{notes:#}");
    let widgets = host.settled_plugin("widgets").await;
    insta::assert_json_snapshot!(widgets["actions"], @r#"
    [
      {
        "application": "my_application",
        "name": "DeleteWidgets",
        "description": "Deletes widgets",
        "parameters": [
          {
            "name": "testing",
            "type": "boolean (string)",
            "description": "do not delete widgets for real (true or false)"
          },
          {
            "name": "count",
            "type": "integer",
            "description": "number of widgets to delete"
          }
        ],
        "idempotent": false,
        "timeout_seconds": null
      }
    ]
    "#);
    assert_eq!(widgets["hooks"], json!([{ "application": "my_application", "hooks": ["BUILD_UPLOAD_SUCCESS"] }]));
    assert!(!widgets["imports"].to_string().contains("wasi:http"), "what is not used is not imported: {widgets:#}");
}

/// The hostile plugin, to be started with [`start`].
pub(crate) fn hostile() -> Setup {
    Setup::default().plugins(&["misbehave"])
}

/// Starts the host and makes the application that the hostile plugins are for.
pub(crate) async fn start(setup: Setup) -> TestHost {
    let host = setup.start().await;
    assert!(
        active(&host.settled_plugin("misbehave").await),
        "the limits are too low for the plugin that is to pass them"
    );
    host.create_application("hostile").await;
    host
}

/// Puts a plugin's file in its place, at once and with an age, so that it is taken to be complete.
pub(crate) fn put(host: &TestHost, name: &str, bytes: impl AsRef<[u8]>) {
    let unfinished = host.plugin_dir().join(format!("{name}.part"));
    std::fs::write(&unfinished, bytes).unwrap();
    let file = std::fs::File::options().append(true).open(&unfinished).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    std::fs::rename(unfinished, host.plugin_dir().join(format!("{name}.wasm"))).unwrap();
}

/// Whether a plugin's document says that it is in force.
pub(crate) fn active(plugin: &Value) -> bool {
    plugin["state"] == "active"
}

fn refused(plugin: &Value) -> bool {
    plugin["state"] == "refused"
}

pub(crate) fn remove(host: &TestHost, name: &str) {
    std::fs::remove_file(host.plugin_dir().join(format!("{name}.wasm"))).unwrap();
}

/// Waits until nothing is known of a plugin any more.
pub(crate) async fn gone(host: &TestHost, name: &str) {
    eventually(&format!("plugin {name} to be gone"), async || {
        (host.client.get(&format!("/global/plugins/{name}")).await.status == 404).then_some(())
    })
    .await;
}

/// Puts a file in its place and returns why it is refused; the plugin beside it must not notice.
async fn refusal(host: &TestHost, name: &str, bytes: impl AsRef<[u8]>) -> String {
    put(host, name, bytes);
    let plugin = host.settled_plugin(name).await;
    assert!(refused(&plugin), "{plugin:#}");
    assert_eq!(plugin["digest"], Value::Null);
    assert_noop_works(host).await;
    plugin["last_error"].as_str().unwrap().to_owned()
}

async fn assert_noop_works(host: &TestHost) {
    let job = host.run_action("hostile", "Noop", "").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
}

/// The component of a plugin that was built.
fn bytes_of(plugin: &str) -> Vec<u8> {
    std::fs::read(plugin_file(plugin)).unwrap()
}

/// A component of these fields in the text format.
fn of_text(fields: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {fields})")).unwrap()
}

/// A component that is not a plugin for lack of functions, around a core module of these fields.
fn of_module(fields: &str) -> Vec<u8> {
    of_text(&format!("(core module {fields}) {HOLLOW}"))
}

/// A plugin as it would be for another version of the WIT package, which is in the names of its imports and exports.
fn of_wit_version(version: &[u8; 6]) -> Vec<u8> {
    let mut bytes = bytes_of("raw");
    while let Some(at) = bytes.windows(version.len()).position(|bytes| bytes == b"@0.1.0") {
        bytes[at..][..version.len()].copy_from_slice(version);
    }
    bytes
}

// Who sees what

#[tokio::test]
async fn who_may_read_an_application_sees_the_plugins_that_are_for_it() {
    let host = TestHost::with_plugins(&["widgets", "misbehave"]).await;
    let reader = host.guest(&json!({ "apps": { "my_application": "read" } })).await;
    let listed = reader.get("/global/plugins").await;
    assert_eq!(listed.items("name"), ["widgets"], "{listed}");
    let whole = host.client.get("/global/plugins/widgets").await.body;
    let shown = reader.get("/global/plugins/widgets").await.body;
    assert_eq!(shown, listed.body["items"][0], "{shown:#}");
    for member in ["name", "state", "version", "digest", "actions", "hooks", "last_error"] {
        assert_eq!(shown[member], whole[member], "{member}: {shown:#}");
    }
    for member in ["imports", "access"] {
        assert!(whole.get(member).is_some() && shown.get(member).is_none(), "{member}: {shown:#}");
    }
    assert_eq!(reader.get("/global/plugins/misbehave").await.status, 404);

    // Why its newest file was refused is for its author, too.
    let file = host.plugin_dir().join("widgets.wasm");
    std::fs::write(file.with_extension("new"), "no component").unwrap();
    std::fs::rename(file.with_extension("new"), file).unwrap();
    let refused = eventually("the reason", async || {
        let shown = reader.get("/global/plugins/widgets").await.body;
        shown["last_error"].is_string().then_some(shown)
    })
    .await;
    assert!(refused["last_error"].as_str().unwrap().contains("not a WebAssembly file"), "{refused:#}");
}

#[tokio::test]
async fn of_a_plugin_for_several_applications_one_sees_what_is_for_ones_own() {
    let host = TestHost::with_plugins(&["widgets"]).await;
    let elsewhere = "insert into plugin_actions (application, name, plugin, description, parameters, idempotent)
        values ('secret', 'Do', 'widgets', '', '[]', false)";
    sqlx::query(elsewhere).execute(&mut host.database.connect().await).await.unwrap();
    let reader = host.guest(&json!({ "apps": { "my_application": "read" } })).await;
    let applications = |plugin: &Value| {
        let actions = plugin["actions"].as_array().unwrap().iter();
        actions.map(|action| action["application"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let shown = host.client.get("/global/plugins/widgets").await.body;
    assert!(applications(&shown).contains(&"secret".to_owned()), "{shown:#}");
    let shown = reader.get("/global/plugins/widgets").await.body;
    assert!(applications(&shown).iter().all(|name| name == "my_application"), "{shown:#}");
}
