//! The two doors and the guests' side are in step: WIT, OpenAPI, and the component that calls everything.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use wit_component::{StringEncoding, WitPrinter, embed_component_metadata, metadata};
use wit_parser::{Resolve, WorldItem};

use crate::doors;
use crate::harness::{TestHost, core_module, project_root};

/// What is offered at one door only, with the reason.
const ONLY_IN_WIT: [(&str, &str); 41] = [
    ("builds.add-package", "only the hook of an upload adds packages"),
    ("builds.package-writer.write", "the same"),
    ("builds.package-writer.finish", "the same"),
    ("builds.read-package", "a client gets the whole, by `builds.package`"),
    ("deployments.plan", "a client asks `deployments.create` for it, with `dry_run`"),
    ("deployments.start", "a client asks `deployments.create` for it"),
    ("deployments.cancel", "a client asks `deployments.run` for it"),
    ("deployments.resume", "the same"),
    ("deployments.rollback", "the same"),
    ("gitdeploys.initialize", "a client asks `gitdeploys.run` for it"),
    ("gitdeploys.deinitialize", "the same"),
    ("jobs.append", "only the running plugin writes to its job's log"),
    ("jobs.progress", "the same"),
    ("jobs.cancel-requested", "a client sees it in the job"),
    ("jobs.current", "a client has no current job"),
    ("jobs.tail", "a client asks `jobs.entries` for it, whose parameters can grow"),
    ("jobs.before", "the same"),
    ("jobs.standing", "it is in the job's document, and a record in WIT cannot grow"),
    ("log.write", "the server's log is for operators"),
    ("remote.append-to-file", "a client sends commands, by `servers.command`"),
    ("remote.create-directory", "the same"),
    ("remote.delete-directory", "the same"),
    ("remote.delete-file", "the same"),
    ("remote.git-add-all", "the same"),
    ("remote.git-checkout", "the same"),
    ("remote.git-clone", "the same"),
    ("remote.git-commit", "the same"),
    ("remote.git-discard-changes", "the same"),
    ("remote.git-pull", "the same"),
    ("remote.git-set-autocrlf", "the same"),
    ("remote.git-set-push-url", "the same"),
    ("remote.git-set-user", "the same"),
    ("remote.operating-systems", "the same"),
    ("remote.ping", "the same"),
    ("remote.push-file", "the same"),
    ("remote.run", "the same"),
    ("remote.run-script", "the same"),
    ("remote.touch", "the same"),
    ("salt.highstate", "a client of Elita sends commands; Salt itself is for plugins that are granted it"),
    ("salt.run-sls", "the same"),
    ("salt.salt-command", "the same"),
];

#[tokio::test]
async fn what_plugins_can_call_rest_clients_can_call_by_the_same_name() {
    let host = TestHost::start().await;
    let offered = operations(&host.client.get("/openapi.json").await.body);
    let missing: Vec<_> = imported_functions(&project_root().join("wit"))
        .into_iter()
        .filter(|name| !offered.contains(name) && ONLY_IN_WIT.iter().all(|(only, _)| only != name))
        .collect();
    assert!(missing.is_empty(), "neither in the OpenAPI document nor explained here: {missing:?}");
}

#[tokio::test]
async fn one_component_calls_every_imported_function() {
    let (_host, job) = doors::exercised().await;
    let called: BTreeSet<_> = job["result"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(called, imported_functions(&project_root().join("wit")));
}

#[test]
fn tests_with_plain_python_have_all_interfaces_of_this_wit() {
    let file = "example-plugins/python/elita-plugin/src/elita_plugin/_off_host.py";
    let code = std::fs::read_to_string(project_root().join(file)).unwrap();
    let (_, named) = code.split_once("INTERFACES = (").unwrap();
    let (named, _) = named.split_once(").split()").unwrap();
    let named: BTreeSet<_> = named.replace('"', " ").split_whitespace().map(|name| name.replace('_', "-")).collect();
    let functions = imported_functions(&project_root().join("wit"));
    let imported = functions.iter().map(|function| function.split_once('.').unwrap().0.to_owned());
    assert_eq!(named, imported.chain(["types".to_owned()]).collect::<BTreeSet<_>>());
}

#[test]
fn the_bindings_of_the_example_in_c_are_those_of_this_wit() {
    let example = project_root().join("example-plugins/c");
    let bound = std::fs::read(example.join("bindings/widgets_component_type.o")).unwrap();

    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(example.join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("widgets")).unwrap();
    let mut module = core_module("(module)");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();

    let why = "wit/ has changed: make the bindings again with `just polyglot bindings`, and commit them";
    assert_eq!(world_of(&bound), world_of(&module), "{why}");
}

#[test]
fn the_bindings_of_go_are_those_of_this_wit() {
    let bound = std::fs::read(project_root().join("example-plugins/go/elita/world.wasm")).unwrap();
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(project_root().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let mut module = core_module("(module)");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();

    let why = "wit/ has changed: make the bindings again with `just polyglot bindings`, and commit them";
    assert_eq!(world_of(&bound), world_of(&module), "{why}");
}

/// The world that a module was made for, as a text without comments.
fn world_of(module: &[u8]) -> String {
    let (_, bound) = metadata::decode(module).unwrap();
    let root = bound.resolve.worlds[bound.world].package.unwrap();
    let others: Vec<_> = bound.resolve.packages.iter().map(|(id, _)| id).filter(|id| *id != root).collect();
    let mut printer = WitPrinter::default();
    printer.emit_docs(false).print(&bound.resolve, root, &others).unwrap();
    printer.output.to_string()
}

/// `interface.function` of all that the world `plugin` of a folder imports.
pub(crate) fn imported_functions(wit: &Path) -> BTreeSet<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let interfaces = resolve.worlds[world].imports.values().filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(&resolve.interfaces[*id]),
        _ => None,
    });
    interfaces
        .flat_map(|interface| {
            let name = interface.name.as_deref().unwrap();
            // Those of a resource are called `[method]resource.function`.
            let plain =
                |function: &String| function.rsplit_once(']').map_or(function.clone(), |(_, plain)| plain.into());
            interface.functions.keys().map(move |function| format!("{name}.{}", plain(function)))
        })
        .collect()
}

/// The operation ids of an OpenAPI document.
fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    operations.filter_map(|operation| Some(operation["operationId"].as_str()?.to_owned())).collect()
}
