//! Plugin files: those that `scripts/plugins` and `scripts/polyglot` have built, and those that a test makes up.

use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::project_root;

/// A plugin that was built, of the tests', of the examples, or of those in other languages.
pub(crate) fn plugin_file(name: &str) -> PathBuf {
    let built = project_root().join("target/plugins");
    let candidates = ["tests", "examples", "polyglot"].map(|folder| built.join(folder).join(format!("{name}.wasm")));
    let file = candidates.into_iter().find(|file| file.exists());
    file.unwrap_or_else(|| panic!("there is no plugin {name}; `just plugins` and `just polyglot` build them"))
}

/// Puts a plugin's file somewhere, with its age, so that it is taken to be complete. By a link that leaves the file as it
/// is: a server takes one whose inode changes for another one.
pub(super) fn place(file: &Path, at: &Path) {
    std::os::unix::fs::symlink(file, at).unwrap();
}

/// A core module of the text format.
pub(crate) fn core_module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A component for the world `plugin`, made of a core module in the text format that exports the functions under
/// their names in the canonical ABI, such as `elita:plugin/handler@0.1.0#run-action`.
pub(crate) fn component(text: &str) -> Vec<u8> {
    component_for(&project_root().join("wit"), text)
}

/// The same for the WIT package of this folder.
pub(crate) fn component_for(wit: &Path, text: &str) -> Vec<u8> {
    let mut module = core_module(text);
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}
