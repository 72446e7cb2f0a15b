use std::io::{Read as _, Write as _};

use super::*;
use crate::prelude::*;

fn pack(call: &HookCall) -> Result<Value> {
    let build: hooks::BuildUploadSuccess = call.parameters()?;
    let mut master = Vec::new();
    build.open("master")?.read_to_end(&mut master)?;
    let mut writer = builds::add_package(&call.application, &build.build_name, "copy", &build.file_type)?;
    writer.write_all(&master)?;
    let added = writer.finish()?;
    log::info!("copied {} bytes", added.size_bytes);
    let mut read = Vec::new();
    builds::read_package(&call.application, &build.build_name, "copy").read_to_end(&mut read)?;
    jobs::progress(100, "copied")?;
    Ok(json!({ "same": read == master, "sha256": added.sha256 == build.packages["master"].sha256 }))
}

fn plugin() -> Plugin {
    Plugin::new().hook("shop", "BUILD_UPLOAD_SUCCESS", pack)
}

#[test]
fn a_hook_finds_its_files_and_adds_a_package() {
    let fired = Upload::new("shop", "1", "zip", vec![7; 1_000_000]).fire(&plugin());
    assert_eq!(fired.result.unwrap(), json!({ "same": true, "sha256": true }));
    assert_eq!(fired.added["copy"], Package { file_type: "zip".into(), bytes: vec![7; 1_000_000] });
    assert_eq!(fired.entries, [json!({ "status": "copied", "progress": 100 })]);
    assert_eq!(fired.log, [(Level::Info, "copied 1000000 bytes".to_owned())]);
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let fired = Upload::new("shop", "1", "zip", "a").package("copy", "zip", "b").fire(&plugin());
    assert_eq!(fired.result.unwrap_err().code(), Some(crate::Code::AlreadyExists));
    assert!(fired.added.is_empty());
}

#[test]
fn any_hook_can_be_fired() {
    let diff = |call: &HookCall| Ok(call.parameters::<Value>()?["commit"].clone());
    let plugin = Plugin::new().hook("shop", "GITDEPLOY_COMMIT_DIFF", diff);
    let call = HookCall::new("shop", "GITDEPLOY_COMMIT_DIFF", json!({ "commit": "5c1d0a" }));
    assert_eq!(fire(&plugin, &call).result.unwrap(), "5c1d0a");
}
