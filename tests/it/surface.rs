//! The two doors and the guests' side are in step: WIT, OpenAPI, and the component that calls everything.

use std::collections::BTreeSet;

use serde_json::Value;
use wit_parser::{Resolve, WorldItem};

use crate::doors;
use crate::harness::{TestHost, project_root};

/// What is offered at one door only, with the reason.
const ONLY_IN_WIT: [(&str, &str); 5] = [
    ("jobs.append", "only the running plugin writes to its job's log"),
    ("jobs.progress", "the same"),
    ("jobs.cancel-requested", "a client sees it in the job"),
    ("jobs.current", "a client has no current job"),
    ("log.write", "the server's log is for operators"),
];

#[tokio::test]
async fn what_plugins_can_call_rest_clients_can_call_by_the_same_name() {
    let host = TestHost::start().await;
    let offered = operations(&host.client.get("/openapi.json").await.body);
    let missing: Vec<_> = imported_functions()
        .into_iter()
        .filter(|name| !offered.contains(name) && ONLY_IN_WIT.iter().all(|(only, _)| only != name))
        .collect();
    assert!(missing.is_empty(), "neither in the OpenAPI document nor explained here: {missing:?}");
}

#[tokio::test]
async fn one_component_calls_every_imported_function() {
    let (_host, job) = doors::exercised().await;
    let called: BTreeSet<_> = job["result"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(called, imported_functions());
}

/// `interface.function` of all that the world `plugin` imports.
fn imported_functions() -> BTreeSet<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(project_root().join("wit")).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let interfaces = resolve.worlds[world].imports.values().filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(&resolve.interfaces[*id]),
        _ => None,
    });
    interfaces
        .flat_map(|interface| {
            let name = interface.name.as_deref().unwrap();
            interface.functions.keys().map(move |function| format!("{name}.{function}"))
        })
        .collect()
}

/// The operation ids of an OpenAPI document.
fn operations(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|path| path.as_object().unwrap().values());
    operations.filter_map(|operation| Some(operation["operationId"].as_str()?.to_owned())).collect()
}
