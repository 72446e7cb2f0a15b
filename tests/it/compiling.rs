//! Compiling: what it may cost, that nothing waits for it that need not, and when a server is ready.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::process::getuid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{PASSWORD, PATIENCE, Program, Setup, TestHost, elita, eventually, plugin_file, settled_plugin};
use crate::plugins::{active, gone, hostile, put, remove, start};

/// Whose programs can read what all can, and nothing else.
const NOBODY: u32 = 65534;

#[tokio::test]
async fn a_component_that_takes_too_long_to_compile_is_refused_and_remembered() {
    let host = start(hostile().own_cache().flag("--plugin-compile-seconds", 1)).await;
    let reason = refusal_of_large(&host).await;
    insta::assert_snapshot!(reason, @"it cannot be used: compiling it takes more than 1 s of processor time, which is this host's limit");
    assert_remembered(host, &reason).await;
}

#[tokio::test]
async fn a_component_that_takes_too_much_memory_to_compile_is_refused_and_remembered() {
    let host = start(hostile().own_cache().flag("--plugin-compile-mib", 128)).await;
    let reason = refusal_of_large(&host).await;
    insta::assert_snapshot!(reason, @"it cannot be used: compiling it takes more than 128 MiB of memory, which is this host's limit");
    assert_remembered(host, &reason).await;
}

/// Where nothing can be compiled any more, the component is refused all the same, under whatever name.
async fn assert_remembered(host: TestHost, reason: &str) {
    assert_eq!(host.run_action("hostile", "Noop", "").await["status"], "succeeded", "the others go on");
    let host = host.stop().await.with_flag("--plugin-compiler", "/bin/false").start().await;
    put(&host, "again", large());
    assert_eq!(settled_plugin(&host.client, "again").await["last_error"], reason);
}

#[tokio::test]
async fn a_plugin_waits_for_no_large_one_that_is_being_compiled() {
    let compiler = HeldUp::new();
    let host = start(hostile().own_cache().flag("--plugin-compiler", compiler.path())).await;
    put(&host, "large", enlarged("widgets"));
    put(&host, "another", enlarged("build-notes"));
    for name in ["large", "another"] {
        host.plugin(name, compiling).await;
    }

    put(&host, "small", read(&plugin_file("raw")));
    host.plugin("small", active).await;
    remove(&host, "misbehave");
    gone(&host, "misbehave").await;
    remove(&host, "another");
    gone(&host, "another").await;
    assert_eq!(host.client.get("/global/plugins/large").await.body["state"], "compiling");

    compiler.let_go();
    assert!(active(&host.settled_plugin("large").await));
}

#[tokio::test]
async fn a_plugin_waits_for_no_small_ones_that_take_long() {
    let slow = ["widgets", "build-notes"].map(|plugin| read(&plugin_file(plugin)));
    let directory = tempfile::tempdir().unwrap();
    let (compiler, go) = (directory.path().join("compiler"), directory.path().join("go"));
    // With them it uses up its processor time at first, and does not come to an end after that.
    let script = format!(
        "#!/bin/sh\ncase \"$2\" in --bytes={one}|--bytes={other}) case \"$3\" in --seconds=10) kill -XCPU $$;; \
         *) while [ ! -e {go} ]; do /bin/sleep 0.05; done;; esac;; esac\nexec {elita} \"$@\"\n",
        one = slow[0].len(),
        other = slow[1].len(),
        go = go.display(),
        elita = elita().display(),
    );
    std::fs::write(&compiler, script).unwrap();
    std::fs::set_permissions(&compiler, Permissions::from_mode(0o755)).unwrap();
    let host = start(hostile().own_cache().flag("--plugin-compiler", compiler.display())).await;
    for (name, bytes) in ["one", "other"].into_iter().zip(&slow) {
        put(&host, name, bytes);
        host.plugin(name, compiling).await;
    }
    put(&host, "small", read(&plugin_file("raw")));
    host.plugin("small", active).await;
    for name in ["one", "other"] {
        assert_eq!(host.client.get(&format!("/global/plugins/{name}")).await.body["state"], "compiling");
    }
    std::fs::write(&go, "").unwrap();
    for name in ["one", "other"] {
        assert!(active(&host.settled_plugin(name).await), "{name}");
    }
}

#[tokio::test]
async fn a_file_that_is_replaced_while_it_is_compiled_is_not_put_in_force() {
    let compiler = HeldUp::new();
    let host = start(hostile().own_cache().flag("--plugin-compiler", compiler.path())).await;
    put(&host, "widgets", enlarged("widgets"));
    host.plugin("widgets", compiling).await;
    let small = read(&plugin_file("widgets"));
    put(&host, "widgets", &small);
    let plugin = host.plugin("widgets", active).await;
    assert_eq!((&plugin["version"], &plugin["size_bytes"]), (&json!(1), &json!(small.len())), "{plugin:#}");
}

#[tokio::test]
async fn a_server_is_ready_when_the_plugins_that_were_there_are() {
    let compiler = HeldUp::new();
    let setup = Setup::default().own_cache().flag("--plugin-compiler", compiler.path());
    let host = setup.flag("--plugin-start-seconds", 24 * 3600).start().await;
    host.create_application("my_application").await;
    put(&host, "bad", "no component");
    host.settled_plugin("bad").await;
    let stopped = host.stop().await;
    std::fs::write(stopped.plugin_dir().join("widgets.wasm"), enlarged("widgets")).unwrap();

    let host = stopped.start_unready().await;
    host.plugin("widgets", compiling).await;
    let reply = host.client.get("/health/ready").await;
    assert_eq!((reply.status, &reply.body["code"]), (503, &json!("starting")), "{reply}");
    assert_eq!(host.client.get("/health/live").await.status, 200);

    compiler.let_go();
    eventually("the server to be ready", async || (host.client.get("/health/ready").await.status == 200).then_some(()))
        .await;
    let reply = host.client.post_empty("/app/my_application/actions/DeleteWidgets?testing=true&count=1").await;
    assert_eq!(reply.status, 202, "{reply}");
}

#[tokio::test]
async fn a_server_says_that_it_is_ready_after_a_bounded_time() {
    let compiler = HeldUp::new();
    let setup = Setup::default().own_cache().flag("--plugin-compiler", compiler.path());
    let stopped = setup.flag("--plugin-start-seconds", 1).start().await.stop().await;
    std::fs::write(stopped.plugin_dir().join("widgets.wasm"), enlarged("widgets")).unwrap();

    let mut elita = stopped.start_program();
    let (_, client) = tokio::time::timeout(PATIENCE, elita.ready(&stopped.database.token)).await.unwrap();
    assert_eq!(client.get("/global/plugins/widgets").await.body["state"], "compiling");
    assert_eq!(client.get("/health/ready").await.status, 200);
}

#[tokio::test]
async fn a_file_that_changes_in_its_place_with_the_same_size_and_time_is_taken_in() {
    let host = start(hostile()).await;
    let whole = read(&plugin_file("raw"));
    let mut damaged = whole.clone();
    damaged[..4].copy_from_slice(b"asm\0");
    put(&host, "late", &damaged);
    assert_eq!(host.settled_plugin("late").await["state"], "refused");

    let path = host.plugin_dir().join("late.wasm");
    let before = std::fs::metadata(&path).unwrap();
    std::fs::write(&path, &whole).unwrap();
    std::fs::File::options().append(true).open(&path).unwrap().set_modified(before.modified().unwrap()).unwrap();
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!((before.len(), before.modified().unwrap()), (after.len(), after.modified().unwrap()));
    host.plugin("late", active).await;
}

#[tokio::test]
async fn a_file_that_becomes_readable_is_taken_in() {
    let data_dir = tempfile::tempdir().unwrap();
    let plugin_dir = data_dir.path().join("plugins");
    std::fs::create_dir(&plugin_dir).unwrap();
    let file = plugin_dir.join("late.wasm");
    std::fs::copy(plugin_file("raw"), &file).unwrap();
    std::fs::File::options().append(true).open(&file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let readable_by_all = |mode: u32| std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
    readable_by_all(0);

    // Nothing is closed to root.
    let uid = if getuid().is_root() { NOBODY } else { getuid().as_raw() };
    for path in [data_dir.path(), &plugin_dir] {
        std::os::unix::fs::chown(path, Some(uid), None).unwrap();
    }
    let flags = ["--data-dir", data_dir.path().to_str().unwrap(), "--admin-password", PASSWORD];
    let mut elita = Program::serve_as(uid, &flags);
    let (_, client) = elita.ready("").await;
    let log_in = json!({ "username": "admin", "password": PASSWORD });
    let logged_in = client.anonymous().post("/global/tokens", &log_in).await;
    let client = client.with_token(logged_in.body["token"].as_str().unwrap());
    let plugin = settled_plugin(&client, "late").await;
    let reason = plugin["last_error"].as_str().unwrap();
    assert!(reason.starts_with("the file cannot be read (Permission denied"), "{plugin:#}");

    readable_by_all(0o444);
    eventually("the plugin to be active", async || {
        active(&client.get("/global/plugins/late").await.body).then_some(())
    })
    .await;
}

/// A compiler that waits with components of more than 10 MB until it is let go.
pub(crate) struct HeldUp {
    directory: TempDir,
}

impl HeldUp {
    pub(crate) fn new() -> Self {
        let held_up = Self { directory: tempfile::tempdir().unwrap() };
        let script = format!(
            "#!/bin/sh\ncase \"$2\" in --bytes=????????*) while [ ! -e {go} ]; do /bin/sleep 0.05; done;; esac\n\
             exec {elita} \"$@\"\n",
            go = held_up.go().display(),
            elita = elita().display(),
        );
        std::fs::write(held_up.file(), script).unwrap();
        std::fs::set_permissions(held_up.file(), Permissions::from_mode(0o755)).unwrap();
        held_up
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("compiler")
    }

    pub(crate) fn path(&self) -> String {
        self.file().display().to_string()
    }

    fn go(&self) -> PathBuf {
        self.directory.path().join("go")
    }

    pub(crate) fn let_go(&self) {
        std::fs::write(self.go(), "").unwrap();
    }
}

/// A component that takes seconds and much memory to compile.
fn large() -> Vec<u8> {
    read(&plugin_file("python"))
}

/// The component of a plugin, with a section of 12 MB that says nothing, and is compiled in no time.
pub(crate) fn enlarged(plugin: &str) -> Vec<u8> {
    let mut bytes = read(&plugin_file(plugin));
    let length: u32 = 12_000_000;
    // A custom section, and its length in LEB128.
    bytes.push(0);
    bytes.extend((0..5).map(|byte| (length >> (7 * byte)) as u8 & 0x7f | if byte < 4 { 0x80 } else { 0 }));
    bytes.extend([1, b'x']);
    bytes.resize(bytes.len() + length as usize - 2, 0);
    bytes
}

fn read(file: &Path) -> Vec<u8> {
    std::fs::read(file).unwrap()
}

fn compiling(plugin: &Value) -> bool {
    plugin["state"] == "compiling"
}

async fn refusal_of_large(host: &TestHost) -> String {
    put(host, "large", large());
    let plugin = host.settled_plugin("large").await;
    assert_eq!(plugin["state"], "refused", "{plugin:#}");
    plugin["last_error"].as_str().unwrap().to_owned()
}
