//! What `elita plugin new` writes: the templates in `cli/templates`, with the SDK, the interface and the helpers of the
//! example plugins, which no registry has. `tests/it/cli` builds each of them and runs its action.

use super::new::Language;

/// A file by its path in the clone, and its bytes.
type File = (&'static str, &'static [u8]);

/// Files of the clone, which become part of this program.
macro_rules! files {
    ($($path:literal,)*) => {
        &[$(($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $path)))),*]
    };
}

const WIT: &[File] = files![
    "wit/actions.wit",
    "wit/applications.wit",
    "wit/builds.wit",
    "wit/git-providers.wit",
    "wit/git-repos.wit",
    "wit/gitdeploys.wit",
    "wit/groups.wit",
    "wit/handler.wit",
    "wit/jobs.wit",
    "wit/log.wit",
    "wit/package-maps.wit",
    "wit/registration.wit",
    "wit/remote.wit",
    "wit/salt.wit",
    "wit/servers.wit",
    "wit/types.wit",
    "wit/world.wit",
];

const SDK: &[File] = files![
    "guest-sdk/src/actions.rs",
    "guest-sdk/src/applications.rs",
    "guest-sdk/src/bindings.rs",
    "guest-sdk/src/builds.rs",
    "guest-sdk/src/calls.rs",
    "guest-sdk/src/error.rs",
    "guest-sdk/src/git_providers.rs",
    "guest-sdk/src/git_repos.rs",
    "guest-sdk/src/gitdeploys.rs",
    "guest-sdk/src/groups.rs",
    "guest-sdk/src/hooks.rs",
    "guest-sdk/src/host.rs",
    "guest-sdk/src/http.rs",
    "guest-sdk/src/jobs.rs",
    "guest-sdk/src/lib.rs",
    "guest-sdk/src/log.rs",
    "guest-sdk/src/names.rs",
    "guest-sdk/src/package_maps.rs",
    "guest-sdk/src/parameters.rs",
    "guest-sdk/src/plugin.rs",
    "guest-sdk/src/remote.rs",
    "guest-sdk/src/salt.rs",
    "guest-sdk/src/servers.rs",
    "guest-sdk/src/testing.rs",
    "guest-sdk/src/testing/host.rs",
    "guest-sdk/src/testing/host/absent.rs",
    "guest-sdk/src/testing/host/actions.rs",
    "guest-sdk/src/testing/host/applications.rs",
    "guest-sdk/src/testing/host/builds.rs",
    "guest-sdk/src/testing/host/http.rs",
    "guest-sdk/src/testing/host/jobs.rs",
    "guest-sdk/src/testing/host/log.rs",
    "guest-sdk/src/testing/upload.rs",
];

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
    "example-plugins/go/elita/actions/actions.go",
    "example-plugins/go/elita/actions/empty.s",
    "example-plugins/go/elita/answer.go",
    "example-plugins/go/elita/applications/applications.go",
    "example-plugins/go/elita/applications/empty.s",
    "example-plugins/go/elita/builds/builds.go",
    "example-plugins/go/elita/builds/empty.s",
    "example-plugins/go/elita/call.go",
    "example-plugins/go/elita/elita.go",
    "example-plugins/go/elita/gitdeploys/empty.s",
    "example-plugins/go/elita/gitdeploys/gitdeploys.go",
    "example-plugins/go/elita/gitproviders/empty.s",
    "example-plugins/go/elita/gitproviders/gitproviders.go",
    "example-plugins/go/elita/gitrepos/empty.s",
    "example-plugins/go/elita/gitrepos/gitrepos.go",
    "example-plugins/go/elita/go.mod",
    "example-plugins/go/elita/groups/empty.s",
    "example-plugins/go/elita/groups/groups.go",
    "example-plugins/go/elita/handler/empty.s",
    "example-plugins/go/elita/handler/handler.go",
    "example-plugins/go/elita/internal/exports/exports.go",
    "example-plugins/go/elita/internal/handler/handler.go",
    "example-plugins/go/elita/internal/registration/registration.go",
    "example-plugins/go/elita/jobs/empty.s",
    "example-plugins/go/elita/jobs/jobs.go",
    "example-plugins/go/elita/log/empty.s",
    "example-plugins/go/elita/log/log.go",
    "example-plugins/go/elita/packagemaps/empty.s",
    "example-plugins/go/elita/packagemaps/packagemaps.go",
    "example-plugins/go/elita/registration/empty.s",
    "example-plugins/go/elita/registration/registration.go",
    "example-plugins/go/elita/remote/empty.s",
    "example-plugins/go/elita/remote/remote.go",
    "example-plugins/go/elita/servers/empty.s",
    "example-plugins/go/elita/servers/servers.go",
    "example-plugins/go/elita/types/empty.s",
    "example-plugins/go/elita/types/types.go",
    "example-plugins/go/elita/wasi_snapshot_preview1.reactor.wasm",
    "example-plugins/go/elita/wit/LICENSE",
    "example-plugins/go/elita/wit/runtime/empty.s",
    "example-plugins/go/elita/wit/runtime/runtime.go",
    "example-plugins/go/elita/wit/types/option.go",
    "example-plugins/go/elita/wit/types/result.go",
    "example-plugins/go/elita/wit/types/tuple.go",
    "example-plugins/go/elita/wit/types/unit.go",
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
    let sdk = if language == Language::Rust { SDK } else { &[] };
    let interface = WIT.iter().map(|(path, bytes)| (path.replacen("wit", place, 1), bytes.to_vec()));
    let sdk = sdk.iter().map(|(path, bytes)| (format!("elita/{path}"), bytes.to_vec()));
    let own = own.iter().map(|(path, bytes)| (place_of(path), filled(path, bytes, named)));
    interface.chain(sdk).chain(own).collect()
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
