//! `elita plugin new`, `check` and `dev`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines};

use super::{redacted, with_widgets};
use crate::harness::{Elita, Setup, plugin_file, project_root};

#[tokio::test]
async fn a_check_says_what_a_server_would_say() {
    let elita = Elita::new();
    let file = |name: &str| plugin_file(name).display().to_string();
    let good = elita.run(&["plugin", "check", &file("widgets")]).await;
    assert_eq!(good.code, 0, "{good}");
    assert!(good.stdout.contains("action\tmy_application DeleteWidgets testing=… count=…\tDeletes widgets"), "{good}");

    // Each plugin that a server refuses is refused for the same reason.
    let bad = ["register-traps", "register-loops", "register-bad-names", "register-duplicates", "register-calls-jobs"];
    let host = Setup::default().plugins(&bad).start().await;
    for name in bad {
        let said = elita.run(&["--json", "plugin", "check", &file(name)]).await;
        assert_eq!(said.code, 1, "{said}");
        let verdict: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        let plugin = host.settled_plugin(name).await;
        assert_eq!(verdict["refused"], plugin["last_error"], "{name}");
    }
    std::fs::write(elita.home().join("no.wasm"), b"nothing").unwrap();
    let said = elita.run(&["plugin", "check", "no.wasm"]).await;
    assert_eq!((said.code, said.stdout.contains("this is not a WebAssembly file")), (1, true), "{said}");
    let narrow = elita.with("ELITA_PLUGIN_FILE_MIB", "1").with("ELITA_PLUGIN_FUNCTIONS", "1");
    let said = narrow.run(&["plugin", "check", &file("widgets")]).await;
    assert_eq!(
        (said.code, said.stdout.contains("more than 1 functions")),
        (1, true),
        "the limits are the server's: {said}"
    );
}

#[tokio::test]
async fn a_new_plugin_has_all_of_the_interface_and_of_the_sdk() {
    let elita = Elita::new();
    let made = elita.run(&["plugin", "new", "hello-world"]).await;
    insta::assert_snapshot!(redacted(&made.to_string()));
    let folder = elita.home().join("hello-world");
    assert_eq!(names(&folder.join("elita/wit")), names(&project_root().join("wit")));
    let sdk: BTreeSet<_> = names(&project_root().join("guest-sdk/src"));
    assert_eq!(names(&folder.join("elita/guest-sdk/src")), sdk);
    assert_eq!(elita.run(&["plugin", "new", "hello-world"]).await.code, 2, "nothing is overwritten");
    assert_eq!(elita.run(&["plugin", "new", "../hello"]).await.code, 2);
    for language in ["python", "javascript", "c", "go"] {
        let made = elita.run(&["plugin", "new", language, "--lang", language]).await;
        assert_eq!(made.code, 0, "{made}");
        assert!(elita.home().join(language).join("plugin.toml").is_file(), "{made}");
        assert_eq!(names(&elita.home().join(language).join("wit/deps/elita")), names(&project_root().join("wit")));
    }
}

/// The files of a folder, without those of tests, which are in folders of their own.
fn names(folder: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).map(|path| path.file_name().unwrap().into()).collect()
}

#[tokio::test]
async fn a_new_plugin_is_built_loaded_and_run_and_again_when_it_changes() {
    let (host, elita) = with_widgets().await;
    assert_eq!(elita.run(&["plugin", "new", "hello"]).await.code, 0);
    let folder = elita.home().join("hello");
    let cargo = format!("{}/scripts/plugin-cargo build --release", project_root().display());
    let file = project_root().join("target/plugins/wasm32-wasip2/release/hello.wasm");
    let plugins = host.plugin_dir().display().to_string();
    let for_cargo = ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"];
    let elita = for_cargo.into_iter().fold(elita, |elita, name| match std::env::var(name) {
        Ok(value) => elita.with(name, &value),
        Err(_) => elita,
    });
    let home = std::env::var("HOME").unwrap();
    let elita = if std::env::var_os("CARGO_HOME").is_none() {
        elita.with("CARGO_HOME", &format!("{home}/.cargo")).with("RUSTUP_HOME", &format!("{home}/.rustup"))
    } else {
        elita
    };
    let dev = ["plugin", "dev", "hello", "--dir", &plugins, "--build", &cargo, "--file", file.to_str().unwrap()];
    let mut developing = elita.start(&dev);
    let mut notes = BufReader::new(developing.stderr.take().unwrap()).lines();
    let mut lines = BufReader::new(developing.stdout.take().unwrap()).lines();
    said(&mut notes, "✓ hello is in force, version 1").await;
    said(&mut notes, "  + action my_application Hello name=…").await;
    let ran = elita.run(&["run", "my_application", "Hello", "name=Ada", "times=2"]).await;
    assert_eq!((ran.code, &*ran.stdout), (0, "\"hello, Ada, hello, Ada\"\n"), "{ran}");
    // It follows the jobs of the plugin, whoever started them.
    said(&mut lines, "\"hello, Ada, hello, Ada\"").await;

    let source = folder.join("src/lib.rs");
    let text = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, text.replace("action(\"Hello\"", "action(\"Welcome\"")).unwrap();
    said(&mut notes, "✓ hello is in force, version 2").await;
    said(&mut notes, "  - action my_application Hello name=…").await;
    said(&mut notes, "  + action my_application Welcome name=…").await;
    std::fs::write(&source, "this is not Rust").unwrap();
    said(&mut notes, "✗ the build failed").await;
}

/// Waits for a line with this text. A compiler may be slow.
pub(super) async fn said(lines: &mut Lines<BufReader<impl AsyncRead + Unpin>>, wanted: &str) {
    let found = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(wanted) {
                return;
            }
        }
        panic!("it ended before it said {wanted}");
    };
    tokio::time::timeout(Duration::from_secs(600), found).await.unwrap_or_else(|_| panic!("it never says {wanted}"));
}
