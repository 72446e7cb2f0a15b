use super::*;

#[test]
fn a_message_names_the_build_and_its_packages() {
    let package = json!({ "filename": "124.zip", "file_type": "zip", "size_bytes": 5, "sha256": "ab" });
    let call = HookCall::new(
        "my_application",
        "BUILD_UPLOAD_SUCCESS",
        json!({
            "build_name": "124-master",
            "storage_dir": "/build",
            "filename": "124.zip",
            "file_type": "zip",
            "packages": { "master": package, "web": package },
        }),
    );
    assert_eq!(
        message("my_application", &call.parameters().expect("they fit"), &call.job),
        json!({
            "text": "Build 124-master of my_application is there: master, web",
            "application": "my_application",
            "build": "124-master",
            "sha256": "ab",
            "job": "00000000-0000-0000-0000-000000000000",
        })
    );
}
