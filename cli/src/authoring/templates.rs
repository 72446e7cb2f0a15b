//! What `elita plugin new` writes: the templates in `cli/templates`, with the SDK, the interface and the helpers of the
//! example plugins, which no registry has. `tests/it/cli` builds each of them and runs its action.

use include_dir::{Dir, include_dir};

use super::new::Language;

/// A file by its path in the clone, and its bytes.
type File = (&'static str, &'static [u8]);

/// Files of the clone, which become part of this program.
macro_rules! files {
    ($($path:literal,)*) => {
        &[$(($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $path)))),*]
    };
}

/// Whole folders, so that a new file in them is nowhere else to be named. `build.rs` says when to look again.
static WIT: Dir = include_dir!("$CARGO_MANIFEST_DIR/../wit");
static SDK: Dir = include_dir!("$CARGO_MANIFEST_DIR/../guest-sdk/src");
static GO_MODULE: Dir = include_dir!("$CARGO_MANIFEST_DIR/../example-plugins/go/elita");

const RUST: &[File] = files![
    "cli/templates/rust/Cargo.toml",
    "cli/templates/rust/gitignore",
    "cli/templates/rust/plugin.toml",
    "cli/templates/rust/elita/guest-sdk/Cargo.toml",
    "cli/templates/rust/src/lib.rs",
];

const PYTHON: &[File] = files![
    "cli/templates/python/gitignore",
    "cli/templates/python/plugin.py",
    "cli/templates/python/plugin.toml",
    "cli/templates/python/wit/world.wit",
    "example-plugins/python/elita-plugin/pyproject.toml",
    "example-plugins/python/elita-plugin/src/elita_plugin/__init__.py",
    "example-plugins/python/elita-plugin/src/elita_plugin/_off_host.py",
    "example-plugins/python/elita-plugin/src/elita_plugin/hooks.py",
    "example-plugins/python/elita-plugin/src/elita_plugin/py.typed",
    "example-plugins/python/elita-plugin/src/elita_plugin/testing.py",
    "example-plugins/python/requirements.txt",
];

const JAVASCRIPT: &[File] = files![
    "cli/templates/javascript/gitignore",
    "cli/templates/javascript/plugin.js",
    "cli/templates/javascript/plugin.toml",
    "cli/templates/javascript/wit/world.wit",
    "example-plugins/javascript/elita-plugin/index.d.ts",
    "example-plugins/javascript/elita-plugin/index.js",
    "example-plugins/javascript/elita-plugin/package.json",
    "example-plugins/javascript/elita-plugin/testing/hooks.js",
    "example-plugins/javascript/elita-plugin/testing/host.js",
    "example-plugins/javascript/elita-plugin/testing/index.d.ts",
    "example-plugins/javascript/elita-plugin/testing/index.js",
    "example-plugins/javascript/elita-plugin/testing/remote.js",
    "example-plugins/javascript/package-lock.json",
    "example-plugins/javascript/package.json",
];

const C: &[File] = files![
    "cli/templates/c/gitignore",
    "cli/templates/c/plugin.c",
    "cli/templates/c/plugin.toml",
    "example-plugins/c/Makefile",
    "example-plugins/c/bindings/widgets.c",
    "example-plugins/c/bindings/widgets.h",
    "example-plugins/c/bindings/widgets_component_type.o",
    "example-plugins/c/elita.c",
    "example-plugins/c/elita.h",
    "example-plugins/c/requirements.txt",
    "example-plugins/c/wit/world.wit",
];

const GO: &[File] = files![
    "cli/templates/go/gitignore",
    "cli/templates/go/plugin.go",
    "cli/templates/go/plugin.toml",
    "example-plugins/go/Makefile",
    "example-plugins/go/go.mod",
    "example-plugins/go/requirements.txt",
];

/// What the templates' own words are replaced by.
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) action: &'a str,
    pub(super) app: &'a str,
}

/// All files of a plugin, by their path in its folder.
pub(super) fn files(language: Language, named: &Named<'_>) -> Vec<(String, Vec<u8>)> {
    let (own, place) = match language {
        Language::Rust => (RUST, "elita/wit"),
        Language::Python => (PYTHON, "wit/deps/elita"),
        Language::Javascript => (JAVASCRIPT, "wit/deps/elita"),
        Language::C => (C, "wit/deps/elita"),
        Language::Go => (GO, "wit/deps/elita"),
    };
    let mut files = within(&WIT, place);
    match language {
        Language::Rust => files.extend(within(&SDK, "elita/guest-sdk/src")),
        Language::Go => files.extend(within(&GO_MODULE, "elita")),
        Language::Python | Language::Javascript | Language::C => {}
    }
    files.extend(own.iter().map(|(path, bytes)| (place_of(path), filled(path, bytes, named))));
    files
}

/// The files of a folder without its unit tests, with their paths below `place`.
fn within(folder: &Dir<'_>, place: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for file in folder.files().filter(|file| !file.path().ends_with("tests.rs")) {
        files.push((format!("{place}/{}", file.path().display()), file.contents().to_vec()));
    }
    files.extend(folder.dirs().flat_map(|folder| within(folder, place)));
    files
}

/// What has to be done once before the first build.
pub(super) fn prepare(language: Language) -> &'static [&'static str] {
    match language {
        Language::Rust => &["rustup target add wasm32-wasip2"],
        Language::Python | Language::C | Language::Go => {
            &["python3 -m venv venv && . venv/bin/activate && pip install -r requirements.txt"]
        }
        Language::Javascript => &["npm ci"],
    }
}

/// Where a file of a template or an example goes.
fn place_of(path: &str) -> String {
    // `cli/templates/rust/` and `example-plugins/python/` stand before it.
    let before = if path.starts_with("cli/") { 3 } else { 2 };
    let path = path.splitn(before + 1, '/').nth(before).unwrap_or(path);
    // In a template it would hide files from git here.
    if path == "gitignore" { ".gitignore".into() } else { path.to_owned() }
}

/// The file, with the plugin's name, action and application in it. The bindings of C are made for a world called
/// `widgets`, which keeps its name.
fn filled(path: &str, bytes: &[u8], named: &Named<'_>) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) if path.starts_with("cli/") => text
            .replace("my-plugin", named.name)
            .replace("my_plugin", &named.name.replace('-', "_"))
            .replace("MyAction", named.action)
            .replace("my_application", named.app)
            .into_bytes(),
        Ok(text) if path.ends_with("package.json") && path.matches('/').count() == 2 => renamed(text, named),
        Ok(text) if path.ends_with("package-lock.json") => renamed(text, named),
        Ok(text) if path.ends_with("plugins/go/go.mod") => renamed(text, named),
        Ok(text) if path.ends_with("Makefile") => {
            text.replace("widgets.wasm", &format!("{}.wasm", named.name)).into_bytes()
        }
        Ok(_) | Err(_) => bytes.to_vec(),
    }
}

fn renamed(text: &str, named: &Named<'_>) -> Vec<u8> {
    text.replace("widgets", named.name).into_bytes()
}
