use serde_json::json;

use super::*;

#[test]
fn a_hooks_failure_to_read_its_parameters_names_the_hook() {
    let call = HookCall::new("shop", "BUILD_UPLOAD_SUCCESS", json!({ "build_name": "1" }));
    let error = call.parameters::<crate::hooks::BuildUploadSuccess>().unwrap_err().to_string();
    assert!(error.starts_with("the parameters of hook `BUILD_UPLOAD_SUCCESS`: missing field `storage_dir`"), "{error}");
}
